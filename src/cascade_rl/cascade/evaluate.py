"""Score a checkpoint on a recipe's benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.grading.services import open_services
from cascade_rl.model.base import choose_device
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.open import open_sampler


def evaluate_checkpoint(
    checkpoint: Path, recipe: Recipe, only: Sequence[str], console: Console, unsafe_exec: bool = False
) -> Table:
    """Run a recipe's benchmarks on a checkpoint; a table with a row for each benchmark and mode."""
    known = [b.name for b in recipe.benchmarks]
    if unknown := [name for name in only if name not in known]:
        raise ValueError(f"no benchmark {', '.join(unknown)} in {recipe.name}; there are {', '.join(known)}")
    _, config, flat = load_directory(checkpoint)
    table = Table("benchmark", "mode", "avg@k", "95 %", "greedy", "leak", "clipped", "tokens", box=None)
    chosen = [b for b in gather_benchmarks(recipe) if not only or b.name in only]
    needs = frozenset().union(*(b.domain.needs for b in chosen))
    with (
        open_services(needs, unsafe=unsafe_exec) as services,
        Replicas(recipe.workers, *choose_device(recipe)) as replicas,
    ):
        replicas.add_model("policy", config, flat, train=False)
        sampler = open_sampler(recipe, replicas, load_tokenizer(checkpoint), checkpoint)
        for benchmark in chosen:
            console.print(f"{benchmark.name}: {len(benchmark.problems)} problems, k = {benchmark.spec.k} ...")
            found = run_benchmark(benchmark, sampler, services, ("evaluation",)).score
            for mode, m in found.modes.items():
                star = "*" if mode is found.headline else ""
                table.add_row(
                    benchmark.name + star, str(mode), f"{m.average.mean * 100:.1f}",
                    f"{m.average.low * 100:.1f}-{m.average.high * 100:.1f}", f"{m.greedy.mean * 100:.1f}",
                    f"{m.leak:.1%}", f"{m.clipped:.1%}", f"{m.mean_tokens:.0f}",
                )  # fmt: skip
    table.caption = "* the headline mode"
    return table
