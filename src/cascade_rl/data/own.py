"""Conversations and pairs out of a user's own rows, which hold their replies: no domain is asked."""

from __future__ import annotations

import random
from dataclasses import replace

from cascade_rl.errors import StageError
from cascade_rl.recipe import ChatData, OwnRows, RewardModelStage
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_rows import own_table
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Demonstration, Pair, Pairs, Split, Tally

# Where a reward model is measured: its training never sees these prompts.
HELDOUT = (Split.VALIDATION, Split.HELDOUT)


def check_rows(rows: OwnRows) -> Tally:
    """Read and map all rows; what became of them. Raises InputError for what can't be used."""
    return own_table(rows.source, {**CHAT_MAPS, **PAIR_MAPS}[rows.map], skip=rows.skip).tally


def own_demonstrations(
    stage: str, data: ChatData, wanted: int, seed: str
) -> tuple[list[Demonstration], Tally]:
    """`wanted` replies of own conversations in the order of the seed, and what became of the rows.

    Raises StageError when there are fewer.
    """
    table = own_table(data.source, CHAT_MAPS[data.map], skip=data.bad_rows == "skip")
    chats = list(table.items)
    random.Random(f"{seed}/{data.source}").shuffle(chats)
    last = data.targets == "last"
    total = sum(1 if last else len(chat.replies) for chat in chats)
    if total < wanted:
        raise StageError(
            f"{stage}: {data.source} has only {total} replies, {wanted} are asked for; "
            "lower samples or its weight"
        )
    made: list[Demonstration] = []
    used = 0
    # turns of a conversation stay together: only the last one that is needed may lose some
    for chat in chats:
        if len(made) >= wanted:
            break
        made += chat.demonstrations(data.source, last=last)
        used += 1
    beside = (*table.tally.beside, f"{total} replies in all, {wanted} trained on")
    return made[:wanted], replace(table.tally, used=used, beside=beside)


def own_pairs(stage: RewardModelStage, seed: int) -> Pairs:
    """Own pairs, those on some prompts held out; each pair once.

    Raises StageError when there are none for training or none for measuring.
    """
    if stage.map is None:
        raise ValueError("own pairs need a map, which the recipe asks for")
    table = own_table(stage.source, PAIR_MAPS[stage.map], skip=stage.bad_rows == "skip")
    distinct = list(dict.fromkeys(table.items))
    random.Random(f"{seed}/{stage.name}").shuffle(distinct)
    training: list[Pair] = []
    heldout: list[Pair] = []
    for pair in (preference.pair(stage.source) for preference in distinct):
        # by the prompt: who has seen two answers to it knows the third
        side = heldout if split_of(pair.problem.prompt_text) in HELDOUT else training
        side.append(pair)
    _refuse_few(stage, training, heldout)
    used, measured = training[: stage.pairs], heldout[: stage.heldout_pairs]
    tally = replace(
        table.tally,
        repeated=len(table.items) - len(distinct),
        kept=len(distinct),
        used=len(used) + len(measured),
        beside=(*table.tally.beside, f"{len(used)} trained on", f"{len(measured)} held out"),
    )
    return Pairs(tuple(used), tuple(measured), (tally,))


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
