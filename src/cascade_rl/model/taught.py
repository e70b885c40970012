"""Which samples a step of SFT takes, and what of a sample is trained on, whoever trains."""

from __future__ import annotations

import random
from array import array
from functools import lru_cache
from typing import NamedTuple

from cascade_rl.run.store import WORD

Ids = tuple[list[int], list[int]]


class Fitted(NamedTuple):
    """A sample as it is trained on, None if it is left out; `remark` says what was done to it."""

    ids: Ids | None
    remark: str = ""


def fitted(ids: Ids, limit: int, most: str, cut: bool) -> Fitted:
    """A sample of (prompt, reply) within `limit` tokens, which remarks call `most`; `cut` to that if asked.

    What is cut is the end of the reply, and its end mark with it: the model learns no early end.
    """
    prompt, reply = ids
    if len(prompt) + len(reply) <= limit:
        return Fitted(ids)
    if not cut:
        return Fitted(None, f"samples longer than {most}, left out")
    if len(prompt) >= limit:
        return Fitted(None, f"samples whose prompt alone takes {most}, left out")
    return Fitted((prompt, reply[: limit - len(prompt)]), f"samples longer than {most}, cut to that")


def batch_at(step: int, size: int, count: int, seed: str) -> list[int]:
    """The sample numbers of a step: epochs in shuffled order, derived from (seed, epoch) alone.

    So a resumed stage has no order to remember. A batch may span the end of an epoch, a small set several.
    """
    found: list[int] = []
    place = step * size
    while len(found) < size:
        epoch, offset = divmod(place, count)
        taken = _order(f"{seed}/{epoch}", count)[offset : offset + size - len(found)]
        found += taken
        place += len(taken)
    return found


@lru_cache(maxsize=2)  # a batch may span two epochs; of millions of samples an order takes seconds to make
def _order(seed: str, count: int) -> array[int]:
    """The numbers below `count`, shuffled; 4 bytes each."""
    order = array(WORD, range(count))
    random.Random(seed).shuffle(order)
    return order
