"""Runs the command line and sends SIGKILL to itself at a chosen instant: `killed_run.py WHERE COUNT ARGUMENTS...`.

The instants are inside the product's own functions, so that the kill falls between two statements and not between
two steps: after the COUNT-th call of a function, or half-way through writing a file.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def die() -> None:
    """No handler, no flush, no goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: object, name: str, count: int) -> None:
    """Let `owner.name` return `count` times, then die before its caller goes on."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        calls[0] += 1
        if calls[0] == count:
            die()
        return result

    setattr(owner, name, wrapped)


def half_written(owner: object, name: str, count: int) -> None:
    """Cut the file that the `count`-th call of a writer made in half, then die."""
    original, calls = getattr(owner, name), [0]

    def wrapped(tensors, path, *args, **kwargs):
        original(tensors, path, *args, **kwargs)
        calls[0] += 1
        if calls[0] == count:
            data = Path(path).read_bytes()
            Path(path).write_bytes(data[: len(data) // 2])
            die()

    setattr(owner, name, wrapped)


def arm(where: str, count: int) -> None:
    """Place the kill."""
    from cascade_rl.cascade import scoring, stage
    from cascade_rl.train import learner, loop, rl, state

    if where == "update":
        after(learner.Learner, "policy_step", count)
    elif where == "pair":
        after(learner.Learner, "pair_step", count)
    elif where == "rollout":
        after(rl, "gather", count)
    elif where == "saving":
        half_written(state, "save_file", count)
    elif where == "saved":
        after(loop, "save_state", count)
    elif where == "evaluation":
        after(scoring, "run_benchmark", count)
    elif where == "export":
        after(stage, "export", count)
    else:
        raise ValueError(where)


if __name__ == "__main__":
    from cascade_rl.cli.main import main

    arm(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["cascade", *sys.argv[3:]]
    main()
