"""What `cascade status` shows: how far each stage of a run directory is."""

from __future__ import annotations

from pathlib import Path

import yaml
from rich.table import Table

from cascade_rl.errors import InputError
from cascade_rl.recipe import Recipe
from cascade_rl.run.files import read_json
from cascade_rl.run.folder import stage_folder
from cascade_rl.run.journal import read_lines
from cascade_rl.run.ledger import Ledger


def run_status(run: Path) -> Table:
    """A row a stage: state, steps, scores, gate. Raises InputError when the directory is no run."""
    file = run / "recipe.yaml"
    if not file.is_file():
        raise InputError(f"{run} is no run directory: it has no recipe.yaml; runs are made by `cascade run`")
    try:
        recipe = Recipe.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file} is no recipe of a run: {error}") from None
    finished = len(Ledger(run).entries)
    table = Table("stage", "state", "steps", *[b.name for b in recipe.benchmarks], "gate", box=None)
    for index, stage in enumerate(recipe.stages):
        folder = stage_folder(run, index, stage.name)
        steps = max(
            (line["step"] + 1 for line in read_lines(folder / "journal.jsonl") if line["kind"] == "step"),
            default=0,
        )
        card, gate = read_json(folder / "scorecard.json"), read_json(folder / "gate.json")
        state = "done" if index < finished else "started" if (folder / "stage.json").exists() else "to do"
        scores = [_score(card, b.name) for b in recipe.benchmarks]
        table.add_row(stage.name, state, f"{steps}/{stage.planned_steps}", *scores, _gate(gate))
    return table


def _score(card: dict | None, name: str) -> str:
    if not card or name not in card["benchmarks"]:
        return ""
    found = card["benchmarks"][name]
    return f"{found['modes'][found['headline']]['avg']['mean'] * 100:.1f}"


def _gate(gate: dict | None) -> str:
    return "" if gate is None else "passed" if gate["passed"] else "; ".join(gate["notes"])
