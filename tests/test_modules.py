"""Models by transformers' own modules: the very numbers of transformers, through sampler, trainer, files and adapters."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from module_models import FAMILIES, LLAMA_LIKE, directory, ours, raw_of, theirs
from test_damaged_models import VALUES, places
from tiny import tokenizer, toy_problem
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from cascade_rl.doctor.checks import model_report, route_of
from cascade_rl.errors import InputError
from cascade_rl.model.base import with_rows, with_scaling
from cascade_rl.model.checkpoint import (
    load_directory,
    load_reward_directory,
    read_config,
    save_directory,
    save_reward_directory,
    to_hf,
)
from cascade_rl.model.choice import network_of
from cascade_rl.model.config_faults import check_config
from cascade_rl.model.cost import decode_work, prefill_work, update_work
from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.modules import ModuleConfig, padded_rows
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.proof import prove
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.recipe.lora import ALL, LoRA
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row, microbatches, pack_rows
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import LIKELIHOOD, Objective, Teacher, token_logprobs
from cascade_rl.train.scalar_head import last_scores, stem

CPU = torch.device("cpu")
HUGE = 1 << 30
PROBLEMS = [toy_problem(1), toy_problem(2, series=" of a series with a longer name than that of the other")]
# families of the fused decoder, each with something that is its own
FUSED = {
    "llama": {"attention_bias": True},
    "mistral": {"sliding_window": 40},
    "phi3": {},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"head_dim": 8, "rope_parameters": {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 2.0,
                                                 "original_max_position_embeddings": 16}},
}  # fmt: skip


def at_work(config, flat, size: int = 1, precision: str = "fp32", **options):
    """Replicas with a policy that can be trained."""
    replicas = Replicas(size, precision=precision)
    torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
    replicas.add_model("policy", config, flat, train=True, **options)
    return replicas


def sampled(replicas, problems=PROBLEMS, n: int = 2, length: int = 24, rule=None, max_rows: int = 3):
    sampling = Sampling(n, length, rule or SamplingRule(), seed=("modules",))
    groups = TorchSampler(replicas, tokenizer(), max_rows=max_rows).sample(problems, sampling)
    return [rollout for group in groups for rollout in group]


def wanted_logprobs(model, rollout):
    """What transformers gives each token of a reply, in one pass over the whole text."""
    ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
    found = model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
    return found.gather(-1, torch.tensor(rollout.ids)[:, None])[:, 0]


def policy_rows(rollouts):
    return [Row.of(r.prompt_ids, r.ids, 0.1, (-1.0) ** i, r.logprobs) for i, r in enumerate(rollouts)]


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_and_gradients_are_those_of_transformers(family):
    """Prefill and decoding of unlike prompts in shared steps; then the gradient of their rows."""
    model, config, flat = ours(family)
    replicas = at_work(config, flat)
    rollouts = sampled(replicas)
    assert max(len(r.ids) for r in rollouts) > 9
    loss = torch.zeros(())
    for rollout in rollouts:
        found = wanted_logprobs(model, rollout)
        torch.testing.assert_close(torch.tensor(rollout.logprobs), found.detach(), rtol=0, atol=1e-4)
        loss = loss - 0.1 * found.sum()
    model.zero_grad()
    loss.backward()
    accumulate(replicas.local, "policy", [Row.of(r.prompt_ids, r.ids, 0.1) for r in rollouts], 90, LIKELIHOOD)
    gradient = views(replicas.local.models["policy"].grad, config.shapes())
    for name, parameter in model.named_parameters():
        theirs_grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = float(theirs_grad.abs().max()) + 1e-3
        torch.testing.assert_close(gradient[name] / scale, theirs_grad / scale, rtol=0, atol=1e-3, msg=name)


@pytest.mark.parametrize("family", FUSED)
def test_families_of_the_fused_decoder_are_the_same_by_their_modules(family):
    model = theirs(family, **FUSED[family])
    fused = network_of(raw_of(model))
    assert isinstance(fused, DecoderConfig)
    _, config, flat = ours(family, **FUSED[family])
    found = []
    for each, weights in ((fused, fused.flat(model.state_dict())), (config, flat)):
        replicas = at_work(each, weights)
        rollouts = sampled(replicas)
        accumulate(replicas.local, "policy", policy_rows(rollouts), HUGE, Objective(ON_POLICY))
        found.append((rollouts, to_hf(replicas.local.models["policy"].grad, each)))
    (first, by_fused), (second, by_modules) = found
    assert [r.ids for r in first] == [r.ids for r in second]
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(torch.tensor(a.logprobs), torch.tensor(b.logprobs), rtol=0, atol=1e-4)
    for name, gradient in by_fused.items():
        scale = float(gradient.abs().max()) + 1e-3
        torch.testing.assert_close(by_modules[name] / scale, gradient / scale, rtol=0, atol=1e-3, msg=name)


@pytest.mark.parametrize("family", ["gemma2", "bloom", "lfm2"])
def test_a_reply_does_not_depend_on_its_neighbours(family):
    """Other prompts, other waves, other limits: each row draws by its own generator."""
    _, config, flat = ours(family)
    replicas = at_work(config, flat)
    together = sampled(replicas, max_rows=64)
    alone = [r for problem in PROBLEMS for r in sampled(replicas, [problem])]
    one_by_one = sampled(replicas, max_rows=1)
    assert [r.ids for r in together] == [r.ids for r in alone] == [r.ids for r in one_by_one]
    sampler = TorchSampler(replicas, tokenizer())
    mixed = sampler.sample_many([
        (PROBLEMS, Sampling(1, 5, GREEDY)), (PROBLEMS, Sampling(2, 24, seed=("modules",)))
    ])  # fmt: skip
    assert [r.ids for group in mixed[1] for r in group] == [r.ids for r in together]
    assert all(len(r.ids) <= 5 for group in mixed[0] for r in group)


@pytest.mark.parametrize(
    "rule", [SamplingRule(0.7), SamplingRule(0.9, top_p=0.8), SamplingRule(top_k=5), SamplingRule(min_p=0.1)]
)
def test_sampler_and_trainer_agree_under_every_rule(rule):
    _, config, flat = ours("gpt2")
    replicas = at_work(config, flat)
    rollouts = sampled(replicas, rule=rule)
    batch = pack_rows(policy_rows(rollouts), CPU)
    with torch.no_grad():
        found = token_logprobs(replicas.local.models["policy"].weights, config, batch, rule)
    torch.testing.assert_close(found, batch.old, rtol=0, atol=1e-4)


def test_a_teacher_of_the_same_weights_is_no_distance_away():
    _, config, flat = ours("qwen3_moe")
    replicas = at_work(config, flat)
    replicas.add_model("reference", config, flat.clone(), train=False)
    near = Objective(ON_POLICY, teachers=(Teacher("reference", 0.5),))
    rows = policy_rows(sampled(replicas))
    sums = accumulate(replicas.local, "policy", rows, HUGE, near)
    with_teacher = replicas.local.models["policy"].grad.clone()
    accumulate(replicas.local, "policy", rows, HUGE, Objective(ON_POLICY))
    assert abs(sums["kl"]) < 1e-6
    torch.testing.assert_close(with_teacher, replicas.local.models["policy"].grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "qwen3_moe", "lfm2"])
def test_in_bf16_sampler_and_trainer_stay_close_and_gradients_are_summed_in_fp32(family):
    _, config, flat = ours(family, initializer_range=0.02)
    flat = flat * 0.3  # less wild: what is measured is rounding
    replicas = at_work(config, flat, precision="bf16")
    rollouts = sampled(replicas)
    model = replicas.local.models["policy"]
    batch = pack_rows(policy_rows(rollouts), CPU)
    with torch.no_grad():
        found = token_logprobs(model.weights, config, batch, SamplingRule())
    assert float((found - batch.old).abs().mean()) < 0.01
    accumulate(replicas.local, "policy", policy_rows(rollouts), 60, LIKELIHOOD)
    exact = at_work(config, flat)
    accumulate(exact.local, "policy", policy_rows(rollouts), HUGE, LIKELIHOOD)
    wanted = exact.local.models["policy"].grad
    assert model.grad.dtype is torch.float32
    assert float((model.grad - wanted).norm() / wanted.norm()) < 0.1


def test_two_workers_find_the_gradient_of_one():
    _, config, flat = ours("gemma2")
    found = []
    for size in (1, 2):
        replicas = at_work(config, flat.clone(), size)
        learner = Learner(replicas, "policy", Training(name="x", lr=1e-3, optimizer="adamw"))
        rows = policy_rows(sampled(replicas))
        learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        found.append(replicas.flat("policy").clone())
        replicas.close()
    assert not torch.equal(found[0], flat)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen3_moe"])
def test_the_same_rows_give_the_same_bits(family):
    """Also with several threads, where many tokens meet in one expert."""
    _, config, flat = ours(family)
    replicas = at_work(config, flat)
    torch.set_num_threads(2)
    rows = [Row.of(list(range(3, 20 + n)), list(range(40, 60)), 0.1) for n in range(4)]
    found = []
    for _ in range(2):
        accumulate(replicas.local, "policy", rows, HUGE, LIKELIHOOD)
        found.append(replicas.local.models["policy"].grad.clone())
    assert torch.equal(*found)


# ---------------------------------------------------------------- rows


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.lists(st.integers(1, 5), min_size=1, max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_padded_rows_hold_every_text_and_find_every_branch(shapes):
    numbers = count(1)
    trees = [
        Tree(
            np.array([next(numbers) for _ in range(prefix)], np.int64),
            tuple(np.array([next(numbers) for _ in range(n)], np.int64) for n in branches),
        )
        for prefix, branches in shapes
    ]
    packed = pack(trees, CPU)
    ids, places, first = padded_rows(packed)
    texts = [np.concatenate([trees[t].prefix, trees[t].branches[b]]) for t, b in packed.order]
    for row, text in zip(ids.tolist(), texts, strict=True):
        assert row[: len(text)] == text.tolist() and not any(row[len(text) :])
    branches = np.concatenate([trees[t].branches[b] for t, b in packed.order])
    assert ids.flatten()[places].tolist() == branches.tolist()
    assert first == min(len(trees[t].prefix) for t, _ in packed.order)


def test_rows_that_share_nothing_fill_micro_batches_by_their_whole_length():
    prompt = list(range(30))
    rows = [Row.of(prompt, [1] * 10, 1.0) for _ in range(6)] + [Row.of(prompt, [], 1.0)]
    assert len(microbatches(rows, 90)) == 1
    groups = microbatches(rows, 90, shared=False)
    assert sorted(i for group in groups for i in group) == list(range(6))
    assert [len(group) for group in groups] == [2, 2, 2]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("family", FAMILIES)
def test_a_directory_goes_both_ways_bit_for_bit(family, tmp_path):
    model = theirs(family)
    model.save_pretrained(tmp_path / "theirs")
    raw, config, flat = load_directory(tmp_path / "theirs")
    assert isinstance(config, ModuleConfig) and flat_size(config.shapes()) == len(flat)
    save_directory(tmp_path / "ours", raw, config, flat)
    _, again, back = load_directory(tmp_path / "ours")
    assert again == config and torch.equal(back, flat)
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    state = loaded.state_dict()
    assert type(loaded) is type(model)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_bin_files_and_bf16_load(tmp_path):
    model = theirs("gpt2")
    model.save_pretrained(tmp_path)
    wanted = load_directory(tmp_path)[2]
    (tmp_path / "model.safetensors").unlink()
    torch.save({n: t.bfloat16() for n, t in model.state_dict().items()}, tmp_path / "pytorch_model.bin")
    assert torch.equal(load_directory(tmp_path)[2], wanted.bfloat16().float())


def test_files_that_do_not_fit_are_named(tmp_path):
    directory(tmp_path / "gpt2", "gpt2")
    raw, config, flat = load_directory(tmp_path / "gpt2")
    state = to_hf(flat, config)
    with pytest.raises(InputError, match=r"the weights lack 1 tensors, the first is transformer\.h\.1\.ln_1"):
        config.flat({n: t for n, t in state.items() if n != "transformer.h.1.ln_1.weight"})
    with pytest.raises(InputError, match=r"have, where the model has no place for them, 1 tensors.*extra"):
        config.flat({**state, "transformer.extra": torch.ones(3)})
    with pytest.raises(InputError, match=r"another shape 1 tensors, the first is transformer\.ln_f"):
        config.flat({**state, "transformer.ln_f.weight": torch.ones(3)})
    assert raw["model_type"] == "gpt2"


def test_files_of_an_older_age_load():
    """GPT-2 as it was published: names without their first part, masks beside the weights; a tied head that is there."""
    _, config, flat = ours("gpt2")
    old = {name.removeprefix("transformer."): tensor.clone() for name, tensor in config.tensors(flat)}
    for i in range(2):
        old[f"h.{i}.attn.bias"] = torch.ones(1, 1, 512, 512, dtype=torch.uint8)
        old[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    assert torch.equal(config.flat(old), flat)
    _, config, flat = ours("gemma2")
    state = dict(config.tensors(flat))
    assert torch.equal(
        config.flat(state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}), flat
    )


@pytest.mark.parametrize("family", ["gpt2", "phi"])
def test_added_tokens_get_the_mean_of_the_others(family, tmp_path):
    model, config, flat = ours(family)
    raw, wider, grown = with_rows(raw_of(model), config, flat, 303, 3)
    save_directory(tmp_path, raw, wider, grown)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    embedding = model.get_input_embeddings().weight
    found = loaded.get_input_embeddings().weight
    assert found.shape[0] == 303 and torch.equal(found[:300], embedding)
    torch.testing.assert_close(found[300:], embedding.mean(0).expand(3, -1), rtol=0, atol=1e-6)
    if family == "phi":  # its head has a bias
        bias = model.get_output_embeddings().bias
        torch.testing.assert_close(loaded.lm_head.bias[300:], bias.mean().expand(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["falcon", "gemma2", "gpt2", "gpt_neox", "phi", "qwen3_moe", "stablelm"])
def test_a_reward_model_scores_the_same_in_transformers(family, tmp_path):
    model, config, flat = ours(family)
    extra = {"score": (1, config.hidden)}
    flat = torch.cat([flat, torch.linspace(-1, 1, config.hidden)])
    replicas = at_work(config, flat, extra=extra)
    rows = [Row.of(list(range(3, 3 + n)), [], 0.0) for n in (9, 4, 17)]
    weights = replicas.local.models["policy"].weights
    with torch.inference_mode():
        found = last_scores(weights, config, [stem(row) for row in rows], CPU)
    raw = raw_of(model)
    save_reward_directory(tmp_path, raw, config, flat, config.shapes() | extra)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        theirs_scores = [loaded(torch.from_numpy(row.ids)[None].long()).logits[0, 0] for row in rows]
    torch.testing.assert_close(found, torch.stack(theirs_scores), rtol=0, atol=1e-4)
    again = load_reward_directory(tmp_path, config)
    kept = [n for n in config.shapes() if n not in config.head_only()]
    ours_again, before = views(again, config.shapes() | extra), views(flat, config.shapes() | extra)
    assert all(torch.equal(ours_again[n], before[n]) for n in [*kept, "score"])


# ---------------------------------------------------------------- optimisers, adapters


def test_muon_takes_linear_layers_alone():
    _, config, flat = ours("gpt2")
    taken = {name for name in config.shapes() if config.is_matrix(name)}
    assert "transformer.h.0.attn.c_attn.weight" in taken
    assert not any(part in name for name in taken for part in ("wte", "wpe", "ln_", "bias"))
    replicas = at_work(config, flat.clone())
    learner = Learner(replicas, "policy", Training(name="x", lr=1e-3, optimizer="muon", muon_lr=0.02))
    learner.policy_step([Row.of([5, 9, 3], [8, 7], 0.5)], LIKELIHOOD, 1.0)
    moved = replicas.flat("policy") - flat
    assert all(bool(view.any()) for name, view in views(moved, config.shapes()).items() if name in taken)


def test_buffers_of_files_travel_and_are_never_stepped():
    _, config, flat = ours("deepseek_v3")
    (name,) = config.fixed()
    assert name.endswith("e_score_correction_bias")
    views(flat, config.shapes())[name].fill_(0.3)
    replicas = at_work(config, flat.clone())
    learner = Learner(replicas, "policy", Training(name="x", lr=1e-2, weight_decay=0.1))
    learner.policy_step([Row.of([5, 9, 3], [8, 7], 0.5)], LIKELIHOOD, 1.0)
    after = views(replicas.flat("policy"), config.shapes())
    assert bool((after[name] == 0.3).all()) and name in dict(config.tensors(flat))
    assert not torch.equal(replicas.flat("policy"), flat)


@pytest.mark.parametrize(("family", "targets"), [("gpt2", ["c_attn", "c_proj"]), ("gpt2", ALL), ("gemma2", ["q_proj", "up_proj"]),
                                                ("gpt_neox", ["query_key_value"]), ("phi3", ALL)])  # fmt: skip
def test_peft_merges_the_adapter_to_the_same_model(family, targets, tmp_path):
    from peft import PeftModel

    """Phi-3 is the fused decoder's, with q, k, v and gate, up joined."""
    model = theirs(family)
    config = network_of(raw_of(model))
    flat = config.flat(model.state_dict())
    replicas = at_work(config, flat.clone())
    spec = Training(name="x", lr=0.02, weight_decay=0.01, lora=LoRA(rank=3, alpha=6, targets=targets))
    learner = Learner(replicas, "policy", spec)
    for _ in range(3):
        learner.policy_step([Row.of([5, 9, 3], [8, 7], 0.5)], LIKELIHOOD, 1.0)
    learner.save_adapter(tmp_path / "adapter", tmp_path / "base")
    save_directory(tmp_path / "base", raw_of(model), config, flat)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    merged = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().state_dict()
    moved = 0
    by_modules = isinstance(config, ModuleConfig)  # whose names are those in memory; files may have others
    before, after = (
        views(each, config.shapes()) if by_modules else dict(config.tensors(each))
        for each in (flat, replicas.flat("policy"))
    )
    for name, tensor in after.items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=1e-5)
        moved += not torch.equal(tensor, before[name])
    assert moved == len(config.adapted(targets))


