"""The estimator converges to the exact gradient of the expected reward, which brute force gives for a toy policy.

With a group of G the baseline holds a reply's own reward, so the expectation is (G - 1) / G of the gradient: a constant,
for every G. Without the division by the standard deviation this is exact; with it each prompt is reweighted (Dr. GRPO).
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from tiny import Policy, raw_config, tokenizer, toy_problem
from transformers import Qwen3Config, Qwen3ForCausalLM

from cascade_rl.model.checkpoint import to_hf
from cascade_rl.protocols import Sampling
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.advantage import group_advantage
from cascade_rl.train.batch import Row
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.loss import ON_POLICY, policy_gradient_loss, token_weights
from cascade_rl.train.objective import Objective

VOCABULARY, LIMIT, STOP = 3, 2, 0


def replies() -> list[tuple[int, ...]]:
    """All replies: token 0 ends one."""
    return [(STOP,), *((a, b) for a in range(1, VOCABULARY) for b in range(VOCABULARY))]


def reward(reply: tuple[int, ...]) -> float:
    return {(0,): 0.3, (1, 0): 1.0, (2, 1): 0.5}.get(reply, 0.0)


def logprobs(theta: torch.Tensor, reply: tuple[int, ...]) -> torch.Tensor:
    """Of each token of a reply; the state is the token before (row 0 of theta at the start)."""
    table = theta.log_softmax(-1)
    return torch.stack([table[before, token] for before, token in zip((0, *reply), reply, strict=False)])


def estimate(
    theta: torch.Tensor, group: list[tuple[int, ...]], advantage: str, aggregation: str
) -> torch.Tensor:
    """The gradient that our functions give for one sampled group."""
    scores = group_advantage([reward(r) for r in group], "none", advantage)
    weights = token_weights([len(r) for r in group], aggregation, LIMIT)
    parts = [(logprobs(theta, r), a, w) for r, a, w in zip(group, scores, weights, strict=True)]
    flat = torch.cat([lp for lp, _, _ in parts])
    spread = [
        torch.cat([torch.full_like(lp, value) for lp, *values in parts for value in [values[i]]])
        for i in (0, 1)
    ]
    (gradient,) = torch.autograd.grad(policy_gradient_loss(flat, *spread), theta)
    return gradient


def exact(theta: torch.Tensor) -> torch.Tensor:
    value = sum(logprobs(theta, r).sum().exp() * reward(r) for r in replies())
    (gradient,) = torch.autograd.grad(value, theta)
    return gradient


@pytest.fixture
def theta():
    torch.set_num_threads(1)  # the tensors are tiny: a second thread would only wait
    generator = torch.Generator().manual_seed(3)
    return torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("size", [2, 3])
def test_the_expectation_over_all_groups_is_the_gradient_of_the_expected_reward(theta, size):
    """Every possible group, weighted by its probability: no sampling error, so 1e-12."""
    chance = {r: logprobs(theta, r).sum().exp().item() for r in replies()}
    assert sum(chance.values()) == pytest.approx(1)
    mean = torch.zeros_like(theta)
    for group in product(replies(), repeat=size):
        mean += math.prod(chance[r] for r in group) * estimate(theta, list(group), "dr_grpo", "constant")
    wanted = -(size - 1) / size * exact(theta) / LIMIT
    assert wanted.abs().max() > 0.01
    torch.testing.assert_close(mean, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("advantage", "aggregation"), [("grpo", "constant"), ("dr_grpo", "token"), ("grpo", "token")]
)
def test_the_other_settings_estimate_something_else(theta, advantage, aggregation):
    """So that the test above could fail: the deviation and the batch's own token count bias the direction."""
    chance = {r: logprobs(theta, r).sum().exp().item() for r in replies()}
    mean = torch.zeros_like(theta)
    for group in product(replies(), repeat=2):
        mean += math.prod(chance[r] for r in group) * estimate(theta, list(group), advantage, aggregation)
    cosine = -torch.nn.functional.cosine_similarity(mean.flatten(), exact(theta).flatten(), 0).item()
    assert 0.8 < cosine < 1 - 1e-7


def test_sampler_and_trainer_together_converge_to_the_exact_gradient():
    """One token of a real (tiny) decoder, whose 300 answers can all be enumerated.

    Along the exact gradient's direction a group's share is X = mean of A s(a). Rewards are 0 or 1, so the mean of A^2 is
    at most 1/4, and by Cauchy-Schwarz |X| <= B = max |s| / 2 and E[X^2] <= v = E[s^2] / 4: both are enumerated. By
    Bernstein the mean of K groups is off by e or more with probability 2 exp(-K e^2 / (2 v + 2 B e / 3)) at most; e is
    chosen so that this is 1e-9.
    """
    policy, problem, size, groups = Policy(seed=5, scale=0.1), toy_problem(1), 8, 4096
    prompt = tokenizer().prompt(problem)
    vocabulary = policy.config.vocab
    earned = [float(a % 3 == 0) for a in range(vocabulary)]
    model = Qwen3ForCausalLM(
        Qwen3Config(**raw_config())
    ).float()  # transformers' own, with torch's own gradient
    model.load_state_dict(to_hf(policy.model.flat, policy.config), strict=False)
    torch.set_num_threads(1)
    names, parameters = zip(*model.named_parameters(), strict=True)
    logprob = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    value = (logprob.exp() * torch.tensor(earned)).sum()
    direction = torch.autograd.grad(value, parameters, retain_graph=True)
    length = math.sqrt(sum(float(g.double().square().sum()) for g in direction))
    score = np.array([
        sum(float((g * d).sum()) for g, d in zip(torch.autograd.grad(lp, parameters, retain_graph=True), direction, strict=True))
        for lp in logprob
    ]) / length  # fmt: skip
    largest, second = (
        abs(score).max() / 2,
        float((logprob.detach().exp().double().numpy() * score**2).sum()) / 4,
    )
    odds = math.log(2 / 1e-9)
    bound = largest * odds / 3 / groups + math.sqrt(
        (largest * odds / 3 / groups) ** 2 + 2 * second * odds / groups
    )
    wanted = (size - 1) / size * length
    assert bound < wanted / 2, "the test must be able to tell"

    draw = TorchSampler(policy.replicas, policy.tokenizer, max_rows=2048)
    asked = [replace(problem, id=f"{problem.id}-{i}") for i in range(size * groups // 2048)]
    sampled = [r for row in draw.sample(asked, Sampling(2048, 1, seed=(1,))) for r in row]
    taken = [sampled[i : i + size] for i in range(0, len(sampled), size)]
    advantage = [group_advantage([earned[r.ids[0]] for r in group], "none", "dr_grpo") for group in taken]
    share = [np.mean([a * score[r.ids[0]] for r, a in zip(g, row, strict=True)])
             for g, row in zip(taken, advantage, strict=True)]  # fmt: skip
    assert abs(np.mean(share) - wanted) < bound

    # and the trainer's gradient of such a batch is what the scores say, since they are all that entered the mean
    some = 64
    weights = token_weights([1] * some * size, "constant", 1)
    rows = [Row.of(prompt, r.ids, w, a) for (r, a), w in zip(
        [(r, a) for g, row in zip(taken[:some], advantage, strict=False) for r, a in zip(g, row, strict=True)],
        weights, strict=True)]  # fmt: skip
    accumulate(policy.replicas.local, "policy", rows, 2000, Objective(ON_POLICY))
    along = float(policy.model.grad @ policy.config.flat(dict(zip(names, direction, strict=True)))) / length
    assert along == pytest.approx(-np.mean(share[:some]), abs=1e-5)
