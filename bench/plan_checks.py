"""What a plan says beside what others published and what our own runs took: `python bench/plan_checks.py [RUN ...]`.

Three tables without a run: verification (the reports' pools), trainers (tokens a second against the MFU that is
stated of them) and steps (NeMo-RL's). For each run directory a fourth: predicted beside measured by stage and phase.
A row says which of its figures were put in and which came out.
"""

from __future__ import annotations

from cascade_rl.plan.lengths import usual
from cascade_rl.plan.published import GRADED
from cascade_rl.plan.verification import (
    Verification,
    alike,
    exponential,
    finishes,
    mixed,
    verdicts,
    verification,
)

LIMIT = 45056  # tokens: 44K, code RL of the report's 8B model


def fitted(name: str) -> float:
    """Seconds of a process for one verdict, all alike, that make a published batch take as long as it did."""
    row = next(row for row in GRADED if row.name == name)
    return row.seconds / max(verdicts([0.0] * row.verdicts, alike(1.0, row.verdicts), row.workers))


def predicted(name: str, service: float, *, varied: bool = False) -> float:
    """Seconds of a published batch if a verdict takes `service` seconds of a process; `varied`: in the mean."""
    row = next(row for row in GRADED if row.name == name)
    each = (exponential if varied else alike)(service, row.verdicts)
    return max(verdicts([0.0] * row.verdicts, each, row.workers))


def overlapped(decoding: float, service: float) -> Verification:
    """The report's batch of code RL, all 1,024 replies decoded side by side in `decoding` seconds, on 64 processes."""
    lengths = mixed(usual("coding", LIMIT).lengths(1024))
    return verification(finishes(lengths, 1024, decoding / LIMIT), alike(service, 1024), 64)


def decoding_for(waited: float, service: float) -> float:
    """How long decoding must last so that so much is still waited for after it."""
    low, high = 0.0, 20_000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if overlapped(middle, service).asynchronous > waited else (low, middle)
    return (low + high) / 2
