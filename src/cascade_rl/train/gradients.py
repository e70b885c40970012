"""The gradient of a worker's rows or pairs, and scores: what runs in the workers before the optimiser.

Each worker adds up the gradient of its own micro-batches in its model; only sums come back. See `learner`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.model.activations import Room
from cascade_rl.model.decoder import DecoderConfig, head_logits, head_weight, packed_states, truncate
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.fused import read_out, target_logprobs
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.products import laid_out
from cascade_rl.model.weights import Model
from cascade_rl.model.worker import Worker
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.train.batch import Batch, Row, fill, microbatches, pack_rows
from cascade_rl.train.loss import (
    Surrogate,
    bradley_terry_loss,
    kl_k3,
    nll_loss,
    policy_loss,
    ratio_sums,
)

HEAD_CHUNK = 1 << 25  # logits held at once when the distribution is truncated, in numbers


@dataclass(frozen=True, slots=True)
class Teacher:
    """A penalty on being far from another model of the workers: `coefficient`
    times KL(policy || teacher), by k3.
    """

    model: str
    coefficient: float


@dataclass(frozen=True, slots=True)
class Objective:
    """Which loss, on which distribution, near which teachers.

    surrogate  of a policy's; None is the plain likelihood of the rows (SFT), which looks at no advantage
    rule       what the log-probabilities follow: that which the rows were sampled by
    teachers   each adds its KL term, under the same rule
    """

    surrogate: Surrogate | None
    rule: SamplingRule = WHOLE
    teachers: tuple[Teacher, ...] = ()


LIKELIHOOD = Objective(surrogate=None)


def token_logprobs(
    weights: Mapping[str, Tensor],
    config: DecoderConfig,
    batch: Batch,
    rule: SamplingRule,
    recompute: bool = False,
) -> Tensor:
    """Log-probabilities [N] of the targets, under the distribution they were
    sampled from; the head runs in chunks.

    With `recompute` the layers run again in the backward pass.
    """
    hidden = packed_states(weights, config, batch.packed, recompute)
    if not rule.truncates(config.vocab):
        return target_logprobs(hidden, head_weight(weights), batch.targets, rule.temperature)
    size = max(1, HEAD_CHUNK // config.vocab)

    def score(part: Tensor, targets: Tensor) -> Tensor:
        logprobs = truncate(head_logits(weights, part), rule, targets)
        return logprobs.gather(-1, targets[:, None])[:, 0]

    if len(hidden) <= size:
        return score(hidden, batch.targets)
    parts = zip(torch.split(hidden, size), torch.split(batch.targets, size), strict=True)
    return torch.cat([checkpoint(score, part, targets, use_reentrant=False) for part, targets in parts])


def room_of(worker: Worker, free: float) -> Room:
    """What a worker has for a micro-batch: its part of the free memory, and what it holds unused."""
    if worker.device.type == "cuda" and math.isfinite(free):
        free = shared_bytes(worker.device)  # its own GPU's
    return Room(free + own_bytes(worker.device))


def accumulate(
    worker: Worker, name: str, rows: Sequence[Row], tokens: int, objective: Objective, free: float = math.inf
) -> dict[str, float]:
    """Runs in a worker: the gradient of its rows; sums of loss, k3, tokens and (policy) `ratio_sums`.

    `free` bytes are its part of the memory; what `Room` found when they were too few is among the sums.
    """
    model, room = worker.models[name], room_of(worker, free)
    sums = [{"loss": 0.0, "kl": 0.0, "tokens": 0.0}]
    groups = microbatches(rows, tokens)
    model.begin(len(groups))
    with laid_out(model.weights, layers=False):
        for group in groups:
            batch = pack_rows([rows[i] for i in group], worker.device)
            sums.append(_add_gradient(worker, model, batch, objective, room))
    model.end()
    return merge([*sums, room.short])


def _add_gradient(
    worker: Worker, model: Model, batch: Batch, objective: Objective, room: Room
) -> dict[str, float]:
    """The gradient of one micro-batch, and its sums."""
    truncated = objective.rule.truncates(model.config.vocab)
    chunk = HEAD_CHUNK // model.config.vocab if truncated else None
    recompute = room.too_small(model.config, batch.packed, model.dtype.itemsize, chunk)
    logprob = model.run(token_logprobs, batch, objective.rule, recompute)
    sums: dict[str, float] = {}
    if objective.surrogate is None:
        loss = nll_loss(logprob, batch.weight)
    else:
        loss, touched = policy_loss(
            objective.surrogate, logprob, batch.old, batch.advantage, batch.weight, batch.rows
        )
        sums = ratio_sums(logprob, batch.old, touched)
    for teacher in objective.teachers:
        k3 = kl_k3(logprob, _taught(worker.models[teacher.model], batch, objective.rule))
        distance = (batch.weight * k3).sum()
        loss = loss + teacher.coefficient * distance
        sums["kl"] = sums.get("kl", 0.0) + float(distance.detach())
    torch.autograd.backward(loss)
    return sums | {"loss": float(loss.detach()), "tokens": float(len(batch.targets))}


def _taught(teacher: Model, batch: Batch, rule: SamplingRule) -> Tensor:
    """A teacher's log-probabilities [N] of the targets."""
    with torch.no_grad():
        return token_logprobs(teacher.weights, teacher.config, batch, rule)


