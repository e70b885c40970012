"""Silent failures between a model's sampler and its trainer, each check named after what it would catch.

The links are public reports of that very failure in other trainers. Tolerances are those of fp32: 5e-3 nats a
token, 1e-3 of a gradient's norm; the failures are larger by an order at least.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cascade_rl.doctor.subject import HUGE, CheckResult, Subject, difference, policy_rows
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.export import export
from cascade_rl.model.module_files import quiet
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import LIKELIHOOD, Objective
from cascade_rl.types import Rollout

NATS, RELATIVE = 5e-3, 1e-3  # nats a token; share of the gradient's norm
PLAIN = Objective(ON_POLICY)


def _sampling(**changes: Any) -> Sampling:
    # two replies of at most 8 tokens to each prompt of `Subject.problems`
    return replace(Sampling(2, 8, seed=("doctor",)), **changes)


def check_gradient_depends_on_the_split(s: Subject) -> CheckResult:
    """Loss and gradient are the same for any micro-batch split and any order of rows.

    https://github.com/huggingface/trl/pull/3231, https://github.com/allenai/open-instruct/pull/1161
    """
    rows = policy_rows(s.rollouts(_sampling()))
    sums, wanted = s.gradient(rows, HUGE, PLAIN)
    worst = 0.0
    # 1 token: each row in a micro-batch of its own; 64: some together
    for order, tokens in ((rows, 1), (rows[::-1], 64)):
        found, gradient = s.gradient(order, tokens, PLAIN)
        worst = max(worst, difference(wanted, gradient), abs(found["loss"] - sums["loss"]))
    return CheckResult(worst < RELATIVE, f"gradients of three splits differ by {worst:.1e} of their norm")


def check_accumulated_loss_is_not_the_mean_over_tokens(s: Subject) -> CheckResult:
    """The SFT loss of a batch is the mean over all its tokens, however it is accumulated.

    https://github.com/verl-project/verl/pull/3332, https://github.com/verl-project/verl/pull/436
    """
    rollouts = s.rollouts(_sampling())
    cut = [
        # unequal lengths: where all are equal a mean of means is right, too
        replace(r, ids=r.ids[: 1 + i % 5], logprobs=r.logprobs[: 1 + i % 5], tokens=None)
        for i, r in enumerate(rollouts)
    ]
    scores = torch.cat(s.logprobs(cut, PLAIN))
    rows = [Row.of(r.prompt_ids, r.ids, 1 / len(scores)) for r in cut]
    worst = max(abs(s.gradient(rows, n, LIKELIHOOD)[0]["loss"] + float(scores.mean())) for n in (1, 64, HUGE))
    return CheckResult(worst < NATS, f"loss and mean over tokens differ by {worst:.1e}")


def check_scored_one_token_off(s: Subject) -> CheckResult:
    """The log-probability of the token at t + 1 is read where transformers' own model stands at t.

    https://github.com/Goekdeniz-Guelmez/mlx-lm-lora/issues/80, https://github.com/huggingface/trl/issues/3681
    """
    from transformers import AutoModelForCausalLM

    rollout = s.rollouts(_sampling(n=1))[0]
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(s.folder, dtype=torch.float32, local_files_only=True)
    ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
    with torch.no_grad():
        whole = model(ids).logits[0].log_softmax(-1)
    start = len(rollout.prompt_ids)
    # [T]: logits at t - 1 say what stands at t
    wanted = torch.stack([whole[start - 1 + t, token] for t, token in enumerate(rollout.ids)])
    gap = float((s.logprobs([rollout], PLAIN)[0] - wanted).abs().max())
    return CheckResult(gap < NATS, f"transformers and trainer differ by {gap:.1e} nats at most")


def check_temperature_missing_in_the_trainer(s: Subject) -> CheckResult:
    """The trainer scores at the temperature of the sampler.

    https://github.com/huggingface/trl/pull/3029, https://github.com/NVIDIA-NeMo/RL/pull/935
    """
    cool = SamplingRule(temperature=0.6)
    with s.uneven():
        rollouts = s.rollouts(_sampling(rule=cool))
        gap, without = s.gap(rollouts, replace(PLAIN, rule=cool)), s.gap(rollouts, PLAIN)
    return CheckResult(
        # without: the check itself must be able to see the failure
        gap < NATS < without,
        f"gap {gap:.1e} nats at the temperature, {without:.2f} without it",
    )


def check_truncated_sampling_not_renormalised(s: Subject) -> CheckResult:
    """With top-p, top-k or min-p the trainer renormalises over the set that the sampler kept.

    https://github.com/huggingface/trl/issues/6789, https://github.com/PrimeIntellect-ai/prime-rl/pull/2979
    """
    gaps = []
    for rule in (
        SamplingRule(top_p=0.8),
        SamplingRule(top_k=5),
        SamplingRule(top_p=0.9, top_k=20),
        SamplingRule(min_p=0.2),
    ):
        with s.uneven():
            rollouts = s.rollouts(_sampling(rule=rule))
            gaps.append((s.gap(rollouts, replace(PLAIN, rule=rule)), s.gap(rollouts, PLAIN)))
    passed = all(gap < NATS < without for gap, without in gaps)
    return CheckResult(
        passed, f"gap {max(g for g, _ in gaps):.1e} nats, {min(w for _, w in gaps):.2f} without"
    )


def check_on_policy_ratio_is_not_one(s: Subject) -> CheckResult:
    """Right after sampling, the ratio of trainer to sampler is 1 and their KL is 0.

    https://github.com/verl-project/verl/issues/6280, https://github.com/verl-project/verl/issues/2305
    """
    sums, _ = s.gradient(policy_rows(s.rollouts(_sampling())), HUGE, PLAIN)
    ratio, kl = sums["ratio"] / sums["tokens"], sums["mismatch_kl"] / sums["tokens"]
    # fp32 on both sides; what a run alarms at is 0.001, for samplers of other precision
    passed = abs(ratio - 1) < RELATIVE and kl < 1e-5 and sums["mismatch_max"] < NATS
    return CheckResult(
        passed, f"mean ratio {ratio:.6f}, KL {kl:.1e}, largest difference {sums['mismatch_max']:.1e} nats"
    )


def check_padding_changes_log_probabilities(s: Subject) -> CheckResult:
    """A reply's log-probabilities are the same alone and beside longer ones.

    https://github.com/unslothai/unsloth-zoo/pull/840, https://github.com/modelscope/ms-swift/issues/3069
    """
    rollouts = s.rollouts(_sampling())
    together = s.logprobs(rollouts, PLAIN)
    gap = max(
        float((s.logprobs([r], PLAIN)[0] - many).abs().max())
        for r, many in zip(rollouts, together, strict=True)
    )
    return CheckResult(gap < NATS, f"alone and together differ by {gap:.1e} nats at most")


def check_empty_reply_writes_before_its_start(s: Subject) -> CheckResult:
    """A reply of no tokens adds nothing, least of all to the prompt's last position.

    https://github.com/verl-project/verl/pull/6508
    """
    rows = policy_rows(s.rollouts(_sampling(n=1)))
    prompt = rows[0].ids[: rows[0].start].tolist()
    empty = Row.of(prompt, [], 1.0, 5.0)
    scored = int((pack_rows([empty, *rows], torch.device("cpu")).rows == 0).sum())
    _, wanted = s.gradient(rows, HUGE, PLAIN)
    _, found = s.gradient([empty, *rows], HUGE, PLAIN)
    gap = difference(wanted, found)
    return CheckResult(
        scored == 0 and gap < RELATIVE, f"{scored} tokens scored, gradient differs by {gap:.1e}"
    )


def _updated(s: Subject) -> tuple[list[Rollout], list[Rollout], list[Rollout]]:
    """Rollouts before and after one large update, by one sampler, and after it by a new one."""
    sampler, sampling = TorchSampler(s.world.replicas, s.tokenizer), _sampling()
    before = [r for group in sampler.sample(s.problems, sampling) for r in group]
    size = float(s.model.flat.abs().mean())  # an update as large as the weights: no rounding could hide it
    Learner(s.world.replicas, "policy", Training(name="doctor", lr=max(1e-4, size))).policy_step(
        policy_rows(before), PLAIN, 1.0
    )
    after = [r for group in sampler.sample(s.problems, sampling) for r in group]
    return before, after, s.rollouts(sampling)


def check_cache_survives_an_update(s: Subject) -> CheckResult:
    """After an update the same sampler gives what a new one gives: no keys, values or prefixes are left over.

    https://github.com/huggingface/trl/issues/3024, https://github.com/NVIDIA-NeMo/RL/pull/4018
    """
    with s.kept():
        _, after, fresh = _updated(s)
    same = [(r.ids, r.logprobs) for r in after] == [(r.ids, r.logprobs) for r in fresh]
    return CheckResult(
        same, f"{len(after)} replies by the old and a new sampler are {'the same' if same else 'different'}"
    )


def check_sampler_keeps_old_weights(s: Subject) -> CheckResult:
    """After an update the sampler's log-probabilities are those of the new weights.

    https://github.com/allenai/open-instruct/issues/1473, https://github.com/huggingface/trl/pull/4571
    """
    with s.kept():
        before, after, _ = _updated(s)
        gap, stale = s.gap(after, PLAIN), s.gap(before, PLAIN)
    return CheckResult(
        gap < NATS < stale, f"gap {gap:.1e} nats; the replies from before the update are off by {stale:.2f}"
    )


def check_tied_head_lost_in_export(s: Subject) -> CheckResult:
    """An exported model reloads, with us and with transformers, to the same log-probabilities.

    https://github.com/huggingface/transformers/issues/45127
    """
    from transformers import AutoModelForCausalLM

    rollout = s.rollouts(_sampling(n=1))[0]
    ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
    with tempfile.TemporaryDirectory() as place:
        export(Path(place) / "out", s.world.raw, s.world.config, s.model.flat, s.tokenizer)
        flat = load_directory(Path(place) / "out")[2]
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(Path(place) / "out", dtype=torch.float32)
        with torch.no_grad():
            whole = model(ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
    equal = bool((flat == s.model.flat).all())
    found = whole.gather(-1, torch.tensor(rollout.ids)[:, None])[:, 0]
    gap = float((s.logprobs([rollout], PLAIN)[0] - found).abs().max())
    return CheckResult(
        equal and gap < NATS,
        f"weights {'equal' if equal else 'differ'}, transformers differs by {gap:.1e} nats",
    )


def check_zero_loss_taken_for_no_gradient(s: Subject) -> CheckResult:
    """On-policy the value of the loss is minus the mean advantage, here 0, and the gradient is not 0.

    https://github.com/meta-pytorch/torchforge/pull/571: a value of 0 was "fixed".
    """
    sums, gradient = s.gradient(policy_rows(s.rollouts(_sampling())), HUGE, PLAIN)
    norm = float(gradient.double().norm())
    passed = abs(sums["loss"]) < 1e-5 and norm > 1e-4 and math.isfinite(norm)
    return CheckResult(passed, f"loss {sums['loss']:.1e}, gradient norm {norm:.3g}")
