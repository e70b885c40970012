"""The errors that a user can mend: the command line shows their message, anything else as a traceback.

Mendable                 the base that the command line catches
├── InputError           what was given can't be used (also a ValueError)
│   ├── RecipeError      a recipe, with everything that is wrong with it
│   ├── NotFused         a model that the fused decoder does not know wholly
│   └── AnswerError      the answer of a problem
├── RunBusy              another process works in the run directory
├── NoRoom               a file could not be written for want of room on the disk
├── RecipeChanged        the run directory belongs to another recipe
├── StageError           a stage can't go on, or trained nothing
│   └── StartedOtherwise it was begun with other data or weights
├── GateClosed           policy `stop`: a benchmark fell without excuse
├── GraderFailure        too many verdicts could not be given
├── ServerFailure        a served model gave no reply to some prompts
├── WorkerError          a process of the engine failed or died
├── ClusterLost          a Ray cluster that graded can't be used (any more)
└── SandboxUnavailable   nothing here keeps a model's programs in
Interrupted              the run was asked to stop (a KeyboardInterrupt)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

__all__ = [
    "AnswerError",
    "ClusterLost",
    "GateClosed",
    "GraderFailure",
    "InputError",
    "Interrupted",
    "Mendable",
    "NoRoom",
    "NotFused",
    "RecipeChanged",
    "RecipeError",
    "RunBusy",
    "SandboxUnavailable",
    "ServerFailure",
    "StageError",
    "StartedOtherwise",
    "WorkerError",
    "meant",
]

LONGEST_NAME = 80  # characters that are looked at: difflib takes quadratic time


def meant(word: str, known: Iterable[str], called: Mapping[str, str] | None = None) -> str:
    """`did you mean maths? ` of a word that is no known name, with up to three near ones; or nothing.

    `called` are other words for some of the names.
    """
    folded = word.casefold().strip()[:LONGEST_NAME]
    names = {name.casefold(): name for name in known} | dict(called or {})
    near = [folded] if folded in names else difflib.get_close_matches(folded, names, n=3, cutoff=0.6)
    ratios = [difflib.SequenceMatcher(None, name, folded).ratio() for name in near]
    # a name and another word for it may both be near; what is much less alike than the first is left out
    found = dict.fromkeys(names[name] for name, r in zip(near, ratios, strict=True) if r > ratios[0] - 0.1)
    return f"did you mean {' or '.join(found)}? " if found else ""


class Mendable(Exception):
    """An error whose message says how to mend it; `status` is what the command line exits with."""

    status: ClassVar[int] = 1


# also a ValueError: `data/abilities` catches those of sources and domains and adds their place
class InputError(Mendable, ValueError):
    """A file, a name, an option or a directory that was given can't be used; the message names it."""


class NotFused(InputError):
    """A model that the fused decoder does not know wholly, which is no mistake: transformers' modules may."""


class RecipeError(InputError):
    """A recipe that can't be used; `problems` lists every one as (path, what is wrong and how to mend it)."""

    def __init__(self, source: str, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  {path}: {text}" if path else f"  {text}" for path, text in self.problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{source}: {count}\n{lines}")


class AnswerError(InputError):
    """The answer of a problem is not what the domain's grader wants; the message says what it wants."""


class RunBusy(Mendable, RuntimeError):
    """Another process works in the run directory."""


class NoRoom(Mendable, RuntimeError):
    """A file or folder of a run could not be written: the disk, or what a user may use of it, is full."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} could not be written: {reason}; make room and give the same command again: nothing that "
            "was saved is lost, and the run goes on from there"
        )


class RecipeChanged(Mendable, RuntimeError):
    """The run directory belongs to another recipe; the message shows the difference and what to do."""


class StageError(Mendable, RuntimeError):
    """A stage that can't go on or that trained nothing; the message says why and what to change."""


class StartedOtherwise(StageError):
    """A stage was begun with other data or weights: with leave it is set aside and begun anew."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(
            f"{folder} was started with other {what}; --accept-changes sets it and the stages after it aside "
            "(as .old-N) and begins it anew, --out starts elsewhere"
        )


class GateClosed(Mendable, RuntimeError):
    """Policy `stop`: a benchmark fell without excuse."""


class GraderFailure(Mendable, RuntimeError):
    """Too many verdicts could not be given: there is no score, since a failure is not a wrong answer."""


class ServerFailure(Mendable, RuntimeError):
    """Some replies never came from a server: there is no score, since silence is not a wrong answer."""


class WorkerError(Mendable, RuntimeError):
    """A worker failed or died; the message holds its traceback or its signal."""


class ClusterLost(Mendable, RuntimeError):
    """No node of a Ray cluster can grade; nothing was given a verdict for it, and a run can go on later."""


class SandboxUnavailable(Mendable, RuntimeError):
    """No level that isolates works here; the message names what is missing and how to get it."""

    # Scripts tell a machine that refuses programs from a run that failed; 2 is a wrong command line.
    status = 3


# not Mendable: nothing is wrong, and `except Exception` of a library must not swallow it
class Interrupted(KeyboardInterrupt):
    """The run was asked to stop; the state up to the last step is saved."""
