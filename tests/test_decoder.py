"""Our decoder against transformers: same weights, same logits, both ways through a directory."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SHAPE, Policy, logits, random_flat, raw_config, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    GenerationMixin,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from cascade_rl.model.checkpoint import (
    load_directory,
    load_reward_directory,
    save_directory,
    save_reward_directory,
    scratch_weights,
    to_hf,
    weights_hash,
)
from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.export import export
from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import SamplingRule
from cascade_rl.train.batch import Row
from cascade_rl.train.learned_reward import reward_row
from cascade_rl.train.scalar_head import last_scores, stem
from cascade_rl.types import Message

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}
FAMILIES = {
    "qwen3": (Qwen3Config, {"head_dim": 16, **ROPE}),
    "qwen3-one-kv-head": (Qwen3Config, {"head_dim": 8, "num_key_value_heads": 1, **ROPE}),
    "llama": (LlamaConfig, {**ROPE, "rms_norm_eps": 1e-5}),
    "llama-no-gqa": (LlamaConfig, {"num_key_value_heads": 4}),
    "qwen2": (Qwen2Config, ROPE),
    "phi3": (Phi3Config, ROPE),
    "mistral": (MistralConfig, {"sliding_window": None, "head_dim": 12, **ROPE}),
}
IDS = torch.from_numpy(np.random.default_rng(0).integers(0, 97, (3, 23)))


def hf_model(config, seed: int = 0):
    """A transformers model whose every tensor is random, so that none can be left out unnoticed."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.25)
    return model


def hf_logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids).logits


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_those_of_transformers_and_survive_the_round_trip(name, tied, tmp_path):
    kind, special = FAMILIES[name]
    model = hf_model(kind(**{**SIZES, **special, "tie_word_embeddings": tied}))
    model.save_pretrained(tmp_path / "theirs")
    raw, config, flat = load_directory(tmp_path / "theirs")
    wanted = hf_logits(model, IDS)
    assert wanted.std() > 0.3, "a nearly constant oracle proves nothing"
    torch.testing.assert_close(logits(config, flat, IDS), wanted, rtol=0, atol=1e-4)
    assert config.tied is tied

    save_directory(tmp_path / "ours", raw, config, flat)
    _, again, flat_again = load_directory(tmp_path / "ours")
    assert again == config and torch.equal(flat, flat_again)
    reloaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(hf_logits(reloaded, IDS), wanted, rtol=0, atol=1e-6)


def test_a_model_from_scratch_loads_with_transformers_alone(tmp_path):
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    flat = scratch_weights(config, 3)
    export(tmp_path / "checkpoint", raw, config, flat, tokenizer())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint").eval()
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path / "checkpoint").encode("What is 12 + 7?")])
    torch.testing.assert_close(hf_logits(model, ids), logits(config, flat, ids), rtol=0, atol=1e-5)
    assert model.generation_config.eos_token_id == tokenizer().end_id
    assert model.generation_config.pad_token_id == tokenizer().pad_id


def test_scratch_weights_follow_the_seed_and_have_the_stated_spread():
    config = DecoderConfig.from_hf(raw_config())
    first = scratch_weights(config, 0)
    assert torch.equal(first, scratch_weights(config, 0))
    assert (
        weights_hash(first)
        == weights_hash(scratch_weights(config, 0))
        != weights_hash(scratch_weights(config, 1))
    )
    parts = views(first, config.shapes())
    assert parts["embed"].std() == pytest.approx(0.1, rel=0.05)
    assert parts["0.qkv"].std() == pytest.approx(0.02, rel=0.1)
    assert parts["0.down"].std() == pytest.approx(0.02 / (2 * SHAPE.num_hidden_layers) ** 0.5, rel=0.1)
    assert all(bool((view == 1).all()) for name, view in parts.items() if "norm" in name)


def test_causal_the_future_does_not_change_the_past():
    config = DecoderConfig.from_hf(raw_config())
    flat = random_flat(config)
    changed = IDS.clone()
    changed[:, 12:] = (changed[:, 12:] + 5) % 97
    before, after = logits(config, flat, IDS), logits(config, flat, changed)
    torch.testing.assert_close(before[:, :12], after[:, :12], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 12:], after[:, 12:], atol=1e-2)


