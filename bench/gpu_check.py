"""What nobody has seen of the engine on a GPU, in one go: `python bench/gpu_check.py [--out FILE] [--minutes 8]`.

Items run in an order that puts what decides most first; after each one FILE (bench/out/gpu_check.json) is
written anew, so that a run that is cut short still tells. Each has `ok` (true, false, or null for a figure
without a bound), what was found and what was expected. An item that fails does not stop the others. What is
not begun when the minutes are over is listed as such. docs/gpus.md says how to read it.

Needs a CUDA device, torch and this package's own dependencies; nothing is fetched. `--device cpu --small`
walks through the same items on a CPU, where figures mean nothing: that is how it is tested.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from cascade_rl.model.attention import Attention
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.gpu_attention import ByBlocks, BySegments
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.recipe import Architecture, Training
from cascade_rl.rollout.decoding import COLUMNS, HEAR_EVERY, Decoding, Job
from cascade_rl.rollout.drawing import Draw, Wanted
from cascade_rl.rollout.torch_sampler import generate
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs

TINY = Architecture(num_key_value_heads=6, max_position_embeddings=4096)
SHAPES = {
    "135m": Architecture(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        head_dim=64, max_position_embeddings=8192,
    ),
    "0.6b": Architecture(
        hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
        head_dim=128, rope_theta=1e6, max_position_embeddings=40960,
    ),
}  # fmt: skip
VOCABULARY = {"135m": 49152, "0.6b": 151936}


@dataclass
class Found:
    """What an item saw: figures by name, whether they are as expected (None: no bound), and what was."""

    figures: dict[str, Any]
    ok: bool | None
    expected: str


@dataclass(frozen=True)
class Setting:
    """Where the items run and how large they are: `small` takes sizes at which only the code is tried."""

    device: torch.device
    small: bool

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done what was asked."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], repeats: int = 5) -> float:
        """The median of some runs, warm."""
        found = []
        for _ in range(repeats + 1):
            self.wait()
            begin = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - begin)
        return statistics.median(found[1:])

    def models(self) -> list[str]:
        return ["135m"] if self.small else list(SHAPES)


def network(name: str, small: bool = False) -> DecoderConfig:
    """A random model's shape; `small` ones are all the tiny one, with two layers."""
    shape, vocab = (TINY, 1024) if small or name == "tiny" else (SHAPES[name], VOCABULARY[name])
    if small:
        shape = shape.model_copy(update={"num_hidden_layers": 2})
    return DecoderConfig.from_hf(scratch_config(shape, vocab, 1, 0))


def replicas(s: Setting, config: DecoderConfig, precision: str = "bf16", train: bool = True) -> Replicas:
    made = Replicas(1, str(s.device), precision)
    made.add_model("policy", config, scratch_weights(config, 0), train=train)
    return made


