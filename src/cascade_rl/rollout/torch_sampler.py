"""Sample replies with our own decoder: all prompts of a step at once, spread over the workers.

Each row draws from its own counter-based generator (Philox, keyed by seed, problem, mode and index), so a
reply depends on the weights and its prompt, not on its neighbours. How rows share a worker's steps: see
`decoding`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.cost import Work, decode_work, prefill_work
from cascade_rl.model.products import laid_out
from cascade_rl.model.replicas import Replicas, deal
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.model.worker import Worker
from cascade_rl.protocols import Finished, Sampling, SamplingRule
from cascade_rl.rollout.decoding import Decoding, Job, slots_for
from cascade_rl.types import Problem, Rollout, Stop

CACHE_BYTES = 1 << 31  # keys and values of all workers together
# Of drawing one reply, in tokens of prefill; only how prompts are spread over workers rests on it.
REPLY_COST = 30.0


class TorchSampler:
    """A `Sampler` over the model `name` of the replicas; `max_rows` is the most
    that a worker decodes at once.
    """

    def __init__(
        self, replicas: Replicas, tokenizer: Tokenizer, name: str = "policy", max_rows: int = 256
    ) -> None:
        self.replicas, self.tokenizer, self.name, self.max_rows = replicas, tokenizer, name, max_rows

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`sampling.n` rollouts a problem; raises ValueError for a prompt over `max_prompt_tokens`."""
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

        def heard(rank: int, part: tuple[int, list[Drawn]]) -> None:
            group = shards[rank][1][part[0]]
            rollouts = tuple(rollout_of(self.tokenizer, group.prompt, *row) for row in part[1])
            found[group.request][group.place] = rollouts
            if finished:
                finished(group.place, rollouts)

        for prefill, decode in self.replicas.map(generate, arguments, heard):
            self.replicas.count("prefill", prefill)
            self.replicas.count("decode", decode)
        return found


def prompt_ids(tokenizer: Tokenizer, problem: Problem, sampling: Sampling) -> tuple[int, ...]:
    """The ids of a prompt; raises ValueError when they are over `max_prompt_tokens`."""
    prompt = tokenizer.prompt(problem)
    if len(prompt) > sampling.max_prompt_tokens:
        raise ValueError(
            f"{problem.id}: the prompt has {len(prompt)} tokens, over {sampling.max_prompt_tokens}"
        )
    return tuple(prompt)


def rollout_of(
    tokenizer: Tokenizer, prompt: tuple[int, ...], ids: Sequence[int], logprobs: Sequence[float]
) -> Rollout:
    """What was sampled, with its text, and whether it ended or met the limit."""
    ended = bool(ids) and ids[-1] in tokenizer.eos_ids
    return Rollout(
        prompt, tuple(ids), tuple(logprobs), tokenizer.decode(ids), Stop.END if ended else Stop.LENGTH
    )


Drawn = tuple[list[int], list[float]]  # ids of a reply, and their log-probabilities


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reply that a worker makes: of which group, to which of its prompts, by
    which rule, how long, and its generator.
    """

    group: int
    prompt: int
    rule: SamplingRule
    limit: int
    key: str
    index: int


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
    """The groups of each worker; those with equal prompts stay together, so
    that each prompt is computed once.
    """
    by_prompt: dict[tuple[int, ...], list[_Group]] = {}
    for group in groups:
        by_prompt.setdefault(group.prompt, []).append(group)
    prompts = list(by_prompt)
    costs = [len(p) + sum(REPLY_COST * group.sampling.n for group in by_prompt[p]) for p in prompts]
    found: list[Shard] = []
    for shard in deal(range(len(prompts)), costs, size):
        own = [prompts[number] for number in shard]
        mine = [(number, group) for number, prompt in enumerate(own) for group in by_prompt[prompt]]
        wanted = [w for member, (number, group) in enumerate(mine) for w in group.wanted(member, number)]
        found.append((own, [group for _, group in mine], wanted))
    return found


def row_key(problem: Problem, sampling: Sampling) -> str:
    """What the generators of a problem's rows are keyed by, beside their index."""
    return "/".join(map(str, (*sampling.seed, problem.id, problem.mode)))


def row_seed(key: str, index: int) -> int:
    """128 bits that belong to row `index` of `key`."""
    return int.from_bytes(hashlib.blake2b(f"{key}/{index}".encode(), digest_size=16).digest(), "big")


def uniforms(key: str, index: int, count: int) -> np.ndarray:
    """`count` uniform numbers of the generator that belongs to row `index` of `key`."""
    return np.random.Generator(np.random.Philox(key=row_seed(key, index))).random(count)


