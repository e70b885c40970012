"""Silent failures of rewards and advantages, by numbers alone, each check named after what it would catch."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence

from cascade_rl.doctor.subject import CheckResult
from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.recipe import RLStage
from cascade_rl.testing import text_rollout
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.loss import token_weights
from cascade_rl.train.update import make_rows
from cascade_rl.types import Group, Message, Problem, Rollout, Verdict

ESTIMATORS = (("none", "grpo"), ("none", "dr_grpo"), ("tanh", "grpo"))


def check_constant_normaliser_depends_on_the_batch() -> CheckResult:
    """Dr. GRPO's normaliser is replies x limit, whatever the lengths and the split.

    https://github.com/verl-project/verl/issues/3741
    """
    # lengths of 4 replies, limit 8: the weight of a token must be 1 / (4 x 8) for short and full ones
    weights = [token_weights(lengths, "constant", 8) for lengths in ([1, 8, 3, 2], [8, 8, 8, 8])]
    whole = sum(w * n for w, n in zip(weights[0], (1, 8, 3, 2), strict=True))
    passed = weights[0] == weights[1] == [1 / 32] * 4 and math.isclose(whole, 14 / 32)
    return CheckResult(
        passed, f"a token weighs {weights[0][0]:g} in a batch of 4 replies of at most 8 tokens"
    )


def check_group_without_spread_is_not_zero() -> CheckResult:
    """Equal rewards give an advantage of exactly 0, also where the mean rounds, and never NaN.

    https://github.com/huggingface/trl/issues/5588, https://github.com/huggingface/trl/pull/6365
    """
    # 0.1, 1 / 3 and -7.7 are no binary fractions: their sum over a group is rounded
    found = [
        group_advantage([reward] * size, *estimator)
        for estimator in ESTIMATORS
        for reward in (0.1, 1 / 3, -7.7, 1e8)
        for size in range(1, 17)
    ]
    wrong = sum(a != 0 for row in found for a in row)
    return CheckResult(wrong == 0, f"{wrong} of {sum(map(len, found))} advantages are not 0")


def check_missing_reward_poisons_its_group() -> CheckResult:
    """A reply that could not be graded enters neither baseline nor loss; one that is left alone earns 0.

    https://github.com/huggingface/trl/pull/5773; elsewhere a reply left alone got its reward instead.
    """
    faults = 0
    for estimator in ESTIMATORS:
        faults += group_advantage([1.0, None, 0.0, 0.5], *estimator) != _with_none(
            group_advantage([1.0, 0.0, 0.5], *estimator), 1
        )
        faults += group_advantage([None, 1.0, None], *estimator) != [None, 0.0, None]
    verdicts = (Verdict.failed("x"), Verdict.binary(True), Verdict.binary(False))
    group = _group(("a", "b", "c"), verdicts)
    faults += final_rewards([group], "score", ["off"], lambda p, t: False) != [[None, 1.0, 0.0]]
    return CheckResult(faults == 0, f"{faults} of {2 * len(ESTIMATORS) + 1} cases are wrong")


def _with_none(row: Sequence[float | None], place: int) -> list[float | None]:
    return [*row[:place], None, *row[place:]]


def check_masked_sample_moves_the_baseline() -> CheckResult:
    """A cut reply enters neither baseline nor token count with `overlong: mask`, and both with `zero`.

    https://github.com/verl-project/verl/pull/6452
    """
    group = _group(("long", "b", "c", "d"), [Verdict.binary(i != 1) for i in range(4)], limit=3)
    stage = RLStage.model_validate({"name": "x", "kind": "rl", "steps": 1, "data": [{"domain": "maths"}]})
    counted, baselines = [], []
    for rule in ("mask", "zero"):
        (rewards,) = final_rewards([group], rule, ["off"], lambda p, t: False)
        row = group_advantage(rewards, "none", "dr_grpo")
        counted.append(make_rows([group], [row], stage, 3)[1])
        reward, advantage = rewards[2], row[2]
        assert reward is not None and advantage is not None  # the third reply is neither cut nor null
        baselines.append(reward - advantage)
    lengths = [len(r.ids) for r in group.rollouts]
    passed = (
        # masked: 2 of 3 are right; as zero: 2 of 4
        counted == [sum(lengths[1:]), sum(lengths)]
        and math.isclose(baselines[0], 2 / 3)
        and baselines[1] == 0.5
    )
    return CheckResult(
        passed, f"baseline {baselines[0]:.3f} masked, {baselines[1]:.3f} as zero; tokens {counted}"
    )


def check_verifier_fails_off_the_main_thread() -> CheckResult:
    """A grader gives the same verdict in a worker thread, where signals can't be used for time limits.

    https://github.com/verl-project/verl/pull/5635 (all of MATH scored 0),
    https://github.com/huggingface/trl/pull/5281
    """
    domains = [load_domain(name) for name in ("maths", "following")]
    asked = [(domain, example) for domain in domains for example in domain.examples()]
    found: list[float | None] = []

    async def grade(services: Services) -> None:
        for domain, example in asked:
            rollout = Rollout.of_text(example.reply)
            found.append((await domain.benchmark_grade(example.problem, rollout, services)).reward)

    with ProcessVerifiers(1) as verifiers:
        services = Services(verifiers=verifiers)
        thread = threading.Thread(target=lambda: asyncio.run(grade(services)))
        thread.start()
        thread.join()
    wrong = len(asked) - sum(a == e.reward for a, (_, e) in zip(found, asked, strict=False))
    return CheckResult(wrong == 0, f"{wrong} of {len(asked)} examples are graded differently in a thread")


def _group(texts: Sequence[str], verdicts: Sequence[Verdict], limit: int = 1000) -> Group:
    problem = Problem("p", "doctor", (Message("user", "x"),), None)
    return Group(problem, tuple(text_rollout(text, limit) for text in texts), tuple(verdicts))
