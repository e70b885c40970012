"""LoRA: gradients against autograd through the factors, steps against a plain loop, the adapter against PEFT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import Policy, logits, random_flat
from transformers import AutoModelForCausalLM

from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.model.checkpoint import save_directory, to_hf
from cascade_rl.recipe import LoRA, Training
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective

TARGETS = ["q_proj", "v_proj", "o_proj", "up_proj"]
SPEC = Training(
    name="x", lr=0.02, grad_clip=1e9, weight_decay=0.01, lora=LoRA(rank=3, alpha=6, targets=TARGETS)
)
ROWS = [
    Row.of([1, 2, 3], [40, 41, 42, 43], 0.1, 1.0),
    Row.of([5, 6], [70, 71, 72], 0.1, -2.0),
    Row.of([9, 8, 7, 6], [33], 0.1, 0.5),
]
POLICY = Objective(ON_POLICY)


def trained(size: int = 1, steps: int = 3, folder=None) -> tuple[Policy, Learner, list[float]]:
    policy = Policy(size)
    learner = Learner(policy.replicas, "policy", SPEC, seed=7)
    norms = [learner.policy_step(ROWS, POLICY, 1.0)["grad_norm"] for _ in range(steps)]
    if folder:
        learner.save_adapter(folder, Path("base"))
    return policy, learner, norms


def reference(steps: int = 3) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The same by autograd: transformers' model with W0 + s B A put in for each target, AdamW of torch."""
    policy = Policy()
    learner = Learner(policy.replicas, "policy", SPEC, seed=7)
    start = {
        a.full: (a.a.clone(), a.b.clone()) for a in learner.replicas.local.models["policy"].optimizer.adapters
    }
    state = to_hf(policy.model.flat, policy.config)
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(Qwen3Config(**policy.raw)).float()
    model.load_state_dict(state, strict=False)
    factors = {full: [t.clone().requires_grad_() for t in pair] for full, pair in start.items()}
    adam = torch.optim.AdamW(
        [t for p in factors.values() for t in p], lr=0.02, betas=(0.9, 0.95), weight_decay=0.01
    )
    norms = []
    for _ in range(steps):
        merged = {full: state[full] + 2.0 * b @ a for full, (a, b) in factors.items()}
        loss = torch.zeros(())
        for row in ROWS:
            ids = torch.tensor(row.ids, dtype=torch.long)[None]
            out = torch.func.functional_call(model, merged, (ids,), {"use_cache": False}).logits.log_softmax(
                -1
            )
            picked = out[0, row.start - 1 : -1].gather(-1, ids[0, row.start :, None])
            loss = loss - row.weight * row.advantage[0] * picked.sum()
        adam.zero_grad()
        loss.backward()
        norms.append(
            float(torch.stack([t.grad.square().sum() for p in factors.values() for t in p]).sum().sqrt())
        )
        adam.step()
    return state | {full: (state[full] + 2.0 * b @ a).detach() for full, (a, b) in factors.items()}, norms


def test_factors_follow_autograd_and_nothing_else_moves():
    policy, _, norms = trained()
    expected, expected_norms = reference()
    assert norms == pytest.approx(expected_norms, rel=2e-4)
    found, start = to_hf(policy.model.flat, policy.config), to_hf(random_flat(policy.config), policy.config)
    for name, tensor in expected.items():
        if name not in found:
            continue
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=2e-4, msg=name)
        moved = not torch.equal(found[name], start[name])
        assert moved == any(f".{target}." in name for target in TARGETS), name


def test_the_update_ratio_is_over_the_matrices_that_have_an_adapter():
    policy, learner, _ = trained(steps=1)
    adapted = [a.weight for a in policy.model.optimizer.adapters]
    before = [w.double().clone() for w in adapted]
    found = learner.policy_step(ROWS, POLICY, 1.0)["update_ratio"]
    moved = sum(float((w - b).square().sum()) for w, b in zip(adapted, before, strict=True))
    assert found == pytest.approx((moved / sum(float(b.square().sum()) for b in before)) ** 0.5, rel=1e-4)


def test_two_workers_train_the_same_adapter():
    one, two = trained(1)[0], trained(2)[0]
    torch.testing.assert_close(one.model.flat, two.model.flat, rtol=0, atol=1e-5)
    two.replicas.close()


def test_peft_merges_the_saved_adapter_to_the_same_model(tmp_path):
    from peft import PeftModel

    policy, _, _ = trained(folder=tmp_path / "adapter")
    save_directory(tmp_path / "base", policy.raw, policy.config, random_flat(policy.config))
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    merged = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload()
    flat = policy.config.flat(merged.state_dict())
    torch.testing.assert_close(flat, policy.model.flat.detach(), rtol=0, atol=1e-5)
    ids = torch.tensor([[5, 9, 33, 70]])
    ours = logits(policy.config, policy.model.flat.detach(), ids)
    torch.testing.assert_close(merged(ids).logits, ours, rtol=0, atol=2e-4)
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["r"] == 3


def test_a_resumed_adapter_goes_on_bit_for_bit(tmp_path):
    whole = trained(steps=4)[0].model.flat
    policy, learner, _ = trained(steps=2)
    learner.save(tmp_path)
    again = Policy()
    with torch.no_grad():
        again.model.flat.copy_(policy.model.flat)
    other = Learner(again.replicas, "policy", SPEC, seed=99)  # its own start must not matter
    other.load(tmp_path)
    for _ in range(2):
        other.policy_step(ROWS, POLICY, 1.0)
    assert torch.equal(again.model.flat, whole)


def test_the_start_depends_on_seed_and_stage_only():
    def start(seed: int, name: str) -> torch.Tensor:
        policy = Policy(seed=seed)
        Learner(policy.replicas, "policy", SPEC.model_copy(update={"name": name}), seed=3)
        return policy.model.optimizer.adapters[0].a

    assert torch.equal(start(0, "x"), start(1, "x")) and not torch.equal(start(0, "x"), start(0, "y"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "muon", "muon_lr": 0.1, "lora": {}}, "set optimizer: adamw"),
        ({"lora": {"targets": ["qkv"]}}, "q_proj"),
        ({"lora": {"targets": ["q_proj", "q_proj"]}}, "stands twice"),
    ],
)
def test_recipe_faults_are_told(change, message):
    stage = {"name": "s", "kind": "sft", "samples": 8, "steps": 1, "data": [{"domain": "maths"}], **change}
    with pytest.raises(RecipeError, match=message):
        check_recipe({"name": "r", "stages": [stage], "benchmarks": [{"name": "maths", "domain": "maths"}]})
