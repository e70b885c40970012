"""Advantages, losses and schedules against closed forms, and the gradient against REINFORCE by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny import toy_problem

from cascade_rl.recipe import Training
from cascade_rl.testing import text_rollout
from cascade_rl.train.advantage import final_rewards, group_advantage, overlong_penalty
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loss import (
    Surrogate,
    bradley_terry_loss,
    cispo_loss,
    effective_share,
    gspo_loss,
    icepop_weights,
    kl_k3,
    nll_loss,
    policy_gradient_loss,
    policy_loss,
    ppo_clip_loss,
    ratio_sums,
    tis_weights,
    token_weights,
)
from cascade_rl.types import Group, Outcome, Verdict
from cascade_rl.verify.script import switches

REWARDS = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 3.0]), min_size=2, max_size=16)


def closed_form(rewards) -> np.ndarray:
    """verl's: sample standard deviation, 1e-6 added to it."""
    r = np.asarray(rewards, np.float64)
    return (r - r.mean()) / (r.std(ddof=1) + 1e-6)


@given(REWARDS)
def test_advantage_is_the_z_score_with_the_sample_deviation(rewards):
    np.testing.assert_allclose(group_advantage(rewards), closed_form(rewards), rtol=1e-9, atol=1e-9)


def test_advantage_by_hand():
    assert group_advantage([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)


@given(st.sampled_from([-1.0, 0.0, 0.1, 1.0]), st.integers(1, 16), st.sampled_from(["none", "tanh"]))
def test_no_spread_no_advantage(reward, size, shaping):
    assert group_advantage([reward] * size, shaping) == [0.0] * size


@given(REWARDS, st.sets(st.integers(0, 15)), st.sampled_from(["none", "tanh"]))
def test_missing_rewards_enter_neither_baseline_nor_loss(rewards, missing, shaping):
    holes = [None if i in missing else r for i, r in enumerate(rewards)]
    found = group_advantage(holes, shaping)
    assert [a is None for a in found] == [r is None for r in holes]
    kept = [r for r in holes if r is not None]
    assert [a for a in found if a is not None] == group_advantage(kept, shaping)


def test_a_single_known_reward_has_no_advantage_and_none_at_all_is_fine():
    assert group_advantage([None, 1.0, None]) == [None, 0.0, None]
    assert group_advantage([None, None]) == [None, None]


@given(REWARDS)
def test_tanh_shaping_squashes_the_z_scores_and_normalises_again(rewards):
    assume(len(set(rewards)) > 1)
    wanted = closed_form(np.tanh(closed_form(rewards)))
    np.testing.assert_allclose(group_advantage(rewards, "tanh"), wanted, rtol=1e-6, atol=1e-9)


def test_tanh_shaping_tames_an_outlier():
    rewards = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 50.0]
    assert group_advantage(rewards, "tanh")[-1] < group_advantage(rewards)[-1]


@given(REWARDS)
def test_dr_grpo_centres_and_leaves_the_deviation_out(rewards):
    found = group_advantage(rewards, advantage="dr_grpo")
    np.testing.assert_allclose(found, np.asarray(rewards) - np.mean(rewards), atol=1e-12)
    if len(set(rewards)) > 1:
        deviation = np.std(rewards, ddof=1) + 1e-6
        np.testing.assert_allclose(
            np.asarray(found) / deviation, group_advantage(rewards), rtol=1e-9, atol=1e-9
        )


def test_dr_grpo_gives_a_hard_prompt_no_extra_weight():
    """One right answer of eight weighs more than four of eight with the deviation, and less without it."""
    hard, even = [1.0] + [0.0] * 7, [1.0] * 4 + [0.0] * 4
    weight = {kind: [sum(map(abs, group_advantage(r, advantage=kind))) for r in (hard, even)]
              for kind in ("grpo", "dr_grpo")}  # fmt: skip
    assert weight["dr_grpo"] == [1.75, 4.0]
    assert weight["grpo"][0] / weight["grpo"][1] > 1.5 * (1.75 / 4.0)


# ---------------------------------------------------------------- loss


