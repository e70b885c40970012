"""What samplers share: prompts as ids, replies as rollouts, and how a token is drawn from logits by a rule.

Each row draws from its own counter-based generator (Philox, keyed by seed, problem, mode and index), so a
reply depends on the weights and its prompt, not on its neighbours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model import kernels
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.types import Problem, Rollout, Stop

# How many of the likeliest tokens are looked at before all are, where a filter keeps few.
FIRST = (32, 256, 2048)
FIRST_ON_GPU = (1024,)


def prompt_ids(tokenizer: Tokenizer, problem: Problem, sampling: Sampling) -> tuple[int, ...]:
    """The ids of a prompt; raises InputError when they are over `max_prompt_tokens`."""
    # never cut: what is left of a problem would be another one, and its answer wrong
    prompt = tokenizer.prompt(problem)
    if len(prompt) > sampling.max_prompt_tokens:
        raise InputError(
            f"{problem.id}: the prompt has {len(prompt)} tokens, over {sampling.max_prompt_tokens}"
        )
    return tuple(prompt)


def rollout_of(
    tokenizer: Tokenizer, prompt: tuple[int, ...], ids: Sequence[int], logprobs: Sequence[float]
) -> Rollout:
    """What was sampled, with its text, and whether it ended or met the limit."""
    # by the id and not by the length: a reply may end on the last token that it is allowed
    ended = bool(ids) and ids[-1] in tokenizer.eos_ids
    text = tokenizer.decode(ids, prompt)
    return Rollout(prompt, tuple(ids), tuple(logprobs), text, Stop.END if ended else Stop.LENGTH)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reply that a worker makes.

    group   to whose report it belongs, among the worker's groups
    prompt  its number among the worker's prompts
    limit   the most tokens that it may have
    key     with `index`, its place in the group, what its generator is keyed by
    """

    group: int
    prompt: int
    rule: SamplingRule
    limit: int
    key: str
    index: int


def row_key(problem: Problem, sampling: Sampling) -> str:
    """What the generators of a problem's rows are keyed by, beside their index."""
    return "/".join(map(str, (*sampling.seed, problem.id, problem.mode)))


def row_seed(key: str, index: int) -> int:
    """128 bits, the size of a Philox key, that belong to row `index` of `key`."""
    return int.from_bytes(hashlib.blake2b(f"{key}/{index}".encode(), digest_size=16).digest(), "big")


def uniforms(key: str, index: int, count: int) -> np.ndarray:
    """`count` uniform numbers of the generator that belongs to row `index` of `key`."""
    return np.random.Generator(np.random.Philox(key=row_seed(key, index))).random(count)


