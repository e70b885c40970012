"""Benchmarks scored: by their domain's own grader, or, of own pairs, by a reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cascade_rl.cascade.run import Run
from cascade_rl.data.pair_benchmark import pairs_of
from cascade_rl.domain import HeldOut
from cascade_rl.evals.benchmark import BenchmarkRun, run_benchmark
from cascade_rl.rollout.world import World
from cascade_rl.run.folder import stage_folder
from cascade_rl.scores.judged import Judged
from cascade_rl.train.learned_reward import serve
from cascade_rl.train.pair_scores import pair_scores, wins
from cascade_rl.train.reward_model import FOLDER
from cascade_rl.train.stage_run import Exported

JUDGE = "judge"  # its name among the models of the workers: RL's own reward model may be there, too


@dataclass(frozen=True, slots=True)
class PairJudge:
    """A reward model that judges own pairs, and the stage that trained it."""

    stage: str
    exported: Exported


def reward_models(run: Run, stage: str, own: Mapping[str, str] | None = None) -> dict[str, PairJudge]:
    """The reward models of the stages before one, by stage; its own too, if `own` is what it exported."""
    found: dict[str, PairJudge] = {}
    for index, each in enumerate(run.recipe.stages):
        here = each.name == stage
        if here and own is None:
            break
        if each.trains == "reward_model":
            exports = own if here and own is not None else run.ledger.entries[index].exports
            folder = stage_folder(run.folder, index, each.name) / FOLDER
            exported = Exported(folder, exports.get(FOLDER), apart=each.outside() is not None)
            found[each.name] = PairJudge(each.name, exported)
        if here:
            break
    return found


def score_benchmark(
    world: World, benchmark: HeldOut, seed: tuple[int | str, ...], judge: PairJudge | None
) -> tuple[BenchmarkRun, Judged | None]:
    """A benchmark's score; of own pairs by `judge`, with what the same pairs say of that reward model."""
    if judge is None:
        return run_benchmark(benchmark, world.sampler, world.services, seed), None
    reward = serve(world, judge.exported, JUDGE)
    services = replace(world.services, reward_model=reward)
    found = run_benchmark(benchmark, world.sampler, services, seed)
    judged = Judged.by(judge.stage, wins(pair_scores(reward, pairs_of(benchmark))))
    world.replicas.drop_model(JUDGE)
    return found, judged
