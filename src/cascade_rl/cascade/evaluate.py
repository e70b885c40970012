"""Score a checkpoint on a recipe's benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.cascade.judging import PairJudge, score_benchmark
from cascade_rl.cascade.spoken import refuse_benchmarks
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import read_config
from cascade_rl.model.pretrained import find_model, silent
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.world import Engine, open_world
from cascade_rl.run.folder import stage_folders
from cascade_rl.scores.judged import Judged
from cascade_rl.train.reward_model import FOLDER
from cascade_rl.train.stage_run import Exported
from cascade_rl.types import BenchmarkScore


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One benchmark's score and, of own pairs, who judged it."""

    name: str
    score: BenchmarkScore
    judged: Judged | None


def evaluate_checkpoint(
    checkpoint: Path | str,
    recipe: Recipe,
    only: Sequence[str] = (),
    *,
    reward_model: Path | None = None,
    begun: Callable[[HeldOut], None] = lambda benchmark: None,
    note: Callable[[str], None] = silent,
    waiting: Callable[[str], None] = silent,
    unsafe_exec: bool = False,
) -> Iterator[Evaluated]:
    """A recipe's benchmarks, or those in `only`, on a checkpoint, each as it is done.

    Own pairs are judged by the reward model in the folder `reward_model`, else by that of the run which the
    checkpoint lies in. The checkpoint is any model that `find_model` knows, which tells `note` and `waiting`;
    `begun` hears of each benchmark before it is sampled. Raises InputError for an unknown name in `only`,
    where there is no benchmark at all, and for own pairs without a fitting reward model.
    """
    known = [b.name for b in recipe.benchmarks]
    if not known:
        raise InputError(f"{recipe.name} has no benchmarks: there is nothing to score {checkpoint} on")
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"no benchmark {', '.join(unknown)} in {recipe.name}; there are {', '.join(known)}")
    chosen = [b for b in gather_benchmarks(recipe) if not only or b.name in only]
    if reward_model and not any(recipe.judge_of(b.spec) for b in chosen):
        raise InputError("--reward-model has no effect: no benchmark that is asked for is of own pairs")
    # Only of the chosen domains: one benchmark of maths needs no sandbox to isolate programs.
    needs = frozenset[str]().union(*(b.domain.needs for b in chosen))
    # after what may be misspelt: to fetch a model takes longer
    folder = find_model(str(checkpoint), note=note, waiting=waiting).folder
    judges = {b.name: _judge(folder, recipe, b, reward_model) for b in chosen}
    waiting("benchmarks")
    with open_world(folder, Engine.of(recipe), needs, unsafe=unsafe_exec) as world:
        refuse_benchmarks(chosen, world.tokenizer.template)
        for benchmark in chosen:
            begun(benchmark)
            # the seed that a run uses after a stage: the same checkpoint scores here what its matrix says
            found, judged = score_benchmark(world, benchmark, ("evaluation",), judges[benchmark.name])
            yield Evaluated(benchmark.name, found.score, judged)


def _judge(checkpoint: Path, recipe: Recipe, benchmark: HeldOut, given: Path | None) -> PairJudge | None:
    """Who judges a benchmark of own pairs; None of any other."""
    stage = recipe.judge_of(benchmark.spec)
    if stage is None:
        return None
    # RUN/stages/NN-NAME/checkpoint
    run = checkpoint.resolve().parent.parent.parent
    folder = given or next((f.path / FOLDER for f in stage_folders(run) if f.name == stage), None)
    if folder is None or not folder.is_dir():
        where = f"{folder} is no folder" if folder else f"{checkpoint} lies in no run that has one"
        raise InputError(
            f"{benchmark.name} is judged by the reward model of stage {stage}, and {where}; give its folder "
            "with --reward-model"
        )
    apart = given is None and recipe.stage(stage).outside() is not None
    if not apart and read_config(folder)[1] != read_config(checkpoint)[1]:
        raise InputError(f"{folder} is not of the shape of {checkpoint}: it can't judge it here")
    return PairJudge(stage if given is None else str(given), Exported(folder, None, apart))
