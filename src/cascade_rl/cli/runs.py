"""The commands on a run: run, status, report."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.app import Overrides, RecipeArgument, RunArgument, Smoke, Unsafe, console, say
from cascade_rl.cli.plan import HERE, HardwareOption
from cascade_rl.errors import InputError, Interrupted


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
    within: Annotated[
        float | None,
        typer.Option(help="Hours; what the plan says won't be done in them is not begun.", min=0.0),
    ] = None,
    hardware: HardwareOption = HERE,
) -> None:
    """Run a recipe to its end, or go on where an interrupted run stopped."""
    again = ["cascade", "run", recipe, *(overrides or [])] + ["--smoke"] * smoke
    again += ["--out", str(out)] if out else []
    again += ["--hardware", hardware] if hardware != HERE else []
    # before anything else: imports alone take seconds, and a Ctrl-C in them is answered like a later one
    stop = _StopRequest()
    leave = {"accept_changes": accept_changes, "unsafe_exec": unsafe_exec}
    try:
        _run(recipe, overrides or [], out, smoke, stop, leave, (within, hardware))
    # Interrupted (saved after the step) or the second Ctrl-C: either way the last state is whole.
    except KeyboardInterrupt as interrupt:
        say(f"  {str(interrupt) or 'stopped'}; go on with: {shlex.join(again)}")
        raise typer.Exit(stop.exit_code) from None


def _run(
    recipe: str,
    overrides: list[str],
    out: Path | None,
    smoke: bool,
    stop: _StopRequest,
    leave: Mapping[str, bool],
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


class _StopRequest:
    """The first Ctrl-C or SIGTERM asks to stop after the step; the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        # at once: the step is lost, and done again on resume
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after this step (once more: at once) ...", file=sys.stderr, flush=True)

    def asked(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """As a shell says it of a process that a signal ended."""
        return 128 + (self.signal or signal.SIGINT)


def status(run_dir: RunArgument) -> None:
    """Show how far a run is, what each stage scored, and the gate's verdicts."""
    from cascade_rl.report.status import run_status
    from cascade_rl.report.terminal import StatusTable

    console.print(StatusTable(run_status(run_dir)))


def report(run_dir: RunArgument) -> None:
    """Write RUN/report.html, one self-contained page, and show where the time went; also of a run at work."""
    from cascade_rl.report import write_report
    from cascade_rl.report.read import read_run, require_run
    from cascade_rl.report.terminal import speed_table

    if not run_dir.is_dir():
        raise InputError(f"there is no run directory {run_dir}")
    require_run(run_dir)
    if (table := speed_table(read_run(run_dir))).row_count:
        console.print(table)
    console.print(f"Report: {write_report(run_dir)}", soft_wrap=True)
