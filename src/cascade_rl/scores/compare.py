"""What is better, what is worse, and what can't be told: measured things held against the first of them.

Every benchmark of every other thing is one comparison with the reference, in one mode. Where both know the
scores of problems with the same ids, the test is paired over these (exact sign flips, see `statistics`);
where no id is shared, or only means are known, it rests on the two scores alone. A comparison whose settings
differ in what decides a score (`DECISIVE`) is no comparison of models: its numbers are given, its verdict is
"not comparable", and it takes no part in the family, unless the setting is named in `across`.

"better" and "worse" are said where the p-value holds after Holm's correction for all comparisons of the
family and the 95 % interval, which is not corrected, excludes zero. Else it can't be told, and `needed` is
how many problems would show the seen difference at the level alpha / m (m comparisons), the one that holds
whatever the others give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from cascade_rl.errors import InputError, meant
from cascade_rl.scores.families import ALPHA, holm, needed_apart, needed_paired
from cascade_rl.scores.statistics import Change, Direction, independent_change, paired_change
from cascade_rl.types import BenchmarkScore, Mode, ModeScore

# Settings without which two scores are not of the same test; `prompts` are the texts behind equal ids.
DECISIVE = (
    "mode",
    "k",
    "temperature",
    "top_p",
    "min_p",
    "max_prompt_tokens",
    "max_response_tokens",
    "yarn",
    "domain",
    "source",
    "split",
    "map",
    "metric",
    "judge",
    "prompts",
)


class Answer(StrEnum):
    """What a comparison says of the other thing, seen from the reference."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "can't tell"
    OTHER = "not comparable"
    MISSING = "not measured"


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark of one thing.

    settings  how its replies were drawn and scored, as far as its files say; `mode` and `k` are the score's
    prompts   problem id -> digest of what was asked; empty where nothing is stored
    """

    score: BenchmarkScore
    settings: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Differing:
    """A setting that the two sides have otherwise."""

    name: str
    reference: Any
    other: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """One benchmark of one thing against the reference's.

    change     other minus reference, in shares; None where one side is `missing`
    adjusted   its p-value after Holm's correction; None outside of the family
    needed     problems that would show the seen difference; None where it is told, or nothing was seen
    common     problems that both know, over which the change is paired; 0 if it is not
    only       problems that the reference alone has, and that the other alone has
    differing  settings that decide, and differ; in `across` those of them that were allowed to
    beside     other settings that differ
    unstated   settings that decide and that one side alone states
    missing    why there is nothing to compare, for people; else empty
    """

    benchmark: str
    other: str
    answer: Answer
    change: Change | None = None
    adjusted: float | None = None
    needed: int | None = None
    common: int = 0
    only: tuple[int, int] = (0, 0)
    differing: tuple[Differing, ...] = ()
    across: tuple[Differing, ...] = ()
    beside: tuple[Differing, ...] = ()
    unstated: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """All comparisons with the first of `things`, by benchmark and then by thing; `size` is the family's."""

    things: tuple[str, ...]
    benchmarks: tuple[str, ...]
    mode: Mode | None
    comparisons: tuple[Comparison, ...]
    size: int

    @property
    def reference(self) -> str:
        """The thing that the others are held against."""
        return self.things[0]

    def of(self, other: str) -> tuple[Comparison, ...]:
        """The comparisons of one thing."""
        return tuple(c for c in self.comparisons if c.other == other)

    def at(self, benchmark: str, other: str) -> Comparison | None:
        """One comparison; None of the reference itself."""
        return next((c for c in self.of(other) if c.benchmark == benchmark), None)


Things = Mapping[str, Mapping[str, Result]]


def compare_things(things: Things, mode: Mode | None = None, across: Collection[str] = ()) -> Compared:
    """Hold every thing (label -> benchmark -> result) against the first.

    `mode` None is each side's own headline mode. `across` names settings that may differ, since they are part
    of what is compared. Raises InputError for fewer than two things, for things that share no benchmark, and
    for a name in `across` that is no setting.
    """
    if len(things) < 2:
        raise InputError("nothing to compare with: name two things or more, the reference first")
    for name in across:
        if name not in DECISIVE:
            raise InputError(f"--across: {name} is no setting; {meant(name, DECISIVE)}{', '.join(DECISIVE)}")
    labels = tuple(things)
    names = tuple(dict.fromkeys(name for results in things.values() for name in results))
    reference = things[labels[0]]
    if not any(name in reference for label in labels[1:] for name in things[label]):
        known = "; ".join(f"{label} has {', '.join(results) or 'none'}" for label, results in things.items())
        raise InputError(f"no benchmark is shared with {labels[0]}: {known}")
    looks = [_look(things, name, other, mode, across) for name in names for other in labels[1:]]
    return Compared(labels, names, mode, *_judged(looks))


def mode_of(result: Result, mode: Mode | None) -> Mode:
    """The mode that is looked at: the one that was asked for, else the headline."""
    return mode or result.score.headline


def measured(result: Result | None, mode: Mode | None) -> ModeScore | None:
    """The numbers of that mode; None where they are missing."""
    return None if result is None else result.score.modes.get(mode_of(result, mode))


