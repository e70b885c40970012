"""The same updates in one process and sharded over several workers; what differs, as numbers.

pytest runs the cases on a CPU with gloo (tests/test_sharding.py). On a machine with several GPUs run them with NCCL:

    python tests/sharded_cases.py --device cuda --workers 2
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from tiny import SHAPE, random_flat, raw_config

from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.recipe import LoRA, Training
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import LIKELIHOOD, Objective, Teacher

ODD = SHAPE.model_copy(update={"hidden_size": 33})  # rows that two workers can't share evenly
SPEC = Training(name="x", lr=2e-3, weight_decay=0.1, grad_clip=0.5, tokens_per_microbatch=25)
MUON = SPEC.model_copy(update={"optimizer": "muon", "muon_lr": 0.01})
ADAPTERS = SPEC.model_copy(update={"lr": 0.01, "lora": LoRA(rank=3, alpha=6.0)})
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
UNTIED = {"tie_word_embeddings": False}


@dataclass(frozen=True)
class Case:
    """One kind of update: the objective (None: pairs of a reward model), the optimiser, how many rows, config changes."""

    objective: Objective | None
    spec: Training = SPEC
    rows: int = 9
    changes: tuple[tuple[str, object], ...] = ()
    precision: str = "fp32"

    @property
    def config(self) -> DecoderConfig:
        return DecoderConfig.from_hf(raw_config(ODD) | dict(self.changes))

    @property
    def rounding(self) -> float:
        """How far a split into two may move metrics and weights; Muon multiplies in bf16, whatever the precision."""
        return 0.05 if self.precision == "bf16" else 0.01 if self.spec is MUON else 1e-5

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        return {} if self.objective else {"score": (1, self.config.hidden)}


CASES = {
    "sft": Case(LIKELIHOOD),
    "rl": Case(Objective(ON_POLICY, SamplingRule(0.8))),
    "rl, truncated, with KL": Case(Objective(ON_POLICY, SamplingRule(0.8, 0.9, 40), (Teacher("reference", 0.5),))),
    "rl, fewer rows than workers": Case(Objective(ON_POLICY), rows=1),
    "rl, qwen2 with a head": Case(Objective(ON_POLICY), changes=(("model_type", "qwen2"), *UNTIED.items())),
    "reward model": Case(None),
    "reward model with an idle worker": Case(None, rows=1, changes=tuple(UNTIED.items())),
    "muon": Case(Objective(ON_POLICY), MUON),
    "lora": Case(Objective(ON_POLICY), ADAPTERS),
    "lora of a reward model": Case(None, ADAPTERS),
}  # fmt: skip
CASES |= {
    f"{name}, bf16": replace(CASES[name], precision="bf16")
    for name in ("sft", "rl, truncated, with KL", "lora of a reward model")
}


def make_rows(count: int, seed: int) -> list[Row]:
    """Rows of very unlike lengths, so that workers have unlike numbers of micro-batches; weights that add up to one."""
    rng = random.Random(seed)
    lengths = [40 if i == 0 else rng.randint(1, 12) for i in range(count)]
    made = [([rng.randrange(1, 260) for _ in range(rng.randint(3, 20))], [rng.randrange(1, 260) for _ in range(n)])
            for n in lengths]  # fmt: skip
    return [Row.of(p, r, 1 / sum(lengths), rng.gauss(0, 1)) for p, r in made]


@contextmanager
def learning(case: Case, replicas: Replicas) -> Iterator[Learner]:
    """A learner of the case's model in workers, which forget it afterwards."""
    torch.set_num_threads(1)
    replicas.dtype = DTYPES[case.precision]
    start = random_flat(case.config, 4, 0.1, case.extra)
    replicas.add_model("policy", case.config, start, train=True, extra=case.extra)
    replicas.add_model("reference", case.config, random_flat(case.config, 5, 0.1), train=False)
    yield Learner(replicas, "policy", case.spec)
    replicas.drop_model("policy")
    replicas.drop_model("reference")


def step(case: Case, learner: Learner, number: int) -> dict[str, float]:
    """One update on the rows of that step."""
    rows = make_rows(case.rows * (1 if case.objective else 2), number)
    if case.objective:
        return learner.policy_step(rows, case.objective, 1.0)
    return learner.pair_step(list(zip(rows[::2], rows[1::2], strict=True)), 1.0)


Trained = tuple[list[dict[str, float]], torch.Tensor]


def trained(case: Case, replicas: Replicas, steps: int = 3) -> Trained:
    """The metrics of each step, and the weights at the end."""
    with learning(case, replicas) as learner:
        found = [step(case, learner, number) for number in range(steps)]
        return found, replicas.flat("policy").detach().cpu().clone()


def difference(case: Case, one: Trained, two: Trained) -> tuple[float, float]:
    """The largest difference of a metric, and that of the weights.

    The first relative to the metric where that is over 0.1, the second to how far the weights went from the start.
    """
    gaps = [
        abs(a[key] - b[key]) / max(abs(a[key]), 0.1) for a, b in zip(one[0], two[0], strict=True) for key in a
    ]
    metrics = max(math.inf if math.isnan(gap) else gap for gap in gaps)
    away = (one[1] - random_flat(case.config, 4, 0.1, case.extra)).norm()
    return metrics, float((one[1] - two[1]).norm() / away)


def main() -> None:
    """Print the differences of all cases; fails where one is more than rounding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    failed = []
    with (
        Replicas(1, options.device) as alone,
        Replicas(options.workers, options.device, sharded=True) as sharded,
    ):
        for name, case in CASES.items():
            metrics, weights = difference(case, trained(case, alone), trained(case, sharded))
            print(
                f"{name:36} metrics differ by {metrics:.1e}, weights by {weights:.1e} of their way",
                flush=True,
            )
            if not (metrics <= case.rounding and weights <= case.rounding):
                failed.append(name)
    sys.exit(f"differ: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
