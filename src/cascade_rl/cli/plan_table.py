"""A plan as tables and lists that read well at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from cascade_rl.cli.app import console, say
from cascade_rl.report.numbers import duration

if TYPE_CHECKING:
    from cascade_rl.plan.stage_plan import PhasePlan
    from cascade_rl.plan.total import Plan

GIB = 2**30

COLUMNS = 78
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


def draw(made: Plan) -> None:
    """Print it: time, memory, what is waited for, totals, what does not fit, what is assumed."""
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
    if made.hints:
        say("\nWould be faster with")
        _wrapped(made.hints)
    say("\nAssumed, and where it is from:")
    _wrapped(assumptions(made))


def _wrapped(lines: Iterable[str]) -> None:
    for line in lines:
        _indented(line, "  - ")


def _indented(line: str, mark: str = "  ") -> None:
    for part in textwrap.wrap(line, COLUMNS, initial_indent=mark, subsequent_indent="    "):
        say(part)


def _rows(made: Plan) -> list[tuple[str, int, PhasePlan]]:
    """What a table shows: each phase of training, and all evaluations, which are alike, as one row."""
    from cascade_rl.plan.stage_plan import is_evaluation

    training = [(each.phase.name, 1, each) for each in made.phases if not is_evaluation(each)]
    scored = [each for each in made.phases if is_evaluation(each)]
    return training + [(f"evaluation x{len(scored)}", len(scored), one) for one in scored[:1]]


def _table(names: Iterable[str]) -> Table:
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
            _short(hours) if hours >= 0.95 else f"{hours:.3f}",
            f"{verifiers(each):,}" if verifiers(each) else "",
            _size(times * sum(each.disk.values())),
        )
        table.add_row(name, *cells)
    return table


def _memory_table(made: Plan) -> Table:
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
    cost = "" if made.cost is None else f", {made.cost:,.2f} at {made.price:g} an hour"
    what = "GPU hours" if made.setting.hardware.device == "cuda" else "hours"
    energy = f"{made.kilowatt_hours:,.2f} kWh"
    say(f"In all: {duration(made.seconds)}, {made.gpu_hours:,.2f} {what}, {energy}{cost}")
    say(f"  {_short(made.tokens)} tokens, {made.flops:.2e} FLOP")
    parts = ", ".join(f"{name} {_size(size)}" for name, size in made.disk.items())
    _indented(f"disk {_size(sum(made.disk.values()))}: {parts}")


def _clock(seconds: float) -> str:
    """A time with three digits in the largest unit that it has one of."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 999 * size else f"{seconds / size:,.0f} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _short(count: float) -> str:
    """A number with three digits and a unit."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def _size(size: float) -> str:
    """Bytes with a unit."""
    for unit, bound in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= bound:
            return f"{size / bound:.3g} {unit}"
    return f"{size / 1e3:.0f} kB"
