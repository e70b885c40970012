"""The benchmark matrix as HTML: scores with intervals, what changed, what was kept, and the other modes.

Gains and losses are told three times, by arrow, by colour (blue and orange, which all kinds of colour vision
tell apart) and by tooltip. The views are switched by radio buttons and style alone; in print all are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascade_rl.recipe import BASE
from cascade_rl.report.charts import sparkline
from cascade_rl.report.markup import esc, slug
from cascade_rl.report.numbers import ARROWS, DASH, EXCUSED, bounds, duration, percent, points
from cascade_rl.report.records import Run
from cascade_rl.report.retention import run_retentions
from cascade_rl.scores.gate import Cell
from cascade_rl.scores.matrix import Matrix, ModeCell, Row
from cascade_rl.scores.retention import Retention
from cascade_rl.types import Score

LEGEND = (
    "Percent of held-out problems solved, with the 95 % interval below. "
    '<span class="chip own">framed</span> after the stage that trains it; '
    '<span class="chip gain">▲ gain</span> and <span class="chip loss">▼ loss</span> against the stage '
    "before, paired over the same problems, where the 95 % interval excludes zero; "
    '<span class="chip loss excused">▽ loss</span> that the gate lets pass: inside its band, declared, or '
    "waived. "
    "<b>vs own</b>: final score minus the one after its own stage (the first score where no stage trains "
    "it); <b>vs best</b>: minus the best earlier score. Both in points, paired where possible."
)


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at the modes: what each (benchmark, mode) cell shows."""

    name: str
    meaning: str
    cell: Callable[[ModeCell], str]


def _score_html(score: Score | None) -> str:
    if score is None:
        return DASH
    return f"<b>{percent(score.mean)}</b><small>{bounds(score.low, score.high)}</small>"


def _share_html(share: float) -> str:
    return f"<b>{percent(share)}</b>" if share else percent(share)


def _tokens_html(mean: float) -> str:
    return DASH if math.isnan(mean) else f"<b>{mean:,.0f}</b>"


VIEWS = (
    View(
        "Both modes",
        "Percent solved, mean over the samples of each problem, in every mode.",
        lambda cell: _score_html(cell.average),
    ),
    View("Greedy", "Percent solved by the single greedy reply.", lambda cell: _score_html(cell.greedy)),
    View(
        "Leak",
        "Percent of replies that break their mode: reasoning in instruct mode, no proper block in thinking.",
        lambda cell: _share_html(cell.leak),
    ),
    View("Clipped", "Percent of replies cut off at the token limit.", lambda cell: _share_html(cell.clipped)),
    View("Tokens", "Mean tokens per reply.", lambda cell: _tokens_html(cell.mean_tokens)),
)


def gate_cells(run: Run) -> dict[tuple[str, str], tuple[Cell, ...]]:
    """(stage, benchmark) -> all that the gate says of it, the comparison with the stage before first."""
    # a comparison with an unknown stage goes last
    order = {stage: i for i, stage in enumerate(run.matrix.stages)}
    told: dict[tuple[str, str], list[Cell]] = {}
    for stage in run.stages:
        for cell in stage.gate.cells if stage.gate else ():
            told.setdefault((stage.name, cell.benchmark), []).append(cell)
    return {
        key: tuple(sorted(cells, key=lambda cell: -order.get(cell.before, -1))) for key, cells in told.items()
    }


def arrow(cell: Cell) -> str:
    """The sign of a gate cell; hollow when the loss is excused."""
    return EXCUSED if cell.verdict == "loss" and cell.excuse else ARROWS.get(cell.verdict, "")


def _tooltip(row: Row, stage: str, score: Score, told: Sequence[Cell]) -> str:
    when = "before the first stage" if stage == BASE else f"after {stage}"
    parts = [f"{row.name} {when}: {percent(score.mean)} %"]
    if score.n:
        parts.append(f"{score.n} problems × {score.k} samples")
    for mode, found in row.modes.get(stage, {}).items():
        average = found.average
        parts.append(f"{mode}: {percent(average.mean)} % ({bounds(average.low, average.high)})")
    for cell in told:
        inside = bounds(cell.low, cell.high, points)
        parts.append(f"{points(cell.change)} points since {cell.before} ({inside}): {cell.verdict}")
        parts += [cell.excuse] if cell.excuse else []
    return "\n".join(parts)


def _cell(row: Row, stage: str, told: Sequence[Cell]) -> str:
    score = row.scores.get(stage)
    where = f'data-benchmark="{esc(row.name)}" data-stage="{esc(stage)}"'
    if score is None:
        when = "before the first stage" if stage == BASE else f"after {esc(stage)}"
        title = f"{esc(row.name)} was not scored {when}"
        return f'<td class="cell none" {where} title="{title}">{DASH}</td>'
    css = ["cell"] + (["own"] if stage == row.own_stage else [])
    sign = ""
    # told[0]: against the stage before; the others stand in the tooltip
    if told and told[0].verdict in ARROWS:
        change = told[0]
        css.append(change.verdict + (" excused" if arrow(change) == EXCUSED else ""))
        sign = f'<i class="arrow">{arrow(change)}<span class="aside">{change.verdict}</span></i>'
    body = f"<b>{percent(score.mean)}{sign}</b><small>{bounds(score.low, score.high)}</small>"
    return f'<td class="{" ".join(css)}" {where} title="{esc(_tooltip(row, stage, score, told))}">{body}</td>'


