"""The shape of our fused decoder: Llama, Mistral, Qwen2, Qwen3 and Phi-3, read from config.json.

A family that it does not know wholly is refused (`NotFused`), never computed nearly right.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import Tensor

from cascade_rl.errors import InputError, NotFused
from cascade_rl.model.hf_names import adapted_names, hf_parts
from cascade_rl.model.network import Network, Size
from cascade_rl.model.rope import Rope, read_rope
from cascade_rl.recipe.lora import ALL

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3")


@dataclass(frozen=True, slots=True)
class DecoderShape(Network, ABC):
    """What a decoder consists of; see `from_hf`.

    tied       the embedding reads logits out, too: there is no `head` of its own
    qk_norm    q and k heads are normed (Qwen3)
    qkv_bias   of q, k and v (Qwen2, and where attention_bias is set)
    o_bias     of the projection behind attention (where attention_bias is set)
    joined     q, k, v and gate, up are one matrix each in Hugging Face's files, too (Phi-3)
    window     how many tokens back a token sees, itself included; None: all
    """

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
    o_bias: bool = False
    window: int | None = None
    joined: bool = False

    BY: ClassVar[str] = "the fused decoder"

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """From a Hugging Face config's dictionary; raises InputError for what is not supported.

        That is a NotFused where it is no mistake, only not known here.
        """
        return cls(**_fields(config))

    def special(self) -> tuple[str, ...]:
        """RoPE, windows and biases."""
        found = []
        if self.rope.kind != "default":
            upto = f", up to {self.rope.limit} tokens" if self.rope.limit is not None else ""
            found.append(f"RoPE {self.rope.kind}{upto}")
        if self.window is not None:
            found.append(f"sliding window of {self.window} tokens")
        return (*found, *(["attention biases"] if self.o_bias else []))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Embedding, layers, the last norm, and a head if it is not tied."""
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

    def names(self) -> dict[str, list[tuple[str, int]]]:
        """Fused parameters hold several."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        parts = (("q", q), ("k", kv), ("v", kv))
        return {
            name: hf_parts(name, shape[0], parts, self.intermediate, self.joined)
            for name, shape in self.shapes().items()
        }

    def fixed(self) -> frozenset[str]:
        """None: all are trained."""
        return frozenset()

    def is_matrix(self, name: str) -> bool:
        """Fused q/k/v and gate/up are one matrix each here: Muon orthogonalises them together."""
        return name.rpartition(".")[2] in ("qkv", "o", "gate_up", "down")

    def by_token(self) -> tuple[str, ...]:
        """Embedding and head."""
        return ("embed",) if self.tied else ("embed", "head")

    def reading_out(self) -> tuple[str, ...]:
        """The last norm's weight, in which logits are linear."""
        return ("norm",)

    def widened(self, vocab: int) -> Self:
        """All else stays."""
        return replace(self, vocab=vocab)

    def adapted(self, targets: Sequence[str]) -> list[str]:
        """The recipe's default, all projections that Llama has, means all of joined ones, too."""
        if self.joined and set(targets) == set(ALL):
            targets = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
        return adapted_names((full for parts in self.names().values() for full, _ in parts), targets)

    def turned(self, name: str) -> bool:
        """None is."""
        return False

    def file_shapes(self) -> dict[str, tuple[int, ...]]:
        """All are known."""
        shapes = self.shapes()
        return {
            full: (rows, *shapes[name][1:]) for name, parts in self.names().items() for full, rows in parts
        }

    def head_only(self) -> dict[str, tuple[int, ...]]:
        """The head, if it is not tied."""
        return {} if self.tied else {"lm_head.weight": (self.vocab, self.hidden)}

    def classifier(self, raw: Mapping[str, Any]) -> str:
        """All these families have one."""
        if not raw.get("architectures"):
            raise InputError("config.json names no class of the model; set architectures there")
        kind: str = raw["architectures"][0]
        return kind.replace("ForCausalLM", "ForSequenceClassification")

    def rope_theta(self) -> float:
        """All of these families have one."""
        return self.rope.theta

    def check(self, tokens: int) -> None:
        """See `Rope.check`."""
        self.rope.check(tokens)

    def prove(self, flat: Tensor, *, short: bool = False) -> None:
        """Nothing is left to be tried: these families were compared with transformers' own."""

    def size(self) -> Size:
        """Prefixes need queries, keys and values alone in the last layer."""
        shapes, width = self.shapes(), self.heads * self.head_dim
        matrices = sum(s[0] * s[1] for name, s in shapes.items() if self.is_matrix(name))
        # `o`, gate, up and down
        beyond = self.hidden * (width + 3 * self.intermediate)
        cached, head = self.kv_heads * self.head_dim, self.vocab * self.hidden
        return Size(matrices, head, beyond, self.layers, width, cached, 2 * self.intermediate)


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a DecoderShape."""
    # refused, never passed over: an option that is ignored gives numbers that are nearly right
    family = config.get("model_type")
    if family not in FAMILIES:
        raise NotFused(f"model type {family!r} is not supported; supported: {', '.join(FAMILIES)}")
    if config.get("hidden_act", "silu") != "silu" or config.get("mlp_bias"):
        raise NotFused("only SiLU-gated MLPs without bias are supported")
    biased = bool(config.get("attention_bias"))
    if biased and family in ("mistral", "phi3"):
        raise InputError(f"attention_bias: {family} has none in transformers, which would drop the biases")
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = read_rope(config, head_dim)
    return {
        "vocab": config["vocab_size"],
        "hidden": config["hidden_size"],
        "intermediate": config["intermediate_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": head_dim,
        "rope": rope,
        "eps": config.get("rms_norm_eps", 1e-6),
        "tied": bool(config.get("tie_word_embeddings")),
        "qk_norm": family == "qwen3",
        # Qwen2's is always on, and of q, k, v alone, whatever attention_bias says
        "qkv_bias": family == "qwen2" or biased,
        "max_positions": max(config.get("max_position_embeddings", 2048), rope.reach),
        "o_bias": family != "qwen2" and biased,
        "window": _window(config),
        "joined": family == "phi3",
    }


def _window(config: Mapping[str, Any]) -> int | None:
    """The sliding window of all layers, from a Hugging Face config's dictionary; None where they see all.

    Raises NotFused where some layers slide and some do not: all share one mask here.
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
        raise NotFused(
            f"sliding-window attention in {sliding} of {layers} layers is not supported, only in all or none "
            "(config.json: layer_types, max_window_layers)"
        )
    return int(window) if kinds[0] == "sliding_attention" else None
