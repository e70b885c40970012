"""Files that start a whole run on a cluster: `cascade verl slurm`, `cascade verl rayjob`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.app import Overrides, RecipeArgument, say
from cascade_rl.cli.verl import verl
from cascade_rl.cli.verl_words import VerlPythonNeeded, command_of
from cascade_rl.errors import InputError

__all__ = ["verl"]

if TYPE_CHECKING:
    from cascade_rl.backends.verl.cluster import Start

Folder = Annotated[Path, typer.Option(help="The folder that the file, and its logs, are written to.")]
Hours = Annotated[int, typer.Option(min=1, help="How long the queue gives it; it goes on in the next turn.")]


@verl.command()
def slurm(
    recipe: RecipeArgument,
    verl_python: VerlPythonNeeded,
    overrides: Overrides = None,
    out: Folder = Path(),
    hours: Hours = 24,
    partition: Annotated[str | None, typer.Option(help="Of the queue.")] = None,
    account: Annotated[str | None, typer.Option(help="Who is charged.")] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(help="A further option of sbatch, such as --sbatch=--qos=high.")
    ] = None,
) -> None:
    """Write a batch script: Ray over the recipe's machines, then `cascade run`, queued until it is done."""
    from cascade_rl.backends.verl.cluster import Slurm, write_slurm

    asked = Slurm(hours, partition, account, tuple(sbatch or ()))
    start = _start(recipe, overrides or [], verl_python, out)
    path = write_slurm(start, command_of(verl_python), asked)
    say(f"{path}: {_machines(start)}. Next: sbatch {path}")


@verl.command()
def rayjob(
    recipe: RecipeArgument,
    verl_python: VerlPythonNeeded,
    image: Annotated[str, typer.Option(help="A container with this package and verl's environment.")],
    claim: Annotated[str, typer.Option(help="The volume claim that all pods write to.")],
    mount: Annotated[Path, typer.Option(help="Where it is mounted: --out lies below it.")],
    out: Folder,
    overrides: Overrides = None,
    hours: Hours = 24,
) -> None:
    """Write a RayJob of KubeRay: a cluster of the recipe's machines, with `cascade run` on its head."""
    from cascade_rl.backends.verl.cluster import KubeRay, write_rayjob

    start = _start(recipe, overrides or [], verl_python, out)
    path = write_rayjob(start, KubeRay(image, claim, mount, hours))
    say(f"{path}: {_machines(start)}. Next: kubectl apply -f {path}")


def _machines(start: Start) -> str:
    beside = ", one of them for the reward model" if start.judged else ""
    return f"{start.nodes} machines with {start.verl.gpus_per_node} GPUs{beside}"


def _start(recipe: str, overrides: list[str], verl_python: str, out: Path) -> Start:
    from cascade_rl.backends.verl.cluster import Start
    from cascade_rl.data.suites import fill_suites
    from cascade_rl.plan.phases import asked_by_verl
    from cascade_rl.recipe.reading import read_recipe

    # its keys alone: the data may lie where the queue starts it, and not here
    resolved = read_recipe(recipe, overrides, fill=fill_suites)
    if resolved.verl is None:
        raise InputError(f"{resolved.name}: no stage is trained by verl; add engine=verl")
    if not out.is_dir():
        raise InputError(f"there is no folder {out}; make it, or give another --out")
    # its path whole: the queue starts it elsewhere
    named = str(Path(recipe).resolve()) if Path(recipe).is_file() else recipe
    run = out.resolve() / "runs" / resolved.name
    words = ("cascade", "run", named, *overrides, "--out", str(run), "--verl-python", verl_python)
    return Start(resolved.name, out, resolved.verl, words, asked_by_verl(resolved))