def _since_own(kept: Retention | None) -> str:
    if kept is None or kept.since_own is None:
        return f'<td class="kept none">{DASH}</td>'
    since = kept.since_own
    change, inside = since.change, bounds(since.change.low, since.change.high, points)
    tone = " loss" + ("" if since.lost else " excused") if since.fell else ""
    why = f"{kept.final} minus {since.stage}, 95 % interval {inside}"
    cell = f"<b>{points(change.change)}</b><small>{inside}</small>"
    return f'<td class="kept{tone}" title="{esc(why)}">{cell}</td>'


def _since_best(kept: Retention | None) -> str:
    if kept is None or kept.since_best is None:
        return f'<td class="kept none">{DASH}</td>'
    best, change = esc(kept.since_best.stage), points(kept.since_best.change.change)
    return f'<td class="kept" title="last score minus {best}"><b>{change}</b><small>{best}</small></td>'


def _heads(matrix: Matrix) -> str:
    return "".join(f'<th scope="col">{_head(stage)}</th>' for stage in matrix.stages)


def _head(stage: str) -> str:
    # nothing was trained before the first stage: there is no section to go to
    if stage == BASE:
        return f'<span title="the model before the first stage">{BASE}</span>'
    return f'<a href="#stage-{slug(stage)}">{_breaking(stage)}</a>'


def _breaking(name: str) -> str:
    return esc(name).replace("-", "-<wbr>")


def _headline(run: Run) -> str:
    matrix, told = run.matrix, gate_cells(run)
    kept = {k.benchmark: k for k in run_retentions(run)}
    rows = []
    for row in matrix.rows:
        cells = "".join(_cell(row, stage, told.get((stage, row.name), ())) for stage in matrix.stages)
        own = matrix.stages.index(row.own_stage) if row.own_stage in matrix.stages else None
        spark = sparkline([s.mean if (s := row.scores.get(stage)) else None for stage in matrix.stages], own)
        mode = f"<small>{esc(row.headline)}</small>"
        name = f'<th scope="row">{_breaking(row.name)}{mode}</th>'
        tail = f"{_since_own(kept.get(row.name))}{_since_best(kept.get(row.name))}<td>{spark}</td>"
        rows.append(f"<tr>{name}{cells}{tail}</tr>")
    tail = '<th scope="col">vs own</th><th scope="col">vs best</th><th scope="col">trend</th>'
    clock = "".join(
        f"<td>{duration(matrix.seconds[s]) if s in matrix.seconds else DASH}</td>" for s in matrix.stages
    )
    foot = (
        f'<tfoot><tr><th scope="row">time</th>{clock}<td colspan="3"></td></tr></tfoot>'
        if matrix.seconds
        else ""
    )
    head = f'<tr><th scope="col">benchmark</th>{_heads(matrix)}{tail}</tr>'
    return (
        f'<div class="scroll"><table class="matrix"><thead>{head}</thead>'
        f"<tbody>{''.join(rows)}</tbody>{foot}</table></div><p class='legend-text'>{LEGEND}</p>{_judges(run)}"
    )


def _judges(run: Run) -> str:
    """Who judged the benchmarks of own pairs, by the last scorecard that tells."""
    told = {name: judged for stage in run.stages for name, judged in stage.judged.items()}
    return "".join(f'<p class="legend-text">{esc(one.line(name))}.</p>' for name, one in told.items())


def _mode_view(matrix: Matrix, view: View) -> str:
    rows = []
    for row in matrix.rows:
        modes = dict.fromkeys(mode for stage in matrix.stages for mode in row.modes.get(stage, {}))
        for i, mode in enumerate(modes):
            found = [row.modes.get(stage, {}).get(mode) for stage in matrix.stages]
            cells = "".join(f"<td>{DASH if cell is None else view.cell(cell)}</td>" for cell in found)
            name = f'<th scope="row">{_breaking(row.name)}<small>{esc(mode)}</small></th>'
            rows.append(f'<tr class="{"first" if i == 0 else ""}">{name}{cells}</tr>')
    head = f'<thead><tr><th scope="col">benchmark</th>{_heads(matrix)}</tr></thead>'
    return (
        f"<h3>{view.name}</h3><p>{view.meaning}</p>"
        f'<div class="scroll"><table class="matrix modes">{head}<tbody>{"".join(rows)}</tbody></table></div>'
    )


def matrix_section(run: Run) -> str:
    """The section #matrix with all its views."""
    if run.unmeasured:
        return (
            '<section id="matrix"><h2>Benchmark matrix</h2><p class="empty">The recipe has no benchmarks: '
            "nothing was measured.</p></section>"
        )
    if not run.matrix.rows:
        return (
            '<section id="matrix"><h2>Benchmark matrix</h2><p class="empty">No stage has been scored yet: '
            "the first column appears when the first stage is evaluated.</p></section>"
        )
    views = [("Headline", _headline(run))]
    if any(row.modes for row in run.matrix.rows):
        views += [(view.name, _mode_view(run.matrix, view)) for view in VIEWS]
    knobs = "".join(
        f'<input type="radio" name="view" id="view-{i}" class="knob"{" checked" if i == 0 else ""}>'
        f'<label for="view-{i}">{name}</label>'
        for i, (name, _) in enumerate(views)
    )
    panels = "".join(f'<div class="panel panel-{i}">{body}</div>' for i, (_, body) in enumerate(views))
    return f'<section id="matrix"><h2>Benchmark matrix</h2><div class="views">{knobs}{panels}</div></section>'
