"""Preference pairs: what a reward model trains on, and what it is measured by."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import islice

from cascade_rl.data.own import own_pairs
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Domain, nobody
from cascade_rl.errors import StageError
from cascade_rl.recipe import RewardModelStage
from cascade_rl.types import Pair, Pairs, Split, Tally


def provide(
    stage: RewardModelStage,
    domains: Mapping[str, Domain],
    seed: int,
    taken: Collection[str] = (),
    shelf: Shelf | None = None,
) -> Pairs:
    """Pairs on RL's prompts, which RLHF may ask again later; held-out ones on others.

    Own rows are kept on the shelf.

    Raises StageError when a split has no prompts.
    """
    if stage.domain is None:
        return own_pairs(stage, seed, shelf)
    domain, told = domains[stage.domain], list[Tally]()
    training = preference_pairs(stage, domain, Split.RL, stage.pairs, seed, told.append)
    heldout = preference_pairs(stage, domain, Split.VALIDATION, stage.heldout_pairs, seed, told.append)
    return Pairs(tuple(training), tuple(heldout), tuple(told))


def preference_pairs(
    stage: RewardModelStage,
    domain: Domain,
    split: Split,
    count: int,
    seed: int,
    tell: Callable[[Tally], None] = nobody,
) -> list[Pair]:
    """`count` pairs on prompts of a split; several on one prompt when there are fewer prompts than pairs.

    With `pairs_from: samples` the policy answers once the stage starts: until then the answers are empty.
    """
    start = random.Random(f"{seed}/{stage.name}").getrandbits(32)
    # at most one prompt a pair; sources of a small world end earlier
    told: list[Tally] = []
    problems = list(islice(domain.problems(stage.source, split, start, tell=told.append), count))
    for tally in told:
        tell(replace(tally, used=len(problems)))
    if not problems:
        raise StageError(f"{stage.name}: {stage.domain} has no prompts in the {split} split")
    if stage.pairs_from == "samples":
        return [Pair(problem, "", "") for problem in problems]
    if domain.pairs is None:
        raise StageError(f"{stage.name}: {domain.name} has no preference pairs")
    found = []
    for index in range(count):
        problem = problems[index % len(problems)]
        # The index tells pairs on one prompt apart: each draws answers of its own.
        rng = random.Random(f"{seed}/{stage.name}/{problem.id}/{index}")
        chosen, rejected = domain.pairs(problem, rng)
        found.append(Pair(problem, chosen, rejected))
    return found
