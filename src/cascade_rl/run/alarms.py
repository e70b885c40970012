"""What a curve should not do: a stage that looks alive and learns nothing, or is about to fall apart.

Each rule looks at one metric of the journal: its values up to a step, that one last. The run says a rule once
when it breaks, the report marks every step that broke it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

START_STEPS = 3  # the first entropies are noisy: their mean is the start
BACK_STEPS = 20  # how far back a change of length is looked for; slower ones are what training is for
QUIET_STEPS = 20  # a rule that stays broken is not said again in this many steps
FAR = 3  # times its start: a loss or an entropy there is no noise
BROKEN = 0.20  # of the replies: below it twice the start is the noise of a batch
RISE = 1.1  # times its lowest: a held-out loss there rises, as it does once training only repeats itself
LOST_STEPS = 10  # one batch may be hard; a mean over so many is where the model stands


@dataclass(frozen=True, slots=True)
class Rule:
    """When `broken(values)` holds for the values up to a step, the step gets a mark on the metric's curve.

    supervised  only where nothing is rewarded (SFT, reward model): the loss of RL has no scale, since it says
                how advantages and probabilities go together, not how good the policy is
    """

    metric: str
    title: str
    meaning: str
    broken: Callable[[Sequence[float]], bool]
    supervised: bool = False

    def applies(self, metrics: Mapping[str, float]) -> bool:
        """Whether a step with these metrics can break it."""
        return self.metric in metrics and not (self.supervised and "reward" in metrics)


def _start(values: Sequence[float]) -> float:
    # infinite where nothing is known, so that no value can be above it
    first = [v for v in values if math.isfinite(v)][:START_STEPS]
    return math.fsum(first) / len(first) if first else math.inf


def _first_loss(losses: Sequence[float]) -> float:
    # the least of the first ones, no mean: a model that explodes at its first update is no start
    return min((v for v in losses[:START_STEPS] if math.isfinite(v)), default=math.inf)


def _jumped(values: Sequence[float]) -> bool:
    if len(values) <= BACK_STEPS:
        return False
    now, before = values[-1], values[-1 - BACK_STEPS]
    return now > 2 * before or now < before / 2


def _exploded(values: Sequence[float]) -> bool:
    before = [v for v in values[-1 - BACK_STEPS : -1] if math.isfinite(v)]
    # five: the median of fewer is a guess. Ten times: SFT's own batches differ by two to four
    return len(before) >= 5 and values[-1] > 10 * statistics.median(before)


def lost(losses: Sequence[float], chance: float, *, ended: bool = False) -> bool:
    """Whether a supervised stage has diverged for good: its loss says that more was unlearnt than known.

    The mean of the last ten steps is above three times the start (the least of the first three steps) and
    above `chance`, the loss of a model that knows nothing. A stage that `ended` is judged by what it has, if
    that is less.
    """
    # Three times alone would stop a good model on a hard mixture, chance alone one that begins above it: from
    # scratch the loss starts at two to three times ln(vocabulary).
    later = [loss for loss in losses[START_STEPS:][-LOST_STEPS:] if math.isfinite(loss)]
    if not later or (len(later) < LOST_STEPS and not ended):
        return False
    return math.fsum(later) / len(later) > max(FAR * _first_loss(losses), chance)


def drifted(losses: Sequence[float], *, ended: bool = False) -> bool:
    """Whether a supervised stage has left what it does not train on: held-out losses far above the first.

    Twice in a row above three times the first; of a stage that `ended` the last one decides. The same rows
    every time, so that nothing else has to be asked: what is held out is never a hard batch.
    """
    first, *later = losses or [math.inf]
    if not later or (len(later) < 2 and not ended):
        return False
    most = FAR * first if math.isfinite(first) else math.inf
    # not `above`: what is no number is lost, too
    return all(not loss <= most for loss in later[-1 if ended else -2 :])


def overfits(losses: Sequence[float]) -> bool:
    """Whether the last held-out loss is more than a tenth above the lowest before it."""
    return len(losses) > 1 and losses[-1] > RISE * min(losses[:-1])


# What the metrics are is told in docs/runs.md; several rules may hold for one of them.
# They warn and stop nothing: a stage ends by updates that are not finite or a loss that is `lost`
# (`train/loop`), graders that fail (`train/gather`), or for want of any signal.
RULES = (
    Rule(
        "signal",
        "Reward without signal",
        "all replies to each prompt earned the same, so nothing was learnt",
        lambda v: v[-1] == 0,
    ),
    Rule(
        "signal",
        "Under 10 % with signal",
        "nearly all prompts are solved always or never; the batch teaches little",
        lambda v: 0 < v[-1] < 0.10,
    ),
    Rule(
        "clipped",
        "More than 30 % clipped",
        "replies hit the token limit before they could answer",
        lambda v: v[-1] > 0.30,
    ),
    Rule(
        "length",
        "Length halved or doubled in 20 steps",
        "the policy changes how it answers; read the samples",
        _jumped,
    ),
    # no bound alone: long problems are cut off in their thoughts from the first step on, as `clipped` tells
    Rule(
        "leak",
        "Modes broken above 20 % and 2 × its start",
        "replies leave out their reasoning, or think in instruct mode; read the samples",
        lambda v: v[-1] > max(BROKEN, 2 * _start(v)),
    ),
    Rule("entropy", "Entropy under 0.05", "the policy has nearly stopped exploring", lambda v: v[-1] < 0.05),
    Rule(
        "entropy",
        "Entropy above 3 × its start",
        "the policy is dissolving into noise",
        lambda v: v[-1] > FAR * _start(v),
    ),
    Rule(
        "loss",
        "Loss is not a number",
        "the batch was lost or harmful",
        lambda v: not math.isfinite(v[-1]),
        True,
    ),
    Rule(
        "loss",
        "Loss above 3 × its start",
        "the model unlearns; lower the learning rate",
        lambda v: v[-1] > FAR * _first_loss(v),
        True,
    ),
    Rule(
        "grad_norm",
        "Gradient norm above 10 × that of the 20 steps before",
        "the model may fly apart; lower the learning rate or warm up longer",
        _exploded,
        True,
    ),
    Rule(
        "ratio",
        "Mean ratio is not 1",
        "trainer and sampler disagree about the sampled tokens by more than 5 %",
        lambda v: abs(v[-1] - 1) > 0.05,
    ),
    Rule(
        "mismatch_kl",
        "Sampler and trainer differ",
        "their KL is above 0.001 before the update: stale weights, another "
        "temperature, or too coarse a precision",
        lambda v: v[-1] > 1e-3,
    ),
    Rule(
        "passes_clipped",
        "Clipped although on-policy",
        "verl's pass for the old log-probabilities and its update disagree on the same weights: "
        "give both the same micro-batches",
        lambda v: v[-1] > 0,
    ),
    Rule(
        "passes_kl",
        "Two passes over the same weights differ",
        "verl's old log-probabilities are not those of its update, so that the ratio is not 1",
        lambda v: abs(v[-1]) > 1e-3,
    ),
    Rule("grad_norm", "Gradient norm is 0", "the update changed nothing", lambda v: v[-1] == 0),
    Rule(
        "grad_norm",
        "Gradient norm is not a number",
        "the update was lost or harmful",
        lambda v: not math.isfinite(v[-1]),
    ),
    Rule(
        "skipped",
        "Update skipped",
        "its gradient was not finite, so the weights stayed as they were",
        lambda v: v[-1] > 0,
    ),
    Rule(
        "failed",
        "More than 1 % not graded",
        "the grader failed; these replies were dropped, not scored 0",
        lambda v: v[-1] > 0.01,
    ),
)


def broken_steps(rule: Rule, values: Sequence[float]) -> list[int]:
    """The places at which a rule is broken."""
    # each step is judged by what was known then, as the run did, so page and journal agree
    return [i for i in range(len(values)) if rule.broken(values[: i + 1])]


def warnings(history: Sequence[Mapping[str, float]]) -> list[str]:
    """A line for each rule that the last step broke and that was kept in the 20 steps before it."""
    found = []
    for rule in RULES:
        values = [float(m[rule.metric]) for m in history if rule.applies(m)]
        if not values or not rule.applies(history[-1]) or not rule.broken(values):
            continue
        # from 1: a rule needs a value. Ends are lengths, so the last one is left out by itself
        ends = range(max(1, len(values) - QUIET_STEPS), len(values))
        if not any(rule.broken(values[:end]) for end in ends):
            found.append(f"alarm: {rule.title} ({rule.metric} {values[-1]:.3g}): {rule.meaning}")
    return found
