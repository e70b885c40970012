"""Which model a run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from cascade_rl.recipe.base import Positive, Strict


class Architecture(Strict):
    """The shape of a model that is trained from scratch (Qwen3)."""

    # The defaults make about two million parameters: small enough to be trained on a laptop's processor.
    hidden_size: Positive = 192
    intermediate_size: Positive = 512
    num_hidden_layers: Positive = 4
    num_attention_heads: Positive = 6
    num_key_value_heads: Positive = 2
    head_dim: Positive = 32
    rope_theta: float = 10_000.0
    # tokens of a prompt and its reply
    max_position_embeddings: Positive = 512

    @model_validator(mode="after")
    def _heads(self) -> Architecture:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        if self.head_dim % 2:
            raise ValueError("head_dim must be even (rotary embeddings turn pairs)")
        return self


class TokenizerSpec(Strict):
    """A byte-level BPE, digits split singly, trained on `samples` SFT conversations of the recipe itself."""

    # 256 bytes and the special tokens must fit.
    vocab_size: Annotated[int, Field(ge=300)] = 512
    samples: Positive = 4000


class ModelSpec(Strict):
    """`init` is `scratch`, `smollm2-135m`, or a local Hugging Face directory."""

    init: str = "scratch"
    architecture: Architecture | None = None
    tokenizer: TokenizerSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_scratch(cls, raw: object) -> object:
        if not isinstance(raw, Mapping) or raw.get("init", "scratch") != "scratch":
            return raw
        return {**raw, "architecture": raw.get("architecture") or {}, "tokenizer": raw.get("tokenizer") or {}}

    @model_validator(mode="after")
    def _only_scratch(self) -> ModelSpec:
        extra = [key for key in ("architecture", "tokenizer") if getattr(self, key) is not None]
        if self.init != "scratch" and extra:
            raise ValueError(f"{', '.join(extra)}: no effect unless init is scratch; remove it")
        return self
