"""Graded replies to held-out problems as they are stored, one JSON line each, and the scores that they give.

    {"problem": ID, "mode": "instruct", "sample": 0, "text": ..., "stop": "end", "tokens": 12, "reward": 1.0,
     "outcome": "right", "note": "", "parts": {}, "answer": null, "seconds": 0.12}

`tokens` is null where nobody knows; `reward` is null where the grader itself failed, twice: such a reply
counts as wrong, and aloud. `greedy` stands in a line only if it is true. `seconds` from the first question
of a benchmark to the end of the reply's group are the clock's, all else is the same each time; a run's own
files leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.chat import leaks
from cascade_rl.errors import InputError
from cascade_rl.scores.statistics import score
from cascade_rl.types import Mode, ModeScore, Outcome, Stop, Verdict


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded reply; `sample` counts those to one problem in one mode, `answer` is its short answer."""

    problem: str
    mode: Mode
    sample: int
    text: str
    stop: Stop
    tokens: int | None
    verdict: Verdict
    answer: str | None = None
    greedy: bool = False
    seconds: float = field(default=math.nan, compare=False)

    @property
    def key(self) -> tuple[str, Mode, bool, int]:
        """What no two replies of a benchmark share."""
        return self.problem, self.mode, self.greedy, self.sample

    @property
    def accuracy(self) -> float:
        """Its reward clamped to [0, 1]; 0 where there is no verdict."""
        return max(0.0, min(1.0, self.verdict.reward or 0.0))


def to_line(found: Sample) -> dict[str, Any]:
    """The line of a sample."""
    line: dict[str, Any] = {
        "problem": found.problem,
        "mode": str(found.mode),
        "sample": found.sample,
        "text": found.text,
        "stop": str(found.stop),
        "tokens": found.tokens,
        "reward": found.verdict.reward,
        "outcome": str(found.verdict.outcome),
        "note": found.verdict.note,
        "parts": dict(found.verdict.parts),
        "answer": found.answer,
    }
    line |= {} if math.isnan(found.seconds) else {"seconds": round(found.seconds, 3)}
    return line | ({"greedy": True} if found.greedy else {})


def of_line(line: Mapping[str, Any], place: str) -> Sample:
    """The sample of a line; InputError, which names the place, for what is none."""
    try:
        reward = None if line["reward"] is None else float(line["reward"])
        return Sample(
            problem=str(line["problem"]),
            mode=Mode(line["mode"]),
            sample=int(line["sample"]),
            text=str(line["text"]),
            stop=Stop(line["stop"]),
            tokens=None if line["tokens"] is None else int(line["tokens"]),
            verdict=Verdict(reward, Outcome(line["outcome"]), dict(line["parts"]), str(line["note"])),
            answer=line["answer"],
            greedy=bool(line.get("greedy")),
            seconds=float(line.get("seconds", math.nan)),
        )
    except KeyError as error:
        raise InputError(f"{place} is no stored sample: it has no {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{place} is no stored sample: {error}") from None


def mode_score(samples: Sequence[Sample], mode: Mode) -> ModeScore:
    """The scores of all samples in a mode; leaks, clipping and length are those of the k samples alone."""
    mine = [one for one in samples if one.mode is mode]
    drawn = [one for one in mine if not one.greedy]
    greedy = _by_problem(one for one in mine if one.greedy)
    sampled = _by_problem(drawn)
    return ModeScore(
        average=score(sampled),
        greedy=score(greedy) if greedy else None,
        leak=_mean(leaks(one.text, mode) for one in drawn),
        clipped=_mean(one.stop is Stop.LENGTH for one in drawn),
        # replies of a server may not say how long they were
        mean_tokens=_mean(one.tokens for one in drawn if one.tokens is not None),
        per_problem={name: _mean(values) for name, values in sampled.items()},
    )


def _by_problem(samples: Iterable[Sample]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in samples:
        found.setdefault(one.problem, []).append(one.accuracy)
    return found


def _mean(values: Iterable[float]) -> float:
    """NaN of nothing: what nobody knows is not 0."""
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan
