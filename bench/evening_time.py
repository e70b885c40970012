"""Where an evening went: time and tokens by stage and phase, and what the plan had said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from evening_runs import Told
from evening_tables import table
from plan_checks import plan_of, seconds_by_phase

from cascade_rl.report.numbers import DASH, duration, percent
from cascade_rl.report.records import Effort
from cascade_rl.report.speed import OTHER, SHARES, machine_line, spent_seconds

TOLD = SHARES[:-1]  # phases that a plan speaks of
Rows = list[tuple[str, dict[str, float], dict[str, Effort]]]


def _spent(told: Told) -> Rows:
    """(stage, seconds by phase, what was done) of each stage, and of all."""
    rows: Rows = []
    for stage in told.run.scored:
        if found := spent_seconds(stage, told.matrix):
            seconds = {name: found.get(name, 0.0) for name in TOLD}
            seconds[OTHER] = math.fsum(found.values()) - math.fsum(seconds.values())
            rows.append((stage.name, seconds, dict(stage.efforts)))
    whole = {name: math.fsum(row[1][name] for row in rows) for name in SHARES}
    done = {p: sum((row[2].get(p, Effort()) for row in rows), Effort()) for p in ("rollout", "update")}
    return [*rows, ("**all**", whole, done)]


def _count(tokens: float) -> str:
    return DASH if not tokens else f"{tokens / 1e6:.2f} M" if tokens >= 1e5 else f"{tokens:,.0f}"


def _figures(done: dict[str, Effort]) -> Iterator[str]:
    """Tokens, tokens a second and the share of the limit, of sampling and of training."""
    for phase in ("rollout", "update"):
        effort = done.get(phase, Effort())
        rate = DASH if effort.tokens_per_s is None else f"{effort.tokens_per_s:,.0f}"
        yield from (_count(effort.tokens), rate, percent(effort.limit, 0))


def _beside(took: float, said: float) -> str:
    return DASH if not said else f"{duration(said)} ({said / took:.2f})" if took else duration(said)


def _whole(told: Told) -> str:
    took = math.fsum(_spent(told)[-1][1].values())
    return f" {told.seed.capitalize()}: {duration(took)} in all, {told.measured.machine}."


def time_part(runs: Sequence[Told]) -> str:
    """Times of the first run, with the plan's beside them; of others the sum."""
    told = runs[0]
    rows = _spent(told)
    plan = plan_of(told.measured, told.folder, None)
    said = seconds_by_phase(plan)
    by_stage = plan.stage_seconds() | {rows[-1][0]: plan.seconds}
    lines = []
    for name, spent, done in rows:
        took = math.fsum(spent.values())
        cells = [duration(spent[phase]) if spent[phase] >= 0.05 else DASH for phase in SHARES]
        lines.append([name, duration(took), *cells, _beside(took, by_stage.get(name, 0.0)), *_figures(done)])
    head = ["stage", "time", *SHARES, "plan (of the time)", "sampled", "tokens/s", "of the limit, %"]
    head += ["trained", "tokens/s", "of the limit, %"]
    whole = rows[-1][1]
    phases = (
        f"{phase} {_beside(whole[phase], math.fsum(s for (_, each), s in said.items() if each == phase))}"
        for phase in TOLD
        if whole[phase] >= 0.05
    )
    words = (
        f"{told.seed.capitalize()}, {told.measured.machine}. {machine_line(told.run)} The limit is the least time of the "
        "cost model ([engine.md](engine.md)); trained tokens count a prompt once for all its replies. The plan is that of "
        "`cascade plan` from the recipe alone, on the rates that the run measured when it began; in brackets what it says "
        f"over what it took. By phase: {', '.join(phases)}."
    )
    others = "".join(_whole(each) for each in runs[1:])
    return f"{words}{others}\n\n{table(head, lines)}"
