"""The cards of what a stage exported: its checkpoint, and its reward model if it trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cascade_rl.recipe import Recipe
from cascade_rl.report.card import Card, write_card
from cascade_rl.report.reward_card import write_reward_card
from cascade_rl.run.files import read_json, read_record
from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.judged import Judged
from cascade_rl.train.reward_model import FOLDER
from cascade_rl.types import Scorecard


def write_cards(
    folder: Path, recipe: Recipe, cards: Sequence[Scorecard], gate: GateResult, judged: Mapping[str, Judged]
) -> None:
    """Write the README.md of each model in a stage's folder; `cards` are the scorecards up to this stage."""
    # from the disk: of a kept stage nothing else is at hand
    facts = read_record(folder / "stage.json", "stage", "settings", "data", "lineage") or {}
    config = read_json(folder / "checkpoint/config.json") or {}
    told = Card(facts, cards, own_stages(recipe), gate, recipe.benchmarks, config, judged)
    write_card(folder / "checkpoint", told)
    if (folder / FOLDER).is_dir():
        write_reward_card(folder / FOLDER, facts)


def own_stages(recipe: Recipe) -> dict[str, str | None]:
    """Each benchmark with the stage that trains for it, None where none does."""
    return {benchmark.name: recipe.own_stage(benchmark) for benchmark in recipe.benchmarks}
