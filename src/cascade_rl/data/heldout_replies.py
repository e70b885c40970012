"""Replies of a source of their own, of which SFT measures the loss and which it never trains on."""

from __future__ import annotations

from dataclasses import replace

from cascade_rl.data.disjoint import normal
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
    wanted = {normal(item.problem.prompt_text) for item in looked}
    # through the data, which may be large, and not into a set of them
    trained = {text for item in data.items if (text := normal(item.problem.prompt_text)) in wanted}
    apart = [item for item in looked if normal(item.problem.prompt_text) not in trained]
    if not apart:
        raise StageError(
            f"{stage.name}.heldout: all prompts of {spec.source} are trained on; give other rows"
        )
    held = tuple(apart[: spec.most])
    beside = [f"{len(found)} replies in all, {len(held)} held out"]
    if shared := len(looked) - len(apart):
        beside.append(f"{shared} of {len(looked)} left out, since their prompts are trained on")
    tally = replace(read, used=len(chats), beside=(*read.beside, *beside))
    return replace(data, heldout=held, tallies=(*data.tallies, tally))
