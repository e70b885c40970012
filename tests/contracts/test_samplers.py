"""What holds for every sampler, whatever engine decodes: ours, and vLLM by a stand-in for it."""

from __future__ import annotations

import copy
import sys

import fake_vllm
import numpy as np
import pytest
import torch
from tiny import Policy, tokenizer, toy_problem

from cascade_rl.model.checkpoint import save_directory
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.vllm_sampler import VLLMSampler
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs
from cascade_rl.types import Mode, Stop

PROBLEMS = [toy_problem(0), toy_problem(1, series=" of a longer kind than the others"), toy_problem(2)]
RULES = [(1.0, 1.0, 0, 0.0), (0.7, 1.0, 0, 0.0), (1.0, 0.8, 0, 0.0), (1.2, 0.9, 20, 0.0), (1.5, 1.0, 0, 0.1),
         (1.2, 1.0, 12, 0.05)]  # fmt: skip
ENDS = tuple(range(20, 30))


@pytest.fixture(params=["torch", "vllm"])
def make(request, monkeypatch, tmp_path):
    """A function that makes a sampler over a policy."""
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)

    def of(policy: Policy, ends: tuple[int, ...] = ENDS):
        tok = copy.copy(tokenizer())
        tok.eos_ids = ends
        if request.param == "torch":
            return TorchSampler(policy.replicas, tok)
        save_directory(tmp_path, policy.raw, policy.config, torch.zeros_like(policy.model.flat))
        return VLLMSampler(policy.replicas, tok, tmp_path, 200, 0.5)

    return of


@pytest.fixture(scope="module")
def policy():
    return Policy(seed=1)


def trainers(policy, rollout, objective=Objective(ON_POLICY)) -> np.ndarray:
    batch = pack_rows([Row.of(rollout.prompt_ids, rollout.ids, 1.0)], torch.device("cpu"))
    with torch.no_grad():
        return token_logprobs(policy.model.weights, policy.config, batch, objective.rule).numpy()


def plain(groups):
    return [[(r.prompt_ids, r.ids, r.stop) for r in group] for group in groups]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_log_probabilities_are_those_of_the_trainer_under_every_filter(make, policy, rule):
    groups = make(policy).sample(PROBLEMS, Sampling(3, 14, SamplingRule(*rule), seed=(7,)))
    for rollout in (r for group in groups for r in group):
        wanted = trainers(policy, rollout, Objective(ON_POLICY, SamplingRule(*rule)))
        np.testing.assert_allclose(rollout.logprobs, wanted, rtol=0, atol=1e-4)


def test_groups_stand_in_order_and_ends_are_told_apart(make, policy):
    draw = make(policy)
    groups = draw.sample(PROBLEMS, Sampling(6, 16, seed=(3,)))
    assert [len(g) for g in groups] == [6, 6, 6]
    rows = [(p, r) for p, g in zip(PROBLEMS, groups, strict=True) for r in g]
    for problem, rollout in rows:
        assert rollout.prompt_ids == tuple(draw.tokenizer.prompt(problem))
        assert rollout.text == draw.tokenizer.decode(rollout.ids)
        assert not set(rollout.ids[:-1]) & set(ENDS)
        assert rollout.stop is (Stop.END if rollout.ids[-1] in ENDS else Stop.LENGTH)
        assert len(rollout.ids) == 16 or rollout.stop is Stop.END
    assert {r.stop for _, r in rows} == {Stop.END, Stop.LENGTH}
    odd = [r for _, r in rows if tuple(draw.tokenizer.encode(r.text)) != r.ids]
    assert odd, "ids are the sampled ones, not those of the text"


def test_a_row_is_drawn_by_its_seed_problem_mode_and_index_alone(make, policy):
    draw, sampling = make(policy, (10**6,)), Sampling(4, 8, seed=(5, "rl"))
    one = plain(draw.sample(PROBLEMS, sampling))
    assert plain(draw.sample(PROBLEMS, sampling)) == one
    assert plain(draw.sample(PROBLEMS[::-1], sampling))[::-1] == one
    assert [g[:2] for g in one] == plain(draw.sample(PROBLEMS, Sampling(2, 8, seed=(5, "rl"))))
    assert all(len({ids for _, ids, _ in group}) == 4 for group in one)
    other = plain(draw.sample(PROBLEMS, Sampling(4, 8, seed=(6, "rl"))))
    assert not {ids for g in one for _, ids, _ in g} & {ids for g in other for _, ids, _ in g}
    instruct = draw.sample([PROBLEMS[0].in_mode(Mode.INSTRUCT)], sampling)[0]
    assert not {r.ids for r in instruct} & {ids for _, ids, _ in one[0]}


def test_greedy_takes_the_likeliest_and_says_what_it_cost(make, policy):
    (first,), *_ = draw = make(policy).sample(PROBLEMS, Sampling(1, 12, GREEDY))
    assert plain(draw) == plain(make(policy).sample(PROBLEMS, Sampling(1, 12, GREEDY, seed=(9,))))
    np.testing.assert_allclose(first.logprobs, trainers(policy, first), rtol=0, atol=1e-4)


def test_finished_hears_of_every_group_once(make, policy):
    heard = {}
    groups = make(policy).sample(
        PROBLEMS, Sampling(3, 9, seed=(2,)), lambda i, group: heard.setdefault(i, []).append(group)
    )
    assert heard == {i: [group] for i, group in enumerate(groups)}


def test_many_requests_give_what_each_gives_alone(make, policy):
    draw = make(policy)
    asked = [
        (PROBLEMS, Sampling(2, 9, seed=(1,))),
        (PROBLEMS[:1], Sampling(1, 5, GREEDY)),
        ([], Sampling(1, 5)),
    ]
    assert [plain(g) for g in draw.sample_many(asked)] == [plain(draw.sample(*request)) for request in asked]


def test_a_prompt_over_the_limit_is_an_error_that_names_the_problem(make, policy):
    size = len(tokenizer().prompt(PROBLEMS[1]))
    wanted = f"{PROBLEMS[1].id}: the prompt has {size} tokens, over {size - 1}"
    with pytest.raises(ValueError, match=wanted):
        make(policy).sample(PROBLEMS, Sampling(1, 4, max_prompt_tokens=size - 1))


def test_after_an_update_replies_come_from_the_new_weights(make):
    policy = Policy(seed=2)
    draw, sampling = make(policy), Sampling(3, 12, seed=(5,))
    before = draw.sample(PROBLEMS, sampling)
    rows = [
        Row.of(r.prompt_ids, r.ids, 0.01, 1.0 if i % 2 else -1.0) for g in before for i, r in enumerate(g)
    ]
    Learner(policy.replicas, "policy", Training(name="x", lr=0.05)).policy_step(
        rows, Objective(ON_POLICY), 1.0
    )
    after = draw.sample(PROBLEMS, sampling)
    stale = [np.abs(np.array(r.logprobs) - trainers(policy, r)).max() for g in before for r in g]
    fresh = [np.abs(np.array(r.logprobs) - trainers(policy, r)).max() for g in after for r in g]
    assert max(stale) > 0.1 > 1e-4 > max(fresh)
