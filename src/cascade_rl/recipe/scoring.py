"""How a run is scored: benchmarks, the gate after each stage, and what is tried before one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cascade_rl.recipe.base import Fraction, Positive, Strict
from cascade_rl.recipe.tables import PAIR_MAPS, BadRows, MapKey, is_none, reading_of, table_only
from cascade_rl.types import Mode


class BenchmarkSpec(Strict):
    """Held-out problems of one domain, scored after every stage in both modes (avg@k, and greedy).

    `suite` names a published benchmark (`cascade benchmarks`): what is not said here is as it says.

    Without a `domain` the rows of `source` are own pairs, as `map` reads them: the policy answers their
    held-out prompts, and the metric is how often a reward model prefers its reply to the chosen one: that of
    the stage `reward_model`, the last such stage if None, from its end on.

    `k` samples a problem in the headline mode, `k_other_mode` (the same if None) in the other one; without
    `both_modes` there is no other one. `greedy` asks for one greedy reply to each problem beside them. `mode`
    is the headline; None takes the domain's own. `own_stage` is the stage that trains for it; None takes the
    last RL stage with that domain, else the last SFT stage, else none.
    """

    # published ones are called as their files are: aime24, gpqa_diamond
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    # left out of the record where it is not given, as what follows: it is no change of older runs
    suite: Annotated[str | None, Field(exclude_if=is_none)] = None
    domain: str | None = None
    source: str = "builtin"
    map: MapKey = None
    # left out of the record where it is not given, so that it is no change of older runs
    reward_model: Annotated[str | None, Field(exclude_if=is_none)] = None
    split: str | None = None
    bad_rows: BadRows = None
    # 200 x 4: at 50 % a 95 % interval of about 7 points to either side where samples of a problem agree
    problems: Positive = 200
    k: Positive = 4
    k_other_mode: Positive | None = None
    mode: Mode | None = None
    both_modes: bool = True
    greedy: Annotated[bool, Field(exclude_if=bool)] = True
    # sampling of the report's evaluation (arXiv 2512.13607, appendix B), in every benchmark
    temperature: Annotated[float, Field(ge=0)] = 0.6
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    min_p: Fraction = 0.0
    max_prompt_tokens: Positive = 4096
    max_response_tokens: Positive = 4096
    own_stage: str | None = None

    @property
    def replies(self) -> int:
        """To one problem, over all modes, the greedy ones included."""
        other = (self.k_other_mode or self.k) if self.both_modes else 0
        greedy = (2 if self.both_modes else 1) if self.greedy else 0
        return self.k + other + greedy

    @model_validator(mode="after")
    def _own_pairs(self) -> BenchmarkSpec:
        if self.domain is not None:
            if self.reward_model is not None:
                raise ValueError(
                    "reward_model has no effect with a domain, whose own grader scores; remove it"
                )
            return self
        if self.map is None:
            raise ValueError(f"needs a domain, or a map of own pairs: {', '.join(PAIR_MAPS)}")
        if isinstance(self.map, str) and self.map not in PAIR_MAPS:
            raise ValueError(f"without a domain map must be one of own pairs: {', '.join(PAIR_MAPS)}")
        table_only(self.source)
        return self

    @model_validator(mode="after")
    def _of_a_suite(self) -> BenchmarkSpec:
        """What says how rows are read is the benchmark's own, where there is one."""
        if self.suite is not None and (said := reading_of(self).told()):
            raise ValueError(
                f"{', '.join(said)}: no effect with suite, which reads its rows itself; remove it"
            )
        return self

    @model_validator(mode="after")
    def _without_chance(self) -> BenchmarkSpec:
        """At temperature 0 all samples are one reply: more of them would only look like evidence."""
        if self.temperature == 0 and (self.k, self.k_other_mode or 1, self.greedy) != (1, 1, False):
            raise ValueError("temperature 0 gives one reply to a prompt; set k: 1 and greedy: false with it")
        return self

    @model_validator(mode="after")
    def _other_mode(self) -> BenchmarkSpec:
        if not self.both_modes and self.k_other_mode is not None:
            raise ValueError("k_other_mode has no effect with both_modes: false; remove it")
        return self


class Dip(Strict):
    """A fall that is expected: of `benchmark` at stage `at`, to be recovered by the end of `until`.

    `most` is how deep it may go, as a share: 0.25 is 25 points.
    """

    benchmark: str
    at: str
    until: str
    most: Annotated[float, Field(gt=0, le=1)] = 0.5


class Waiver(Strict):
    """A fall of a benchmark at a stage that somebody accepts; the model card gives the reason."""

    benchmark: str
    stage: str
    # ten characters: enough to keep an empty word out
    reason: Annotated[str, Field(min_length=10)]

    @field_validator("reason")
    @classmethod
    def _reason(cls, reason: str) -> str:
        """Ten blanks are long enough and say nothing."""
        if not reason.strip():
            raise ValueError("a waiver without a reason: say why in reason")
        return reason


class Gate(Strict):
    """What happens after each stage: `warn`, `stop`, or `best` (hand over the stage's best probed step).

    `band` is the fall that still counts as swing between steps, as a share: 0.04 is 4 points. With `best`,
    every `probe_every` steps all domains are scored on `probe_problems` validation problems, which no
    benchmark uses. What the gate makes of these settings is told in `scores/gate.py`.
    """

    policy: Literal["warn", "stop", "best"] = "warn"
    # how it was found: `scores/gate.py`, rule 2
    band: Fraction = 0.04
    probe_every: Positive | None = None
    probe_problems: Positive | None = None
    dips: list[Dip] = Field(default_factory=list)
    waivers: list[Waiver] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _fill_probes(cls, raw: Any) -> Any:
        if isinstance(raw, Mapping) and raw.get("policy") == "best":
            return {
                **raw,
                "probe_every": raw.get("probe_every") or 10,
                "probe_problems": raw.get("probe_problems") or 48,
            }
        return raw

    @model_validator(mode="after")
    def _probes(self) -> Gate:
        extra = [key for key in ("probe_every", "probe_problems") if getattr(self, key) is not None]
        if self.policy != "best" and extra:
            raise ValueError(f"{', '.join(extra)}: no effect unless policy is best")
        return self


class PreflightSpec(Strict):
    """Before each stage `problems` of its problems are graded: gold earns all, empty none, twice the same."""

    problems: Positive = 32
    # share of a pool's tried problems; more says that the grader is broken, not the data
    max_bad: Fraction = 0.1
