"""The command plan: what a run will take, before anything of it starts."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.app import Overrides, RecipeArgument, Smoke, console, say
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from cascade_rl.plan.stage_plan import PhasePlan
    from cascade_rl.plan.total import Plan
    from cascade_rl.recipe import Recipe

COLUMNS = 78
HERE = "here"  # this machine, see plan/hardware.py


class Trainer(StrEnum):
    """What trains the stages."""

    LOCAL = "local"
    VERL = "verl"


HardwareOption = Annotated[
    str,
    typer.Option(
        "--hardware", help="here (measured for a moment), a GPU such as h100, or N of them: 64xh100."
    ),
]
# the parts of memory with a column of their own; all others are added up as the last one
PARTS = {
    "weight": ("weights", "the sampler's weights", "the policy beside it", "weights as kernels want them"),
    "grad": ("gradients",),
    "optim": ("optimiser", "the optimiser's step"),
    "activ": ("activations", "gathered"),
    "head": ("head and logits", "logits"),
    "cache": ("KV cache",),
    "RM": ("reward model", "reference of the KL term"),
}


def plan(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    hardware: HardwareOption = HERE,
    gpus: Annotated[
        int | None, typer.Option(help="How many GPUs; as the recipe says if not given.", min=1)
    ] = None,
    engine: Annotated[Trainer | None, typer.Option(help="As if all stages were trained by it.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="A run that was made: lengths and speed as it had them.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Of a GPU's hour, in any currency.", min=0.0)] = None,
    smoke: Smoke = False,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Say what a run will take before it starts: memory, time, energy and cost of each stage on named machines."""
    from cascade_rl.data.suites import fill_suites
    from cascade_rl.plan.told import to_json
    from cascade_rl.plan.total import with_engine
    from cascade_rl.recipe.reading import read_recipe

    # without a look at the data: a plan needs no source to be at hand
    found = read_recipe(recipe, overrides or [], smoke_test=smoke, fill=fill_suites)
    made = planned(with_engine(found, engine.value if engine else None), hardware, gpus, price, like)
    if as_json:
        say(json.dumps(to_json(made), indent=1))
        return
    _draw(made)


def planned(
    recipe: Recipe,
    hardware: str,
    gpus: int | None = None,
    price: float | None = None,
    like: Path | None = None,
) -> Plan:
    """The plan of a recipe on hardware by name, after the run in a directory if there is one; raises InputError."""
    from cascade_rl.plan.expected import ASSUMED, Expected
    from cascade_rl.plan.hardware import find
    from cascade_rl.plan.here import here_for
    from cascade_rl.plan.like import Like
    from cascade_rl.plan.measured import read_measured
    from cascade_rl.plan.shapes import recipe_shape
    from cascade_rl.plan.stage_plan import setting_of
    from cascade_rl.plan.total import make_plan

    known, count = find(hardware)
    if gpus and count and gpus != count:
        raise InputError(f"--hardware {hardware} says {count} GPUs, and --gpus {gpus}; give one of the two")
    machine = known or here_for(recipe_shape(recipe), recipe.precision)
    expected: Expected = ASSUMED
    if like:
        expected = Like(read_measured(like), recipe)
        machine = known or expected.machine(machine)
    return make_plan(recipe, setting_of(recipe, machine, gpus or count), price, expected)


def total_line(recipe: Recipe, folder: Path, within: float | None, hardware: str) -> str:
    """The plan's total of what is left of a run; raises InputError where that is not `within` so many hours."""
    from cascade_rl.plan.left import left_of, refuse_late, steps_done
    from cascade_rl.plan.told import summary

    try:
        made = planned(recipe, hardware)
    except InputError as error:
        if within is not None:
            raise
        return f"no plan: {error}"
    left = left_of(made, steps_done(recipe, folder))
    if within is not None:
        refuse_late(left, within)
    return summary(made, left.seconds)


