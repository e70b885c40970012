"""Demonstrations of the domains' teachers, and those that stand in own rows: what SFT trains on."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from cascade_rl.data.heldout_replies import with_heldout
from cascade_rl.data.own import own_replies
from cascade_rl.data.replies import mixture
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Domain
from cascade_rl.errors import StageError
from cascade_rl.recipe import SFTData, SFTStage
from cascade_rl.recipe.tables import reading_of
from cascade_rl.types import Demonstration, Demonstrations, Split, Tally


def provide(
    stage: SFTStage,
    domains: Mapping[str, Domain],
    seed: int,
    taken: Collection[str] = (),
    shelf: Shelf | None = None,
) -> Demonstrations:
    """`samples` demonstrations in the proportions of the stage; with two modes each prompt has both.

    SFT stages may share prompts, so `taken` is not asked. Own rows are kept on the shelf.
    Raises StageError when a domain has fewer prompts than the stage asks for.
    """
    total = sum(data.weight for data in stage.data)
    parts: list[Sequence[Demonstration]] = []
    tallies: list[Tally] = []
    for data in stage.data:
        if not isinstance(data, SFTData):
            share = max(1, round(stage.samples * data.weight / total))
            own, tally = own_replies(stage.name, data, share, f"{seed}/{stage.name}", shelf)
            parts.append(own)
            tallies.append(tally)
            continue
        # prompts, not samples: with two modes each prompt makes two of them
        wanted = max(1, round(stage.samples * data.weight / total / len(data.modes)))
        told: list[Tally] = []
        taught = _teach(data, domains[data.domain], f"{seed}/{stage.name}", told.append)
        made = list(islice(taught, wanted * len(data.modes)))
        if len(made) < wanted * len(data.modes):
            raise StageError(
                f"{stage.name}: {data.domain} has only {len(made) // len(data.modes)} SFT prompts, {wanted} "
                "are asked for; lower samples or its weight"
            )
        parts.append(made)
        tallies += [replace(tally, used=wanted) for tally in told]
    return with_heldout(stage, mixture(parts, tallies))


def _teach(
    data: SFTData, domain: Domain, seed: str, tell: Callable[[Tally], None]
) -> Iterator[Demonstration]:
    """Demonstrations without end; each has a generator of its own, so that no reply depends on another."""
    teach = domain.demonstrate
    if teach is None and data.replies == "teacher":
        raise StageError(f"{domain.name} has no demonstrations")
    # The order depends on seed and stage, the reply to a prompt in a mode on these and its id alone.
    start = random.Random(seed).getrandbits(32)
    for problem in domain.problems(data.source, Split.SFT, start, reading_of(data), tell):
        for mode in data.modes:
            asked = problem.in_mode(mode)
            if teach is None or data.replies == "policy":
                # answered once the stage starts: see `train.own_replies`
                yield Demonstration(asked, "")
                continue
            rng = random.Random(f"{seed}/{problem.id}/{mode}")
            yield Demonstration(asked, teach(asked, rng, data.fault_rate))
