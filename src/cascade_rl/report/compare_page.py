"""A comparison as one HTML page: scores, a forest plot of the changes, each benchmark with its replies."""

from __future__ import annotations

from cascade_rl.report import compare_words as words
from cascade_rl.report.compare_details import benchmark_details, stages_section
from cascade_rl.report.compare_notes import remarks, summary
from cascade_rl.report.compare_things import Thing
from cascade_rl.report.comparison import Shown
from cascade_rl.report.forest import CSS as FOREST
from cascade_rl.report.forest import Forest, Reach
from cascade_rl.report.markup import esc, slug, table
from cascade_rl.report.numbers import DASH, bounds, percent
from cascade_rl.report.page import POLICY
from cascade_rl.report.retention import run_verdict
from cascade_rl.report.style import CSS
from cascade_rl.scores.compare import Answer, Comparison, measured, mode_of
from cascade_rl.scores.families import ALPHA, POWER

TONES = {Answer.BETTER: "better", Answer.WORSE: "worse", Answer.OTHER: "other"}
CELLS = {Answer.BETTER: "gain", Answer.WORSE: "loss"}
OWN = """
table.matrix.scores { width: auto; }
.matrix.scores td { min-width: 110px; }
table.changes td, table.changes th { white-space: nowrap; }
table.changes td.plot { padding: 0 6px; border-bottom-color: transparent; }
table.changes tfoot td { border: 0; }
.answer { font-weight: 600; }
.answer.better { color: var(--gain-ink); }
.answer.worse { color: var(--loss-ink); }
.answer.open, .answer.other { font-weight: 400; color: var(--quiet); }
ul.remarks { padding-left: 0; list-style: none; max-width: 110ch; }
ul.remarks li { padding-left: 1.4em; text-indent: -1.4em; margin: 3px 0; }
ul.remarks li::before { content: "·"; display: inline-block; width: 1.4em; text-indent: 0;
  color: var(--quiet); }
ul.remarks li.grave::before { content: "!"; color: var(--mark); font-weight: 700; }
.matrix td.apart { outline: 1px dashed var(--quiet); outline-offset: -1px; }
.matrix td .quiet { font-size: .74rem; }
"""


def render_comparison(shown: Shown) -> str:
    """The whole page; nothing is fetched and no script runs."""
    title = ", ".join(shown.compared.things)
    sections = (
        _scores(shown),
        "".join(_changes(shown, other) for other in shown.compared.things[1:]),
        _took(shown),
        stages_section(shown),
        "".join(benchmark_details(shown, name) for name in shown.compared.benchmarks),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="color-scheme" content="light dark"><title>{esc(title)}: cascade-rl</title>'
        f"<style>{CSS}{FOREST}{OWN}</style></head><body><header><p class='kind'>cascade-rl comparison</p>"
        f"<h1>{esc(title)}</h1>{_facts(shown)}</header><main>{_verdict(shown)}{_contents(shown)}"
        f"{''.join(sections)}</main>"
        '<footer><p class="quiet">Written by cascade-rl from the files of what is compared.</p></footer>'
        "</body></html>\n"
    )


def _facts(shown: Shown) -> str:
    facts = "".join(
        f"<div><dt>{esc(thing.label)}{' (the reference)' if n == 0 else ''}</dt><dd>{_fact(thing)}</dd></div>"
        for n, thing in enumerate(shown.things)
    )
    return f'<dl class="facts">{facts}</dl>'


def _fact(thing: Thing) -> str:
    place = thing.place
    last = f"a run, after {place.stage}, its last scored stage"
    what = last if place.whole else f"stage {place.stage} of a run" if place.run else "an evaluation"
    parts = [f"<code>{esc(place.given)}</code>", esc(what), esc(thing.model)]
    return ", ".join(part for part in parts if part)


def _verdict(shown: Shown) -> str:
    answers = [c.answer for c in shown.compared.comparisons]
    tone = "bad" if Answer.WORSE in answers else "good" if Answer.BETTER in answers else "open"
    lines = "".join(f"<p><b>{esc(summary(shown, other))}.</b></p>" for other in shown.compared.things[1:])
    told = "".join(
        f'<li class="{"grave" if remark.grave else ""}">{esc(remark.text)}</li>' for remark in remarks(shown)
    )
    return f'<div id="verdict" class="{tone}">{lines}</div>' + (
        f'<ul class="remarks">{told}</ul>' if told else ""
    )


def _contents(shown: Shown) -> str:
    items = [("scores", "Scores")] + [(f"to-{slug(o)}", o) for o in shown.compared.things[1:]]
    items += [("took", "What it took")] + ([("stages", "Stage by stage")] if shown.runs else [])
    items += [(f"benchmark-{slug(name)}", name) for name in shown.compared.benchmarks]
    links = "".join(f'<li><a href="#{anchor}">{esc(name)}</a></li>' for anchor, name in items)
    return f'<nav aria-label="contents"><ol>{links}</ol></nav>'


