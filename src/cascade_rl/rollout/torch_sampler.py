"""Sample replies with our own decoder: prompts prefilled once a group, one growing key-value cache.

Each row draws from its own counter-based generator (Philox, keyed by seed, problem, mode and index), so a reply
depends on the weights and its prompt, not on its neighbours. Rows that ended leave the cache whenever it grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.decoder import DecoderConfig, grouped_attention, head_logits, hidden_states, truncate
from cascade_rl.model.replicas import Replicas, Worker, deal
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Finished, Sampling
from cascade_rl.types import Problem, Rollout, Stop

BLOCK = 16  # columns by which the cache grows; then rows that ended are dropped


class TorchSampler:
    """A `Sampler` over the model `name` of the replicas."""

    def __init__(self, replicas: Replicas, tokenizer: Tokenizer, name: str = "policy", max_rows: int = 256) -> None:
        self.replicas, self.tokenizer, self.name, self.max_rows = replicas, tokenizer, name, max_rows

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`sampling.n` rollouts a problem; raises ValueError for a prompt over `max_prompt_tokens`."""
        prompts = [self.tokenizer.prompt(p) for p in problems]
        for problem, prompt in zip(problems, prompts, strict=True):
            if len(prompt) > sampling.max_prompt_tokens:
                raise ValueError(
                    f"{problem.id}: the prompt has {len(prompt)} tokens, over {sampling.max_prompt_tokens}"
                )
        shards = deal(range(len(problems)), [len(p) + 30 for p in prompts], self.replicas.size)
        rule = (sampling.n, sampling.max_new_tokens, sampling.temperature, sampling.top_p, sampling.top_k)
        arguments = [
            (self.name, [prompts[i] for i in shard], [_key(problems[i], sampling) for i in shard], rule,
             self.tokenizer.eos_ids, self.max_rows)
            for shard in shards
        ]  # fmt: skip
        found: list[tuple[Rollout, ...]] = [()] * len(problems)

        def heard(rank: int, part: tuple[int, list]) -> None:
            index, rows = shards[rank][part[0]], part[1]
            found[index] = tuple(self._rollout(prompts[index], *row) for row in rows)
            if finished:
                finished(index, found[index])

        self.replicas.map(generate, arguments, heard)
        return found

    def _rollout(self, prompt: list[int], ids: list[int], logprobs: list[float]) -> Rollout:
        ended = bool(ids) and ids[-1] in self.tokenizer.eos_ids
        text = self.tokenizer.decode(ids)
        return Rollout(tuple(prompt), tuple(ids), tuple(logprobs), text, Stop.END if ended else Stop.LENGTH)


def _key(problem: Problem, sampling: Sampling) -> str:
    return "/".join(str(part) for part in (*sampling.seed, problem.id, problem.mode))


def uniforms(key: str, index: int, count: int) -> np.ndarray:
    """`count` uniform numbers of the generator that belongs to row `index` of `key`."""
    digest = hashlib.blake2b(f"{key}/{index}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big"))).random(count)


