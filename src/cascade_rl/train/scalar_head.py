"""The scalar head of a reward model, in the workers: the gradient of pairs, and scores of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.activations import Room
from cascade_rl.model.head import read_out
from cascade_rl.model.network import Network
from cascade_rl.model.packed import Tree, pack, placed
from cascade_rl.model.worker import Worker
from cascade_rl.train.batch import Row, fill
from cascade_rl.train.gradients import merge, room_of, told
from cascade_rl.train.loss import bradley_terry_loss


def last_scores(
    weights: Mapping[str, Tensor],
    config: Network,
    trees: Sequence[Tree],
    device: torch.device,
    itemsize: int = 4,
    room: Room | None = None,
) -> Tensor:
    """The scalar head on the last token of each branch, tree by tree: fp32 [branches of all trees]."""
    packed = pack(trees, device)
    # None: no logits over the vocabulary are made
    recompute = room is not None and room.too_small(config, packed, itemsize, None)
    hidden = config.states(weights, packed, recompute)
    ends = np.cumsum(packed.lengths) - 1
    # the pack sorts trees by size; (tree, branch) sorted is the order they came in
    order = sorted(range(len(packed.order)), key=packed.order.__getitem__)
    return read_out(hidden[placed(ends[order], device)], weights["score"])[:, 0]


def stem(row: Row) -> Tree:
    """A row whose last token alone is of interest: the rest as prefix is left out of the last layer."""
    return Tree(row.ids[:-1], (row.ids[-1:],))


def fork(first: Row, second: Row) -> Tree:
    """Two rows as one tree: what they begin with alike, and how each goes on."""
    short = min(len(first.ids), len(second.ids)) - 1  # a branch keeps one token at least: its score's
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
    """Runs in a worker: the gradient of Bradley-Terry's loss of its (chosen, rejected) pairs.

    `weight` is one over all pairs of the batch; `tokens` and `free` as in `gradients.accumulate`.
    """
    model, room = worker.models[name], room_of(worker, free)
    sums: list[dict[str, Tensor]] = []
    trees = [fork(*pair) for pair in pairs]
    groups = fill([tree.tokens for tree in trees], tokens)
    model.begin(len(groups))
    for group in groups:
        scores = model.run(last_scores, [trees[i] for i in group], worker.device, model.dtype.itemsize, room)
        chosen, rejected = scores.view(-1, 2).unbind(1)
        loss = bradley_terry_loss(chosen, rejected, weight)
        torch.autograd.backward(loss)
        with torch.no_grad():
            right, margin = (chosen > rejected).sum(), (chosen - rejected).sum()
        sums.append({"loss": loss.detach(), "right": right, "margin": margin})
    model.end()
    return merge([{"loss": 0.0, "right": 0.0, "margin": 0.0}, *told(sums), room.short])


def score_rows(worker: Worker, name: str, rows: Sequence[Row], tokens: int) -> list[float]:
    """Runs in a worker: reward-model scores of its rows, in their order."""
    model, found = worker.models[name], [0.0] * len(rows)
    with torch.inference_mode():
        for group in fill([len(r.ids) for r in rows], tokens):
            scores = last_scores(model.weights, model.config, [stem(rows[i]) for i in group], worker.device)
            for index, value in zip(group, scores.tolist(), strict=True):
                found[index] = value
    return found
