"""A decoder-only transformer over one flat weight vector: Llama, Mistral, Qwen2, Qwen3 and Phi-3.

Departs from transformers' modules in three ways that make it several times faster on a CPU and let processes
share weights: all parameters are views of one flat tensor, q/k/v and gate/up are fused, and one function
serves training, prefill and decoding (they differ only in how they attend). Log-probabilities equal
transformers' own (tests/test_decoder.py).

Shapes: M tokens side by side, H hidden, N heads, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.model.decoder_shape import DecoderShape
from cascade_rl.model.fused import (
    add_linear,
    embed,
    norm_linear,
    rms_norm,
    swiglu,
    turn_heads,
)
from cascade_rl.model.gpu_attention import attention
from cascade_rl.model.head import read_out, target_logprobs
from cascade_rl.model.network import Shapes
from cascade_rl.model.packed import Pack
from cascade_rl.model.products import laid_out
from cascade_rl.model.weight_files import check_state
from cascade_rl.protocols import SamplingRule

Attend = Callable[[int, Tensor, bool], Tensor]  # layer, q k v [M, N + 2 K, D], is it the last; to [M, N D]


@dataclass(frozen=True, slots=True)
class DecoderConfig(DecoderShape):
    """A decoder, and how it computes: the functions below by the names that all networks have."""

    def tensors(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """As views of the flat vector."""
        names = self.names()
        for name, tensor in views(flat.detach(), self.shapes()).items():
            parts = torch.split(tensor, [n for _, n in names[name]])
            for (full, _), rows in zip(names[name], parts, strict=True):
                yield full, rows

    def flat(self, state: Mapping[str, Tensor], where: str = "the model") -> Tensor:
        """Tensors that it has no place for are passed over."""
        # first: sizes by a damaged config.json may be beyond all memory
        check_state(where, state, self.file_shapes())
        flat, names = torch.empty(flat_size(self.shapes())), self.names()
        for name, view in views(flat, self.shapes()).items():
            # fp32 whatever the file holds: it becomes the master weights
            view.copy_(torch.cat([state[full].float() for full, _ in names[name]]))
        return flat

    def states(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """See `packed_states`."""
        return packed_states(weights, self, packed, recompute)

    def scored(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """Hidden states [m, H]."""
        return packed_states(weights, self, packed, recompute)

    def logits(self, weights: Mapping[str, Tensor], scored: Tensor) -> Tensor:
        """See `head_logits`."""
        return head_logits(weights, scored)

    def logprobs(
        self, weights: Mapping[str, Tensor], scored: Tensor, targets: Tensor, rule: SamplingRule
    ) -> Tensor:
        """With a gradient of its own, a few tokens' logits at a time."""
        return target_logprobs(scored, head_weight(weights), targets, rule)

    def laid_out(self, weights: Mapping[str, Tensor], *, layers: bool) -> AbstractContextManager[None]:
        """See `products.laid_out`."""
        return laid_out(weights, layers=layers)


def flat_size(shapes: Shapes) -> int:
    """How many numbers the flat vector holds."""
    return sum(prod(shape) for shape in shapes.values())


def views(flat: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """The parameters as views of a flat vector."""
    found, offset = {}, 0
    for name, shape in shapes.items():
        found[name] = flat[offset : offset + prod(shape)].view(shape)
        offset += prod(shape)
    return found


def rotary(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [M, 1, D], fp32, for positions [M]; see `Rope.turns`."""
    return config.rope.turns(config.head_dim, positions)


def hidden_states(
    weights: Mapping[str, Tensor],
    config: DecoderConfig,
    ids: Tensor,
    turn: tuple[Tensor, Tensor],
    attend: Attend,
    kept: slice = slice(None),
    recompute: bool = False,
) -> Tensor:
    """The final normed hidden states [M, H], fp32, of tokens [M] at the angles `turn` (`rotary`).

    `attend(layer, qkv, last)` gets [M, N + 2 K, D], q scaled, and returns [M, N D]; for the last layer only
    the tokens `kept`, of which alone the hidden states are given back. Matrix products run in the dtype of
    the weights, the residual stream and the norms in fp32. With `recompute` layers keep only what they begin
    with, and run again for the gradient: the same numbers, bit for bit.
    """

    def layer(i: int, h: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        known = (weights, config, i, turn, attend, kept)
        if not recompute:
            return _layer(h, *known)
        # nothing in a layer draws, so that no generator has to be set back
        found: Tensor = checkpoint(_layer, h, *known, use_reentrant=False, preserve_rng_state=False)
        return found

    enter = getattr(weights, "enter", None)  # sharded weights are whole only inside their layer
    h = embed(ids, weights["embed"])
    for i in range(config.layers):
        h = layer(i, h, weights) if enter is None else enter(i, h, layer)
    return rms_norm(h, weights["norm"], config.eps)


def _layer(
    h: Tensor,
    weights: Mapping[str, Tensor],
    config: DecoderConfig,
    i: int,
    turn: tuple[Tensor, Tensor],
    attend: Attend,
    kept: slice,
) -> Tensor:
    # h [M, H] fp32, all products in the dtype of the weights; after the last attention rows `kept` alone
    last = i + 1 == config.layers
    norms = (weights[f"{i}.q_norm"], weights[f"{i}.k_norm"]) if config.qk_norm else None
    qkv = norm_linear(
        h, weights[f"{i}.input_norm"], weights[f"{i}.qkv"], weights.get(f"{i}.qkv_bias"), config.eps
    )
    qkv = turn_heads(qkv.view(len(h), -1, config.head_dim), turn, config.heads, norms, config.eps)
    seen = attend(i, qkv, last)
    h = add_linear(h[kept] if last else h, seen, weights[f"{i}.o"], weights.get(f"{i}.o_bias"))
    both = norm_linear(h, weights[f"{i}.mlp_norm"], weights[f"{i}.gate_up"], None, config.eps)
    return add_linear(h, swiglu(both), weights[f"{i}.down"], None)


def packed_states(
    weights: Mapping[str, Tensor], config: DecoderConfig, packed: Pack, recompute: bool = False
) -> Tensor:
    """Hidden states [m, H] of the branches of a pack, in its order."""
    attend = attention(packed, config.heads, config.kv_heads, config.window)
    config.rope.check(packed.longest())
    turn = rotary(config, packed.positions)
    return hidden_states(weights, config, packed.ids, turn, attend, slice(packed.prefixes, None), recompute)


def head_weight(weights: Mapping[str, Tensor]) -> Tensor:
    """The weight [V, H] that reads logits out of hidden states."""
    return weights.get("head", weights["embed"])


def head_logits(weights: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """Logits [M, V] in fp32 (an fp32 head lifts the asymptote of RL: ScaleRL, arXiv 2510.13786)."""
    return read_out(hidden, head_weight(weights))
