"""GGUF files against the model that they were written from: logits of transformers' own classes, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import quants
from gguf_files import random_model, write_gguf
from small_run import go
from test_hub import small
from tiny import logits, tokenizer
from transformers import AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.tokenizer import load_tokenizer

IDS = torch.randint(0, 280, (2, 40), generator=torch.Generator().manual_seed(0))
YARN = {
    "rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 16.0,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Converted models go into a folder of the test."""
    monkeypatch.setenv("CASCADE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same_logits(file, model, tolerance: float = 1e-4) -> dict:
    """Ours and transformers' of the converted directory are the model's own; its config.json."""
    folder = find_model(str(file)).folder
    raw, config, flat = load_directory(folder)
    with torch.no_grad():
        wanted = model(IDS).logits
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits
    torch.testing.assert_close(logits(config, flat, IDS), wanted, rtol=0, atol=tolerance)
    torch.testing.assert_close(theirs, wanted, rtol=0, atol=tolerance)
    return raw


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {}), ("llama", {"tie_word_embeddings": True}), ("llama", {"attention_bias": True}),
        ("mistral", {"sliding_window": None}), ("qwen2", {}), ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"tie_word_embeddings": True}), ("qwen3", {"head_dim": 16}), ("phi3", {"sliding_window": None}),
    ],
)  # fmt: skip
def test_every_family_gives_the_logits_of_its_original(family, changes, tmp_path):
    model = random_model(family, **changes)
    raw = same_logits(write_gguf(tmp_path / "m.gguf", model), model)
    assert raw["rms_norm_eps"] == pytest.approx(3e-5) and raw["vocab_size"] == model.config.vocab_size
    assert raw["rope_parameters"]["rope_theta"] == 5000.0 and raw["eos_token_id"] == tokenizer().end_id


@pytest.mark.parametrize("kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1])
def test_every_number_is_what_the_format_stores(kind, tmp_path):
    """By the package's own way back, a tensor alone; q and k, whose rows are laid otherwise, by the logits."""
    model = random_model("qwen2")
    folder = find_model(str(write_gguf(tmp_path / "m.gguf", model, kind))).folder
    stored = {n: t.numpy() for n, t in model.state_dict().items()}
    for name, tensor in (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict().items()
    ):
        rows = stored[name]
        wanted = rows if rows.ndim == 1 else quants.dequantize(quants.quantize(rows, kind), kind)
        assert np.array_equal(tensor.numpy(), wanted), name


def test_quantised_llama_is_near_its_original(tmp_path):
    model = random_model("llama")
    folder = find_model(str(write_gguf(tmp_path / "m.gguf", model, Kind.Q8_0))).folder
    for name, tensor in AutoModelForCausalLM.from_pretrained(folder).state_dict().items():
        # half a step of 127 to each side of zero, of the largest number of a block of 32; scales are fp16
        error = (tensor - model.state_dict()[name]).abs().max() / model.state_dict()[name].abs().max()
        assert error < 0.5 / 127 + 1e-3, name


@pytest.mark.parametrize(
    ("family", "rope", "fields"),
    [
        ("llama", {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0},
         {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}),
        ("qwen2", YARN, {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.finetuned": True,
                         "rope.scaling.original_context_length": 16, "rope.scaling.yarn_beta_fast": 16.0}),
    ],
)  # fmt: skip
def test_scaled_rope_comes_from_the_metadata(family, rope, fields, tmp_path):
    model = random_model(family, rope_parameters=rope)
    raw = same_logits(write_gguf(tmp_path / "m.gguf", model, fields=fields), model)
    assert raw["rope_parameters"] == rope


def llama3_factors(model) -> np.ndarray:
    inverse, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, torch.device("cpu"))
    plain = 500_000.0 ** (-np.arange(0, model.config.head_dim, 2) / model.config.head_dim)
    return (plain / inverse.numpy()).astype(np.float32)


def test_llama_3s_factors_become_its_settings(tmp_path):
    model = random_model("llama", rope_parameters=LLAMA3, head_dim=32, max_position_embeddings=32768)
    factors = llama3_factors(model)
    assert 1 < factors[factors > 1].min() < 8, "a factor between the two ends shows the smooth part"
    file = write_gguf(tmp_path / "m.gguf", model, tensors={"rope_freqs.weight": factors})
    assert same_logits(file, model)["rope_parameters"] == LLAMA3
    wrong = write_gguf(tmp_path / "w.gguf", model, tensors={"rope_freqs.weight": factors**2})
    with pytest.raises(InputError, match=r"rope_freqs\.weight is not that of Llama 3"):
        find_model(str(wrong))


