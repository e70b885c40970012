"""Packed trees against rows alone: sharing a prompt and leaving padding out change no number."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batch import compare_gradients, gradient, hf_twin
from tiny import Policy, random_flat

from cascade_rl.model.attention import Attention
from cascade_rl.model.decoder import hidden_states, packed_states, rotary, views
from cascade_rl.model.gpu_attention import ByBlocks
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import SamplingRule
from cascade_rl.train.batch import Row, microbatches, plant
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective
from cascade_rl.train.scalar_head import accumulate_pairs, fork, last_scores, stem

CPU = torch.device("cpu")
HUGE = 10**9


@pytest.fixture(scope="module")
def policy():
    return Policy(seed=4)


def group_rows(sizes, seed=0, vocab=300) -> list[Row]:
    """Groups of so many rows on one prompt, of unlike lengths, in no particular order."""
    rng = random.Random(seed)
    rows = []
    for size in sizes:
        prompt = [rng.randrange(1, vocab) for _ in range(rng.randint(1, 30))]
        for _ in range(size):
            reply = [rng.randrange(1, vocab) for _ in range(rng.randint(1, 25))]
            rows.append(Row.of(prompt, reply, 0.01, rng.gauss(0, 1)))
    rng.shuffle(rows)
    return rows


def test_rows_with_one_prompt_compute_it_once():
    rows = group_rows([4, 1, 3])
    trees = [tree for tree, _ in plant(rows)]
    assert sorted(len(t.branches) for t in trees) == [1, 3, 4]
    alone = sum(len(r.ids) - 1 for r in rows)
    saved = sum(len(t.prefix) * (len(t.branches) - 1) for t in trees)
    assert sum(t.tokens for t in trees) == alone - saved < alone


@pytest.mark.parametrize(
    "objective",
    [Objective(ON_POLICY, SamplingRule(0.8)), Objective(ON_POLICY, SamplingRule(0.9, 0.9, 40))],
    ids=["plain", "top-p"],
)
def test_shared_prompts_give_the_gradient_of_rows_alone(policy, objective):
    rows = group_rows([4, 1, 3, 4])
    sums, grad = gradient(policy, rows, HUGE, objective)
    alone = [gradient(policy, [row], HUGE, objective) for row in rows]
    assert sums["loss"] == pytest.approx(sum(s["loss"] for s, _ in alone), abs=1e-5)
    torch.testing.assert_close(grad, sum(g for _, g in alone), rtol=0, atol=1e-5)
    assert grad.abs().max() > 1e-2
    cut, again = gradient(policy, rows, 70, objective)  # trees are cut, their prompt computed again
    assert len(microbatches(rows, 70)) > 4
    assert cut["tokens"] == sums["tokens"]
    torch.testing.assert_close(again, grad, rtol=0, atol=1e-5)


def test_shared_prompts_give_the_gradient_of_transformers(policy, tmp_path):
    theirs, rows = hf_twin(policy, tmp_path), group_rows([3, 2, 3], seed=3)
    _, grad = gradient(policy, rows, HUGE, Objective(ON_POLICY))
    for row in rows:
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        scores = theirs(input_ids=ids).logits[0, row.start - 1 : -1].log_softmax(-1)
        (-row.weight * row.advantage[0] * scores.gather(-1, ids[0, row.start :, None]).sum()).backward()
    compare_gradients(theirs, policy, grad)


TREES = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.integers(1, 12), min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(TREES, st.integers(0, 100))
def test_hidden_states_of_branches_are_those_of_whole_rows(policy, shapes, seed):
    rng = np.random.default_rng(seed)
    trees = [
        Tree(rng.integers(0, 300, p), tuple(rng.integers(0, 300, n) for n in branches))
        for p, branches in shapes
    ]
    weights = views(policy.model.flat, policy.config.shapes())
    with torch.no_grad():
        packed = pack(trees, CPU)
        found = packed_states(weights, policy.config, packed).split(packed.lengths)
        assert len(packed.order) == sum(len(t.branches) for t in trees)
        for (tree, branch), mine in zip(packed.order, found, strict=True):
            whole = np.concatenate((trees[tree].prefix, trees[tree].branches[branch]))
            alone = packed_states(weights, policy.config, pack([Tree(whole[:0], (whole,))], CPU))
            torch.testing.assert_close(mine, alone[len(trees[tree].prefix) :], rtol=0, atol=1e-4)


@pytest.mark.parametrize("last", [False, True], ids=["layer", "last-layer"])
def test_the_fused_kernels_of_a_gpu_compute_the_same(policy, last):
    """On the CPU here: the way that a GPU takes, forward and backward."""
    rows = group_rows([3, 1, 3, 2], seed=5)
    packed = pack([tree for tree, _ in plant(rows)], CPU)
    config = policy.config
    start = torch.randn(len(packed.ids), config.heads + 2 * config.kv_heads, config.head_dim)
    found = []
    for attend in (lambda x: Attention(packed, config.heads, config.kv_heads)(0, x, last),
                   lambda x: ByBlocks(packed, config.heads, config.kv_heads, None)(0, x, last)):  # fmt: skip
        qkv = start.clone().requires_grad_()
        out = attend(qkv)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out.detach(), qkv.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5)


def test_without_gradients_the_same_numbers_come_out(policy):
    """Decoding and scoring take shorter ways than training."""
    packed = pack([tree for tree, _ in plant(group_rows([2, 3]))], CPU)
    turn, weights = rotary(policy.config, packed.positions), policy.model.weights
    attend = Attention(packed, policy.config.heads, policy.config.kv_heads)
    trained = hidden_states(weights, policy.config, packed.ids, turn, attend, slice(packed.prefixes, None))
    assert trained.requires_grad
    with torch.no_grad():
        scored = hidden_states(weights, policy.config, packed.ids, turn, attend, slice(packed.prefixes, None))
    torch.testing.assert_close(trained.detach(), scored, rtol=0, atol=1e-5)


def test_pairs_share_what_they_begin_with_and_score_the_same():
    policy = Policy()
    extra = {"score": (1, policy.config.hidden)}
    flat = random_flat(policy.config, 1, extra=extra)
    model = policy.replicas.add_model("reward", policy.config, flat, train=True, extra=extra)
    rows = [
        Row.of(ids, [], 0.0)
        for ids in ([5, 6, 7, 8], [5, 6, 9], [5, 6], [5, 6, 7], [4], [3, 2], [7, 7], [7, 7])
    ]
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    trees = [fork(*pair) for pair in pairs]
    assert [len(t.prefix) for t in trees] == [2, 1, 0, 1]
    with torch.no_grad():
        together = last_scores(model.weights, model.config, trees, CPU)
        alone = torch.cat([last_scores(model.weights, model.config, [stem(row)], CPU) for row in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    sums = accumulate_pairs(policy.replicas.local, "reward", pairs, HUGE, 0.25)
    assert sums["right"] == int((alone[::2] > alone[1::2]).sum())


def test_products_in_bf16_stay_near_and_their_gradients_are_summed_in_fp32():
    """Many micro-batches: sums in bf16 would lose what is small beside what is there already."""
    rows, flat = group_rows([4] * 12, seed=8), random_flat(Policy().config, 4, 0.1)
    found = {}
    for precision in ("fp32", "bf16"):
        replicas = Replicas(1, precision=precision)
        torch.set_num_threads(1)
        model = replicas.add_model("policy", Policy().config, flat.clone(), train=True)
        for tokens in (HUGE, 60):
            accumulate(replicas.local, "policy", rows, tokens, Objective(ON_POLICY))
            found[precision, tokens] = model.grad.clone()
    exact = found["fp32", HUGE]
    for tokens in (HUGE, 60):
        assert (found["bf16", tokens] - exact).norm() < 0.03 * exact.norm()
    assert found["bf16", 60].dtype is torch.float32


def test_a_tree_without_branches_is_an_error():
    with pytest.raises(ValueError, match="needs a branch"):
        pack([Tree(np.array([1, 2]), ())], CPU)


@given(TREES)
def test_the_longest_text_is_told_without_the_device(shapes):
    packed = pack([Tree(np.arange(p), tuple(np.arange(n) for n in branches)) for p, branches in shapes], CPU)
    assert packed.longest() == int(packed.positions.max()) + 1
