"""Rows, micro-batches and the update: the split into pieces never changes the numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny import Policy, toy_problem
from transformers import AutoModelForCausalLM

from cascade_rl.model import head
from cascade_rl.model.checkpoint import save_directory, to_hf
from cascade_rl.model.replicas import deal
from cascade_rl.protocols import WHOLE, SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.train import scalar_head
from cascade_rl.train.batch import Row, fill, microbatches, pack_rows, plant, shares
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY, Surrogate
from cascade_rl.train.objective import LIKELIHOOD, Objective, Teacher, token_logprobs
from cascade_rl.train.scalar_head import accumulate_pairs

CPU = torch.device("cpu")
HUGE = 10**9


@given(st.lists(st.integers(1, 60), max_size=30), st.integers(1, 200))
def test_bins_hold_every_item_once_within_the_limit(sizes, most):
    bins = fill(sizes, most)
    assert sorted(i for found in bins for i in found) == list(range(len(sizes)))
    assert all(found and (sum(sizes[i] for i in found) <= most or len(found) == 1) for found in bins)


SHAPES = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=8)


def rows_like(shapes) -> list[Row]:
    """Rows of (prompt number, prompt length, response length); the same prompt where number and length are equal."""
    return [Row.of([10 * number + i for i in range(p)], range(100, 100 + r), 0.5 + i, -float(i))
            for i, (number, p, r) in enumerate(shapes)]  # fmt: skip


@given(SHAPES, st.integers(1, 40))
def test_microbatches_hold_every_row_with_a_response_once_within_the_limit(shapes, tokens):
    rows = rows_like(shapes)
    groups = microbatches(rows, tokens)
    assert sorted(i for g in groups for i in g) == [i for i, (_, _, r) in enumerate(shapes) if r]
    for found in groups:
        computed = sum(tree.tokens for tree, _ in plant([rows[i] for i in found]))
        assert computed <= tokens or len(found) == 1


@given(SHAPES, st.integers(1, 3))
def test_shares_hold_every_row_with_a_response_once(shapes, size):
    rows = rows_like(shapes)
    found = shares(rows, size)
    assert len(found) == size
    assert sorted(i for s in found for i in s) == [i for i, (_, _, r) in enumerate(shapes) if r]


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(1, 5))
def test_deal_covers_all_once(costs, size):
    shards = deal(range(len(costs)), costs, size)
    assert len(shards) == size
    assert sorted(i for s in shards for i in s) == list(range(len(costs)))
    loads = [sum(costs[i] for i in s) for s in shards]
    assert max(loads) - min(loads) <= max(costs, default=0) + 1e-6


def rows_of(count=9, seed=0, vocab=300) -> list[Row]:
    """Rows of unlike lengths, advantages of either sign, weights that add up to one.

    There is no id 0: it is padding, whose embedding transformers holds still.
    """
    rng = random.Random(seed)
    made = [([rng.randrange(1, vocab) for _ in range(rng.randint(3, 30))],
             [rng.randrange(1, vocab) for _ in range(rng.randint(1, 25))]) for _ in range(count)]  # fmt: skip
    weight = 1.0 / sum(len(r) for _, r in made)
    return [Row.of(p, r, weight, rng.gauss(0, 1)) for p, r in made]


@given(SHAPES)
def test_exactly_the_response_tokens_are_scored(shapes):
    """And each is predicted from the token before it, at its place in its own row, equal prompts computed once."""
    rows = rows_like(shapes)
    if not any(r for _, _, r in shapes):
        return
    batch = pack_rows(rows, CPU)
    found = list(zip(batch.rows.tolist(), batch.targets.tolist(), strict=True))
    assert sorted(found) == [(i, 100 + t) for i, (_, _, r) in enumerate(shapes) for t in range(r)]
    ids, positions = (
        batch.packed.ids[batch.packed.prefixes :],
        batch.packed.positions[batch.packed.prefixes :],
    )
    for place, (row, target) in enumerate(found):
        position = positions[place].item()
        assert rows[row].ids[position] == ids[place] and rows[row].ids[position + 1] == target
        assert (batch.weight[place], batch.advantage[place]) == (rows[row].weight, rows[row].advantage[0])
    distinct = {tuple(r.ids[: r.start]) for r in rows if len(r.ids) > r.start}
    assert batch.packed.prefixes == sum(len(p) - 1 for p in distinct)


def test_one_target_touches_one_place():
    """A synthetic mask with one target: the log-probability is that of the last prompt token's prediction, no other."""
    policy = Policy(seed=3)
    prompt = [5, 9, 14, 23, 8]
    batch = pack_rows([Row.of(prompt, [77], 1.0), Row.of([1] * 20, [2] * 9, 1.0)], CPU)
    found = token_logprobs(policy.model.weights, policy.config, batch, WHOLE)[batch.rows == 0][0]
    from tiny import logits

    whole = logits(policy.config, policy.model.flat, torch.tensor([[*prompt, 77]]))[0].log_softmax(-1)
    assert found.item() == pytest.approx(whole[4, 77].item(), abs=1e-5)
    assert abs(found.item() - whole[5, 77].item()) > 1e-2


