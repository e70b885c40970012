"""The gate: may the run go on after this stage, or has a domain been lost?

After each stage every benchmark (of past, present and future domains) is compared in its headline mode with
the scorecard before, and with the best so far, so that a series of falls that each hide in the noise is
caught once their sum does not. Comparisons are paired over the held-out problems, or by Newcombe's interval
where only published scores are known. A fall fails the gate when all of this holds:

1. Its 95 % interval excludes zero (verdict `loss`).
2. It exceeds the band (`Gate.band`). Default 4 points: scores swing by so much between steps of one stage,
   and 4 is the smallest whole number under which the report's own 8B matrix (arXiv 2512.13607) passes with
   one declared dip; its largest real fall is MMLU-Pro 77.8 -> 74.5 at IF-RL, on 12,000 items. After the last
   stage the band is `FINAL_BAND` at most.
3. Its p-value stays under `ALPHA` divided by the comparisons of this stage (Bonferroni): among twenty 95 %
   intervals one misses zero by chance, and the best so far is flattered by having been chosen.
4. Nobody excused it: no waiver with a reason, no declared dip that is still before its stage of recovery and
   within its depth. At the stage of recovery the benchmark must be back where it was before, by the same
   rules of interval and band.

A waiver accepts the value after its stage: later stages are measured from there. Every loss that passes says
why in `excuse`; a loss without an excuse is what failed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cascade_rl.errors import InputError
from cascade_rl.recipe.scoring import Dip, Gate
from cascade_rl.scores.points import in_points
from cascade_rl.scores.statistics import Change, Direction, compare
from cascade_rl.types import Mode, ModeScore, Scorecard

# After the last stage nothing can repair a fall; the report's run ends at most 2.2 points under its best.
FINAL_BAND = 0.03
ALPHA = 0.05  # the level of the 95 % intervals, shared by all comparisons of a stage
UNMEASURED = "nothing was measured after this stage"  # the note of a gate that had nothing to judge
ROUNDING = 1e-9  # a fall of exactly the band is within it, whatever the last bit says


@dataclass(frozen=True, slots=True)
class Cell:
    """One benchmark against one earlier stage; a loss with an empty `excuse` fails the gate."""

    benchmark: str
    before: str
    change: float
    low: float
    high: float
    verdict: Direction
    excuse: str

    @property
    def fails(self) -> bool:
        """Whether this cell alone holds the gate shut."""
        return self.verdict is Direction.LOSS and not self.excuse


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate says after a stage."""

    stage: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]

    @property
    def measured(self) -> bool:
        """Whether there was anything to judge."""
        return UNMEASURED not in self.notes

    @property
    def passed(self) -> bool:
        """Whether no cell fails."""
        return not any(cell.fails for cell in self.cells)

    def stops(self, gate: Gate) -> bool:
        """Whether the run ends here."""
        return gate.policy == "stop" and not self.passed


@dataclass(frozen=True, slots=True)
class _Look:
    """One comparison to be decided on: of a benchmark now with the stage `before`."""

    benchmark: str
    before: str
    change: Change


@dataclass(frozen=True, slots=True)
class _History:
    """The scorecards so far, oldest first, the new one last; `stages` is the order of the whole cascade."""

    cards: Sequence[Scorecard]
    stages: Sequence[str]
    gate: Gate

    @property
    def now(self) -> Scorecard:
        return self.cards[-1]

    def index(self, stage: str) -> int:
        return self.stages.index(stage)

    @property
    def band(self) -> float:
        # of the cascade, not of the cards so far: a run in progress can still repair a fall
        last = self.now.stage == self.stages[-1]
        return min(self.gate.band, FINAL_BAND) if last else self.gate.band

    def earlier(self, benchmark: str) -> list[Scorecard]:
        """The cards that still bind a benchmark: measured before now, not forgiven by a waiver."""
        here = self.index(self.now.stage)
        waived = [self.index(w.stage) for w in self.gate.waivers if w.benchmark == benchmark]
        # A waiver of this very stage binds from the next one on; here `_excuse` asks it, so that the fall
        # is seen.
        start = max((w for w in waived if w < here), default=0)
        return [c for c in self.cards[:-1] if benchmark in c.benchmarks and self.index(c.stage) >= start]

    def before_dip(self, dip: Dip) -> Scorecard | None:
        """The last card before a dip began; None when there is none or a waiver has replaced it."""
        before = [c for c in self.earlier(dip.benchmark) if self.index(c.stage) < self.index(dip.at)]
        return before[-1] if before else None

    def is_open(self, dip: Dip) -> bool:
        return self.index(dip.at) <= self.index(self.now.stage) < self.index(dip.until)

    def change(self, benchmark: str, before: Scorecard, mode: Mode | None = None) -> Change:
        mode = mode or self.now.benchmarks[benchmark].headline
        return compare(_mode_score(before, benchmark, mode), _mode_score(self.now, benchmark, mode))


