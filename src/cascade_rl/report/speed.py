"""Where the time of a run went and how near each phase came to what the machine can do.

From timings.jsonl alone: seconds, the work of each step with its least time (the cost model of `model.cost`),
and the rates that the run measured when it began. A run that wrote none of these has no figures, never zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from cascade_rl.report.numbers import DASH, percent
from cascade_rl.report.records import Effort, Run, Stage
from cascade_rl.report.values import as_mapping, number
from cascade_rl.scores.matrix import Matrix

OTHER = "other"
SHARES = ("rollout", "grading", "update", "evaluation", OTHER)
# phase -> the parts of its work, the part held against the machine, what of it, and against which rate
PHASES = {
    "rollout": (("prefill", "decode"), "decode", ("bytes",), "bytes"),
    "update": (("update",), "update", ("flops", "head_flops"), "flops"),
}
RATES = ("flops", "head_flops", "bytes", "workers")
T = TypeVar("T", float, Effort)


def machine(timings: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the process that wrote last had measured; empty when nothing is known."""
    found: dict[str, float] = {}
    for row in timings:
        found = _rates(row) or found
    return found


def _rates(row: Mapping[str, Any]) -> dict[str, float]:
    rates = {name: number(as_mapping(row.get("peaks")).get(name)) for name in RATES}
    return {name: rate for name, rate in rates.items() if rate} if all(rates.values()) else {}


def efforts(timings: Iterable[Mapping[str, Any]]) -> dict[str, Effort]:
    """Sums by phase over the steps that say what they did, each against the rates of its own process."""
    found: dict[str, Effort] = {}
    rates: dict[str, float] = {}
    for row in timings:
        # a resumed run may stand on another machine: each process measures and writes its own
        rates = _rates(row) or rates
        for phase in PHASES:
            if effort := _effort(phase, row, rates):
                found[phase] = found.get(phase, Effort()) + effort
    return found


def _effort(phase: str, row: Mapping[str, Any], rates: Mapping[str, float]) -> Effort | None:
    parts, held, needs, rate = PHASES[phase]
    took, work = number(as_mapping(row.get("seconds")).get(phase)), as_mapping(row.get("work"))
    done = {part: as_mapping(work.get(part)) for part in parts}
    tokens = number(done[held].get("tokens"))
    # a step whose work is not known adds neither its seconds nor its tokens
    if not took or not tokens:
        return None
    told = [number(part.get("bound_s")) for part in done.values() if part]
    bounds = [bound for bound in told if bound is not None]
    # tokens a second are known all the same; a limit of some parts would look too easily reached
    if not rates or len(bounds) < len(told):
        return Effort(took, tokens)
    used = math.fsum(number(done[held].get(name)) or 0.0 for name in needs)
    return Effort(took, tokens, took, math.fsum(bounds), used, took * rates[rate])


def spent_seconds(stage: Stage, matrix: Matrix) -> dict[str, float]:
    """Seconds per phase; what the stage took beyond its timings is `other`."""
    seconds = {name: value for name, value in stage.seconds.items() if value > 0}
    rest = matrix.seconds.get(stage.name, 0.0) - math.fsum(seconds.values())
    # less than the clocks of phases and stage can differ by is no phase of its own
    return seconds | ({OTHER: seconds.get(OTHER, 0.0) + rest} if rest > 0.05 else {})


def time_shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Shares of `SHARES` in some seconds; what has no name there is `other`. Empty without any seconds."""
    sums, total = dict.fromkeys(SHARES, 0.0), math.fsum(seconds.values())
    for name, value in seconds.items():
        sums[name if name in SHARES else OTHER] += value
    return {name: value / total for name, value in sums.items() if value > 0} if total > 0 else {}


def speed_rows(run: Run) -> list[tuple[str, ...]]:
    """A row of text for each stage that took time, and one for all of them.

    Stage; the shares of `SHARES` in percent; tokens/s sampled and trained; MFU, MBU, and the fraction of the
    limit of rollout and of update, in percent.
    """
    known = [
        (stage.name, spent, stage.efforts)
        for stage in run.scored
        if (spent := spent_seconds(stage, run.matrix))
    ]
    if len(known) > 1:
        spent = _merged((each[1] for each in known), 0.0)
        known.append(("all stages", spent, _merged((each[2] for each in known), Effort())))
    return [(name, *_shares(spent), *_figures(found)) for name, spent, found in known]


def _merged(rows: Iterable[Mapping[str, T]], zero: T) -> dict[str, T]:
    """Sums by name."""
    total: dict[str, T] = {}
    for row in rows:
        for name, value in row.items():
            total[name] = total.get(name, zero) + value
    return total


def _shares(spent: Mapping[str, float]) -> list[str]:
    shares = time_shares(spent)
    return [percent(shares.get(name), 0) for name in SHARES]


def _figures(found: Mapping[str, Effort]) -> list[str]:
    rollout, update = (found.get(phase, Effort()) for phase in PHASES)
    rates = [DASH if e.tokens_per_s is None else f"{e.tokens_per_s:,.0f}" for e in (rollout, update)]
    return [
        *rates,
        *(percent(x) for x in (update.utilisation, rollout.utilisation, rollout.limit, update.limit)),
    ]


def has_figures(run: Run) -> bool:
    """Whether any stage says what it did."""
    return any(stage.efforts for stage in run.stages)


def machine_line(run: Run) -> str:
    """The rates of the machine in words, those of the last stage that knows them; empty when none does."""
    # the last: of several machines the one that the run ended on
    rates = next((stage.machine for stage in reversed(run.stages) if stage.machine), None)
    if not rates:
        return ""
    workers = f"{rates['workers']:.0f} worker{'s' if rates['workers'] > 1 else ''} together"
    return (
        f"Measured when its process began, {workers}: {rates['flops'] / 1e9:,.0f} GFLOP/s in the model's own "
        f"products, {rates['head_flops'] / 1e9:,.0f} in the fp32 head, {rates['bytes'] / 1e9:,.1f} GB/s "
        "copied."
    )
