"""RoPE of every type, sliding windows and biases: our logits, samples and gradients against transformers' own modules."""

from __future__ import annotations

import pytest
import torch
from test_decoder import IDS, SIZES, hf_logits, hf_model
from tiny import logits, tokenizer, toy_problem
from transformers import LlamaConfig, MistralConfig, Phi3Config, Qwen2Config, Qwen3Config

from cascade_rl.errors import InputError
from cascade_rl.model.attention import Attention
from cascade_rl.model.checkpoint import load_directory, save_directory, to_hf
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.gpu_attention import ByBlocks
from cascade_rl.model.packed import pack
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.rope import read_rope
from cascade_rl.protocols import Sampling
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row, plant
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.objective import LIKELIHOOD

# 16 tokens: prompts and replies below are longer by far
TYPES = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "yarn": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16},
    "yarn-mscale": {
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "mscale": 0.7,
        "mscale_all_dim": 0.3, "beta_fast": 8.0, "beta_slow": 2.0,
    },
    "yarn-factor": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.3
    },
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.5},
}  # fmt: skip
# within their original length alone
SHORT = {
    "dynamic": {"rope_type": "dynamic", "factor": 3.0},
    "longrope": {
        "rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 256,
        "short_factor": [1.0, 1.1, 1.3, 1.7], "long_factor": [1.0, 2.0, 3.0, 4.0],
    },
}  # fmt: skip
OTHERS = {
    "llama-bias": (LlamaConfig, {"attention_bias": True}),
    "qwen3-bias": (Qwen3Config, {"attention_bias": True, "head_dim": 16}),
    "mistral-window": (MistralConfig, {"sliding_window": 9}),
    "mistral-window-1": (MistralConfig, {"sliding_window": 1}),
    "mistral-wide": (MistralConfig, {"sliding_window": 500}),
    "phi3": (Phi3Config, {}),
    "phi3-window": (Phi3Config, {"sliding_window": 9}),
    "phi3-longrope": (
        Phi3Config,
        {
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 5000.0,
                "short_factor": [1.0, 1.1, 1.3, 1.7],
                "long_factor": [1.0, 2.0, 3.0, 4.0],
            },
        },
    ),
    "qwen2-window": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0},
    ),
    "qwen2-no-window": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2},
    ),
    "qwen3-window-yarn": (
        Qwen3Config,
        {
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 40,
            "max_window_layers": 0,
            "rope_parameters": {**TYPES["yarn"], "rope_theta": 5000.0},
        },
    ),
}
CASES = {
    **{name: (LlamaConfig, {"rope_parameters": {**rope, "rope_theta": 5000.0}})
       for name, rope in {**TYPES, **SHORT}.items()},
    **OTHERS,
}  # fmt: skip


def twin(name: str):
    """A random model of transformers, and the same as config and flat weights."""
    kind, special = CASES[name]
    # no padding: transformers gives its row of the embedding no gradient
    sizes = SIZES | {"vocab_size": 300, "max_position_embeddings": 256, "pad_token_id": None}
    theirs = hf_model(kind(**{**sizes, **special}))
    config = DecoderConfig.from_hf(theirs.config.to_dict())
    return theirs, config, config.flat(theirs.state_dict())


@pytest.fixture(params=CASES)
def case(request):
    return twin(request.param)


def test_whole_rows_have_the_log_probabilities_of_transformers(case):
    theirs, config, flat = case
    for tokens in (12, 23):  # within 16, and beyond
        ids = IDS[:, :tokens]
        wanted = hf_logits(theirs, ids).log_softmax(-1)
        torch.testing.assert_close(logits(config, flat, ids).log_softmax(-1), wanted, rtol=0, atol=1e-4)


