"""What is left of each benchmark at the end, against its own stage and against the best before.

One rule for the model card and for the page. A benchmark is held against the stage that trains for it, or,
where no stage does, against its first score; and against its best earlier score. Changes are those of the
gate: paired over the held-out problems where both sides know them and they are the same, else from the two
scores alone. The best of several noisy scores is a little flattered: a small fall from it is expected of a
run that forgot nothing.

A fall counts as lost when its 95 % interval excludes zero and it exceeds the band that the gate uses at the
end (`gate.FINAL_BAND`): smaller ones are swing between steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.scores.gate import FINAL_BAND, ROUNDING
from cascade_rl.scores.matrix import benchmark_names, check_distinct
from cascade_rl.scores.statistics import Change, Direction, independent_change, paired_change
from cascade_rl.types import Score, Scorecard


@dataclass(frozen=True, slots=True)
class Measured:
    """A benchmark after a stage in its headline mode; `per_problem` is empty where that is not known."""

    score: Score
    per_problem: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Since:
    """The last score against the one after an earlier stage; the change is a difference of shares."""

    stage: str
    change: Change

    @property
    def fell(self) -> bool:
        """Whether the whole 95 % interval lies under zero."""
        return self.change.verdict is Direction.LOSS

    @property
    def lost(self) -> bool:
        """Whether it fell by more than the band."""
        return self.fell and -self.change.change > FINAL_BAND + ROUNDING


@dataclass(frozen=True, slots=True)
class Retention:
    """One benchmark after its last stage, `final`.

    own_stage   the stage that trains for it, None where none does
    since_own   against that stage, or against the first score; None while that is still to come or the last
    since_best  against the best earlier score, the first of equals; None where there is no earlier one
    """

    benchmark: str
    final: str
    own_stage: str | None
    since_own: Since | None
    since_best: Since | None


def retention(benchmark: str, measured: Mapping[str, Measured], own_stage: str | None) -> Retention:
    """The retention of one benchmark; `measured` is stage -> score in the order of the run, at least one."""
    *earlier, final = measured
    # without an own stage the first score is what there was to keep
    own = own_stage or next(iter(measured))
    best = max(earlier, key=lambda stage: measured[stage].score.mean, default=None)
    wanted = [stage for stage in dict.fromkeys((own, best)) if stage is not None and stage in earlier]
    since = {stage: Since(stage, _change(measured[stage], measured[final])) for stage in wanted}
    return Retention(benchmark, final, own_stage, since.get(own), since[best] if best is not None else None)


def retentions(
    scorecards: Sequence[Scorecard], own_stages: Mapping[str, str | None]
) -> tuple[Retention, ...]:
    """The retention of every benchmark, from the scorecards of a run; ValueError unless they are distinct."""
    check_distinct(scorecards)
    return tuple(
        retention(name, _measured(scorecards, name), own_stages.get(name))
        for name in benchmark_names(scorecards)
    )


def _measured(scorecards: Sequence[Scorecard], name: str) -> dict[str, Measured]:
    found = {card.stage: card.benchmarks[name] for card in scorecards if name in card.benchmarks}
    # one mode for all stages, since only like is compared with like
    headline = list(found.values())[-1].headline
    return {
        stage: Measured(b.modes[headline].average, b.modes[headline].per_problem)
        for stage, b in found.items()
    }


def _change(before: Measured, after: Measured) -> Change:
    # matrix.json alone knows no problems: then the two intervals have to do
    if before.per_problem and before.per_problem.keys() == after.per_problem.keys():
        return paired_change(before.per_problem, after.per_problem, k=min(before.score.k, after.score.k))
    return independent_change(before.score, after.score)
