"""The command that serves a checkpoint to others: serve."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.app import Checkpoint, WrittenBy, say
from cascade_rl.cli.models import model_folder
from cascade_rl.errors import InputError


class Device(StrEnum):
    """What computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """Of matrix products."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


def serve(
    checkpoint: Checkpoint,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 127.0.0.1 is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="What requests call the model; by its run and stage if not given.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on a CPU, or a GPU each.")] = 1,
    device: Annotated[Device, typer.Option(help="What computes.")] = Device.AUTO,
    precision: Annotated[
        Precision, typer.Option(help="Of matrix products; auto is bf16 where the processor multiplies it.")
    ] = Precision.AUTO,
    yarn: Annotated[
        float,
        typer.Option(min=1, help="Stretch the model's positions by this factor, as `cascade eval` may."),
    ] = 1.0,
    template: WrittenBy = None,
    api_key_variable: Annotated[
        str | None,
        typer.Option(help="The environment variable with the key that clients must send; without it none."),
    ] = None,
) -> None:
    """Serve a checkpoint to any client of OpenAI's chat completions, until Ctrl-C."""
    missing = [package for package in ("starlette", "uvicorn") if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f"serving needs {' and '.join(missing)}: pip install 'cascade-rl[serve]'")
    key = _key(api_key_variable)
    model = _Model(checkpoint, workers, device, precision, yarn, template)
    try:
        stopped = _serve(model, host, port, name, key, api_key_variable)
    except KeyboardInterrupt:  # while the model is read
        stopped = signal.SIGINT
    say("stopped")
    raise typer.Exit(128 + stopped)


@dataclass(frozen=True, slots=True)
class _Model:
    """Which model is served, and on what it computes: see `Engine`."""

    checkpoint: str
    workers: int
    device: str
    precision: str
    yarn: float
    template: str | None


def _serve(
    model: _Model, host: str, port: int, name: str | None, key: str | None, variable: str | None
) -> signal.Signals:
    """Serve it until a signal comes; which one."""
    from cascade_rl.serve.address import is_open, listen, url

    with listen(host, port) as listening:
        folder = model_folder(model.checkpoint)
        # after mistakes of the command line: torch alone takes seconds
        from cascade_rl.cascade.reach import Machine
        from cascade_rl.model.base import choose_device
        from cascade_rl.rollout.world import Engine, open_world
        from cascade_rl.serve.run import answer, served

        here = choose_device(Machine(model.workers, model.device, model.precision))
        engine = Engine(model.workers, *here, template=model.template, yarn=model.yarn)
        with open_world(folder, engine) as world, served(world, name or _name(model.checkpoint)) as found:
            if is_open(listening) and key is None:
                say("anybody who reaches this machine may ask; --api-key-variable NAME asks for a key")
            say(f"serving {found.name} at {url(listening)}, until Ctrl-C; try:")
            say(_curl(url(listening), found.name, variable))
            return answer(found, listening, key, say)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"--api-key-variable: {variable} is not set; export {variable}=... first")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"--api-key-variable: {variable} holds a sign that no header can carry")
    return key


def _name(checkpoint: str) -> str:
    """`tiny/08-swe-rl` of runs/tiny/stages/08-swe-rl/checkpoint; of others their last part or hub name."""
    parts = Path(checkpoint).resolve().parts
    if parts[-1] == "checkpoint" and parts[-3:-2] == ("stages",) and len(parts) > 4:
        return f"{parts[-4]}/{parts[-2]}"
    return Path(checkpoint).resolve().name if Path(checkpoint).exists() else checkpoint


def _curl(base: str, name: str, variable: str | None) -> str:
    asked = {
        "model": name,
        "messages": [{"role": "user", "content": "What is 3 + 4? /no_think"}],
        "max_tokens": 64,
    }
    key = f' \\\n  -H "Authorization: Bearer ${variable}"' if variable else ""
    data = json.dumps(asked, ensure_ascii=True).replace("'", "\\u0027")
    return f"curl {base}/chat/completions -H 'Content-Type: application/json'{key} \\\n  -d '{data}'"