def decide(scorecards: Sequence[Scorecard], stages: Sequence[str], gate: Gate) -> GateResult:
    """Hold the last of `scorecards` (oldest first) against the ones before.

    `stages` is the order of the whole cascade. Raises InputError for dips and waivers that name nothing
    known, and for a benchmark or a mode that was measured before and no longer is; ProblemMismatchError where
    held-out sets differ; ValueError for scorecards out of order.
    """
    _check_cards(scorecards, stages)
    check_names(gate, stages, {name for card in scorecards for name in card.benchmarks})
    history = _History(scorecards, stages, gate)
    looks = [look for name in history.now.benchmarks for look in _looks(history, name)]
    # All looks of the stage divide ALPHA, also those at what rose: each had its chance to look like a fall.
    cells = tuple(_cell(history, look, len(looks)) for look in looks)
    if not history.now.benchmarks:
        return GateResult(history.now.stage, (), (UNMEASURED,))
    notes = [*_failure_notes(history, cells), *_dip_notes(history, cells), *_waiver_notes(history, cells)]
    return GateResult(history.now.stage, cells, (*notes, *_other_notes(history)))


# `recipe/rules` says it of a whole recipe before the run; here it holds for scorecards from anywhere.
def check_names(gate: Gate, stages: Sequence[str], benchmarks: Collection[str]) -> None:
    """Raise InputError, with the known names, where a dip or a waiver names nothing of the cascade."""
    for dip in gate.dips:
        _known(dip.benchmark, sorted(benchmarks), f"dip of {dip.benchmark}: benchmark")
        _known(dip.at, stages[1:], f"dip of {dip.benchmark}: at (a stage with one before it)")
        _known(
            dip.until,
            stages[stages.index(dip.at) + 1 :],
            f"dip of {dip.benchmark}: until (a stage after {dip.at})",
        )
    for waiver in gate.waivers:
        _known(waiver.benchmark, sorted(benchmarks), f"waiver of {waiver.benchmark}: benchmark")
        _known(waiver.stage, stages[1:], f"waiver of {waiver.benchmark}: stage (with one before it)")


def _looks(history: _History, benchmark: str) -> list[_Look]:
    """What a benchmark is held against: the stage before, the best so far, the one before a dip that ends.

    Of equally good stages the latest is the best so far, which saves a second look at the same value.
    """
    earlier = history.earlier(benchmark)
    if not earlier:
        return []
    best = max(enumerate(earlier), key=lambda pair: (pair[1].benchmarks[benchmark].score.mean, pair[0]))[1]
    ending = [d for d in history.gate.dips if d.benchmark == benchmark and d.until == history.now.stage]
    against = [earlier[-1], best, *(card for dip in ending if (card := history.before_dip(dip)))]
    # the stage before is often the best so far, too: one look at it
    unique = {card.stage: card for card in against}
    return [_Look(benchmark, card.stage, history.change(benchmark, card)) for card in unique.values()]


def _cell(history: _History, look: _Look, comparisons: int) -> Cell:
    change = look.change
    excuse = _excuse(history, look, comparisons) if change.verdict is Direction.LOSS else ""
    return Cell(look.benchmark, look.before, change.change, change.low, change.high, change.verdict, excuse)


def _excuse(history: _History, look: _Look, comparisons: int) -> str:
    """Why a loss may stand, or the empty string."""
    fall = -look.change.change
    # What holds without anybody's decision comes first, so that a waiver is named only where it was needed.
    if fall <= history.band + ROUNDING:
        return f"within the band of {in_points(history.band)} points"
    if look.change.p > ALPHA / comparisons:
        return f"within the noise of {comparisons} comparisons (p = {look.change.p:.2g})"
    for waiver in history.gate.waivers:
        if (waiver.benchmark, waiver.stage) == (look.benchmark, history.now.stage):
            return f"waived: {waiver.reason}"
    for dip in history.gate.dips:
        declared = dip.benchmark == look.benchmark and history.is_open(dip)
        if declared and _depth(history, dip, fall) <= dip.most + ROUNDING:
            return f"declared dip, to be recovered by {dip.until}"
    return ""