def test_sampled_log_probabilities_and_gradients_are_those_of_transformers(case):
    """Prefill and decoding, of unlike prompts in shared steps; then the gradient of prompts that rows share."""
    theirs, config, flat = case
    replicas = Replicas()
    torch.set_num_threads(1)
    model = replicas.add_model("policy", config, flat, train=True)
    problems = [
        toy_problem(1),
        toy_problem(2, series=" of a series with a longer name than that of the other"),
    ]
    groups = TorchSampler(replicas, tokenizer(), max_rows=3).sample(problems, Sampling(2, 24))
    rollouts = [r for group in groups for r in group]
    assert max(len(r.ids) for r in rollouts) > 9
    loss = torch.zeros(())
    for rollout in rollouts:
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
        found = theirs(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        found = found.gather(-1, torch.tensor(rollout.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(rollout.logprobs), found.detach(), rtol=0, atol=1e-4)
        loss = loss - 0.1 * found.sum()
    loss.backward()
    rows = [Row.of(r.prompt_ids, r.ids, 0.1) for r in rollouts]
    accumulate(replicas.local, "policy", rows, 1 << 30, LIKELIHOOD)
    ours = to_hf(model.grad, config)
    for name, parameter in theirs.named_parameters():
        scale = float(parameter.grad.abs().max()) + 1e-3
        torch.testing.assert_close(ours[name] / scale, parameter.grad / scale, rtol=0, atol=1e-3)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("window", [1, 3, 8, 100])
def test_the_gpus_way_of_a_window_is_the_cpus(window, last):
    rows = [
        Row.of(list(range(1, p)), list(range(r)), 1.0) for p, r in ((9, 4), (9, 7), (3, 12), (22, 2), (22, 2))
    ]
    packed = pack([tree for tree, _ in plant(rows)], torch.device("cpu"))
    start = torch.randn(len(packed.ids), 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for attend in (lambda x: Attention(packed, 4, 2, window)(0, x, last),
                   lambda x: ByBlocks(packed, 4, 2, window)(0, x, last)):  # fmt: skip
        qkv = start.clone().requires_grad_()
        out = attend(qkv)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out.detach(), qkv.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SHORT)
def test_types_that_change_with_the_length_are_refused_beyond_their_original_one(name):
    _, config, flat = twin(name)
    assert config.rope.limit == 256
    with pytest.raises(InputError, match=rf"300 tokens: RoPE of type '{name}'.* 256 tokens"):
        logits(config, flat, torch.ones(1, 300, dtype=torch.long))
    replicas = Replicas()
    replicas.add_model("policy", config, flat, train=False)
    with pytest.raises(InputError, match=rf"'{name}'"):
        TorchSampler(replicas, tokenizer()).sample([toy_problem(1)], Sampling(1, 250))


def test_the_older_name_of_the_settings_is_the_same():
    base = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    old = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}
    newer = read_rope(base | {"rope_parameters": {**TYPES["yarn"], "rope_theta": 5000.0}}, 8)
    assert read_rope(base | {"rope_theta": 5000.0, "rope_scaling": old, "rope_parameters": None}, 8) == newer
    assert newer.reach == 32 and newer.scale > 1


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "spiral"}, "'spiral' is not known.*yarn"),
        (
            {"rope_type": "default", "partial_rotary_factor": 0.5, "family": "phi3"},
            r"part of each head \(0.5\)",
        ),
        ({"rope_type": "yarn"}, "'yarn' in config.json can't be used.*factor"),
        ({"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}, "turns 4 of 8"),
    ],
)
def test_settings_that_can_not_be_used_are_named(rope, message):
    base = {"model_type": rope.pop("family", "llama"), "hidden_size": 32, "num_attention_heads": 4}
    with pytest.raises(InputError, match=message):
        read_rope(base | {"rope_parameters": rope}, 8)


def test_windows_of_some_layers_are_refused():
    kind = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=7, max_window_layers=1)
    with pytest.raises(InputError, match="sliding-window attention in 1 of 2 layers"):
        DecoderConfig.from_hf(kind.to_dict())


def test_a_config_that_leaves_the_window_out_has_transformers_default():
    base = SIZES | {"head_dim": 8}
    for kind, more in (
        (MistralConfig, {}),
        (Qwen2Config, {"use_sliding_window": True, "max_window_layers": 0}),
    ):
        raw = {
            k: v
            for k, v in kind(**base, **more).to_dict().items()
            if k not in ("sliding_window", "layer_types")
        }
        assert DecoderConfig.from_hf(raw).window == kind(**base, **more).sliding_window == 4096


def test_settings_survive_an_export(tmp_path):
    for name in ("yarn-mscale", "llama-bias", "mistral-window"):
        theirs, config, flat = twin(name)
        save_directory(tmp_path / name, theirs.config.to_dict(), config, flat)
        _, again, back = load_directory(tmp_path / name)
        assert again == config and torch.equal(back, flat)