def _draw(made: Plan) -> None:
    from cascade_rl.plan.told import assumptions, place_words

    shape = made.shape
    active = f", {_short(shape.active)} of them active" if shape.experts else ""
    say(
        f"{made.recipe} on {place_words(made)}: {shape.name}, {_short(shape.parameters)} parameters{active}\n"
    )
    console.print(_time_table(made))
    where = "machine" if made.setting.hardware.device == "cpu" else "GPU"
    say(f"\nMemory of a {where}, GiB; updates and rollouts take turns, `most` is the fuller:\n")
    console.print(_memory_table(made))
    say("\nWhat a step waits for most:")
    said: dict[str, list[str]] = {}
    for name, _, each in _rows(made):
        said.setdefault(each.time.pole, []).append(name)
    _wrapped(f"{', '.join(names)}: {pole}" for pole, names in said.items() if pole)
    say("")
    _totals(made)
    problems = made.problems
    say("\nDoes not fit; change" if problems else "\nEverything fits.")
    _wrapped(map(str, problems))
    say("\nAssumed, and where it is from:")
    _wrapped(assumptions(made))


def _wrapped(lines: Iterable[str]) -> None:
    for line in lines:
        for part in textwrap.wrap(line, COLUMNS, initial_indent="  - ", subsequent_indent="    "):
            say(part)


def _rows(made: Plan) -> list[tuple[str, int, PhasePlan]]:
    """What a table shows: each phase of training, and all evaluations, which are alike, as one row."""
    from cascade_rl.plan.stage_plan import is_evaluation

    training = [(each.phase.name, 1, each) for each in made.phases if not is_evaluation(each)]
    scored = [each for each in made.phases if is_evaluation(each)]
    return training + [(f"evaluation x{len(scored)}", len(scored), scored[0])] * bool(scored)


def _table(names: Iterable[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _time_table(made: Plan) -> Table:
    from cascade_rl.plan.told import verifiers

    table = _table(("steps", "tokens", "FLOP", "a step", "in all", "GPU h", "cores", "disk"))
    for name, times, each in _rows(made):
        hours = times * made.units * each.seconds / 3600
        cells = (
            f"{each.phase.steps:,}",
            _short(times * each.tokens),
            f"{times * each.flops:.1e}".replace("e+", "e"),
            _clock(each.time.total),
            _clock(times * each.seconds),
            f"{hours:,.1f}" if hours >= 0.95 else f"{hours:.3f}",
            f"{verifiers(each):,}" if verifiers(each) else "",
            _size(times * sum(each.disk.values())),
        )
        table.add_row(name, *cells)
    return table


def _memory_table(made: Plan) -> Table:
    from cascade_rl.plan.hardware import GIB

    table = _table((*PARTS, "rest", "most", "of"))
    for name, _, each in _rows(made):
        parts = each.memory.named
        named = [sum(parts.get(part, 0.0) for part in names) for names in PARTS.values()]
        cells = [*named, sum(parts.values()) - sum(named), each.memory.peak, each.memory.room]
        table.add_row(name, *(_gib(size / GIB) for size in cells))
    return table


def _gib(size: float) -> str:
    if size >= 99.95:
        return f"{size:,.0f}"
    return f"{size:.1f}" if size >= 0.05 else f"{size:.2f}" if size >= 0.005 else "-"


def _totals(made: Plan) -> None:
    from cascade_rl.report.numbers import duration

    cost = "" if made.cost is None else f", {made.cost:,.2f} at {made.price:g} an hour"
    what = "GPU hours" if made.setting.hardware.device == "cuda" else "hours"
    say(
        f"In all: {duration(made.seconds)}, {made.gpu_hours:,.2f} {what}, {made.kilowatt_hours:,.2f} kWh{cost}"
    )
    say(f"  {_short(made.tokens)} tokens, {made.flops:.2e} FLOP")
    parts = ", ".join(f"{name} {_size(size)}" for name, size in made.disk.items())
    say(f"  disk {_size(sum(made.disk.values()))}: {parts}")


def _clock(seconds: float) -> str:
    """A time with three digits in the largest unit that it has one of."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _short(count: float) -> str:
    """A number with three digits and a unit."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _size(size: float) -> str:
    """Bytes with a unit."""
    for unit, bound in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= bound:
            return f"{size / bound:.3g} {unit}"
    return f"{size / 1e3:.0f} kB"