def generate(worker: Worker, name: str, prompts, keys, rule, eos_ids, max_rows) -> None:
    """Runs in a worker: reports for each prompt, as soon as it is done, (its number, `n` rows of ids and log-probabilities)."""
    n, max_new, temperature, top_p, top_k = rule
    model = worker.models[name]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    per_wave = max(1, max_rows // n)
    with torch.inference_mode():
        for first in range(0, len(order), per_wave):
            wave = order[first : first + per_wave]
            u = np.stack([uniforms(keys[i], j, max_new) for i in wave for j in range(n)]) if temperature > 0 else None
            draw = _Draw(u, temperature, top_p, top_k)
            rows = _decode(
                model.weights, model.config, [prompts[i] for i in wave], n, max_new, draw, eos_ids, worker.device
            )
            for position, i in enumerate(wave):
                worker.report((i, rows[position * n : (position + 1) * n]))


class _Draw:
    """Turns logits into ids and their log-probabilities; inverse of the cumulative distribution at u."""

    def __init__(self, u: np.ndarray | None, temperature: float, top_p: float, top_k: int) -> None:
        self.u, self.rule = u, (temperature, top_p, top_k)

    def __call__(self, logits: Tensor, rows: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if self.u is None:
            ids = logits.argmax(-1)
            return ids, logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        logprobs = truncate(logits, *self.rule)
        mass = logprobs.double().exp().cumsum(-1)
        u = torch.from_numpy(self.u[:, step].copy()).to(logits.device)[rows]
        ids = (mass <= (u * mass[:, -1])[:, None]).sum(-1).clamp(max=logits.shape[-1] - 1)
        return ids, logprobs.gather(-1, ids[:, None])[:, 0]


class _Cache:
    """Keys and values of all layers, [B, K, S, D] each, with an additive mask [B, 1, S] over the columns."""

    def __init__(self, layers: int, mask: Tensor) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.mask = mask
        self.column = 0

    def fill(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Prefill: keep keys and values, attend causally among the real tokens of each left-padded prompt."""
        self.keys[layer], self.values[layer] = k, v
        length = q.shape[2]
        causal = torch.full((length, length), -torch.inf, device=q.device).triu(1).to(q.dtype)
        # a padding query sees only itself: a row without any visible column would be NaN
        mask = (self.mask + causal).masked_fill(torch.eye(length, dtype=torch.bool, device=q.device), 0.0)
        return grouped_attention(q, k, v, mask)

    def step(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Decode: write one column, attend over all of them."""
        self.keys[layer][:, :, self.column] = k[:, :, 0]
        self.values[layer][:, :, self.column] = v[:, :, 0]
        return grouped_attention(q, self.keys[layer], self.values[layer], self.mask)

    def resize(self, rows: Tensor, extra: int) -> None:
        """Keep these rows, in this order, and add hidden columns."""

        def grow(t: Tensor) -> Tensor:
            return torch.cat((t[rows], t.new_zeros(len(rows), t.shape[1], extra, t.shape[3])), 2)

        self.keys = [grow(t) for t in self.keys]
        self.values = [grow(t) for t in self.values]
        hidden = self.mask.new_full((len(rows), 1, extra), -torch.inf)
        self.mask = torch.cat((self.mask[rows], hidden), -1)


def _prefill(weights, config: DecoderConfig, prompts, device) -> tuple[_Cache, Tensor, Tensor]:
    """The cache, the logits after each prompt [P, V] and the prompts' lengths [P]."""
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    width = int(lengths.max())
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    columns = torch.arange(width, device=device)
    pad = width - lengths
    mask = torch.zeros(len(prompts), 1, width, dtype=weights["0.o"].dtype, device=device)
    mask.masked_fill_((columns < pad[:, None])[:, None], -torch.inf)
    cache = _Cache(config.layers, mask)
    positions = (columns - pad[:, None]).clamp(min=0)
    hidden = hidden_states(weights, config, ids, positions, cache.fill)
    cache.column = width
    return cache, head_logits(weights, hidden[:, -1]), lengths


def _decode(weights, config, prompts, n: int, max_new: int, draw: _Draw, eos_ids, device) -> list[tuple[list, list]]:
    cache, logits, lengths = _prefill(weights, config, prompts, device)
    rows = torch.arange(len(prompts) * n, device=device)  # which output row each cache row belongs to
    cache.resize(rows // n, min(BLOCK, max_new))
    logits, positions = logits[rows // n], lengths[rows // n]
    ids_out = torch.zeros(len(rows), max_new, dtype=torch.long, device=device)
    logprobs_out = torch.zeros(len(rows), max_new, device=device)
    counts = torch.zeros(len(rows), dtype=torch.long, device=device)
    eos = torch.tensor(eos_ids, device=device)
    alive = torch.ones(len(rows), dtype=torch.bool, device=device)
    for step in range(max_new):
        ids, logprobs = draw(logits, rows, step)
        ids_out[rows, step], logprobs_out[rows, step] = ids, logprobs.float()
        counts[rows[alive]] = step + 1
        alive &= ~torch.isin(ids, eos)
        if step + 1 == max_new or not bool(alive.any()):
            break
        if cache.column == cache.mask.shape[-1]:
            keep = alive.nonzero()[:, 0]
            cache.resize(keep, min(BLOCK, max_new - step - 1))
            rows, ids, positions, alive = rows[keep], ids[keep], positions[keep], alive[keep]
        cache.mask[:, :, cache.column] = 0
        hidden = hidden_states(weights, config, ids[:, None], positions[:, None], cache.step)
        logits = head_logits(weights, hidden[:, 0])
        cache.column += 1
        positions = positions + 1
    ids_list, logprob_list, ends = ids_out.tolist(), logprobs_out.tolist(), counts.tolist()
    return [(ids_list[i][:end], logprob_list[i][:end]) for i, end in enumerate(ends)]