class Draw:
    """Turns logits into ids and their log-probabilities, each row by its own rule and random numbers.

    A row's uniforms are made for its whole length at once, [rows + 1, longest] float64: so token t of a row
    takes the t-th number, whatever step of the decoding that is.
    """

    def __init__(self, wanted: Sequence[Wanted], device: torch.device) -> None:
        self.rules = list(dict.fromkeys(w.rule for w in wanted))
        self.rule = torch.tensor([*(self.rules.index(w.rule) for w in wanted), 0], device=device)
        u = np.zeros((len(wanted) + 1, max(w.limit for w in wanted)))  # the last for slots without a row
        for row, w in enumerate(wanted):
            if w.rule.temperature > 0:
                u[row, : w.limit] = uniforms(w.key, w.index, w.limit)
        self.u = torch.from_numpy(u).to(device)

    def waits(self, vocab: int) -> bool:
        """Whether it waits for a GPU: the set of a rule may be larger than what is looked at first."""
        return vocab > FIRST_ON_GPU[0] and any(
            rule.temperature > 0 and rule.truncates(vocab) and not 0 < rule.top_k < vocab
            for rule in self.rules
        )

    def __call__(self, logits: Tensor, rows: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        u = self.u[rows, steps]
        if len(self.rules) == 1:  # as in training; a benchmark decodes greedy and sampled rows side by side
            return choose(logits, u, self.rules[0])
        ids, logprobs = torch.zeros_like(rows), torch.zeros_like(u, dtype=torch.float32)
        rule = self.rule[rows]
        for number, each in enumerate(self.rules):
            if (
                logits.is_cuda
            ):  # all rows by each rule: to know which rows are whose would wait for the device
                drawn = choose(logits, u, each)
                ids = torch.where(rule == number, drawn[0], ids)
                logprobs = torch.where(rule == number, drawn[1], logprobs)
                continue
            mine = (rule == number).nonzero()[:, 0]
            if len(mine):
                ids[mine], logprobs[mine] = choose(logits[mine], u[mine], each)
        return ids, logprobs


def choose(logits: Tensor, u: Tensor, rule: SamplingRule) -> tuple[Tensor, Tensor]:
    """Ids [r] where the cumulative distribution passes u [r], and their log-probabilities; greedy at 0.

    `logits` [r, V] are fp32. A log-probability is that of the distribution drawn from, after all filters:
    what the trainer's ratio divides by.
    """
    if rule.temperature == 0:  # of the plain distribution: at temperature 0 every one would be 0
        best, ids = logits.max(-1)
        return ids, best - logits.logsumexp(-1)
    vocab = logits.shape[-1]
    if (
        not rule.truncates(vocab)
        and logits.dtype is torch.float32
        and kernels.usable(logits.device, logits.dtype)
    ):
        return kernels.draw(logits, u, rule.temperature)
    p = (logits / rule.temperature).softmax(-1)
    if not rule.truncates(vocab):
        ids = _invert(p, u)
        return ids, p.gather(-1, ids[:, None])[:, 0].log()
    # with min-p alone: a running sum of many small shares may reach 1 too early
    top_p = math.inf if rule.min_p and rule.top_p >= 1 else rule.top_p
    return _choose_among_few(p, u, top_p, rule.top_k if 0 < rule.top_k < vocab else vocab, rule.min_p)


def _invert(mass: Tensor, u: Tensor) -> Tensor:
    """The first place [r] where the running sum of mass [r, V] exceeds u times its total."""
    # double: in fp32 the running sum of a large vocabulary would swallow the small shares at its end
    total = mass.double().cumsum(-1)
    threshold = (u * total[:, -1])[:, None]
    # `right`: strictly above, so that a place without mass is never drawn, not even by u = 0
    found = torch.searchsorted(total, threshold, right=True)[:, 0]
    return found.clamp_(max=mass.shape[-1] - 1)


def _choose_among_few(p: Tensor, u: Tensor, top_p: float, top_k: int, min_p: float) -> tuple[Tensor, Tensor]:
    """Draw among the `top_k` likeliest after top-p and min-p: ids [r] and log-probabilities [r].

    The set is the fewest whose share of the `top_k`'s mass reaches `top_p`, without those below `min_p` times
    the likeliest, renormalised. These are nearly always a handful, and the largest few are cheap to find:
    rows that need more are looked at again with more.
    """
    ids = torch.zeros(len(p), dtype=torch.long, device=p.device)
    logprobs = torch.zeros(len(p), device=p.device)
    # a GPU begins with more, so that it nearly always answers at once: each answer is waited for
    first = FIRST_ON_GPU if p.is_cuda else FIRST
    left: Tensor | slice = slice(None)
    widths = (*(width for width in first if width < p.shape[-1]), p.shape[-1])
    for width in widths if top_k == p.shape[-1] else (top_k,):
        mass, index = p[left].topk(width, -1)
        if width == top_k:  # top-p is a share of what top-k left, as in transformers
            mass = mass / mass.sum(-1, keepdim=True)
        running = mass.cumsum(-1)  # [left, width], from the likeliest on
        enough = mass >= min_p * mass[:, :1]
        # the set is known once it has its share, or all were looked at, or min-p drops the last one seen
        done = (running[:, -1] >= top_p) | (width >= top_k) | ~enough[:, -1]
        index, order = index.sort(-1)  # by id, so that a draw means the same however many were looked at
        # less its own mass: the one that crosses `top_p` is inside
        kept = (mass * ((running - mass < top_p) & enough)).gather(-1, order)
        place = _invert(kept, u[left])[:, None]
        share = kept.gather(-1, place) / kept.sum(-1, keepdim=True)
        # those that are not done yet are written over by a later round
        ids[left], logprobs[left] = index.gather(-1, place)[:, 0], share[:, 0].log()
        if width >= top_k:
            break
        open_rows = (~done).nonzero()[:, 0]
        if not len(open_rows):
            break
        left = open_rows if isinstance(left, slice) else left[open_rows]
    return ids, logprobs