@dataclass(frozen=True, slots=True)
class _Look:
    """A comparison before the family is known, and what is needed for it at a level."""

    found: Comparison
    reference: ModeScore | None = None
    other: ModeScore | None = None

    def needed(self, level: float) -> int | None:
        if self.reference is None or self.other is None or self.found.change is None:
            return None
        if not self.found.change.paired:
            return needed_apart(self.reference.average, self.other.average, level)
        return needed_paired(list(differences(self.reference, self.other).values()), level)


def differences(reference: ModeScore, other: ModeScore) -> dict[str, float]:
    """Other minus reference for each problem that both know, in the order of their ids."""
    before, after = reference.per_problem, other.per_problem
    return {name: after[name] - before[name] for name in sorted(before.keys() & after.keys())}


def _look(things: Things, name: str, other: str, mode: Mode | None, across: Collection[str]) -> _Look:
    first = next(iter(things))
    sides = [(label, things[label].get(name)) for label in (first, other)]
    found = [measured(result, mode) for _, result in sides]
    gone = [_absence(label, result, mode) for (label, result), m in zip(sides, found, strict=True) if not m]
    bare = Comparison(name, other, Answer.MISSING, missing="; ".join(gone))
    (_, left), (_, right), (before, after) = *sides, found
    if left is None or right is None or before is None or after is None:
        return _Look(bare)
    decisive, beside, unstated = _settings(left, right, mode)
    differing = tuple(d for d in decisive if d.name not in across)
    common = before.per_problem.keys() & after.per_problem.keys()
    return _Look(
        replace(
            bare,
            answer=Answer.OTHER if differing else Answer.OPEN,
            change=_change(before, after),
            common=len(common),
            only=(len(before.per_problem) - len(common), len(after.per_problem) - len(common)),
            differing=differing,
            across=tuple(d for d in decisive if d.name in across),
            beside=beside,
            unstated=unstated,
        ),
        before,
        after,
    )


def _absence(label: str, result: Result | None, mode: Mode | None) -> str:
    return f"{label} has not measured it" + ("" if result is None else f" in {mode} mode")


def _change(before: ModeScore, after: ModeScore) -> Change:
    common = sorted(before.per_problem.keys() & after.per_problem.keys())
    if not common:
        return independent_change(before.average, after.average)
    k = min(before.average.k, after.average.k)
    first, second = ({name: m.per_problem[name] for name in common} for m in (before, after))
    return paired_change(first, second, k=k)


def _settings(
    left: Result, right: Result, mode: Mode | None
) -> tuple[tuple[Differing, ...], tuple[Differing, ...], tuple[str, ...]]:
    """What differs and decides, what differs beside it, and what of the decisive one side alone states."""
    sides = [_stated(result, mode) for result in (left, right)]
    one, two = sides
    both = [key for key in one if key in two]
    differ = [Differing(key, one[key], two[key]) for key in both if one[key] != two[key]]
    decisive = [d for d in differ if d.name in DECISIVE]
    same = left.prompts.keys() & right.prompts.keys()
    other = sum(left.prompts[name] != right.prompts[name] for name in same)
    if other:
        decisive.append(Differing("prompts", f"{other} of {len(same)}", "ask something else"))
    # None is a statement, too: no stretching, no map. Where nothing was to be stated nothing is missing
    unstated = tuple(
        key for key in DECISIVE if (key in one) != (key in two) and (one | two).get(key) is not None
    )
    return tuple(decisive), tuple(d for d in differ if d.name not in DECISIVE), unstated


def _stated(result: Result, mode: Mode | None) -> dict[str, Any]:
    chosen = mode_of(result, mode)
    return dict(result.settings) | {"mode": str(chosen), "k": result.score.modes[chosen].average.k}


def _judged(looks: Sequence[_Look]) -> tuple[tuple[Comparison, ...], int]:
    """The comparisons with their answers, and the size of the family."""
    family = [n for n, look in enumerate(looks) if look.found.answer is Answer.OPEN]
    ps = [change.p for n in family if (change := looks[n].found.change)]
    adjusted = dict(zip(family, holm(ps), strict=True))
    level = ALPHA / max(1, len(family))
    return tuple(_answered(look, adjusted.get(n), level) for n, look in enumerate(looks)), len(family)


def _answered(look: _Look, adjusted: float | None, level: float) -> Comparison:
    found, change = look.found, look.found.change
    if adjusted is None or change is None:
        return found
    if adjusted <= ALPHA and change.verdict is not Direction.SAME:
        answer = Answer.BETTER if change.verdict is Direction.GAIN else Answer.WORSE
        return replace(found, answer=answer, adjusted=adjusted)
    needed, here = look.needed(level), found.common or change.n
    # what these problems could not tell takes more of them, whatever the approximation says
    return replace(found, adjusted=adjusted, needed=None if needed is None else max(needed, here + 1))


@dataclass(frozen=True, slots=True)
class Farthest:
    """Problems on which two things differ most: (id, score of the reference, score of the other)."""

    better: tuple[tuple[str, float, float], ...]
    worse: tuple[tuple[str, float, float], ...]


def farthest(reference: ModeScore, other: ModeScore, most: int) -> Farthest:
    """Up to `most` problems in each direction, the largest difference first, equals by id."""
    found = sorted(differences(reference, other).items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    rows = [(name, reference.per_problem[name], other.per_problem[name], d) for name, d in found]
    better = tuple(row[:3] for row in rows if row[3] > 1e-12)
    return Farthest(better[:most], tuple(row[:3] for row in rows if row[3] < -1e-12)[:most])
