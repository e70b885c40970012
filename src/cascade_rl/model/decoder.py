"""A decoder-only transformer over one flat weight vector: Llama, Mistral, Qwen2, Qwen3 and Phi-3.

Departs from transformers' modules in three ways that make it several times faster on a CPU and let processes
share weights: all parameters are views of one flat tensor, q/k/v and gate/up are fused, and one function
serves training, prefill and decoding (they differ only in how they attend). Log-probabilities equal
transformers' own (tests/test_decoder.py).

Shapes: M tokens side by side, H hidden, N heads, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.errors import InputError
from cascade_rl.model.fused import add_linear, embed, norm_linear, read_out, rms_norm, swiglu, turn_heads
from cascade_rl.model.gpu_attention import attention
from cascade_rl.model.packed import Pack
from cascade_rl.model.rope import Rope, read_rope
from cascade_rl.protocols import SamplingRule

Attend = Callable[[int, Tensor, bool], Tensor]  # layer, q k v [M, N + 2 K, D], is it the last; to [M, N D]
Shapes = Mapping[str, tuple[int, ...]]  # of parameters by name, in the order of the flat vector
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3")


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The shape of a decoder; see `from_hf`.

    tied       the embedding reads logits out, too: there is no `head` of its own
    qk_norm    q and k heads are normed (Qwen3)
    qkv_bias   of q, k and v (Qwen2, and where attention_bias is set)
    o_bias     of the projection behind attention (where attention_bias is set)
    joined     q, k, v and gate, up are one matrix each in Hugging Face's files, too (Phi-3)
    window     how many tokens back a token sees, itself included; None: all
    """

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope: Rope
    eps: float
    tied: bool
    qk_norm: bool
    qkv_bias: bool
    max_positions: int
    o_bias: bool = False
    window: int | None = None
    joined: bool = False

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """From a Hugging Face config's dictionary; raises InputError for what is not supported."""
        # refused, never passed over: an option that is ignored gives numbers that are nearly right
        family = config.get("model_type")
        if family not in FAMILIES:
            raise InputError(f"model type {family!r} is not supported; supported: {', '.join(FAMILIES)}")
        if config.get("hidden_act", "silu") != "silu" or config.get("mlp_bias"):
            raise InputError("only SiLU-gated MLPs without bias are supported")
        biased = bool(config.get("attention_bias"))
        if biased and family in ("mistral", "phi3"):
            raise InputError(
                f"attention_bias: {family} has none in transformers, which would drop the biases"
            )
        heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        rope = read_rope(config, head_dim)
        return cls(
            vocab=config["vocab_size"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=head_dim,
            rope=rope,
            eps=config.get("rms_norm_eps", 1e-6),
            tied=bool(config.get("tie_word_embeddings")),
            qk_norm=family == "qwen3",
            # Qwen2's is always on, and of q, k, v alone, whatever attention_bias says
            qkv_bias=family == "qwen2" or biased,
            max_positions=max(config.get("max_position_embeddings", 2048), rope.reach),
            o_bias=family != "qwen2" and biased,
            window=read_window(config),
            joined=family == "phi3",
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters and their shapes, in the order of the flat vector.

        Saved states are flat vectors: another order would read them wrongly, without a word.
        """
        width = (self.heads + 2 * self.kv_heads) * self.head_dim
        found: dict[str, tuple[int, ...]] = {"embed": (self.vocab, self.hidden)}
        for i in range(self.layers):
            layer = {
                "input_norm": (self.hidden,),
                "qkv": (width, self.hidden),
                **({"qkv_bias": (width,)} if self.qkv_bias else {}),
                **({"q_norm": (self.head_dim,), "k_norm": (self.head_dim,)} if self.qk_norm else {}),
                "o": (self.hidden, self.heads * self.head_dim),
                **({"o_bias": (self.hidden,)} if self.o_bias else {}),
                "mlp_norm": (self.hidden,),
                "gate_up": (2 * self.intermediate, self.hidden),
                "down": (self.hidden, self.intermediate),
            }
            found |= {f"{i}.{name}": shape for name, shape in layer.items()}
        found["norm"] = (self.hidden,)
        if not self.tied:
            found["head"] = (self.vocab, self.hidden)
        return found


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


def read_window(config: Mapping[str, Any]) -> int | None:
    """The sliding window of all layers, from a Hugging Face config's dictionary; None where they see all.

    Raises InputError where some layers slide and some do not: all share one mask here.
    """
    family = config["model_type"]
    if family == "llama":  # it has none, whatever its config says
        return None
    # transformers' defaults; null means none
    window = config.get("sliding_window", None if family == "phi3" else 4096)
    if family in ("mistral", "phi3"):
        return int(window) if window else None
    if not config.get("use_sliding_window") or not window:
        return None
    layers = config["num_hidden_layers"]
    # as Qwen2Config fills them in: the first `max_window_layers` see all
    kinds = config.get("layer_types") or [
        "sliding_attention" if i >= config.get("max_window_layers", 28) else "full_attention"
        for i in range(layers)
    ]
    if len(set(kinds)) > 1:
        sliding = kinds.count("sliding_attention")
        raise InputError(
            f"sliding-window attention in {sliding} of {layers} layers is not supported, only in all or none "
            "(config.json: layer_types, max_window_layers)"
        )
    return int(window) if kinds[0] == "sliding_attention" else None


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
    if config.rope.limit is not None:  # asked of these types alone: a GPU has to be waited for
        config.rope.check(int(packed.positions.max()) + 1)
    turn = rotary(config, packed.positions)
    return hidden_states(weights, config, packed.ids, turn, attend, slice(packed.prefixes, None), recompute)


def head_weight(weights: Mapping[str, Tensor]) -> Tensor:
    """The weight [V, H] that reads logits out of hidden states."""
    return weights.get("head", weights["embed"])


def head_logits(weights: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """Logits [M, V] in fp32 (an fp32 head lifts the asymptote of RL: ScaleRL, arXiv 2510.13786)."""
    return read_out(hidden, head_weight(weights))


def truncate(logits: Tensor, rule: SamplingRule, keep: Tensor | None = None) -> Tensor:
    """Log-probabilities [.., V] after temperature, top-k, top-p and min-p, renormalised over the kept set.

    `keep` [..] are ids that stay in the set whatever the rounding: the trainer passes the sampled ids, so
    that it scores the same truncated distribution that the sampler drew from.
    """
    # In the order of transformers; each filter sees what the ones before it left. Ids that tie with the k-th
    # all stay, while the sampler takes k of them: `keep` is what makes the two agree on sampled ids.
    logits = logits / rule.temperature
    if 0 < rule.top_k < logits.shape[-1]:
        least = logits.topk(rule.top_k, -1).values[..., -1:]
        logits = logits.masked_fill(_drop(logits < least, keep), -torch.inf)
    if rule.top_p < 1:
        logits = logits.masked_fill(_drop(_outside_nucleus(logits, rule.top_p), keep), -torch.inf)
    if rule.min_p > 0:
        share = (logits - logits.amax(-1, keepdim=True)).exp()
        logits = logits.masked_fill(_drop(share < rule.min_p, keep), -torch.inf)
    return logits.log_softmax(-1)


def _outside_nucleus(logits: Tensor, top_p: float, few: int = 64) -> Tensor:
    """Which tokens [.., V] are outside the smallest set whose mass reaches `top_p`; who crosses it is inside.

    The set is nearly always small, so that a few largest logits decide; otherwise all are sorted.
    """
    total = logits.logsumexp(-1, keepdim=True)
    ordered, index = logits.topk(min(few, logits.shape[-1]), -1)
    mass = (ordered - total).exp()
    if bool((mass.sum(-1) < top_p).any()):
        ordered, index = logits.sort(dim=-1, descending=True, stable=True)
        mass = (ordered - total).exp()
    # without its own mass; what was not looked at is outside as well
    late = (mass.cumsum(-1) - mass) >= top_p
    return torch.ones_like(logits, dtype=torch.bool).scatter(-1, index, late)


def _drop(mask: Tensor, keep: Tensor | None) -> Tensor:
    return mask if keep is None else mask.scatter(-1, keep[..., None], False)