def generate(
    worker: Worker,
    name: str,
    prompts: Sequence[Sequence[int]],
    wanted: Sequence[Wanted],
    eos_ids: Sequence[int],
    max_rows: int,
) -> tuple[Work, Work]:
    """Runs in a worker: reports each group as soon as it is done, as (its
    number, rows of ids and log-probabilities).

    Returns what the prefill and the decoding had to do.
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
        if len(done) == missing[group]:
            worker.report((group, [done[index] for index in range(len(done))]))
            del rows[group]

    memory = CACHE_BYTES // worker.size
    if worker.device.type == "cuda":
        memory = torch.cuda.mem_get_info(worker.device)[0] // 2
    slots = slots_for(model.config, max(map(len, prompts)) + max(limits), model.dtype, max_rows, memory)
    with torch.inference_mode(), laid_out(model.weights, layers=True):
        job = Job(prompts, [w.prompt for w in wanted], limits, eos_ids, Draw(wanted, worker.device), ended)
        Decoding(model.weights, model.config, job, slots, worker.device).run()
    sizes, element = [len(p) for p in prompts], model.dtype.itemsize
    decode = decode_work(model.config, [sizes[w.prompt] for w in wanted], lengths, slots, element)
    return prefill_work(model.config, sizes, element), decode


class Draw:
    """Turns logits into ids and their log-probabilities, each row by its own
    rule and its own random numbers.
    """

    def __init__(self, wanted: Sequence[Wanted], device: torch.device) -> None:
        self.rules = list(dict.fromkeys(w.rule for w in wanted))
        self.rule = torch.tensor([*(self.rules.index(w.rule) for w in wanted), 0], device=device)
        u = np.zeros((len(wanted) + 1, max(w.limit for w in wanted)))  # the last for slots without a row
        for row, w in enumerate(wanted):
            if w.rule.temperature > 0:
                u[row, : w.limit] = uniforms(w.key, w.index, w.limit)
        self.u = torch.from_numpy(u).to(device)

    def __call__(self, logits: Tensor, rows: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        u = self.u[rows, steps]
        if len(self.rules) == 1:
            return choose(logits, u, self.rules[0])
        ids, logprobs = torch.zeros_like(rows), torch.zeros_like(u, dtype=torch.float32)
        rule = self.rule[rows]
        for number, each in enumerate(self.rules):
            mine = (rule == number).nonzero()[:, 0]
            if len(mine):
                ids[mine], logprobs[mine] = choose(logits[mine], u[mine], each)
        return ids, logprobs


def choose(logits: Tensor, u: Tensor, rule: SamplingRule) -> tuple[Tensor, Tensor]:
    """Ids [r] where the cumulative distribution passes u [r], and their
    log-probabilities; greedy at temperature 0.
    """
    if rule.temperature == 0:
        best, ids = logits.max(-1)
        return ids, best - logits.logsumexp(-1)
    p = (logits / rule.temperature).softmax(-1)
    vocab = p.shape[-1]
    if not rule.truncates(vocab):
        ids = _invert(p, u)
        return ids, p.gather(-1, ids[:, None])[:, 0].log()
    # with min-p alone: a running sum of many small shares may reach 1 too early
    top_p = math.inf if rule.min_p and rule.top_p >= 1 else rule.top_p
    return _choose_among_few(p, u, top_p, rule.top_k if 0 < rule.top_k < vocab else vocab, rule.min_p)


def _invert(mass: Tensor, u: Tensor) -> Tensor:
    """The first place [r] where the running sum of mass [r, V] exceeds u times its total."""
    total = mass.double().cumsum(-1)
    return torch.searchsorted(total, (u * total[:, -1])[:, None], right=True)[:, 0].clamp_(
        max=mass.shape[-1] - 1
    )


def _choose_among_few(p: Tensor, u: Tensor, top_p: float, top_k: int, min_p: float) -> tuple[Tensor, Tensor]:
    """Among the `top_k` likeliest, the fewest whose share of their mass reaches `top_p`, without those below
    `min_p` times the likeliest, renormalised.

    These are nearly always a handful, and the largest few are cheap to find: rows that need more are looked
    at again with more.
    """
    ids = torch.zeros(len(p), dtype=torch.long, device=p.device)
    logprobs = torch.zeros(len(p), device=p.device)
    left = torch.arange(len(p), device=p.device)
    for width in (8, 64, p.shape[-1]) if top_k == p.shape[-1] else (top_k,):
        mass, index = p[left].topk(min(width, top_k), -1)
        if width == top_k:
            mass = mass / mass.sum(-1, keepdim=True)
        running = mass.cumsum(-1)
        enough = mass >= min_p * mass[:, :1]
        done = (running[:, -1] >= top_p) | (width >= top_k) | ~enough[:, -1]
        index, order = index.sort(-1)  # by id, so that a draw means the same however many were looked at
        kept = (mass * ((running - mass < top_p) & enough)).gather(-1, order)
        place = _invert(kept, u[left])[:, None]
        share = kept.gather(-1, place) / kept.sum(-1, keepdim=True)
        ids[left[done]], logprobs[left[done]] = index.gather(-1, place)[done, 0], share[done, 0].log()
        left = left[~done]
        if not len(left):
            break
    return ids, logprobs
