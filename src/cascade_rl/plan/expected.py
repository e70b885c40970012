"""What a plan assumes where no run has shown it: lengths, rounds of sampling, verdicts, speed.

`plan/like.py` knows the same of a run that was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.plan.efficiency import Efficiency, efficiency_of
from cascade_rl.plan.hardware import Hardware
from cascade_rl.plan.lengths import Lognormal, Spread, answered, near_mean, stated, usual
from cascade_rl.plan.shapes import Shape
from cascade_rl.plan.verdicts import mean_seconds, verdict
from cascade_rl.recipe import Recipe, RLStage
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.stage import Entry
from cascade_rl.recipe.verl import Engine

SAMPLES, WIDTH = (
    0.032,
    0.6,
)  # of SFT: the share that reaches the limit, and the sigma: the median is a third of it
# Cascade 2 packs 64 rows of 262,144 tokens a step of 1,130 samples (arXiv 2603.19220): no SFT has longer ones
PACKED = 64 * 262144 / 1130
PROMPTS = "a quarter of what their limit and the model leave, at most 1,024 and a reply's limit (assumed)"
# Share of groups whose replies differ in reward; the rest is drawn anew by filter `batch`, and else trains
# nothing. Measured: 0.38 to 0.63 by stage, SmolLM2-135M's evening (docs/evening.md).
SIGNAL = 0.6
ROUNDS = f"filter batch; {SIGNAL:.0%} of the groups carry signal (assumed)"


class Expected:
    """By the recipe alone; every answer says in words where it is from.

    `stated` is what a user says of the replies of some stages, by name; it goes before all else.
    """

    def __init__(self, stated: Mapping[str, str] | None = None) -> None:
        self.stated = stated or {}

    def replies(self, stage: RLStage, limit: int, first: int, end: int) -> Spread:
        """The replies of a stage's steps from `first` to `end`, which have this limit."""
        if said := self.stated.get(stage.name):
            return stated(said, limit)
        # how often replies are cut falls with the steps of the first limit, see `usual`
        return usual(stage.domains()[0], limit, first, end, first_limit=first == 0)

    def answers(self, domain: str, limit: int) -> Spread:
        """A policy's own answers, outside of RL."""
        return usual(domain, limit)

    def asked(self, benchmark: BenchmarkSpec) -> Spread:
        """The replies to a benchmark."""
        return answered(benchmark.domain or "", benchmark.max_response_tokens)

    def samples(self, stage: str, limit: int) -> Spread:
        """Samples of SFT and answers of pairs, prompts included."""
        found = Lognormal(limit, SAMPLES, WIDTH, f"lognormal around a third of {limit} tokens (assumed)")
        if found.mean <= PACKED:
            return found
        return near_mean(limit, PACKED, 0.0, f"a mean of {PACKED:,.0f} tokens, as Cascade 2's packed rows")

    def prompt(
        self, limit: int, reply: int, positions: int, stage: str = "", domain: str = ""
    ) -> tuple[int, str]:
        """Tokens of a prompt under a limit, which leaves room for a reply in a model of so many positions.

        Of a stage, or of any that asks problems of a domain.
        """
        return max(1, min(1024, reply, min(limit, positions - reply) // 4)), PROMPTS

    def rounds(self, stage: RLStage) -> tuple[float, str]:
        """How often as many replies are sampled as are trained on."""
        if stage.filter.kind != "batch":
            return 1.0, ""
        return min(stage.filter.max_rounds, 1 / SIGNAL), ROUNDS

    def signal(self, stage: RLStage) -> tuple[float, str]:
        """The share of a step's groups whose replies differ in reward, and why if it is not all."""
        # a score differs from reply to reply, a rule's verdict may be the same for all
        if all(load_domain(name).learned for name in stage.domains()):
            return 1.0, ""
        share = min(1.0, SIGNAL * (stage.filter.max_rounds if stage.filter.kind == "batch" else 1))
        return share, f"{share:.0%} of them, which carry signal (assumed)" if share < 1 else ""

    def verdict_seconds(self, entries: Sequence[Entry]) -> tuple[float, str]:
        """Seconds of one processor for the verdict on a reply of RL, in the mean over what it draws from."""
        found = [verdict(entry.domain, entry.source) for entry in entries]
        return mean_seconds(found), "; ".join(dict.fromkeys(one.said for one in found))

    def efficiency(self, engine: Engine, hardware: Hardware, shape: Shape) -> Efficiency:
        """Which share of the limit is reached."""
        return efficiency_of(engine, hardware, shape)


ASSUMED = Expected()


def stated_lengths(recipe: Recipe, said: Sequence[str]) -> dict[str, str]:
    """`STAGE:mean=TOKENS,clipped=SHARE` by stage; InputError for a stage that samples no replies."""
    names = [stage.name for stage in recipe.stages if isinstance(stage, RLStage)]
    found = {}
    for text in said:
        name, colon, lengths = text.partition(":")
        if name not in names or not colon:
            raise InputError(
                f"--lengths {text!r}: write STAGE:mean=TOKENS,clipped=SHARE; "
                f"the RL stages are {', '.join(names)}"
            )
        found[name] = lengths
    return found