def test_the_tokenizer_is_that_of_the_file(tmp_path):
    folder = find_model(str(write_gguf(tmp_path / "m.gguf", random_model("llama")))).folder
    found, wanted = load_tokenizer(folder), tokenizer()
    text = "<|im_start|>user\nName the colour of the sky: blue, 12 + 7. Ünïcode<|im_end|>\n"
    assert found.inner.get_vocab() == wanted.inner.get_vocab() and found.eos_ids == wanted.eos_ids
    assert found.decode(found.encode(text)) == wanted.decode(wanted.encode(text))
    assert {found.end_id} <= set(found.encode(text)) and found.inner.convert_tokens_to_ids(
        "<think>"
    ) in found.encode("<think>")


def test_a_file_without_tokenizer_takes_the_one_beside_it(tmp_path):
    file = write_gguf(tmp_path / "m.gguf", random_model("llama"), tokens=False)
    with pytest.raises(
        InputError, match=r"put the model's tokenizer\.json and tokenizer_config\.json beside"
    ):
        find_model(str(file))
    tokenizer().save(tmp_path)
    assert load_tokenizer(find_model(str(file)).folder).inner.get_vocab() == tokenizer().inner.get_vocab()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "gemma2"}, "architecture 'gemma2' are not supported"),
        ({"tensors": {"blk.0.ffn_gate_inp.weight": np.ones((4, 32))}}, r"tensor blk\.0\.ffn_gate_inp\.weight has no place"),
        ({"without": ("blk.1.attn_k.weight",)},
         r"m\.gguf: the weights lack 1 tensors, the first is model\.layers\.1\.self_attn\.k_proj"),
        ({"without": ("token_embd.weight",)}, r"lacks token_embd\.weight"),
        ({"fields": {"rope.scaling.type": "longrope", "rope.scaling.factor": 2.0}}, "scaling of type 'longrope'"),
        ({"fields": {"rope.scaling.type": "yarn", "rope.scaling.factor": 2.0, "rope.scaling.yarn_log_multiplier": 0.1}},
         "yarn_log_multiplier"),
        ({"fields": {"split.count": 3}}, "is one of 3 parts"),
    ],
)  # fmt: skip
def test_what_would_be_nearly_right_is_refused_in_one_line(changes, told, tmp_path):
    file = write_gguf(tmp_path / "m.gguf", random_model("llama"), **changes)
    with pytest.raises(RecipeError, match=told) as error:
        go(tmp_path / "run", small(str(file)))
    assert not (tmp_path / "run").exists() and len(error.value.problems) == 1
    assert "\n" not in error.value.problems[0][1]


def test_what_was_meant_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.gguf"):
        find_model(str(tmp_path / "none.gguf"))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"holds GGUF files: name one of them, such as .*m\.gguf"):
        find_model(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is an adapter: name the checkpoint beside it"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off(share, tmp_path):
    file = write_gguf(tmp_path / "m.gguf", random_model("llama"))
    body = file.read_bytes()
    file.write_bytes(body[: int(len(body) * share)])
    with pytest.raises(InputError, match="is no GGUF file, or its copy is cut off"):
        find_model(str(file))


def test_a_run_from_a_file_converts_it_once_and_names_it(tmp_path, cascade, cache):
    file = write_gguf(tmp_path / "m.gguf", random_model("qwen3"), Kind.Q8_0)
    (tmp_path / "r.json").write_text(json.dumps(small("m.gguf")))
    status, _, err = cascade("check", "r.json")
    assert status == 0, err
    assert not list(cache.rglob("*.safetensors")), "check converts no weights"
    go(tmp_path / "run", small(str(file)))
    origin = json.loads((tmp_path / "run/base/origin.json").read_text())
    assert origin["name"] == str(file) and origin["commit"] is None
    made = list(cache.rglob("*.safetensors"))
    assert len(made) == 1
    file.rename(tmp_path / "n.gguf")
    find_model(str(tmp_path / "n.gguf"))
    assert list(cache.rglob("*.safetensors")) == made, "it is the content that counts"


def test_texts_are_cut_as_the_file_says(tmp_path):
    """SmolLM2's digits stand alone before anything else is cut: blanks before one are a run that ends there.

    transformers cuts every file as GPT-2 does, which leaves the last blank apart.
    """
    known = load_tokenizer(
        find_model(str(write_gguf(tmp_path / "m.gguf", random_model("llama")))).folder
    ).inner
    # the file of the tests calls itself `smollm`
    pieces = known.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  5\n\n42b  c")
    assert [text for text, _ in pieces] == ["a", "ĠĠ", "5", "ĊĊ", "4", "2", "b", "Ġ", "Ġc"]