def test_targets_that_a_family_has_not_are_named():
    with pytest.raises(InputError, match=r"no projection q_proj; it has c_attn, c_fc, c_proj"):
        ours("gpt2")[1].adapted(["c_attn", "q_proj"])


# ---------------------------------------------------------------- what is chosen, what is refused


def test_the_choice_is_fused_where_it_is_wholly_known():
    assert isinstance(network_of(raw_of(theirs("qwen3"))), DecoderConfig)
    for family in FAMILIES:
        assert isinstance(network_of(raw_of(theirs(family))), ModuleConfig), family
    partial = theirs(
        "phi3", rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    )
    gelu = theirs("llama", hidden_act="gelu", mlp_bias=True)
    assert all(isinstance(network_of(raw_of(model)), ModuleConfig) for model in (partial, gelu))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"model_type": "nothing"}, "'nothing' is not supported.*nor does transformers know it"),
        ({"model_type": "bert"}, "'bert' is not supported.*nor has transformers a causal"),
        ({"model_type": "t5"}, "'t5' is not supported.*nor has transformers a causal"),
        ({"model_type": "gemma3"}, "reads more than text"),
        ({"model_type": "gpt2", "quantization_config": {"bits": 4}}, "quantised"),
        ({"model_type": "gpt2", "n_embd": "wide"}, "transformers refuses the settings"),
        ({"model_type": "mistral", "attention_bias": True}, "would drop the biases"),
        ({"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4,
          "rope_parameters": {"rope_type": "spiral"}}, "'spiral' is not known"),
    ],
)  # fmt: skip
def test_what_neither_can_compute_is_refused(raw, message):
    with pytest.raises(InputError, match=message):
        network_of(raw)


