"""The model card of a checkpoint: where it comes from, what it was trained on, and the matrix so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cascade_rl import __version__
from cascade_rl.chat import template_hash
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.report.card_tables import matrix_markdown, retention_markdown
from cascade_rl.report.card_use import front_matter, model_section, sampling_section, use_section
from cascade_rl.run.files import write_text
from cascade_rl.scores.gate import UNMEASURED, GateResult
from cascade_rl.scores.judged import Judged
from cascade_rl.scores.points import in_points
from cascade_rl.scores.retention import retentions
from cascade_rl.types import Scorecard


@dataclass(frozen=True, slots=True)
class Card:
    """What a card tells: the content of stage.json, the scorecards up to this stage, and the gate's word.

    own_stages  each benchmark with the stage that trains for it
    benchmarks  how they were drawn
    config      the checkpoint's config.json
    judged      who judged those of own pairs
    """

    stage: Mapping[str, Any]
    scorecards: Sequence[Scorecard]
    own_stages: Mapping[str, str | None]
    gate: GateResult
    benchmarks: Sequence[BenchmarkSpec] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    judged: Mapping[str, Judged] = field(default_factory=dict)


def write_card(checkpoint: Path, card: Card) -> None:
    """Write the README.md of a checkpoint."""
    write_text(checkpoint / "README.md", card_text(card))


def card_text(card: Card) -> str:
    """The whole card as Markdown."""
    stage, kept = card.stage, retentions(card.scorecards, card.own_stages)
    origin = stage.get("origin") or {}
    run = stage["lineage"]["run"]
    parts = [
        front_matter(origin),
        f"# {run} after {stage['stage']}",
        f"A checkpoint of a cascade (arXiv 2512.13607), exported by cascade-rl {__version__}.",
        "## Use\n\n" + use_section(card.benchmarks, stage["lineage"], card.config),
        "## Model\n\n" + model_section(card.config, origin),
        "## Benchmarks so far\n\n" + matrix_markdown(card.scorecards, card.own_stages),
        *(f"{judged.line(name)}." for name, judged in card.judged.items()),
        *(
            ["## Sampling of the benchmarks\n\n" + sampling_section(card.benchmarks)]
            if card.benchmarks
            else []
        ),
        *(["## Retention\n\n" + retention_markdown(kept)] if kept else []),
        "## Gate\n\n" + gate_text(card.gate),
        "## Lineage\n\n" + lineage_markdown(stage["lineage"]),
        "## Data\n\n" + "\n".join(f"- {line}" for line in stage["data"]),
        settings_markdown(stage["settings"]),
    ]
    return "\n\n".join(parts) + "\n"


def gate_text(gate: GateResult) -> str:
    """What the gate says, loss by loss."""
    if not gate.measured:
        return f"There was nothing to judge: {UNMEASURED}."
    lines = ["passed" if gate.passed else "**did not pass**"]
    lines += [
        f"- {cell.benchmark} {in_points(cell.change, sign=True)} points since {cell.before}: "
        f"{cell.excuse or 'not excused'}"
        for cell in gate.cells
        if cell.verdict == "loss"
    ]
    return "\n".join([*lines, *(f"- {note}" for note in gate.notes)])


def settings_markdown(settings: Mapping[str, Any]) -> str:
    """The section of a stage's settings, in the recipe's own words, so that they can be copied into one."""
    return f"## Settings\n\n```yaml\n{yaml.safe_dump(settings, sort_keys=False)}```"


def lineage_markdown(lineage: Mapping[str, Any]) -> str:
    """The table of a stage's lineage."""
    bar = "\\|"
    known = {key: value for key, value in lineage.items() if value is not None}
    told = known | {"chat template": known.get("template", template_hash())}
    # chat markers have bars in their names, which would end a cell
    rows = [f"| {key} | {str(value).replace('|', bar)} |" for key, value in told.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])
