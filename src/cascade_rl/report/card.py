"""The model card of a checkpoint: where it comes from, what it was trained on, and the matrix so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cascade_rl import __version__
from cascade_rl.chat import template_hash
from cascade_rl.report.card_tables import matrix_markdown, retention_markdown
from cascade_rl.run.files import write_text
from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.points import in_points
from cascade_rl.scores.retention import retentions
from cascade_rl.types import Scorecard

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
    # settings in the recipe's own words, so that they can be copied into one
    run, settings = stage["lineage"]["run"], yaml.safe_dump(stage["settings"], sort_keys=False)
    parts = [
        FRONT_MATTER,
        f"# {run} after {stage['stage']}",
        f"A checkpoint of a cascade (arXiv 2512.13607), exported by cascade-rl {__version__}. "
        + _how_to_ask(stage["lineage"]),
        "## Benchmarks so far\n\n" + matrix_markdown(card.scorecards, card.own_stages),
        "## Retention\n\n" + retention_markdown(kept),
        "## Gate\n\n" + _gate_text(card.gate),
        "## Lineage\n\n" + _lineage(stage["lineage"]),
        "## Data\n\n" + "\n".join(f"- {line}" for line in stage["data"]),
        f"## Settings\n\n```yaml\n{settings}```",
    ]
    return "\n\n".join(parts) + "\n"


def _how_to_ask(lineage: Mapping[str, Any]) -> str:
    if str(lineage.get("template", "")).startswith("model:"):
        return "It was trained with the chat template that its base model has, unchanged; see Lineage."
    return "End a user turn with ` /think` for visible reasoning, with ` /no_think` for a direct answer."


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
    bar = "\\|"
    known = {key: value for key, value in lineage.items() if value is not None}
    told = known | {"chat template": known.get("template", template_hash())}
    # chat markers have bars in their names, which would end a cell
    rows = [f"| {key} | {str(value).replace('|', bar)} |" for key, value in told.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])
