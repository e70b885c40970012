"""The reward model: the policy's body with a scalar head on the last token, trained on pairs (Bradley-Terry)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cascade_rl.errors import StageError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import RewardModelStage
from cascade_rl.train.batch import Row
from cascade_rl.train.learned_reward import LearnedReward, reward_row
from cascade_rl.train.learner import Learner, lr_factor
from cascade_rl.train.loop import StageRun, Steps, run_steps
from cascade_rl.train.sft import batch_at
from cascade_rl.types import Pair, StepReport


def train_reward_model(run: StageRun, pairs: Sequence[Pair]) -> int:
    """Run a reward-model stage over the model `run.model`, which has a `score` head."""
    stage: RewardModelStage = run.stage
    rows = _pair_rows(run.tokenizer, pairs)
    kept = [pair for pair in rows if max(len(r.ids) for r in pair) <= stage.max_tokens]
    if len(kept) < len(rows):
        run.on_note(
            f"{stage.name}: {len(rows) - len(kept)} of {len(rows)} pairs are longer than {stage.max_tokens} tokens"
        )
    if not kept:
        raise StageError(f"{stage.name}: no pair fits into max_tokens: {stage.max_tokens}; raise it")

    def one_step(step: int, learner: Learner) -> StepReport:
        begin = time.perf_counter()
        chosen = [kept[i] for i in batch_at(step, stage.batch_size, len(kept), f"{run.seed}/{stage.name}")]
        factor = lr_factor(stage, step, stage.planned_steps)
        metrics = learner.pair_step(chosen, factor) | {"lr": stage.lr * factor}
        return StepReport(step, metrics, {"update": time.perf_counter() - begin})

    return run_steps(run, Steps(one_step))


def _pair_rows(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[tuple[Row, Row]]:
    return [
        (
            reward_row(tokenizer, p.problem.messages, p.chosen),
            reward_row(tokenizer, p.problem.messages, p.rejected),
        )
        for p in pairs
    ]


def pair_accuracy(reward: LearnedReward, pairs: Sequence[Pair]) -> float:
    """The share of held-out pairs whose chosen answer scores higher; a tie is half."""
    rows = _pair_rows(reward.tokenizer, pairs)
    scores = reward.score_batch([row for pair in rows for row in pair])
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(scores[::2], scores[1::2], strict=True)]
    return sum(wins) / len(wins)
