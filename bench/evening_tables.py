"""The matrix, gains, what is kept and what moved in passing, as markdown: parts of docs/evening.md and README."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from evening_changes import ends, mean_change, mean_of, step_change
from evening_runs import Told

from cascade_rl.report.numbers import ARROWS, DASH, bounds, duration, percent, points
from cascade_rl.report.retention import run_retentions
from cascade_rl.report.values import number
from cascade_rl.scores.gate import FINAL_BAND
from cascade_rl.scores.matrix import ModeCell, Row
from cascade_rl.scores.retention import Since
from cascade_rl.scores.statistics import Change, Direction, compare, independent_change, wilson
from cascade_rl.types import Mode, Score


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table, its first column to the left."""
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def score_text(score: Score | None, own: bool) -> str:
    """A score in percent with its interval, bold after the stage that trains for it."""
    if score is None:
        return DASH
    mean = f"**{percent(score.mean)}**" if own else percent(score.mean)
    return f"{mean} <sub>{bounds(score.low, score.high)}</sub>"


def change_text(change: Change | None) -> str:
    """Points with their interval, and an arrow where the interval leaves no doubt of the direction."""
    if change is None:
        return DASH
    sign = ARROWS.get(change.verdict, "")
    return f"{points(change.change)}{sign} <sub>{bounds(change.low, change.high, points)}</sub>"


def _stages(runs: Sequence[Told]) -> list[str]:
    return list(dict.fromkeys(stage for told in runs for stage in told.stages))


def _rows(runs: Sequence[Told]) -> list[Row]:
    """The benchmarks in the order of the runs; of several runs the first one's row."""
    found: dict[str, Row] = {}
    for told in runs:
        for row in told.matrix.rows:
            found.setdefault(row.name, row)
    return list(found.values())


def _row(told: Told, name: str) -> Row | None:
    return next((row for row in told.matrix.rows if row.name == name), None)


def _beside(cells: Iterable[str]) -> str:
    """What each seed has, one below the other; nothing twice where no seed has anything."""
    found = list(cells)
    return DASH if set(found) == {DASH} else "<br>".join(found)


def _score(told: Told, name: str, stage: str, mode: Mode | None) -> str:
    row = _row(told, name)
    if row is None:
        return DASH
    cell = row.modes.get(stage, {}).get(mode) if mode else None
    score = row.scores.get(stage) if mode is None else cell.average if cell else None
    return score_text(score, row.own_stage == stage)


def matrix_part(runs: Sequence[Told]) -> str:
    """Benchmarks after each stage, in the headline mode, then in each of both."""
    rows, seeds = _rows(runs), ", then ".join(told.seed for told in runs)
    beside = f" In each cell: {seeds}." if len(runs) > 1 else f" {runs[0].seed.capitalize()}."
    parts = [
        "Percent of held-out problems solved, small beside it the 95 % interval; **bold** after the stage that "
        f"trains for it.{beside}\n"
    ]
    views: list[tuple[str, Mode | None]] = [("Each in its headline mode", None)]
    seen = {mode for row in rows for modes in row.modes.values() for mode in modes}
    views += [(f"All in the {mode} mode", mode) for mode in Mode if mode in seen and len(seen) > 1]
    for title, mode in views:
        shown = [r for r in rows if mode is None or any(mode in found for found in r.modes.values())]
        head = ["after", *(f"{r.name}<br><sub>{r.headline}</sub>" if mode is None else r.name for r in shown)]
        body = (
            [stage, *(_beside(_score(told, r.name, stage, mode) for told in runs) for r in shown)]
            for stage in _stages(runs)
        )
        parts.append(f"{title}:\n\n{table(head, body)}\n")
    return "\n".join([*parts, *_sizes(runs[0]), *map(reward_model_line, runs)])


def _sizes(told: Told) -> Iterator[str]:
    """How many problems and samples are behind each number."""
    sizes = ((row.name, next(iter(row.scores.values()))) for row in told.matrix.rows if row.scores)
    yield "Problems and samples of each: " + ", ".join(f"{name} {s.n:,} x {s.k}" for name, s in sizes) + "."


