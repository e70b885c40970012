"""Which replies SFT holds out of its training, and the loss on them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import overload

import torch

from cascade_rl.errors import StageError
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.model.taught import Ids
from cascade_rl.model.worker import Worker
from cascade_rl.protocols import WHOLE
from cascade_rl.recipe import HeldoutRows
from cascade_rl.train.batch import Row, microbatches, pack_rows
from cascade_rl.train.heldout_loss import HeldoutLoss
from cascade_rl.train.objective import token_logprobs
from cascade_rl.types import Demonstration

TOKENS = 4096  # that a worker computes at once, as a micro-batch of training by default


class Chosen(Sequence[Demonstration]):
    """Some items of a sequence, in its order; none of them is held."""

    def __init__(self, items: Sequence[Demonstration], places: array[int]) -> None:
        self._items, self._places = items, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Demonstration: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Demonstration]: ...
    def __getitem__(self, index: int | slice) -> Demonstration | Sequence[Demonstration]:
        if isinstance(index, slice):
            return [self._at(place) for place in self._places[index]]
        return self._at(self._places[index])

    def _at(self, place: int) -> Demonstration:
        return self._items[place]


def split(
    stage: str, items: Sequence[Demonstration], spec: HeldoutRows
) -> tuple[Sequence[Demonstration], list[Demonstration]]:
    """What is trained on, and what is held out: a share of the conversations, by how they begin.

    At most `spec.most` replies, at least those of one conversation. Raises StageError where that is all.
    """
    share = spec.share or 0.0
    groups: dict[float, list[int]] = {}
    first = 2.0  # of all: what is held out where the share has none
    for place, item in enumerate(items):
        at = _place(item)
        if at < share or at <= first:
            groups.setdefault(at, []).append(place)
            first = min(first, at)
    held: list[int] = []
    for at, places in sorted(groups.items()):
        more = len(held) + len(places)
        if held and (at >= share or more > spec.most or more == len(items)):
            break
        held += places
    kept = sorted(held)
    out = set(kept)
    if len(out) == len(items):
        raise StageError(
            f"{stage}.heldout: all samples begin with the same user turn, so that none can be held out"
        )
    rest = array("Q", (place for place in range(len(items)) if place not in out))
    return Chosen(items, rest), [items[place] for place in kept[: spec.most]]


def _place(item: Demonstration) -> float:
    """Where a conversation stands between 0 and 1: a hash of its first user turn without case and spaces."""
    said = next((m.content for m in item.problem.messages if m.role == "user"), "")
    key = " ".join(said.lower().split()).encode()
    # a person of its own: the split of problems over stages goes by another hash of the same text
    digest = blake2b(key, digest_size=8, person=b"heldout").digest()
    return int.from_bytes(digest, "big") / 2**64


def likelihood(replicas: Replicas, model: str, made: Sequence[tuple[str, Ids]], every: int) -> HeldoutLoss:
    """The loss over the reply tokens of (source, (prompt, reply)); with several sources each has its own."""
    rows = [Row.of(*ids, 1.0) for _, ids in made]
    sources = [source for source, _ in made]
    names = list(dict.fromkeys(sources))
    tokens = [len(row.ids) - row.start for row in rows]

    def mean(numbers: Sequence[int], sums: Sequence[float]) -> float:
        return math.fsum(sums[i] for i in numbers) / sum(tokens[i] for i in numbers)

    def measure() -> dict[str, float]:
        sums = reply_losses(replicas, model, rows)
        found = {"loss": mean(range(len(rows)), sums)}
        if len(names) > 1:
            parts = {name: [i for i, source in enumerate(sources) if source == name] for name in names}
            found |= {f"loss/{name}": mean(numbers, sums) for name, numbers in parts.items()}
        return found

    return HeldoutLoss(every, f"{len(rows)} held-out replies ({sum(tokens):,} tokens)", measure)


def reply_losses(replicas: Replicas, model: str, rows: Sequence[Row]) -> list[float]:
    """Minus the log-probability of each row's response, in nats, spread over the workers."""
    shards = deal(range(len(rows)), [float(len(row.ids)) for row in rows], replicas.size)
    arguments = [(model, [rows[i] for i in shard], TOKENS) for shard in shards]
    found = [0.0] * len(rows)
    for shard, losses in zip(shards, replicas.map(score_replies, arguments), strict=True):
        for index, loss in zip(shard, losses, strict=True):
            found[index] = loss
    return found


def score_replies(worker: Worker, name: str, rows: Sequence[Row], tokens: int) -> list[float]:
    """Runs in a worker: minus the log-probability of each of its rows' responses, in their order."""
    model, found = worker.models[name], [0.0] * len(rows)
    with torch.no_grad():
        for group in microbatches(rows, tokens):
            batch = pack_rows([rows[i] for i in group], worker.device)
            logprob = token_logprobs(model.weights, model.config, batch, WHOLE)
            sums = torch.zeros(len(group), dtype=torch.float64, device=logprob.device)
            sums.index_add_(0, batch.rows, -logprob.double())
            for index, loss in zip(group, sums.tolist(), strict=True):
                found[index] = loss
    return found
