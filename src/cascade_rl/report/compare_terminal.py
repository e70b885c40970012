"""A comparison in the terminal: scores side by side, each thing against the first, what it took, remarks.

Readable at 80 columns with five things, in plain text and without colours.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cascade_rl.report import compare_words as words
from cascade_rl.report.compare_notes import remarks, summary
from cascade_rl.report.comparison import Shown
from cascade_rl.report.numbers import percent
from cascade_rl.report.retention import run_verdict
from cascade_rl.report.terminal import matrix_table, short_header
from cascade_rl.scores.compare import Answer, measured, mode_of

NAME, COLUMN = 14, 9  # characters
STYLES = {Answer.BETTER: "blue", Answer.WORSE: "yellow", Answer.OTHER: "dim", Answer.MISSING: "dim"}


def compare_parts(shown: Shown, *, problems: bool, stages: bool) -> Iterator[RenderableType]:
    """What is printed, part after part; `problems` lists those that differ most, `stages` whole matrices."""
    yield score_table(shown)
    for other in shown.compared.things[1:]:
        yield Text("")
        yield change_table(shown, other)
    if problems:
        yield from _problem_parts(shown)
    yield Text("")
    yield took_table(shown)
    for label, run in shown.runs.items() if stages else ():
        yield Text("")
        yield Text(f"{label}, stage by stage", style="bold")
        yield matrix_table(run.matrix)
    yield Text("")
    for label, run in shown.runs.items():
        stage = shown.thing(label).place.stage
        yield Text(f"{label}, after {stage}: {run_verdict(run)[0]}.")
    for remark in remarks(shown):
        yield Text(f"{'!' if remark.grave else '·'} {remark.text}", style="bold" if remark.grave else "")
    for other in shown.compared.things[1:]:
        yield Text(f"{summary(shown, other)}.", style="bold")


def _table(title: str, caption: str = "") -> Table:
    return Table(
        title=title,
        caption=caption or None,
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="",
    )


def score_table(shown: Shown) -> Table:
    """Benchmarks x things, in percent, with the sign of each answer."""
    compared = shown.compared
    caption = (
        f"percent solved; {words.SIGNS[Answer.BETTER]} better, {words.SIGNS[Answer.WORSE]} worse than "
        f"{compared.reference} beyond noise (Holm over {compared.size} comparisons); "
        f"{words.SIGNS[Answer.OTHER]} not comparable"
    )
    table = _table("scores", caption)
    table.add_column("benchmark", overflow="fold", max_width=NAME, vertical="bottom")
    table.add_column("mode", no_wrap=True, vertical="bottom")
    table.add_column("problems", justify="right", no_wrap=True, vertical="bottom")
    for label in compared.things:
        table.add_column(short_header(label, COLUMN), justify="right", no_wrap=True, vertical="bottom")
    for name in compared.benchmarks:
        known = [thing.results[name] for thing in shown.things if name in thing.results]
        found = [measured(thing.results.get(name), compared.mode) for thing in shown.things]
        first = next((m for m in found if m), None)
        mode = str(mode_of(known[0], compared.mode))
        cells = [_score(shown, name, label) for label in compared.things]
        table.add_row(short_header(name, NAME), mode, words.size(first), *cells)
    return table


def _score(shown: Shown, name: str, label: str) -> Text:
    found = measured(shown.thing(label).results.get(name), shown.compared.mode)
    c = shown.compared.at(name, label)
    sign = words.SIGNS.get(c.answer, " ") if c else " "
    return Text(f"{words.score(found)}{sign}", style=STYLES.get(c.answer, "") if c else "")


def change_table(shown: Shown, other: str) -> Table:
    """One thing against the reference: the change with its interval, the corrected p-value, the answer."""
    found = shown.compared.of(other)
    caption = "points, 95 % interval; p by exact sign flips over the same problems, corrected (Holm)"
    if any(c.needed for c in found):
        caption += "; (~N): problems that would show the seen difference, power 0.8"
    if any(any(c.only) and c.change and c.change.paired for c in found):
        caption += "; *: only those that both have"
    table = _table(f"{other} against {shown.compared.reference}", caption)
    table.add_column("benchmark", overflow="fold", max_width=NAME)
    for head in ("change", "95 %", "p", "problems"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("answer", no_wrap=True)
    for c in found:
        cells = (words.change(c), words.interval(c), words.p_value(c.adjusted), words.over(c))
        table.add_row(
            short_header(c.benchmark, NAME), *cells, Text(words.answer(c), style=STYLES.get(c.answer, ""))
        )
    return table


def took_table(shown: Shown) -> Table:
    """What the replies and the making of each thing took."""
    known = words.took_columns(shown.took.values())
    of = f"means over the {len(shown.shared)} benchmarks that all have"
    table = _table("what it took", f"tokens, leak, clipped: {of}")
    table.add_column("", overflow="fold", max_width=NAME)
    for head in known:
        table.add_column(head, justify="right", no_wrap=True, vertical="bottom")
    for n, label in enumerate(shown.took):
        table.add_row(short_header(label, NAME), *(cells[n] for cells in known.values()))
    return table


def _problem_parts(shown: Shown) -> Iterator[RenderableType]:
    for (name, other), found in shown.farthest.items():
        rows = [*found.better, *found.worse]
        if rows:
            yield Text("")
            table = _table(f"{name}: where {other} and {shown.compared.reference} differ most")
            table.add_column("problem", overflow="fold")
            table.add_column(short_header(shown.compared.reference, COLUMN), justify="right")
            table.add_column(short_header(other, COLUMN), justify="right")
            for problem, before, after in rows:
                table.add_row(problem, percent(before), percent(after))
            yield table
