"""The items of gpu_check that are programs of their own: a run of the tiny recipe, and TRL's step."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from gpu_setting import ROOT, Found, Setting

PEER_S = 120.0  # at most
SECONDS = 5.0  # that are kept back for what is written afterwards
REFUSED = 3  # the exit status of a run whose programs nothing isolates


def cascade_run(s: Setting) -> Found:
    """13. `cascade run tiny`, half of its steps: all stages, each with its benchmarks."""
    if importlib.util.find_spec("yaml") is None:
        return Found({"absent": "yaml"}, None, "this package's own dependencies")
    expected = "8 stages in about 90 s; scores about those of docs/LOG.md, less for half of the steps"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        begin = time.perf_counter()
        ended, said = _run_recipe(s, place, _recipe(s))
        without = ended == REFUSED
        if without:  # nothing isolates programs here: the rest still tells
            ended, said = _run_recipe(s, place, _without_programs(_recipe(s)))
        figures: dict[str, Any] = {"seconds": time.perf_counter() - begin, **_stages(place / "run")}
    if without:
        figures["left out"] = "coding and swe: no sandbox isolates programs here"
    if ended is None:
        return Found(figures | {"cut off": "no time was left"}, None, expected)
    if ended and "No module named" in said:
        return Found({"absent": said.splitlines()[-1]}, None, "this package's own dependencies")
    if ended:
        return Found(figures | {"fault": said[-2000:]}, False, expected)
    return Found(figures, True, expected)


def peer(s: Setting) -> Found:
    """11. The same step of RL by TRL, where it is installed; beside `rl_step`."""
    absent = [name for name in ("trl", "datasets") if importlib.util.find_spec(name) is None]
    if absent:
        return Found({"absent": ", ".join(absent)}, None, "pip install trl datasets, to compare")
    model, prompts, replies, tokens = ("tiny", 2, 2, 8) if s.small else ("qwen3-0.6b", 32, 8, 256)
    case = f"Case({model!r}, prompts={prompts}, rollouts={replies}, tokens={tokens}, workers=1)"
    code = (
        f"from work import Case; from peer import rl_step_s; print(rl_step_s({case}, 1, {s.device.type!r}))"
    )
    limit = min(PEER_S, s.left() - SECONDS)
    ended, said = _program(s, ["-c", code], limit, Path(__file__).parent)
    if ended is None:
        return Found({"cut off": f"after {limit:.0f} s"}, None, "slower than that")
    if ended:
        return Found({"fault": said[-2000:]}, None, "TRL's own affair")
    return Found({f"{model}, step s": float(said.split()[-1])}, None, "slower than rl_step's two together")


def _recipe(s: Setting) -> dict[str, Any]:
    """The tiny recipe on this device with half of its steps; small: two steps of two stages."""
    import yaml  # transformers brings it

    whole: dict[str, Any] = yaml.safe_load((ROOT / "src/cascade_rl/recipes/tiny.yaml").read_text())
    whole |= {"device": s.device.type, "workers": 1}
    for stage in whole["stages"]:
        stage["steps"] = max(1, stage["steps"] // 2)
    if s.small:
        kept = ("sft-1", "if-rl")
        whole["stages"] = [stage for stage in whole["stages"] if stage["name"] in kept]
        whole["benchmarks"] = [each for each in whole["benchmarks"] if each["name"] == "following"]
        del whole["gate"], whole["defaults"]["reward_model"]  # of stages that are not kept
    return whole


def _without_programs(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe less what must run a model's programs."""
    found = {
        **recipe,
        "benchmarks": [b for b in recipe["benchmarks"] if b["domain"] not in ("coding", "swe")],
    }
    found["stages"] = []
    for stage in recipe["stages"]:
        data = [each for each in stage.get("data", ()) if each["domain"] not in ("coding", "swe")]
        if data or "data" not in stage:
            found["stages"].append({**stage, "data": data} if data else stage)
    return found


def _run_recipe(s: Setting, place: Path, recipe: Mapping[str, Any]) -> tuple[int | None, str]:
    import yaml

    (place / "recipe.yaml").write_text(yaml.safe_dump(dict(recipe)))
    command = ["-m", "cascade_rl", "run", str(place / "recipe.yaml"), "--out", str(place / "run")]
    return _program(s, command + ["--smoke"] * s.small, s.left() - SECONDS, place)


def _program(s: Setting, arguments: list[str], limit: float, place: Path) -> tuple[int | None, str]:
    """The exit status of a Python of its own, None if the time was over, and what it said."""
    s.release()
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
    program = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=place,
        env=known,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # with its workers it ends as one group
    )
    try:
        said, _ = program.communicate(timeout=max(0.0, limit) if math.isfinite(limit) else None)
        return program.returncode, said
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def _stages(folder: Path) -> dict[str, Any]:
    """Of each stage that was scored its benchmarks in their headline mode, per cent."""
    found: dict[str, Any] = {"stages": 0}
    for file in sorted(folder.glob("stages/*/scorecard.json")):
        card = json.loads(file.read_text())
        scores = {
            name: round(100 * told["modes"][told["headline"]]["avg"]["mean"], 1)
            for name, told in card["benchmarks"].items()
        }
        found["stages"] += 1
        found[card["stage"]] = scores
    return found
