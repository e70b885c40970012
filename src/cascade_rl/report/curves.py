"""Which curves a stage shows: the metrics, their units, and what each means in one line.

A metric that the journal does not hold omits its chart. A further kind may have a row of `CURVES` and of
`TITLES`; without one it shows what all kinds have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cascade_rl.report.alarms import Alarm
from cascade_rl.report.charts import SMOOTH_FROM, Chart, Mark, Series, line_chart
from cascade_rl.report.markup import esc
from cascade_rl.report.records import Stage, Step

RL, REWARD_MODEL, SFT = "rl", "reward_model", "sft"  # kinds, as recipes name them
TITLES = {RL: "reinforcement learning", REWARD_MODEL: "reward model", SFT: "supervised fine-tuning"}
BAND = " The band is ± one standard deviation."
PG_LOSS = (
    "Not a measure of progress. Advantages sum to zero within each group and the importance ratio is 1, so a "
    "policy-gradient loss near 0 is healthy: the gradient is not 0. Read reward, signal and gradient norm "
    "instead."
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One chart.

    lines    metric -> name of its line
    share    whether the metrics are shares, shown in percent
    spread   the metric that is the half width of a band
    split    the prefix of the metrics that have a line for each domain
    floor    a value that the y axis must reach downwards; None lets the data decide
    ceiling  likewise upwards, so that noise near zero is not blown up
    """

    title: str
    unit: str
    meaning: str
    lines: tuple[tuple[str, str], ...]
    share: bool = False
    spread: str | None = None
    split: str | None = None
    floor: float | None = 0.0
    ceiling: float | None = None


REWARD = Curve(
    "Reward",
    "mean reward",
    "Mean reward of the replies sampled at each step.",
    (("reward", "reward"),),
    spread="reward_std",
    split="reward/",
    floor=None,
)
LENGTH = Curve(
    "Response length", "tokens", "Mean tokens per reply, thinking included.", (("length", "length"),)
)
CLIPPED = Curve(
    "Clipped replies",
    "% of replies",
    "Replies cut off at the token limit; above 30 % the limit decides the reward.",
    (("clipped", "clipped"),),
    share=True,
    ceiling=10,
)
ENTROPY = Curve(
    "Entropy",
    "nats per token",
    "How undecided the policy is; near 0 it no longer explores, a steep rise is noise.",
    (("entropy", "entropy"),),
)
SIGNAL = Curve(
    "Groups with signal",
    "% of groups",
    "Groups whose replies earned different rewards: only these teach. The rest were all solved or none.",
    (("signal", "mixed rewards"), ("solved_all", "all solved"), ("solved_none", "none solved")),
    share=True,
    ceiling=100,
)
SIGNAL_BY_DOMAIN = Curve(
    "Signal by domain",
    "% of groups",
    "Groups with mixed rewards, one line per domain of the stage.",
    (),
    share=True,
    split="signal/",
    ceiling=100,
)
GRADIENT = Curve(
    "Gradient norm",
    "L2 norm",
    "Size of the update before clipping; 0 means nothing was learnt, spikes are unstable.",
    (("grad_norm", "gradient norm"),),
)
CHANGE = Curve(
    "Update size",
    "share of the weights' norm",
    "Norm of the weights' change over their own, at each update; a steep rise comes before a collapse.",
    (("update_ratio", "update"),),
)
SAMPLE_SIZE = Curve(
    "Effective sample size",
    "% of tokens",
    "How many of the trained tokens count, with the trainer's over the sampler's probability as weights; "
    "100 is on-policy.",
    (("ess", "effective"),),
    share=True,
    ceiling=100,
)
KL = Curve(
    "Distance from the start",
    "nats per token",
    "KL divergence from the policy that the stage began with.",
    (("kl", "KL"),),
)
AGREEMENT = Curve(
    "Trainer against sampler",
    "nats per token",
    "How far apart the two engines' log-probabilities of the sampled tokens are; "
    "above 0.001 the KL is a fault.",
    (("mismatch", "mean difference"), ("mismatch_kl", "KL")),
)
RATE = Curve("Learning rate", "per step", "The step size that the schedule gave.", (("lr", "learning rate"),))
FAULTS = Curve(
    "Faults",
    "% of replies",
    "Replies that the grader could not judge (dropped), and replies that broke their mode.",
    (("failed", "not graded"), ("leak", "broke their mode")),
    share=True,
    ceiling=5,
)
UNUSABLE = Curve(
    "Unusable replies",
    "% of replies",
    "Replies in which no answer could be read, and those whose program ran too long.",
    (("unparseable", "no answer read"), ("timeout", "ran too long")),
    share=True,
    ceiling=10,
)
RL_LOSS = Curve("Policy-gradient loss", "loss", PG_LOSS, (("loss", "loss"),), floor=None)
SFT_LOSS = Curve(
    "Loss",
    "nats per token",
    "Cross-entropy on the reply tokens; should fall, quickly at first.",
    (("loss", "loss"),),
)
RM_LOSS = Curve(
    "Loss",
    "nats per pair",
    "Bradley–Terry loss of chosen against rejected; 0.69 is guessing.",
    (("loss", "loss"),),
)
ACCURACY = Curve(
    "Accuracy",
    "% of pairs",
    "Pairs in which the chosen reply scores higher; 50 % is guessing.",
    (("accuracy", "accuracy"),),
    share=True,
    ceiling=100,
)
MARGIN = Curve(
    "Margin", "score", "Chosen score minus rejected score, mean over the batch.", (("margin", "margin"),)
)

