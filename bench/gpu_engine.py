"""The items of gpu_check that run the engine: sampling, updates, memory, several workers."""

from __future__ import annotations

import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from gpu_models import network, replicas, rows_of
from gpu_setting import Found, Setting

from cascade_rl.model.checkpoint import scratch_weights
from cascade_rl.model.cost import Peaks, decode_work, prefill_work, update_work
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.peaks import measure_peaks
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.rollout.drawing import Wanted
from cascade_rl.rollout.torch_sampler import generate
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs

PROMPT, SLOTS = 64, 256  # of a step of RL: tokens a prompt, rows that are decoded at once


def equality(s: Setting) -> Found:
    """2. Replies and an update of a tiny model in fp32, beside those of the CPU."""
    config, rng = network("tiny"), random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(rng.randint(1, 30))] for _ in range(6)]
    rule = SamplingRule()
    limit, longest = (10, 16) if s.small else (40, 60)
    wanted = [Wanted(g, g, rule, limit, f"k{g}", j) for g in range(6) for j in range(4)]
    rows = rows_of(rng, 6, 4, 20, longest, 1000)
    drawn: list[dict[int, Any]] = []
    weights: list[Tensor] = []
    numbers: list[dict[str, float]] = []
    for device in (torch.device("cpu"), s.device):
        made = replicas(Setting(device, s.small), config, "fp32")
        heard: list[Any] = []
        made.local.heard_by(heard.append)
        generate(made.local, "policy", prompts, wanted, (1,), 64)
        drawn.append(dict(heard))
        spec = Training(name="check", lr=1e-3, tokens_per_microbatch=600)
        numbers.append(Learner(made, "policy", spec).policy_step(rows, Objective(ON_POLICY), 1.0))
        weights.append(made.flat("policy").detach().cpu().clone())
        made.close()
    pairs = [(a, b) for g in drawn[0] for a, b in zip(drawn[0][g], drawn[1][g], strict=True)]
    same = sum(a[0] == b[0] for a, b in pairs)
    gap = max(
        (abs(x - y) for a, b in pairs if a[0] == b[0] for x, y in zip(a[1], b[1], strict=True)), default=0.0
    )
    loss, norm = (abs(numbers[0][key] - numbers[1][key]) for key in ("loss", "grad_norm"))
    moved = float((weights[0] - weights[1]).abs().mean())
    figures = {"same_replies": same, "of": len(pairs), "logprob_gap": gap, "loss_gap": loss, "norm_gap": norm}
    ok = same >= len(pairs) - 1 and gap < 1e-3 and loss < 1e-4 and moved < 1e-5
    return Found(figures | {"mean_weight_gap": moved}, ok, "24 of 24 replies (23 by a tie), gaps of rounding")


def parity(s: Setting) -> Found:
    """5. The sampler's log-probabilities beside the trainer's, plain and filtered, in bf16."""
    config = network("135m", s.small)
    made = replicas(s, config)
    model, rng = made.local.models["policy"], random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(rng.randint(1, 60))] for _ in range(4)]
    figures: dict[str, Any] = {}
    for name, rule in {
        "plain": SamplingRule(),
        "top-p": SamplingRule(1.0, 0.9),
        "top-k": SamplingRule(1.0, 1.0, 20),
    }.items():
        wanted = [Wanted(g, g, rule, 8 if s.small else 64, f"k{g}", j) for g in range(4) for j in range(4)]
        heard: list[Any] = []
        made.local.heard_by(heard.append)
        generate(made.local, "policy", prompts, wanted, (-1,), 16)
        rows = [
            Row.of(prompts[g], ids, 1.0, 1.0, logprobs) for g, replies in heard for ids, logprobs in replies
        ]
        batch = pack_rows(rows, s.device)
        with torch.no_grad():
            gap = (token_logprobs(model.weights, model.config, batch, rule) - batch.old).double()
        figures[f"{name}, KL a token"] = float((gap.exp() - 1 - gap).mean())
        figures[f"{name}, largest, nats"] = float(gap.abs().max())
    made.close()
    worst = max(value for key, value in figures.items() if "KL" in key)
    return Found(figures, worst < 1e-4, "KL under 1e-4 a token")


def update(s: Setting) -> Found:
    """8. Seconds and peak memory of an update."""
    figures: dict[str, Any] = {}
    for name in s.models():
        config = network(name, s.small)
        made = replicas(s, config)
        learner = Learner(
            made, "policy", Training(name="check", lr=1e-6, tokens_per_microbatch=400 if s.small else 16384)
        )
        rng = random.Random(0)
        rows = rows_of(rng, 2, 2, 10, 20, 1000) if s.small else rows_of(rng, 32, 8, 128, 512, 1000)
        tokens = sum(len(row.ids) for row in rows)
        if s.on_gpu:
            torch.cuda.reset_peak_memory_stats(s.device)
        step = partial(learner.policy_step, rows, Objective(ON_POLICY), 1.0)
        spent = s.seconds(step, 2)
        figures |= {f"{name}, s": spent, f"{name}, tokens": tokens, f"{name}, tokens/s": tokens / spent}
        if s.on_gpu:
            numbers = made.flat("policy").numel()
            peak = torch.cuda.max_memory_allocated(s.device)
            figures[f"{name}, peak GB"] = peak / 1e9
            figures[f"{name}, bytes a weight at the peak"] = peak / numbers
        made.close()
    return Found(figures, None, "18 bytes a weight and the activations; 0.6b: 10 to 12 s a million tokens")