def gradient(policy, rows, tokens=HUGE, objective=None) -> tuple[dict[str, float], torch.Tensor]:
    sums = accumulate(policy.replicas.local, "policy", rows, tokens, objective or Objective(ON_POLICY))
    return sums, policy.model.grad.clone()


@pytest.fixture(scope="module")
def policy():
    return Policy(seed=4)


@pytest.mark.parametrize(
    "objective", [LIKELIHOOD, Objective(ON_POLICY, SamplingRule(0.8, 0.9, 40))], ids=["nll", "policy"]
)
def test_loss_and_gradient_do_not_depend_on_the_split_or_the_order(policy, objective):
    rows = rows_of()
    sums, wanted = gradient(policy, rows, HUGE, objective)
    assert wanted.abs().max() > 1e-3
    shuffled = random.Random(1).sample(rows, len(rows))
    for other, tokens in ((rows, 1), (rows, 60), (rows, 150), (shuffled, HUGE), (shuffled, 90)):
        found, grad = gradient(policy, other, tokens, objective)
        assert found["loss"] == pytest.approx(sums["loss"], abs=1e-5)
        assert found["tokens"] == sums["tokens"] == sum(len(r.ids) - r.start for r in rows)
        torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-5)


def test_pair_loss_and_gradient_do_not_depend_on_the_split():
    policy = Policy()
    extra = {"score": (1, policy.config.hidden)}
    from tiny import random_flat

    model = policy.replicas.add_model(
        "reward", policy.config, random_flat(policy.config, 1, extra=extra), train=True, extra=extra
    )
    rng = random.Random(0)
    rows = [Row.of([rng.randrange(300) for _ in range(rng.randint(4, 30))], [], 0.0) for _ in range(10)]
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    found = []
    for tokens in (HUGE, 1, 120):
        sums = accumulate_pairs(policy.replicas.local, "reward", pairs, tokens, 1 / len(pairs))
        found.append((sums, model.grad.clone()))
    for sums, grad in found[1:]:
        assert sums == pytest.approx(found[0][0], abs=1e-5)
        torch.testing.assert_close(grad, found[0][1], rtol=0, atol=1e-5)
    with torch.no_grad():
        scores = scalar_head.last_scores(
            model.weights, model.config, [scalar_head.stem(r) for r in rows], CPU
        )
    wanted = -F.logsigmoid(scores[::2] - scores[1::2]).mean().item()
    assert found[0][0]["loss"] == pytest.approx(wanted, abs=1e-5)
    assert found[0][0]["right"] == int((scores[::2] > scores[1::2]).sum())


def test_two_workers_make_the_update_of_one():
    """The gradients of the workers lie in shared memory; their sum, left in the first, is that of one worker."""
    rows, spec = rows_of(7, seed=2), Training(name="x", lr=1e-3, tokens_per_microbatch=80)
    results = []
    for size in (1, 2):
        policy = Policy(size, seed=4)
        with policy.replicas:
            learner = Learner(policy.replicas, "policy", spec)
            before = policy.model.flat.clone()
            found = [learner.policy_step(rows, Objective(ON_POLICY), 1.0) for _ in range(2)]
            results.append((found, policy.model.grads[0].clone(), policy.model.flat.clone()))
            assert not torch.equal(before, policy.model.flat)
    (one, grad_one, flat_one), (two, grad_two, flat_two) = results
    for first, second in zip(one, two, strict=True):
        assert first == pytest.approx(second, abs=1e-5, rel=1e-5)
    torch.testing.assert_close(grad_two, grad_one, rtol=0, atol=1e-5)
    torch.testing.assert_close(flat_two, flat_one, rtol=0, atol=1e-4)


def test_an_empty_response_is_harmless(policy):
    rows = rows_of(3)
    sums, wanted = gradient(policy, rows)
    found, grad = gradient(policy, [*rows, Row.of([1, 2, 3], [], 0.3, 2.0)], tokens=40)
    assert found == pytest.approx(sums, abs=1e-5)
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-5)
    alone, grad = gradient(policy, [Row.of([1, 2, 3], [], 0.3)])
    assert alone["loss"] == 0 and grad.abs().max() == 0
    nothing, grad = gradient(policy, [])
    assert nothing["loss"] == 0 and grad.abs().max() == 0


def hf_twin(policy, folder):
    save_directory(folder, policy.raw, policy.config, policy.model.flat)
    return AutoModelForCausalLM.from_pretrained(folder)


def compare_gradients(theirs, policy, grad) -> None:
    wanted = dict(theirs.named_parameters())
    ours = to_hf(grad, policy.config)
    assert set(ours) == set(wanted)
    for name, value in ours.items():
        torch.testing.assert_close(
            value, wanted[name].grad, rtol=0, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_sft_loss_and_gradient_are_those_of_transformers(policy, tmp_path):
    """Mean over all reply tokens, the end mark included, the prompt left out."""
    theirs, tok = hf_twin(policy, tmp_path), policy.tokenizer
    texts = ["the answer is 12", "blue", "white and green; then 3 times 4"]
    made = [(tok.prompt(toy_problem(i)), tok.reply(text)) for i, text in enumerate(texts)]
    assert all(reply[-1] == tok.end_id for _, reply in made)
    total = sum(len(reply) for _, reply in made)
    sums, grad = gradient(policy, [Row.of(p, r, 1 / total) for p, r in made], 90, LIKELIHOOD)
    width = max(len(p) + len(r) for p, r in made)
    ids, labels = torch.full((3, width), tok.pad_id), torch.full((3, width), -100)
    for i, (p, r) in enumerate(made):
        ids[i, : len(p) + len(r)] = torch.tensor(p + r)
        labels[i, len(p) : len(p) + len(r)] = torch.tensor(r)
    loss = theirs(input_ids=ids, labels=labels).loss  # pads right: no mask is needed under causal attention
    loss.backward()
    assert sums["loss"] == pytest.approx(loss.item(), abs=1e-5)
    compare_gradients(theirs, policy, grad)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_policy_gradient_is_that_of_reinforce_in_transformers(policy, temperature, tmp_path):
    theirs = hf_twin(policy, tmp_path)
    rows = rows_of(5, seed=6)
    _, grad = gradient(policy, rows, 100, Objective(ON_POLICY, SamplingRule(temperature)))
    for row in rows:
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        scores = (theirs(input_ids=ids).logits[0, row.start - 1 : -1] / temperature).log_softmax(-1)
        logprob = scores.gather(-1, ids[0, row.start :, None]).sum()
        (-row.weight * row.advantage[0] * logprob).backward()
    compare_gradients(theirs, policy, grad)


def test_an_advantage_a_token_weighs_each_token_of_a_reply(policy, tmp_path):
    """Rows of one prompt with gains that differ, and even signs, within a reply; by autograd through transformers."""
    theirs = hf_twin(policy, tmp_path)
    prompt, replies = [5, 9, 14], ([7, 8, 9, 10], [11, 12])
    gains = ([0.5, -1.0, 0.0, 2.0], [-0.25, 3.0])
    rows = [Row.of(prompt, r, 0.1, gain) for r, gain in zip(replies, gains, strict=True)]
    assert [row.advantage.dtype for row in rows] == [np.float32] * 2
    _, grad = gradient(policy, rows, 100)
    for reply, gain in zip(replies, gains, strict=True):
        scores = theirs(input_ids=torch.tensor([[*prompt, *reply]])).logits[0, 2:-1].log_softmax(-1)
        logprobs = scores.gather(-1, torch.tensor(reply)[:, None])[:, 0]
        (-0.1 * torch.tensor(gain) * logprobs).sum().backward()
    compare_gradients(theirs, policy, grad)


@pytest.mark.parametrize("loss", ["policy_gradient", "ppo_clip", "cispo"])
def test_advantages_that_share_a_reply_add_up(policy, loss):
    """The gradient is linear in advantages of one sign a token: that of a row is the sum of two halves of it."""
    old = [-3.0, -5.0, -2.0, -4.0]
    objective = Objective(Surrogate(loss, 0.2, 0.2))

    def of(gain):
        return gradient(policy, [Row.of([5, 9, 14], [7, 8, 9, 10], 0.1, gain, old)], HUGE, objective)[1]

    whole, first, second = of([1.0, 2.0, -3.0, 0.5]), of([1.0, 0.0, -3.0, 0.0]), of([0.0, 2.0, 0.0, 0.5])
    assert first.norm() > 0 and second.norm() > 0
    torch.testing.assert_close(whole, first + second, rtol=0, atol=1e-6)


def test_a_number_stands_for_all_tokens_and_a_wrong_length_is_refused():
    np.testing.assert_array_equal(
        Row.of([1], [2, 3], 1.0, 0.5).advantage, Row.of([1], [2, 3], 1.0, [0.5, 0.5]).advantage
    )
    assert Row.of([1], [], 1.0, 0.5).advantage.shape == (0,)
    for wrong in ([1.0], [1.0, 2.0, 3.0], []):
        with pytest.raises(ValueError, match=f"{len(wrong)} advantages for a response of 2 tokens"):
            Row.of([1], [2, 3], 1.0, wrong)
    with pytest.raises(ValueError, match="1 log-probabilities for a response of 2 tokens"):
        Row.of([1], [2, 3], 1.0, 1.0, [-1.0])


def test_two_teachers_pull_as_the_sum_of_each_alone(policy):
    """Beside a surrogate that is counted once; each by its own coefficient."""
    rows, terms = rows_of(4), {"near": 0.5, "far": 0.125}
    for name, scale in (("near", 0.01), ("far", 0.05)):
        noise = torch.randn(policy.model.flat.shape, generator=torch.Generator().manual_seed(len(name)))
        policy.replicas.add_model(name, policy.config, policy.model.flat + scale * noise, train=False)

    def taught(*names):
        teachers = tuple(Teacher(name, terms[name]) for name in names)
        return gradient(policy, rows, HUGE, Objective(ON_POLICY, SamplingRule(0.8), teachers))

    (plain, none), (near, one), (far, other) = taught(), taught("near"), taught("far")
    both, two = taught("near", "far")
    policy.replicas.drop_model("near")
    policy.replicas.drop_model("far")
    assert plain["kl"] == 0 and 0 < near["kl"] < far["kl"]
    assert both["kl"] == pytest.approx(near["kl"] + far["kl"])
    assert both["loss"] - plain["loss"] == pytest.approx(0.5 * near["kl"] + 0.125 * far["kl"], abs=1e-6)
    torch.testing.assert_close(two - none, (one - none) + (other - none), rtol=0, atol=1e-6)


def test_kl_term_is_zero_at_the_reference_and_pulls_back_from_elsewhere():
    policy = Policy(seed=4)
    policy.replicas.add_model("reference", policy.config, policy.model.flat.clone(), train=False)
    rows = [Row.of(r.ids[: r.start], r.ids[r.start :], r.weight, 0.0) for r in rows_of(4)]
    sums, grad = gradient(policy, rows, HUGE, Objective(ON_POLICY, teachers=(Teacher("reference", 0.5),)))
    assert abs(sums["kl"]) < 1e-9 and grad.abs().max() < 1e-5, (
        "rounding only: scoring uses another kernel than training"
    )
    with torch.no_grad():
        policy.model.flat.add_(
            torch.randn(policy.model.flat.shape, generator=torch.Generator().manual_seed(0)) * 0.02
        )
    sums, grad = gradient(policy, rows, HUGE, Objective(ON_POLICY, teachers=(Teacher("reference", 0.5),)))
    assert sums["kl"] > 1e-4 and sums["loss"] == pytest.approx(0.5 * sums["kl"], rel=1e-4)
    with torch.no_grad():
        policy.model.flat.sub_(0.05 * grad / grad.norm())
    assert (
        gradient(policy, rows, HUGE, Objective(ON_POLICY, teachers=(Teacher("reference", 0.5),)))[0]["kl"]
        < sums["kl"]
    )


def test_chunks_of_the_head_change_nothing(policy, monkeypatch):
    rows, objective = rows_of(4), Objective(ON_POLICY, SamplingRule(0.9, 0.95, 50))
    sums, wanted = gradient(policy, rows, HUGE, objective)
    monkeypatch.setattr(head, "HEAD_ROWS", policy.config.vocab * 7)
    found, grad = gradient(policy, rows, HUGE, objective)
    assert found == pytest.approx(sums, abs=1e-6)
    torch.testing.assert_close(grad, wanted, rtol=0, atol=1e-6)


def test_update_clips_the_norm_and_reports_it_before_clipping():
    policy, rows = Policy(seed=4), rows_of()
    _, grad = gradient(policy, rows)
    found = Learner(policy.replicas, "policy", Training(name="x", lr=1e-3, grad_clip=1e-3)).policy_step(
        rows, Objective(ON_POLICY), 1.0
    )
    assert found["grad_norm"] == pytest.approx(grad.double().norm().item(), rel=1e-5)
    clipped = policy.model.grad  # scaled where it lies
    assert clipped.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_an_update_that_is_not_finite_is_skipped_and_counted():
    policy = Policy(seed=4)
    learner = Learner(policy.replicas, "policy", Training(name="x", lr=1e-3))
    before = policy.model.flat.clone()
    found = learner.policy_step([Row.of([1, 2], [3, 4], 1.0, float("nan"))], Objective(ON_POLICY), 1.0)
    assert found["skipped"] == 1.0 and torch.equal(policy.model.flat, before)
    assert learner.policy_step(rows_of(2), Objective(ON_POLICY), 1.0)["skipped"] == 0.0
    assert not torch.equal(policy.model.flat, before)


def test_adamw_step_is_that_of_torch():
    """One worker's owned views step exactly as torch's AdamW on one whole vector."""
    policy, rows = Policy(seed=4), rows_of()
    spec = Training(name="x", lr=2e-3, weight_decay=0.1, grad_clip=1e9)
    _, grad = gradient(policy, rows)
    twin = policy.model.flat.clone().requires_grad_()
    optimizer = torch.optim.AdamW([twin], lr=2e-3 * 0.5, betas=(0.9, 0.95), weight_decay=0.1)
    twin.grad = grad
    optimizer.step()
    Learner(policy.replicas, "policy", spec).policy_step(rows, Objective(ON_POLICY), 0.5)
    torch.testing.assert_close(policy.model.flat, twin.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("change", [{}, {"optimizer": "muon", "muon_lr": 0.02}])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_update_ratio_is_the_norm_of_what_moved_over_that_of_what_was(change, workers):
    policy, rows = Policy(workers, seed=4), rows_of()
    learner = Learner(policy.replicas, "policy", Training(name="x", lr=2e-3, weight_decay=0.1, **change))
    try:
        for _ in range(2):
            before = policy.model.flat.double().clone()
            found = learner.policy_step(rows, Objective(ON_POLICY), 0.5)
            moved = policy.model.flat.double() - before
            assert found["update_ratio"] == pytest.approx(float(moved.norm() / before.norm()), rel=1e-5)
    finally:
        policy.replicas.close()
    skipped = [Row.of([1, 2], [3, 4], 1.0, float("nan"))]
    one = Policy(seed=4)
    found = Learner(one.replicas, "policy", Training(name="x", lr=1e-3)).policy_step(
        skipped, Objective(ON_POLICY), 1.0
    )
    assert found["update_ratio"] == 0.0


@pytest.mark.parametrize("change", [{}, {"optimizer": "muon", "muon_lr": 0.02}])
def test_parameters_that_step_one_by_one_step_as_all_at_once(change):
    """The copies that the update's norm needs cost no bit: the optimisers know nothing of other parameters."""
    found = []
    for together in (False, True):
        policy = Policy(seed=4)
        learner = Learner(policy.replicas, "policy", Training(name="x", lr=2e-3, grad_clip=1e9, **change))
        owned = policy.model.optimizer
        if together:
            owned.step = lambda scale, factor, owned=owned: [o.step() for o, _ in owned.optimizers] and {}
        for _ in range(3):
            learner.policy_step(rows_of(), Objective(ON_POLICY), 1.0)
        found.append(policy.model.flat.detach().clone())
    assert torch.equal(*found)


def test_muon_takes_the_matrices_and_leaves_embeddings_and_norms_to_adamw():
    policy = Policy(seed=4)
    spec = Training(name="x", optimizer="muon", muon_lr=0.02, lr=1e-3)
    Learner(policy.replicas, "policy", spec)
    (muon, muon_lr), (adam, adam_lr) = policy.model.optimizer.optimizers
    names = {id(p): n for n, p in policy.model.optimizer.parameters.items()}
    mine = {names[id(p)] for g in muon.param_groups for p in g["params"]}
    rest = {names[id(p)] for g in adam.param_groups for p in g["params"]}
    assert mine == {f"{i}.{n}" for i in range(2) for n in ("qkv", "o", "gate_up", "down")}
    assert mine | rest == set(policy.model.shapes) and not mine & rest
    assert (muon_lr, adam_lr) == (0.02, 1e-3)
