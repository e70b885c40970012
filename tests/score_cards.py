"""Scorecards of a small cascade that several tests of scores share."""

from __future__ import annotations

from cascade_rl.scores.statistics import score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard

OWN = {"maths": "math-rl", "following": "if-rl"}


def measured(right: int, n: int = 200) -> BenchmarkScore:
    samples = {f"p{i}": [float(i < right)] for i in range(n)}
    average = score(samples)
    found = ModeScore(average, average, 0.01, 0.0, 31.2, {name: row[0] for name, row in samples.items()})
    return BenchmarkScore(Mode.THINKING, {Mode.THINKING: found})


def cards() -> list[Scorecard]:
    rows = {"sft": (80, 100), "if-rl": (80, 160), "math-rl": (140, 120), "swe-rl": (141, 122)}
    return [Scorecard(s, {"maths": measured(m), "following": measured(f)}) for s, (m, f) in rows.items()]