def reward_model_line(told: Told) -> str:
    """How often the reward model is right on pairs that it was not trained on."""
    for stage in told.run.stages:
        share = number(stage.description.get("heldout_pair_accuracy"))
        pairs = number(stage.description.get("heldout_pairs"))
        if share is not None and pairs:
            low, high = wilson(share * pairs, pairs)
            right = f"{percent(share)} % ({bounds(low, high)}) of {pairs:.0f} held-out pairs"
            return f"The reward model of {told.seed} ranks {right} as it should."
    return ""


def style_part(runs: Sequence[Told]) -> str:
    """How replies look after each stage: cut off, in the wrong mode, how long."""
    told = runs[0]
    rows = told.matrix.rows
    lines = (
        [stage, *(_style(row.modes.get(stage, {}).get(row.headline)) for row in rows)]
        for stage in told.stages
    )
    words = "percent cut off at the limit / percent that break their mode / mean tokens"
    head = ["after", *(row.name for row in rows)]
    return f"Replies in the headline mode, {told.seed}: {words}.\n\n{table(head, lines)}"


def _style(cell: ModeCell | None) -> str:
    if cell is None:
        return DASH
    tokens = DASH if math.isnan(cell.mean_tokens) else f"{cell.mean_tokens:.0f}"
    return f"{percent(cell.clipped, 0)} / {percent(cell.leak, 0)} / {tokens}"


def _moves(runs: Sequence[Told], trained: bool) -> Iterator[list[str]]:
    """(stage, benchmark, a change a seed, their mean) of the pairs that are trained, or of the others that moved."""
    for stage in _stages(runs):
        for row in _rows(runs):
            changes = [step_change(told, row.name, stage) for told in runs]
            if all(change is None for change in changes) or trained != runs[0].trains(stage, row.name):
                continue
            mean = mean_change(runs, row.name, stage)
            moved = [c for c in (*changes, mean) if c is not None and c.verdict is not Direction.SAME]
            if trained or moved:
                yield [stage, row.name, *map(change_text, changes), *([change_text(mean)] * (len(runs) > 1))]


def _change_head(runs: Sequence[Told]) -> list[str]:
    return [*(told.seed for told in runs), *(["mean"] * (len(runs) > 1))]


def gains_part(runs: Sequence[Told]) -> str:
    """What each stage changed of the benchmarks that it trains for."""
    rows = list(_moves(runs, trained=True))
    if not rows:
        return "No stage has been scored after another yet."
    words = (
        "Points against the stage before, paired over the problems, with 95 % intervals over the problems; ▲ and ▼ where "
        "the interval excludes zero."
    )
    apart = list(_apart(runs))
    spread = (
        f" Between the seeds the gains of these rows differ by {100 * max(apart):.1f} points at most and by "
        f"{100 * math.fsum(apart) / len(apart):.1f} in the mean: that, and not the intervals, tells what another seed "
        "may bring."
        if apart
        else ""
    )
    return f"{words}{spread}\n\n{table(['stage', 'trains for', *_change_head(runs)], rows)}"


def _apart(runs: Sequence[Told]) -> Iterator[float]:
    if len(runs) < 2:
        return
    for stage in _stages(runs):
        for row in _rows(runs):
            changes = [step_change(told, row.name, stage) for told in runs]
            known = [c.change for c in changes if c is not None]
            if len(known) == len(runs) and runs[0].trains(stage, row.name):
                yield max(known) - min(known)


def leaks_part(runs: Sequence[Told]) -> str:
    """Which stage moved which benchmark that it does not train for, beyond the noise of its problems."""
    rows = list(_moves(runs, trained=False))
    looked = sum(
        any(step_change(told, row.name, stage) for told in runs) and not runs[0].trains(stage, row.name)
        for stage in _stages(runs)
        for row in _rows(runs)
    )
    counts = [f"{_moved_alone(told)} with {told.seed}" for told in runs]
    words = (
        f"There are {looked} pairs of a stage and a benchmark that it has no data for. {len(rows)} of them moved, by "
        "which is meant that the 95 % interval of a seed or of the mean excludes zero. About one interval in twenty does "
        f"so by chance, so {looked / 20:.1f} for each seed would be no news; {' and '.join(counts)} moved."
    )
    head = ["stage", "moved", *_change_head(runs)]
    return words if not rows else f"{words}\n\n{table(head, rows)}"