def test_on_policy_value_is_minus_the_weighted_mean_advantage_exactly():
    """The ratio is p / stop-gradient(p): exactly 1, so the value says nothing, and the gradient everything."""
    logprob = (torch.randn(9) * 30).requires_grad_()
    advantage, weight = torch.randn(9), torch.rand(9)
    loss = policy_gradient_loss(logprob, advantage, weight)
    assert loss.item() == -(weight * advantage).sum().item()
    loss.backward()
    torch.testing.assert_close(logprob.grad, -weight * advantage, rtol=0, atol=0)


def test_zero_loss_still_has_a_gradient():
    logprob = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = policy_gradient_loss(logprob, torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5]))
    loss.backward()
    assert loss.item() == 0.0
    assert logprob.grad.tolist() == [-0.5, 0.5]


def test_gradient_is_that_of_reinforce_by_brute_force():
    """Tabular softmax policy in float64: dL/dtheta[t, v] = -w A (1[v = y] - p[v]), and by finite differences."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(4, 5))
    state = rng.integers(0, 4, 30)
    action, advantage, weight = rng.integers(0, 5, 30), rng.normal(size=30), rng.uniform(0.1, 1, 30)

    def objective(values) -> float:
        logp = values - np.log(np.exp(values).sum(1, keepdims=True))
        return float(-(weight * advantage * logp[state, action]).sum())

    p = np.exp(theta) / np.exp(theta).sum(1, keepdims=True)
    wanted = np.zeros_like(theta)
    for s, a, adv, w in zip(state, action, advantage, weight, strict=True):
        wanted[s] -= w * adv * (np.eye(5)[a] - p[s])
    step = 1e-6
    differences = np.zeros_like(theta)
    for place in np.ndindex(theta.shape):
        bump = np.zeros_like(theta)
        bump[place] = step
        differences[place] = (objective(theta + bump) - objective(theta - bump)) / (2 * step)
    np.testing.assert_allclose(wanted, differences, atol=1e-7)

    parameter = torch.tensor(theta, requires_grad=True)
    logprob = parameter.log_softmax(-1)[torch.tensor(state), torch.tensor(action)]
    policy_gradient_loss(logprob, torch.tensor(advantage), torch.tensor(weight)).backward()
    np.testing.assert_allclose(parameter.grad.numpy(), wanted, atol=1e-12)


# ---------------------------------------------------------------- more than one update: the ratio to the old policy


TOKENS = st.lists(
    st.tuples(st.floats(-4, 0), st.floats(-4, 0), st.floats(-3, 3).filter(lambda a: abs(a) > 1e-3)), min_size=1, max_size=12
)  # fmt: skip


def tokens_of(rows, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """logprob (a leaf), old, advantage, weight of rows of (new, old, advantage), in float64."""
    logprob, old, advantage = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)
    )
    weight = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    return logprob.requires_grad_(), old, advantage, weight


def near_a_bound(rows, low, high) -> bool:
    return any(min(abs(math.exp(n - o) - b) for b in (1 - low, 1 + high)) < 1e-6 for n, o, _ in rows)


@given(TOKENS, st.sampled_from([(0.2, 0.2), (0.2, 0.28), (0.05, 0.5)]))
def test_ppo_clip_is_equation_7_and_its_gradient_stops_where_clipping_binds(rows, bounds):
    assume(not near_a_bound(rows, *bounds))
    logprob, old, advantage, weight = tokens_of(rows)
    loss, clipped = ppo_clip_loss(logprob, old, advantage, weight, *bounds)
    wanted, gradient, bound = 0.0, [], []
    for (new, before, a), w in zip(rows, weight.tolist(), strict=True):
        r = math.exp(new - before)
        held = (a > 0 and r > 1 + bounds[1]) or (a < 0 and r < 1 - bounds[0])
        wanted -= w * (a * (1 + bounds[1] if a > 0 else 1 - bounds[0]) if held else a * r)
        gradient.append(0.0 if held else -w * a * r)
        bound.append(held)
    loss.backward()
    assert loss.item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(logprob.grad.numpy(), gradient, rtol=1e-9, atol=1e-12)
    assert clipped.tolist() == bound


def test_clip_higher_lets_an_unlikely_token_rise_further():
    """DAPO: the upper bound alone decides whether a good token at ratio 1.25 still has a gradient."""
    gradients = []
    for high in (0.2, 0.28):
        logprob = torch.tensor([math.log(1.25)], requires_grad=True)
        one = torch.ones(1)
        ppo_clip_loss(logprob, torch.zeros(1), one, one, 0.2, high)[0].backward()
        gradients.append(logprob.grad.item())
    assert gradients == [0.0, pytest.approx(-1.25)]


@given(TOKENS, st.sampled_from([(1.0, 4.0), (1.0, 0.3), (0.2, 0.3)]))
def test_cispo_bounds_the_weight_and_every_token_keeps_a_gradient(rows, bounds):
    logprob, old, advantage, weight = tokens_of(rows)
    loss, clipped = cispo_loss(logprob, old, advantage, weight, *bounds)
    r = [math.exp(new - before) for new, before, _ in rows]
    held = [min(max(x, 1 - bounds[0]), 1 + bounds[1]) for x in r]
    loss.backward()
    wanted = [-w * h * a for w, h, (_, _, a) in zip(weight.tolist(), held, rows, strict=True)]
    np.testing.assert_allclose(logprob.grad.numpy(), wanted, rtol=1e-9, atol=1e-15)
    assert loss.item() == pytest.approx(
        sum(g * new for g, (new, _, _) in zip(wanted, rows, strict=True)), abs=1e-9
    )
    assert clipped.sum() == sum(abs(a - b) > 1e-12 for a, b in zip(r, held, strict=True))
    if bounds[0] < 1:
        assert (logprob.grad != 0).all()


@given(st.lists(st.lists(st.tuples(st.floats(-2, 0), st.floats(-2, 0)), min_size=1, max_size=5), min_size=1, max_size=5),
       st.sampled_from([(3e-4, 4e-4), (0.1, 0.2), (0.5, 0.9)]))  # fmt: skip
def test_gspo_has_one_ratio_a_reply_and_counts_each_reply_once(replies, bounds):
    advantages = [(-1.0) ** i * (1 + i) for i in range(len(replies))]
    ratios = [math.exp(sum(n - o for n, o in reply) / len(reply)) for reply in replies]
    assume(all(min(abs(s - b) for b in (1 - bounds[0], 1 + bounds[1])) > 1e-9 for s in ratios))
    flat = [(n, o, advantages[i]) for i, reply in enumerate(replies) for n, o in reply]
    row = torch.tensor([i for i, reply in enumerate(replies) for _ in reply])
    logprob, old, advantage, _ = tokens_of(flat)
    weight = torch.tensor(token_weights([len(r) for r in replies], "sequence"), dtype=torch.float64)[row]
    loss, clipped = gspo_loss(logprob, old, advantage, weight, row, *bounds)
    loss.backward()
    wanted, gradient, held = 0.0, [], []
    for reply, a, s in zip(replies, advantages, ratios, strict=True):
        bound = min(max(s, 1 - bounds[0]), 1 + bounds[1])
        wanted -= min(s * a, bound * a) / len(replies)
        held += [bound * a < s * a] * len(reply)
        gradient += [0.0 if bound * a < s * a else -s * a / len(reply) / len(replies)] * len(reply)
    assert loss.item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(logprob.grad.numpy(), gradient, rtol=1e-9, atol=1e-12)
    assert clipped.tolist() == held


@pytest.mark.parametrize("loss", ["ppo_clip", "cispo", "gspo"])
def test_at_ratio_one_every_loss_has_the_gradient_of_the_policy_gradient(loss):
    logprob, _, advantage, _ = tokens_of([(-1.0, 0, 2.0), (-0.5, 0, 2.0), (-2.0, 0, -1.0)])
    row = torch.tensor([0, 0, 1])
    weight = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    value, clipped = policy_loss(Surrogate(loss, 0.2, 0.2), logprob, logprob.detach(), advantage, weight, row)
    (found,) = torch.autograd.grad(value, logprob)
    (wanted,) = torch.autograd.grad(policy_gradient_loss(logprob, advantage, weight), logprob)
    torch.testing.assert_close(found, wanted)
    assert not clipped.any()


# ---------------------------------------------------------------- sampler against trainer


def test_truncated_importance_sampling_by_hand():
    trainer = torch.tensor([0.5, 0.2, 0.9], dtype=torch.float64).log().requires_grad_()
    rollout = torch.tensor([0.25, 0.4, 0.1], dtype=torch.float64).log()
    found = tis_weights(trainer, rollout, 3.0)
    assert found.tolist() == pytest.approx([2.0, 0.5, 3.0]) and not found.requires_grad


def test_icepop_drops_both_tails_and_reweighs_the_rest():
    trainer = torch.tensor([0.5, 0.2, 0.9, 0.1], dtype=torch.float64).log().requires_grad_()
    rollout = torch.tensor([0.25, 0.4, 0.1, 0.5], dtype=torch.float64).log()
    found = icepop_weights(trainer, rollout, 0.4, 5.0)
    assert found.tolist() == pytest.approx([2.0, 0.5, 0.0, 0.0]) and not found.requires_grad


def test_corrections_weigh_the_gradient_token_by_token():
    logprob, old, advantage, weight = tokens_of([(-1.0, -2.0, 1.0), (-1.0, -1.1, -1.0), (-3.0, -1.0, 1.0)])
    row = torch.zeros(3, dtype=torch.long)
    for surrogate, wanted, touched in (
        (
            Surrogate("policy_gradient", 0, 0, "tis", 0, 2.0),
            [2.0, math.exp(0.1), math.exp(-2)],
            [True, False, False],
        ),
        (
            Surrogate("policy_gradient", 0, 0, "icepop", 0.5, 5.0),
            [math.e, math.exp(0.1), 0.0],
            [False, False, True],
        ),
    ):
        loss, found = policy_loss(surrogate, logprob, old, advantage, weight, row)
        (gradient,) = torch.autograd.grad(loss, logprob)
        np.testing.assert_allclose((gradient / (-weight * advantage)).numpy(), wanted, rtol=1e-12)
        assert found.tolist() == touched


@given(TOKENS)
def test_ratio_sums_by_their_definitions(rows):
    logprob, old, _, _ = tokens_of(rows)
    found = ratio_sums(logprob, old, torch.ones(len(rows), dtype=torch.bool))
    d = np.asarray([n - o for n, o, _ in rows])
    wanted = {"ratio": np.exp(d).sum(), "ratio_max": np.exp(d).max(), "mismatch": abs(d).sum(), "touched": len(rows),
              "mismatch_max": abs(d).max(), "mismatch_kl": (np.exp(d) - 1 - d).sum(),
              "ratio_square": np.exp(2 * d).sum()}  # fmt: skip
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert found["mismatch_kl"] >= -1e-12
    empty = ratio_sums(logprob[:0], old[:0], torch.ones(0, dtype=torch.bool))
    assert set(empty) == set(found) and not any(empty.values())


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.01, 100.0))
def test_the_effective_share_is_that_of_kish(weights, factor):
    """(sum w)^2 / sum w^2 over n: 1 for equal weights, 1/n when one has all, and without a scale."""
    w = np.asarray(weights)
    found = effective_share(w.sum(), (w**2).sum(), len(w))
    assert found == pytest.approx(1 / (1 + np.var(w) / np.mean(w) ** 2))
    assert 1 / len(w) - 1e-12 <= found <= 1 + 1e-12
    assert effective_share((factor * w).sum(), ((factor * w) ** 2).sum(), len(w)) == pytest.approx(found)
    assert effective_share(3.0, 9.0, 4) == 0.25 and effective_share(8.0, 16.0, 4) == 1.0
    assert effective_share(0.0, 0.0, 4) == 0.0, "no weight, no samples"


# ---------------------------------------------------------------- aggregation


def test_token_and_sequence_aggregation_by_hand():
    assert token_weights([1, 3], "token") == [0.25, 0.25]
    assert token_weights([1, 3], "sequence") == pytest.approx([0.5, 1 / 6])
    losses = [[4.0], [1.0, 1.0, 1.0]]
    for kind, wanted in (("token", 7 / 4), ("sequence", (4 + 1) / 2)):
        weights = token_weights([1, 3], kind)
        assert sum(w * x for w, row in zip(weights, losses, strict=True) for x in row) == pytest.approx(
            wanted
        )


def test_the_constant_normaliser_is_the_same_whatever_the_lengths():
    """Dr. GRPO: a token's weight depends on the number of replies and on the limit alone."""
    assert token_weights([1, 3], "constant", 8) == token_weights([8, 2], "constant", 8) == [1 / 16, 1 / 16]
    assert token_weights([], "constant", 8) == []


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.sampled_from(["token", "sequence"]))
def test_weights_over_all_tokens_add_up_to_one(lengths, kind):
    assert sum(w * n for w, n in zip(token_weights(lengths, kind), lengths, strict=True)) == pytest.approx(1)