# of the lines about held-out rows, where a stage has some
HELDOUT = {
    SFT: (
        Curve(
            "Held-out loss",
            "nats per token",
            "Cross-entropy on replies that are not trained on; once it rises, the stage only repeats itself.",
            (("loss", "loss"),),
            split="loss/",
        ),
    ),
    REWARD_MODEL: (
        Curve(
            "Held-out loss",
            "nats per pair",
            "Bradley–Terry loss on pairs that are not trained on; 0.69 is guessing.",
            (("loss", "loss"),),
        ),
        Curve(
            "Held-out accuracy",
            "% of pairs",
            "Held-out pairs, each once, in which the chosen reply scores higher; 50 % is guessing.",
            (("accuracy", "accuracy"),),
            share=True,
            ceiling=100,
        ),
    ),
}
CURVES = {
    RL: (
        REWARD,
        LENGTH,
        CLIPPED,
        ENTROPY,
        SIGNAL,
        SIGNAL_BY_DOMAIN,
        GRADIENT,
        CHANGE,
        RL_LOSS,
        KL,
        AGREEMENT,
        SAMPLE_SIZE,
        UNUSABLE,
        FAULTS,
        RATE,
    ),
    REWARD_MODEL: (RM_LOSS, ACCURACY, MARGIN, GRADIENT, CHANGE, RATE),
    SFT: (SFT_LOSS, GRADIENT, CHANGE, RATE),
}
SHARED = (LENGTH, ENTROPY, GRADIENT, CHANGE, RATE)  # of kinds without a row


def kind(stage: Stage) -> str:
    """The kind that stage.json records; told by the metrics where that file is lost."""
    if isinstance(recorded := stage.description.get("kind"), str):
        return recorded
    seen = {name for step in stage.steps for name in step.metrics}
    return RL if "reward" in seen else REWARD_MODEL if "accuracy" in seen else SFT


def title(stage: Stage) -> str:
    """What sort of stage it is, in words."""
    return TITLES.get(kind(stage), kind(stage))


def phases(steps: Sequence[Step]) -> tuple[tuple[float, str], ...]:
    """(first step, name) of each phase, when there is more than one."""
    before = ("", *(s.phase for s in steps))
    starts = [
        (float(s.step), s.phase)
        for s, last in zip(steps, before, strict=False)
        if s.phase and s.phase != last
    ]
    return tuple(starts) if len(starts) > 1 else ()