def _moved_alone(told: Told) -> int:
    pairs = ((stage, row.name) for stage in told.stages for row in told.matrix.rows)
    changes = (step_change(told, name, stage) for stage, name in pairs if not told.trains(stage, name))
    return sum(change is not None and change.verdict is not Direction.SAME for change in changes)


def rl_part(runs: Sequence[Told]) -> str:
    """The end against the last stage of SFT: what all of RL changed, in each mode that is asked."""
    taught = [told.taught for told in runs]
    rows = []
    for row in _rows(runs):
        modes = {mode for found in row.modes.values() for mode in found}
        for mode in (mode for mode in Mode if mode in modes):
            pairs = [
                ends(told, row.name, after, told.stages[-1], mode) if after else None
                for told, after in zip(runs, taught, strict=True)
            ]
            changes = [compare(*pair) if pair else None for pair in pairs]
            if any(changes):
                mean = [change_text(mean_of(pairs))] * (len(runs) > 1)
                rows.append([row.name, str(mode), *map(change_text, changes), *mean])
    if not rows:
        return "No stage of RL has been scored after SFT yet."
    words = (
        f"Points at the end against the score after {taught[0]}, paired over the problems, with 95 % intervals: what is "
        "left of all that RL did."
    )
    return f"{words}\n\n{table(['benchmark', 'mode', *_change_head(runs)], rows)}"


def kept_part(runs: Sequence[Told]) -> str:
    """The end against each benchmark's own stage, and against the best before."""
    found = [{kept.benchmark: kept for kept in run_retentions(told.run)} for told in runs]
    rows = []
    for row in _rows(runs):
        since = [by.get(row.name) for by in found]
        if any(kept and kept.since_own for kept in since):
            own = row.own_stage or f"none; its first score ({next(iter(row.scores))})"
            cells = [_since(kept.since_own if kept else None) for kept in since]
            rows.append(
                [row.name, own, *cells, *(_best(kept.since_best if kept else None) for kept in since)]
            )
    if not rows:
        return "No benchmark was scored again after its own stage yet."
    head = ["benchmark", "own stage", *(f"end, {told.seed}" for told in runs)]
    head += [f"against the best before, {told.seed}" for told in runs]
    words = (
        "Points at the end against the score after its own stage, with the 95 % interval; **lost** where the interval lies "
        f"below zero and the fall exceeds the gate's {100 * FINAL_BAND:g} points. The best of several noisy scores is "
        "flattered: a small fall from it is expected."
    )
    return f"{words}\n\n{table(head, rows)}"


def _since(since: Since | None) -> str:
    return DASH if since is None else f"{change_text(since.change)}{' **lost**' if since.lost else ''}"


def _best(since: Since | None) -> str:
    return DASH if since is None else f"{points(since.change.change)} <sub>{since.stage}</sub>"


def ablation_part(told: Told, others: Sequence[Told]) -> str:
    """The run against each that differs in something: at the end, or as far as one in progress has come."""
    return "\n\n".join(_ablation(told, other) for other in others)


def _ablation(told: Told, other: Told) -> str:
    after = other.stages[-1]
    going = after != _planned(other)[-1] and after in told.stages
    beside = after if going else told.stages[-1]
    rows = []
    for row in told.matrix.rows:
        here, there = told.mode(beside, row.name), other.mode(after, row.name)
        if here is None or there is None:
            continue
        same = here.per_problem.keys() == there.per_problem.keys() and here.per_problem
        change = compare(there, here) if same else independent_change(there.average, here.average)
        cells = [score_text(there.average, False), score_text(here.average, False), change_text(change)]
        rows.append([row.name, *cells])
    where = f"after {after}, as far as it went" if going else f"at the end ({after}; {beside})"
    words = (
        f"Another run, {other.seed}, differs from {told.seed} of the run above: {_differing(told, other, after)}. "
        f"Percent solved {where}; the difference in points."
    )
    return f"{words}\n\n{table(['benchmark', 'the other', 'the run above', 'difference'], rows)}"


def _planned(told: Told) -> list[str]:
    return [str(stage["name"]) for stage in told.run.recipe["stages"]]


