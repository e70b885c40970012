"""TRL's loss and verl's `core_algos` on the same rollouts: same advantages, same loss, same gradient, to 1e-5.

Where the peers differ from each other or from us on purpose, the difference is neutralised here and named: verl's dual
clip (c = 3) is set out of reach, TRL's CISPO has no lower bound, TRL adds 1e-4 to the standard deviation (verl and we
1e-6), so that advantages are compared with verl only and TRL's loss gets ours.
"""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import oracles
import pytest
import torch
from tiny import Policy, raw_config

from cascade_rl.model.checkpoint import to_hf
from cascade_rl.train.advantage import group_advantage, overlong_penalty
from cascade_rl.train.batch import Row
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.loss import Surrogate, icepop_weights, kl_k3, policy_loss, tis_weights, token_weights
from cascade_rl.train.objective import Objective

LENGTHS = [5, 1, 9, 3, 7, 2, 9, 4]
LIMIT, VOCABULARY = 9, 11
VERL_MODES = {"token": "token-mean", "sequence": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}
TRL_TYPES = {"token": "dapo", "sequence": "grpo", "constant": "dr_grpo"}
SURROGATES = [
    Surrogate("policy_gradient"),
    Surrogate("ppo_clip", 0.2, 0.28),
    Surrogate("ppo_clip", 0.1, 0.1),
    Surrogate("cispo", 1.0, 0.4),
    Surrogate("gspo", 0.03, 0.04),
]


