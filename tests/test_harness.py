"""The comparison with independent harnesses: a difference that is not documented is a failure, and so is a document of none.

The harnesses themselves run in `make test-harness`.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.types import Message, Mode, Problem, Rollout

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench/harness"))
import compare  # noqa: E402  beside this package, and not in it
import judges  # noqa: E402
import replies_answers  # noqa: E402
import replies_following  # noqa: E402
import replies_programs  # noqa: E402
import stored  # noqa: E402
import traits  # noqa: E402

PAGE = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
REPLY = stored.Reply("aime24", "p1", "instruct", 0, None, "Find x.", r"So \boxed{x=5}", 1.0, "answered 'x=5'")
LINE = {
    "id": "aime24/p1/instruct/0",
    "judge": "EvalScope",
    "score": 0.0,
    "parts": None,
    "read": "x=5",
    "note": "",
}
KEY = ("aime", "EvalScope", "more than digits in the box", "1", "0")


def page(rows: str, reasons: str) -> str:
    head = "| benchmark | judge | where | ours | theirs | verdicts |\n| --- | --- | --- | --- | --- | --- |\n"
    return f"## Against independent harnesses\n\n| where | why |\n| --- | --- |\n{reasons}\n\n{head}{rows}\n\n## Next\n"


def known(*counts: tuple[compare.Key, int]) -> compare.Exceptions:
    return compare.Exceptions(dict(counts), {key[2]: "why" for key, _ in counts})


def faults(
    exceptions: compare.Exceptions, exact: bool = True, reply: stored.Reply = REPLY, **line: object
) -> list[str]:
    return list(compare.compare([reply], [LINE | line], exceptions, exact=exact).faults)


def test_the_list_of_the_documentation_holds_together():
    listed = compare.exceptions(PAGE)
    # 0: in no reply by rule, but in a model's
    assert len(listed.counts) > 40 and min(listed.counts.values()) >= 0
    names = {name for table in traits.TRAITS.values() for name in table}
    assert set(listed.reasons) == names
    for benchmark, judge, named, ours, theirs in listed.counts:
        assert named in traits.TRAITS[benchmark]
        assert judge in judges.JUDGES[benchmark]
        assert ours != theirs


def test_every_benchmark_of_the_stored_files_has_judges_and_traits():
    assert set(stored.KINDS) == set(judges.JUDGES) == set(traits.TRAITS)


@pytest.mark.parametrize(
    ("rows", "reasons", "message"),
    [
        ("| aime | EvalScope | x | 1 | 0 | 3 |", "| y | why |", "'x' has no reason"),
        ("| aime | EvalScope | x | 1 | 0 | 3 |", "| x | why |\n| y | why |", "'y' has a reason and no row"),
        (
            "| aime | EvalScope | x | 1 | 0 | 3 |\n| aime | EvalScope | x | 1 | 0 | 4 |",
            "| x | why |",
            "twice",
        ),
    ],
)
def test_a_list_that_does_not_hold_together_is_refused(rows, reasons, message):
    with pytest.raises(ValueError, match=message):
        compare.exceptions(page(rows, reasons))
    assert compare.exceptions(page("| aime | EvalScope | x | 1 | 0 | 3 |", "| x | why |")).counts == {
        ("aime", "EvalScope", "x", "1", "0"): 3
    }


def test_a_difference_must_be_listed_with_its_number():
    assert faults(known((KEY, 1))) == []
    assert "1 not explained" in faults(known())[0] and "more than digits" in faults(known())[0]
    assert faults(known((KEY, 2))) == [f"docs/benchmarks.md says 2, found 1: {compare._row(KEY)}"]
    other = (*KEY[:3], "0", "1")
    assert any("says 1, found 0" in fault for fault in faults(known((KEY, 1), (other, 1))))
    # a model's replies have numbers of their own, and still nothing unexplained
    assert faults(known((KEY, 2), (other, 1)), exact=False) == []
    assert len(faults(known((other, 1)), exact=False)) == 1


def test_an_explanation_is_of_one_direction_one_judge_and_one_trait():
    assert faults(known((KEY, 1)), False, judge="lm-eval") != []
    assert faults(known((KEY, 1)), False, score=None, note="ValueError: x") != []
    assert faults(known((KEY, 1)), False, replace(REPLY, text=r"\boxed{5}")) != []
    assert faults(known((KEY, 1)), False, replace(REPLY, reward=None)) != []


def test_nothing_differs_where_scores_are_equal_and_nothing_is_lost():
    result = compare.compare([REPLY], [LINE | {"score": 1.0}], known(), exact=True)
    assert (result.found, result.faults) == ([], [])
    assert result.totals == {("aime24", "EvalScope"): (1, 1, 100.0, 100.0)}
    assert compare.compare([REPLY], [], known(), exact=False).faults == ["aime24/p1/instruct/0 has no score"]
    with pytest.raises(KeyError):
        compare.compare([], [LINE], known(), exact=False)


def test_forms_that_are_called_right_must_be_right_to_us():
    both = {"score": 0.0}
    wrong = replace(REPLY, reward=0.0, form="right: box")
    assert faults(known(), reply=wrong, **both) == [
        "aime24/p1/instruct/0: ours 0 of a reply that is right: box"
    ]
    assert faults(known(), False, wrong, **both) == []
    assert faults(known(), reply=replace(wrong, form="wrong: box"), **both) == []
    assert faults(known(), reply=replace(wrong, form="open: box"), **both) == []


def test_instructions_are_compared_one_by_one():
    parts = {"punctuation:no_comma": 1.0, "count:pronouns": 0.0, "count:pronouns#2": 1.0}
    reply = stored.Reply("ifbench", "p", "instruct", 0, "1", "Ask.", "a, b", 0.0, "", parts)
    line = LINE | {"id": reply.id, "parts": [False, False, False]}
    # the prompt's scores agree, and two of its instructions do not
    found = compare.disagreements([reply], [line])
    assert [(d.part, d.ours, d.theirs) for d in found] == [
        ("punctuation:no_comma", 1.0, 0.0), ("count:pronouns", 1.0, 0.0)]  # fmt: skip
    with pytest.raises(ValueError):
        compare.disagreements([reply], [line | {"parts": [False]}])
    # where a side has no instructions, the whole is compared
    assert [d.part for d in compare.disagreements([reply], [line | {"parts": None, "score": None}])] == [""]


def test_stored_files_are_read_as_they_were_written(tmp_path):
    text = "a\u2028b\r\nc\x0bd\x85e"
    sample = {
        "problem": "p",
        "mode": "instruct",
        "sample": 0,
        "text": text,
        "reward": None,
        "note": "n",
        "parts": {},
    }
    for name in ("aime24", "mmlu", "mmlu_pro", "livecodebench"):
        stored.write_lines(tmp_path / f"{name}.samples.jsonl", [sample])
        stored.write_lines(
            tmp_path / f"{name}.problems.jsonl",
            [
                {
                    "id": "p",
                    "row": "7",
                    "messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}],
                }
            ],
        )
    found = stored.read(tmp_path)
    assert [(r.benchmark, r.kind) for r in found] == [("aime24", "aime"), ("mmlu", "mmlu")]
    assert (found[0].row, found[0].asked) == ("7", "x\ny")
    assert found[0].text == text and found[0].reward is None and found[0].id == "aime24/p/instruct/0"
    (tmp_path / "mmlu.problems.jsonl").write_text("")
    with pytest.raises(KeyError):
        stored.read(tmp_path)


def test_the_judges_read_rows_of_both_shapes_of_mmlu():
    plain = {"choices": ["x", "y. B. z", "u", "v"], "answer": 2}
    lettered = {"options": "A. x\nB. y. B. z\nC. u\nD. v", "answer": "C. u"}
    assert (
        judges.choices_of(plain)
        == judges.choices_of(lettered)
        == {"answer": "C", "options": plain["choices"]}
    )


def test_the_judges_find_a_problem_by_what_was_asked(monkeypatch):
    rows = [
        {"question": "How many?", "options": "A. 1\nB. 2", "answer": "A. 1"},
        {"question": "How many?", "options": "A. 1\nB. 3", "answer": "B. 3"},
        {"question": "Say: How many?", "options": "A. 1\nB. 2", "answer": "B. 2"},
        {"question": "Which?", "options": "A. u\nB. v", "answer": "A. u"},
        {"question": "Which?", "options": "A. v\nB. u", "answer": "B. u"},
    ]
    monkeypatch.setattr(judges, "rows", lambda benchmark: rows)
    found = judges.found_by_text.__wrapped__
    assert found("mmlu", "How\nmany?\nA) 1\nB) 3")["answer"] == "B"
    assert found("mmlu", "Say: How many?\nA) 1\nB) 2")["answer"] == "B"
    for asked in ("How few?", "Which? u v"):
        with pytest.raises(LookupError):
            found("mmlu", asked)


def test_what_is_cut_off_before_lm_eval_judges():
    assert judges.answer_of("<think>a</think> b</think>\n c") == "c"
    assert judges.answer_of(" <think>a") == " <think>a"


def test_the_page_shows_replies_and_reasons(tmp_path):
    result = compare.compare([REPLY], [LINE], known((KEY, 1)), exact=True)
    compare.write(tmp_path, "x", result, known((KEY, 1)))
    told = (tmp_path / "x.md").read_text()
    assert "| aime24 | EvalScope | 1 | 0 (0.00 %) | 100.00 | 0.00 |" in told
    assert "1 verdicts. why" in told and r"So \\boxed{x=5}" in told and "Not as documented" not in told
    listed = json.loads((tmp_path / "x.json").read_text())
    assert listed["disagreements"][0]["trait"] == KEY[2] and listed["faults"] == []
    assert "Not as documented" in compare.page(compare.compare([REPLY], [LINE], known(), exact=True), known())


def test_replies_by_rule_are_the_same_each_time():
    task = replies_programs.Task('def f(x):\n    """Add."""\n', "    return x + 1\n", "f")
    asked = [("punctuation:no_comma", {}), ("startend:quotation", {})]
    for made in (
        lambda rng: list(replies_answers.aime("25", rng)),
        lambda rng: list(replies_answers.mmlu("B", rng)),
        lambda rng: list(replies_programs.programs(task, rng, 0)),
        lambda rng: list(replies_following.following(asked, ["a, b. C", "d"], {}, rng)),
    ):
        assert made(random.Random(3)) == made(random.Random(3))
        assert made(random.Random(3)) != made(random.Random(4))


def test_a_bent_text_follows_what_it_was_bent_to():
    from cascade_rl.verify.instructions import IFEVAL, check

    assert set(replies_following.BEND) == set(IFEVAL)
    asked = [("startend:quotation", {}), ("punctuation:no_comma", {}),
             ("keywords:frequency", {"keyword": "sea", "frequency": 3, "relation": "at least"}),
             ("detectable_content:postscript", {"postscript_marker": "P.S."})]  # fmt: skip
    bent = replies_following.bend("A road, a hill. It is, so they say, cold.", asked)
    assert all(check(ident, given, bent) for ident, given in asked)


def test_a_mutant_is_another_program():
    source = "def f(x):\n    return x + 1 if x < 3 else x\n"
    found = {replies_programs.mutant(source, random.Random(n)) for n in range(20)}
    assert len(found) == 4 and source.strip() not in found
    assert replies_programs.mutant("def f(x):\n    return x\n", random.Random(0)) is None


@pytest.mark.parametrize(
    ("domain", "answer", "made"),
    [
        ("maths", "25", dict(replies_answers.AIME)),
        ("multiple_choice", {"answer": "B", "choices": 4}, dict(replies_answers.MMLU)),
    ],
)
def test_forms_state_what_their_names_say(domain, answer, made):
    problem = Problem("p", domain, (Message("user", "How many?"),), answer, Mode.INSTRUCT)
    gold, wrong = ("25", "9") if domain == "maths" else ("B", "C")
    said = {"right": 1.0, "wrong": 0.0}
    forms = [form for form in made if form.partition(":")[0] in said]
    pairs = [(problem, Rollout.of_text(made[form](gold, wrong))) for form in forms]
    with open_services(load_domain(domain).needs, workers=1) as services:
        verdicts = grade_all(load_domain(domain).benchmark_grade, pairs, services)
    for form, verdict in zip(forms, verdicts, strict=True):
        assert verdict.reward == said[form.partition(":")[0]], (form, verdict.note)