def _series(
    steps: Sequence[Step], metric: str, name: str, factor: float, spread: str | None
) -> Series | None:
    found = [s for s in steps if metric in s.metrics]
    if not any(math.isfinite(s.metrics[metric]) for s in found):
        return None
    points = tuple((float(s.step), factor * s.metrics[metric]) for s in found)
    widths = [s.metrics.get(spread, math.nan) if spread else math.nan for s in found]
    # a band with holes would be drawn as if it were none there
    known = all(math.isfinite(width) for width in widths)
    return Series(name, points, tuple(factor * width for width in widths) if known else None)


def lines(curve: Curve, steps: Sequence[Step]) -> tuple[Series, ...]:
    """The lines that the journal has values for; with several domains each gets a line and the band goes."""
    prefix = curve.split
    domains = sorted({m for s in steps for m in s.metrics if prefix and m.startswith(prefix)})
    several = len(domains) > 1  # with one domain its line would lie on that of all
    names = [(metric, "all" if several else name) for metric, name in curve.lines]
    names += [(metric, metric.removeprefix(prefix or "")) for metric in domains] if several else []
    factor, spread = 100.0 if curve.share else 1.0, None if several else curve.spread
    made = (_series(steps, metric, name, factor, spread) for metric, name in names)
    return tuple(series for series in made if series is not None)


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:
        return ""
    items = (f'<li><i class="key c{i % 8}"></i>{esc(s.name)}</li>' for i, s in enumerate(series))
    return f'<ul class="legend">{"".join(items)}</ul>'


def figure(curve: Curve, steps: Sequence[Step], alarms: Sequence[Alarm]) -> str:
    """One curve as a figure; empty text when there is nothing to draw."""
    series = lines(curve, steps)
    metrics = {metric for metric, _ in curve.lines}
    told = [(a, step) for a in alarms if a.rule.metric in metrics for step in a.steps]
    marks = tuple(Mark(step, f"{alarm.rule.title}: {alarm.rule.meaning}") for alarm, step in told)
    chart = Chart(curve.title, curve.unit, series, marks, phases(steps), curve.floor, curve.ceiling)
    svg = line_chart(chart) if series else ""
    if not svg:
        return ""
    extra = BAND if any(s.spread for s in series) else ""
    return (
        f'<figure class="curve" data-curve="{esc(curve.title)}"><figcaption>{esc(curve.title)}</figcaption>'
        f"{svg}{_legend(series)}<p>{esc(curve.meaning + extra)}</p></figure>"
    )


def constant_rate(steps: Sequence[Step]) -> float | None:
    """The learning rate if it never changes: then it is told in words."""
    rates = {step.metrics["lr"] for step in steps if "lr" in step.metrics}
    # one step shows no schedule
    return rates.pop() if len(rates) == 1 and len(steps) > 1 else None


def reading(steps: Sequence[Step], alarms: Sequence[Alarm]) -> str:
    """How to read the charts of a stage: only what they do show."""
    told = ["Point at a chart for the numbers of a step."]
    if len(steps) >= SMOOTH_FROM:
        told.append("Faint: every step; bold: the running mean.")
    if names := phases(steps):
        told.append(f"Dashed: a new phase begins ({', '.join(name for _, name in names)}).")
    if alarms:
        told.append("Triangles: alarms.")
    return " ".join(told)


def figures(stage: Stage, alarms: Sequence[Alarm]) -> str:
    """All curves of a stage."""
    curves = CURVES.get(kind(stage), SHARED)
    chosen = (c for c in curves if c is not RATE or constant_rate(stage.steps) is None)
    drawn = [figure(curve, stage.steps, alarms) for curve in chosen]
    # not among the first curve's steps: they are counted by what was done before
    drawn[1:1] = [figure(curve, stage.heldout, ()) for curve in HELDOUT.get(kind(stage), ())]
    return "".join(drawn)
