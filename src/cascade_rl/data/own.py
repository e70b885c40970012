"""Conversations and pairs out of a user's own rows, which hold their replies: no domain is asked."""

from __future__ import annotations

import random
from collections.abc import Mapping

from cascade_rl.errors import StageError
from cascade_rl.recipe import ChatData, OwnRows, RewardModelStage
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_rows import mapped
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Demonstration, Pair, Pairs, Split

# Where a reward model is measured: its training never sees these prompts, benchmarks of other stages may.
HELDOUT = (Split.VALIDATION, Split.HELDOUT)


def check_rows(rows: OwnRows) -> None:
    """Read and map all rows; raises InputError for what can't be used."""
    mapped(rows.source, {**CHAT_MAPS, **PAIR_MAPS}[rows.map], skip=rows.skip)


def own_demonstrations(stage: str, data: ChatData, wanted: int, seed: str) -> tuple[list[Demonstration], str]:
    """`wanted` replies of own conversations in the order of the seed, and what became of the rows.

    Raises StageError when there are fewer.
    """
    found = mapped(data.source, CHAT_MAPS[data.map], skip=data.bad_rows == "skip")
    order = list(found.items)
    random.Random(f"{seed}/{data.source}").shuffle(order)
    # turns of a conversation stay together: what is cut off at the end is whole conversations, but for one
    made = [one for chat in order for one in chat.demonstrations(data.source, last=data.targets == "last")]
    if len(made) < wanted:
        raise StageError(
            f"{stage}: {data.source} has only {len(made)} replies, {wanted} are asked for; "
            "lower samples or its weight"
        )
    told = f"{data.source} ({data.map}): {found.counted()}, {len(made)} replies, {wanted} used"
    return made[:wanted], told


def own_pairs(stage: RewardModelStage, seed: int) -> Pairs:
    """Own pairs, those on some prompts held out; each pair once.

    Raises StageError when there are none for training or none for measuring.
    """
    assert stage.map is not None
    found = mapped(stage.source, PAIR_MAPS[stage.map], skip=stage.bad_rows == "skip")
    distinct = list(dict.fromkeys(found.items))
    random.Random(f"{seed}/{stage.name}").shuffle(distinct)
    pairs = [preference.pair(stage.source) for preference in distinct]
    # by the prompt: answers to one prompt are alike, and a model that saw two of them knows the third
    heldout = [pair for pair in pairs if split_of(pair.problem.prompt_text) in HELDOUT]
    training = [pair for pair in pairs if split_of(pair.problem.prompt_text) not in HELDOUT]
    _refuse_few(stage, training, heldout)
    used, measured = training[: stage.pairs], heldout[: stage.heldout_pairs]
    counts = {
        "twice": len(found.items) - len(distinct),
        "used": len(used),
        "held out": len(measured),
        "not needed": len(distinct) - len(used) - len(measured),
    }
    told = f"{stage.source} ({stage.map}): {found.counted()}, {_listed(counts)}"
    return Pairs(tuple(used), tuple(measured), (told,))


def _refuse_few(stage: RewardModelStage, training: list[Pair], heldout: list[Pair]) -> None:
    if not training or not heldout:
        raise StageError(
            f"{stage.name}: of the pairs in {stage.source} {len(training)} are for training and "
            f"{len(heldout)} held out, by a hash of their prompts; both are needed: give more prompts"
        )
    # steps are counted in epochs of `pairs`
    if stage.epochs is not None and len(training) < stage.pairs:
        raise StageError(
            f"{stage.name}: {stage.source} has {len(training)} pairs for training, and epochs are counted "
            f"by pairs: {stage.pairs}; set pairs: {len(training)}, or steps instead of epochs"
        )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
