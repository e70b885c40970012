"""The command plan: what a run will take, before anything of it starts."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.app import Overrides, RecipeArgument, Smoke, say

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
    lengths: Annotated[
        list[str] | None,
        typer.Option(help="Of a stage's replies, as math-rl:mean=9000,clipped=0.1; may be repeated."),
    ] = None,
    price: Annotated[float | None, typer.Option(help="Of a GPU's hour, in any currency.", min=0.0)] = None,
    smoke: Smoke = False,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
) -> None:
    """Say what a run will take before it starts: memory, time, energy and cost, stage by stage."""
    from cascade_rl.cli.plan_table import draw
    from cascade_rl.data.suites import fill_suites
    from cascade_rl.plan.asked import plan_on
    from cascade_rl.plan.told import to_json
    from cascade_rl.plan.total import with_engine
    from cascade_rl.recipe.reading import read_recipe

    # without a look at the data: a plan needs no source to be at hand
    found = read_recipe(recipe, overrides or [], smoke_test=smoke, fill=fill_suites)
    trained = with_engine(found, engine.value if engine else None)
    made = plan_on(trained, hardware, gpus, price, like, lengths or [])
    if as_json:
        say(json.dumps(to_json(made), indent=1))
        return
    draw(made)
