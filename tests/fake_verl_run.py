"""A verl for whole runs: it answers `check`, trains by moving weights as the step says, writes replies with verdicts.

What it writes follows from job, step and the weights it starts from alone: whoever goes on from a checkpoint comes
to the same weights. `CASCADE_FAKE_FAULTS` names a JSON file of faults by start: {"02-math/01/1": {"dies_at": 2}}.
"""

from __future__ import annotations

import array
import json
import os
import signal
import sys
import time
from pathlib import Path

import fake_verl

PROMPTS, REPLIES = 2, 2
WEIGHTS = "huggingface/model.safetensors"


def moved(path: Path, step: int, name: str) -> bytes:
    """The weights of a file, a step on."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    numbers = array.array("f", raw[start:])
    # steps of different jobs and places in them differ
    shift = sum(map(ord, name)) + 3 * step
    for place in range(0, len(numbers), 7):
        numbers[place] += 0.001 * ((place + shift) % 5 - 2)
    return raw[:start] + numbers.tobytes()


def reward(job: str, step: int, index: int, reply: int) -> float:
    """A third of the prompts is solved always, a third never, a third by one reply."""
    kind = (sum(map(ord, job)) + 5 * step + index) % 3
    return float(kind == 0 or (kind == 2 and reply == 0))


def keep_replies(attempt: Path, job: str, step: int) -> None:
    """The lines of `inside/reward.py` for a step."""
    folder = attempt / "replies"
    folder.mkdir(exist_ok=True)
    with (folder / "one.jsonl").open("a") as file:
        for index in range(PROMPTS * (step - 1), PROMPTS * step):
            for reply in range(REPLIES):
                earned = reward(job, step, index, reply)
                row = {"step": step, "index": index, "text": f"{job} {step} {reply}", "tokens": 3 + reply,
                       "stop": "end", "reward": earned, "outcome": "right" if earned else "wrong", "parts": {},
                       "note": "", "earned": earned, "below": 0, "score": None}  # fmt: skip
                file.write(json.dumps(row) + "\n")


def main() -> None:
    """A program of verl's environment."""
    if sys.argv[1].endswith("check.py"):
        Path(sys.argv[3]).write_text(json.dumps({"versions": {"verl": "0.9.1"}, "problems": []}))
        return
    keys = dict(word.lstrip("+").split("=", 1) for word in sys.argv[1:] if "=" in word and word[:2] != "--")
    keys = {key: value.strip("'") for key, value in keys.items()}
    kind = "rl" if "actor_rollout_ref.model.path" in keys else "sft"
    attempt = Path(os.environ["CASCADE_VERL_ATTEMPT"])
    folder = attempt.parent.parent
    name = f"{folder.parent.parent.name}/{folder.name}"
    faults = json.loads(Path(os.environ["CASCADE_FAKE_FAULTS"]).read_text())
    fault = faults.get(f"{name}/{int(attempt.name)}", {})
    root, total = Path(keys["trainer.default_local_dir"]), int(keys["trainer.total_training_steps"])
    save, first = int(keys["trainer.save_freq"]), 0
    weights = (
        Path(keys["actor_rollout_ref.model.path" if kind == "rl" else "model.path"]) / "model.safetensors"
    )
    if keys["trainer.resume_mode"] == "resume_path":
        before = Path(keys["trainer.resume_from_path"])
        first = int(before.name.removeprefix("global_step_"))
        weights = before / ("actor" if kind == "rl" else "") / WEIGHTS
    metrics = Path(os.environ["VERL_FILE_LOGGER_PATH"])
    metrics.write_bytes(b"")
    for step in range(first + 1, total + 1):
        if fault.get("waits_at") == step:
            while not Path(fault["for"]).exists():
                time.sleep(0.01)
        content = moved(weights, step, name)
        weights = folder / "held.safetensors"
        weights.write_bytes(content)
        if kind == "rl":
            keep_replies(attempt, name, step)
        if step % save == 0 or step == total:
            place = root / f"global_step_{step}" / ("actor" if kind == "rl" else "")
            (place / "huggingface").mkdir(parents=True)
            (place / WEIGHTS).write_bytes(content)
            fake_verl.checkpoint(root, step, 1, kind)
            (place / "huggingface" / "config.json").write_text(os.environ["CASCADE_FAKE_CONFIG"])
        if fault.get("dies_untold_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        fake_verl.append(metrics, fake_verl.line(step, fake_verl.numbers(step, 1, kind, "")))
        if fault.get("dies_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
