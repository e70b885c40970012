"""The items of gpu_check that decode: by captured steps and by plain ones."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from gpu_models import network, replicas
from gpu_setting import Found, Setting

from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.rollout.decoding import HEAR_EVERY, Decoding, Job
from cascade_rl.rollout.drawing import Draw, Wanted
from cascade_rl.rollout.graphs import PLAIN, Graphs, graphs_of

RULES = {"plain": SamplingRule(), "top-p": SamplingRule(1.0, 0.95), "greedy": SamplingRule(0.0)}
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaGraphLaunch")
Replies = dict[int, tuple[list[int], list[float]]]


def graphs(s: Setting) -> Found:
    """2b. Replies by captured steps beside those of plain ones, tiny in fp32: refills, ends, fewer slots."""
    config = network("tiny")
    made = replicas(s, config, "fp32", train=False)
    rng = random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(rng.randint(1, 30))] for _ in range(8)]
    figures: dict[str, Any] = {"same_replies": 0, "same_bits": 0, "of": 0, "logprob_gap": 0.0}
    captured: Graphs | None = graphs_of(s.device)
    for name, rule in RULES.items():
        limit = 24 if s.small else 200
        wanted = [Wanted(g, g, rule, limit - 2 * g, f"k{g}", j) for g in range(8) for j in range(4)]
        found: list[Replies] = []
        for given in (None, captured):
            replies: Replies = {}
            with torch.inference_mode(), config.laid_out(weights_of(made), layers=True):
                loop = _loop(s, made, config, prompts, wanted, range(1, 1000, 100), 12, given, replies)
                loop.run()
            found.append(replies)
        figures[f"{name}, captures"] = loop.replayed.captures
        for row, (ids, logprobs) in found[0].items():
            others, their = found[1][row]
            figures["of"] += 1
            figures["same_bits"] += (ids, logprobs) == (others, their)
            if ids == others:
                figures["same_replies"] += 1
                gap = max(abs(x - y) for x, y in zip(logprobs, their, strict=True))
                figures["logprob_gap"] = max(figures["logprob_gap"], gap)
    made.close()
    figures["given up"] = captured.fault if captured else ""
    # bits: a library may take another kernel on the stream that is captured
    ok = figures["same_replies"] >= figures["of"] - 1 and figures["logprob_gap"] < 1e-4
    caught = not s.on_gpu or (not figures["given up"] and figures["plain, captures"] > 0)
    return Found(figures, ok and caught, "all replies (one tie may differ), captured without a fault")


def weights_of(made: Replicas) -> Mapping[str, torch.Tensor]:
    """Of the policy, in the process that measures."""
    return made.local.models["policy"].weights


def decoding(s: Setting) -> Found:
    """7. Milliseconds and launches of a decode step, as it is written and captured, and what a capture costs."""
    figures: dict[str, Any] = {}
    captured = graphs_of(s.device)
    ways = [("as written", None)] + ([("captured", captured)] if captured else [])
    for name in s.models():
        config = network(name, s.small)
        made = replicas(s, config, train=False)
        shapes = ((2, 24),) if s.small else ((16, 256), (256, 256), (16, 1024), (256, 1024))
        cases = [(*shape, "plain") for shape in shapes] + [(*shapes[min(1, len(shapes) - 1)], "top-p")]
        for rows, columns, rule in cases:
            for way, given in ways:
                at = f"{name}, {rows} rows, {columns} columns, {rule}, {way}"
                with torch.inference_mode(), config.laid_out(weights_of(made), layers=True):
                    loop = _endless(s, made, config, rows, columns, RULES[rule], given)
                    figures |= {f"{at}, {what}": value for what, value in _measured(s, loop).items()}
                del loop
        made.close()
    return Found(figures, None, "0.6b, 256 rows: 16 ms as written, 9 to 10 captured; 135m two to three times")


def _measured(s: Setting, loop: Decoding) -> dict[str, float]:
    """Of steps that stay within one number of columns: 128 of them from the prompts' end on."""
    for _ in range(PLAIN):
        loop._step()
    s.wait()
    begin = time.perf_counter()
    loop._step()  # which captures, if anything does
    s.wait()
    found = {"first ms": 1e3 * (time.perf_counter() - begin)}
    steps = HEAR_EVERY * (1 if s.small else 3)
    found["ms a step"] = 1e3 * s.seconds(lambda: [loop._step() for _ in range(steps)], 3) / steps
    found["captures"] = loop.replayed.captures
    if s.on_gpu:
        found["launches a step"] = _launches(loop._step)
        found["peak GB"] = torch.cuda.max_memory_allocated(s.device) / 1e9
    return found


def _launches(work: Callable[[], None]) -> int:
    """How often the host asked the device for something."""
    with torch.profiler.profile() as profile:
        work()
    return sum(event.count for event in profile.key_averages() if event.key.startswith(LAUNCHES))


def _endless(
    s: Setting,
    made: Replicas,
    config: DecoderConfig,
    rows: int,
    columns: int,
    rule: SamplingRule,
    given: Graphs | None,
) -> Decoding:
    """Rows in their slots that never end, each with a prompt of so many tokens."""
    rng = random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(columns)] for _ in range(min(rows, 32))]
    asked = [Wanted(i % len(prompts), i % len(prompts), rule, 256, f"k{i}", i) for i in range(rows)]
    loop = _loop(s, made, config, prompts, asked, [-1], rows, given, {})
    loop._admit(torch.arange(rows, device=s.device))
    return loop


def _loop(
    s: Setting,
    made: Replicas,
    config: DecoderConfig,
    prompts: Sequence[Sequence[int]],
    wanted: Sequence[Wanted],
    ends: Sequence[int],
    slots: int,
    given: Graphs | None,
    replies: Replies,
) -> Decoding:
    draw = Draw(wanted, s.device)
    job = Job(
        prompts,
        [w.prompt for w in wanted],
        [w.limit for w in wanted],
        list(ends),
        draw,
        lambda row, ids, logprobs: replies.update({row: (ids, logprobs)}),
        draw.waits(config.vocab),
    )
    return Decoding(weights_of(made), config, job, slots, s.device, given)
