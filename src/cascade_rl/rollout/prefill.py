"""Prompts computed side by side, each once for all rows that ask it, and held until those have their slots.

Shapes: M tokens side by side, P prompts, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cascade_rl.model.decoder import DecoderConfig, head_logits, hidden_states, rotary
from cascade_rl.model.gpu_attention import attention
from cascade_rl.model.packed import Tree, pack

PREFILL_TOKENS = 8192  # prompts computed side by side: bounds the activations of one pass


@dataclass(frozen=True, slots=True)
class Prefilled:
    """P prompts that were computed, tokens M in all.

    logits        [P, V] after each prompt, fp32
    keys, values  [M, K, D] of each layer, in the pack's order
    places        [P, longest] where each prompt's tokens lie in that; beyond its length 0: never seen
    lengths       of the prompts, in tokens
    """

    logits: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    places: Tensor
    lengths: list[int]


def prefill(
    weights: Mapping[str, Tensor],
    config: DecoderConfig,
    prompts: Sequence[Sequence[int]],
    device: torch.device,
) -> Prefilled:
    """Compute prompts side by side, without padding; only last tokens go through the whole last layer."""
    # the last token as the branch of a tree: all that comes after the prompt hangs on it alone
    arrays = [np.asarray(p, np.int64) for p in prompts]
    packed = pack([Tree(ids[:-1], (ids[-1:],)) for ids in arrays], device)
    attends = attention(packed, config.heads, config.kv_heads, config.window)
    keys, values = [], []

    def attend(layer: int, qkv: Tensor, last: bool) -> Tensor:
        _, k, v = torch.split(qkv, [config.heads, config.kv_heads, config.kv_heads], 1)
        keys.append(k)
        values.append(v)
        return attends(layer, qkv, last)

    turn = rotary(config, packed.positions)
    hidden = hidden_states(weights, config, packed.ids, turn, attend, slice(packed.prefixes, None))
    # The pack sorts prompts by size: `order` are their numbers as they lie there, `rank` leads back. All but
    # the last tokens lie first, one prompt after the other, then the last tokens, one each.
    order = [tree for tree, _ in packed.order]
    rank = torch.tensor(order, device=device).argsort()
    starts = np.concatenate([[0], np.cumsum([len(arrays[i]) - 1 for i in order])])
    width = max(map(len, prompts))
    places = np.zeros((len(prompts), width), np.int64)
    for place, i in enumerate(order):
        long = len(arrays[i]) - 1
        places[i, :long] = starts[place] + np.arange(long)
        places[i, long] = packed.prefixes + place
    logits = head_logits(weights, hidden)[rank]
    return Prefilled(logits, keys, values, torch.from_numpy(places).to(device), [len(p) for p in prompts])


class Prompts:
    """The prompts of a job by number, those that are computed and still waited for with their results."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: DecoderConfig,
        prompts: Sequence[Sequence[int]],
        device: torch.device,
    ) -> None:
        self.weights, self.config, self.prompts, self.device = weights, config, prompts, device
        self.held: dict[int, tuple[Prefilled, int]] = {}  # the pack that a prompt is in, its number there

    def found(self, prompts: Sequence[int]) -> list[tuple[Prefilled, list[int], list[int]]]:
        """Compute those that are not held yet.

        By pack: the places in `prompts` of those that are in it, and their numbers in it.
        """
        self._compute([p for p in dict.fromkeys(prompts) if p not in self.held])
        packs: dict[int, tuple[Prefilled, list[int], list[int]]] = {}
        for place, prompt in enumerate(prompts):
            pack, number = self.held[prompt]
            _, places, numbers = packs.setdefault(id(pack), (pack, [], []))
            places.append(place)
            numbers.append(number)
        return list(packs.values())

    def keep(self, prompts: set[int]) -> None:
        """Let go all others, and a pack with the last of its prompts."""
        self.held = {prompt: pair for prompt, pair in self.held.items() if prompt in prompts}

    def _compute(self, prompts: Sequence[int]) -> None:
        chunk: list[int] = []
        for prompt in prompts:
            tokens = sum(len(self.prompts[p]) for p in (*chunk, prompt))
            if chunk and tokens > PREFILL_TOKENS:
                self._hold(chunk)
                chunk = []
            chunk.append(prompt)
        if chunk:
            self._hold(chunk)

    def _hold(self, numbers: Sequence[int]) -> None:
        found = prefill(self.weights, self.config, [self.prompts[p] for p in numbers], self.device)
        self.held |= {prompt: (found, number) for number, prompt in enumerate(numbers)}