class Rollouts:
    """Replies of a tabular policy in float64, whose parameters moved since they were sampled."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(LENGTHS), LIMIT, VOCABULARY)
        self.logits = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        self.ids = torch.randint(VOCABULARY, shape[:2], generator=generator)
        moved = self.logits.detach() + 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)
        self.old = self._logprobs(moved)
        self.mask = (torch.arange(LIMIT) < torch.tensor(LENGTHS)[:, None]).double()
        self.rewards = [1.0, 0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0]
        groups = [group_advantage(self.rewards[i : i + 4]) for i in (0, 4)]
        self.advantage = torch.tensor([a for row in groups for a in row], dtype=torch.float64)

    def _logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.log_softmax(-1).gather(-1, self.ids[..., None])[..., 0]

    @property
    def logprob(self) -> torch.Tensor:
        """Those of the policy that learns [B, T], with their graph."""
        return self._logprobs(self.logits)

    def ours(self, surrogate: Surrogate, aggregation: str, kl: float = 0.0) -> tuple[float, torch.Tensor]:
        """Our loss and its gradient with respect to the logits; tokens flat, as in a micro-batch."""
        row, column = self.mask.nonzero(as_tuple=True)
        logprob, old = self.logprob[row, column], self.old[row, column]
        weight = torch.tensor(token_weights(LENGTHS, aggregation, LIMIT), dtype=torch.float64)[row]
        loss, _ = policy_loss(surrogate, logprob, old, self.advantage[row], weight, row)
        if kl:
            loss = loss + kl * (weight * kl_k3(logprob, old)).sum()
        return self.with_gradient(loss)

    def with_gradient(self, loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        (gradient,) = torch.autograd.grad(loss, self.logits)
        return loss.item(), gradient


def same(mine: tuple[float, torch.Tensor], theirs: tuple[float, torch.Tensor]) -> None:
    assert mine[0] == pytest.approx(theirs[0], abs=1e-5)
    assert theirs[1].abs().max() > 1e-3
    torch.testing.assert_close(mine[1], theirs[1], rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- verl


def verl_loss(
    found: Rollouts, surrogate: Surrogate, aggregation: str, weights=None
) -> tuple[float, torch.Tensor]:
    verl = oracles.verl_algorithms()
    settings = verl.ActorConfig(clip_ratio_c=1e9)
    settings.clip_ratio, settings.clip_ratio_low, settings.clip_ratio_high = (
        0.2,
        surrogate.low,
        surrogate.high,
    )
    settings.global_batch_info = {"loss_scale_factor": LIMIT} if aggregation == "constant" else {}
    name = {"policy_gradient": "vanilla", "ppo_clip": "vanilla"}.get(surrogate.loss, surrogate.loss)
    logprob = found.logprob
    old = logprob.detach() if surrogate.loss == "policy_gradient" else found.old
    advantage = found.advantage[:, None].expand_as(found.mask)
    loss, _ = verl.core.get_policy_loss_fn(name)(
        old, logprob, advantage, found.mask, VERL_MODES[aggregation], settings, weights
    )
    return found.with_gradient(loss)


@pytest.mark.parametrize("aggregation", VERL_MODES)
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{s.loss}-{s.low}")
def test_loss_and_gradient_are_those_of_verl(surrogate, aggregation):
    found = Rollouts()
    same(found.ours(surrogate, aggregation), verl_loss(found, surrogate, aggregation))


@pytest.mark.parametrize("deviation", [True, False], ids=["grpo", "dr_grpo"])
def test_advantages_are_those_of_verl(deviation):
    core = oracles.verl_algorithms().core
    rng = np.random.default_rng(0)
    for _ in range(20):
        size = int(rng.integers(2, 9))
        rewards = rng.choice([0.0, 0.25, 1.0, -1.0, 3.0], (3, size))
        scores = torch.zeros(3 * size, 2, dtype=torch.float64)
        scores[:, 1] = torch.tensor(rewards.ravel())
        index = np.repeat(np.arange(3), size)
        theirs, _ = core.compute_grpo_outcome_advantage(
            scores, torch.ones(3 * size, 2), index, 1e-6, deviation
        )
        mine = [group_advantage(list(row), "none", "grpo" if deviation else "dr_grpo") for row in rewards]
        np.testing.assert_allclose(theirs[:, 0].numpy(), np.ravel(mine), atol=1e-9)


@pytest.mark.parametrize("kind", ["tis", "icepop"])
def test_corrections_are_those_of_verl(kind):
    found = Rollouts()
    low, high, threshold = (0.0, 1.3, 1.3) if kind == "tis" else (0.8, 1.3, "0.8_1.3")
    theirs, _ = oracles.verl_algorithms().correction.compute_rollout_correction_weights(
        found.logprob - found.old, found.mask, "token", threshold
    )
    mine = (tis_weights(found.logprob, found.old, high) if kind == "tis"
            else icepop_weights(found.logprob, found.old, low, high))  # fmt: skip
    torch.testing.assert_close(mine * found.mask, theirs)
    bounded = (theirs == (high if kind == "tis" else 0))[found.mask == 1]
    assert 0 < bounded.sum() < len(bounded), "some are bounded, some are not"
    surrogate = Surrogate("policy_gradient", 0.0, 0.0, kind, low, high)
    same(found.ours(surrogate, "token"), verl_loss(found, Surrogate("policy_gradient"), "token", theirs))


def test_k3_is_that_of_verl():
    found = Rollouts()
    theirs = oracles.verl_algorithms().core.kl_penalty(found.logprob, found.old, "k3")
    torch.testing.assert_close(kl_k3(found.logprob, found.old), theirs)


# ---------------------------------------------------------------- TRL


def trl_self(loss_type: str, surrogate: Surrogate, logprobs, beta: float = 0.0, corrected: bool = False):
    """What `GRPOTrainer._compute_loss` reads from its trainer, for one process and one micro-batch."""
    metrics = {"train": _Metrics()}
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, torch.zeros_like(logprobs.detach()), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=beta,
        importance_sampling_level="sequence" if surrogate.loss == "gspo" else "token", loss_type=loss_type,
        epsilon_low=surrogate.low, epsilon_high=surrogate.high + (surrogate.loss == "cispo"),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        use_vllm=corrected, vllm_importance_sampling_correction=corrected, model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, max_completion_length=LIMIT, _entropy_bonus_enabled=False,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics=metrics,
    )  # fmt: skip


class _Metrics(dict):
    def __missing__(self, key):
        return self.setdefault(key, [])


def trl_inputs(found: Rollouts) -> dict[str, torch.Tensor]:
    return {
        "prompt_ids": torch.zeros(len(LENGTHS), 1, dtype=torch.long), "prompt_mask": torch.ones(len(LENGTHS), 1),
        "completion_ids": found.ids, "completion_mask": found.mask, "advantages": found.advantage,
        "num_items_in_batch": found.mask.sum(), "old_per_token_logps": found.old, "ref_per_token_logps": found.old,
    }  # fmt: skip


CASES = [(s, a) for s in SURROGATES for a in TRL_TYPES if s.loss != "cispo" or a == "token"]


@pytest.mark.parametrize("kl", [0.0, 0.3])
@pytest.mark.parametrize(("surrogate", "aggregation"), CASES, ids=lambda x: getattr(x, "loss", x))
def test_loss_and_gradient_are_those_of_trl(surrogate, aggregation, kl):
    found = Rollouts()
    loss_type = "cispo" if surrogate.loss == "cispo" else TRL_TYPES[aggregation]
    inputs = trl_inputs(found)
    if surrogate.loss == "policy_gradient":
        del inputs["old_per_token_logps"]
    trainer = trl_self(loss_type, surrogate, found.logprob, beta=kl)
    theirs = found.with_gradient(oracles.trl_trainer()._compute_loss(trainer, None, inputs))
    same(found.ours(surrogate, aggregation, kl), theirs)


def test_truncated_importance_sampling_is_that_of_trl():
    found, cap = Rollouts(), 1.3
    inputs = trl_inputs(found)
    del inputs["old_per_token_logps"]
    inputs["importance_sampling_ratio"] = torch.exp(found.logprob.detach() - found.old).clamp(max=cap)
    trainer = trl_self("dapo", SURROGATES[0], found.logprob, corrected=True)
    theirs = found.with_gradient(oracles.trl_trainer()._compute_loss(trainer, None, inputs))
    same(found.ours(Surrogate("policy_gradient", 0.0, 0.0, "tis", 0.0, cap), "token"), theirs)


def test_the_overlong_penalty_is_that_of_trl():
    theirs = oracles.trl_overlong()(100, 30)([[0] * n for n in range(101)])
    assert [overlong_penalty(n, 100, 30) for n in range(101)] == pytest.approx(theirs)


# ---------------------------------------------------------------- the whole model


@pytest.mark.parametrize("surrogate", [SURROGATES[0], SURROGATES[1]], ids=lambda s: s.loss)
def test_gradient_of_every_weight_is_that_of_transformers_with_trl(surrogate):
    """Our decoder, our packing and our loss against transformers' Qwen3 under TRL's loss, on the same ids."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    policy, rng = Policy(scale=0.1), random.Random(0)
    prompt = [rng.randrange(300) for _ in range(6)]
    replies = [[rng.randrange(300) for _ in range(n)] for n in LENGTHS]
    found = Rollouts()
    model = Qwen3ForCausalLM(Qwen3Config(**raw_config())).float()
    model.load_state_dict(to_hf(policy.model.flat, policy.config), strict=False)
    ids = torch.tensor([prompt + r + [0] * (LIMIT - len(r)) for r in replies])
    logprobs = model(ids).logits[:, len(prompt) - 1 : -1].log_softmax(-1)
    logprobs = logprobs.gather(-1, ids[:, len(prompt) :, None])[..., 0]
    old = logprobs.detach() + 0.3 * torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(0))
    inputs = trl_inputs(found) | {"completion_ids": ids[:, len(prompt) :], "old_per_token_logps": old}
    if surrogate.loss == "policy_gradient":
        del inputs["old_per_token_logps"]
    loss = oracles.trl_trainer()._compute_loss(trl_self("dapo", surrogate, logprobs), None, inputs)
    loss.backward()
    theirs = policy.config.flat({name: p.grad for name, p in model.named_parameters()})
    rows = [
        Row.of(prompt, r, w, a, o[: len(r)])
        for r, w, a, o in zip(
            replies, token_weights(LENGTHS, "token"), found.advantage.tolist(), old.tolist(), strict=True
        )
    ]
    sums = accumulate(policy.replicas.local, "policy", rows, 40, Objective(surrogate))
    assert sums["loss"] == pytest.approx(loss.item(), abs=1e-5)
    torch.testing.assert_close(policy.model.grad, theirs, rtol=1e-4, atol=1e-5)
    assert theirs.abs().max() > 1e-3