@pytest.mark.parametrize("pad_is_end", [False, True], ids=["pad", "pad-is-end"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_reward_model_scores_the_same_in_transformers(tied, pad_is_end, tmp_path):
    """SmolLM2 pads with its end mark: transformers would then score the token before it."""
    raw = raw_config() | {"tie_word_embeddings": tied}
    if pad_is_end:
        raw["pad_token_id"] = raw["eos_token_id"]
    config = DecoderConfig.from_hf(raw)
    extra = {"score": (1, config.hidden)}
    policy = Policy(train=False)
    model = policy.replicas.add_model(
        "reward", config, random_flat(config, 5, extra=extra), train=False, extra=extra
    )
    rows = [
        reward_row(tokenizer(), [Message("user", "What is 3 + 4?")], text)
        for text in ("7", "It is the answer: 8", "")
    ]
    with torch.no_grad():
        ours = last_scores(model.weights, model.config, [stem(r) for r in rows], torch.device("cpu"))
        alone = torch.cat(
            [last_scores(model.weights, model.config, [stem(row)], torch.device("cpu")) for row in rows]
        )
    torch.testing.assert_close(ours, alone, rtol=0, atol=1e-5)
    assert ours.std() > 0.01, "scores that hardly differ prove nothing at a tolerance of 1e-4"

    save_reward_directory(tmp_path / "reward", raw, config, model.flat, model.shapes)
    theirs, info = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        found = torch.cat(
            [theirs(input_ids=torch.from_numpy(r.ids[None].astype(np.int64))).logits[:, 0] for r in rows]
        )
    torch.testing.assert_close(found, ours, rtol=0, atol=1e-4)

    flat = load_reward_directory(tmp_path / "reward", config)
    again = policy.replicas.add_model("again", config, flat, train=False, extra=extra)
    with torch.no_grad():
        torch.testing.assert_close(
            last_scores(again.weights, again.config, [stem(r) for r in rows], torch.device("cpu")),
            ours,
            rtol=0,
            atol=0,
        )


def test_a_padded_batch_of_rewards_is_scored_the_same_in_transformers(tmp_path):
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    extra = {"score": (1, config.hidden)}
    model = Policy(train=False).replicas.add_model(
        "reward", config, random_flat(config, 5, extra=extra), train=False, extra=extra
    )
    rows = [
        Row.of([5, 6, 7, raw["eos_token_id"]], [], 0.0),
        Row.of([9, 8, 7, 6, 5, 4, raw["eos_token_id"]], [], 0.0),
    ]
    ids = torch.full((2, 7), raw["pad_token_id"])
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.from_numpy(row.ids)
    save_reward_directory(tmp_path, raw, config, model.flat, model.shapes)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=(ids != raw["pad_token_id"]).long()).logits[:, 0]
        torch.testing.assert_close(
            found,
            last_scores(model.weights, model.config, [stem(r) for r in rows], torch.device("cpu")),
            rtol=0,
            atol=1e-4,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "gpt2.*supported: llama, mistral, qwen2, qwen3"),
        ({"rope_parameters": {"rope_type": "spiral", "factor": 2.0}}, "RoPE type 'spiral'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "RoPE of type 'linear'"),
        (
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1, "layer_types": None},
            "sliding-window",
        ),
        ({"hidden_act": "gelu"}, "SiLU"),
        ({"model_type": "llama", "mlp_bias": True}, "bias"),
        ({"model_type": "mistral", "attention_bias": True}, "bias"),
    ],
)
def test_what_is_not_supported_is_refused_not_ignored(change, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig.from_hf(raw_config() | change)


def test_an_old_config_without_rope_parameters_keeps_its_base():
    raw = raw_config() | {"rope_parameters": None, "rope_theta": 123.0, "rope_scaling": None}
    assert DecoderConfig.from_hf(raw).rope.theta == 123.0


def test_directories_that_are_no_model_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_directory(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(raw_config()))
    with pytest.raises(ValueError, match="no \\*\\.safetensors"):
        load_directory(tmp_path)


def test_weights_in_bin_files_are_the_same(tmp_path):
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    flat = random_flat(config)
    save_directory(tmp_path, raw, config, flat)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert torch.equal(load_directory(tmp_path)[2], flat)
    (tmp_path / "pytorch_model.bin").unlink()
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for shard, part in shards.items():
        torch.save({name: state[name] for name in part}, tmp_path / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert torch.equal(load_directory(tmp_path)[2], flat)
    assert torch.equal(
        AutoModelForCausalLM.from_pretrained(tmp_path).lm_head.weight, state["model.embed_tokens.weight"]
    )
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(ValueError, match="lacks pytorch_model-00002-of-00002"):
        load_directory(tmp_path)


def test_weights_that_can_not_be_read_are_named_and_run_no_code(tmp_path):
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    save_directory(tmp_path, raw, config, random_flat(config))
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors can't be read"):
        load_directory(tmp_path)
    file.unlink()
    torch.save({"model.norm.weight": Policy}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin can't be read"):
        load_directory(tmp_path)


def test_missing_weights_are_named(tmp_path):
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    save_directory(tmp_path, raw, config, random_flat(config))
    from safetensors.torch import save_file

    state = load_file(tmp_path / "model.safetensors")
    state.pop("model.layers.1.self_attn.k_proj.weight")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lack 1 tensors.*layers\.1\.self_attn\.k_proj"):
        load_directory(tmp_path)


def test_exported_tensors_hold_every_number_once():
    config = DecoderConfig.from_hf(raw_config() | {"tie_word_embeddings": False})
    flat = torch.arange(flat_size(config.shapes()), dtype=torch.float32)
    numbers = torch.cat([t.flatten() for t in to_hf(flat, config).values()])
    assert torch.equal(numbers.sort().values, flat)


def numpy_truncated(
    row: np.ndarray, temperature: float, top_p: float, top_k: int, min_p: float = 0.0
) -> np.ndarray:
    """The textbook: sort, keep top_k, then the smallest set whose mass reaches top_p, of it what is at least min_p
    times as likely as the likeliest; renormalise. In float64."""
    scaled = row.astype(np.float64) / temperature
    order = np.argsort(-scaled, kind="stable")
    p = np.exp(scaled - scaled.max())
    keep = order[: top_k or len(order)]
    q = p[keep] / p[keep].sum()
    count = int(np.searchsorted(np.cumsum(q), top_p) + 1) if top_p < 1 else len(keep)
    kept = [token for token in keep[:count] if p[token] >= min_p * p.max()]
    found = np.zeros_like(p)
    found[kept] = p[kept] / p[kept].sum()
    return found


@pytest.mark.parametrize(
    "rule",
    [(1, 1, 0, 0), (0.6, 0.95, 0, 0), (1.3, 1, 7, 0), (0.8, 0.7, 20, 0), (1, 0.01, 0, 0), (1.5, 1, 0, 0.1),
     (1.2, 0.9, 0, 0.02), (0.8, 0.7, 20, 0.05), (1, 1, 0, 1)],
)  # fmt: skip
def test_truncated_distribution_follows_the_textbook(rule):
    rows = torch.randn(40, 97, generator=torch.Generator().manual_seed(1)) * 2
    found = truncate(rows, SamplingRule(*rule)).exp().numpy()
    wanted = np.stack([numpy_truncated(row, *rule) for row in rows.numpy()])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(found > 0, wanted > 0)


def test_a_nucleus_of_any_width_is_found_beside_narrow_ones():
    """A few largest are looked at first, then more: rows that need 3, 300 or nearly all of 3,000 ids stand together."""
    rng = torch.Generator().manual_seed(3)
    spread = torch.tensor([9.0, 3.0, 2.0, 1.0, 0.1, 9.0, 0.0]).double()[:, None]
    rows = torch.randn(7, 3000, generator=rng, dtype=torch.float64) * spread
    found = truncate(rows, SamplingRule(1.0, 0.95)).exp().numpy()
    wanted = np.stack([numpy_truncated(row, 1.0, 0.95, 0) for row in rows.numpy()])
    kept = (wanted > 0).sum(-1)
    assert kept.min() < 8 and np.any((kept > 64) & (kept < 1024)) and np.sum(kept > 1024) >= 2
    np.testing.assert_array_equal(found[:-1] > 0, wanted[:-1] > 0)
    np.testing.assert_allclose(found[:-1], wanted[:-1], atol=1e-12)
    # of equal ones the first by id are inside, up to the rounding of their sum
    assert abs((found[-1] > 0).sum() - 2850) <= 1 and (found[-1] > 0)[:2849].all()


def test_kept_ids_stay_finite_outside_the_truncated_set():
    row = torch.tensor([[3.0, 2.0, 1.0, -8.0]])
    for rule in ((1.0, 0.5, 0, 0.0), (1.0, 1.0, 0, 0.1)):
        assert truncate(row, SamplingRule(*rule))[0, 3] == -torch.inf
    assert truncate(row, SamplingRule(1.0, 0.5, 2, 0.9), torch.tensor([3]))[0, 3] > -torch.inf


@pytest.mark.parametrize(
    "rule", [(0.7, 1, 0, 0.05), (1.5, 0.8, 0, 0.1), (1, 0.95, 30, 0.02), (1.3, 1, 9, 0.3)], ids=str
)
@pytest.mark.parametrize("spread", [0.5, 3.0], ids=["flat", "sharp"])
def test_truncated_distribution_is_that_of_the_warpers_of_transformers(rule, spread):
    """Their own list of processors for these settings, in their own order."""
    temperature, top_p, top_k, min_p = rule
    rows = torch.randn(40, 97, generator=torch.Generator().manual_seed(5)) * spread
    settings = GenerationConfig(
        do_sample=True, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p
    )
    warpers = GenerationMixin()._get_logits_processor(settings)
    assert [type(w).__name__ for w in warpers][-1] == "MinPLogitsWarper"
    wanted = warpers(None, rows).softmax(-1)
    found = truncate(rows, SamplingRule(*rule)).exp()
    assert torch.equal(found > 0, wanted > 0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
