"""A recipe's held-out problems on a checkpoint, for the command eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from cascade_rl.cli.app import console, say
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.types import BenchmarkScore, ModeScore

if TYPE_CHECKING:
    from cascade_rl.domain import HeldOut


def bounds(m: ModeScore) -> str:
    """The 95 % interval of avg@k, in per cent."""
    return f"{m.average.low * 100:.1f}-{m.average.high * 100:.1f}"


def score_on_recipe(
    checkpoint: str,
    recipe: str,
    overrides: list[str],
    only: list[str],
    reward_model: Path | None,
    unsafe_exec: bool,
    ray: str | None,
) -> None:
    """The benchmarks of a recipe, as a run measures them after a stage."""
    from cascade_rl.cascade.evaluate import evaluate_checkpoint
    from cascade_rl.data.abilities import load_recipe

    resolved = load_recipe(recipe, overrides)
    with ConsoleScreen(console) as screen:
        found = list(
            evaluate_checkpoint(
                checkpoint,
                resolved,
                only,
                reward_model=reward_model,
                begun=_say_asked,
                note=screen.note,
                waiting=screen.waiting,
                unsafe_exec=unsafe_exec,
                ray=ray,
            )
        )
    console.print(_score_table({one.name: one.score for one in found}))
    for one in found:
        if one.judged:
            say(one.judged.line(one.name))


def _say_asked(benchmark: HeldOut) -> None:
    for tally in benchmark.tallies:
        say(f"{benchmark.name}: {tally.line()}")
    console.print(f"{benchmark.name}: {len(benchmark.problems)} problems, k = {benchmark.spec.k} ...")


def _score_table(scores: Mapping[str, BenchmarkScore]) -> Table:
    """A row for each benchmark and mode, in per cent."""
    table = Table("benchmark", "mode", "avg@k", "95 %", "greedy", "leak", "clipped", "tokens", box=None)
    for name, found in scores.items():
        for mode, m in found.modes.items():
            table.add_row(
                f"{name}*" if mode is found.headline else name,
                str(mode),
                f"{m.average.mean * 100:.1f}",
                bounds(m),
                f"{m.greedy.mean * 100:.1f}" if m.greedy else "",
                f"{m.leak:.1%}",
                f"{m.clipped:.1%}",
                f"{m.mean_tokens:.0f}",
            )
    table.caption = "* the headline mode"
    return table
