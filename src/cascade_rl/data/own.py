"""Conversations and pairs out of a user's own rows, which hold their replies: no domain is asked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from cascade_rl.errors import StageError
from cascade_rl.recipe import ChatData, OwnRows, RewardModelStage
from cascade_rl.recipe.tables import BadRows
from cascade_rl.sources.own_maps import chat_map, pair_map
from cascade_rl.sources.own_rows import Counts, Made, counted, own_rows, refuse_bad
from cascade_rl.types import Demonstration, Pair, Pairs, Split, Tally

# Where a reward model is measured: its training never sees these prompts.
HELDOUT = (Split.VALIDATION, Split.HELDOUT)

T = TypeVar("T")


def check_rows(rows: OwnRows) -> Tally:
    """Read and map all rows; what became of them. Raises InputError for what can't be used."""
    one: Made[object] = (chat_map if rows.chats else pair_map)(rows.map, rows.split)
    tally = counted(rows.source, own_rows(rows.source, one))
    refuse_bad(tally, rows.bad_rows)
    return tally


def _table(source: str, one: Made[T], bad_rows: BadRows) -> tuple[list[T], Tally]:
    """What the map makes of the rows of a source, in their order, and what became of all of them."""
    counts = Counts[T]()
    made = [counts.add(row) for row in own_rows(source, one)]
    tally = counts.tally(source)
    refuse_bad(tally, bad_rows)
    return [item for item in made if item is not None], tally


def own_demonstrations(
    stage: str, data: ChatData, wanted: int, seed: str
) -> tuple[list[Demonstration], Tally]:
    """`wanted` replies of own conversations in the order of the seed, and what became of the rows.

    Raises StageError when there are fewer.
    """
    chats, tally = _table(data.source, chat_map(data.map, data.split), data.bad_rows)
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
    beside = (*tally.beside, f"{total} replies in all, {wanted} trained on")
    return made[:wanted], replace(tally, used=used, beside=beside)


def own_pairs(stage: RewardModelStage, seed: int) -> Pairs:
    """Own pairs, those on some prompts held out; each pair once.

    Raises StageError when there are none for training or none for measuring.
    """
    if stage.map is None:
        raise ValueError("own pairs need a map, which the recipe asks for")
    found, tally = _table(stage.source, pair_map(stage.map, stage.split), stage.bad_rows)
    distinct = list(dict.fromkeys(found))
    random.Random(f"{seed}/{stage.name}").shuffle(distinct)
    training: list[Pair] = []
    heldout: list[Pair] = []
    for preference in distinct:
        side = heldout if preference.split in HELDOUT else training
        side.append(preference.pair(stage.source))
    _refuse_shared(stage, training, heldout)
    _refuse_few(stage, training, heldout)
    used, measured = training[: stage.pairs], heldout[: stage.heldout_pairs]
    tally = replace(
        tally,
        repeated=len(found) - len(distinct),
        kept=len(distinct),
        used=len(used) + len(measured),
        beside=(*tally.beside, f"{len(used)} trained on", f"{len(measured)} held out"),
    )
    return Pairs(tuple(used), tuple(measured), (tally,))


def _refuse_shared(stage: RewardModelStage, training: Sequence[Pair], heldout: Sequence[Pair]) -> None:
    """A hash keeps prompts apart, a column may not: who has seen two answers to one knows the third."""
    shared = {p.problem.prompt_text for p in training} & {p.problem.prompt_text for p in heldout}
    if shared:
        raise StageError(
            f"{stage.name}: {stage.source} puts {len(shared)} prompts on both sides, training and held "
            f"out, such as {min(shared)!r:.100}; split: hash keeps them apart"
        )


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
