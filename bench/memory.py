"""What a micro-batch is said to take beside the peak of a fresh process, with and without layers that run again.

    python bench/memory.py            all cases, each in a process of its own
    python bench/memory.py CASE ...   in this process

The peak is the largest resident size during forward and backward (Linux: VmHWM, reset before) less the size before,
with the allocator's spare pages given back first. Weights are random: only their shapes matter.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from cascade_rl.data.abilities import load_recipe
from cascade_rl.model.activations import Room, activation_bytes
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.replicas import Replicas
from cascade_rl.train.batch import Row, microbatches, pack_rows
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective

CASES = [(model, precision, tokens, again) for model in ("tiny", "smollm2-135m") for precision in ("fp32", "bf16")
         for tokens in (1024, 4096) for again in (False, True)]  # fmt: skip


def config_of(model: str) -> DecoderConfig:
    """The shape of the tiny recipe's model, or of SmolLM2-135M."""
    if model == "tiny":
        spec = load_recipe("tiny").model
        return DecoderConfig.from_hf(scratch_config(spec.architecture, spec.tokenizer.vocab_size, 1, 0))
    return DecoderConfig.from_hf(json.loads((find_model(model).folder / "config.json").read_text()))


def resident(key: str) -> int:
    """Bytes that /proc/self/status gives for VmRSS or VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def measure(model: str, precision: str, tokens: int, again: bool) -> dict[str, float]:
    """Predicted and measured bytes of one micro-batch of groups of 8 replies, as long as their prompt."""
    config, replicas = config_of(model), Replicas(1, precision=precision)
    torch.set_num_threads(1)
    policy = replicas.add_model("policy", config, scratch_weights(config, 0), train=True)
    long = tokens // 36
    rows = [Row.of([5 + group] * long, [6] * long, 1e-3, 1.0) for group in range(4) for _ in range(8)]
    (group,) = microbatches(rows, tokens)
    packed = pack_rows([rows[i] for i in group], replicas.device).packed
    Room.too_small = lambda *_: again
    accumulate(
        replicas.local, "policy", rows[:2], tokens, Objective(ON_POLICY)
    )  # libraries load what they need
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before, begin = resident("VmRSS"), time.perf_counter()
    accumulate(replicas.local, "policy", rows, tokens, Objective(ON_POLICY))
    seconds = time.perf_counter() - begin
    said = activation_bytes(config, packed, policy.dtype.itemsize, None, again)
    return {
        "tokens": len(packed.ids),
        "said": said,
        "measured": resident("VmHWM") - before,
        "seconds": seconds,
    }


def main() -> None:
    """Print a line a case."""
    if len(sys.argv) > 1:
        model, precision, tokens, again = sys.argv[1:]
        print(json.dumps(measure(model, precision, int(tokens), again == "True")))
        return
    print(f"{'model':13} {'':5} {'tokens':>6} {'layers':8} {'said':>8} {'measured':>8} {'ratio':>6} {'s':>6}")
    for case in CASES:
        done = subprocess.run(
            [sys.executable, __file__, *map(str, case)], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        said, measured = found["said"] / 1e6, found["measured"] / 1e6
        print(f"{case[0]:13} {case[1]:5} {found['tokens']:6} {'again' if case[3] else 'kept':8} {said:5.0f} MB "
              f"{measured:5.0f} MB {said / measured:6.2f} {found['seconds']:6.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
