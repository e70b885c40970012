"""Which prompts an RL stage draws, which of them it keeps, and how its phases sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from cascade_rl.recipe.base import NAME, Fraction, Positive, Strict, tag_of
from cascade_rl.recipe.tables import BadRows, MapKey, is_false, is_none


class RLData(Strict):
    """A share of the prompts of an RL stage; `problems` bounds the pool that is drawn from.

    `name` is what phases of a curriculum and the command line call it by, where its domain does not say it.
    `with_reward_model` adds to a right reply's reward of 1 the sigmoid of the reward model's score, which is
    normalised over the group, and takes all from any other. `code_switch` is what a reply in foreign script
    to an English prompt earns: `off`, a reward, or `batch_min_minus_10` (the report's RLHF; math -1, code 0).
    """

    # left out of the record where it is not given, so that it is no change of older runs
    name: Annotated[Annotated[str, Field(pattern=NAME)] | None, Field(exclude_if=is_none)] = None
    domain: str
    source: str = "builtin"
    map: MapKey = None
    split: str | None = None
    bad_rows: BadRows = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    # no figure of the report, whose pools hold 9.8K (code) to 14K (math) problems
    problems: Positive = 1024
    code_switch: Literal["off", "batch_min_minus_10"] | float = "off"
    # IF-RL of the report's thinking models (section 4.3)
    with_reward_model: Annotated[bool, Field(exclude_if=is_false)] = False

    @field_validator("code_switch", mode="before")
    @classmethod
    def _plain_off(cls, value: object) -> object:
        """YAML 1.1 reads a bare `off` as false, which would become a reward of 0."""
        if value is False:
            return "off"
        if value is True or (isinstance(value, str) and value not in ("off", "batch_min_minus_10")):
            raise ValueError("should be off, batch_min_minus_10 or a reward, such as -1.0")
        return value


class NoFilter(Strict):
    """Every group is used; groups without signal simply have no gradient."""

    kind: Literal["none"] = "none"


class BatchFilter(Strict):
    """Refill until every group has mixed rewards, at most `max_rounds` times (DAPO, arXiv 2503.14476)."""

    kind: Literal["batch"]
    # DAPO samples until the batch is full; a pool without signal would then never end a step
    max_rounds: Positive = 4


class EpochFilter(Strict):
    """After an epoch drop problems solved always or never; re-admit them with these probabilities."""

    kind: Literal["epoch"]
    # math RL, arXiv 2512.13607 section 4.5: about 90 % of the samples then carry signal
    readmit_hard: Fraction = 0.10
    readmit_easy: Fraction = 0.01


AnyFilter = NoFilter | BatchFilter | EpochFilter
Filter = Annotated[AnyFilter, Field(discriminator="kind")]
FILTER_KINDS = {tag_of(block): block for block in get_args(AnyFilter)}

Overlong = Literal["mask", "zero", "score", "penalty"]


class Phase(Strict):
    """A sub-stage of a curriculum: `share` of the steps, with its own lengths, sampling and data.

    `data` are the names of the stage's entries that it draws from, by their weights; all if it says none.
    """

    share: Annotated[float, Field(gt=0, le=1)]
    data: Annotated[list[str] | None, Field(min_length=1, exclude_if=is_none)] = None
    max_prompt_tokens: Positive | None = None
    max_response_tokens: Positive | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Fraction | None = None
    overlong: Overlong | None = None


class FullPhase(Phase):
    """A phase with every key filled in: the rule by which replies are sampled."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_prompt_tokens: Positive
    max_response_tokens: Positive
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Fraction = 0.0
    overlong: Overlong = "score"


# What a phase may set for itself, where the stage's own value holds otherwise. Its `data` are names, which
# the stage's own don't hold.
PHASE_KEYS = tuple(key for key in Phase.model_fields if key not in ("share", "data"))


def unfit_buffer(rules: Sequence[FullPhase], buffer: int | None) -> str | None:
    """What is wrong with an `overlong_buffer` beside the rules of all phases; None if nothing is."""
    limits = [rule.max_response_tokens for rule in rules if rule.overlong == "penalty"]
    if buffer is None:
        if limits:
            return "overlong penalty needs overlong_buffer: how many tokens before the limit it begins"
    elif not limits:
        return "overlong_buffer has no effect unless overlong is penalty; remove it"
    elif buffer >= min(limits):
        return f"overlong_buffer {buffer} must be below max_response_tokens ({min(limits)})"
    return None


def sub_stages(
    steps: int, curriculum: Sequence[Phase], own: Mapping[str, Any]
) -> list[tuple[int, int, FullPhase]]:
    """A stage's phases as (first step, end step, rule).

    `own` is what the stage says itself, for the keys that a phase leaves out. A phase whose share rounds to
    no step does not take place.
    """
    found, start, share = [], 0, 0.0
    for phase in curriculum or [Phase(share=1.0)]:
        share += phase.share
        # Of the shares' sum, so that roundings do not add up and the last phase ends at the last step.
        end = round(steps * share)
        if end > start:
            said = phase.model_dump(exclude_none=True)
            found.append((start, end, FullPhase.model_validate({**own, **said})))
        start = end
    return found


def replaced_keys(stage: Mapping[str, Any]) -> list[str]:
    """The keys of a raw stage that have no effect because every phase of its curriculum sets its own."""
    phases = stage.get("curriculum")
    if not isinstance(phases, list) or not phases or not all(isinstance(p, Mapping) for p in phases):
        return []
    return [key for key in PHASE_KEYS if all(key in phase for phase in phases)]


class JudgeSpec(Strict):
    """A judge model behind an OpenAI-compatible address: the probability of its YES is the reward.

    `api_key_variable` is the environment variable that holds the key. One that reasons needs more tokens.
    """

    url: str
    model: str
    api_key_variable: str | None = None
    # seconds of one attempt; there are four
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    judge_tokens: Positive = 8