def test_empty_responses_have_finite_weights():
    for kind in ("token", "sequence"):
        assert all(math.isfinite(w) for w in token_weights([0, 0], kind) + token_weights([0, 3], kind))
        assert token_weights([], kind) == []


def test_nll_by_hand():
    assert nll_loss(torch.tensor([-1.0, -3.0]), torch.tensor([0.5, 0.25])).item() == pytest.approx(1.25)


@given(st.floats(-8, 0), st.floats(-8, 0))
def test_k3_is_never_negative_and_has_its_closed_form(policy, reference):
    found = kl_k3(
        torch.tensor(policy, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    ).item()
    assert found >= -1e-15
    assert found == pytest.approx(
        math.exp(reference - policy) - (reference - policy) - 1, rel=1e-12, abs=1e-15
    )


def test_k3_is_an_unbiased_estimate_of_the_divergence():
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    q = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    assert (p * kl_k3(p.log(), q.log())).sum().item() == pytest.approx((p * (p / q).log()).sum().item())
    assert kl_k3(p.log(), p.log()).abs().max() == 0


@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=1, max_size=8))
def test_bradley_terry_is_minus_log_sigmoid_of_the_margin(pairs):
    chosen, rejected = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    wanted = sum(math.log1p(math.exp(-(c - r))) for c, r in pairs) / len(pairs)
    found = bradley_terry_loss(chosen, rejected, 1 / len(pairs)).item()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


