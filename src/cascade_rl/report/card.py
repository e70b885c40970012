"""The model card of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cascade_rl import __version__
from cascade_rl.chat import template_hash
from cascade_rl.run.files import write_text


def write_card(
    path: Path, stage: Mapping[str, Any], matrix: str, retention: str, gate: Mapping[str, Any]
) -> None:
    """Write README.md: where the model comes from, what it was trained on and how, and the matrix so far."""
    lineage = stage["lineage"]
    rows = [f"| {key} | {value} |" for key, value in lineage.items() if value is not None]
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [cascade-rl]\n---",
        f"# {lineage['run']} after {stage['stage']}",
        "A checkpoint of a cascade (arXiv 2512.13607), exported by cascade-rl "
        f"{__version__}. End a user turn with ` /think` for visible reasoning, with ` /no_think` for a direct answer.",
        "## Benchmarks so far\n\n" + matrix,
        "## Retention\n\n" + retention,
        "## Gate\n\n" + _gate_text(gate),
        "## Lineage\n\n| | |\n| --- | --- |\n" + "\n".join([*rows, f"| chat template | {template_hash()} |"]),
        "## Data\n\n" + "\n".join(f"- {line}" for line in stage["data"]),
        "## Settings\n\n```yaml\n" + yaml.safe_dump(stage["settings"], sort_keys=False) + "```",
    ]
    write_text(path / "README.md", "\n\n".join(parts) + "\n")


def _gate_text(gate: Mapping[str, Any]) -> str:
    losses: Sequence[Mapping[str, Any]] = [c for c in gate["cells"] if c["verdict"] == "loss"]
    lines = ["passed" if gate["passed"] else "**did not pass**"]
    lines += [
        f"- {c['benchmark']} {c['change'] * 100:+.1f} points since {c['before']}: {c['excuse'] or 'not excused'}"
        for c in losses
    ]
    return "\n".join([*lines, *(f"- {note}" for note in gate["notes"])])
