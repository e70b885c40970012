"""verl from the command line: a stage's job compiled, checked, launched, watched, exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import Overrides, RecipeArgument, console, say
from cascade_rl.cli.stopping import StopRequest
from cascade_rl.cli.verl_words import VerlPythonNeeded, command_of
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.backends.verl.job import Job

LAST = 10  # steps that `watch` shows
SHOWN = ("reward", "length", "entropy", "loss", "grad_norm")

verl = typer.Typer(
    help="verl's side of a run, step by step: a job compiled, checked, launched, watched, exported; files "
    "for Slurm and KubeRay. `cascade run` does all of it (docs/scale.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JobArgument = Annotated[
    Path, typer.Argument(help="A compiled job, such as runs/my/stages/06-math-rl/verl/01.")
]


def _job(folder: Path) -> Job:
    from cascade_rl.backends.verl.job import Job

    return Job(folder.resolve())


@verl.command("compile")
def compile_(
    recipe: RecipeArgument,
    stage: Annotated[str, typer.Argument(help="The stage's name in the recipe.")],
    policy: Annotated[Path, typer.Option(help="The Hugging Face directory that the job starts from.")],
    out: Annotated[Path, typer.Option(help="An empty folder, or one that is made.")],
    overrides: Overrides = None,
    job: Annotated[int, typer.Option(min=1, help="Which of the stage's jobs, from 1.")] = 1,
    reward_model: Annotated[
        Path | None, typer.Option(help="The exported reward model that its rewards ask, if they do.")
    ] = None,
) -> None:
    """Write the folder of one job of a stage: overrides, rows, our graders' files, script, manifest."""
    from cascade_rl.cascade.alone import compile_alone
    from cascade_rl.cli.screen import ConsoleScreen
    from cascade_rl.data.abilities import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    with ConsoleScreen(console) as screen:
        made = compile_alone(resolved, stage, policy, out, screen, number=job, reward_model=reward_model)
    say(f"compiled: {made.folder}. Next: cascade verl check {made.folder} --verl-python PATH")


@verl.command()
def check(job: JobArgument, verl_python: VerlPythonNeeded) -> None:
    """Hold a compiled job against verl itself, without a GPU: configuration, rows, reward, advantage."""
    from cascade_rl.backends.verl.check import check_job

    if problems := check_job(_job(job), command_of(verl_python)):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{job} can't be started, {count}:\n" + "\n".join(f"  {p}" for p in problems))
    say(f"all is well; verl's whole configuration: {_job(job).composed}")


@verl.command()
def launch(job: JobArgument, verl_python: VerlPythonNeeded) -> None:
    """Train a compiled job to its last step, beginning or going on; its journals lie in JOB/stage."""
    from cascade_rl.backends.verl.by_hand import train_by_hand
    from cascade_rl.cli.screen import ConsoleScreen

    stop = StopRequest()
    try:
        with ConsoleScreen(console) as screen:
            train_by_hand(_job(job), command_of(verl_python), screen, stop.asked)
    except KeyboardInterrupt as interrupt:
        say(f"  {str(interrupt) or 'stopped'}; the same command goes on")
        raise typer.Exit(stop.exit_code) from None
    say(f"done. Next: cascade verl export {job} --verl-python PATH")


@verl.command()
def watch(job: JobArgument) -> None:
    """Show how far a job is: its starts, the last steps, the last checkpoint, the end of the console."""
    from cascade_rl.backends.verl.by_hand import seen

    found = seen(_job(job))
    done = found.lines[-1].step if found.lines else 0
    kept = "exported" if found.exported else f"last whole checkpoint: step {found.saved}"
    say(f"step {done} of {found.steps}, start {found.start}, {kept}")
    table = Table("step", *SHOWN, "seconds", box=None, header_style="bold", pad_edge=False)
    for line in found.lines[-LAST:]:
        numbers = [line.metrics.get(key) for key in SHOWN]
        shown = ["" if number is None else f"{number:.3g}" for number in numbers]
        table.add_row(str(line.step), *shown, f"{sum(line.seconds.values()):.0f}")
    if found.lines:
        console.print(table)
    if found.ended:
        say(f"start {found.start} ended: {found.ended}")
        return
    for text in found.last:
        say(f"  | {text}")


@verl.command()
def export(job: JobArgument, verl_python: VerlPythonNeeded) -> None:
    """Merge a job's last checkpoint to a Hugging Face directory, held against the trained weights."""
    from cascade_rl.backends.verl.export import export_job

    say(f"exported: {export_job(_job(job), command_of(verl_python))}")
