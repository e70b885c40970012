"""Which model a run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.base import Positive, Strict
from cascade_rl.recipe.hub_name import COMMIT, read_hub_name


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


# What each type of RoPE scaling needs, and what it may have beside (transformers' own names).
SCALINGS: dict[str, tuple[set[str], set[str]]] = {
    "linear": (set(), set()),
    "yarn": ({"original_max_position_embeddings"}, {"attention_factor", "beta_fast", "beta_slow"}),
    "llama3": ({"original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}, set()),
}


class RopeScaling(Strict):
    """RoPE for texts `factor` times as long as the model knows: it computes so from the first stage on.

    The base theta stays the model's own. Exports carry it in config.json, so that whoever loads them
    computes the same.
    """

    rope_type: Literal["linear", "yarn", "llama3"]
    # 1 would change nothing
    factor: Annotated[float, Field(gt=1)]
    original_max_position_embeddings: Positive | None = None
    attention_factor: Annotated[float, Field(gt=0)] | None = None
    beta_fast: Annotated[float, Field(gt=0)] | None = None
    beta_slow: Annotated[float, Field(gt=0)] | None = None
    low_freq_factor: Annotated[float, Field(gt=0)] | None = None
    high_freq_factor: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _of_the_type(self) -> RopeScaling:
        needed, allowed = SCALINGS[self.rope_type]
        given = set(self.settings()) - {"rope_type", "factor"}
        if missing := sorted(needed - given):
            raise ValueError(f"rope_type {self.rope_type} needs {', '.join(missing)}")
        if extra := sorted(given - needed - allowed):
            raise ValueError(f"{', '.join(extra)}: no effect with rope_type {self.rope_type}; remove it")
        return self

    def settings(self) -> dict[str, str | float]:
        """The keys that are set, as config.json has them."""
        return self.model_dump(exclude_none=True)


class ModelSpec(Strict):
    """`init` is `scratch`, `smollm2-135m`, a local Hugging Face directory, a GGUF file, or ORG/NAME@REVISION.

    commit        of the hub's model: what its revision meant when the run began, filled in then
    rope_scaling  instead of the model's own type of RoPE; None keeps that
    template      `cascade` puts ours on the tokenizer; `model` keeps the chat template that the model has
    add_tokens    chat markers that the tokenizer lacks are added, with rows of embedding and head
    export_dtype  of checkpoints; with bf16 the weights are rounded as a stage ends, so that what is scored
                  and handed on is what was exported
    """

    init: str = "scratch"
    commit: Annotated[str, Field(pattern=f"^{COMMIT.pattern}$")] | None = None
    architecture: Architecture | None = None
    tokenizer: TokenizerSpec | None = None
    rope_scaling: RopeScaling | None = None
    template: Literal["cascade", "model"] = Field(
        default="cascade", exclude_if=lambda kept: kept == "cascade"
    )
    add_tokens: bool = False
    export_dtype: Literal["fp32", "bf16"] = "fp32"

    def explained(self) -> list[str]:
        """What is done to the model before the first stage, and to its checkpoints."""
        lines = []
        if self.rope_scaling:
            lines.append("RoPE: " + ", ".join(f"{k} {v}" for k, v in self.rope_scaling.settings().items()))
        if self.template == "model":
            lines.append("prompts, replies and exports by the chat template that the model brings along")
        if self.add_tokens:
            lines.append("chat markers that its tokenizer lacks are added, with rows of embedding and head")
        if self.export_dtype != "fp32":
            lines.append(f"weights are rounded to {self.export_dtype} as a stage ends, and exported so")
        return lines

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
        if self.init == "scratch" and self.add_tokens:
            raise ValueError("add_tokens: no effect with init: scratch, whose tokenizer has them; remove it")
        if self.init == "scratch" and self.template == "model":
            raise ValueError("template: model has no effect with init: scratch, which has none; remove it")
        if self.template == "model" and self.add_tokens:
            raise ValueError(
                "add_tokens: no effect with template: model, which asks for no markers; remove it"
            )
        return self

    @model_validator(mode="after")
    def _commit_of_a_hub_name(self) -> ModelSpec:
        name = read_hub_name(self.init)
        if self.commit and name is None:
            raise ValueError("commit: no effect unless init is a name on a hub (ORG/NAME); remove it")
        if self.commit and name and name.commit not in (None, self.commit):
            raise ValueError(f"commit: init names another one, {name.commit}; remove one of them")
        return self
