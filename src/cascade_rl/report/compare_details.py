"""The parts of a comparison's page that go into one benchmark, or into whole runs stage by stage."""

from __future__ import annotations

import json
from typing import Any

from cascade_rl.report import compare_words as words
from cascade_rl.report.comparison import Shown
from cascade_rl.report.markup import details, esc, slug, table
from cascade_rl.report.numbers import DASH, bounds, percent, points
from cascade_rl.report.retention import run_retentions
from cascade_rl.report.samples_page import prompt_html, reply_card
from cascade_rl.scores.compare import Farthest, mode_of
from cascade_rl.types import Mode, Score

HEAD = ("", "mode", "avg@k", "greedy", "tokens a reply", "leak, %", "clipped, %", "failed", "seconds")


def benchmark_details(shown: Shown, name: str) -> str:
    """The section of one benchmark: all modes of all things, their settings, where they differ most."""
    rows = [row for thing in shown.things for row in _modes(shown, thing.label, name)]
    far = [(o, shown.farthest[name, o]) for o in shown.compared.things[1:] if (name, o) in shown.farthest]
    farthest = "".join(_far(shown, name, other, found) for other, found in far)
    return (
        f'<section id="benchmark-{slug(name)}"><h2>{esc(name)}</h2>{table(HEAD, rows, "plain numbers")}'
        f"{_settings(shown, name)}{farthest}</section>"
    )


def _score(score: Score | None) -> str:
    if score is None:
        return DASH
    return f"<b>{percent(score.mean)}</b> <small>{bounds(score.low, score.high)}</small>"


def _modes(shown: Shown, label: str, name: str) -> list[list[str]]:
    measure = shown.thing(label).measures.get(name)
    if measure is None:
        return [[esc(label), *[DASH] * (len(HEAD) - 1)]]
    score, chosen = measure.result.score, mode_of(measure.result, shown.compared.mode)
    failed = DASH if measure.failed is None else str(measure.failed)
    spent = words.spent(measure.seconds)
    rows = []
    # the mode that is compared first
    for mode in sorted(score.modes, key=lambda mode: mode is not chosen):
        found = score.modes[mode]
        told = [failed, spent] if mode is chosen else ["", ""]
        scores = [_score(found.average), _score(found.greedy), words.rate(found.mean_tokens)]
        cells = [*scores, percent(found.leak), percent(found.clipped)]
        rows.append([esc(label), _mode(mode, mode is chosen), *cells, *told])
    return rows


def _mode(mode: Mode, chosen: bool) -> str:
    return f"<b>{mode}</b>" if chosen else str(mode)


def _settings(shown: Shown, name: str) -> str:
    """Settings of all things side by side, those that differ in bold; folded away."""
    stated = {thing.label: thing.results[name].settings for thing in shown.things if name in thing.results}
    keys = sorted({key for settings in stated.values() for key in settings})
    rows = []
    for key in keys:
        values = [_value(settings.get(key)) for settings in stated.values()]
        differ = len(set(values)) > 1
        rows.append([esc(key), *(f"<b>{v}</b>" if differ else v for v in values)])
    return details("Settings", table(["", *map(esc, stated)], rows)) if rows else ""


def _value(raw: Any) -> str:
    return DASH if raw is None else esc(raw if isinstance(raw, str) else json.dumps(raw))


def _far(shown: Shown, name: str, other: str, found: Farthest) -> str:
    """The problems on which a thing and the reference differ most, with a reply of each if kept."""
    parts = []
    for word, rows in (("rose", found.better), ("fell", found.worse)):
        if rows:
            body = "".join(_problem(shown, name, other, *row) for row in rows)
            parts.append(f"<h3>Where {esc(other)} {word} most</h3>{body}")
    return "".join(parts)


def _problem(shown: Shown, name: str, other: str, problem: str, before: float, after: float) -> str:
    reference = shown.compared.reference
    told = f"{percent(before)} % of {esc(reference)}, {percent(after)} % of {esc(other)}"
    head = f'<code>{esc(problem)}</code> <span class="quiet">{told}</span>'
    kept = [(label, shown.replies.get((name, label), {}).get(problem)) for label in (reference, other)]
    sides = "".join(
        f'<div class="side"><h5>{esc(label)}</h5>{reply_card(reply, f"sample {reply.step}")}</div>'
        for label, reply in kept
        if reply
    )
    if not sides:
        return f"<p>{head}</p>"
    prompt = next((reply.prompt for _, reply in kept if reply and reply.prompt), "")
    asked = prompt_html(prompt) if prompt else ""
    return details(head, f'{asked}<div class="sides">{sides}</div>', "pair")


def stages_section(shown: Shown) -> str:
    """The whole matrix of each run, one benchmark after the other; empty where no whole run was named."""
    runs = shown.runs
    if not runs:
        return ""
    stages = list(dict.fromkeys(stage for run in runs.values() for stage in run.matrix.stages))
    rows = []
    for name in dict.fromkeys(row.name for run in runs.values() for row in run.matrix.rows):
        for n, (label, run) in enumerate(runs.items()):
            row = next((row for row in run.matrix.rows if row.name == name), None)
            scores = row.scores if row else {}
            own = row.own_stage if row else None
            kept = next((k for k in run_retentions(run) if k.benchmark == name), None)
            cells = "".join(_stage_cell(scores.get(stage), stage == own) for stage in stages)
            since = kept.since_own if kept else None
            tail = points(since.change.change) if since else DASH
            head = f'<th scope="row">{esc(name)}<small>{esc(label)}</small></th>'
            rows.append(f'<tr class="{"first" if n == 0 else ""}">{head}{cells}<td>{tail}</td></tr>')
    heads = "".join(f'<th scope="col">{esc(stage)}</th>' for stage in stages)
    return (
        '<section id="stages"><h2>Stage by stage</h2><div class="scroll"><table class="matrix modes"><thead>'
        f'<tr><th scope="col">benchmark</th>{heads}<th scope="col">vs own</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="legend-text">Percent solved in the headline '
        "mode; framed after the stage that trains it; vs own: the last score minus that one, in points. Only "
        "the last stages are compared above.</p></section>"
    )


def _stage_cell(score: Score | None, own: bool) -> str:
    if score is None:
        return f'<td class="none">{DASH}</td>'
    return f'<td class="{"own" if own else ""}"><b>{percent(score.mean)}</b></td>'
