"""Sample replies in this process: all prompts of a step at once, spread over the workers.

See `drawing` for how tokens are drawn, each row by its own generator, and `decoding` for how rows share a
worker's steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cascade_rl.model.cost import Work, decode_work, prefill_work
from cascade_rl.model.free_memory import own_bytes, shared_bytes
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.model.worker import Worker
from cascade_rl.protocols import Finished, Sampling
from cascade_rl.rollout.decoders import decode
from cascade_rl.rollout.decoding import STEP_BYTES, Job, slots_for
from cascade_rl.rollout.drawing import Draw, Wanted, prompt_ids, rollout_of, row_key
from cascade_rl.rollout.streaming import Ask, Heard, Part, Step, Watched, WatchedDraw
from cascade_rl.types import Problem, Rollout

CACHE_BYTES = 1 << 31  # keys and values of all workers together on a CPU: 2 GiB
# Of drawing one reply, in tokens of prefill, since nobody knows beforehand how long it will be. Only how
# prompts are spread over workers rests on it.
REPLY_COST = 30.0


class TorchSampler:
    """A `Sampler` over the model `name` of the replicas; a worker decodes `max_rows` at once at most."""

    def __init__(
        self, replicas: Replicas, tokenizer: Tokenizer, name: str = "policy", max_rows: int = 256
    ) -> None:
        self.replicas, self.tokenizer, self.name, self.max_rows = replicas, tokenizer, name, max_rows

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`sampling.n` rollouts a problem; raises InputError for a prompt over `max_prompt_tokens`."""
        return self._sample([(problems, sampling)], finished)[0]

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """Several requests in one go: `sample` of each, decoded together."""
        return self._sample(asked, None)

    def _sample(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]], finished: Finished | None
    ) -> list[list[tuple[Rollout, ...]]]:
        """`finished` hears of the groups of a single request."""
        groups = [
            _Group(number, place, problem, sampling, prompt_ids(self.tokenizer, problem, sampling))
            for number, (problems, sampling) in enumerate(asked)
            for place, problem in enumerate(problems)
        ]
        shards = _shards(groups, self.replicas.size)
        arguments = [
            (self.name, prompts, wanted, self.tokenizer.eos_ids, self.max_rows)
            for prompts, _, wanted in shards
        ]
        found: list[list[tuple[Rollout, ...]]] = [[()] * len(problems) for problems, _ in asked]

        # in the thread that reads the worker's pipe; every group has a place of its own in `found`
        def heard(rank: int, part: tuple[int, list[Drawn]]) -> None:
            group = shards[rank][1][part[0]]
            rollouts = tuple(rollout_of(self.tokenizer, group.prompt, *row) for row in part[1])
            found[group.request][group.place] = rollouts
            if finished:
                finished(group.place, rollouts)

        for before, after in self.replicas.map(generate, arguments, heard):
            self.replicas.count("prefill", before)
            self.replicas.count("decode", after)
        return found

    def stream(self, asked: Sequence[Ask], heard: Heard) -> None:
        """The replies of `sample_many`, told token by token; who is heard no longer wastes no further steps.

        A reply's last token is an end mark (`Tokenizer.eos_ids`), or its `max_new_tokens`-th.
        """
        groups = [_Group(n, 0, ask.problem, ask.sampling, ask.prompt) for n, ask in enumerate(asked)]
        shards = _shards(groups, self.replicas.size)
        watched = [Watched.of([asked[own[w.group].request].top for w in rows]) for _, own, rows in shards]
        arguments = [
            (self.name, prompts, wanted, self.tokenizer.eos_ids, self.max_rows, each)
            for (prompts, _, wanted), each in zip(shards, watched, strict=True)
        ]

        def told(rank: int, step: Any) -> None:
            if not isinstance(step, Step):  # whole groups: all of their tokens were told
                return
            (_, own, wanted), over = shards[rank], watched[rank].over
            # some may have been under way when their row was ended
            rows = [(row, token) for row, token in step.rows if not over[row]]
            parts = [Part(own[wanted[row].group].request, wanted[row].index, token) for row, token in rows]
            for (row, _), goes_on in zip(rows, heard(parts), strict=True):
                over[row] = not goes_on

        self.replicas.map(generate, arguments, told)