# ---------------------------------------------------------------- rewards of the stage


def group(*rows, asked="toy") -> Group:
    """Rows of (text, reward or None, clipped?)."""
    rollouts = tuple(text_rollout(text, len(text.encode()) if cut else 10**6) for text, _, cut in rows)
    verdicts = tuple(Verdict.failed("x") if r is None else Verdict(r, Outcome.PARTIAL) for _, r, _ in rows)
    return Group(toy_problem(0), rollouts, verdicts)


def test_overlong_penalty_is_equation_13_of_dapo():
    def formula(length, limit=100, buffer=20):
        if length <= limit - buffer:
            return 0.0
        return (limit - buffer - length) / buffer if length <= limit else -1.0

    assert [overlong_penalty(n, 100, 20) for n in range(130)] == pytest.approx(
        [formula(n) for n in range(130)]
    )


def test_the_overlong_penalty_is_added_to_the_reward_of_replies_near_the_limit():
    found = group(
        ("abcdefghij", 1.0, True), ("abcde", 1.0, False), ("ab", 0.0, False), ("abcdefgh", None, False)
    )
    lengths = [len(r.ids) for r in found.rollouts]
    assert lengths == [10, 6, 3, 9]
    assert final_rewards([found], "penalty", ["off"], switches, 10, 5) == [
        [0.0, pytest.approx(0.8), 0.0, None]
    ]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [("mask", [1.0, None, None, 0.5]), ("zero", [1.0, 0.0, None, 0.5]), ("score", [1.0, -1.0, None, 0.5])],
)
def test_overlong_replies(rule, wanted):
    found = group(("a", 1.0, False), ("b", -1.0, True), ("c", None, True), ("d", 0.5, False))
    assert final_rewards([found], rule, ["off"], switches) == [wanted]


