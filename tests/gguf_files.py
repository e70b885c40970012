"""GGUF files of small random models, written by the gguf package as llama.cpp's converter lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from tiny import SHAPE, tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

VOCAB = len(tokenizer().inner)
NAMES = {  # the key of a config, and the method of the writer that stores it
    "max_position_embeddings": "add_context_length", "hidden_size": "add_embedding_length",
    "num_hidden_layers": "add_block_count", "intermediate_size": "add_feed_forward_length",
    "num_attention_heads": "add_head_count", "num_key_value_heads": "add_head_count_kv",
    "rms_norm_eps": "add_layer_norm_rms_eps",
}  # fmt: skip


def random_model(family: str, **changes: Any) -> PreTrainedModel:
    """A model of two layers with weights far from their start, biases and norms too."""
    # 64: rows of whole blocks of 32 numbers, as quantised types want them
    shape = SHAPE.model_dump(exclude={"rope_theta"}) | {"intermediate_size": 64}
    theta = changes.pop("rope_theta", 5000.0)
    ends = {"bos_token_id": None, "eos_token_id": tokenizer().end_id, "pad_token_id": tokenizer().pad_id}
    rope = changes.pop("rope_parameters", {"rope_type": "default", "rope_theta": theta})
    config = CONFIG_MAPPING[family](
        **shape | {"vocab_size": VOCAB, "rms_norm_eps": 3e-5, "rope_parameters": rope, **ends} | changes
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """The halves of each head dealt out one by one: llama.cpp turns neighbours, transformers halves."""
    half = len(rows) // heads // 2
    order = [h * 2 * half + side * half + i for h in range(heads) for i in range(half) for side in (0, 1)]
    return rows[order]


def write_gguf(
    file: Path,
    model: PreTrainedModel,
    kind: Kind = Kind.F32,
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    *,
    without: tuple[str, ...] = (),
    tokens: bool = True,
    architecture: str = "",
) -> Path:
    """A file of a model; `fields` and `tensors` come on top, tensors in `without` are left out."""
    config = model.config
    family = {"mistral": "llama"}.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(file, architecture or family)
    for key, method in NAMES.items():
        getattr(writer, method)(getattr(config, key))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_key_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    for key, value in (fields or {}).items():
        add = {
            str: writer.add_string,
            float: writer.add_float32,
            bool: writer.add_bool,
            int: writer.add_uint32,
        }
        add[type(value)](f"{family}.{key}" if not key.startswith("split.") else key, value)
    if tokens:
        _add_tokenizer(writer)
    names = gguf.get_tensor_name_map(
        next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == family), config.num_hidden_layers
    )
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, _, suffix = name.rpartition(".")
        theirs, rows = f"{names.get_name(stem)}.{suffix}", tensor.float().numpy()
        if family == "llama" and ".attn_q." in theirs:
            rows = interleaved(rows, config.num_attention_heads)
        if family == "llama" and ".attn_k." in theirs:
            rows = interleaved(rows, config.num_key_value_heads)
        if theirs not in without:
            _add(writer, theirs, rows, kind)
    for name, rows in (tensors or {}).items():
        _add(writer, name, rows, Kind.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add(writer: gguf.GGUFWriter, name: str, rows: np.ndarray, kind: Kind) -> None:
    if rows.ndim == 1 or kind == Kind.F32:  # norms and biases are never quantised
        writer.add_tensor(name, np.ascontiguousarray(rows, dtype=np.float32))
    else:
        writer.add_tensor(name, gguf.quants.quantize(rows, kind), raw_dtype=kind)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    inner = tokenizer().inner
    core = json.loads(inner.backend_tokenizer.to_str())
    by_id = {i: token for token, i in inner.get_vocab().items()}
    special = {t["id"]: t["special"] for t in core["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([by_id[i] for i in range(VOCAB)])
    types = {None: gguf.TokenType.NORMAL, True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_token_types([types[special.get(i)] for i in range(VOCAB)])
    writer.add_token_merges([" ".join(pair) for pair in core["model"]["merges"]])
    writer.add_eos_token_id(tokenizer().end_id)
    writer.add_pad_token_id(tokenizer().pad_id)
