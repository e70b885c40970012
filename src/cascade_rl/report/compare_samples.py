"""Stored replies to the problems on which two things differ, and what was asked; one pass over each file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.report.compare_things import json_lines
from cascade_rl.report.records import Sample
from cascade_rl.report.values import as_list, as_mapping, number, text
from cascade_rl.types import Mode


@dataclass(frozen=True, slots=True)
class Stored:
    """What a NAME.samples.jsonl holds: a reply to each wanted problem, and the tokens of all replies.

    `tokens` is None where one reply does not say how many it has.
    """

    replies: Mapping[str, Sample]
    tokens: float | None


def read_stored(path: Path, wanted: Mapping[str, float], mode: Mode, prompts: Mapping[str, str]) -> Stored:
    """One reply to each wanted problem in a mode: that whose reward is nearest to its mean there.

    Of equals the first: neither the best nor the worst of k, which would show what is not typical. InputError
    where a line is no sample.
    """
    tokens: float | None = 0.0
    found: dict[str, tuple[float, Sample]] = {}
    for row in json_lines(path):
        count = number(row.get("tokens"))
        tokens = None if tokens is None or count is None else tokens + count
        problem = row.get("problem")
        if not isinstance(problem, str) or not isinstance(row.get("text"), str):
            raise InputError(f"{path}: a line has no problem or no text, so it is no sample: {str(row)[:80]}")
        if problem in wanted and row.get("mode") == mode and not row.get("greedy"):
            reward = number(row.get("reward"))
            # a verdict that failed counts as 0 in the score
            distance = abs((reward or 0.0) - wanted[problem])
            if problem not in found or distance < found[problem][0]:
                found[problem] = (distance, _sample(row, prompts.get(problem, "")))
    return Stored({problem: sample for problem, (_, sample) in found.items()}, tokens)


def _sample(row: Mapping[str, Any], prompt: str) -> Sample:
    tokens = number(row.get("tokens"))
    return Sample(
        step=int(number(row.get("sample")) or 0),
        problem=text(row.get("problem")),
        domain="",
        mode=text(row.get("mode")),
        prompt=prompt,
        reply=text(row.get("text")),
        reward=number(row.get("reward")),
        outcome=text(row.get("outcome")),
        note=text(row.get("note")),
        tokens=None if tokens is None else int(tokens),
        stop=text(row.get("stop")),
    )


def read_prompts(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """What was asked in these problems, as text."""
    return {text(row.get("id")): _asked(row) for row in json_lines(path) if row.get("id") in wanted}


def _asked(row: Mapping[str, Any]) -> str:
    messages = [as_mapping(message) for message in as_list(row.get("messages"))]
    if len(messages) == 1:
        return text(messages[0].get("content"))
    return "\n\n".join(f"{text(m.get('role'))}: {text(m.get('content'))}" for m in messages)
