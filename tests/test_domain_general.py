"""The domains alignment and following in depth: their teachers, faults, pairs and rewards."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from cascade_rl.chat import split_reply
from cascade_rl.domain import Services
from cascade_rl.domains import alignment, following
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split, Verdict

SOURCES = [(alignment, "builtin"), (alignment, "chat"), (following, "builtin")]


class FixedReward:
    """A reward model that gives one value and remembers what it was asked."""

    def __init__(self, value: float) -> None:
        self.value, self.seen = value, []

    async def score(self, messages: tuple[Message, ...], answer: str) -> float:
        self.seen.append(answer)
        return self.value


def draw(module: ModuleType, source: str = "builtin", count: int = 200) -> list[Problem]:
    return list(islice(module.DOMAIN.problems(source, Split.SFT, 0), count))


def benchmark(module: ModuleType, problem: Problem, text: str) -> Verdict:
    return asyncio.run(module.DOMAIN.benchmark_grade(problem, Rollout.of_text(text), Services()))


@pytest.mark.parametrize(("module", "source"), SOURCES)
@pytest.mark.parametrize("mode", list(Mode))
def test_teachers_are_right_or_openly_wrong(module: ModuleType, source: str, mode: Mode) -> None:
    rng = random.Random(1)
    for problem in (p.in_mode(mode) for p in draw(module, source)):
        assert benchmark(module, problem, module.demonstrate(problem, rng, 0.0)).reward == 1.0
        assert benchmark(module, problem, module.demonstrate(problem, rng, 1.0)).reward == 0.0


@pytest.mark.parametrize("module", [alignment, following])
def test_prompts_and_replies_are_short(module: ModuleType) -> None:
    rng, vocabulary = random.Random(2), Counter()
    for problem in draw(module, count=1500):
        reply = module.demonstrate(problem, rng, 0.5)
        answer = split_reply(reply, problem.mode).answer or ""
        assert len(problem.prompt_text.split()) <= 25 and len(answer.split()) <= 20
        vocabulary.update(w.strip('.,!?"').lower() for w in f"{problem.prompt_text} {answer}".split())
    assert len(vocabulary) < 230


@pytest.mark.parametrize("module", [alignment, following])
def test_unknown_sources_are_named(module: ModuleType) -> None:
    with pytest.raises(ValueError, match="known: builtin"):
        next(module.DOMAIN.problems("nowhere", Split.RL, 0))


def test_good_answers_vary() -> None:
    problem = draw(alignment, count=1)[0].in_mode(Mode.INSTRUCT)
    assert len({alignment.demonstrate(problem, random.Random(i), 0.0) for i in range(200)}) > 150


def test_one_fault_misses_its_own_criterion() -> None:
    missed = {
        "rude": "polite",
        "off-topic": "topic",
        "repetitive": "varied",
        "cold": "courteous",
        "flat": "described",
    }
    for fault, criterion in missed.items():
        for i in range(60):
            parts = alignment.judge(alignment.write("rivers", {fault}, random.Random(i)), "rivers")
            assert [name for name, met in parts.items() if not met] == [criterion]


@pytest.mark.parametrize("source", ["builtin", "chat"])
def test_pairs_rank_more_criteria_above_fewer(source: str) -> None:
    rng, rejected_kinds = random.Random(3), Counter()
    for problem in draw(alignment, source, 1000):
        chosen, rejected = alignment.pairs(problem, rng)
        better, worse = (alignment.criteria(problem, text) for text in (chosen, rejected))
        assert sum(better.values()) > sum(worse.values())
        rejected_kinds.update(
            ["empty"] if not rejected else ["think"] if "<think>" in rejected else ["other"]
        )
        rejected_kinds["echo"] += rejected == problem.prompt_text
        rejected_kinds["degrees"] += not all(better.values())
        rejected_kinds["off topic"] += bool(rejected) and all(better.values()) and not worse["topic"]
    if source == "builtin":
        assert (
            all(rejected_kinds[kind] > 5 for kind in ("empty", "think", "echo"))
            and rejected_kinds["degrees"] > 100
        )
        assert rejected_kinds["off topic"] > 500, "the topic is what a reward model learns last"


def test_preference_data_are_pairs_as_they_stand() -> None:
    problem = replace(draw(alignment, count=1)[0], answer={"chosen": "a", "rejected": "b"})
    assert alignment.pairs(problem, random.Random(0)) == ("a", "b")
    assert benchmark(alignment, problem.in_mode(Mode.INSTRUCT), "a").outcome is Outcome.GRADER_ERROR


@pytest.mark.parametrize(
    ("mode", "text", "judged"),
    [
        (Mode.INSTRUCT, "An answer.", "An answer."),
        (Mode.THINKING, "<think>\nhm\n</think>\n\nAn answer.", "An answer."),
        (Mode.THINKING, "<think>\nhm", "<think>\nhm"),
    ],
)
def test_rlhf_scores_the_answer_or_the_unfinished_whole(mode: Mode, text: str, judged: str) -> None:
    model = FixedReward(-2.5)
    problem = draw(alignment, count=1)[0].in_mode(mode)
    verdict = asyncio.run(alignment.grade(problem, Rollout.of_text(text), Services(reward_model=model)))
    assert model.seen == [judged]
    assert (verdict.reward, verdict.outcome) == (-2.5, Outcome.PARTIAL)


def test_rlhf_needs_a_finite_reward_model() -> None:
    problem, rollout = draw(alignment, count=1)[0], Rollout.of_text("An answer.")
    with pytest.raises(ValueError, match="reward_model stage"):
        asyncio.run(alignment.grade(problem, rollout, Services()))
    verdict = asyncio.run(alignment.grade(problem, rollout, Services(reward_model=FixedReward(float("nan")))))
    assert verdict.reward is None


def test_a_fault_breaks_exactly_one_constraint_of_every_kind() -> None:
    rng, broken = random.Random(4), Counter()
    for problem in draw(following, count=600):
        verdict = benchmark(following, problem, following.demonstrate(problem, rng, 1.0))
        assert list(verdict.parts.values()).count(0.0) == 1
        broken[verdict.note] += 1
    assert set(broken) == {following.COUNT, following.TOPIC, *following.CLAUSES}


def test_one_memorised_answer_fits_few_prompts() -> None:
    answers = ("water stone fish boat wide clear", "water stone fish", '"water, stone, fish, boat!"')
    asked = [p.in_mode(Mode.INSTRUCT) for p in draw(following, count=400)]
    for answer in answers:
        assert sum(benchmark(following, p, answer).reward or 0 for p in asked) < 0.03 * len(asked)


def test_the_thought_counts_the_words_of_the_answer() -> None:
    for problem in (p.in_mode(Mode.THINKING) for p in draw(following, count=50)):
        reply = split_reply(following.gold(problem) or "", Mode.THINKING)
        assert reply.thought is not None and reply.answer is not None
        assert len(reply.thought.split()) == 2 * len(reply.answer.split())


def test_an_unknown_instruction_is_a_failed_verdict() -> None:
    problem = draw(following, count=1)[0].in_mode(Mode.INSTRUCT)
    row = {"instruction_id_list": ["language:no_such_instruction"], "kwargs": [{"language": "de"}]}
    assert benchmark(following, replace(problem, answer=row), "Ja.").reward is None
    assert benchmark(following, replace(problem, answer="5"), "Ja.").reward is None


def test_files_of_the_benchmark_format(tmp_path: Path) -> None:
    row = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Say it.", "answer": row, "split": "rl"}) + "\n")
    problem = next(following.DOMAIN.problems(f"file:{path}", Split.RL, 0)).in_mode(Mode.INSTRUCT)
    assert following.gold(problem) is None
    assert benchmark(following, problem, "so it is").reward == 1.0
    assert benchmark(following, problem, "so, it is").reward == 0.0


def test_a_file_row_without_a_rule_is_graded_by_the_reward_model_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Say it.", "answer": None, "split": "rl"}) + "\n")
    problem = next(alignment.DOMAIN.problems(f"file:{path}", Split.RL, 0)).in_mode(Mode.INSTRUCT)
    assert alignment.gold(problem) is None
    assert benchmark(alignment, problem, "It.").outcome is Outcome.GRADER_ERROR
    services = Services(reward_model=FixedReward(1.5))
    assert asyncio.run(alignment.grade(problem, Rollout.of_text("It."), services)).reward == 1.5
    with pytest.raises(ValueError, match="own sources"):
        alignment.pairs(problem, random.Random(0))


def test_natural_prompts_hold_benchmark_ids_only() -> None:
    for problem in draw(following, "ifeval-style", 300):
        assert 1 <= len(problem.answer["instruction_id_list"]) <= 3
        assert not any(i.startswith("cascade:") for i in problem.answer["instruction_id_list"])
        assert benchmark(following, problem.in_mode(Mode.INSTRUCT), "Some text.").reward is not None
