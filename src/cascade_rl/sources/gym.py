"""Rows of the package reasoning-gym, of any of its sets by name, with a worked thought where one is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cascade_rl.domain import Query
from cascade_rl.errors import InputError
from cascade_rl.sources.maps import in_a_box
from cascade_rl.sources.splits import split_of
from cascade_rl.sources.worked import SETS, thought
from cascade_rl.types import Split


@dataclass(frozen=True, slots=True)
class GymRow:
    """A question that asks for a box, its answer, and the thought of its demonstration, perhaps empty."""

    name: str
    prompt: str
    answer: str
    thought: str


def gym_rows(query: Query) -> Iterator[GymRow]:
    """Rows in turn from each data set that the query names, while they bring new ones.

    Of those for RL no answer of a set comes much more often than others, so that none is worth guessing.
    """
    try:
        import reasoning_gym
    except ModuleNotFoundError:
        message = "the source reasoning-gym needs its package: pip install cascade-rl[smollm2]"
        raise InputError(message) from None
    rng = query.rng()
    seen: set[str] = set()
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    idle = 0  # rounds over all data sets that brought nothing new: the small ones run dry
    while idle < 20:
        before = len(seen)
        for name in query.rest.split(","):
            # a new seed each round, for 50 other rows
            for row in reasoning_gym.create_dataset(name, size=50, seed=rng.randrange(2**31)):
                prompt = in_a_box(row["question"])
                # some data sets have open questions, and small ones repeat
                if row["answer"] is None or prompt in seen or split_of(prompt) is not query.split:
                    continue
                seen.add(prompt)
                if query.split is Split.RL and _too_common(answers[name], str(row["answer"])):
                    continue
                found = _thought(name, row)
                # to a demonstration that jumps to an answer out of reach nothing leads but a guess
                if found is None and query.split is Split.SFT:
                    continue
                yield GymRow(name, prompt, str(row["answer"]), found or "")
        idle = idle + 1 if len(seen) == before else 0


def _too_common(answers: Counter[str], answer: str) -> bool:
    """Whether an answer has come more than twice as often as the mean of its set's; else it is counted.

    One letter in three is in its text once, half of the greatest common divisors are 1 or 2: on such rows RL
    learns to answer 1.
    """
    if answers[answer] * len(answers) > 2 * answers.total():
        return True
    answers[answer] += 1
    return False


def _thought(name: str, row: dict[str, Any]) -> str | None:
    """None for a row of a set that is worked out, if that one can't be, or not in short."""
    if name in SETS:
        return thought(name, row)
    return str(row["metadata"].get("answer_cot", "")).partition("####")[0].strip()