def test_masked_replies_leave_the_baseline():
    found = group(("a", 1.0, False), ("b", 0.0, False), ("c", 0.0, True), ("d", 0.0, True))
    masked = final_rewards([found], "mask", ["off"], switches)[0]
    assert group_advantage(masked) == pytest.approx([2**-0.5, -(2**-0.5), None, None], abs=1e-5)


def test_code_switch_penalties():
    home, away = (
        group(("yes", 1.0, False), ("да", 1.0, False)),
        group(("好", 0.5, False), ("no", -3.0, False)),
    )
    assert final_rewards([home], "score", ["off"], switches) == [[1.0, 1.0]]
    assert final_rewards([home], "score", [-1.0], switches) == [[1.0, -1.0]]
    assert final_rewards([home], "score", [0.0], switches) == [[1.0, 0.0]]
    rules = ["batch_min_minus_10", "batch_min_minus_10"]
    assert final_rewards([home, away], "score", rules, switches) == [[1.0, -13.0], [-13.0, -3.0]]
    assert final_rewards([home, away], "score", ["batch_min_minus_10", "off"], switches) == [
        [1.0, -13.0],
        [0.5, -3.0],
    ]


def test_code_switch_spares_prompts_in_that_script_and_failed_verdicts():
    asked = group(("yes", None, False), ("да", None, False), ("да", 1.0, True))
    assert final_rewards([asked], "mask", [-1.0], switches) == [[None, None, None]]
    assert final_rewards([asked], "mask", [-1.0], lambda prompt, text: False) == [[None, None, None]]
    found = group(("да", 1.0, False), ("yes", 0.0, False))
    assert final_rewards([found], "score", [-1.0], lambda prompt, text: False) == [[1.0, 0.0]]


