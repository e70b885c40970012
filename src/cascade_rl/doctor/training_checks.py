"""Silent failures of rewards, advantages, filters and resumption, which need no model of the user's.

Each check is named after the failure it would catch. Where a stage has to run it trains a random model of a few
thousand parameters.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cascade_rl.doctor.subject import CheckResult, Subject, make_tiny
from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import Interrupted, StageError
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import RLStage
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.world import World
from cascade_rl.run.book import Book
from cascade_rl.testing import QuietScreen, ScriptedSampler, text_rollout
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.loss import token_weights
from cascade_rl.train.rl import train
from cascade_rl.train.stage_run import StageRun
from cascade_rl.train.update import make_rows
from cascade_rl.types import Group, Message, Outcome, Pools, Problem, Rollout, Split, Verdict, problem_id

ESTIMATORS = (("none", "grpo"), ("none", "dr_grpo"), ("tanh", "grpo"))


def check_constant_normaliser_depends_on_the_batch() -> CheckResult:
    """Dr. GRPO's normaliser is replies x limit, whatever the lengths and the split.

    https://github.com/verl-project/verl/issues/3741
    """
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
    """A reply that could not be graded enters neither baseline nor loss, and one that is left alone has advantage 0.

    https://github.com/huggingface/trl/pull/5773; elsewhere a reply left alone got its reward as its advantage.
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
    """With `overlong: mask` a cut reply enters neither the baseline nor the token count; with `zero` it enters both.

    https://github.com/verl-project/verl/pull/6452
    """
    group = _group(("long", "b", "c", "d"), [Verdict.binary(i != 1) for i in range(4)], limit=3)
    stage = _stage()
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
        counted == [sum(lengths[1:]), sum(lengths)]
        and math.isclose(baselines[0], 2 / 3)
        and baselines[1] == 0.5
    )
    return CheckResult(
        passed, f"baseline {baselines[0]:.3f} masked, {baselines[1]:.3f} as zero; tokens {counted}"
    )


def check_verifier_fails_off_the_main_thread() -> CheckResult:
    """A grader gives the same verdict in a worker thread, where signals can't be used for time limits.

    https://github.com/verl-project/verl/pull/5635 (all of MATH scored 0), https://github.com/huggingface/trl/pull/5281
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


def check_filter_never_ends() -> CheckResult:
    """Dynamic filtering on problems that are always or never solved stops after `max_rounds` and says so.

    https://github.com/verl-project/verl/issues/953, https://github.com/areal-project/AReaL/issues/450
    """
    asked, told = [], []
    for reward in (0.0, 1.0):
        sampler, domain = ScriptedSampler(lambda problem: "yes"), _domain(_constant(reward))
        stage = _stage(steps=2, filter={"kind": "batch", "max_rounds": 3})
        with tempfile.TemporaryDirectory() as place:
            try:
                _run(_tiny(Path(place)), stage, domain, sampler, Path(place) / "run")
            except StageError as error:
                told.append("mixed rewards" in str(error))
        asked.append(len(sampler.asked))
    return CheckResult(
        asked == [6, 6] and told == [True, True], f"{asked} rounds in two steps of at most 3; told: {told}"
    )


def check_resumed_run_differs() -> CheckResult:
    """A stage that was stopped and resumed, over the end of an epoch, ends with the same bytes.

    https://github.com/verl-project/verl/pull/5725, https://github.com/verl-project/verl/issues/7401
    """
    found = []
    stage = _stage(steps=4, filter={"kind": "epoch"}, save_every=2)
    for stops in (False, True):
        with tempfile.TemporaryDirectory() as place:
            subject, folder = _tiny(Path(place)), Path(place) / "run"
            domain = _domain(lambda text: float(sum(text.encode(errors="replace")) % 2))
            if stops:
                asked = iter((False, True))
                try:
                    _run(subject, stage, domain, None, folder, stop_asked=asked.__next__)
                except Interrupted:
                    subject = _tiny(Path(place))  # a new process knows nothing of the old one
            _run(subject, stage, domain, None, folder)
            found.append(((folder / "journal.jsonl").read_bytes(), weights_hash(subject.model.flat)))
    same = found[0] == found[1]
    return CheckResult(
        same, f"journal of {len(found[0][0])} bytes and weights are {'the same' if same else 'different'}"
    )


# ---------------------------------------------------------------- what the checks run


def _group(texts: Sequence[str], verdicts: Sequence[Verdict], limit: int = 1000) -> Group:
    problem = Problem("p", "doctor", (Message("user", "x"),), None)
    return Group(problem, tuple(text_rollout(text, limit) for text in texts), tuple(verdicts))


def _tiny(folder: Path) -> Subject:
    if not (folder / "model").exists():
        make_tiny(folder / "model")
    subject = Subject.load(folder / "model")
    torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
    return subject


def _constant(reward: float) -> Callable[[str], float]:
    return lambda text: reward


def _domain(reward: Callable[[str], float]) -> Domain:
    async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
        return Verdict(reward(rollout.text), Outcome.PARTIAL)

    def problems(source: str, split: Split, seed: int) -> Iterator[Problem]:
        for number in range(1000):
            text = f"Name thing {number}."
            yield Problem(problem_id("doctor", text), "doctor", (Message("user", text),), None)

    return Domain("doctor", "for checks", problems, grade, examples=list, gold=lambda p: None)


def _stage(**changes: Any) -> RLStage:
    """A stage of three prompts a step; its own data are never read."""
    settings = {
        "name": "doctor",
        "kind": "rl",
        "steps": 1,
        "data": [{"domain": "maths"}],
        "prompts_per_step": 3,
        "rollouts_per_prompt": 4,
        "max_response_tokens": 8,
        "lr": 1e-3,
    }
    return RLStage.model_validate(settings | changes)


def _run(
    subject: Subject,
    stage: RLStage,
    domain: Domain,
    sampler: Sampler | None,
    folder: Path,
    *,
    stop_asked: Callable[[], bool] = lambda: False,
) -> None:
    """Train a stage on six problems."""
    sampler = sampler or TorchSampler(subject.replicas, subject.tokenizer)
    world = World(subject.replicas, subject.tokenizer, sampler, Services(), subject.raw, subject.config)
    pools = Pools((tuple(islice(domain.problems("builtin", Split.RL, 0), 6)),))
    book = Book(folder)
    try:
        domains, screen = {"doctor": domain}, QuietScreen()
        train(
            StageRun(stage, world, book, domains, screen, start=subject.folder, stop_asked=stop_asked), pools
        )
    finally:
        book.close()
