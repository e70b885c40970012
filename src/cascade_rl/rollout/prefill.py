"""Compute prompts side by side before their rows are decoded.

Shapes: P prompts, M tokens, K key-value heads, D head size, V vocabulary.
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
