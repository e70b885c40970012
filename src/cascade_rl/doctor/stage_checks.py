"""Silent failures of filters and resumption, each check named after what it would catch.

They train a random model of a few thousand parameters, and need none of the user's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cascade_rl.doctor.subject import CheckResult, Subject, make_tiny
from cascade_rl.domain import Domain, Query, Services
from cascade_rl.errors import Interrupted, StageError
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import RLStage
from cascade_rl.run.book import Book
from cascade_rl.testing import QuietScreen, ScriptedSampler
from cascade_rl.train.rl import train
from cascade_rl.train.stage_run import StageRun
from cascade_rl.types import Message, Outcome, Pools, Problem, Rollout, Split, Verdict, problem_id


def check_filter_never_ends() -> CheckResult:
    """Dynamic filtering on problems that are always or never solved stops after `max_rounds` and says so.

    https://github.com/verl-project/verl/issues/953, https://github.com/areal-project/AReaL/issues/450
    """
    asked, told = [], []
    for reward in (0.0, 1.0):
        sampler, domain = ScriptedSampler(lambda problem: "yes"), _domain(_constant(reward))
        stage = _stage(steps=2, filter={"kind": "batch", "max_rounds": 3})
        with tempfile.TemporaryDirectory() as place, _tiny(Path(place)) as subject:
            try:
                _run(subject, stage, domain, sampler, Path(place) / "run")
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
    # six problems, three a step: an epoch ends after the second step, where the run is stopped
    stage = _stage(steps=4, filter={"kind": "epoch"}, save_every=2)
    # a reward by the bytes of the text: mixed, and the same in both runs
    domain = _domain(lambda text: float(sum(text.encode(errors="replace")) % 2))
    for stops in (False, True):
        with tempfile.TemporaryDirectory() as place:
            folder, asked = Path(place) / "run", iter((False, True))
            if stops:
                with _tiny(Path(place)) as subject, suppress(Interrupted):
                    _run(subject, stage, domain, None, folder, stop_asked=asked.__next__)
            with _tiny(Path(place)) as subject:  # a new process knows nothing of the old one
                _run(subject, stage, domain, None, folder)
                found.append(((folder / "journal.jsonl").read_bytes(), weights_hash(subject.model.flat)))
    same = found[0] == found[1]
    return CheckResult(
        same, f"journal of {len(found[0][0])} bytes and weights are {'the same' if same else 'different'}"
    )


# ---------------------------------------------------------------- what the checks run


@contextmanager
def _tiny(folder: Path) -> Iterator[Subject]:
    if not (folder / "model").exists():
        make_tiny(folder / "model")
    with Subject.opened(folder / "model") as subject:
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        yield subject


def _constant(reward: float) -> Callable[[str], float]:
    return lambda text: reward


def _domain(reward: Callable[[str], float]) -> Domain:
    async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
        return Verdict(reward(rollout.text), Outcome.PARTIAL)

    def numbered(query: Query) -> Iterator[Problem]:
        for number in range(1000):
            text = f"Name thing {number}."
            yield Problem(problem_id("doctor", text), "doctor", (Message("user", text),), None)

    return Domain("doctor", "for checks", {"builtin": numbered}, grade, examples=list, gold=lambda p: None)


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
    world = replace(subject.world, sampler=sampler) if sampler else subject.world
    pools = Pools((tuple(islice(domain.problems("builtin", Split.RL, 0), 6)),))
    book = Book(folder)
    try:
        domains, screen = {"doctor": domain}, QuietScreen()
        train(
            StageRun(stage, world, book, domains, screen, start=subject.folder, stop_asked=stop_asked), pools
        )
    finally:
        book.close()
