"""Preference pairs of the policy's own answers, ranked by the rule of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_rl.domain import Domain
from cascade_rl.errors import StageError
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import RewardModelStage
from cascade_rl.train.stage_run import StageRun
from cascade_rl.types import Mode, Pair


def sampled_pairs(run: StageRun[RewardModelStage], domain: Domain, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Preference pairs by rule from the policy's own answers: its best against its worst on each prompt.

    Answers are ranked by how many of the benchmark's criteria they meet; prompts whose answers are all alike
    give no pair. Raises StageError when none does.
    """
    stage = run.stage
    if stage.sample_rollouts is None or stage.sample_tokens is None:
        raise ValueError(
            "pairs_from: samples needs sample_rollouts and sample_tokens, which the recipe fills in"
        )
    # instruct mode: a reward model reads answers, never reasoning
    problems = [pair.problem.in_mode(Mode.INSTRUCT) for pair in pairs]
    sampling = Sampling(stage.sample_rollouts, stage.sample_tokens, seed=(run.seed, stage.name, "pairs"))
    groups = run.world.sampler.sample(problems, sampling)
    asked = [(problem, rollout) for problem, group in zip(problems, groups, strict=True) for rollout in group]
    verdicts = iter(grade_all(domain.benchmark_grade, asked, run.world.services))
    found = []
    for problem, group in zip(problems, groups, strict=True):
        graded = [next(verdicts) for _ in group]
        # by reward, and by the parts of it where rewards tie; one reply without a verdict, and the best is
        # not known (then also no place in `marks` is a place in `group`)
        marks = [(v.reward, sum(v.parts.values())) for v in graded if v.reward is not None]
        if len(marks) == len(graded) and max(marks) > min(marks):
            best, worst = group[marks.index(max(marks))], group[marks.index(min(marks))]
            found.append(Pair(problem, best.text, worst.text))
    if not found:
        raise StageError(
            f"{stage.name}: on no prompt did the policy's {stage.sample_rollouts} answers differ by the rule "
            f"of {domain.name}; set pairs_from: domain, or raise sample_rollouts"
        )
    return tuple(found)
