"""The gradient of a worker's rows: what runs in the workers before the optimiser.

Each worker adds up the gradient of its own micro-batches in its model; only sums come back. See `learner`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cascade_rl.model.activations import Room
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.weights import Model
from cascade_rl.model.worker import Worker
from cascade_rl.protocols import SamplingRule
from cascade_rl.train.batch import Batch, Row, microbatches, pack_rows
from cascade_rl.train.loss import kl_k3, nll_loss, policy_loss, ratio_sums
from cascade_rl.train.objective import Objective, token_logprobs


def room_of(worker: Worker, free: float) -> Room:
    """What a worker has for a micro-batch: its part of the free memory, and what it holds unused."""
    if worker.device.type == "cuda" and math.isfinite(free):  # infinite: without a limit
        free = shared_bytes(worker.device)  # its own GPU's
    return Room(free + own_bytes(worker.device))


def accumulate(
    worker: Worker, name: str, rows: Sequence[Row], tokens: int, objective: Objective, free: float = math.inf
) -> dict[str, float]:
    """Runs in a worker: the gradient of its rows; sums of loss, k3, tokens and (policy) `ratio_sums`.

    `free` bytes are its part of the memory; what `Room` found when they were too few is among the sums.
    """
    model, room = worker.models[name], room_of(worker, free)
    sums: list[dict[str, Tensor]] = []
    groups = microbatches(rows, tokens, shared=model.config.SHARES)
    model.begin(len(groups))  # also for none: over several GPUs all workers must meet here
    # the head alone: with a gradient the layers' products are plain ones (see `fused`)
    with model.config.laid_out(model.weights, layers=False):
        for group in groups:
            batch = pack_rows([rows[i] for i in group], worker.device)
            sums.append(_add_gradient(worker, model, batch, objective, room))
    model.end()
    scored = sum(len(rows[i].ids) - rows[i].start for group in groups for i in group)
    return merge([{"loss": 0.0, "kl": 0.0, "tokens": float(scored)}, *told(sums), room.short])


def _add_gradient(
    worker: Worker, model: Model, batch: Batch, objective: Objective, room: Room
) -> dict[str, Tensor]:
    """The gradient of one micro-batch, and its sums, as numbers of the device (`told`)."""
    recompute = room.too_small(model.config, batch.packed, model.dtype.itemsize, objective.rule)
    logprob = model.run(token_logprobs, batch, objective.rule, recompute)
    sums: dict[str, Tensor] = {}
    if objective.surrogate is None:
        loss = nll_loss(logprob, batch.weight)
    else:
        loss, touched = policy_loss(
            objective.surrogate, logprob, batch.old, batch.advantage, batch.weight, batch.rows
        )
        sums = ratio_sums(logprob, batch.old, touched)
    for teacher in objective.teachers:  # one at a time: each holds its own activations only while it scores
        k3 = kl_k3(logprob, _taught(worker.models[teacher.model], batch, objective.rule))
        distance = (batch.weight * k3).sum()
        loss = loss + teacher.coefficient * distance
        distance = distance.detach().double()
        sums["kl"] = sums["kl"] + distance if "kl" in sums else distance
    torch.autograd.backward(loss)
    return sums | {"loss": loss.detach()}


def told(parts: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
    """Numbers of the device as the host's: one transfer for all, since a GPU is waited for with each."""
    flat = [value.double() for part in parts for value in part.values()]
    values = iter(torch.stack(flat).tolist() if flat else ())
    return [{name: next(values) for name in part} for part in parts]


def _taught(teacher: Model, batch: Batch, rule: SamplingRule) -> Tensor:
    """A teacher's log-probabilities [N] of the targets."""
    with torch.no_grad():
        return token_logprobs(teacher.weights, teacher.config, batch, rule)


def merge(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sums by name, in the order of the parts; the largest where the name ends in `_max`."""
    found: dict[str, float] = {}
    for part in parts:
        for key, value in part.items():
            before = found.get(key, 0.0)
            found[key] = max(before, value) if key.endswith("_max") else before + value
    return found
