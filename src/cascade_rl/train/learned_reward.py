"""A reward model at work: it scores answers for RL, many in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from safetensors import SafetensorError

from cascade_rl.errors import InputError, StageError
from cascade_rl.model.checkpoint import load_reward_directory, read_config, weights_hash
from cascade_rl.model.network import Network
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.model.reward_reader import RewardReader
from cascade_rl.rollout.world import World
from cascade_rl.train.batch import Row
from cascade_rl.train.scalar_head import score_rows
from cascade_rl.train.stage_run import Exported
from cascade_rl.types import Message

SCORE_TOKENS = 4096  # that a worker scores at once, as a micro-batch of training by default
MODEL = "reward"  # its name among the models of the workers


class Reader(Protocol):
    """What makes ids of a conversation with an answer: a tokenizer with its template."""

    def answered(self, messages: Sequence[Message], answer: str) -> list[int]:
        """Ids up to the token off which the score is read."""
        ...

    def answered_all(self, asked: Sequence[tuple[Sequence[Message], str]]) -> list[list[int]]:
        """`answered` of many."""
        ...


def head_shape(config: Network) -> dict[str, tuple[int, int]]:
    """What a reward model has beside a decoder: one row that reads a score off the last hidden state."""
    return {"score": (1, config.hidden)}


def serve(world: World, exported: Exported, name: str = MODEL) -> LearnedReward:
    """Give the workers a reward model that was exported; who asked drops the model `name` again.

    Raises StageError when it can't be read or is not the one that the ledger recorded.
    """
    mend = f"restore it, or move {exported.path.parent} away: its stage is then trained anew"
    if exported.weights is None and exported.apart:
        mend = "name another one, or mend it"
    config: Network = world.config
    reader: Reader = world.tokenizer
    try:
        if exported.apart:
            config = read_config(exported.path)[1]
            reader = RewardReader(exported.path, config.max_positions)
        flat = load_reward_directory(exported.path, config)
    # SafetensorError: a file that was cut; KeyError: one without a score head
    except (OSError, SafetensorError, KeyError, InputError) as error:
        raise StageError(f"{exported.path} can't be read as a reward model ({error}); {mend}") from None
    if exported.weights not in (None, weights_hash(flat)):
        raise StageError(
            f"{exported.path} is not what the ledger recorded (its weights' checksum differs); {mend}"
        )
    world.replicas.add_model(name, config, flat, train=False, extra=head_shape(config))
    return LearnedReward(world.replicas, reader, name)


def reward_row(tokenizer: Reader, messages: Sequence[Message], answer: str) -> Row:
    """What the reward model reads: the conversation in instruct mode, up to the end mark of the answer."""
    return scored(tokenizer.answered(messages, answer))


def scored(ids: Sequence[int]) -> Row:
    """A row that is scored at its end."""
    return Row.of(ids, [], 0.0)  # all of it prompt: no token is a target, only the last state is read


class LearnedReward:
    """A `RewardModel` over the model `name` of the replicas; concurrent calls are scored as one batch."""

    def __init__(self, replicas: Replicas, tokenizer: Reader, name: str = MODEL) -> None:
        self.replicas, self.tokenizer, self.name = replicas, tokenizer, name
        self._waiting: list[tuple[Row, asyncio.Future[float]]] = []

    async def score(self, messages: Sequence[Message], answer: str) -> float:
        """The score of one answer; waits until everything else that is ready has asked too."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        self._waiting.append((reward_row(self.tokenizer, messages, answer), future))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)  # behind the tasks that are ready: all of them have asked by then
        return await future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            scores = self.score_batch([row for row, _ in waiting])
        except Exception as error:  # handed to every caller, who raises it; else they would wait for ever
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
