"""Updates one model of the replicas: who asks for gradients and steps, and when.

Each worker adds up the gradient of its own micro-batches (`gradients`); then each owns a part of the
parameters, takes the sum of their gradients over the workers and steps its own optimiser (`optimiser`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.model.activations import take_note
from cascade_rl.model.cost import Lengths, update_work
from cascade_rl.model.free_memory import shared_bytes
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.recipe import Training
from cascade_rl.train import optimiser, scalar_head
from cascade_rl.train.batch import Row, plant, shares
from cascade_rl.train.gradients import accumulate, merge
from cascade_rl.train.lora import save_adapter
from cascade_rl.train.objective import Objective


class Learner:
    """Updates the model `name` of the replicas by one stage's settings, with a fresh optimiser.

    `seed` is the run's: adapters start from a generator derived from it, the stage and the matrix. `notes`
    are for the run's journal: whoever writes them clears them.
    """

    def __init__(self, replicas: Replicas, name: str, spec: Training, seed: int = 0) -> None:
        self.replicas, self.name, self.spec = replicas, name, spec
        model = replicas.local.models[name]
        self.names = [name for name in model.shapes if name not in model.config.fixed()]
        self.notes: list[str] = []
        self._said = False  # that memory is short: once a stage, since every step would say it again
        # by time a step, not by size: with Muon a matrix costs its numbers times its short side
        costs = [optimiser.step_cost(model, n, spec.optimizer) for n in self.names]
        owners = [[self.names[i] for i in shard] for shard in deal(range(len(costs)), costs, replicas.size)]
        replicas.all(optimiser.own, name, owners, spec, f"{seed}/{spec.name}")

    def policy_step(self, rows: Sequence[Row], objective: Objective, lr_factor: float) -> dict[str, float]:
        """Gradient of all rows, then one update.

        Returns loss, gradient norm (before clipping), `update_ratio`, `skipped`, tokens, and of a policy k3
        and `loss.ratio_sums`.
        """
        # over the whole batch, prompts once: what a split over workers computes again is no useful work
        self._count([tree.lengths for tree, _ in plant(rows)], teachers=len(objective.teachers))
        shards = shares(rows, self.replicas.size)
        tokens, free = self.spec.tokens_per_microbatch, self._free()
        arguments = [(self.name, [rows[i] for i in s], tokens, objective, free) for s in shards]
        sums = self.replicas.map(accumulate, arguments)
        return self._update(sums, lr_factor)

    def pair_step(self, pairs: Sequence[tuple[Row, Row]], lr_factor: float) -> dict[str, float]:
        """Gradient of all pairs, then one update; loss, accuracy, margin, norm, `update_ratio`, `skipped`."""
        self._count([scalar_head.fork(*pair).lengths for pair in pairs], scored=False)
        costs = [float(len(a.ids) + len(b.ids)) for a, b in pairs]
        shards = deal(range(len(pairs)), costs, self.replicas.size)
        tokens, free = self.spec.tokens_per_microbatch, self._free()
        arguments = [(self.name, [pairs[i] for i in s], tokens, 1.0 / len(pairs), free) for s in shards]
        found = self._update(self.replicas.map(scalar_head.accumulate_pairs, arguments), lr_factor)
        return {
            "loss": found["loss"],
            "accuracy": found["right"] / len(pairs),
            "margin": found["margin"] / len(pairs),
            **{key: found[key] for key in ("grad_norm", "update_ratio", "skipped")},
        }

    def _count(self, trees: Sequence[Lengths], *, scored: bool = True, teachers: int = 0) -> None:
        config = self.replicas.local.models[self.name].config
        self.replicas.count("update", update_work(config, trees, scored=scored, teachers=teachers))

    def _free(self) -> float:
        """Each worker's part of the memory that nobody holds; on GPUs each asks for its own."""
        return shared_bytes(self.replicas.device) / self.replicas.size

    def _update(self, sums: Sequence[dict[str, float]], lr_factor: float) -> dict[str, float]:
        found = merge(sums)
        note = take_note(found)
        if note and not self._said:
            self.notes.append(note)
            self._said = True
        squares = merge(self.replicas.all(optimiser.reduce, self.name))
        # added in the order of the names, not as workers own them: the norm decides about clipping
        norm = math.sqrt(sum(squares[name] for name in self.names if name in squares))
        finite, ratio = math.isfinite(norm) and math.isfinite(found["loss"]), 0.0
        # Decided here for all workers: each owns a part of the weights, and half a step is none. A skipped
        # step leaves the moments as they were, too; the loop counts it.
        if finite:
            scale = min(1.0, self.spec.grad_clip / (norm + 1e-6))  # 1e-6 as in torch's clip_grad_norm_
            moved = self.replicas.all(optimiser.step, self.name, scale, lr_factor)
            ratio = optimiser.update_ratio(self.names, moved)
            self.replicas.refresh(self.name)
        else:
            self.replicas.all(optimiser.skip, self.name)
        return {**found, "grad_norm": norm, "update_ratio": ratio, "skipped": 0.0 if finite else 1.0}

    def save(self, folder: Path) -> None:
        """Write the optimiser's state, one file a worker."""
        self.replicas.all(optimiser.save, self.name, str(folder))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; raises InputError if that was another number of workers."""
        # moments are split by owner, and who owns what follows from the number of workers
        if (saved := len(list(folder.glob("optimizer-*.pt")))) != self.replicas.size:
            raise InputError(
                f"{folder} was saved by {saved} workers, and an optimiser is resumed by as many: "
                f"set workers: {saved}"
            )
        self.replicas.all(optimiser.load, self.name, str(folder))

    def save_adapter(self, folder: Path, base: Path, dtype: str = "fp32") -> None:
        """Write the adapter as it is now, for the model at `base`; ValueError of a stage without `lora`."""
        if self.spec.lora is None:
            raise ValueError(f"{self.spec.name} trains all weights: there is no adapter")
        save_adapter(folder, self.replicas, self.name, self.spec.lora, base, dtype)


def lr_factor(spec: Training, step: int, total: int) -> float:
    """The share of the peak learning rate at `step` of `total`: linear warm-up, then the schedule.

    The schedule ends after `schedule_steps`, where the stage says so, and else after `total`.
    """
    if step < spec.warmup_steps:  # in equal parts from above 0 to below 1: no step is without effect
        return (step + 1) / (spec.warmup_steps + 1)
    # 0 at the first step after the warm-up; 1 would be at the horizon, one after the last step
    horizon = spec.schedule_steps or total
    progress = (step - spec.warmup_steps) / max(1, horizon - spec.warmup_steps)
    if spec.schedule == "constant":
        return 1.0
    fall = progress if spec.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - spec.final_lr_fraction) * fall
