"""The benchmark matrix and where the time went, for the screen: readable at 80 columns, in plain text, and without colours.

`*` stands before the score after a benchmark's own stage (bold as well), an arrow after it tells what the
gate says against the stage before. Numbers are percent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cascade_rl.report.markup import DASH, bounds, percent, points
from cascade_rl.report.read import parse_matrix
from cascade_rl.report.records import Matrix, ModeCell, Row, Run
from cascade_rl.report.retention import retentions
from cascade_rl.report.speed import has_figures, machine_line, speed_rows

Verdicts = Mapping[tuple[str, str], str]
ARROWS = {"gain": "▲", "loss": "▼"}
STYLES = {"gain": "blue", "loss": "yellow"}
CELL, NAME = 6, 12
TIMES = ("roll-\nout", "grad-\ning", "up-\ndate", "eval", "other")
SPEED = ("samp\ntok/s", "train\ntok/s", "MFU", "MBU", "roll.\nlimit", "upd.\nlimit")


def short_header(name: str, width: int = CELL) -> str:
    """A stage's name in lines of at most `width`, broken before hyphens where that is possible."""
    lines = [""]
    for part in re.findall(r"[-_ .]?[^-_ .]+", name) or [name]:
        if lines[-1] and len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines += [part[i : i + width] for i in range(0, len(part), width)]
    return "\n".join(lines[1:])


def _number(share: float) -> str:
    text = percent(share)
    return "100" if text == "100.0" else text


def _cell(row: Row, stage: str, verdict: str) -> Text:
    score = row.scores.get(stage)
    if score is None:
        return Text(f"{DASH} ")
    own = stage == row.own_stage
    text = f"{'*' if own else ''}{_number(score.mean)}{ARROWS.get(verdict, ' ')}"
    return Text(text, style=f"{'bold ' if own else ''}{STYLES.get(verdict, '')}".strip())


def _plain_table(title: str, caption: str) -> Table:
    style = {"title_justify": "left", "caption_justify": "left", "title_style": "bold", "caption_style": ""}
    return Table(title=title, caption=caption, box=None, padding=(0, 1, 0, 0), pad_edge=False, **style)


def matrix_table(matrix: dict[str, Any], verdicts: Verdicts | None = None) -> Table:
    """Benchmarks as rows, stages as columns, in percent; `verdicts` is (stage, benchmark) -> gain, loss or same."""
    data, told = parse_matrix(matrix), verdicts or {}
    caption = "percent solved; * after its own stage; ▲ gain, ▼ loss against the stage before"
    table = _plain_table("benchmark matrix", caption)
    table.add_column("benchmark", overflow="fold", max_width=NAME)
    for stage in data.stages:
        table.add_column(short_header(stage), justify="right", no_wrap=True, vertical="bottom")
    table.add_column("95 %\nlast", justify="right", no_wrap=True)
    for row in data.rows:
        cells = [_cell(row, stage, told.get((stage, row.name), "")) for stage in data.stages]
        last = row.scores.get(data.stages[-1]) if data.stages else None
        table.add_row(row.name, *cells, bounds(last.low, last.high) if last else DASH)
    return table


def _last_modes(row: Row, data: Matrix) -> tuple[str, Mapping[str, ModeCell]]:
    """The last stage with modes, and its cells, the headline mode first."""
    stage = next((s for s in reversed(data.stages) if row.modes.get(s)), "")
    cells = row.modes.get(stage, {})
    return stage, dict(sorted(cells.items(), key=lambda item: item[0] != row.headline))


def modes_table(matrix: dict[str, Any]) -> Table:
    """Every benchmark in every mode after the last stage: average, greedy, leak, clipped, tokens, and retention."""
    data = parse_matrix(matrix)
    kept = {k.benchmark: k for k in retentions(data)}
    caption = "leak: replies that break their mode; kept: points of the final score over the one after its own stage"
    table = _plain_table("modes after the last stage", caption)
    table.add_column("benchmark", overflow="fold", max_width=NAME)
    table.add_column("mode", no_wrap=True)
    for name in ("avg", "greedy", "leak", "clipped", "tokens", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in data.rows:
        for i, (mode, cell) in enumerate(_last_modes(row, data)[1].items()):
            average, greedy = (percent(s.mean if s else None) for s in (cell.average, cell.greedy))
            tokens = DASH if cell.mean_tokens is None else f"{cell.mean_tokens:.0f}"
            change = points(kept[row.name].change) if i == 0 and row.name in kept else ""
            name = "" if i else row.name
            table.add_row(
                name, mode, average, greedy, percent(cell.leak), percent(cell.clipped), tokens, change
            )
    return table


def speed_table(run: Run) -> Table:
    """Where the time of a run went, and how near rollout and update came to the limit, where the run says it."""
    rows, told = speed_rows(run), has_figures(run)
    caption = "percent of the time"
    if told:
        caption += (
            "; tokens/s sampled and trained; percent of the peak: MFU of updates, MBU of decoding; limit: the least time by "
            f"the cost model over the time taken, in percent.\n{machine_line(run)}"
        )
    table = _plain_table("where the time went", caption)
    table.add_column("stage", overflow="fold", max_width=NAME)
    for name in (*TIMES, *(SPEED if told else ())):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*(row if told else row[: 1 + len(TIMES)]))
    return table


def matrix_screen(matrix: dict[str, Any], verdicts: Verdicts | None = None, line: str = "") -> Group:
    """Both tables and a closing `line` (see `summary_line`), ready for `Console.print`."""
    return Group(matrix_table(matrix, verdicts), "", modes_table(matrix), *(["", Text(line)] if line else []))
