"""Checks for the ways in which RL of language models fails without a word, to be run on any model directory.

`cascade doctor --model DIR` prints them. Each is a plain function named after the failure that it would
catch, with the public report of it in its docstring; it returns a `CheckResult`. Those of `model_checks` and
`text_checks` take a `Subject`, a loaded model; those of `reward_checks` and `stage_checks` take nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cascade_rl.doctor import model_checks, reward_checks, stage_checks, text_checks
from cascade_rl.doctor.subject import CheckResult, Subject
from cascade_rl.model.checkpoint import read_config


def _checks(module: ModuleType) -> tuple[Callable[..., CheckResult], ...]:
    # In the order in which they stand in the file, which is that of the report.
    return tuple(f for name, f in vars(module).items() if name.startswith("check_"))


ModelCheck = Callable[[Subject], CheckResult]
TrainingCheck = Callable[[], CheckResult]
MODEL_CHECKS: tuple[ModelCheck, ...] = (*_checks(model_checks), *_checks(text_checks))
TRAINING_CHECKS: tuple[TrainingCheck, ...] = (*_checks(reward_checks), *_checks(stage_checks))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report: the failure, whether it is absent, and the numbers."""

    failure: str
    passed: bool
    detail: str


def route_of(folder: Path) -> str:
    """Who computes the model of a directory, by config.json; raises InputError where nobody can."""
    raw, config = read_config(folder)
    return config.described(raw)


def model_report(folder: Path, template: str | None = None) -> Iterator[Row]:
    """All checks on the model of a directory, then those that need none, each as soon as it is done.

    `template`: see `Engine`. Takes about the memory of training it in fp32. Raises InputError for a model
    that is not supported.
    """
    with Subject.opened(folder, template) as subject:
        yield from (_row(check, check(subject)) for check in MODEL_CHECKS)
    yield from (_row(check, check()) for check in TRAINING_CHECKS)


def _row(check: Callable[..., Any], found: CheckResult) -> Row:
    return Row(check.__name__.removeprefix("check_").replace("_", " "), found.passed, found.detail)
