"""Settle a stage's data before the stage begins: prompts, pre-flight, quarantine, digest, in that order.

The outcome is stored in the stage's folder, so that a resume reads it and asks no grader again: a verdict
that came out otherwise would change the pool under the ids that a saved state holds.

Only the first `preflight.problems` (32) of each pool are tried; the rest is trusted. Problems that fail are
left out where their grader decides rewards (RL); SFT and reward models keep them, see `StageData.without`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cascade_rl.domain import Domain, Services
from cascade_rl.errors import StageError, StartedOtherwise
from cascade_rl.grading.proof import Preflight, preflight
from cascade_rl.recipe import PreflightSpec, Stage, digest
from cascade_rl.run.files import read_json, write_json
from cascade_rl.types import Problem, StageData

FILE = "preflight.json"
DISJOINT = "prompts of SFT, of each RL stage and of the benchmarks are disjoint"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a stage trains on in the end, its 16 hex digits, and its description for people, a line each."""

    data: StageData
    hash: str
    described: list[str]


def fitting(
    name: str, limits: Sequence[int], data: StageData, length: Callable[[Problem], int]
) -> tuple[StageData, list[str]]:
    """The data without prompts of more tokens than the limit of their pool; and what to say, a line a pool.

    Without `limits` all stay. Raises StageError when nothing of a pool is left.
    """
    if not limits:
        return data, []
    notes, long = [], []
    for pool, limit in zip(data.pools(), limits, strict=True):
        # tokens of the rendered prompt, the assistant header included
        over = {problem.id for problem in pool if length(problem) > limit}
        if len(over) == len(pool):
            raise StageError(f"{name}: every prompt is longer than max_prompt_tokens: {limit}; raise it")
        if over:
            notes.append(f"{name}: {len(over)} of {len(pool)} prompts over {limit} tokens are left out")
        # apart by pool: ids of files may repeat between them
        long.append(over)
    return data.without(long, over=True), notes


def settle(
    stage: Stage,
    made: StageData,
    folder: Path,
    spec: PreflightSpec,
    domains: Mapping[str, Domain],
    services: Services,
    waiting: Callable[[str], None],
) -> Settled:
    """The data without what its own grader can't tell; read where the folder holds the outcome for them.

    Raises StageError when too much failed, and StartedOtherwise when the folder holds a stage that was begun
    with other data.
    """
    hash_made, stored = digest(made.content()), read_json(folder / FILE)
    # An outcome for other data is stale: before the stage began it is replaced, afterwards refused.
    if not _tells(stored, made, hash_made):
        refuse_other_data(folder, stored)
        waiting("pre-flight")
        stored = _report(stage, made, spec, domains, services) | {"made": hash_made}
        data = _without_quarantined(stage, made, stored)
        write_json(folder / FILE, stored)
    else:
        data = _without_quarantined(stage, made, stored)
    left_out = sum(map(len, made.pools())) - sum(map(len, data.pools()))
    remark = [f"left out by pre-flight: {left_out} problems"] if left_out else []
    remark += [f"{rows.source}: no domain, so that no grader was tried on it" for rows in stage.own_rows()]
    # the digest of what is left: it goes into the key, so quarantine is a part of what makes a stage
    return Settled(data, digest(data.content()), data.described() + remark)


def _tells(stored: Any, made: StageData, hash_made: str) -> bool:
    """Whether a stored pre-flight is that of these data.

    Older versions did not say of which: it is believed, and where that is wrong the stage's key differs.
    """
    whole = isinstance(stored, dict) and len(stored.get("domains", ())) == len(made.pools())
    return whole and stored.get("made", hash_made) == hash_made


def _without_quarantined(stage: Stage, made: StageData, stored: Mapping[str, Any]) -> StageData:
    """What a pre-flight leaves; StageError, before it is stored, when that is nothing of a pool."""
    # a report a pool, in order
    data = made.without([report["quarantined"] for report in stored["domains"]])
    if not all(data.pools()):
        raise StageError(
            f"{stage.name}: the pre-flight left no problem of a pool: its grader tells none of them"
        )
    return data


def refuse_other_data(folder: Path, stored: Any) -> None:
    """Raise StartedOtherwise when a stage has begun here with other data than those at hand."""
    if isinstance(stored, dict) and "made" in stored and (folder / "stage.json").exists():
        raise StartedOtherwise(folder, "data")


def _report(
    stage: Stage, made: StageData, spec: PreflightSpec, domains: Mapping[str, Domain], services: Services
) -> dict[str, Any]:
    """The content of preflight.json."""
    reports = []
    # problems of own rows carry the source's name in the place of a domain's
    own = {rows.source for rows in stage.own_rows()}
    for pool in made.pools():
        if pool[0].domain in own:
            # nobody to ask; still a report, since there is one a pool
            reports.append(Preflight(pool[0].domain, 0, {}, len(pool)))
            continue
        domain = domains[pool[0].domain]
        found = preflight(domain, pool[: spec.problems], services)
        reports.append(found)
        # Raised before anything is written: the next try grades again.
        if found.bad_share() > spec.max_bad:
            raise StageError(_too_bad(stage.name, domain.name, found))
    return {"domains": [asdict(report) for report in reports], "disjoint": DISJOINT}


def _too_bad(stage: str, domain: str, found: Preflight) -> str:
    problem, why = next(iter(found.quarantined.items()))
    return (
        f"{stage}: pre-flight failed on {len(found.quarantined)} of {found.tried} problems of {domain}; "
        f"the first is {problem}: {why}"
    )
