"""What our own engine holds: one process a core over shared memory, one GPU, or a GPU each with FSDP2.

Follows `model/weights.py`, `model/sharding.py`, `train/optimiser.py`, `model/activations.py` and
`rollout/torch_sampler.py`; tests/test_plan_memory.py compares it with what these allocate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import cast

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.activations import SHARE, activation_bytes, kept_bytes
from cascade_rl.model.attention_bytes import attention_bytes
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.packed import Pack, Tree, pack
from cascade_rl.plan.hardware import GIB, Hardware
from cascade_rl.plan.memory import USABLE, Memory
from cascade_rl.plan.phases import Phase
from cascade_rl.plan.shapes import Shape
from cascade_rl.protocols import WHOLE
from cascade_rl.recipe.lora import LoRA
from cascade_rl.recipe.training import Training
from cascade_rl.rollout.decoding import STEP_BYTES, slots_for
from cascade_rl.rollout.torch_sampler import CACHE_BYTES

MOST_SLOTS = 256  # `TorchSampler.max_rows`
TOGETHER = 1 << 28  # `train.optimiser.TOGETHER`: bytes of parameters that a GPU steps in one call
PROCESS = {"cpu": 0.35 * GIB, "cuda": 0.6 * GIB}  # torch, loaded: of a process, and of a GPU's context
KEPT_BY_MODULES = (
    34  # bytes a token, layer and hidden number where a family's own modules compute (arXiv 2205.05198)
)


class _OnGpu:
    """Stands for the ids of a pack on a GPU: `activations` asks where they are and how many, nothing else."""

    is_cuda, device = True, torch.device("cuda")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True)
class Place:
    """`workers` processes of a machine's CPU, or as many GPUs, where a phase works.

    `vllm` may sample there; `asked` is the setting or option that says how many.
    """

    hardware: Hardware
    workers: int
    element: int
    vllm: bool = False
    asked: str = "--gpus"

    @property
    def on_gpu(self) -> bool:
        """Whether each worker has memory of its own."""
        return self.hardware.device == "cuda"

    @property
    def sharded(self) -> int:
        """Over how many the masters are spread."""
        return self.workers if self.on_gpu else 1


def local_memory(phase: Phase, spec: Training, shape: Shape, place: Place) -> Memory:
    """Of a GPU, or of the machine where a CPU computes; layers are computed again where they have no room."""
    room = place.hardware.memory * USABLE[place.hardware.device]
    held = held_bytes(phase, spec, shape, place)
    free = room - sum(held.values())
    update: Mapping[str, float] = {}
    again = False
    if phase.trees:
        trained = phase.trained(shape)
        update = update_bytes(phase, spec, trained, place, recompute=False)
        again = sum(update.values()) > SHARE * max(0.0, free)
        if again:
            update = update_bytes(phase, spec, trained, place, recompute=True)
    slots, rollout = rollout_bytes(phase, shape, place, free)
    host, host_room = {}, 0.0
    if place.on_gpu:
        # a state is written from one vector on the host, and loaded into one
        host = {
            "processes": place.workers * 3.0 * GIB,
            "a copy of the weights": 4.0 * phase.trained(shape).parameters,
        }
        host_room = place.hardware.ram * USABLE["cpu"]
    least = spec.tokens_per_microbatch <= sum(phase.longest)
    return Memory(held, update, rollout, room, host, host_room, slots, again, least)


def held_bytes(phase: Phase, spec: Training, shape: Shape, place: Place) -> dict[str, float]:
    """What is there from a phase's first step to its last, by name."""
    processes = 1 if place.on_gpu else place.workers
    trained = phase.trained(shape)
    found = {
        "processes": PROCESS[place.hardware.device] * processes,
        "weights": _model(trained, place, trained=phase.gradient),
        "gradients": _gradients(trained, place) if phase.gradient else 0.0,
    }
    if phase.kind == "reward_model":
        # the policy stays where it is, with its gradients: this model is beside it
        found["the policy beside it"] = _model(shape, place) + _gradients(shape, place)
    if phase.trees:
        found["optimiser"] = optimiser_bytes(spec, trained) / place.sharded
    if phase.learned:
        found["reward model"] = _model(phase.judged(shape), place, trained=False)
    if phase.teachers:
        found["reference of the KL term"] = phase.teachers * _model(shape, place, trained=False)
    if place.sharded > 1 and phase.trees:
        found["gathered"] = _gathered(trained, place)
    return found


def _model(shape: Shape, place: Place, *, trained: bool = True) -> float:
    """Weights: fp32 masters, and copies that compute where that is not in fp32."""
    numbers, short = float(shape.parameters), place.element < 4
    if place.sharded > 1:
        # a whole copy that computes in each worker, the fp32 head beside it, and the shard that is trained
        head = 4.0 * shape.size().head if short else 0.0
        return place.element * numbers + head + (4.0 * numbers / place.workers if trained else 0.0)
    copies = 1 if place.on_gpu else place.workers
    return 4.0 * numbers + (place.element * numbers * copies if short else 0.0)


def _gradients(shape: Shape, place: Place) -> float:
    """One fp32 gradient a worker on a CPU; a shard of it on each of several GPUs."""
    if place.on_gpu:
        return 4.0 * shape.parameters / place.workers
    return 4.0 * shape.parameters * place.workers


def _gathered(shape: Shape, place: Place) -> float:
    """What FSDP2 makes whole: all outside of the layers in fp32 with its gradient, and two layers at once."""
    outside = shape.parameters - shape.matrices
    layer = shape.matrices / shape.size().layers
    short = place.element if place.element < 4 else 0
    return (8.0 + short) * outside + layer * (2.0 * place.element + place.element + 4.0)


