"""The reward model: the policy's body with a scalar head on the last token, trained on pairs (Bradley-Terry)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from cascade_rl import chat
from cascade_rl.domain import Domain, Services
from cascade_rl.grading import grade_all
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampler, Sampling
from cascade_rl.recipe import RewardModelStage
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner, lr_factor, score_rows
from cascade_rl.train.loop import StageError, StageRun, Steps, run_steps
from cascade_rl.train.sft import batch_at
from cascade_rl.types import Message, Mode, Problem, Split, StepReport

SCORE_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers (without reasoning) to one prompt."""

    problem: Problem
    chosen: str
    rejected: str


def preference_pairs(stage: RewardModelStage, domain: Domain, split: Split, count: int, seed: int) -> list[Pair]:
    """`count` pairs on prompts of a split; several on the same prompt when there are fewer prompts than pairs."""
    start = random.Random(f"{seed}/{stage.name}").getrandbits(32)
    problems = list(islice(domain.problems(stage.source, split, start), count))
    if not problems:
        raise StageError(f"{stage.name}: {stage.domain} has no prompts in the {split} split")
    if stage.pairs_from == "samples":  # the answers come from the policy, when the stage starts
        return [Pair(problem, "", "") for problem in problems]
    found = []
    for index in range(count):
        problem = problems[index % len(problems)]
        chosen, rejected = domain.pairs(problem, random.Random(f"{seed}/{stage.name}/{problem.id}/{index}"))
        found.append(Pair(problem, chosen, rejected))
    return found


def sampled_pairs(
    stage: RewardModelStage, domain: Domain, pairs: Sequence[Pair], sampler: Sampler, services: Services, seed: int
) -> list[Pair]:
    """Preference pairs by rule from the policy's own answers: its best against its worst on each prompt.

    Answers are ranked by how many of the benchmark's criteria they meet; prompts whose answers are all alike give no
    pair. Raises StageError when none does.
    """
    problems = [pair.problem.in_mode(Mode.INSTRUCT) for pair in pairs]
    sampling = Sampling(stage.sample_rollouts, stage.sample_tokens, seed=(seed, stage.name, "pairs"))
    groups = sampler.sample(problems, sampling)
    pairs = [(problem, rollout) for problem, group in zip(problems, groups, strict=True) for rollout in group]
    verdicts = iter(grade_all(domain.benchmark_grade, pairs, services))
    found = []
    for problem, group in zip(problems, groups, strict=True):
        judged = [next(verdicts) for _ in group]
        marks = [(v.reward, sum(v.parts.values())) for v in judged if v.reward is not None]
        if len(marks) == len(judged) and max(marks) > min(marks):
            best, worst = group[marks.index(max(marks))], group[marks.index(min(marks))]
            found.append(Pair(problem, best.text, worst.text))
    if not found:
        raise StageError(f"{stage.name}: on no prompt did the policy's {stage.sample_rollouts} answers differ by the rule of "
                         f"{domain.name}; set pairs_from: domain, or raise sample_rollouts")  # fmt: skip
    return found


def reward_row(tokenizer: Tokenizer, messages: Sequence[Message], answer: str) -> Row:
    """What the reward model reads: the conversation in instruct mode, up to the end mark of the answer."""
    ids = tokenizer.encode(chat.render(messages, Mode.INSTRUCT, reply=answer))
    return Row.of(ids, [], 0.0)


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
        (reward_row(tokenizer, p.problem.messages, p.chosen), reward_row(tokenizer, p.problem.messages, p.rejected))
        for p in pairs
    ]


def pair_accuracy(reward: LearnedReward, pairs: Sequence[Pair]) -> float:
    """The share of held-out pairs whose chosen answer scores higher; a tie is half."""
    rows = _pair_rows(reward.tokenizer, pairs)
    scores = reward.score_batch([row for pair in rows for row in pair])
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(scores[::2], scores[1::2], strict=True)]
    return sum(wins) / len(wins)


class LearnedReward:
    """A `RewardModel` over the model `name` of the replicas; concurrent calls are scored as one batch."""

    def __init__(self, replicas: Replicas, tokenizer: Tokenizer, name: str = "reward") -> None:
        self.replicas, self.tokenizer, self.name = replicas, tokenizer, name
        self._waiting: list[tuple[Row, asyncio.Future]] = []

    async def score(self, messages: Sequence[Message], answer: str) -> float:
        """The score of one answer; waits until everything else that is ready has asked too."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future = loop.create_future()
        self._waiting.append((reward_row(self.tokenizer, messages, answer), future))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)
        return await future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            scores = self.score_batch([row for row, _ in waiting])
        except Exception as error:  # handed to every caller, who raises it
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), score in zip(waiting, scores, strict=True):
            future.set_result(score)

    def score_batch(self, rows: Sequence[Row]) -> list[float]:
        """Scores of rows, spread over the workers; equal rows are scored once."""
        keys = [row.ids.tobytes() for row in rows]
        distinct = dict(zip(keys, rows, strict=True))
        unique = list(distinct.values())
        shards = deal(range(len(unique)), [float(len(r.ids)) for r in unique], self.replicas.size)
        arguments = [(self.name, [unique[i] for i in shard], SCORE_TOKENS) for shard in shards]
        found = dict.fromkeys(distinct, 0.0)
        order = list(found)
        for shard, scores in zip(shards, self.replicas.map(score_rows, arguments), strict=True):
            for index, score in zip(shard, scores, strict=True):
                found[order[index]] = score
        return [found[key] for key in keys]
