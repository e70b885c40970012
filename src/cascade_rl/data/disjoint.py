"""The proof that no prompt has two uses.

Compared are whole prompts, but for case and spaces; runs of words that prompts share are counted in `ngrams`.
A published benchmark that asks a row in other words than its domain trains on is compared in both.
What a run is measured by on its way (probes, held-out pairs) is looked at in `measured`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cascade_rl.data.reading import Marked
from cascade_rl.domain import TRAINED_AS, HeldOut
from cascade_rl.errors import StageError
from cascade_rl.recipe import Stage
from cascade_rl.types import Message, Problem, StageData


def normal(text: str) -> str:
    """A prompt as disjointness sees it: case and spaces don't count."""
    return " ".join(text.lower().split())


def mark(text: str) -> int:
    """64 bits of a prompt's normalised text: millions are compared by them, but never by them alone."""
    return int.from_bytes(hashlib.blake2b(normal(text).encode(), digest_size=8).digest(), "little")


def stage_prompts(data: StageData) -> set[str]:
    """The normalised prompts of a stage's data, all of them in memory."""
    return {normal(problem.prompt_text) for pool in data.pools() for problem in pool}


def marks_of(pool: Sequence[Problem]) -> np.ndarray:
    """The mark of each problem's prompt, in order: [problems] uint64."""
    if isinstance(pool, Marked):
        return pool.marks
    return np.array([mark(problem.prompt_text) for problem in pool], np.uint64)


def problems_with(pools: Iterable[Sequence[Problem]], marks: np.ndarray) -> Iterator[Problem]:
    """The problems whose prompts have one of these marks; no other is read."""
    for pool in pools if len(marks) else ():
        for place in np.flatnonzero(np.isin(marks_of(pool), marks)):
            yield pool[int(place)]


@dataclass(frozen=True, slots=True)
class _Use:
    """Who asks which prompts; `stage` is None of a benchmark, which no rule of sharing covers."""

    name: str
    stage: Stage | None
    pools: Sequence[Sequence[Problem]]
    marks: np.ndarray

    @classmethod
    def of(cls, name: str, stage: Stage | None, pools: Sequence[Sequence[Problem]]) -> _Use:
        """With the marks of all its prompts, sorted, each once."""
        marks = [np.empty(0, np.uint64), *map(marks_of, pools)]
        return cls(name, stage, pools, np.unique(np.concatenate(marks)))

    def prompts(self, marks: np.ndarray) -> set[str]:
        """Its normalised prompts that have one of these marks."""
        return {normal(problem.prompt_text) for problem in problems_with(self.pools, marks)}


def _trained_as(held: HeldOut) -> list[Problem]:
    """The problems of a published benchmark in the words in which its domain trains on the same rows."""
    said = [(problem, problem.meta.get(TRAINED_AS)) for problem in held.problems]
    return [replace(one, messages=(Message("user", text),)) for one, text in said if isinstance(text, str)]


def may_share(one: Stage, other: Stage) -> bool:
    """Whether a prompt may stand in both stages; it is enough if one of them allows it."""
    return one.may_share(other) or other.may_share(one)


def check_disjoint(
    stages: Sequence[Stage], data: Mapping[str, StageData], benchmarks: Iterable[HeldOut]
) -> None:
    """Raise StageError, which names an example, when two uses share a prompt that may not."""
    if found := overlaps(stages, data, benchmarks):
        raise StageError(found[0])


def overlaps(
    stages: Sequence[Stage], data: Mapping[str, StageData], benchmarks: Iterable[HeldOut]
) -> list[str]:
    """A sentence with an example for each two uses that share a prompt and may not.

    `data` is by the stage's name. Benchmarks share with no stage. With each other they may: nothing is
    trained on them, and the same problems at two lengths or in two modes are two measurements.
    """
    uses = [_Use.of(f"stage {s.name}", s, data[s.name].pools()) for s in stages if s.name in data]
    uses += [_Use.of(f"benchmark {b.name}", None, [b.problems, _trained_as(b)]) for b in benchmarks]
    found = []
    for index, use in enumerate(uses):
        for other in uses[:index]:
            # stages come first, so that of two benchmarks the other one is none, too
            if other.stage is None or (use.stage and may_share(use.stage, other.stage)):
                continue
            alike = np.intersect1d(use.marks, other.marks, assume_unique=True)
            # two prompts may have one mark: the texts decide
            shared = use.prompts(alike) & other.prompts(alike)
            # min: the example is the same on every machine, which the order of a set is not
            if shared:
                found.append(
                    f"{use.name} and {other.name} share {len(shared)} prompts, such as {min(shared)!r:.200}: "
                    "they must be disjoint"
                )
    return found
