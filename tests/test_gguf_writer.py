"""GGUF files that are written, against transformers, gguf's own names of tensors and reader, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGUFReader, dequantize
from gguf_files import interleaved, random_model
from gguf_files import write_gguf as by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gguf import LLAMA3, YARN, cache, same_logits  # noqa: F401  (a fixture)
from tiny import tokenizer

from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.choice import network_of
from cascade_rl.model.gguf import GGUF, write_head
from cascade_rl.model.gguf_writer import About, _interleaved, write_gguf
from cascade_rl.model.pretrained import find_model, smollm2_gguf
from cascade_rl.model.tokenizer import load_tokenizer

TOKENS = (
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.eos_token_id",
)
BLOCKS = ("blk.0.", "blk.1.", "blk.2.")
CAST = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def written(tmp_path, model, dtype="fp32", name="m"):
    """The file of a model of transformers, by way of its directory."""
    folder = tmp_path / f"{name}-hf"
    model.save_pretrained(folder)
    tokenizer().save(folder)
    raw, config, flat = load_directory(folder)
    file = tmp_path / f"{name}.gguf"
    write_gguf(file, raw, config, flat, load_tokenizer(folder), dtype, About("tiny"))
    return file


FAMILIES = [
    ("llama", {}), ("llama", {"tie_word_embeddings": True}), ("llama", {"attention_bias": True}),
    ("mistral", {"sliding_window": None}), ("qwen2", {}), ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"tie_word_embeddings": True}), ("qwen3", {"head_dim": 16}), ("phi3", {"sliding_window": None}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0}}),
    ("qwen2", {"rope_parameters": YARN}),
    ("llama", {"rope_parameters": LLAMA3, "head_dim": 32, "max_position_embeddings": 32768}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_what_is_written_is_read_as_the_same_model(family, changes, tmp_path):
    model = random_model(family, **changes)
    raw = same_logits(written(tmp_path, model), model)
    for key, value in changes.get("rope_parameters", {}).items():
        assert raw["rope_parameters"][key] == value


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "phi3"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_names_and_bits_are_those_that_the_package_gives(family, dtype, tmp_path):
    """Against the writer of the tests: names by gguf's own table, rows of q and k put in order by hand."""
    model = random_model(
        family, **({} if family.startswith("qwen") or family == "llama" else {"sliding_window": None})
    )
    ours = {t.name: t for t in GGUFReader(written(tmp_path, model, dtype)).tensors}
    hand = {t.name: t for t in GGUFReader(by_hand(tmp_path / "hand.gguf", model)).tensors}
    assert ours.keys() == hand.keys()
    for name, tensor in hand.items():
        rows = torch.from_numpy(np.array(tensor.data)).to(CAST[dtype])
        wanted = rows.float().numpy() if rows.ndim == 1 or dtype == "fp32" else rows.view(torch.uint8).numpy()
        found = ours[name].data
        assert found.tobytes() == wanted.tobytes(), name
        assert list(ours[name].shape) == list(tensor.shape), name


@settings(max_examples=50)
@given(
    heads=st.integers(1, 5),
    half=st.integers(1, 6),
    wide=st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rows_of_heads_are_dealt_out_as_llama_cpp_pairs_them(heads, half, wide, bias, seed):
    shape = (heads * half * 2,) if bias else (heads * half * 2, wide)
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    assert np.array_equal(_interleaved(rows, heads).numpy(), interleaved(rows.numpy(), heads))


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_weights_come_back_bit_for_bit(dtype, tmp_path):
    model = random_model("llama")
    folder = find_model(str(written(tmp_path, model, dtype))).folder
    found = load_directory(folder)[2]
    wanted = load_directory(tmp_path / "m-hf")[2].to(CAST[dtype]).float()
    assert torch.equal(found, wanted)


def test_the_tokenizer_comes_back_and_names_what_llama_cpp_reads(tmp_path):
    file = written(tmp_path, random_model("qwen3"))
    fields = {key: field.contents() for key, field in GGUFReader(file).fields.items()}
    assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == "gpt-2"
    assert fields["tokenizer.chat_template"] == tokenizer().inner.chat_template
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer().end_id
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["general.architecture"] == "qwen3" and fields["general.file_type"] == 0
    found = load_tokenizer(find_model(str(file)).folder)
    assert found.inner.get_vocab() == tokenizer().inner.get_vocab() and found.eos_ids == tokenizer().eos_ids


@pytest.mark.parametrize("name", ["my-Phi-3-maths", "phi3", "modern-bert"])
def test_no_name_makes_llama_cpp_think_of_another_model(name, tmp_path):
    """llama-vocab.cpp looks for these in general.name: their marks take the blanks behind them."""
    model = random_model("qwen3")
    model.save_pretrained(tmp_path / "hf")
    tokenizer().save(tmp_path / "hf")
    raw, config, flat = load_directory(tmp_path / "hf")
    write_gguf(tmp_path / "m.gguf", raw, config, flat, tokenizer(), "fp32", About(name))
    found = GGUFReader(tmp_path / "m.gguf").fields["general.name"].contents().casefold()
    assert not any(word in found for word in ("phi-3", "phi3", "modern-bert"))


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        ("mistral", {"sliding_window": 16}, "sliding window of 16 tokens, which llama.cpp would leave out"),
        ("qwen3", {"attention_bias": True}, "attention biases, which llama.cpp's qwen3 has not"),
        ("qwen2", {"rope_parameters": {**YARN, "attention_factor": 1.5}}, "'yarn' with attention_factor"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 5000.0, "factor": 2.0}}, "'dynamic'"),
        ("gpt2", {"n_embd": 32, "n_layer": 1, "n_head": 2}, "this model is gpt2, computed by"),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_compute_otherwise_is_refused(family, changes, told, tmp_path):
    with pytest.raises(InputError, match=told):
        written(tmp_path, random_model(family, **changes))
    assert not (tmp_path / "m.gguf").exists()


def test_smollm2_comes_back_from_its_q8_file_and_from_ours(tmp_path):
    """q8 -> fp32 -> GGUF in F32: every number is what the package's own way back gives of the original."""
    original = GGUF(smollm2_gguf())
    write_head(original, tmp_path / "hf")
    # three of its thirty layers: a file of 150 MB says as much as one of 540
    raw = original.raw | {"num_hidden_layers": 3}
    config = network_of(raw)
    flat = config.flat({name: rows for name, rows in original.tensors() if name in config.file_shapes()})
    write_gguf(tmp_path / "m.gguf", raw, config, flat, load_tokenizer(tmp_path / "hf"), "fp32", About("x"))
    theirs = {t.name: t for t in GGUFReader(smollm2_gguf()).tensors}
    ours = {t.name: t for t in GGUFReader(tmp_path / "m.gguf").tensors}
    assert len(ours) == 2 + 3 * 9 and ours.keys() == {n for n in theirs if n[:4] != "blk." or n[:6] in BLOCKS}
    for name, tensor in ours.items():
        original = theirs[name]
        assert np.array_equal(tensor.data, dequantize(original.data, original.tensor_type)), name
    settings = [
        {k: f.contents() for k, f in GGUFReader(path).fields.items()}
        for path in (smollm2_gguf(), tmp_path / "m.gguf")
    ]
    same = [key for key in settings[0] if key.startswith("llama.") or key in TOKENS]
    differ = [key for key in same if settings[0][key] != settings[1][key]]
    assert len(same) > 10 and differ == ["llama.block_count"]
