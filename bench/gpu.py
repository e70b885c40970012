"""The engine on GPUs: phases of an RL step beside their bounds, written to bench/out/gpu.json. Needs CUDA.

The same functions as bench/engine.py, in bf16, on random models of the sizes of SmolLM2-135M and Qwen3-0.6B, so that
nothing has to be fetched; `--workers N` takes N GPUs. Add TRL's step (on one GPU) with `--peer` where it is installed.
Whether the workers compute what one does: tests/sharded_cases.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from engine import OUT, compare, table
from work import Case, Ours, least, median_step


def main() -> None:
    """Measure each case and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models", nargs="*", default=["135m", "qwen3-0.6b"])
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("bench/gpu.py needs a CUDA device; on a CPU run bench/engine.py")
    found = []
    for model in options.models:
        case = Case(model, prompts=32, tokens=256, workers=options.workers, microbatch=16384)
        torch.cuda.reset_peak_memory_stats()
        measured = median_step(case, 3, "cuda")
        ours = Ours(case, "cuda")
        bound, _ = least(ours)
        ours.close()
        found += [compare(f"{phase} beside its bound, {model}", measured[f"{phase}_s"], bound[f"{phase}_s"], "s")
                  for phase in ("update", "rollout")]  # fmt: skip
        peak = torch.cuda.max_memory_allocated() / 1e9
        found.append({"name": f"peak memory of the first GPU, {model}", "ours": peak, "unit": "GB"})
        if options.peer:
            from peer import rl_step_s

            found.append(compare(f"RL step, {model}", measured["step_s"], rl_step_s(case, 3, "cuda"), "s"))
    OUT.mkdir(exist_ok=True)
    (OUT / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table([row for row in found if "ratio" in row]))


if __name__ == "__main__":
    main()
