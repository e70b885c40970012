"""Which part of the cascade may see a prompt: disjoint by a hash of its text, on every machine."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cascade_rl.domain import Maker, Query
from cascade_rl.errors import InputError
from cascade_rl.sources.columns import RowError, shown
from cascade_rl.types import Problem, Split

# shares of all prompts; whoever changes them moves prompts from training into benchmarks of older runs
SPLIT_SHARES = ((Split.SFT, 0.50), (Split.RL, 0.25), (Split.VALIDATION, 0.05), (Split.HELDOUT, 0.20))


def split_of(key: str) -> Split:
    """The split that a prompt belongs to, from a hash of its text: the same on every machine."""
    # not Python's `hash`, which differs from process to process
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=b"split").digest()
    u = int.from_bytes(digest, "big") / 2**64
    for split, share in SPLIT_SHARES:
        u -= share
        if u < 0:
            return split
    return Split.HELDOUT  # the shares may add up to a little less than 1


def split_said(
    row: Mapping[str, Any], asked: str | None, named: Any, text: Callable[[], str]
) -> Split | None:
    """The split of a row, None for every split.

    `asked` is `all`, `hash`, `hash-rl` (what the hash gives to SFT is RL's) or a column; without it what the
    row's map has `named` counts, else the hash of its prompt's `text`. Raises RowError for a column that
    there is not and for what is no split.
    """
    if asked == "all":
        return None
    if asked in ("hash", "hash-rl"):
        found = split_of(text())
        # where no SFT stage asks the file, its half would lie idle
        return Split.RL if asked == "hash-rl" and found is Split.SFT else found
    if asked and asked not in row:
        raise RowError(f"split: no column {asked!r}; it takes all, hash, hash-rl or the name of a column")
    said = row[asked] if asked else named
    if said is None or said == "":
        return split_of(text())
    if said not in tuple(Split):
        raise RowError(
            f"split: {shown(said)} is none of {', '.join(Split)}; say split: hash or all, or let a map "
            f"choose ({{column: {asked or 'split'}, choice: {{train: rl, test: heldout}}}})"
        )
    return Split(said)


def stream(
    make: Callable[[random.Random], Problem], split: Split, seed: int, *, patience: int = 20_000
) -> Iterator[Problem]:
    """Problems drawn by `make`, those of `split` only, none twice.

    Ends when `patience` draws in a row bring nothing new: a generator of a small world runs dry.
    """
    # the split is part of the seed: else all splits would draw the same problems and keep their share of them
    rng = random.Random(f"{split}/{seed}")
    seen: set[str] = set()
    idle = 0
    while idle < patience:
        problem = make(rng)
        idle += 1
        if problem.id in seen or split_of(problem.prompt_text) is not split:
            continue
        seen.add(problem.id)
        idle = 0
        yield problem


def drawn(make: Callable[[random.Random], Problem]) -> Maker:
    """The maker of a source whose problems a function draws, one a call: what most domains need."""
    return lambda query: stream(make, query.split, query.seed)


def refuse_training(query: Query) -> None:
    """For the public benchmarks: InputError unless held-out problems are asked for."""
    if query.split is not Split.HELDOUT:
        raise InputError(f"{query.source} is held out: it has no {query.split} split")
