"""The model card of a checkpoint: where it comes from, what it was trained on, and the matrix so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cascade_rl import __version__
from cascade_rl.chat import template_hash
from cascade_rl.report.numbers import THIN_ARROWS
from cascade_rl.run.files import write_text
from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.matrix import benchmark_names
from cascade_rl.scores.points import in_points
from cascade_rl.scores.retention import Retention, Since, retentions
from cascade_rl.scores.statistics import compare
from cascade_rl.types import BenchmarkScore, Scorecard

CAPTION = (
    "Average over samples in the headline mode, in per cent; ↑ and ↓ mark changes from the stage before "
    "whose paired 95 % interval excludes zero; bold is the stage that trains the benchmark's domain."
)
# What transformers and the Hub read of a card.
FRONT_MATTER = "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [cascade-rl]\n---"


@dataclass(frozen=True, slots=True)
class Card:
    """What a card tells: the content of stage.json, the scorecards up to this stage, and the gate's word.

    `own_stages` maps a benchmark to the stage that trains for it.
    """

    stage: Mapping[str, Any]
    scorecards: Sequence[Scorecard]
    own_stages: Mapping[str, str]
    gate: GateResult


def write_card(checkpoint: Path, card: Card) -> None:
    """Write the README.md of a checkpoint."""
    write_text(checkpoint / "README.md", card_text(card))


def card_text(card: Card) -> str:
    """The whole card as Markdown."""
    stage, kept = card.stage, retentions(card.scorecards, card.own_stages)
    run, settings = stage["lineage"]["run"], yaml.safe_dump(stage["settings"], sort_keys=False)
    parts = [
        FRONT_MATTER,
        f"# {run} after {stage['stage']}",
        f"A checkpoint of a cascade (arXiv 2512.13607), exported by cascade-rl {__version__}. End a user "
        "turn with ` /think` for visible reasoning, with ` /no_think` for a direct answer.",
        "## Benchmarks so far\n\n" + matrix_markdown(card.scorecards, card.own_stages),
        "## Retention\n\n" + retention_markdown(kept),
        "## Gate\n\n" + _gate_text(card.gate),
        "## Lineage\n\n" + _lineage(stage["lineage"]),
        "## Data\n\n" + "\n".join(f"- {line}" for line in stage["data"]),
        f"## Settings\n\n```yaml\n{settings}```",
    ]
    return "\n\n".join(parts) + "\n"


def matrix_markdown(scorecards: Sequence[Scorecard], own_stages: Mapping[str, str]) -> str:
    """The matrix as a Markdown table with its caption."""
    stages = [card.stage for card in scorecards]
    lines = [_line(["benchmark", *stages]), _line(["---", *("---:" for _ in stages)])]
    for name in benchmark_names(scorecards):
        row = {card.stage: card.benchmarks[name] for card in scorecards if name in card.benchmarks}
        lines.append(_line([name, *_cells(stages, row, own_stages.get(name))]))
    return "\n".join([*lines, "", CAPTION, ""])


def retention_markdown(rows: Sequence[Retention]) -> str:
    """The retention table: changes in points with their 95 % intervals."""
    head = ["benchmark", "own stage", "since own stage", "best before", "since best"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        # Without an own stage the first score stands in; unnamed, the number would belong to nothing.
        own = row.own_stage or (f"none; first score {row.since_own.stage}" if row.since_own else "")
        best = row.since_best.stage if row.since_best else ""
        lines.append(_line([row.benchmark, own, _change(row.since_own), best, _change(row.since_best)]))
    return "\n".join([*lines, ""])


def _cells(stages: Sequence[str], row: Mapping[str, BenchmarkScore], own: str | None) -> list[str]:
    cells: list[str] = []
    previous: BenchmarkScore | None = None
    for stage in stages:
        found = row.get(stage)
        if found is None:
            cells.append("")
            continue
        number = f"{100 * found.score.mean:.1f}"
        cells.append((f"**{number}**" if stage == own else number) + _arrow(previous, found))
        previous = found
    return cells


def _arrow(before: BenchmarkScore | None, after: BenchmarkScore) -> str:
    if before is None:
        return ""
    change = compare(before.modes[after.headline], after.modes[after.headline])
    sign = THIN_ARROWS.get(change.verdict, "")
    return f" {sign}" if sign else ""


def _change(since: Since | None) -> str:
    if since is None:
        return ""
    change, low, high = (
        in_points(x, sign=True) for x in (since.change.change, since.change.low, since.change.high)
    )
    return f"{change} ({low} to {high})"


def _gate_text(gate: GateResult) -> str:
    lines = ["passed" if gate.passed else "**did not pass**"]
    lines += [
        f"- {cell.benchmark} {in_points(cell.change, sign=True)} points since {cell.before}: "
        f"{cell.excuse or 'not excused'}"
        for cell in gate.cells
        if cell.verdict == "loss"
    ]
    return "\n".join([*lines, *(f"- {note}" for note in gate.notes)])


def _lineage(lineage: Mapping[str, Any]) -> str:
    known = {key: value for key, value in lineage.items() if value is not None}
    rows = [f"| {key} | {value} |" for key, value in (known | {"chat template": template_hash()}).items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
