"""A verl that trains nothing: it reads a compiled job as verl does, and writes its metrics, checkpoints and faults.

Run like verl: `python fake_verl.py KEY=VALUE ...` in the job's folder. What it does of what verl 0.9.1 does, by
the source (trainer/ppo/v1/trainer_base.py, utils/tracking.py, utils/checkpoint/fsdp_checkpoint_manager.py):
the metrics file is opened anew; a step is saved before it is told; what is not finite is told as null; the
tracker is emptied before it is written; a resume past the end exits 0; shards of another world size are not
found. `fake.json` in the folder names the faults by start: {"1": {"crash_after": 3}, "2": {}}.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

RATE = 1e-6  # of the first step; each has one more of it, and tells that of the step after it, as verl does
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def shard(path: Path, text: str = "weights", *, torn: bool = False) -> None:
    """A file as torch writes it: a zip archive, whose table of contents comes last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data", text)
    if torn:
        path.write_bytes(path.read_bytes()[:20])


def checkpoint(root: Path, step: int, world: int, kind: str = "rl", *, torn: bool = False) -> None:
    """global_step_N as verl lays it out; `torn`: killed while the second file was being written."""
    folder = root / f"global_step_{step}"
    weights = folder / "actor" if kind == "rl" else folder
    for rank in range(world):
        shard(weights / f"model_world_size_{world}_rank_{rank}.pt", f"{step}")
        shard(weights / f"optim_world_size_{world}_rank_{rank}.pt", torn=torn)
        if torn:
            return
        shard(weights / f"extra_state_world_size_{world}_rank_{rank}.pt")
    (weights / "huggingface").mkdir(exist_ok=True)
    (weights / "huggingface" / "config.json").write_text("{}")
    (weights / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": world}))
    shard(folder / ("data.pt" if kind == "rl" else "data_0.pt"))
    (root / "latest_checkpointed_iteration.txt").write_text(str(step))


def numbers(step: int, start: int, kind: str, bad: str) -> dict[str, Any]:
    """What a step says; `start` makes those of a second try differ from the first."""
    norm = None if bad == "nan" else 0.5  # orjson writes null for what is not finite
    if kind == "sft":
        return {
            "train/loss": 2.0 / step,
            "train/grad_norm": norm,
            "train/lr": RATE * (step + 1),
            "train/global_tokens": 640,
        }
    return {
        "critic/score/mean": 0.1 * step, "critic/score/max": 1.0, "critic/score/min": 0.0, "critic/rewards/mean": 0.1,
        "response_length/mean": 20.0 + start, "response_length/max": 31.0, "response_length/clip_ratio": 0.25,
        "actor/entropy": 0.7, "actor/pg_loss": 0.01, "actor/grad_norm": norm, "actor/lr": RATE * (step + 1),
        "actor/ppo_kl": 0.0, "actor/pg_clipfrac": 0.02 if bad == "clips" else 0.0,
        "rollout_corr/kl": 0.0004, "rollout_corr/k3_kl": 0.0005, "rollout_corr/chi2_token": 0.001,
        "training/global_step": step, "timing_s/gen": 3.0, "timing_s/update_actor": 2.0, "timing_s/step": 6.5,
        "perf/throughput": 812.0, "perf/mfu/actor": 0.31,
    }  # fmt: skip


def reply(attempt: Path, step: int, start: int) -> None:
    """What the grader writes before a verdict is handed back: two prompts with two replies each."""
    folder = attempt / "replies"
    folder.mkdir(exist_ok=True)
    with (folder / f"{os.getpid()}.jsonl").open("a") as file:
        for index in (2 * step - 2, 2 * step - 1):
            for n, (reward, outcome) in enumerate(((1.0, "right"), (None, "grader_error"))):
                text = f"<think>start {start}</think> reply {n} of step {step}"
                row = {
                    "step": step,
                    "index": index,
                    "text": text,
                    "tokens": 10 + n,
                    "stop": "length" if n else "end",
                }
                file.write(
                    json.dumps(row | {"reward": reward, "outcome": outcome, "parts": {}, "note": ""}) + "\n"
                )


def merge() -> None:
    """`-m verl.model_merger merge ...`: what it hands over lies in the job's folder already."""
    if not Path("merged").is_dir():
        raise SystemExit("ValueError: there is nothing to merge")
    shutil.copytree("merged", sys.argv[sys.argv.index("--target_dir") + 1])


def main() -> None:
    """One start; or another program of verl's environment, if that is asked for."""
    if sys.argv[1] == "-m":
        return merge()
    if sys.argv[1].endswith(".py"):
        script = sys.argv.pop(1)
        runpy.run_path(script, run_name="__main__")
        return None
    keys = dict(word.lstrip("+").split("=", 1) for word in sys.argv[1:])
    keys = {key: value.strip("'") for key, value in keys.items()}
    attempt = Path(os.environ["CASCADE_VERL_ATTEMPT"])
    start = int(attempt.name)
    fault = (
        json.loads(Path("fake.json").read_text()).get(str(start), {}) if Path("fake.json").exists() else {}
    )
    kind, total = fault.get("kind", "rl"), int(keys["trainer.total_training_steps"])
    world = fault.get("world") or int(keys["trainer.nnodes"]) * int(keys["trainer.n_gpus_per_node"])
    root, save = Path(keys["trainer.default_local_dir"]), int(keys["trainer.save_freq"])
    print(f"start {start} of a verl that trains nothing", flush=True)
    if fault.get("ignores_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fault.get("children"):
        # a session of its own, like workers of Ray: no group and no parent leads to it
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if fault.get("dies_with"):
        print(fault["dies_with"], file=sys.stderr)
        sys.exit(1)
    if fault.get("empty"):
        return None
    mode, first = keys["trainer.resume_mode"], 0
    if mode == "resume_path":
        folder = Path(keys["trainer.resume_from_path"])
        first = int(folder.name.removeprefix("global_step_"))
        weights = folder / "actor" if kind == "rl" else folder
        for rank in range(world):
            (weights / f"model_world_size_{world}_rank_{rank}.pt").read_bytes()
    elif mode == "auto":
        raise SystemExit("never left to choose")
    return train(attempt, fault, (kind, start, world), (first, total, save), root)


def train(
    attempt: Path, fault: dict[str, Any], what: tuple[str, int, int], plan: tuple[int, int, int], root: Path
) -> None:
    """The steps of a start."""
    (kind, start, world), (first, total, save) = what, plan
    path = Path(os.environ["VERL_FILE_LOGGER_PATH"])
    path.write_bytes(b"")
    for step in range(first + 1, min(total, fault.get("until", total)) + 1):
        last = step == total
        while fault.get("waits_at") == step and not Path("go").exists():
            time.sleep(0.01)
        if kind == "rl":
            reply(attempt, step, start)
        if step % save == 0 or last:
            checkpoint(root, step, world, kind, torn=fault.get("torn_checkpoint") == step)
        if fault.get("crash_before_telling") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.get("reopens") == step:
            # the same file opened anew, as when Ray starts the task again: it tells this step and those before
            path.write_bytes(line(step - 1, numbers(step - 1, start + 10, kind, "")))
        append(path, line(step, numbers(step, start, kind, fault.get("bad", ""))))
        if kind == "sft" and last:
            append(path, line(step, {"val/loss": 1.25}))
        if fault.get("torn_line") == step:
            append(path, line(step + 1, numbers(step + 1, start, kind, ""))[:30])
        if fault.get("crash_after") == step:
            print(
                "Traceback (most recent call last):\nRuntimeError: the crash that was asked for",
                file=sys.stderr,
            )
            sys.exit(1)
        if fault.get("oom_after") == step:
            raise SystemExit(OOM)
        if fault.get("hangs_after") == step:
            time.sleep(600)


def append(path: Path, text: bytes) -> None:
    """At once, as FileLogger writes."""
    with path.open("ab", buffering=0) as file:
        file.write(text)


def line(step: int, data: dict[str, Any]) -> bytes:
    """A line of FileLogger."""
    return json.dumps({"step": step, "data": data}).encode() + b"\n"


if __name__ == "__main__":
    main()
