"""The numbers of an RL step that tell a healthy run from a dying one: deterministic, cheap beside the step.

They stand in the journal, whose bytes a resumed run repeats: nothing here may depend on clock or machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

import numpy as np

from cascade_rl.chat import leaks
from cascade_rl.recipe import RLStage
from cascade_rl.train.loss import effective_share
from cascade_rl.types import Group, Outcome, Rollout, Stop

NGRAM = 4  # tokens
LENGTHS = ("length", "length_p50", "length_p95", "length_max", "length_ended")
MEANS = ("loss", "grad_norm", "update_ratio", "skipped")  # of what the updates of a step say
OUTCOMES = {"failed": Outcome.GRADER_ERROR, "unparseable": Outcome.UNPARSEABLE, "timeout": Outcome.TIMEOUT}


def has_signal(advantages: Sequence[float | None]) -> bool:
    """Whether any member has a gradient."""
    # None (no reward) and exactly 0 (no spread) are alike here: neither moves a weight
    return any(advantages)


def share(groups: Sequence[Group], outcome: Outcome) -> float:
    """How many of all verdicts have this outcome."""
    return fmean(v.outcome is outcome for g in groups for v in g.verdicts)


def repetition(ids: Sequence[int], n: int = NGRAM) -> float:
    """The share of a reply's n-grams of tokens that occurred in it before; 0 where there are under two."""
    count = len(ids) - n + 1
    if count < 2:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(ids, np.int32), n)
    # each window as one value of 4 n bytes: by axis `unique` takes three times as long
    rows = np.ascontiguousarray(windows).view(np.dtype((np.void, 4 * n)))
    return 1.0 - len(np.unique(rows)) / count


def lengths(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Tokens of the replies of known length, NaN if none is; `length_ended`: of those that ended, or 0."""
    known = [r.tokens for r in rollouts if r.tokens is not None]
    if not known:
        return dict.fromkeys(LENGTHS, math.nan)
    middle, late = np.quantile(known, (0.5, 0.95))
    ended = [r.tokens for r in rollouts if r.tokens is not None and r.stop is Stop.END]
    values = (fmean(known), float(middle), float(late), max(known), fmean(ended) if ended else 0.0)
    return dict(zip(LENGTHS, values, strict=True))


def describe(
    groups: Sequence[Group],
    rewards: Sequence[Sequence[float | None]],
    advantages: Sequence[Sequence[float | None]],
) -> dict[str, float]:
    """The numbers of a step, for all domains and for each; see docs/runs.md."""
    rollouts = [(g.problem, r) for g in groups for r in g.rollouts]
    known = [[r for r in row if r is not None] for row in rewards]
    flat = [r for row in known for r in row] or [0.0]  # where no verdict could be given, see `failed`
    signal = [has_signal(row) for row in advantages]
    # groups without signal: rewards are the final ones, so that a mixed group of masked replies is none
    even = [row for row, s in zip(known, signal, strict=True) if row and not s]
    logprobs = [lp for _, r in rollouts for lp in r.logprobs]
    metrics = {
        "reward": fmean(flat),
        "reward_std": pstdev(flat),
        "reward_min": min(flat),
        "reward_max": max(flat),
        **lengths([r for _, r in rollouts]),
        "clipped": fmean(r.stop is Stop.LENGTH for _, r in rollouts),
        # an estimate from the sampled tokens, in nats: exact only in the mean, but no distribution is kept
        "entropy": -math.fsum(logprobs) / max(1, len(logprobs)),
        "signal": fmean(signal),
        "solved_all": sum(min(row) >= 1 for row in even) / len(groups),
        "solved_none": sum(max(row) <= 0 for row in even) / len(groups),
        **{name: share(groups, outcome) for name, outcome in OUTCOMES.items()},
        "repetition": fmean(repetition(r.ids) for _, r in rollouts),
        "advantage": fmean([abs(a) for row in advantages for a in row if a is not None] or [0.0]),
        "leak": fmean(leaks(r.text, p.mode) for p, r in rollouts),
    }
    for domain in sorted({g.problem.domain for g in groups}):
        rows = [i for i, g in enumerate(groups) if g.problem.domain == domain]
        metrics[f"reward/{domain}"] = fmean([r for i in rows for r in known[i]] or [0.0])
        metrics[f"signal/{domain}"] = fmean(signal[i] for i in rows)
        metrics |= {f"{name}/{domain}": share([groups[i] for i in rows], o) for name, o in OUTCOMES.items()}
        verdicts = [v for i in rows for v in groups[i].verdicts]
        for part in sorted({name for v in verdicts for name in v.parts}):
            metrics[f"part/{domain}/{part}"] = fmean(v.parts[part] for v in verdicts if part in v.parts)
    return metrics


def update_metrics(updates: Sequence[dict[str, float]], stage: RLStage) -> dict[str, float]:
    """What the updates of a step say of themselves: means over updates, or over their tokens.

    update_ratio          norm of the weights' change over their own
    ratio, ratio_max      p_trainer / p_rollout of the sampled tokens; 1 when sampler and trainer agree
    ess                   how many tokens these ratios, as importance weights, are worth, as a share of all
    mismatch, .._max, .._kl  |log p_trainer - log p_rollout|, and KL, before the first update: the engines'
                             difference
    clip_fraction         tokens that the loss or the correction clipped, capped or masked
    grad_clipped          share of the updates whose gradient was scaled down
    """
    if not updates:
        return dict.fromkeys(MEANS, 0.0)
    found = {key: fmean(u[key] for u in updates) for key in MEANS}
    # the norm is that before clipping, see `Learner._update`
    found["grad_clipped"] = fmean(u["grad_norm"] > stage.grad_clip for u in updates)
    if stage.kl_coefficient:
        found["kl"] = fmean(u["kl"] for u in updates)
    tokens, first = sum(u["tokens"] for u in updates), updates[0]
    if not tokens or not first["tokens"]:
        return found
    found["ratio"] = sum(u["ratio"] for u in updates) / tokens
    found["ess"] = effective_share(
        sum(u["ratio"] for u in updates), sum(u["ratio_square"] for u in updates), tokens
    )
    # later updates of a step are off-policy by intent: what the engines differ by shows in the first alone
    found["ratio_max"] = max(u["ratio_max"] for u in updates)
    found |= {key: first[key] / first["tokens"] for key in ("mismatch", "mismatch_kl")}
    found["mismatch_max"] = first["mismatch_max"]
    if stage.loss != "policy_gradient" or stage.rollout_correction != "none":
        found["clip_fraction"] = sum(u["touched"] for u in updates) / tokens
    return found
