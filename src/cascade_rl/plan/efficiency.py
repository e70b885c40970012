"""Which share of the cost model's limit is reached: by our own runs, else by published ones, by name."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.plan.hardware import Hardware
from cascade_rl.plan.shapes import Shape
from cascade_rl.recipe.verl import Engine

SMALL = 20_000_000  # numbers: below, operators take longer to call than to compute


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the limit, in (0, 1]: of updates and all else that computes, and of sampling.

    Beside the limit over its share an update takes `each_update` seconds and an iteration of decoding
    `each_pass`: what calls cost however little they compute, and the optimiser, which no cost model has.
    """

    update: float
    rollout: float
    source: str
    each_update: float = 0.0
    each_pass: float = 0.0


# By least squares over all steps; an update's own seconds are Muon's iterations for the most part (docs/LOG.md).
TINY = Efficiency(0.31, 0.13, "six runs of the tiny recipe on 2 cores (docs/LOG.md)", each_update=0.056)
SMALL_CPU = Efficiency(
    0.73,
    0.51,
    "SmolLM2-135M on 2 cores (docs/LOG.md, growth table: updates 0.63 to 0.79, rollouts 0.35 to 0.66)",
)
# its time a step is three times this cost model's bound, of which two thirds are sampling
NEMO = Efficiency(
    0.33, 0.33, "published: NeMo-RL 0.4, Llama-3.1-8B on 16 H100, 92.8 s a step, a third of the limit"
)
PRIME = Efficiency(
    0.14,
    0.33,
    "published: prime-rl's trainer, 11 to 17 % of an H100's peak with Qwen3-0.6B and 4B; "
    "rollouts as NeMo-RL's 8B",
)
LARGE = 6_000_000_000


def efficiency_of(engine: Engine, hardware: Hardware, shape: Shape) -> Efficiency:
    """What is nearest to this engine, hardware and model among what somebody has measured."""
    if hardware.device == "cpu":
        return TINY if shape.parameters < SMALL else SMALL_CPU
    # no GPU run of our own engine is measured yet: other trainers of models of this size stand for it
    return NEMO if shape.active >= LARGE else PRIME
