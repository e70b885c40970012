"""A comparison in the form for machines: every number that the page shows, none of them rounded."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cascade_rl.report.compare_notes import remarks, summary
from cascade_rl.report.compare_things import Measure, Thing
from cascade_rl.report.comparison import Shown
from cascade_rl.report.retention import run_retentions, run_verdict
from cascade_rl.scores.as_json import matrix_to_json, mode_to_json
from cascade_rl.scores.compare import Comparison
from cascade_rl.scores.families import ALPHA, POWER
from cascade_rl.scores.retention import Retention, Since
from cascade_rl.scores.statistics import Change


def compare_to_json(shown: Shown) -> dict[str, Any]:
    """What `cascade compare --json` writes (docs/compare.md)."""
    compared = shown.compared
    return {
        "reference": compared.reference,
        "mode": None if compared.mode is None else str(compared.mode),
        "family": {
            "comparisons": compared.size,
            "correction": "holm",
            "alpha": ALPHA,
            "level": ALPHA / max(1, compared.size),
            "power": POWER,
        },
        "things": [_thing(shown, thing) for thing in shown.things],
        "comparisons": [_comparison(shown, c) for c in compared.comparisons],
        "summary": [summary(shown, other) for other in compared.things[1:]],
        "remarks": [{"text": remark.text, "grave": remark.grave} for remark in remarks(shown)],
    }


def _thing(shown: Shown, thing: Thing) -> dict[str, Any]:
    run = shown.runs.get(thing.label)
    return {
        "label": thing.label,
        "given": thing.place.given,
        "kind": thing.place.kind,
        "folder": str(thing.place.folder),
        "stage": thing.place.stage or None,
        "model": thing.model or None,
        "benchmarks": {name: _measure(measure) for name, measure in thing.measures.items()},
        "took": asdict(shown.took[thing.label]),
        "matrix": matrix_to_json(run.matrix) if run else None,
        "retention": [_retention(kept) for kept in run_retentions(run)] if run else None,
        "forgotten": run_verdict(run)[0] if run else None,
        "unread": list(thing.unread),
    }


def _measure(measure: Measure) -> dict[str, Any]:
    score = measure.result.score
    return {
        "headline": str(score.headline),
        "modes": {str(mode): mode_to_json(found) for mode, found in score.modes.items()},
        "settings": dict(measure.result.settings),
        "failed": measure.failed,
        "seconds": measure.seconds,
    }


def _comparison(shown: Shown, c: Comparison) -> dict[str, Any]:
    far = shown.farthest.get((c.benchmark, c.other))
    return {
        "benchmark": c.benchmark,
        "other": c.other,
        "answer": str(c.answer),
        "change": _change(c.change) if c.change else None,
        "adjusted_p": c.adjusted,
        "needed": c.needed,
        "common": c.common,
        "only_reference": c.only[0],
        "only_other": c.only[1],
        "differing": [asdict(d) for d in c.differing],
        "across": [asdict(d) for d in c.across],
        "beside": [asdict(d) for d in c.beside],
        "unstated": list(c.unstated),
        "missing": c.missing or None,
        "better_problems": [list(row) for row in far.better] if far else [],
        "worse_problems": [list(row) for row in far.worse] if far else [],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "mean": change.change,
        "low": change.low,
        "high": change.high,
        "p": change.p,
        "paired": change.paired,
    }


def _retention(kept: Retention) -> dict[str, Any]:
    return {
        "benchmark": kept.benchmark,
        "final": kept.final,
        "own_stage": kept.own_stage,
        "since_own": _since(kept.since_own),
        "since_best": _since(kept.since_best),
    }


def _since(since: Since | None) -> dict[str, Any] | None:
    return None if since is None else {"stage": since.stage, "lost": since.lost, **_change(since.change)}
