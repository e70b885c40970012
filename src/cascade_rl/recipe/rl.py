"""An RL stage, as a recipe says it.

How rewards become an update is in `algorithm.py`; prompts, filters and phases are in `prompts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cascade_rl.recipe.algorithm import Algorithm
from cascade_rl.recipe.base import Fraction, Positive, Problems
from cascade_rl.recipe.hub_name import named_model
from cascade_rl.recipe.mixture import drawn_in, unfit_names, unscored
from cascade_rl.recipe.prompts import (
    PHASE_KEYS,
    Filter,
    FullPhase,
    JudgeSpec,
    NoFilter,
    Overlong,
    Phase,
    RLData,
    sub_stages,
    unfit_buffer,
)
from cascade_rl.recipe.stage import SMOKE_TOKENS, Able, Entry, StageSpec
from cascade_rl.recipe.tables import is_none, reading_of
from cascade_rl.types import Mode, Split


class RLStage(Algorithm, StageSpec):
    """GRPO, strictly on-policy by default: `prompts_per_step` x `rollouts_per_prompt` replies, one update.

    `overlong` says what a reply that hit the length limit earns: `mask` leaves it out of loss and baseline,
    `zero` gives no reward, `score` grades it as it stands; `penalty` too, and takes up to 1 off the reward of
    a reply that ends in the last `overlong_buffer` tokens before the limit. `top_k` 0 and `min_p` 0 are off.
    """

    claim = 2
    referred = ("reward_model",)

    kind: Literal["rl"]
    data: Annotated[list[RLData], Field(min_length=1)]
    steps: Positive
    # 128 x 8: math and code RL (arXiv 2512.13607, tables 17 to 19). RLHF and IF-RL have 256 prompts (tables
    # 15 and 16; the body says 128), SWE RL 16 rollouts (table 20).
    prompts_per_step: Positive = 128
    rollouts_per_prompt: Annotated[int, Field(ge=2)] = 8
    mode_mix: Literal["thinking", "instruct", "half"] = "thinking"
    # Lengths of this package. The report's replies: 8K to 16K in IF-RL, 12K in RLHF, 24K rising to 40K in
    # math, 44K to 56K in code, 16K after prompts of 16K to 32K in SWE RL.
    max_prompt_tokens: Positive = 4096
    max_response_tokens: Positive = 16384
    # The report samples with top-p 0.95, at 0.6 in RLHF and IF-RL, 0.8 to 1.2 in math and code, 1 in SWE
    # RL; a recipe says both. These are neutral: the model's own distribution.
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Fraction = 0.0
    # the report masks in the first phases of math and SWE RL, and gives 0 in the later ones of math
    overlong: Overlong = "score"
    overlong_buffer: Positive | None = None
    curriculum: list[Phase] = Field(default_factory=list)
    # the report: batch in IF-RL, epoch in math RL, none in the others
    filter: Filter = NoFilter()
    reward_model: str | None = None
    # a published one, or one of another run; left out of the record where it is not given
    reward_model_from: Annotated[
        Annotated[str, AfterValidator(named_model)] | None, Field(exclude_if=is_none)
    ] = None
    judge: JudgeSpec | None = None

    @model_validator(mode="after")
    def _curriculum(self) -> RLStage:
        # 1e-6: thirds may be written with seven digits
        if self.curriculum and abs(sum(p.share for p in self.curriculum) - 1) > 1e-6:
            raise ValueError(f"curriculum: shares add up to {sum(p.share for p in self.curriculum):g}, not 1")
        wrong = unfit_names(self.data, self.curriculum)
        if wrong := wrong or unfit_buffer(self.sampled(), self.overlong_buffer):
            raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _parts(self) -> RLStage:
        if self.updates_per_batch > self.prompts_per_step:
            raise ValueError(
                f"updates_per_batch {self.updates_per_batch} splits the batch by prompts: it can't exceed "
                f"prompts_per_step ({self.prompts_per_step})"
            )
        return self

    @property
    def planned_steps(self) -> int:
        """Optimiser steps of the whole stage."""
        return self.steps

    def phases(self) -> list[tuple[int, int, FullPhase]]:
        """Sub-stages as (first step, end step, settings with every key filled in)."""
        return sub_stages(self.steps, self.curriculum, {key: getattr(self, key) for key in PHASE_KEYS})

    def sampled(self) -> list[FullPhase]:
        """The rule of each phase."""
        return [rule for _, _, rule in self.phases()]

    def drawn(self, rule: FullPhase, pools: int) -> list[int]:
        """Those of the entries that the phase names; there is a pool for each entry."""
        return [n for n, entry in enumerate(self.data) if entry in drawn_in(rule, self.data)]

    def entries(self) -> list[Entry]:
        """Prompts whose replies are graded."""
        path = f"stages.{self.name}.data"
        return [
            Entry(f"{path}.{d.name or d.domain}", d.domain, d.source, Split.RL, reading_of(d))
            for d in self.data
        ]

    def batch(self) -> tuple[str, int, int]:
        """Prompts, over all pools that a step draws from; in the phase that has the fewest."""
        return "prompts_per_step", self.prompts_per_step, self.fewest([d.problems for d in self.data])

    def asked_modes(self) -> list[tuple[str, frozenset[Mode]]]:
        """One, or both by halves."""
        modes = frozenset(Mode) if self.mode_mix == "half" else frozenset({Mode(self.mode_mix)})
        return [(f"stages.{self.name}.mode_mix", modes)]

    def may_share(self, other: StageSpec) -> bool:
        """RLHF may ask what the reward model was trained on, as in the report."""
        # RL stages never share with each other: arXiv 2512.13607 (section 4.1.1) counts this among the
        # reasons why little is forgotten.
        return other.trains == "reward_model"

    def reward_model_among(self, earlier: Sequence[StageSpec]) -> str | None:
        """The one that it names, else the last that an earlier stage trains; none beside one from outside."""
        if self.reward_model_from is not None:
            return None
        trained = [stage.name for stage in earlier if stage.trains == "reward_model"]
        return self.reward_model or (trained[-1] if trained else None)

    def adds_scores(self) -> bool:
        """If an entry wants it."""
        return any(entry.with_reward_model for entry in self.data)

    def outside(self) -> str | None:
        """The reward model that it asks, if that is none of the run's."""
        return self.reward_model_from

    def dangling(self, earlier: Sequence[StageSpec]) -> Problems:
        """A reward model that no earlier stage trains."""
        if self.reward_model and self.reward_model_from:
            return [(f"stages.{self.name}.reward_model_from", "not beside reward_model: say one of them")]
        trained = [stage.name for stage in earlier if stage.trains == "reward_model"]
        if not self.reward_model or self.reward_model in trained:
            return []
        path = f"stages.{self.name}.reward_model"
        return [(path, f"no earlier reward_model stage {self.reward_model!r}")]

    def lacking(self, domains: Mapping[str, Able], earlier: Sequence[StageSpec]) -> Problems:
        """A reward model that its domains need and nobody trains; one, or a judge, that no domain asks."""
        return _vain(self, domains, earlier)

    def shrunk(self) -> Self:
        """A few short replies to a few prompts; every phase is walked through."""
        return super().shrunk().model_copy(update=_small(self))

    def explained(self) -> list[str]:
        """Replies and updates a step, prompts, phases."""
        return [_batch(self), *self.rate_told(), _prompts(self), *(_phase(*phase) for phase in self.phases())]

    @classmethod
    def for_second_engine(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """`tis` unless the stage says what it wants: another engine's probabilities are not the trainer's.

        With more than one update the ratio is taken against the sampler's own log-probabilities already.
        """
        # raw last: what the stage says itself wins, also `none`
        return {"rollout_correction": "tis", **raw} if raw.get("updates_per_batch", 1) == 1 else raw


def _vain(stage: RLStage, domains: Mapping[str, Able], earlier: Sequence[StageSpec]) -> Problems:
    problems: Problems = []
    path = f"stages.{stage.name}"
    learned = stage.adds_scores() or any(domain.learned for domain in domains.values())
    problems += unscored(stage.name, stage.data, domains, stage.judge)
    if learned and not stage.reward_model_from and stage.reward_model_among(earlier) is None:
        problems.append((path, "needs a reward_model stage before it"))
    if stage.judge and not any(domain.judged for domain in domains.values()):
        problems.append((f"{path}.judge", "has no effect: no domain of this stage asks it"))
    for key in ("reward_model", "reward_model_from"):
        if getattr(stage, key) and not learned:
            problems.append((f"{path}.{key}", "has no effect: no domain of this stage asks for it"))
    return problems


def _small(stage: RLStage) -> dict[str, Any]:
    """What a smoke test changes beside what it changes in every stage."""
    # all of the recipe's, not those of `phases()`: with so few steps one may have rounded to none
    phases = max(1, len(stage.curriculum))
    short = {"max_response_tokens": SMOKE_TOKENS}
    return short | {
        "data": [d.model_copy(update={"problems": min(d.problems, 16)}) for d in stage.data],
        "curriculum": [
            p.model_copy(update={"share": 1 / phases} | (short if p.max_response_tokens else {}))
            for p in stage.curriculum
        ],
        "steps": max(2, phases),
        "prompts_per_step": min(stage.prompts_per_step, 4),
        "rollouts_per_prompt": min(stage.rollouts_per_prompt, 4),
        "updates_per_batch": min(stage.updates_per_batch, stage.prompts_per_step, 4),
        "overlong_buffer": stage.overlong_buffer and min(stage.overlong_buffer, SMOKE_TOKENS // 2),
    }


def _batch(stage: RLStage) -> str:
    replies = stage.prompts_per_step * stage.rollouts_per_prompt
    updates = f"{stage.updates_per_batch} updates each ({stage.loss})"
    if stage.updates_per_batch == 1:
        updates = "one update each (strictly on-policy)"
    return (
        f"{stage.steps} steps: {stage.prompts_per_step} prompts x {stage.rollouts_per_prompt} rollouts = "
        f"{replies} replies, {updates}"
    )


def _prompts(stage: RLStage) -> str:
    shares = ", ".join(f"{_called(d)} ({d.problems}, weight {d.weight:g})" for d in stage.data)
    asked = f"; reward model {stage.reward_model_from}" if stage.reward_model_from else ""
    corrected = f"; correction {stage.rollout_correction}" if stage.rollout_correction != "none" else ""
    return f"prompts: {shares}; {stage.mode_mix}; filter {stage.filter.kind}{asked}{corrected}"


def _called(entry: RLData) -> str:
    scored = " with the reward model" if entry.with_reward_model else ""
    return (f"{entry.name}, of {entry.domain}" if entry.name else entry.domain) + scored


def _phase(start: int, end: int, rule: FullPhase) -> str:
    """Lengths and sampling of a phase; a filter of tokens that is off by default is named when it is on."""
    filters = [f"top-p {rule.top_p:g}"]
    filters += [
        f"{name} {value:g}" for name, value in (("top-k", rule.top_k), ("min-p", rule.min_p)) if value
    ]
    drawn = f"prompts of {', '.join(rule.data)}, " if rule.data else ""
    return (
        f"steps {start}-{end}: {drawn}responses up to {rule.max_response_tokens} tokens, "
        f"temperature {rule.temperature:g}, {', '.join(filters)}, overlong: {rule.overlong}"
    )
