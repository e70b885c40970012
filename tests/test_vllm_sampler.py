"""vLLM's sampler by a stand-in: what is asked of the engine, in which order, and what a recipe makes of it."""

from __future__ import annotations

import copy
import hashlib
import sys
from types import SimpleNamespace

import fake_vllm
import pytest
import torch
import yaml
from tiny import Policy, toy_problem

from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.model.checkpoint import save_directory
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.explain import explain
from cascade_rl.rollout import open as choice
from cascade_rl.rollout.open import longest, open_sampler
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.vllm_sampler import VLLMSampler, utilisation
from cascade_rl.run.ledger import first_change, recipe_text

CYCLE = ["wake weights", "apply", "wake kv_cache", "reset", "enqueue 6", "sleep 2"]
PROBLEMS = [toy_problem(i) for i in range(3)]


@pytest.fixture
def draw(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", fake_vllm)
    policy = Policy(seed=3)
    save_directory(tmp_path, policy.raw, policy.config, policy.model.flat)
    return VLLMSampler(policy.replicas, policy.tokenizer, tmp_path, 120, 0.5)


def test_each_call_takes_the_weights_over_forgets_prefixes_and_sleeps_again(draw):
    draw.sample(PROBLEMS, Sampling(2, 5))
    draw.sample_many([(PROBLEMS, Sampling(1, 5)), (PROBLEMS, Sampling(1, 5, GREEDY))])
    assert draw.llm.events == ["sleep 2", *CYCLE, *CYCLE]
    assert not draw.llm.awake
    draw.sample([], Sampling(1, 5))
    assert len(draw.llm.events) == 13, "nothing to do wakes nobody"


def test_a_prefix_cache_that_stays_is_an_error(draw, monkeypatch):
    monkeypatch.setattr(draw.llm, "reset_prefix_cache", lambda: False)
    with pytest.raises(RuntimeError, match="did not reset its prefix cache"):
        draw.sample(PROBLEMS, Sampling(1, 3))
    assert draw.llm.events[-1] == "sleep 2"


def test_old_prefixes_would_show(draw, monkeypatch):
    """The stand-in keeps stale prefixes as vLLM would: without the reset, first tokens come from the old weights."""
    sampling = Sampling(1, 1, seed=(4,))
    before = draw.sample(PROBLEMS, sampling)
    monkeypatch.setattr(draw.llm, "reset_prefix_cache", lambda: True)
    draw.sample(PROBLEMS, sampling)
    draw.replicas.local.models["policy"].flat.mul_(0.5)
    assert [g[0].logprobs for g in draw.sample(PROBLEMS, sampling)] == [g[0].logprobs for g in before]
    monkeypatch.undo()
    assert [g[0].logprobs for g in draw.sample(PROBLEMS, sampling)] != [g[0].logprobs for g in before]


def test_a_fault_while_decoding_still_puts_the_engine_to_sleep(draw, monkeypatch):
    def broken():
        raise RuntimeError("out of blocks")

    before = draw.sample(PROBLEMS, Sampling(2, 3, seed=(4,)))
    with monkeypatch.context() as patch:
        patch.setattr(draw.llm.llm_engine, "step", broken)
        with pytest.raises(RuntimeError, match="out of blocks"):
            draw.sample(PROBLEMS, Sampling(1, 3))
    assert draw.llm.events[-1] == "sleep 2"
    # the engine keeps what was not answered through its sleep: left there, the next call would answer it too
    assert not draw.llm.requests
    assert draw.sample(PROBLEMS, Sampling(2, 3, seed=(4,))) == before


def test_a_fault_of_who_hears_of_replies_ends_the_call_as_well(draw):
    def full(place, rollouts):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        draw.sample(PROBLEMS, Sampling(2, 3), full)
    assert draw.llm.events[-1] == "sleep 2" and not draw.llm.requests


def test_a_weight_that_vllm_does_not_get_is_an_error(draw, monkeypatch):
    real = DecoderConfig.tensors
    monkeypatch.setattr(
        DecoderConfig, "tensors", lambda *a: (pair for pair in real(*a) if pair[0] != "model.norm.weight")
    )
    with pytest.raises(RuntimeError, match=r"no weights for 1 parameters, the first is model\.norm\.weight"):
        draw.sample(PROBLEMS, Sampling(1, 3))
    assert draw.llm.events[-1] == "sleep 2"


def test_each_reply_is_a_request_with_its_own_lasting_seed(draw):
    draw.sample(PROBLEMS, Sampling(2, 5, SamplingRule(0.8, 0.9, 7, 0.0), seed=(1, "rl")))
    first = list(draw.llm.asked)
    assert len({rule.seed for rule in first}) == 6
    keys = [f"1/rl/{p.id}/thinking/{i}" for p in PROBLEMS for i in range(2)]
    digests = [hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys]
    assert [rule.seed for rule in first] == [int.from_bytes(d, "big") >> 65 for d in digests]
    draw.sample(PROBLEMS, Sampling(2, 5, SamplingRule(0.8, 0.9, 7, 0.0), seed=(1, "rl")))
    assert draw.llm.asked[6:] == first
    rule = first[0]
    assert (rule.n, rule.temperature, rule.top_p, rule.top_k, rule.min_p, rule.max_tokens) == (
        1,
        0.8,
        0.9,
        7,
        0.0,
        5,
    )
    assert rule.stop_token_ids == list(draw.tokenizer.eos_ids) and rule.ignore_eos and rule.logprobs == 0
    draw.sample(PROBLEMS[:1], Sampling(1, 5, SamplingRule(1.0, 1.0, 0, 0.2)))
    assert draw.llm.asked[-1].min_p == 0.2


def test_what_vllm_was_not_started_for_is_an_error(draw):
    with pytest.raises(ValueError, match="are over the 120 that vLLM was started for"):
        draw.sample(PROBLEMS, Sampling(1, 119))


def test_without_the_package_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"pip install 'cascade-rl\[vllm\]'.*or set sampler: torch"):
        VLLMSampler(Replicas(), None, tmp_path, 100, 0.5)