# An open dip is measured from its start, so that it can't deepen unseen over several stages.
def _depth(history: _History, dip: Dip, fall: float) -> float:
    """How far an open dip has gone below the value before it; `fall` stands in where that is not known."""
    before = history.before_dip(dip)
    return fall if before is None else -history.change(dip.benchmark, before).change


def _failure_notes(history: _History, cells: Sequence[Cell]) -> list[str]:
    return [
        f"{cell.benchmark} fell by {in_points(-cell.change)} points from {cell.before} to "
        f"{history.now.stage} (95 % interval {in_points(-cell.high)} to {in_points(-cell.low)}), beyond the "
        f"band of {in_points(history.band)}"
        for cell in cells
        if cell.fails
    ]


def _dip_notes(history: _History, cells: Sequence[Cell]) -> list[str]:
    """What has become of each declared dip that is open or ends here."""
    notes = []
    for dip in history.gate.dips:
        before = history.before_dip(dip)
        if before is None or dip.benchmark not in history.now.benchmarks:
            continue
        depth = -history.change(dip.benchmark, before).change
        where = f"{dip.benchmark} is {in_points(depth)} points below {before.stage}"
        if history.is_open(dip) and depth > dip.most + ROUNDING:
            notes.append(f"{where}: deeper than the {in_points(dip.most)} declared for the dip at {dip.at}")
        elif history.is_open(dip) and depth > 0:
            notes.append(f"{where}: declared dip, open until {dip.until}")
        elif dip.until == history.now.stage:
            lost = any(c.fails for c in cells if (c.benchmark, c.before) == (dip.benchmark, before.stage))
            what = f"{dip.benchmark} has {'not ' if lost else ''}recovered from its declared dip at {dip.at}"
            notes.append(f"{what}: {in_points(-depth, sign=True)} points against {before.stage}")
    return notes


def _waiver_notes(history: _History, cells: Sequence[Cell]) -> list[str]:
    """One line for each waiver of this stage, with the fall it covers or that there is none."""
    notes = []
    for waiver in history.gate.waivers:
        if waiver.stage == history.now.stage:
            covered = [
                c for c in cells if c.benchmark == waiver.benchmark and c.excuse.startswith("waived: ")
            ]
            falls = ", ".join(f"{in_points(-c.change)} points from {c.before}" for c in covered)
            notes.append(f"waiver of {waiver.benchmark}: {falls or 'no loss to waive'}; {waiver.reason}")
    return notes


def _other_notes(history: _History) -> list[str]:
    """Benchmarks without a past, and losses in the modes that are not headlined (they hold nothing up)."""
    notes = []
    for name, now in history.now.benchmarks.items():
        earlier = history.earlier(name)
        if not earlier:
            notes.append(f"{name} is measured for the first time")
            continue
        for mode in now.modes:
            # told, not judged: the report scores one mode a benchmark, and more looks would cost every
            # other its level
            if mode is now.headline or mode not in earlier[-1].benchmarks[name].modes:
                continue
            change = history.change(name, earlier[-1], mode)
            if change.verdict is Direction.LOSS and -change.change > history.band + ROUNDING:
                fall = in_points(-change.change)
                notes.append(
                    f"{name} in {mode} mode fell by {fall} points from {earlier[-1].stage}; not judged"
                )
    return notes


def _check_cards(cards: Sequence[Scorecard], stages: Sequence[str]) -> None:
    if not cards:
        raise InputError("no scorecards: the gate decides on the last of them")
    names = [card.stage for card in cards]
    for name in names:
        _known(name, stages, "scorecard of stage")
    if names != [stage for stage in stages if stage in names]:
        raise InputError(
            f"scorecards are out of order: {', '.join(names)}; the cascade is {', '.join(stages)}"
        )
    # Otherwise a benchmark could be saved from its fall by being taken out of the recipe.
    gone = {name for card in cards for name in card.benchmarks} - set(cards[-1].benchmarks)
    if gone:
        raise InputError(
            f"scorecard of {names[-1]} lacks benchmarks measured before: {', '.join(sorted(gone))}"
        )


def _mode_score(card: Scorecard, benchmark: str, mode: Mode) -> ModeScore:
    modes = card.benchmarks[benchmark].modes
    if mode not in modes:
        raise InputError(
            f"{benchmark} was not measured in {mode} mode after {card.stage}; found {', '.join(modes)}"
        )
    return modes[mode]


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        raise InputError(f"{what} {name!r} is unknown; known: {', '.join(names)}")
