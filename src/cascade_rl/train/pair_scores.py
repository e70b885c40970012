"""What a reward model says of pairs whose better answer is known: scores, accuracy, loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cascade_rl.train.heldout_loss import HeldoutLoss
from cascade_rl.train.learned_reward import LearnedReward, scored
from cascade_rl.types import Pair

Scores = Sequence[tuple[float, float]]  # of chosen and rejected


def distinct(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs without those that came before."""
    return list({(pair.problem.id, pair.chosen, pair.rejected): pair for pair in pairs}.values())


def pair_scores(reward: LearnedReward, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """The scores of (chosen, rejected) of each pair."""
    asked = [(pair.problem.messages, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    scores = reward.score_batch([scored(ids) for ids in reward.tokenizer.answered_all(asked)])
    return list(zip(scores[::2], scores[1::2], strict=True))


def pair_accuracy(reward: LearnedReward, pairs: Sequence[Pair]) -> float:
    """The share of held-out pairs whose chosen answer scores higher; a tie is half."""
    return _mean(wins(pair_scores(reward, pairs)))


def preference_loss(reward: LearnedReward, pairs: Sequence[Pair], every: int) -> HeldoutLoss:
    """Bradley-Terry's loss on pairs that are not trained on, and how many of them are ranked right."""

    def measure() -> dict[str, float]:
        found = pair_scores(reward, pairs)
        # ln(1 + e^-x) without overflow
        losses = [max(b - a, 0.0) + math.log1p(math.exp(-abs(a - b))) for a, b in found]
        return {"loss": math.fsum(losses) / len(losses), "accuracy": _mean(wins(found))}

    return HeldoutLoss(every, f"{len(pairs)} held-out pairs", measure)


def wins(scores: Scores) -> list[float]:
    """Of each pair whether the first scores higher: 1 or 0, a half for a tie."""
    return [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in scores]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
