"""A run's records as one HTML page: no scripts, no fonts, no images, nothing from the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cascade_rl.report.answers_page import answers_section
from cascade_rl.report.markup import details, esc, moment, slug
from cascade_rl.report.matrix_page import gate_cells, matrix_section
from cascade_rl.report.numbers import DASH, duration
from cascade_rl.report.records import DONE, WAITING, Run
from cascade_rl.report.retention import run_verdict
from cascade_rl.report.speed import spent_seconds
from cascade_rl.report.speed_page import speed_section, time_section
from cascade_rl.report.stage_page import badge, stage_section
from cascade_rl.report.style import CSS
from cascade_rl.report.values import as_mapping

# Nothing is fetched and nothing runs, whatever text of a model slips through.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MODEL_KEYS = ("init", "name", "path")
SHAPE = {"num_hidden_layers": "layers", "hidden_size": "wide"}
EMPTY = (
    '<p class="empty" id="empty">Nothing to show yet: this directory holds no stage of a run. '
    "<code>cascade run</code> fills it; this page grows with every stage.</p>"
)


def model_name(raw: Any) -> str:
    """The recipe's model in a few words."""
    facts = as_mapping(raw)
    if not facts:
        return raw if isinstance(raw, str) and raw else DASH
    shape = as_mapping(facts.get("architecture"))
    named = next((facts[key] for key in MODEL_KEYS if isinstance(facts.get(key), str)), "")
    sizes = [f"{shape[key]} {what}" for key, what in SHAPE.items() if isinstance(shape.get(key), int)]
    return ", ".join(filter(None, [named, *sizes])) or DASH


def _facts(run: Run) -> str:
    spent = math.fsum(sum(spent_seconds(stage, run.matrix).values()) for stage in run.scored)
    done = sum(stage.status == DONE for stage in run.stages)
    facts = [
        ("model", esc(model_name(run.recipe.get("model")))),
        ("stages done", f"{done} of {len(run.stages)}"),
        ("total time", duration(spent) if spent else DASH),
        ("started", moment(run.started)),
        ("last written", moment(run.updated)),
    ]
    return '<dl class="facts">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts) + "</dl>"


def _gates(run: Run) -> str:
    """How many cells fell against the stage before, and which losses of any comparison have no excuse."""
    # first cell of each: against the stage before
    told = gate_cells(run)
    fell = sum(cells[0].verdict == "loss" for cells in told.values())
    bare = [
        f"{benchmark} at {stage} (since {cell.before})"
        for (stage, benchmark), cells in told.items()
        for cell in cells
        if cell.fails
    ]
    if not told:
        return ""
    text = f"On the way {fell} of {len(told)} cells fell below the stage before"
    text += (
        f". The gate objects to {', '.join(bare)}" if bare else "; the gate lets that pass" if fell else ""
    )
    return f'<p class="gates-line">{esc(text)}.</p>'


def _verdict(run: Run) -> str:
    text, tone = run_verdict(run)
    left = sum(stage.status != DONE for stage in run.stages)
    so_far = (
        f' <span class="quiet">So far: {left} of {len(run.stages)} stages are still open.</span>'
        if left
        else ""
    )
    return f'<div id="verdict" class="{tone}"><p><b>{esc(text)}.</b>{so_far}</p>{_gates(run)}</div>'


# The sections on the whole run, in their order; one that has nothing to show is empty and left out.
SECTIONS: Mapping[str, tuple[str, Callable[[Run], str]]] = {
    "matrix": ("Matrix", matrix_section),
    "time": ("Time", lambda run: time_section(run.scored, run.matrix)),
    "speed": ("Speed", speed_section),
    "answers": ("Answers", answers_section),
}


def _contents(run: Run, shown: Collection[str]) -> str:
    items = [f'<li><a href="#{name}">{SECTIONS[name][0]}</a></li>' for name in shown]
    for stage in (stage for stage in run.stages if stage.status != WAITING):
        state = "" if stage.status == DONE else f" {badge(stage)}"
        items.append(f'<li><a href="#stage-{slug(stage.name)}">{esc(stage.name)}</a>{state}</li>')
    return f'<nav aria-label="contents"><ol>{"".join(items)}</ol></nav>'


def _waiting(run: Run) -> str:
    names = ", ".join(esc(stage.name) for stage in run.stages if stage.status == WAITING)
    return f'<section id="waiting"><h2>Still to come</h2><p>{names}</p></section>' if names else ""


def _footer(run: Run) -> str:
    faults = "".join(f"<li><code>{esc(line)}</code></li>" for line in run.unread)
    unread = (
        f'<div id="unread"><p><b>Files that could not be read, left out above:</b></p><ul>{faults}</ul></div>'
    )
    text = f"<pre>{esc(run.recipe_text)}</pre>"
    recipe = details("The recipe as it was run", text, "recipe") if run.recipe_text else ""
    source = '<p class="quiet">Written by cascade-rl from the files of the run.</p>'
    return f"<footer>{recipe}{unread if faults else ''}{source}</footer>"


def _body(run: Run) -> str:
    begun = any(stage.status != WAITING for stage in run.scored)
    if not begun and not run.matrix.rows:
        return EMPTY + _waiting(run)
    stages = "".join(stage_section(stage, run.matrix) for stage in run.stages if stage.status != WAITING)
    sections = {name: html for name, (_, section) in SECTIONS.items() if (html := section(run))}
    contents = _contents(run, sections)
    return f"{_verdict(run)}{contents}{''.join(sections.values())}{stages}{_waiting(run)}"


def render(run: Run) -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{esc(run.name)}: cascade-rl</title>'
        f"<style>{CSS}</style></head><body><header><p class='kind'>cascade-rl run</p><h1>{esc(run.name)}</h1>"
        f"{_facts(run)}</header><main>{_body(run)}</main>{_footer(run)}</body></html>\n"
    )
