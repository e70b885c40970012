"""Gradients and updates of one model: what runs in the workers, and who asks for it.

Each worker adds up the gradient of its own micro-batches; then each owns a part of the parameters, takes the sum of
their gradients over the workers and steps its own optimiser. AdamW is torch's; with `muon` torch's Muon
(arXiv 2502.16982) takes the matrices. Over GPUs a part is a shard of each parameter, or, for what needs whole matrices
(Muon, LoRA), whole parameters as on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.errors import InputError
from cascade_rl.model.activations import Room, take_note
from cascade_rl.model.cost import Lengths, update_work
from cascade_rl.model.decoder import DecoderConfig, head_logits, head_weight, packed_states, truncate
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.fused import read_out, target_logprobs
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.products import laid_out
from cascade_rl.model.replicas import Model, Replicas, Worker, deal
from cascade_rl.recipe import Training
from cascade_rl.train.batch import Batch, Row, fill, microbatches, pack_rows, plant, shares
from cascade_rl.train.change import Squares, squares, update_ratio
from cascade_rl.train.lora import Adapted, write_adapter
from cascade_rl.train.loss import (
    ON_POLICY,
    Surrogate,
    bradley_terry_loss,
    kl_k3,
    nll_loss,
    policy_loss,
    ratio_sums,
)

if TYPE_CHECKING:
    from cascade_rl.model.sharding import Sharded

HEAD_CHUNK = 1 << 25  # logits held at once when the distribution is truncated, in numbers


@dataclass(frozen=True, slots=True)
class Objective:
    """Which loss: `nll` or `policy`, with the sampling rule that the log-probabilities follow, a KL term, and its variant."""

    kind: str
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    kl: float = 0.0
    surrogate: Surrogate = ON_POLICY

    def truncates(self, config: DecoderConfig) -> bool:
        """Whether some tokens could not be sampled."""
        return self.top_p < 1 or 0 < self.top_k < config.vocab or self.min_p > 0


def token_logprobs(weights, config, batch: Batch, objective: Objective, recompute: bool = False) -> Tensor:
    """Log-probabilities [N] of the targets, under the distribution they were sampled from; the head runs in chunks.

    With `recompute` the layers run again in the backward pass.
    """
    hidden = packed_states(weights, config, batch.packed, recompute)
    if not objective.truncates(config):
        return target_logprobs(hidden, head_weight(weights), batch.targets, objective.temperature)
    size = max(1, HEAD_CHUNK // config.vocab)

    def score(part: Tensor, targets: Tensor) -> Tensor:
        logits = head_logits(weights, part)
        rule = (objective.temperature, objective.top_p, objective.top_k, objective.min_p)
        logprobs = truncate(logits, *rule, targets)
        return logprobs.gather(-1, targets[:, None])[:, 0]

    if len(hidden) <= size:
        return score(hidden, batch.targets)
    parts = zip(hidden.split(size), batch.targets.split(size), strict=True)
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
    worker: Worker, model: Model | Sharded, batch: Batch, objective: Objective, room: Room
) -> dict[str, float]:
    """The gradient of one micro-batch, and its sums."""
    chunk = HEAD_CHUNK // model.config.vocab if objective.truncates(model.config) else None
    recompute = room.too_small(model.config, batch.packed, model.dtype.itemsize, chunk)
    logprob, sums = model.run(token_logprobs, batch, objective, recompute), {}
    if objective.kind == "nll":
        loss = nll_loss(logprob, batch.weight)
    else:
        loss, touched = policy_loss(
            objective.surrogate, logprob, batch.old, batch.advantage, batch.weight, batch.rows
        )
        sums = ratio_sums(logprob, batch.old, touched)
    if objective.kl:
        reference = worker.models["reference"]
        with torch.no_grad():
            fixed = token_logprobs(reference.weights, reference.config, batch, objective)
        k3 = kl_k3(logprob, fixed)
        loss = loss + objective.kl * (batch.weight * k3).sum()
        sums["kl"] = float((batch.weight * k3).sum().detach())
    loss.backward()
    return sums | {"loss": float(loss.detach()), "tokens": float(len(batch.targets))}


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
    weights, config, trees: Sequence[Tree], device: torch.device, itemsize: int = 4, room: Room | None = None
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
    """Runs in a worker: the gradient of the Bradley-Terry loss of its (chosen, rejected) pairs; see `accumulate`."""
    model, room = worker.models[name], room_of(worker, free)
    sums = {"loss": 0.0, "right": 0.0, "margin": 0.0}
    trees = [fork(*pair) for pair in pairs]
    groups = fill([tree.tokens for tree in trees], tokens)
    model.begin(len(groups))
    for group in groups:
        scores = model.run(last_scores, [trees[i] for i in group], worker.device, model.dtype.itemsize, room)
        chosen, rejected = scores.view(-1, 2).unbind(1)
        loss = bradley_terry_loss(chosen, rejected, weight)
        loss.backward()
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


def is_matrix(name: str, shape: Sequence[int]) -> bool:
    """Whether Muon takes a parameter: a matrix that neither is looked up in nor reads the final state out."""
    return len(shape) == 2 and name not in ("embed", "head", "score")


def _step_cost(name: str, shape: Sequence[int], optimizer: str) -> float:
    """About how long a parameter's step takes: Muon's five iterations multiply the matrix with its short side."""
    numbers = float(math.prod(shape))
    return numbers * min(shape) if optimizer == "muon" and is_matrix(name, shape) else numbers


class _Owned:
    """A worker's share of the optimiser: the parameters that it owns, with their summed gradients."""

    def __init__(self, model: Model | Sharded, parameters: Mapping[str, Tensor], spec: Training) -> None:
        self.model, self.parameters = model, parameters
        matrices = [n for n, p in self.parameters.items() if is_matrix(n, p.shape)]
        others = [n for n, p in self.parameters.items() if not is_matrix(n, p.shape)]
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = []
        self.stepped_by: dict[str, torch.optim.Optimizer] = {}
        if spec.optimizer != "muon":
            matrices, others = [], matrices + others
        if matrices:
            chosen = [self.parameters[n] for n in matrices]
            muon = torch.optim.Muon(chosen, lr=spec.muon_lr, weight_decay=spec.weight_decay)
            self.optimizers.append((muon, spec.muon_lr))
            self.stepped_by |= dict.fromkeys(matrices, muon)
        if others:
            chosen = [self.parameters[n] for n in others]
            adam = torch.optim.AdamW(
                chosen, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=True
            )
            self.optimizers.append((adam, spec.lr))
            self.stepped_by |= dict.fromkeys(others, adam)

    def reduce(self) -> dict[str, float]:
        """Take the owned gradients; their squared norms by name."""
        norms = {}
        for name, parameter in self.parameters.items():
            parameter.grad = self.model.gradient(name)
            norms[name] = float(torch.linalg.vector_norm(parameter.grad, dtype=torch.float64)) ** 2
        return norms

    def step(self, scale: float, lr_factor: float) -> Squares:
        """One optimiser step with gradients times `scale` and learning rates times `lr_factor`; see `Squares`.

        The parameters go one by one, so that what they were is held of one at a time.
        """
        gradients = {name: parameter.grad.mul_(scale) for name, parameter in self.parameters.items()}
        for parameter in self.parameters.values():
            parameter.grad = None
        for optimizer, lr in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * lr_factor
        found = []
        for name, parameter in self.parameters.items():
            before = parameter.clone()
            parameter.grad = gradients[name]
            self.stepped_by[name].step()
            parameter.grad = None
            weights = torch.linalg.vector_norm(before)
            found += [torch.linalg.vector_norm(before.sub_(parameter)), weights]
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name]
        return squares(self.parameters, found)

    def extra_state(self) -> dict[str, Tensor]:
        """What the optimisers' own states don't hold: nothing, the weights are saved by the loop."""
        return {}

    def load_extra(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take over."""


def _own(worker: Worker, name: str, owners: Sequence[Sequence[str]], spec: Training, seed: str) -> None:
    model = worker.models[name]
    parameters = model.owned(owners, whole=spec.optimizer == "muon" or spec.lora is not None)
    model.optimizer = Adapted(model, parameters, spec, seed) if spec.lora else _Owned(model, parameters, spec)


def _reduce(worker: Worker, name: str) -> dict[str, float]:
    model = worker.models[name]
    model.gather()
    return model.optimizer.reduce()


def _step(worker: Worker, name: str, scale: float, lr_factor: float) -> Squares:
    model = worker.models[name]
    found = model.optimizer.step(scale, lr_factor)
    model.scatter()
    return found


def _save_optimizer(worker: Worker, name: str, folder: str) -> None:
    owned = worker.models[name].optimizer
    states = [optimizer.state_dict() for optimizer, _ in owned.optimizers]
    torch.save(
        {"optimizers": states, "extra": owned.extra_state()}, Path(folder) / f"optimizer-{worker.rank}.pt"
    )


def _load_optimizer(worker: Worker, name: str, folder: str) -> None:
    owned = worker.models[name].optimizer
    found = torch.load(Path(folder) / f"optimizer-{worker.rank}.pt", weights_only=True)
    for (optimizer, _), state in zip(owned.optimizers, found["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    owned.load_extra(found["extra"])


def _peft_state(worker: Worker, name: str) -> dict[str, Tensor]:
    return worker.models[name].optimizer.peft_state()


class Learner:
    """Updates the model `name` of the replicas by one stage's settings, with a fresh optimiser.

    `seed` is the run's: adapters start from a generator derived from it, the stage and the matrix. `notes` are for the
    run's journal: whoever writes them clears them.
    """

    def __init__(self, replicas: Replicas, name: str, spec: Training, seed: int = 0) -> None:
        self.replicas, self.name, self.spec = replicas, name, spec
        model = replicas.local.models[name]
        self.names = list(model.shapes)
        self.notes: list[str] = []
        self._said = False
        costs = [_step_cost(n, model.shapes[n], spec.optimizer) for n in self.names]
        owners = [[self.names[i] for i in shard] for shard in deal(range(len(costs)), costs, replicas.size)]
        replicas.all(_own, name, owners, spec, f"{seed}/{spec.name}")

    def policy_step(self, rows: Sequence[Row], objective: Objective, lr_factor: float) -> dict[str, float]:
        """Gradient of all rows, then one update; loss, gradient norm (before clipping), `update_ratio`, k3 and tokens."""
        self._count([tree for tree, _ in plant(rows)], reference=objective.kl > 0)
        shards = shares(rows, self.replicas.size)
        tokens, free = self.spec.tokens_per_microbatch, self._free()
        arguments = [(self.name, [rows[i] for i in s], tokens, objective, free) for s in shards]
        sums = self.replicas.map(accumulate, arguments)
        return self._update(sums, lr_factor)

    def pair_step(self, pairs: Sequence[tuple[Row, Row]], lr_factor: float) -> dict[str, float]:
        """Gradient of all pairs, then one update; loss, accuracy, margin, gradient norm and `update_ratio`."""
        self._count([fork(*pair) for pair in pairs], scored=False)
        costs = [float(len(a.ids) + len(b.ids)) for a, b in pairs]
        shards = deal(range(len(pairs)), costs, self.replicas.size)
        tokens, free = self.spec.tokens_per_microbatch, self._free()
        arguments = [(self.name, [pairs[i] for i in s], tokens, 1.0 / len(pairs), free) for s in shards]
        found = self._update(self.replicas.map(accumulate_pairs, arguments), lr_factor)
        return {"loss": found["loss"], "accuracy": found["right"] / len(pairs), "margin": found["margin"] / len(pairs),
                **{key: found[key] for key in ("grad_norm", "update_ratio", "skipped")}}  # fmt: skip

    def _count(self, trees: Sequence[Tree], **how: bool) -> None:
        lengths: list[Lengths] = [(len(t.prefix), [len(b) for b in t.branches]) for t in trees]
        self.replicas.count(
            "update", update_work(self.replicas.local.models[self.name].config, lengths, **how)
        )

    def _free(self) -> float:
        """Each worker's part of the memory that nobody holds; on GPUs each asks for its own."""
        return shared_bytes(self.replicas.device) / self.replicas.size

    def _update(self, sums: Sequence[dict[str, float]], lr_factor: float) -> dict[str, float]:
        found = merge(sums)
        note = take_note(found)
        if note and not self._said:
            self.notes.append(note)
            self._said = True
        squares = merge(self.replicas.all(_reduce, self.name))
        norm = math.sqrt(sum(squares[name] for name in self.names if name in squares))
        finite, ratio = math.isfinite(norm) and math.isfinite(found["loss"]), 0.0
        if finite:
            scale = min(1.0, self.spec.grad_clip / (norm + 1e-6))
            ratio = update_ratio(self.names, self.replicas.all(_step, self.name, scale, lr_factor))
            self.replicas.refresh(self.name)
        return {**found, "grad_norm": norm, "update_ratio": ratio, "skipped": 0.0 if finite else 1.0}

    def save(self, folder: Path) -> None:
        """Write the optimiser's state, one file a worker."""
        self.replicas.all(_save_optimizer, self.name, str(folder))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; raises InputError if that was another number of workers."""
        if (saved := len(list(folder.glob("optimizer-*.pt")))) != self.replicas.size:
            raise InputError(f"{folder} was saved by {saved} workers, and an optimiser is resumed by as many: set workers: "
                             f"{saved}")  # fmt: skip
        self.replicas.all(_load_optimizer, self.name, str(folder))

    def save_adapter(self, folder: Path, base: str) -> None:
        """Write the adapter as it is now, for the model at `base`; only with `lora`."""
        state: dict[str, Tensor] = {}
        for part in self.replicas.all(_peft_state, self.name):
            state |= part
        write_adapter(folder, state, self.spec.lora, base)


def lr_factor(spec: Any, step: int, total: int) -> float:
    """The share of the peak learning rate at `step` of `total`: linear warm-up, then the schedule."""
    if step < spec.warmup_steps:
        return (step + 1) / (spec.warmup_steps + 1)
    progress = (step - spec.warmup_steps) / max(1, total - spec.warmup_steps)
    if spec.schedule == "constant":
        return 1.0
    fall = progress if spec.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - spec.final_lr_fraction) * fall
