"""Recipes and machines that the tests of plans share."""

from __future__ import annotations

from dataclasses import replace

from cascade_rl.data.suites import fill_suites
from cascade_rl.plan.hardware import HARDWARE, Hardware
from cascade_rl.plan.phases import Phase
from cascade_rl.plan.stage_plan import Setting, setting_of
from cascade_rl.plan.total import Plan, make_plan, with_engine
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.reading import read_recipe

# A machine whose figures are round: 1 Tflop/s, 100 GB/s, two cores; small enough that tiny fills a part of it.
CPU = replace(
    HARDWARE["h100"],
    name="here",
    flops=1e12,
    fp32=5e11,
    bytes=1e11,
    memory=8e9,
    watts=20.0,
    node=1,
    cores=2,
    ram=8e9,
    source="made up",
    device="cpu",
    head=4e11,
)


def recipe_of(name: str = "tiny", *overrides: str, engine: str | None = None) -> Recipe:
    return with_engine(read_recipe(name, overrides, fill=fill_suites), engine)


def plan_of(
    recipe: Recipe, hardware: Hardware | str = CPU, gpus: int | None = None, price: float | None = None
) -> Plan:
    found = HARDWARE[hardware] if isinstance(hardware, str) else hardware
    return make_plan(recipe, setting_of(recipe, found, gpus), price)


def rl_phase(**changes: object) -> Phase:
    """32 replies of 64 tokens to 4 prompts of 16."""
    made = Phase(
        "rl",
        "",
        "rl",
        "local",
        0,
        10,
        trees=((16, (64,) * 8),) * 4,
        sampled=((16, 64),) * 32,
        group=8,
        longest=(32, 128),
    )
    return replace(made, **changes)


__all__ = ["CPU", "Setting", "plan_of", "recipe_of", "rl_phase"]