def slots(s: Setting) -> Found:
    """9. As many slots after an update as before it: the free memory that torch keeps for itself counts."""
    config = network("135m", s.small)
    made = replicas(s, config)
    rooms = []
    spec = Training(name="check", lr=1e-6, tokens_per_microbatch=4096)
    learner = Learner(made, "policy", spec)
    for _ in range(3):
        rooms.append((shared_bytes(s.device) + own_bytes(s.device)) / 1e9)
        learner.policy_step(rows_of(random.Random(0), 8, 4, 30, 60, 1000), Objective(ON_POLICY), 1.0)
    made.close()
    figures = {f"room before step {i}, GB": room for i, room in enumerate(rooms)}
    # the moments come with the first update, and stay
    return Found(
        figures, rooms[2] > 0.9 * rooms[1] if s.on_gpu else None, "steps 1 and 2 alike within a tenth"
    )


def sharded(s: Setting) -> Found:
    """10. FSDP2 over the cards that are here (one will do), beside one worker's update."""
    if not s.on_gpu:
        return Found({}, None, "only on a GPU")
    config = network("tiny")
    rows = rows_of(random.Random(0), 6, 4, 20, 60, 1000)
    spec = Training(name="check", lr=1e-3, tokens_per_microbatch=600)
    found = []
    for as_shards in (False, True):
        made = Replicas(1, "cuda", "bf16", sharded=as_shards)
        made.add_model("policy", config, scratch_weights(config, 0), train=True)
        found.append(Learner(made, "policy", spec).policy_step(rows, Objective(ON_POLICY), 1.0))
        made.close()
    gap = abs(found[0]["grad_norm"] - found[1]["grad_norm"]) / found[0]["grad_norm"]
    figures = {"loss": [each["loss"] for each in found], "relative gap of the gradient's norm": gap}
    return Found(figures, gap < 0.02, "the same gradient within bf16's rounding")


def rl_step(s: Setting) -> Found:
    """11. A whole step of the largest model, sampled replies, then the update on them, beside its bound."""
    name = s.models()[-1]
    config = network(name, s.small)
    made = replicas(s, config)
    groups, replies, tokens = (2, 2, 8) if s.small else (32, 8, 256)
    rng, rule = random.Random(0), SamplingRule()
    prompts = [[rng.randrange(2, 1000) for _ in range(PROMPT)] for _ in range(groups)]
    learner = Learner(
        made, "policy", Training(name="check", lr=1e-6, tokens_per_microbatch=400 if s.small else 16384)
    )
    figures: dict[str, Any] = {}
    for step in range(1 if s.small else 3):
        wanted = [Wanted(g, g, rule, tokens, f"{step}/{g}", j) for g in range(groups) for j in range(replies)]
        heard: list[Any] = []
        made.local.heard_by(heard.append)
        s.wait()
        begin = time.perf_counter()
        generate(made.local, "policy", prompts, wanted, (-1,), SLOTS)
        s.wait()
        sampled = time.perf_counter()
        rows = [Row.of(prompts[g], ids, 1e-5, rng.gauss(0, 1)) for g, found in heard for ids, _ in found]
        learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        s.wait()
        # the last one stands: the first pays for libraries and memory
        figures = {f"{name}, sampling s": sampled - begin, f"{name}, update s": time.perf_counter() - sampled}
    peaks = measure_peaks(made, config)
    figures |= _bounds(name, config, peaks, (groups, replies, tokens))
    made.close()
    return Found(
        figures | {"tokens": groups * replies * tokens},
        None,
        "0.6b, 65,536 tokens: sampling 4 s, update under 1 s; 0.5 of the bound or more",
    )


def _bounds(name: str, config: DecoderConfig, peaks: Peaks, sizes: tuple[int, int, int]) -> dict[str, float]:
    """What sampling and update take at least by the cost model, at rates measured just now."""
    groups, replies, tokens = sizes
    element, rows = 2, groups * replies  # bf16
    prefill = prefill_work(config, [PROMPT] * groups, element)
    decode = decode_work(config, [PROMPT] * rows, [tokens] * rows, min(rows, SLOTS), element)
    update = update_work(config, [(PROMPT - 1, [tokens] * replies)] * groups)
    return {
        f"{name}, sampling bound s": prefill.seconds(peaks) + decode.seconds(peaks),
        f"{name}, update bound s": update.seconds(peaks),
        "products TFLOP/s": peaks.flops / 1e12,
        "fp32 head TFLOP/s": peaks.head_flops / 1e12,
        "copy TB/s": peaks.bytes / 1e12,
    }


def repeated(s: Setting) -> Found:
    """12. Whether two runs of the same give the same bits."""
    config = network("tiny")
    rows = rows_of(random.Random(0), 6, 4, 20, 60, 1000)
    spec = Training(name="check", lr=1e-3, tokens_per_microbatch=600)
    found = []
    for _ in range(2):
        made = replicas(s, config)
        Learner(made, "policy", spec).policy_step(rows, Objective(ON_POLICY), 1.0)
        found.append(made.flat("policy").detach().cpu().clone())
        made.close()
    differ = int((found[0] != found[1]).sum())
    return Found({"weights that differ": differ, "of": found[0].numel()}, None, "on a GPU atomics may differ")
