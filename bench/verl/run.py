"""verl itself on what we compile for it, on a processor: `make test-verl`, or `python bench/verl/run.py --verl-python P`.

It runs real steps of verl's own trainers (SFT beside our own engine's on the same rows, GRPO with a sampler of
transformers in vLLM's place; killed, gone on with, exported), hands jobs to verl's own classes, and compiles and checks
the verl job of every stage of every shipped recipe.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

# a part is a module beside this one, with a function of its name: (verl's Python, folder) -> problems
PARTS = {
    "sft": "sft_steps", "grpo": "grpo_step", "launch": "launch_steps", "export": "try_export", "classes": "classes",
    "stages": "stages", "run": "whole_run",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verl-python", type=Path, required=True, help="the Python that has verl")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/test-verl"), help="where the jobs are written"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="some of its parts")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    problems: list[str] = []
    for name in asked.only or PARTS:
        begin = time.perf_counter()
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        # not resolved: the Python of a virtual environment is a link, and the environment is where the link lies
        part = getattr(importlib.import_module(PARTS[name]), PARTS[name])
        found = part(asked.verl_python.absolute(), folder / name)
        problems += [f"{name}: {problem}" for problem in found]
        print(
            f"{name}: {'as it should be' if not found else 'FAILED'}, {time.perf_counter() - begin:.0f} s\n",
            flush=True,
        )
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