def optimiser_bytes(spec: Training, shape: Shape) -> float:
    """AdamW's two moments, Muon's one of matrices, or an adapter's factors with gradient and moments."""
    if spec.lora is not None:
        return 16.0 * lora_numbers(spec.lora, shape)
    if spec.optimizer == "muon":
        return 4.0 * shape.matrices + 8.0 * (shape.parameters - shape.matrices)
    return 8.0 * shape.parameters


def lora_numbers(lora: LoRA, shape: Shape) -> int:
    """Numbers of all factors, A [rank, in] and B [out, rank] of each projection."""
    if shape.decoder is None:
        # two sides of each projection, about as wide as the model; seven of them a layer
        return 14 * lora.rank * shape.hidden * shape.size().layers
    wanted = set(shape.decoder.adapted(lora.targets))
    sides = [sum(size) for name, size in shape.decoder.file_shapes().items() if name in wanted]
    return lora.rank * sum(sides)


def update_bytes(
    phase: Phase, spec: Training, shape: Shape, place: Place, *, recompute: bool
) -> Mapping[str, float]:
    """The fuller of a micro-batch at work in each worker, and the optimiser's step."""
    workers = 1 if place.on_gpu else place.workers
    activations, head = _activations(phase, spec, shape, place, recompute)
    work = {"activations": workers * activations, "head and logits": workers * head}
    largest = (
        4.0 * max(map(prod, shape.decoder.shapes().values())) if shape.decoder else 4.0 * shape.size().head
    )
    # what the parameters of a call were is there while they step
    before = max(TOGETHER, largest) if place.on_gpu else place.workers * largest
    stepped = {"the optimiser's step": min(before, 4.0 * shape.parameters / place.sharded)}
    return max((work, stepped), key=lambda parts: sum(parts.values()))


def _activations(
    phase: Phase, spec: Training, shape: Shape, place: Place, recompute: bool
) -> tuple[float, float]:
    """What is kept for the gradient, and what the head or one layer needs beside it, of one worker."""
    packed, config = longest_pack(phase, spec, place.on_gpu), shape.decoder
    if config is None:
        tokens, size = len(packed.ids), shape.size()
        kept = (4 if recompute else KEPT_BY_MODULES) * tokens * shape.hidden * size.layers
        return float(kept), 8.0 * tokens * shape.vocab
    rule = WHOLE if phase.scored else None
    whole = activation_bytes(config, packed, place.element, rule, recompute)
    kept = kept_bytes(config, packed, place.element, recompute)
    kept += attention_bytes(config, packed, place.element).tables()
    return float(kept), float(whole - kept)


def longest_pack(phase: Phase, spec: Training, on_gpu: bool) -> Pack:
    """A micro-batch of the longest sequences: as many as `tokens_per_microbatch` takes, at least one."""
    prompt, reply = phase.longest
    rows = max(1, spec.tokens_per_microbatch // max(1, prompt + reply))
    # the prompt's last token belongs to the branches, which it predicts the first token of
    tree = Tree(np.zeros(max(1, prompt) - 1, np.int64), (np.zeros(max(1, reply), np.int64),))
    found = pack([tree] * rows, torch.device("cpu"))
    return replace(found, ids=cast(Tensor, _OnGpu(len(found.ids)))) if on_gpu else found


def rollout_bytes(phase: Phase, shape: Shape, place: Place, free: float) -> tuple[int, dict[str, float]]:
    """Slots of a worker, and what sampling needs: the cache, laid-out weights, logits."""
    if not (phase.sampled or phase.once):
        return 0, {}
    if place.vllm and place.on_gpu:
        return _second_engine(phase, shape, free)
    size, workers = shape.size(), 1 if place.on_gpu else place.workers
    columns = sum(phase.longest)
    dtype = torch.bfloat16 if place.element < 4 else torch.float32
    memory = int(max(0.0, free)) // 2 if place.on_gpu else CACHE_BYTES // place.workers
    beside = STEP_BYTES * shape.vocab if place.on_gpu else 0
    rows = -(-len(phase.sampled or phase.once) // place.workers)
    slots = slots_for(shape, columns, dtype, min(MOST_SLOTS, rows), memory, beside)
    # on a CPU the cache grows with what is in use, up to this
    cache = 2.0 * size.layers * size.cached * columns * place.element * slots
    layouts = 6.0 * size.head if place.on_gpu and place.element < 4 else 0.0
    if not place.on_gpu:
        layouts = 4.0 * size.head + place.element * size.matrices
    logits = float(STEP_BYTES) * shape.vocab * slots
    return slots, {
        "KV cache": workers * cache,
        "weights as kernels want them": workers * layouts,
        "logits": workers * logits,
    }


def _second_engine(phase: Phase, shape: Shape, free: float) -> tuple[int, dict[str, float]]:
    """vLLM's slots and parts: four fifths of what is free (rollout/vllm_sampler.py), with weights in bf16."""
    size, weights = shape.size(), 2.0 * shape.parameters
    each = 4.0 * size.layers * size.cached
    # at least one sequence, so that the sum tells where it does not fit
    cache = max(0.8 * free - weights, each * sum(phase.longest))
    sampled = phase.sampled or phase.once
    usual = sum(p + r / 2 for p, r in sampled) / len(sampled)
    slots = max(1, min(MOST_SLOTS, int(cache / each / usual)))
    return slots, {"the sampler's weights": weights, "KV cache": cache}


def computed_by_us(shape: Shape) -> bool:
    """Whether the fused decoder computes it; others' modules run on one worker alone."""
    return isinstance(shape.decoder, DecoderConfig)
