"""What a phase leaves on the disk: states, checkpoints, replies, tokens of what it learns from."""

from __future__ import annotations

from cascade_rl.plan.local_memory import optimiser_bytes
from cascade_rl.plan.phases import EVALUATION, Phase
from cascade_rl.plan.shapes import Shape
from cascade_rl.recipe.training import Training
from cascade_rl.recipe.verl import Engine

STATES = "states"  # its key; they go when their stage is done
KEPT = 2  # states of a stage (train/state.py); one more is whole before the oldest goes
TEXT = 4.5  # bytes a token of a reply as text; prompts stand once a problem
DATA = 8.5  # bytes a token of a sample: its text, and its ids as int32


def disk_bytes(
    phase: Phase, spec: Training, shape: Shape, engine: Engine, dtype: str, *, last: bool
) -> dict[str, float]:
    """By name; states and checkpoint of a stage are counted with the `last` of its phases."""
    if phase.kind == EVALUATION:
        return {"replies": TEXT * phase.sampled_tokens}
    found: dict[str, float] = {}
    if phase.kind == "rl":
        found["replies"] = TEXT * phase.sampled_tokens * phase.steps
    else:
        found["tokens"] = DATA * phase.trained_tokens * phase.steps
    if not last:
        return found
    # a reward model lies beside the policy, which its stage exports as it came
    trained = phase.trained(shape)
    count = shape.parameters + (trained.parameters if phase.kind == "reward_model" else 0)
    found["checkpoints"] = (2.0 if dtype == "bf16" else 4.0) * count
    # verl: fp32 shards of weights and both moments
    state = 4.0 * trained.parameters + (
        8.0 * trained.parameters if engine == "verl" else optimiser_bytes(spec, trained)
    )
    found[STATES] = (KEPT + 1) * state
    return found
