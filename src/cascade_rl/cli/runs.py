"""The command that runs a recipe."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_rl.cli.app import OnRay, Overrides, RecipeArgument, Smoke, Unsafe, console, say
from cascade_rl.cli.plan import HERE, HardwareOption
from cascade_rl.cli.stopping import StopRequest
from cascade_rl.cli.verl_words import VerlPython, entered
from cascade_rl.errors import Interrupted


class TrainedBy(StrEnum):
    """The engines."""

    LOCAL = "local"
    VERL = "verl"


def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run directory; runs/NAME if not given.")] = None,
    smoke: Smoke = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="With a changed recipe or mended data: keep the stages before the first changed one, "
            "set the rest aside and redo it.",
        ),
    ] = False,
    unsafe_exec: Unsafe = False,
    engine: Annotated[
        TrainedBy | None,
        typer.Option(help="What trains the stages that don't say it themselves; as the recipe if not given."),
    ] = None,
    verl_python: VerlPython = None,
    within: Annotated[
        float | None,
        typer.Option(help="Hours; what the plan says won't be done in them is not begun.", min=0.0),
    ] = None,
    hardware: HardwareOption = HERE,
    ray: OnRay = None,
) -> None:
    """Run a recipe to its end, or go on where an interrupted run stopped."""
    overrides = [*(overrides or []), *([f"engine={engine.value}"] if engine else [])]
    again = ["cascade", "run", recipe, *overrides] + ["--smoke"] * smoke
    again += ["--out", str(out)] if out else []
    again += ["--verl-python", verl_python] if verl_python else []
    again += ["--hardware", hardware] if hardware != HERE else []
    again += ["--ray", ray] if ray else []
    # before anything else: imports alone take seconds, and a Ctrl-C in them is answered like a later one
    stop = StopRequest()
    leave: dict[str, Any] = {"accept_changes": accept_changes, "unsafe_exec": unsafe_exec, "ray": ray}
    leave["verl"] = entered(verl_python)
    try:
        _run(recipe, overrides, out, smoke, stop, leave, (within, hardware))
    # Interrupted (saved after the step) or the second Ctrl-C: either way the last state is whole.
    except KeyboardInterrupt as interrupt:
        say(f"  {str(interrupt) or 'stopped'}; go on with: {shlex.join(again)}")
        raise typer.Exit(stop.exit_code) from None


def _run(
    recipe: str,
    overrides: list[str],
    out: Path | None,
    smoke: bool,
    stop: StopRequest,
    leave: Mapping[str, Any],
    planned: tuple[float | None, str],
) -> None:
    from cascade_rl.cascade.cascade import run_cascade
    from cascade_rl.cli.screen import ConsoleScreen
    from cascade_rl.data.abilities import load_recipe
    from cascade_rl.plan.asked import total_line
    from cascade_rl.report import summary_line, write_report
    from cascade_rl.report.numbers import duration

    resolved = load_recipe(recipe, overrides, smoke_test=smoke)
    folder = out or Path("runs") / (resolved.name + ("-smoke" if smoke else ""))
    if stop.asked():
        raise Interrupted("stopped before the run began")
    # before anything is written: with --within it may refuse
    say(total_line(resolved, folder, *planned))
    try:
        with ConsoleScreen(console) as screen:
            found = run_cascade(resolved, folder, screen, stop_asked=stop.asked, **leave)
    except KeyboardInterrupt:
        if (folder / "recipe.yaml").is_file():
            write_report(folder)
        raise
    screen.table(found.matrix, found.verdicts)
    page = write_report(folder)
    console.print(summary_line(folder), soft_wrap=True)
    console.print(f"{duration(sum(found.matrix['seconds'].values()))} in all. Report: {page}", soft_wrap=True)