def merge(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sums by name, in the order of the parts; the largest where the name ends in `_max`."""
    found: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            found[key] = (
                max(found.get(key, 0.0), value) if key.endswith("_max") else found.get(key, 0.0) + value
            )
    return found


def last_scores(
    weights: Mapping[str, Tensor],
    config: DecoderConfig,
    trees: Sequence[Tree],
    device: torch.device,
    itemsize: int = 4,
    room: Room | None = None,
) -> Tensor:
    """The scalar head on the last token of each branch, tree by tree (reward model)."""
    packed = pack(trees, device)
    recompute = room is not None and room.too_small(config, packed, itemsize, 0)
    hidden = packed_states(weights, config, packed, recompute)
    ends = torch.tensor(packed.lengths, device=device).cumsum(0) - 1
    order = sorted(range(len(packed.order)), key=packed.order.__getitem__)
    return read_out(hidden[ends[torch.tensor(order, device=device)]], weights["score"])[:, 0]


def stem(row: Row) -> Tree:
    """A row whose last token alone is of interest."""
    return Tree(row.ids[:-1], (row.ids[-1:],))


def fork(first: Row, second: Row) -> Tree:
    """Two rows as one tree: what they begin with alike, and how each goes on."""
    short = min(len(first.ids), len(second.ids)) - 1
    alike = first.ids[:short] == second.ids[:short]
    common = short if alike.all() else int(alike.argmin())
    return Tree(first.ids[:common], (first.ids[common:], second.ids[common:]))


def accumulate_pairs(
    worker: Worker,
    name: str,
    pairs: Sequence[tuple[Row, Row]],
    tokens: int,
    weight: float,
    free: float = math.inf,
) -> dict[str, float]:
    """Runs in a worker: the gradient of the Bradley-Terry loss of its (chosen,
    rejected) pairs; see `accumulate`.
    """
    model, room = worker.models[name], room_of(worker, free)
    sums = {"loss": 0.0, "right": 0.0, "margin": 0.0}
    trees = [fork(*pair) for pair in pairs]
    groups = fill([tree.tokens for tree in trees], tokens)
    model.begin(len(groups))
    for group in groups:
        scores = model.run(last_scores, [trees[i] for i in group], worker.device, model.dtype.itemsize, room)
        chosen, rejected = scores.view(-1, 2).unbind(1)
        loss = bradley_terry_loss(chosen, rejected, weight)
        torch.autograd.backward(loss)
        sums["loss"] += float(loss.detach())
        sums["right"] += float((chosen > rejected).sum())
        sums["margin"] += float((chosen - rejected).sum().detach())
    model.end()
    return sums | room.short


def score_rows(worker: Worker, name: str, rows: Sequence[Row], tokens: int) -> list[float]:
    """Runs in a worker: reward-model scores of its rows, in their order."""
    model, found = worker.models[name], [0.0] * len(rows)
    with torch.inference_mode():
        for group in fill([len(r.ids) for r in rows], tokens):
            scores = last_scores(model.weights, model.config, [stem(rows[i]) for i in group], worker.device)
            for index, value in zip(group, scores.tolist(), strict=True):
                found[index] = value
    return found
