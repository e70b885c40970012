"""Preference pairs: what a reward model trains on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice

from cascade_rl.domain import Domain, Services
from cascade_rl.errors import StageError
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Sampler, Sampling
from cascade_rl.recipe import RewardModelStage
from cascade_rl.types import Mode, Pair, Split


def preference_pairs(
    stage: RewardModelStage, domain: Domain, split: Split, count: int, seed: int
) -> list[Pair]:
    """`count` pairs on prompts of a split; several on the same prompt when there are fewer prompts than pairs."""
    start = random.Random(f"{seed}/{stage.name}").getrandbits(32)
    problems = list(islice(domain.problems(stage.source, split, start), count))
    if not problems:
        raise StageError(f"{stage.name}: {stage.domain} has no prompts in the {split} split")
    if stage.pairs_from == "samples":  # the answers come from the policy, when the stage starts
        return [Pair(problem, "", "") for problem in problems]
    found = []
    for index in range(count):
        problem = problems[index % len(problems)]
        chosen, rejected = domain.pairs(problem, random.Random(f"{seed}/{stage.name}/{problem.id}/{index}"))
        found.append(Pair(problem, chosen, rejected))
    return found


def sampled_pairs(
    stage: RewardModelStage,
    domain: Domain,
    pairs: Sequence[Pair],
    sampler: Sampler,
    services: Services,
    seed: int,
) -> list[Pair]:
    """Preference pairs by rule from the policy's own answers: its best against its worst on each prompt.

    Answers are ranked by how many of the benchmark's criteria they meet; prompts whose answers are all alike give no
    pair. Raises StageError when none does.
    """
    problems = [pair.problem.in_mode(Mode.INSTRUCT) for pair in pairs]
    sampling = Sampling(stage.sample_rollouts, stage.sample_tokens, seed=(seed, stage.name, "pairs"))
    groups = sampler.sample(problems, sampling)
    pairs = [(problem, rollout) for problem, group in zip(problems, groups, strict=True) for rollout in group]
    verdicts = iter(grade_all(domain.benchmark_grade, pairs, services))
    found = []
    for problem, group in zip(problems, groups, strict=True):
        judged = [next(verdicts) for _ in group]
        marks = [(v.reward, sum(v.parts.values())) for v in judged if v.reward is not None]
        if len(marks) == len(judged) and max(marks) > min(marks):
            best, worst = group[marks.index(max(marks))], group[marks.index(min(marks))]
            found.append(Pair(problem, best.text, worst.text))
    if not found:
        raise StageError(f"{stage.name}: on no prompt did the policy's {stage.sample_rollouts} answers differ by the rule of "
                         f"{domain.name}; set pairs_from: domain, or raise sample_rollouts")  # fmt: skip
    return found
