"""What verl holds on a GPU: a trainer's shards (FSDP2 or Megatron) and vLLM's or SGLang's share, by turns.

By verl 0.9.1: fp32 shards of weights, gradients and AdamW's moments (engine/fsdp.yaml: model_dtype), products
in bf16, gradient checkpointing on and the head not fused (model/hf_model.yaml), the sampler's memory set
aside as a share of the card and given back while the trainer works (`free_cache_engine`).
"""

from __future__ import annotations

from cascade_rl.plan.hardware import GIB, Hardware
from cascade_rl.plan.memory import USABLE, Memory
from cascade_rl.plan.phases import Phase
from cascade_rl.plan.shapes import Shape
from cascade_rl.recipe.training import Training
from cascade_rl.recipe.verl import Verl

CONTEXT = 1.5 * GIB  # CUDA, NCCL and torch in two processes
GRAPHS = 2.0 * GIB  # of the sampler: captured graphs and its own activations
REWARD = 0.5  # of a card: what verl gives the reward model's server (config/reward/reward.yaml)
MOST_SLOTS = 256  # max_num_seqs in rollout.yaml
HEAD = 8.0  # bytes a logit: bf16 as made and as scaled by the temperature, gradient, softmax


def verl_memory(
    phase: Phase, spec: Training, shape: Shape, block: Verl, hardware: Hardware, gpus: int
) -> Memory:
    """Of one GPU, and of the machine that it is in."""
    room = hardware.memory * USABLE["cuda"]
    states = {"weights": 4.0 * shape.parameters / gpus, "optimiser": 8.0 * shape.parameters / gpus}
    if block.strategy == "megatron":
        # bf16 weights whole but for tensor parallelism, fp32 masters and moments spread
        states["weights"] = 2.0 * shape.parameters / block.tensor_parallel + states["weights"]
    update: dict[str, float] = {}
    if phase.trees:
        update = {"gradients": _gradients(shape, block, gpus)} | _at_work(phase, spec, shape, block)
    slots, rollout = _sampler(phase, shape, block, hardware)
    # a reward model that is asked has GPUs of its own, see `reward_short`
    held = {"processes": CONTEXT}
    host = {"processes": 8.0 * GIB * min(gpus, hardware.node)}
    if block.offload:
        update = states | update
        host["weights and optimiser, offloaded"] = sum(states.values()) * min(gpus, hardware.node)
    else:
        held |= states
    least = spec.tokens_per_microbatch <= sum(phase.longest) / block.sequence_parallel
    host_room = hardware.ram * USABLE["cpu"]
    return Memory(held, update, rollout, room, host, host_room, slots, again=True, least=least)


def _gradients(shape: Shape, block: Verl, gpus: int) -> float:
    parts = block.tensor_parallel if block.strategy == "megatron" else gpus
    return 4.0 * shape.parameters / parts


def tokens_at_once(phase: Phase, spec: Training, block: Verl) -> float:
    """Tokens of a micro-batch on a GPU: at least a whole sequence, over those that share one."""
    return max(float(spec.tokens_per_microbatch), sum(phase.longest) / block.sequence_parallel)


def _at_work(phase: Phase, spec: Training, shape: Shape, block: Verl) -> dict[str, float]:
    """Of a micro-batch: what checkpointing keeps, a layer that runs again, gathered weights, logits."""
    tokens, size = tokens_at_once(phase, spec, block), shape.size()
    kept = 2.0 * tokens * shape.hidden * size.layers
    # norms and residual, q k v and outputs, gate, up and their product: as flash-attention leaves them
    behind = 3 * size.wide / 2 * max(1, shape.chosen)
    layer = 2.0 * tokens * (6 * shape.hidden + 2 * size.width + 2 * size.cached + behind)
    outside = shape.parameters - shape.matrices
    gathered = 2.0 * (outside + 2 * shape.matrices / size.layers) if block.strategy == "fsdp2" else 0.0
    head = HEAD * tokens * shape.vocab if phase.scored else 0.0
    return {"activations": kept + layer, "gathered": gathered, "head and logits": head}


def _sampler(phase: Phase, shape: Shape, block: Verl, hardware: Hardware) -> tuple[int, dict[str, float]]:
    """Slots of one sampler (`tensor_parallel` GPUs), and its parts on a GPU."""
    if not phase.sampled:
        return 0, {}
    share = block.memory * hardware.memory
    weights = 2.0 * shape.parameters / block.tensor_parallel
    cache = share - weights - GRAPHS
    found = {"the sampler's weights": weights, "the sampler's graphs": GRAPHS}
    # what is missing to hold one sequence is asked for, so that the sum tells that it does not fit
    found["KV cache"] = max(cache, sequence_bytes(phase, shape, block))
    usual = sum(p + r / 2 for p, r in phase.sampled) / len(phase.sampled)
    each = token_bytes(shape) / block.tensor_parallel * usual
    return max(1, min(MOST_SLOTS, int(max(0.0, cache) // each))), found


def token_bytes(shape: Shape) -> float:
    """Keys and values of a token, bf16."""
    size = shape.size()
    return 4.0 * size.layers * size.cached


def sequence_bytes(phase: Phase, shape: Shape, block: Verl) -> float:
    """The cache of the longest sequence, on each GPU that holds a part of the sampler."""
    return token_bytes(shape) * sum(phase.longest) / block.tensor_parallel


def reward_short(phase: Phase, shape: Shape, block: Verl, hardware: Hardware) -> bool:
    """Whether the reward model and its longest text are more than its share of `reward_gpus` cards."""
    if not phase.learned:
        return False
    judge = phase.judged(shape)
    need = 2.0 * judge.parameters + token_bytes(judge) * sum(phase.longest)
    return need / block.reward_gpus > REWARD * hardware.memory


def sampler_short(phase: Phase, shape: Shape, block: Verl, hardware: Hardware) -> bool:
    """Whether the sampler's share of the memory can't hold its weights and one sequence."""
    if not phase.sampled:
        return False
    need = 2.0 * shape.parameters / block.tensor_parallel + GRAPHS + sequence_bytes(phase, shape, block)
    return need > block.memory * hardware.memory
