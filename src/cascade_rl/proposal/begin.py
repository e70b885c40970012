"""From files to a recipe: their rows are counted, the model opened, the machine looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from cascade_rl.data.shapes import Fit, Kind, Shape
from cascade_rl.errors import InputError
from cascade_rl.proposal.draft import NEEDS, Goal, Supplies, draft, refuse_lacking, refuse_unable
from cascade_rl.proposal.machine import this_machine
from cascade_rl.proposal.prospect import prospect
from cascade_rl.proposal.supply import chats_of, pairs_of, questions_of
from cascade_rl.types import Mode

WANTED = (
    'A row is {"messages": [...]} to imitate, {"prompt", "chosen", "rejected"} to compare, {"prompt", '
    '"answer"} to solve, or what docs/data.md and docs/chats.md name; `cascade data show` tries an own map'
)


def begin(name: str, goal: str, init: str, shapes: Sequence[Shape], note: Callable[[str], None]) -> str:
    """The text of a recipe that trains `init` on the files of these shapes.

    `note` is told where the model was found. Raises InputError for files that no map fits, a model that can't
    be opened, and goals that they don't do for.
    """
    wanted = Goal(goal)
    refuse_unable(wanted, init)
    fitted = [(shape, _fitting(shape, NEEDS[wanted])) for shape in shapes]
    for shape, fit in fitted:
        if fit.kind not in NEEDS[wanted]:
            note(f"{shape.source}: {fit.kind}, which {wanted} has no use for")
    found = _supplies([(shape, fit) for shape, fit in fitted if fit.kind in NEEDS[wanted]])
    refuse_lacking(wanted, found)
    chats = found.chats if "chats" in NEEDS[wanted] else ()
    modes = frozenset[Mode]().union(*(one.modes for one in chats))
    model = prospect(init, [text for one in chats for text in one.texts()], modes, note)
    return draft(name, wanted, found, model, this_machine())


def _fitting(shape: Shape, kinds: Collection[Kind]) -> Fit:
    """What the rows are for this goal; what else they are, where they are nothing of that."""
    if best := shape.best(kinds) or shape.best():
        return best
    near = f"; nearest is {shape.fits[0].named()}: {shape.fits[0].fault}" if shape.fits else ""
    raise InputError(
        f"{shape.source}: no map fits its rows (columns {', '.join(shape.columns()):.200}){near}. {WANTED}"
    )


def _supplies(found: Sequence[tuple[Shape, Fit]]) -> Supplies:
    own = [(shape, fit.kind, fit.map) for shape, fit in found if fit.map is not None]
    return Supplies(
        tuple(chats_of(shape, said) for shape, kind, said in own if kind == "chats"),
        tuple(pairs_of(shape, said) for shape, kind, said in own if kind == "pairs"),
        tuple(questions_of(shape, fit) for shape, fit in found if fit.kind == "problems"),
    )