def test_texts_beyond_a_rope_that_changes_with_length_are_refused():
    rope = {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    _, config, flat = ours("phi", rope_parameters=rope)
    replicas = at_work(config, flat)
    with pytest.raises(InputError, match="supported up to its original 512 tokens"):
        sampled(replicas, length=510)


class Stub(nn.Module):
    """Logits by a function of ids and of how often it was asked."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.compute, self.asked = logits, 0
        self.config = theirs("gpt2").config

    def forward(self, input_ids, past_key_values=None, use_cache=False, **_):
        self.asked += 1
        return SimpleNamespace(
            logits=self.compute(input_ids, self.asked), past_key_values=past_key_values if use_cache else None
        )


def _one_hot(ids):
    return nn.functional.one_hot(ids, 300).float()


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (lambda ids, asked: _one_hot(ids) + asked, None),  # log-probabilities do not see a constant
        (lambda ids, asked: _one_hot(ids) * asked, "other numbers the second time"),
        (lambda ids, asked: _one_hot(ids) + _one_hot(ids).mean(1, keepdim=True), "a later token changes"),
        (lambda ids, asked: _one_hot(ids).cumsum(1), "its cache changes"),
        (lambda ids, asked: _one_hot(ids) / 0, "not finite"),
    ],
)
def test_modules_that_do_not_compute_as_they_must_are_refused(logits, message):
    _, config, flat = ours("gpt2")
    stub = Stub(logits)
    skeleton = SimpleNamespace(model=stub, padded=True, run=lambda weights, work: work(stub))
    if message is None:
        prove(config, skeleton, flat, short=False)
        return
    with pytest.raises(InputError, match=message):
        prove(config, skeleton, flat, short=False)


@pytest.mark.parametrize("family", ["bloom", "gpt2", "qwen3_moe"])
def test_damaged_settings_are_one_message_or_none(family):
    """Values replaced and removed at random: read as they stand, or refused by an InputError and nothing else."""
    raw, rng, refused = raw_of(theirs(family)), random.Random(family), 0
    _, config, flat = ours(family)
    state = {name: tensor.clone() for name, tensor in config.tensors(flat)}
    found = list(places(raw))
    for _ in range(30):
        changed, place = copy.deepcopy(raw), rng.choice(found)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        if rng.random() < 0.2:
            del inner[place[-1]]
        else:
            inner[place[-1]] = rng.choice(VALUES)
        with contextlib.suppress(KeyError):  # of the fused decoder; `read_config` names it
            try:
                check_config(changed, Path("config.json"))
                network = network_of(changed)
                network.described(changed)
                network.prove(network.flat(state))
            except InputError as error:
                refused += 1
                assert 10 < len(str(error)) < 2000
    assert refused > 5


def test_a_number_of_layers_that_would_never_end_is_refused():
    with pytest.raises(InputError, match="num_hidden_layers is 5000, more than any model has"):
        network_of(raw_of(theirs("gpt2")) | {"n_layer": 5000})
    with pytest.raises(InputError, match="more than any model has"):
        network_of(raw_of(theirs("qwen3_moe")) | {"moe_intermediate_size": 10**12})


def test_scaling_keeps_the_part_of_a_head_that_is_turned():
    raw = raw_of(theirs("phi"))
    scaled = with_scaling(raw, {"rope_type": "linear", "factor": 2.0})
    assert scaled["rope_parameters"]["partial_rotary_factor"] == 0.5
    network = network_of(scaled)
    assert isinstance(network, ModuleConfig) and network.rope_theta() == 10000.0
    half, whole = (each.skeleton.model.model.rotary_emb.inv_freq for each in (network, network_of(raw)))
    torch.testing.assert_close(half, whole / 2)
    with pytest.raises(InputError, match="no single RoPE to scale"):
        with_scaling(raw_of(theirs("gpt2")), {"rope_type": "linear", "factor": 2.0})


def test_a_runs_keys_hold_the_layout_of_the_modules():
    """A saved state is a flat vector: by another layout it would be read wrongly, without a word."""
    keys = [ours(family)[1].key() for family in ("gpt2", "gemma2")]
    assert keys[0] != keys[1] and list(keys[0]) == ["modules"]
    assert network_of(raw_of(theirs("llama"))).key() == {}


def test_a_family_without_a_head_for_scores_can_make_no_reward_model():
    assert ours("gpt2")[1].classifier({}) == "GPT2ForSequenceClassification"
    with pytest.raises(InputError, match="no sequence classification for lfm2"):
        ours("lfm2")[1].classifier({})


def test_a_family_without_a_key_value_cache_is_refused():
    with pytest.raises(InputError, match="keeps no key-value cache"):
        _, config, flat = ours("mamba", hidden_size=32, num_hidden_layers=1, state_size=4)
        config.prove(flat)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_these_tests_is_proved(family):
    _, config, flat = ours(family)
    config.prove(flat, short=True)


def test_several_gpus_and_vllm_are_refused(monkeypatch):
    from cascade_rl.rollout import open as opening

    _, config, flat = ours("gpt2")
    replicas = at_work(config, flat)
    monkeypatch.setattr(replicas, "device", torch.device("cuda"))
    with pytest.raises(InputError, match="vllm is not tried with models by transformers' own modules"):
        opening.open_sampler("vllm", 100, replicas, tokenizer(), None)
    monkeypatch.setattr(replicas, "sharded", True)
    with pytest.raises(InputError, match="can't be spread over several"):
        replicas.add_model("other", config, flat, train=False)


# ---------------------------------------------------------------- what is said


def test_costs_are_counted_of_what_a_token_passes():
    config = ours("qwen3_moe")[1]
    size, shapes = config.size(), config.shapes()
    attention = sum(int(np.prod(s)) for n, s in shapes.items() if "_proj" in n and len(s) == 2)
    router = sum(int(np.prod(s)) for n, s in shapes.items() if n.endswith("gate.weight"))
    experts = sum(int(np.prod(s)) for s in shapes.values() if len(s) == 3)
    assert size.matrices in (attention + experts // 2, attention + router + experts // 2)
    assert size.head == 300 * 32 and (size.width, size.cached) == (32, 16)
    for family in FAMILIES:
        network = ours(family)[1]
        works = (
            update_work(network, [(3, (4, 5))]),
            prefill_work(network, [5, 6], 4),
            decode_work(network, [5], [4], 1, 4),
        )
        assert all(work.flops > 0 and work.head_flops > 0 for work in works), family


@pytest.mark.parametrize("family", ["gpt2", "qwen3_moe"])
def test_the_doctor_names_the_way_and_finds_nothing_wrong(family, tmp_path):
    folder = directory(tmp_path / "model", family)
    line = route_of(folder)
    assert line.startswith(f"model: family {family}, ")
    assert line.endswith("; computed by transformers' own modules, slower")
    assert ("4 experts, whose balancing loss is not trained" in line) is (family == "qwen3_moe")
    rows = list(model_report(folder))
    assert len(rows) == 25 and not [(row.failure, row.detail) for row in rows if not row.passed]


def test_a_config_is_the_same_whatever_an_export_adds(tmp_path):
    directory(tmp_path, "gpt2")
    raw, config = read_config(tmp_path)
    more = raw | {"dtype": "bfloat16", "transformers_version": "9", "_name_or_path": "x"}
    assert ModuleConfig.from_hf(more) == config
    assert ModuleConfig.from_hf(json.loads(json.dumps(raw)) | {"n_layer": 3}) != config
    assert replace(config) == config and LLAMA_LIKE["hidden_size"] == config.hidden
