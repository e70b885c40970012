"""Pools of problems: what RL draws its prompts from."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from cascade_rl.data.disjoint import normal
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Domain
from cascade_rl.errors import StageError
from cascade_rl.recipe import RLData, RLStage
from cascade_rl.recipe.tables import reading_of
from cascade_rl.types import Pools, Problem, Split, Tally


def provide(
    stage: RLStage,
    domains: Mapping[str, Domain],
    seed: int,
    taken: Collection[str] = (),
    shelf: Shelf | None = None,
) -> Pools:
    """A pool for each data entry, of problems whose normalised prompts no RL stage or entry has taken.

    Problems stay in memory, so that the shelf is not asked.
    Raises StageError when an entry has no problem left.
    """
    # a copy: what this stage takes is told by its data
    used = set(taken)
    entries = []
    tallies: list[Tally] = []
    owners: list[int] = []
    for number, entry in enumerate(stage.data):
        told: list[Tally] = []
        pool = _pool(stage, entry, domains[entry.domain], seed, used, told.append)
        used |= {normal(problem.prompt_text) for problem in pool}
        entries.append(pool)
        tallies += [replace(tally, used=len(pool)) for tally in told]
        owners += [number] * len(told)
    return Pools(tuple(entries), tuple(tallies), tuple(owners))


def _pool(
    stage: RLStage,
    entry: RLData,
    domain: Domain,
    seed: int,
    used: Collection[str],
    tell: Callable[[Tally], None],
) -> tuple[Problem, ...]:
    # A seed for each stage and domain: two stages of one domain draw its prompts in other orders.
    start = random.Random(f"{seed}/{stage.name}/{entry.domain}").getrandbits(32)
    pool: list[Problem] = []
    seen = 0
    for problem in domain.problems(entry.source, Split.RL, start, reading_of(entry), tell):
        if len(pool) == entry.problems:
            break
        seen += 1
        if normal(problem.prompt_text) not in used:
            pool.append(problem)
    # A short pool is no error: RL goes over it in epochs.
    if not pool:
        raise StageError(
            f"{stage.name}: {entry.domain} has no RL prompts left that no earlier stage uses: all {seen} of "
            f"{entry.source} are taken, and RL stages share none; lower problems of the earlier stage to "
            f"{max(1, seen // 2)}, or give this one other rows"
            if seen
            else f"{stage.name}: {entry.source} has no RL prompts of {entry.domain}"
        )
    return tuple(pool)