def _differing(told: Told, other: Told, after: str) -> str:
    """What one recipe has otherwise than the other: stages, and keys of stages that both have and the other reached."""
    plans = [_planned(told), _planned(other)]
    reached = plans[1][: plans[1].index(after) + 1]
    words = [f"without `{name}`" for name in plans[0] if name not in plans[1]]
    words += [f"with `{name}`" for name in plans[1] if name not in plans[0]]
    both = [[name for name in plan if name in plans[0] and name in plans[1]] for plan in plans]
    if both[0] != both[1]:
        words.append(f"in the order {', '.join(both[1])}")
    compared = [name for name in both[0] if name in reached]
    mine, its = (
        {path: value for path, value in _keys(each.run.recipe) if _counts(path, compared)}
        for each in (told, other)
    )
    for path in dict.fromkeys([*mine, *its]):
        if mine.get(path) != its.get(path):
            words.append(f"`{path}` {its.get(path, 'not set')}, here {mine.get(path, 'not set')}")
    return "; ".join(words) or "nothing"


def _counts(path: str, stages: Sequence[str]) -> bool:
    """Whether a key can be why two runs differ: no name, and of a stage only where it is one of those."""
    first, _, rest = path.partition(".")
    return path not in ("seed", "name") and (first != "stages" or rest.partition(".")[0] in stages)


def _keys(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all that is set; items of a list go by their name where they have one."""
    if isinstance(value, dict):
        items = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        items = [(str(each.get("name") or at), each) for at, each in enumerate(value)]
    else:
        yield path, value
        return
    for key, each in items:
        yield from _keys(each, f"{path}.{key}" if path else key)


def _once(told: Told) -> list[Row]:
    """The benchmarks, of those that ask one suite twice the first."""
    asked = {str(each["name"]): each.get("suite") or each["name"] for each in told.run.recipe["benchmarks"]}
    found: dict[str, Row] = {}
    for row in told.matrix.rows:
        found.setdefault(str(asked.get(row.name, row.name)), row)
    return list(found.values())


def short_part(runs: Sequence[Told], title: str) -> str:
    """README's matrix: the first run, and the ends of those with other seeds; headline values."""
    told, *others = runs
    rows = _once(told)[:10]
    places = [(stage, told, stage) for stage in told.stages]
    places += [(f"{other.stages[-1]}, {other.seed}", other, other.stages[-1]) for other in others]
    lines = (
        [label, *(_score(run, row.name, stage, None).replace(" <sub>", "<br><sub>") for row in rows)]
        for label, run, stage in places
    )
    init = (told.run.recipe.get("model") or {}).get("init", "a model")
    took = duration(math.fsum(told.matrix.seconds.values()))
    beside = f"; below it the end with {', '.join(other.seed for other in others)}" if others else ""
    words = (
        f"`{init}` through the whole cascade: percent of held-out problems solved after each stage, with the 95 % "
        f"interval, **bold** after the stage that trains for it. {told.seed.capitalize()}, {took} on "
        f"{told.measured.machine}{beside}. `make evening` does it again. Curves, replies, times and failures: "
        "[docs/evening.md](docs/evening.md)."
    )
    left = len(told.matrix.rows) - len(rows)
    words += f" {left} more benchmarks stand there." if left else ""
    words += _without_the_mode(told, rows)
    return f"## {title}\n\n{words}\n\n{table(['after', *(row.name for row in rows)], lines)}"


def _without_the_mode(told: Told, rows: Sequence[Row]) -> str:
    """Why the first row has zeros: a model that was never taught a mode earns nothing where it is asked in it."""
    first = told.stages[0]
    cells = [(row, row.modes.get(first, {}).get(row.headline)) for row in rows]
    modes = dict.fromkeys(row.headline for row, cell in cells if cell and cell.leak == 1.0)
    if not modes:
        return ""
    return f" No reply of `{first}` keeps the {' or the '.join(modes)} mode: hence its zeros."


PARTS: dict[str, Callable[[Sequence[Told]], str]] = {
    "matrix": matrix_part,
    "gains": gains_part,
    "rl": rl_part,
    "kept": kept_part,
    "leaks": leaks_part,
    "style": style_part,
}
