"""Score a checkpoint on a recipe's benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cascade_rl.cascade.spoken import refuse_benchmarks
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.domain import Benchmark
from cascade_rl.errors import InputError
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.model.pretrained import find_model, silent
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.world import Engine, open_world
from cascade_rl.types import BenchmarkScore


def evaluate_checkpoint(
    checkpoint: Path | str,
    recipe: Recipe,
    only: Sequence[str] = (),
    *,
    begun: Callable[[Benchmark], None] = lambda benchmark: None,
    note: Callable[[str], None] = silent,
    waiting: Callable[[str], None] = silent,
    unsafe_exec: bool = False,
) -> Iterator[tuple[str, BenchmarkScore]]:
    """(name, score) of a recipe's benchmarks, or of those in `only`, on a checkpoint, each as it is done.

    The checkpoint is any model that `find_model` knows, which tells `note` and `waiting`; `begun` hears of
    each benchmark before it is sampled. Raises InputError for an unknown name in `only`.
    """
    known = [b.name for b in recipe.benchmarks]
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"no benchmark {', '.join(unknown)} in {recipe.name}; there are {', '.join(known)}")
    chosen = [b for b in gather_benchmarks(recipe) if not only or b.name in only]
    # Only of the chosen domains: one benchmark of maths needs no sandbox to isolate programs.
    needs = frozenset[str]().union(*(b.domain.needs for b in chosen))
    # after what may be misspelt: to fetch a model takes longer
    folder = find_model(str(checkpoint), note=note, waiting=waiting).folder
    waiting("benchmarks")
    with open_world(folder, Engine.of(recipe), needs, unsafe=unsafe_exec) as world:
        refuse_benchmarks(chosen, world.tokenizer.template)
        for benchmark in chosen:
            begun(benchmark)
            # the seed that a run uses after a stage: the same checkpoint scores here what its matrix says
            found = run_benchmark(benchmark, world.sampler, world.services, ("evaluation",))
            yield benchmark.name, found.score
