"""verl's Python on a processor: what is started by it, with what `on_cpu` says in its place.

`cascade run ... --verl-python "PYTHON bench/verl/as_python.py"`: a run whose verl needs no GPU. Trainers get other
overrides and variables, in their own words and in those that Ray hands to its workers; all else is passed on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from on_cpu import RL, SFT, replaced

HERE = Path(__file__).parent
TRAINERS = {
    "verl.trainer.main_ppo": (RL, "cpu_platform,cpu_rollout"),
    "verl.trainer.sft_trainer": (SFT, "cpu_platform"),
}
RAY = "ray_kwargs.ray_init.runtime_env.env_vars"


def main() -> None:
    """Become the Python with the words that it is to have."""
    words = sys.argv[1:]
    trainer = next((name for name in TRAINERS if name in words), None)
    if trainer:
        others, modules = TRAINERS[trainer]
        place = words.index(trainer) + 1
        before = os.environ.get("VERL_USE_EXTERNAL_MODULES", "")
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
        set_here = {
            "VERL_USE_EXTERNAL_MODULES": ",".join(filter(None, [modules, before])),
            "PYTHONPATH": path,
            "VERL_ENGINE_DEVICE": "cuda",
            "OMP_NUM_THREADS": "1",
        }
        os.environ.update(set_here)
        # else Ray joins whatever cluster was started last on this machine
        os.environ.setdefault("RAY_ADDRESS", "local")
        if trainer.endswith("main_ppo"):
            others = others + [f"++{RAY}.{name}='{value}'" for name, value in set_here.items()]
        words = [*words[:place], *replaced(words[place:], others)]
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    main()