# ---------------------------------------------------------------- learning rate


def schedule(total=100, **settings) -> list[float]:
    spec = Training(name="x", **settings)
    return [lr_factor(spec, step, total) for step in range(total)]


def test_constant_schedule():
    assert schedule() == [1.0] * 100


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedules_start_at_one_and_end_near_their_last_fraction(kind):
    found = schedule(schedule=kind, final_lr_fraction=0.2)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.6)
    assert 0.2 <= found[99] < 0.2 + 0.8 / 100 + 1e-12
    assert found == sorted(found, reverse=True)
    assert lr_factor(Training(name="x", schedule=kind, final_lr_fraction=0.2), 100, 100) == pytest.approx(0.2)
    quarter = 0.8 if kind == "linear" else 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2
    assert found[25] == pytest.approx(quarter)


def test_a_schedule_that_goes_on_beyond_its_stage_is_cut_there():
    """SFT of the report: cosine to 0 over 100K steps, of which the first stage does 20K and the second 32K."""
    spec = Training(name="x", schedule="cosine", schedule_steps=100_000)
    cosine = [(1 + math.cos(math.pi * step / 100_000)) / 2 for step in (0, 10_000, 20_000, 32_000)]
    assert [lr_factor(spec, step, 32_000) for step in (0, 10_000, 20_000, 32_000)] == pytest.approx(cosine)
    assert cosine[2] == pytest.approx(0.9045, abs=1e-4)
    # the horizon counts from the stage's first step, as its own steps do, and the warm-up lies within it
    warm = Training(name="x", schedule="linear", schedule_steps=110, warmup_steps=10, final_lr_fraction=0.1)
    assert lr_factor(warm, 60, 70) == pytest.approx(0.1 + 0.9 * 0.5)


def test_warm_up_rises_in_equal_parts_and_then_the_schedule_begins_at_one():
    found = schedule(schedule="linear", warmup_steps=4)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[4 + 48] == pytest.approx(0.5)
    assert all(0 < f <= 1 for f in schedule(5, warmup_steps=20))


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(1, 60), st.integers(0, 80))
def test_factor_stays_within_bounds(kind, total, warmup):
    assert all(0 < f <= 1 for f in schedule(total, schedule=kind, warmup_steps=warmup))
