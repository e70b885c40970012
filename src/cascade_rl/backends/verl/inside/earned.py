"""What a reply earns: its verdict, then the stage's rules for length and for foreign script.

The rules are those of `train/advantage.py`, written without torch or verl; a test holds one against the
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WHOLE_BATCH = "batch_min_minus_10"
# What a reply shall earn that only who sees the batch knows, see `advantage.py`: 10 less than its lowest, or
# as much as the lowest of its group.
NOTHING, UNDER_BATCH, LOWEST = range(3)


@dataclass(frozen=True)
class Rules:
    """The rules for replies that hit the limit: `mask`, `zero`, `score` or `penalty`, which has a buffer."""

    overlong: str
    limit: int
    buffer: int


def earned(answer: Mapping[str, Any], rules: Rules) -> tuple[float | None, int]:
    """The reward of an answer of the grading server, and what of its batch it shall earn instead.

    None: no grader could judge, or the reply is masked; it then does not count, whatever its script.
    """
    reward = answer["reward"]
    if reward is None:  # before the length: a fault of ours earns no 0 either
        return None, NOTHING
    if answer["stop"] == "length" and rules.overlong in ("mask", "zero"):
        reward = None if rules.overlong == "mask" else 0.0
    elif rules.overlong == "penalty":
        over = max(0, answer["tokens"] - (rules.limit - rules.buffer))
        reward -= min(1.0, over / rules.buffer)
    if reward is None:
        return None, NOTHING
    # a reward model's verdict on a text that has no answer in its mode (grading/learned.py)
    below = LOWEST if answer["parts"] == {"closed": 0.0} else NOTHING
    if not answer["foreign"] or answer["code_switch"] == "off":
        return reward, below
    if answer["code_switch"] == WHOLE_BATCH:
        return reward, UNDER_BATCH
    return float(answer["code_switch"]), below


def kept_line(answer: Mapping[str, Any], rules: Rules, step: int, index: int) -> dict[str, Any]:
    """The line that is stored of a graded reply: what `regrade` reads, and what the journal's numbers say.

    earned, below  as `earned` gives them; score: the reward model's, where it counts beside the reward
    """
    keys = ("text", "tokens", "stop", "reward", "outcome", "parts", "note")
    reward, below = earned(answer, rules)
    rule = {"earned": reward, "below": below, "score": beside(answer)}
    return {"step": step, "index": index, **{key: answer[key] for key in keys}, **rule}


def beside(answer: Mapping[str, Any]) -> float | None:
    """The reward model's score that counts beside a verifier's reward; None where none does."""
    return answer["parts"].get("reward_model") if answer["scored"] else None