Drawn = tuple[list[int], list[float]]  # ids of a reply, and their log-probabilities


@dataclass(frozen=True, slots=True)
class _Group:
    """The replies to one problem: of which request, and at which place of it."""

    request: int
    place: int
    problem: Problem
    sampling: Sampling
    prompt: tuple[int, ...]

    def wanted(self, group: int, prompt: int) -> list[Wanted]:
        """Its replies, as a worker is asked for them: with the numbers that group and prompt have there."""
        rule, limit = self.sampling.rule, self.sampling.max_new_tokens
        key = row_key(self.problem, self.sampling)
        return [Wanted(group, prompt, rule, limit, key, index) for index in range(self.sampling.n)]


# A worker's prompts, its groups, and their replies.
Shard = tuple[list[tuple[int, ...]], list[_Group], list[Wanted]]


def _shards(groups: Sequence[_Group], size: int) -> list[Shard]:
    """The groups of each worker; equal prompts stay together, so that each is computed once."""
    by_prompt: dict[tuple[int, ...], list[_Group]] = {}
    for group in groups:
        by_prompt.setdefault(group.prompt, []).append(group)
    prompts = list(by_prompt)
    # equal prompts of several groups: the sampled and the greedy request of a benchmark, say
    costs = [len(p) + sum(REPLY_COST * group.sampling.n for group in by_prompt[p]) for p in prompts]
    found: list[Shard] = []
    for shard in deal(range(len(prompts)), costs, size):
        own = [prompts[number] for number in shard]
        mine = [(number, group) for number, prompt in enumerate(own) for group in by_prompt[prompt]]
        wanted = [w for member, (number, group) in enumerate(mine) for w in group.wanted(member, number)]
        found.append((own, [group for _, group in mine], wanted))
    return found


def generate(
    worker: Worker,
    name: str,
    prompts: Sequence[Sequence[int]],
    wanted: Sequence[Wanted],
    eos_ids: Sequence[int],
    max_rows: int,
    watched: Watched | None = None,
) -> tuple[Work, Work]:
    """Runs in a worker: reports each group once it is done, as (number, rows of ids and log-probabilities).

    With `watched` it reports a `Step` after each step, too. Returns what prefill and decoding had to do.
    """
    model, limits = worker.models[name], [w.limit for w in wanted]
    if not wanted:
        return Work(), Work()
    lengths = [0] * len(wanted)
    missing = Counter(w.group for w in wanted)
    rows: dict[int, dict[int, Drawn]] = {group: {} for group in missing}

    def ended(row: int, ids: list[int], logprobs: list[float]) -> None:
        group, done = wanted[row].group, rows[wanted[row].group]
        done[wanted[row].index] = (ids, logprobs)
        lengths[row] = len(ids)
        if len(done) == missing[group]:  # rows end in any order, and are reported in that of their indices
            worker.report((group, [done[index] for index in range(len(done))]))
            del rows[group]

    memory, beside = CACHE_BYTES // worker.size, 0
    if worker.device.type == "cuda":
        # Half of what is free: prefills and logits need room beside the cache. What torch freed and keeps for
        # itself counts: without it the slots would shrink after the first update, and bits with them.
        memory = int(shared_bytes(worker.device) + own_bytes(worker.device)) // 2
        beside = STEP_BYTES * model.config.vocab  # a captured step keeps its memory from prefills
    columns = max(map(len, prompts)) + max(limits)
    slots = slots_for(model.config, columns, model.dtype, max_rows, memory, beside)
    with torch.inference_mode():
        draw = Draw(wanted, worker.device)
        if watched:
            draw = WatchedDraw(wanted, worker.device, watched, eos_ids, worker.report)
        waits = draw.waits(model.config.vocab)
        job = Job(prompts, [w.prompt for w in wanted], limits, eos_ids, draw, ended, waits)
        decode(model.weights, model.config, job, slots, worker.device)
    sizes, element = [len(p) for p in prompts], model.dtype.itemsize
    later = decode_work(model.config, [sizes[w.prompt] for w in wanted], lengths, slots, element)
    return prefill_work(model.config, sizes, element), later
