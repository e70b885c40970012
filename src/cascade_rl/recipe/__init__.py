"""The recipe: every knob of a run as one validated value.

A recipe is YAML. It names the model, the seed, the ordered stages and the benchmarks; stages inherit
`defaults.KIND`. Loading reports every problem at once with its path, and refuses keys that would have no effect.
Defaults follow arXiv 2512.13607 (tables of appendices B to E); sizes in tokens, learning rates per step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cascade_rl.recipe.algorithm import Algorithm
from cascade_rl.recipe.base import NAME, Fraction, Positive, Strict
from cascade_rl.recipe.lora import LoRA
from cascade_rl.recipe.sampling import PHASE_KEYS, Filter, JudgeSpec, NoFilter, Overlong, Phase, RLData
from cascade_rl.recipe.scoring import BenchmarkSpec, Gate, PreflightSpec
from cascade_rl.types import Mode


class Architecture(Strict):
    """The shape of a model that is trained from scratch (Qwen3)."""

    hidden_size: Positive = 192
    intermediate_size: Positive = 512
    num_hidden_layers: Positive = 4
    num_attention_heads: Positive = 6
    num_key_value_heads: Positive = 2
    head_dim: Positive = 32
    rope_theta: float = 10_000.0
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

    vocab_size: Annotated[int, Field(ge=300)] = 512
    samples: Positive = 4000


class ModelSpec(Strict):
    """`init` is `scratch`, `smollm2-135m`, or a local Hugging Face directory."""

    init: str = "scratch"
    architecture: Architecture | None = None
    tokenizer: TokenizerSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_scratch(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and raw.get("init", "scratch") == "scratch":
            return {
                **raw,
                "architecture": raw.get("architecture") or {},
                "tokenizer": raw.get("tokenizer") or {},
            }
        return raw

    @model_validator(mode="after")
    def _only_scratch(self) -> ModelSpec:
        extra = [key for key in ("architecture", "tokenizer") if getattr(self, key) is not None]
        if self.init != "scratch" and extra:
            raise ValueError(f"{', '.join(extra)}: no effect unless init is scratch; remove it")
        return self


class SFTData(Strict):
    """A share of the SFT mixture: demonstrations of one domain, in one mode or (parallel) in both.

    `fault_rate` makes the teacher openly imperfect: that share of its replies carries a systematic fault.
    """

    domain: str
    source: str = "builtin"
    weight: Annotated[float, Field(gt=0)] = 1.0
    fault_rate: Fraction = 0.0
    modes: Annotated[list[Mode], Field(min_length=1)] = Field(default_factory=lambda: [Mode.THINKING])


class Training(Strict):
    """What every kind of stage shares: optimiser, batching, saving. Without `lora` all weights are trained."""

    name: Annotated[str, Field(pattern=NAME)]
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 2e-6
    muon_lr: Annotated[float, Field(gt=0)] | None = None
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    lora: LoRA | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_lr_fraction: Fraction = 0.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    tokens_per_microbatch: Positive = 4096
    save_every: Positive = 10

    @model_validator(mode="after")
    def _optimizer_keys(self) -> Training:
        if self.optimizer == "muon" and self.muon_lr is None:
            raise ValueError(
                "optimizer muon needs muon_lr (for the matrices; lr is for embeddings and norms)"
            )
        if self.optimizer != "muon" and self.muon_lr is not None:
            raise ValueError("muon_lr has no effect with optimizer adamw; remove it or set optimizer: muon")
        if self.optimizer == "muon" and self.lora is not None:
            raise ValueError(
                "muon orthogonalises whole matrices, lora trains thin factors: set optimizer: adamw"
            )
        if self.schedule == "constant" and self.final_lr_fraction:
            raise ValueError("final_lr_fraction has no effect with schedule constant")
        return self


class SFTStage(Training):
    """Supervised fine-tuning on teacher demonstrations; `samples` distinct ones, for `steps` or `epochs`."""

    kind: Literal["sft"]
    data: Annotated[list[SFTData], Field(min_length=1)]
    samples: Positive
    batch_size: Positive = 256
    steps: Positive | None = None
    epochs: Positive | None = None
    max_tokens: Positive = 16384

    @model_validator(mode="after")
    def _length(self) -> SFTStage:
        return _one_of_steps_epochs(self)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return self.steps or max(1, self.samples // self.batch_size) * self.epochs


class RewardModelStage(Training):
    """A scalar head on the policy's last hidden state, trained on preference pairs (Bradley-Terry).

    `pairs_from`: `domain` takes the domain's own pairs; `samples` lets the policy answer each prompt
    `sample_rollouts` times and pairs its best with its worst answer by the domain's benchmark rule.
    """

    kind: Literal["reward_model"]
    domain: str = "alignment"
    source: str = "builtin"
    pairs_from: Literal["domain", "samples"] = "domain"
    sample_rollouts: Annotated[int, Field(ge=2)] | None = None
    sample_tokens: Positive | None = None
    pairs: Positive = 2000
    heldout_pairs: Positive = 300
    batch_size: Positive = 256
    steps: Positive | None = None
    epochs: Positive | None = None
    max_tokens: Positive = 4096

    @model_validator(mode="before")
    @classmethod
    def _fill_samples(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and raw.get("pairs_from") == "samples":
            return {
                **raw,
                "sample_rollouts": raw.get("sample_rollouts") or 4,
                "sample_tokens": raw.get("sample_tokens") or 256,
            }
        return raw

    @model_validator(mode="after")
    def _length(self) -> RewardModelStage:
        extra = [key for key in ("sample_rollouts", "sample_tokens") if getattr(self, key) is not None]
        if self.pairs_from == "domain" and extra:
            raise ValueError(f"{', '.join(extra)}: no effect unless pairs_from is samples; remove it")
        return _one_of_steps_epochs(self)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return self.steps or max(1, self.pairs // self.batch_size) * self.epochs


def _one_of_steps_epochs(stage):
    if (stage.steps is None) == (stage.epochs is None):
        raise ValueError("give either steps or epochs, not both and not neither")
    return stage


class RLStage(Algorithm, Training):
    """GRPO, strictly on-policy by default: `prompts_per_step` x `rollouts_per_prompt` replies, one update.

    `overlong` says what a reply that hit the length limit earns: `mask` leaves it out of loss and baseline,
    `zero` gives no reward, `score` grades it as it stands; `penalty` too, and takes up to 1 off the reward of a reply
    that ends in the last `overlong_buffer` tokens before the limit. `top_k` 0 and `min_p` 0 are off.
    """

    kind: Literal["rl"]
    data: Annotated[list[RLData], Field(min_length=1)]
    steps: Positive
    prompts_per_step: Positive = 128
    rollouts_per_prompt: Annotated[int, Field(ge=2)] = 8
    mode_mix: Literal["thinking", "instruct", "half"] = "thinking"
    max_prompt_tokens: Positive = 4096
    max_response_tokens: Positive = 16384
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Fraction = 0.0
    overlong: Overlong = "score"
    overlong_buffer: Positive | None = None
    curriculum: list[Phase] = Field(default_factory=list)
    filter: Filter = NoFilter()
    reward_model: str | None = None
    judge: JudgeSpec | None = None

    @model_validator(mode="after")
    def _curriculum(self) -> RLStage:
        if self.curriculum and abs(sum(p.share for p in self.curriculum) - 1) > 1e-6:
            raise ValueError(f"curriculum: shares add up to {sum(p.share for p in self.curriculum):g}, not 1")
        if len({(d.domain, d.source) for d in self.data}) < len(self.data):
            raise ValueError("data: the same domain and source stand twice; add their weights instead")
        return self

    @model_validator(mode="after")
    def _overlong(self) -> RLStage:
        limits = [p.max_response_tokens for _, _, p in self.phases() if p.overlong == "penalty"]
        if self.overlong_buffer is None and limits:
            raise ValueError(
                "overlong penalty needs overlong_buffer: how many tokens before the limit it begins"
            )
        if self.overlong_buffer is not None and not limits:
            raise ValueError("overlong_buffer has no effect unless overlong is penalty; remove it")
        if limits and self.overlong_buffer >= min(limits):
            raise ValueError(
                f"overlong_buffer {self.overlong_buffer} must be below max_response_tokens ({min(limits)})"
            )
        return self

    @model_validator(mode="after")
    def _parts(self) -> RLStage:
        if self.updates_per_batch > self.prompts_per_step:
            raise ValueError(f"updates_per_batch {self.updates_per_batch} splits the batch by prompts: it can't exceed "
                             f"prompts_per_step ({self.prompts_per_step})")  # fmt: skip
        return self

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return self.steps

    def phases(self) -> list[tuple[int, int, Phase]]:
        """Sub-stages as (first step, end step, settings with every key filled in)."""
        found, start, share = [], 0, 0.0
        for phase in self.curriculum or [Phase(share=1.0)]:
            share += phase.share
            end = round(self.steps * share)
            filled = {key: getattr(phase, key) if getattr(phase, key) is not None else getattr(self, key)
                      for key in PHASE_KEYS}  # fmt: skip
            if end > start:
                found.append((start, end, Phase(share=phase.share, **filled)))
            start = end
        return found


Stage = Annotated[SFTStage | RewardModelStage | RLStage, Field(discriminator="kind")]
STAGE_KINDS = {"sft": SFTStage, "reward_model": RewardModelStage, "rl": RLStage}


class Recipe(Strict):
    """A whole run; see the module."""

    name: Annotated[str, Field(pattern=NAME)]
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sampler: Literal["torch", "vllm"] = "torch"
    workers: Positive = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    model: ModelSpec = Field(default_factory=lambda: ModelSpec.model_validate({}))
    stages: Annotated[list[Stage], Field(min_length=1)]
    benchmarks: Annotated[list[BenchmarkSpec], Field(min_length=1)]
    gate: Gate = Gate()
    preflight: PreflightSpec = PreflightSpec()
    smoke: bool = Field(
        default=False, description="set by --smoke: a stage without signal is then only noted"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_correction(cls, raw: Any) -> Any:
        """A second engine's probabilities differ from the trainer's: `tis` unless a stage says what it wants."""
        if (
            not isinstance(raw, Mapping)
            or raw.get("sampler") != "vllm"
            or not isinstance(raw.get("stages"), list)
        ):
            return raw
        return {**raw, "stages": [_corrected(stage) for stage in raw["stages"]]}

    @property
    def hash(self) -> str:
        """16 hex digits over every key of the resolved recipe."""
        return digest(self.model_dump(mode="json"))

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(s for s in self.stages if s.name == name)

    def own_stage(self, benchmark: BenchmarkSpec) -> str:
        """The stage that trains for a benchmark (see BenchmarkSpec)."""
        if benchmark.own_stage:
            return benchmark.own_stage
        for kind in ("rl", "sft"):
            fitting = [
                s.name
                for s in self.stages
                if s.kind == kind and any(d.domain == benchmark.domain for d in s.data)
            ]
            if fitting:
                return fitting[-1]
        return self.stages[-1].name


def _corrected(stage: Any) -> Any:
    """With more than one update the ratio is taken against the sampler's own log-probabilities already."""
    if not isinstance(stage, Mapping) or stage.get("kind") != "rl" or stage.get("updates_per_batch", 1) != 1:
        return stage
    return {"rollout_correction": "tis", **stage}


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def stage_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw recipe with `defaults.KIND` merged under each stage, and the `defaults` block gone.

    A default that every phase of a stage's curriculum replaces is not merged, so that the resolved recipe reads back
    as itself.
    """
    merged = {key: value for key, value in raw.items() if key != "defaults"}
    defaults = raw.get("defaults") or {}
    stages = raw.get("stages")
    if isinstance(defaults, Mapping) and isinstance(stages, list):
        merged["stages"] = [
            {**_inherited(defaults.get(s.get("kind")) or {}, s), **s} if isinstance(s, Mapping) else s
            for s in stages
        ]
    return merged


def replaced_keys(stage: Mapping[str, Any]) -> list[str]:
    """The keys of a raw stage that have no effect because every phase of its curriculum sets its own."""
    phases = stage.get("curriculum")
    if not isinstance(phases, list) or not phases or not all(isinstance(p, Mapping) for p in phases):
        return []
    return [key for key in PHASE_KEYS if all(key in phase for phase in phases)]


def _inherited(defaults: Mapping[str, Any], stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in defaults.items() if key not in replaced_keys(stage)}
