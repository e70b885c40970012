"""The replies that verl's steps graded, as groups of ours: for rollouts.jsonl, and for a step's numbers.

verl's own dump has no verdicts, no ids of problems, and its text has lost the special tokens (verl #7588). So
whoever grades writes a line a reply beside the attempt (`inside/reward.py`): step, index of the prompt, text,
tokens, stop, reward, outcome, parts, note; and what the stage's rules make of the reward: `earned`,
`below` and `score`.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from cascade_rl.backends.verl.inside.advantage import fallen, joined
from cascade_rl.chat import leaks
from cascade_rl.errors import InputError
from cascade_rl.types import Group, Outcome, Problem, Rollout, Stop, Verdict

FOLDER = "replies"  # in an attempt's folder; files of any name, one a process that grades
OUTCOMES = {"failed": Outcome.GRADER_ERROR, "unparseable": Outcome.UNPARSEABLE, "timeout": Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Graded:
    """The groups of a step, and what each reply earned by the stage's rules for length and foreign script.

    A reply that earned nothing (None) was masked, or nobody could judge it: it is in no mean of rewards.
    """

    groups: Sequence[Group] = ()
    earned: Sequence[Sequence[float | None]] = ()


class Replies:
    """The lines of an attempt's replies, read as they grow; `of_step` hands out each once."""

    def __init__(self, attempt: Path, problems: Sequence[Problem]) -> None:
        self._folder, self._problems = attempt / FOLDER, problems
        self._read: dict[Path, int] = {}
        self._waiting: dict[int, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))

    def of_step(self, step: int) -> Graded:
        """What was graded for a step (verl's number), in the order of its prompts."""
        self._read_on()
        found = self._waiting.pop(step, {})
        # replies of steps that are over belong to a draw that verl dropped; they would never be asked for
        for old in [number for number in self._waiting if number < step]:
            del self._waiting[old]
        # verl's replies end in any order, in any of many processes: by text, so that they are told alike
        rows_PG = [sorted(found[index], key=_place) for index in sorted(found)]
        groups = [self._group(rows) for rows in rows_PG]
        return Graded(groups, _earned(rows_PG))

    def _read_on(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # being written at this moment
                    self._read[path] = self._read.get(path, 0) + len(line)
                    row = _row(line, path)
                    self._waiting[row["step"]][row["index"]].append(row)

    def _group(self, rows: list[dict[str, Any]]) -> Group:
        index = rows[0]["index"]
        if not 0 <= index < len(self._problems):
            raise InputError(f"{self._folder} names prompt {index}, but the job has {len(self._problems)}")
        rollouts = tuple(Rollout.of_text(r["text"], Stop(r["stop"]), r["tokens"]) for r in rows)
        verdicts = tuple(
            Verdict(r["reward"], Outcome(r["outcome"]), r.get("parts", {}), r.get("note", "")) for r in rows
        )
        return Group(self._problems[index], rollouts, verdicts)


def _place(row: dict[str, Any]) -> tuple[str, bool, float]:
    return row["text"], row["reward"] is None, row["reward"] or 0.0


def _earned(rows_PG: list[list[dict[str, Any]]]) -> list[list[float | None]]:
    """What replies earned: `earned` of their lines, or the verdict where no rule changes it.

    A reward model's `score` counts beside it, and `below` says what of the batch a reply earns instead
    (`inside/advantage.py`).
    """
    places = [place for place, rows in enumerate(rows_PG) for _ in rows]
    # `switched`: jobs that were begun by an older version
    below = [row.get("below", int(row.get("switched", False))) for rows in rows_PG for row in rows]
    found = iter(fallen([r for rows in rows_PG for r in _joined(rows)], places, below))
    return [[next(found) for _ in rows] for rows in rows_PG]


def _joined(rows: list[dict[str, Any]]) -> list[float | None]:
    earned = [row.get("earned", row["reward"]) for row in rows]
    return joined(earned, [0] * len(rows), [row.get("score") for row in rows])


def _row(line: bytes, path: Path) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        Verdict(row["reward"], Outcome(row["outcome"])), Stop(row["stop"]), row["text"], row["tokens"]
        return row | {"step": int(row["step"]), "index": int(row["index"])}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds a line that is no graded reply: {error!r}") from None


def summary(graded: Graded) -> dict[str, float]:
    """What a step's replies say, by the names and rules of docs/runs.md; nothing where there are none.

    verl's own `score` counts a reply that nobody could judge, or that is masked, as a 0.
    """
    groups = graded.groups
    if not groups:
        return {}
    pairs = [zip(g.rollouts, g.verdicts, strict=True) for g in groups]
    replies = [pair for group in pairs for pair in group]
    tokens: list[float] = [r.tokens for r, _ in replies if r.tokens is not None] or [math.nan]
    found = {
        **_rewards(graded.earned),
        "length": fmean(tokens),
        "length_max": max(tokens),
        "clipped": fmean(r.stop is Stop.LENGTH for r, _ in replies),
        "leak": fmean(leaks(r.text, g.problem.mode) for g in groups for r in g.rollouts),
        **_outcomes(verdict for _, verdict in replies),
    }
    for domain in sorted({g.problem.domain for g in groups}):
        own = [i for i, g in enumerate(groups) if g.problem.domain == domain]
        verdicts = [v for i in own for v in groups[i].verdicts]
        told = _rewards([graded.earned[i] for i in own])
        found |= {f"{name}/{domain}": told[name] for name in ("reward", "signal")}
        found |= {f"{name}/{domain}": value for name, value in _outcomes(verdicts).items()}
        for part in sorted({name for v in verdicts for name in v.parts}):
            found[f"part/{domain}/{part}"] = fmean(v.parts[part] for v in verdicts if part in v.parts)
    return found


def _rewards(earned: Sequence[Sequence[float | None]]) -> dict[str, float]:
    known = [[r for r in row if r is not None] for row in earned]
    flat = [r for row in known for r in row] or [0.0]
    even = [row for row in known if row and min(row) == max(row)]
    return {
        "reward": fmean(flat),
        "reward_std": pstdev(flat),
        "reward_min": min(flat),
        "reward_max": max(flat),
        # a group with one reward has nothing to be compared with, and is even
        "signal": fmean(bool(row) and min(row) < max(row) for row in known),
        "solved_all": sum(row[0] >= 1 for row in even) / len(known),
        "solved_none": sum(row[0] <= 0 for row in even) / len(known),
    }


def _outcomes(verdicts: Iterable[Verdict]) -> dict[str, float]:
    found = list(verdicts)
    return {name: fmean(v.outcome is outcome for v in found) for name, outcome in OUTCOMES.items()}
