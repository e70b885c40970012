"""From files to a recipe: their rows are counted, the model opened, the machine looked at."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.cascade.machine import this_machine
from cascade_rl.cascade.plan import Goal, Supplies, draft, refuse_unable
from cascade_rl.cascade.prospect import Prospect, prospect
from cascade_rl.cascade.supply import chats_of, pairs_of, questions_of, texts_of
from cascade_rl.data.shapes import Fit, Shape
from cascade_rl.errors import InputError


def begin(name: str, goal: str, init: str, shapes: Sequence[Shape]) -> str:
    """The text of a recipe that trains `init` on the files of these shapes.

    Raises InputError for files that no map fits, a model that can't be opened, and goals they don't do for.
    """
    wanted = Goal(goal)
    refuse_unable(wanted, init)
    found = [(shape, _fitting(shape)) for shape in shapes]
    texts = [text for shape, fit in found if fit.kind == "chats" for text in texts_of(shape, fit)]
    model = prospect(init, texts)
    return draft(name, wanted, _supplies(found, model), model, this_machine())


def _fitting(shape: Shape) -> Fit:
    if shape.best is None:
        near = f"; nearest is {shape.fits[0].named()}: {shape.fits[0].fault}" if shape.fits else ""
        raise InputError(
            f"{shape.source}: no map fits its rows (columns {', '.join(shape.columns()):.200}){near}. A row is "
            '{"messages": [...]} to imitate, {"prompt", "chosen", "rejected"} to compare, {"prompt", "answer"} to '
            "solve, or what docs/data.md and docs/chats.md name; `cascade data show` tries a map of your own"
        )
    return shape.best


def _supplies(found: Sequence[tuple[Shape, Fit]], model: Prospect) -> Supplies:
    return Supplies(
        tuple(chats_of(shape, fit, model) for shape, fit in found if fit.kind == "chats"),
        tuple(pairs_of(shape, fit, model) for shape, fit in found if fit.kind == "pairs"),
        tuple(questions_of(shape, fit, model, sft=False) for shape, fit in found if fit.kind == "problems"),
    )