def rows_of(rng: random.Random, groups: int, replies: int, prompt: int, reply: int, vocab: int) -> list[Row]:
    """RL rows: `replies` of about `reply` tokens to each of `groups` prompts."""
    made = []
    for _ in range(groups):
        asked = [rng.randrange(2, vocab) for _ in range(prompt)]
        for _ in range(replies):
            ids = [rng.randrange(2, vocab) for _ in range(rng.randint(max(1, reply // 2), reply))]
            made.append(Row.of(asked, ids, 1e-4, rng.gauss(0, 1)))
    return made


# ---------------------------------------------------------------- the items, in the order in which they run


def versions(s: Setting) -> Found:
    """1. What is here."""
    figures: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if s.on_gpu:
        properties = torch.cuda.get_device_properties(s.device)
        figures |= {
            "device": properties.name,
            "memory_gb": properties.total_memory / 1e9,
            "capability": f"{properties.major}.{properties.minor}",
            "cudnn": torch.backends.cudnn.version(),
            "shared_memory_a_block": getattr(properties, "shared_memory_per_block_optin", None),
            "bf16": torch.cuda.is_bf16_supported(),
        }
    return Found(figures, None, "a card with bf16")


def equality(s: Setting) -> Found:
    """2. Replies and an update of a tiny model in fp32, beside those of the CPU."""
    config, rng = network("tiny"), random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(rng.randint(1, 30))] for _ in range(6)]
    rule = SamplingRule()
    wanted = [Wanted(g, g, rule, 40, f"k{g}", j) for g in range(6) for j in range(4)]
    rows = rows_of(rng, 6, 4, 20, 60, 1000)
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


def kernels(s: Setting) -> Found:
    """3. Masked attention forward and backward at three new shapes, with and without cuDNN's kernel."""
    dtype = torch.bfloat16 if s.on_gpu else torch.float32
    figures: dict[str, Any] = {}
    ways = {"ours": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]}
    if s.on_gpu:
        ways["cudnn"] = [SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
    sizes = [(2, 67), (3, 81), (2, 93)] if s.small else [(16, 667), (24, 811), (20, 937)]
    for name, backends in ways.items():
        for batch, length in sizes:
            q, k, v = (torch.randn(batch, 9, length, 64, device=s.device, dtype=dtype) for _ in range(3))
            for x in (q, k, v):
                x.requires_grad_()
            mask = torch.ones(batch, 1, length, length, dtype=torch.bool, device=s.device).tril_()
            s.wait()
            begin = time.perf_counter()
            with sdpa_kernel(backends):
                F.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()
            s.wait()
            figures[f"{name} first call, {batch} x {length}, ms"] = 1e3 * (time.perf_counter() - begin)
    ours = [value for key, value in figures.items() if key.startswith("ours")]
    # the first of all pays for the library; the others are new shapes
    return Found(figures, max(ours[1:]) < 100 if s.on_gpu else None, "ours: under 100 ms at a new shape")


def varlen(s: Setting) -> Found:
    """4. One variable-length call a layer beside the CPU's own attention, with gradients, and padded blocks."""
    rng = random.Random(0)
    heads, kv_heads, size = 4, 2, 64
    trees = [
        Tree(
            np.arange(rng.randint(0, 90)),
            tuple(np.arange(rng.randint(1, 70)) for _ in range(rng.randint(1, 4))),
        )
        for _ in range(6)
    ]
    here, there = pack(trees, torch.device("cpu")), pack(trees, s.device)
    start = torch.randn(len(here.ids), heads + 2 * kv_heads, size, generator=torch.Generator().manual_seed(0))
    start[:, :heads] *= size**-0.5
    turn = torch.linspace(-1, 1, len(here.ids) * heads * size).view(len(here.ids), -1)
    figures: dict[str, Any] = {}
    for window in (None, 30):
        want_in = start.bfloat16().float().requires_grad_()
        want = Attention(here, heads, kv_heads, window)(0, want_in, False)
        (want * turn).sum().backward()
        ways: dict[str, Any] = {"blocks": ByBlocks}
        if s.on_gpu:
            ways["varlen"] = BySegments
        for name, way in ways.items():
            got_in = start.to(s.device, torch.bfloat16).requires_grad_()
            got = way(there, heads, kv_heads, window)(0, got_in, False)
            (got.float() * turn.to(s.device)).sum().backward()
            scale = float(want_in.grad.abs().max())
            figures[f"{name}, window {window}: out"] = float((got.float().cpu() - want).detach().abs().max())
            gap = (got_in.grad.float().cpu() - want_in.grad).abs().max()
            figures[f"{name}, window {window}: gradient"] = float(gap) / scale
    return Found(
        figures, max(figures.values()) < 0.03, "bf16's rounding: under 0.03 of outputs and gradients"
    )


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


def head(s: Setting) -> Found:
    """6. The head's product: fp32, TF32, and three products in bf16 summed in fp32; ms and error beside fp64."""
    rows, inner, vocab = (64, 64, 2000) if s.small else (4096, 1024, 151936)
    h = torch.randn(rows, inner, device=s.device)
    w = torch.randn(vocab, inner, device=s.device) * 0.05
    (h1, h2), (w1, w2) = (_halves(x) for x in (h, w))
    few = slice(0, 64)
    exact = (h[few].double() @ w.double().t()).log_softmax(-1)

    def three(rows: slice) -> Tensor:
        made: Tensor = _wide(h1[rows], w1) + _wide(h1[rows], w2) + _wide(h2[rows], w1)
        return made

    ways: dict[str, Callable[[slice], Tensor]] = {"fp32": lambda r: h[r] @ w.t(), "three bf16": three}
    figures: dict[str, Any] = {}
    for name, way in ways.items():
        gap = (way(few).double().log_softmax(-1) - exact).abs().max()
        figures[f"{name}, log-probability error"] = float(gap)
        figures[f"{name}, ms"] = 1e3 * s.seconds(lambda way=way: way(slice(None)), 3)
    if s.on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = True
        gap = ((h[few] @ w.t()).double().log_softmax(-1) - exact).abs().max()
        figures["tf32, log-probability error"] = float(gap)
        figures["tf32, ms"] = 1e3 * s.seconds(lambda: h @ w.t(), 3)
        torch.backends.cuda.matmul.allow_tf32 = False
    ok = figures["three bf16, log-probability error"] < 1e-4
    return Found(figures, ok, "three bf16: an error under 1e-4 at a third of fp32's time or less")


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """A number as the sum of two in bf16."""
    first = x.bfloat16()
    return first, (x - first.float()).bfloat16()


def _wide(a: Tensor, b: Tensor) -> Tensor:
    """A product of bf16 with an fp32 result."""
    if a.is_cuda:
        found: Tensor = torch.mm(a, b.t(), out_dtype=torch.float32)
        return found
    return a.float() @ b.float().t()


def decoding(s: Setting) -> Found:
    """7. Milliseconds a step of decoding, plain and with top-p."""
    figures: dict[str, Any] = {}
    for name in s.models():
        config = network(name, s.small)
        made = replicas(s, config, train=False)
        for rows, columns in ((2, 24),) if s.small else ((16, 256), (256, 256), (16, 1024), (256, 1024)):
            for label, rule in (("plain", SamplingRule()), ("top-p", SamplingRule(1.0, 0.95))):
                with torch.inference_mode():
                    loop = _endless(s, made, config, rows, columns, rule)
                    steps = HEAR_EVERY * (1 if s.small else 4)
                    while loop.widest % COLUMNS:
                        loop._step()
                    spent = s.seconds(lambda loop=loop, steps=steps: [loop._step() for _ in range(steps)], 3)
                figures[f"{name}, {rows} rows, {columns} columns, {label}, ms a step"] = 1e3 * spent / steps
                del loop
        made.close()
    return Found(figures, None, "0.6b, 256 rows: 16 ms before a graph captures the step, 9 to 10 with one")


def _endless(
    s: Setting, made: Replicas, config: DecoderConfig, rows: int, columns: int, rule: SamplingRule
) -> Decoding:
    """Rows in their slots that never end, each with a prompt of so many tokens."""
    rng = random.Random(0)
    prompts = [[rng.randrange(2, 1000) for _ in range(columns)] for _ in range(min(rows, 32))]
    asked = [Wanted(i % len(prompts), i % len(prompts), rule, 1024, f"k{i}", i) for i in range(rows)]
    job = Job(
        prompts,
        [w.prompt for w in asked],
        [w.limit for w in asked],
        [-1],
        Draw(asked, s.device),
        lambda *_: None,
    )
    loop = Decoding(made.local.models["policy"].weights, config, job, rows, s.device)
    loop._admit(torch.arange(rows, device=s.device))
    return loop


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
    from cascade_rl.model.free_memory import own_bytes, shared_bytes

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
    """11. A whole step of the largest model: sampled replies, then the update on them."""
    name = s.models()[-1]
    config = network(name, s.small)
    made = replicas(s, config)
    groups, replies, tokens = (2, 2, 8) if s.small else (32, 8, 256)
    rng, rule = random.Random(0), SamplingRule()
    prompts = [[rng.randrange(2, 1000) for _ in range(64)] for _ in range(groups)]
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
        generate(made.local, "policy", prompts, wanted, (-1,), 256)
        s.wait()
        sampled = time.perf_counter()
        rows = [Row.of(prompts[g], ids, 1e-5, rng.gauss(0, 1)) for g, found in heard for ids, _ in found]
        learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        s.wait()
        # the last one stands: the first pays for libraries and memory
        figures = {f"{name}, sampling s": sampled - begin, f"{name}, update s": time.perf_counter() - sampled}
    made.close()
    made_tokens = groups * replies * tokens
    return Found(
        figures | {"tokens": made_tokens}, None, "0.6b, 65,536 tokens: sampling 4 s, update under 1 s"
    )


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


ITEMS: Sequence[Callable[[Setting], Found]] = (
    versions,
    equality,
    kernels,
    varlen,
    parity,
    head,
    decoding,
    update,
    slots,
    sharded,
    rl_step,
    repeated,
)


def main() -> None:
    """Run the items that there is time for, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "gpu_check.json")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes at which only the code is tried")
    parser.add_argument("--only", nargs="*", default=[item.__name__ for item in ITEMS])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check needs a CUDA device; --device cpu --small walks through it without one")
    setting = Setting(torch.device(options.device), options.small)
    begin, told = time.perf_counter(), []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for item in (item for item in ITEMS if item.__name__ in options.only):
        spent = time.perf_counter() - begin
        told.append(_run(item, setting) if spent < 60 * options.minutes else _not_begun(item))
        _write(options.out, told)
        print(_line(told[-1]), flush=True)
    if any(entry["ok"] is False for entry in told):
        sys.exit(1)


def _run(item: Callable[[Setting], Found], setting: Setting) -> dict[str, Any]:
    begin = time.perf_counter()
    entry: dict[str, Any] = {"item": item.__name__, "about": (item.__doc__ or "").strip()}
    try:
        found = item(setting)
        entry |= {"ok": found.ok, "found": found.figures, "expected": found.expected}
    # told with its traceback and counted as failed; the next items are still worth their time
    except Exception:
        entry |= {"ok": False, "found": {"fault": traceback.format_exc()}, "expected": "no fault"}
    return entry | {"seconds": time.perf_counter() - begin}


def _not_begun(item: Callable[[Setting], Found]) -> dict[str, Any]:
    return {"item": item.__name__, "ok": None, "found": {}, "expected": "not begun: no time was left"}


def _write(path: Path, told: Sequence[Mapping[str, Any]]) -> None:
    """Whole or not at all: a run may be cut off at any moment."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        json.dump(told, file, indent=1)
        file.write("\n")
    Path(file.name).replace(path)


def _line(entry: Mapping[str, Any]) -> str:
    verdict = {True: "pass", False: "FAIL", None: "told"}[entry["ok"]]
    shown = "; ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in entry["found"].items()
    )
    return f"{verdict}  {entry['item']}: {shown} (expected: {entry['expected']})"


if __name__ == "__main__":
    main()
