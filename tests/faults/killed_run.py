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


def after(name: str, count: int, *owners: object) -> None:
    """Let `name` of the owners return `count` times in all, then die before its caller goes on."""
    original, calls = getattr(owners[0], name), [0]

    def wrapped(*args, **kwargs):
        result = original(*args, **kwargs)
        calls[0] += 1
        if calls[0] == count:
            die()
        return result

    for owner in owners:
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
    from cascade_rl.run import store
    from cascade_rl.train import learner, loop, reward_model, rl, state

    if where == "update":
        after("policy_step", count, learner.Learner)
    elif where == "pair":
        after("pair_step", count, learner.Learner)
    elif where == "rollout":
        after("gather", count, rl)
    elif where == "saving":
        half_written(state, "save_file", count)
    elif where == "record":
        after("add", count, store.Writer)
    elif where == "store":
        after("finish", count, store.Writer)
    elif where == "saved":
        after("save_state", count, loop)
    elif where == "evaluation":
        after("score_benchmark", count, scoring)
    elif where == "export":
        after("export", count, stage, reward_model)
    else:
        raise ValueError(where)


if __name__ == "__main__":
    from cascade_rl.cli.main import main

    arm(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["cascade", *sys.argv[3:]]
    main()
