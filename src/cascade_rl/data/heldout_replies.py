"""Replies of a source of their own, of which SFT measures the loss and which it never trains on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cascade_rl.data.disjoint import mark, marks_of
from cascade_rl.data.mapped import mapped
from cascade_rl.errors import StageError
from cascade_rl.recipe import SFTStage
from cascade_rl.sources.own_maps import chat_map
from cascade_rl.types import Demonstrations

SPARE = 4  # times as many replies are looked at as are measured: some prompts may be trained on


def with_heldout(stage: SFTStage, data: Demonstrations) -> Demonstrations:
    """The data with the first replies of the held-out source, if there is one, on prompts not trained on.

    Raises StageError where all of them are.
    """
    spec = stage.heldout
    if spec is None or spec.source is None or spec.map is None:
        return data
    chats, read = mapped(spec.source, chat_map(spec.map), spec.bad_rows)
    found = [item for chat in chats for item in chat.demonstrations(spec.source, last=False)]
    looked = found[: SPARE * spec.most]
    marks = np.array([mark(item.problem.prompt_text) for item in looked], np.uint64)
    # by marks alone: should two prompts have one, a reply more is left out
    trained = np.concatenate([np.flatnonzero(np.isin(marks, marks_of(pool))) for pool in data.pools()])
    shared = set(trained.tolist())
    apart = [item for place, item in enumerate(looked) if place not in shared]
    if not apart:
        raise StageError(
            f"{stage.name}.heldout: all prompts of {spec.source} are trained on; give other rows"
        )
    held = tuple(apart[: spec.most])
    beside = [f"{len(found)} replies in all, {len(held)} held out"]
    if shared:
        beside.append(f"{len(shared)} of {len(looked)} left out, since their prompts are trained on")
    tally = replace(read, used=len(chats), beside=(*read.beside, *beside))
    return replace(data, heldout=held, tallies=(*data.tallies, tally))
