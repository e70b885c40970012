"""A plan as the command line asks for it: on hardware by name, and the line that a run begins with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.plan import here
from cascade_rl.plan.expected import Expected, stated_lengths
from cascade_rl.plan.hardware import find
from cascade_rl.plan.left import WHOLE, left_of, refuse_late, steps_done
from cascade_rl.plan.like import Like
from cascade_rl.plan.measured import read_measured
from cascade_rl.plan.shapes import recipe_shape
from cascade_rl.plan.stage_plan import setting_of
from cascade_rl.plan.told import NOTHING, summary
from cascade_rl.plan.total import Plan, make_plan
from cascade_rl.recipe import Recipe


def plan_on(
    recipe: Recipe,
    hardware: str,
    gpus: int | None = None,
    price: float | None = None,
    like: Path | None = None,
    lengths: Sequence[str] = (),
) -> Plan:
    """The plan of a recipe on hardware by name, after the run in a directory if one is given.

    Raises InputError.
    """
    known, count = find(hardware)
    if gpus and count and gpus != count:
        raise InputError(f"--hardware {hardware} says {count} GPUs, and --gpus {gpus}; give one of the two")
    machine = known or here.here_for(recipe_shape(recipe), recipe.precision)
    said = stated_lengths(recipe, lengths)
    expected = Expected(said)
    if like:
        expected = Like(read_measured(like), recipe, said)
        machine = known or expected.machine(machine)
    return make_plan(recipe, setting_of(recipe, machine, gpus or count), price, expected)


def total_line(recipe: Recipe, folder: Path, within: float | None, hardware: str) -> str:
    """The plan's total of what is left of a run.

    Raises InputError where that is not done `within` so many hours, or where nobody can say.
    """
    done = steps_done(recipe, folder)
    if all(done.get(name) == WHOLE for name in recipe.scored):
        return NOTHING
    # what a run was found to take so far says more than any assumption
    begun = folder if done else None
    try:
        made = plan_on(recipe, hardware, like=begun)
    except InputError as error:
        if within is not None:
            raise
        return f"no plan: {error}"
    left = left_of(made, done)
    if within is not None:
        refuse_late(left, within)
    return summary(left) + (_busy() if hardware == "here" and begun is None else "")


def _busy() -> str:
    """A word of warning where others work on this machine: what it can do was measured beside them."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f"; measured while it is busy (load {load:.1f}), free it is faster" if load > 0.75 * cores else ""
