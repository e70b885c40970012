"""The section of one stage: alarms, curves, gate, samples, lineage, preflight, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_rl.report.alarms import Alarm, alarms, ranges
from cascade_rl.report.charts import short
from cascade_rl.report.curves import constant_rate, figures, reading, title
from cascade_rl.report.markup import details, esc, json_html, slug, table, words
from cascade_rl.report.matrix_page import arrow
from cascade_rl.report.numbers import bounds, duration, points
from cascade_rl.report.records import DONE, RUNNING, WAITING, Stage
from cascade_rl.report.samples_page import samples_html
from cascade_rl.report.values import as_mapping
from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.matrix import Matrix

# the two ends of a stage in its lineage, each with the key of its weights' hash
ENDS = {"parent": "incoming_weights", "checkpoint": "weights"}
# keys of stage.json that have a place of their own on the page
PLACED = ("stage", "settings", "carried", "lineage")


def planned_steps(stage: Stage) -> int | None:
    """How many steps the settings ask for, if they say."""
    found = as_mapping(stage.description.get("settings")).get("steps")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def lineage(stage: Stage) -> dict[str, Any]:
    """Parent, checkpoint and hashes, from the stage's own file and from the ledger."""
    # the ledger wins: it was written last
    return {**as_mapping(stage.description.get("lineage")), **stage.ledger}


def _chain(found: Mapping[str, Any]) -> str:
    """Parent → checkpoint, each with the hash of its weights."""
    ends = []
    for place, weights in ENDS.items():
        if not found.get(place):
            continue
        mark = found.get(weights)
        short = f'<small title="{esc(mark)}">weights {esc(str(mark)[:12])}</small>' if mark else ""
        ends.append(f'<span class="node">{place} <code>{esc(found[place])}</code>{short}</span>')
    return f'<p class="chain">{"<b>→</b>".join(ends)}</p>' if ends else ""


def _lineage(stage: Stage) -> str:
    found, carried = lineage(stage), stage.description.get("carried")
    if not found and not carried:
        return ""
    kept = f"<p><b>Carried in</b></p>{json_html(carried)}" if carried else ""
    rest = details("All of the lineage", json_html(found)) if found else ""
    return f'<div class="lineage"><h3>Lineage</h3>{_chain(found)}{kept}{rest}</div>'


def _settings(stage: Stage) -> str:
    chosen = stage.description.get("settings")
    rest = {key: value for key, value in stage.description.items() if key not in PLACED}
    body = (json_html(chosen) if chosen else "") + (json_html(rest) if rest else "")
    return details("Settings", body, "settings") if body else ""


def _preflight(stage: Stage) -> str:
    if not stage.preflight:
        return ""
    counts = [f"{words(k)} {_count(v)}" for k, v in stage.preflight.items() if _count(v)]
    summary = "Preflight" + (f' <span class="quiet">{" · ".join(counts[:4])}</span>' if counts else "")
    return details(summary, json_html(stage.preflight), "preflight")


def _judging(stage: Stage) -> str:
    """What happened in the sandbox and the verifiers, as a line; the same words as in services.py."""
    facts = [f"{words(name)} {count:,}" for name, count in stage.counts.items() if count]
    return f'<p class="facts judging">Judging: {" · ".join(map(esc, facts))}</p>' if facts else ""


def _count(raw: Any) -> str:
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    return str(raw) if isinstance(raw, int) else str(len(raw)) if isinstance(raw, list) else ""


def _alarms(found: Sequence[Alarm]) -> str:
    if not found:
        return ""
    items = "".join(
        f"<li><b>{esc(a.rule.title)}</b> on {len(a.steps)} of {a.total} steps: {esc(a.rule.meaning)}. "
        f'<span class="quiet">Step{"s" if len(a.steps) > 1 else ""} {_clipped(ranges(a.steps))}</span></li>'
        for a in found
    )
    return f'<ul class="alarms">{items}</ul>'


def _clipped(text: str, most: int = 90) -> str:
    return text if len(text) <= most else text[:most].rpartition(",")[0] + " …"


def _gate(gate: GateResult | None) -> str:
    if gate is None:
        return ""
    rows = []
    for cell in gate.cells:
        word = f'<span class="chip {esc(cell.verdict)}">{arrow(cell)} {esc(cell.verdict)}</span>'
        inside = bounds(cell.low, cell.high, points)
        why = esc(f"excused: {cell.excuse}") if cell.excuse else ""
        rows.append([esc(cell.benchmark), esc(cell.before), points(cell.change), inside, word, why])
    outcome, tone = ("passed", "good") if gate.passed else ("not passed", "bad")
    notes = "".join(f"<li>{esc(note)}</li>" for note in gate.notes)
    head = ("benchmark", "against", "points", "95 % interval", "verdict", "excuse or waiver")
    body = table(head, rows, "plain gate-cells") if rows else '<p class="quiet">No cells were compared.</p>'
    return (
        f'<div class="gate"><h3>Gate <span class="outcome {tone}">{outcome}</span></h3>{body}'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</div>"
    )


def _progress(stage: Stage) -> str:
    if not stage.steps:
        return "no steps yet" if stage.status == RUNNING else ""
    plan, last = planned_steps(stage), stage.steps[-1].step
    if stage.status == RUNNING and plan:
        return f"{len(stage.steps)} of {plan} steps (last: step {last})"
    return f"{len(stage.steps)} steps"


def badge(stage: Stage) -> str:
    """The stage's status as a coloured word."""
    tone = {DONE: "good", RUNNING: "middling", WAITING: "open"}.get(stage.status, "bad")
    return f'<span class="outcome {tone}">{esc(stage.status)}</span>'


def stage_section(stage: Stage, matrix: Matrix) -> str:
    """The section #stage-NAME."""
    found = alarms(stage.steps)
    # the matrix counts pre-flight and export, too; before it is written the timings have to do
    spent = matrix.seconds.get(stage.name) or math.fsum(stage.seconds.values())
    facts = [title(stage) if stage.steps else "", _progress(stage), duration(spent) if spent else ""]
    if (rate := constant_rate(stage.steps)) is not None:
        facts.append(f"learning rate {short(rate)}")
    drawn, how = figures(stage, found), esc(reading(stage.steps, found))
    notes = "".join(f"<li><b>step {note.step}</b> {esc(note.text)}</li>" for note in stage.notes)
    return (
        f'<section class="stage" id="stage-{slug(stage.name)}"><h2>{esc(stage.name)} {badge(stage)}</h2>'
        f'<p class="facts">{" · ".join(esc(fact) for fact in facts if fact)}</p>{_alarms(found)}'
        + (f'<h3>Curves</h3><p class="reading">{how}</p><div class="curves">{drawn}</div>' if drawn else "")
        + (f'<h3>Notes of the journal</h3><ul class="notes">{notes}</ul>' if notes else "")
        + _judging(stage)
        + _gate(stage.gate)
        + samples_html(stage.samples)
        + f"{_lineage(stage)}{_preflight(stage)}{_settings(stage)}</section>"
    )