@pytest.mark.parametrize(("training", "wanted"), [(True, 0.8 * (60 - 8) / 80), (False, 0.8 * 60 / 80)])
def test_the_share_of_the_memory_leaves_room_for_the_moments(training, wanted):
    assert utilisation(60 * 10**9, 80 * 10**9, 10**9, training=training) == pytest.approx(wanted, abs=1e-3)
    with pytest.raises(ValueError, match="no room beside the trainer"):
        utilisation(9 * 10**9, 80 * 10**9, 10**9, training=True)


# ---------------------------------------------------------------- the recipe


def raw(**stage):
    return {
        "name": "x", "sampler": "vllm", "model": {"architecture": {"max_position_embeddings": 32768}},
        "benchmarks": [{"name": "a", "domain": "maths", "max_response_tokens": 100}],
        "stages": [{"name": "s", "kind": "sft", "steps": 1, "samples": 9, "batch_size": 9, "data": [{"domain": "maths"}]},
                   {"name": "rl", "kind": "rl", "steps": 2, "data": [{"domain": "maths"}], **stage}],
    }  # fmt: skip


def test_with_vllm_the_correction_is_tis_unless_a_stage_says_otherwise():
    def correction(settings, **changes):
        return check_recipe(settings | changes).stage("rl").rollout_correction

    assert correction(raw()) == "tis" and check_recipe(raw()).stage("rl").tis_cap == 2.0
    assert correction(raw(), sampler="torch") == "none"
    assert correction(raw(rollout_correction="none")) == "none"
    assert correction(raw(rollout_correction="icepop")) == "icepop"
    assert correction(raw(), defaults={"rl": {"rollout_correction": "none"}}) == "none"
    several = {"updates_per_batch": 2, "loss": "ppo_clip"}
    assert correction(raw(**several)) == "none", "the ratio is taken against vLLM's log-probabilities already"
    assert check_recipe(yaml.safe_load(recipe_text(check_recipe(raw())))) == check_recipe(raw())
    assert "replies by vLLM" in explain(check_recipe(raw())) and "correction tis" in explain(
        check_recipe(raw())
    )


def test_without_the_key_nothing_changes():
    assert load_recipe("tiny").sampler == "torch"
    assert all(s.rollout_correction == "none" for s in load_recipe("tiny").stages if s.kind == "rl")


def test_filters_whose_order_differs_do_not_go_together():
    with pytest.raises(RecipeError, match=r"stages\.rl\.min_p: with sampler vllm not beside top_p"):
        check_recipe(raw(min_p=0.1, top_p=0.9))
    with pytest.raises(RecipeError, match=r"stages\.rl\.min_p"):
        check_recipe(raw(min_p=0.1, curriculum=[{"share": 0.5}, {"share": 0.5, "top_p": 0.9}]))
    settings = raw(min_p=0.1, top_k=9)
    assert check_recipe(settings).stage("rl").min_p == 0.1
    settings["benchmarks"][0]["min_p"] = 0.1
    with pytest.raises(RecipeError, match=r"benchmarks\.a\.min_p"):
        check_recipe(settings)
    assert check_recipe(settings | {"sampler": "torch"})


@pytest.mark.parametrize(("key", "value"), [("device", "cpu"), ("workers", 2)])
def test_what_vllm_needs_is_checked_with_the_recipe(key, value):
    with pytest.raises(RecipeError, match=f"{key}: sampler vllm needs a CUDA device and one worker"):
        check_recipe(raw() | {key: value})


def test_the_recipe_chooses_and_a_change_redoes_all(monkeypatch, tmp_path):
    policy, recipe = Policy(), check_recipe(raw())
    assert isinstance(
        open_sampler("torch", 99, policy.replicas, None, tmp_path),
        TorchSampler,
    )
    with pytest.raises(ValueError, match="sampler: vllm needs a CUDA device, and here the device is cpu"):
        open_sampler(recipe.sampler, 99, policy.replicas, None, tmp_path)
    made = []
    monkeypatch.setattr(choice, "VLLMSampler", lambda *arguments: made.append(arguments))
    monkeypatch.setattr(choice.torch.cuda, "mem_get_info", lambda device: (10**9, 2 * 10**9))
    cuda = SimpleNamespace(device=torch.device("cuda"), local=policy.replicas.local)
    open_sampler(recipe.sampler, longest(recipe), cuda, "tok", tmp_path)
    (arguments,) = made
    assert arguments[:4] == (cuda, "tok", tmp_path, 512), "no more than the model has positions for"
    assert 0.39 < arguments[4] <= 0.4
    assert longest(recipe) == 4096 + 16384
    old, new = (
        Recipe.model_dump(check_recipe(raw() | {"sampler": s}), mode="json") for s in ("torch", "vllm")
    )
    assert first_change(old, new) == 0 and first_change(new, copy.deepcopy(new)) == 2