def _scores(shown: Shown) -> str:
    compared = shown.compared
    rows = []
    for name in compared.benchmarks:
        known = next(thing.results[name] for thing in shown.things if name in thing.results)
        mode = f"<small>{esc(mode_of(known, compared.mode))}</small>"
        cells = "".join(_score(shown, name, label) for label in compared.things)
        link = f'<a href="#benchmark-{slug(name)}">{esc(name)}</a>'
        rows.append(f'<tr><th scope="row">{link}{mode}</th>{cells}</tr>')
    first = "<small>reference</small>"
    heads = "".join(
        f'<th scope="col">{esc(label)}{first if label == compared.reference else ""}</th>'
        for label in compared.things
    )
    legend = (
        f'Percent solved, with the 95 % interval below. <span class="chip gain">▲ better</span> and '
        f'<span class="chip loss">▼ worse</span> than {esc(compared.reference)}: beyond noise after the '
        f"correction for all {compared.size} comparisons of this page (Holm, {ALPHA:.0%} for any false one). "
        "≠: other settings, not comparable."
    )
    return (
        '<section id="scores"><h2>Scores</h2><div class="scroll"><table class="matrix scores"><thead><tr>'
        f'<th scope="col">benchmark</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="legend-text">{legend}</p></section>'
    )


def _score(shown: Shown, name: str, label: str) -> str:
    found = measured(shown.thing(label).results.get(name), shown.compared.mode)
    if found is None:
        return f'<td class="cell none">{DASH}</td>'
    c = shown.compared.at(name, label)
    css = CELLS.get(c.answer, "apart" if c.answer is Answer.OTHER else "") if c else ""
    sign = f'<i class="arrow">{words.SIGNS.get(c.answer, "")}</i>' if c else ""
    average = found.average
    title = f"{name}, {label}: {average.n:,} problems × {average.k} samples" + (f"\n{c.answer}" if c else "")
    body = f"<b>{percent(average.mean)}{sign}</b><small>{bounds(average.low, average.high)}</small>"
    where = f'data-benchmark="{esc(name)}" data-thing="{esc(label)}"'
    return f'<td class="cell {css}" {where} title="{esc(title)}">{body}</td>'


def _changes(shown: Shown, other: str) -> str:
    compared = shown.compared
    found = compared.of(other)
    reaches = {c.benchmark: reach for c in found if (reach := _reach(c))}
    forest = Forest.of(list(reaches.values()))
    rows = "".join(_change(c, forest, reaches.get(c.benchmark)) for c in found)
    heads = "".join(
        f'<th scope="col">{head}</th>'
        for head in ("benchmark", "change", "95 %", "", "p", "problems", "answer", "would tell")
    )
    legend = (
        f"{esc(other)} minus {esc(compared.reference)}, in points. Intervals are not corrected, p is: exact "
        f"sign flips over the same problems, Holm over {compared.size} comparisons. <b>Would tell</b>: "
        f"problems of this kind that would show a difference like the one seen, with power {POWER} at the "
        f"level {ALPHA:.0%} / {compared.size}. *: only problems that both have."
    )
    return (
        f'<section id="to-{slug(other)}"><h2>{esc(other)} against {esc(compared.reference)}</h2>'
        f'<div class="scroll"><table class="plain numbers changes"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody><tfoot><tr><td></td><td></td><td></td>"
        f'<td class="plot">{forest.axis()}</td><td colspan="4"></td></tr></tfoot></table></div>'
        f'<p class="legend-text">{legend}</p></section>'
    )


def _reach(c: Comparison) -> Reach | None:
    if c.change is None:
        return None
    title = f"{c.benchmark}: {words.change(c)} points ({words.interval(c)}), {c.answer}"
    return Reach(c.change.low, c.change.change, c.change.high, TONES.get(c.answer, "open"), title)


def _change(c: Comparison, forest: Forest, reach: Reach | None) -> str:
    name = f'<th scope="row"><a href="#benchmark-{slug(c.benchmark)}">{esc(c.benchmark)}</a></th>'
    tone = TONES.get(c.answer, "open")
    cells = (
        f"<td><b>{words.change(c)}</b></td><td>{words.interval(c)}</td>"
        f'<td class="plot">{forest.row(reach) if reach else ""}</td>'
        f"<td>{words.p_value(c.adjusted)}</td><td>{words.over(c)}</td>"
        f'<td><span class="answer {tone}">{esc(c.answer)}</span></td>'
        f"<td>{words.about(c.needed) if c.needed else ''}</td>"
    )
    return f"<tr>{name}{cells}</tr>"


def _took(shown: Shown) -> str:
    known = words.took_columns(shown.took.values())
    head = ["", *(head.replace("\n", " ") for head in known)]
    rows = [[esc(label), *(cells[n] for cells in known.values())] for n, label in enumerate(shown.took)]
    kept = "".join(f"<li>{esc(label)}: {esc(run_verdict(run)[0])}.</li>" for label, run in shown.runs.items())
    retention = f'<h3>Retention</h3><ul class="remarks">{kept}</ul>' if kept else ""
    return (
        f'<section id="took"><h2>What it took</h2>{table(head, rows, "plain numbers")}'
        f'<p class="legend-text">Tokens, leak and clipped are means over the {len(shown.shared)} benchmarks '
        f"that all have; each benchmark's own stand below.</p>{retention}</section>"
    )
