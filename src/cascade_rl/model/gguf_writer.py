"""Models as GGUF files: what `model/gguf.py` reads, written so that llama.cpp computes the same.

The `gguf` package lays out the file; which tensor is which and what the settings mean is said here, for the
families that are checked (tests/test_gguf_writer.py, bench/gguf_llama.py). What llama.cpp would leave out
without a word (a sliding window, a bias that its family has none of) is refused by its name.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.gguf import FREQUENCIES, IDS, JOINED, LAYER, LLAMA3, NEEDED, OUTSIDE, SCALED
from cascade_rl.model.network import Network
from cascade_rl.model.pre_tokenizers import Cut, choose_cut, core_of
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.run.files import Saving
from cascade_rl.types import Message, Problem

if TYPE_CHECKING:
    from gguf import GGUFWriter

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
}
# The recipe's names of dtypes: the name in files, its number as `general.file_type`.
KINDS = {"fp32": ("F32", 0), "fp16": ("F16", 1), "bf16": ("BF16", 32)}
# In names with these llama.cpp sees models whose marks take the blanks behind them, whatever the file says.
_OTHERS = re.compile(r"(phi|modern)-?(3|bert)", re.IGNORECASE)
ELSEWHERE = "export without --gguf, and convert with llama.cpp's convert_hf_to_gguf.py if it knows the model"


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of itself beside its numbers: a name, and the sampling that readers begin with."""

    name: str
    sampling: Mapping[str, float] = field(default_factory=dict)


def check_gguf(raw: Mapping[str, Any], config: Network) -> DecoderConfig:
    """Raise InputError, with every reason, where a model can't be written as GGUF and mean the same."""
    family = str(raw.get("model_type"))
    if not isinstance(config, DecoderConfig) or family not in ARCHITECTURES:
        raise InputError(
            f"GGUF is written of {', '.join(ARCHITECTURES)} as the fused decoder knows them, and this model "
            f"is {family}, computed by {config.BY}; {ELSEWHERE}"
        )
    faults = []
    if config.window is not None and config.window < config.max_positions:
        faults.append(f"its sliding window of {config.window} tokens, which llama.cpp would leave out")
    if family == "qwen3" and (config.qkv_bias or config.o_bias):
        faults.append("attention biases, which llama.cpp's qwen3 has not")
    rope = _told_rope(raw)
    kind = config.rope.kind
    known = set(SCALED[kind].values()) if kind in SCALED else set(LLAMA3) | {"factor"}
    extra = set(rope) - known - {"rope_type", "type", "rope_theta"}
    if kind not in ("default", "llama3", *SCALED):
        faults.append(f"RoPE of type {kind!r}")
    elif kind != "default" and extra:
        faults.append(f"RoPE of type {kind!r} with {', '.join(sorted(extra))}")
    elif kind == "llama3" and any(rope.get(key) != value for key, value in LLAMA3.items()):
        faults.append("RoPE of type 'llama3' with other settings than the published ones")
    if faults:
        raise InputError(f"GGUF can't say what this model has: {'; '.join(faults)}; {ELSEWHERE}")
    return config


def write_gguf(
    file: Path,
    raw: Mapping[str, Any],
    network: Network,
    flat: Tensor,
    tokenizer: Tokenizer,
    dtype: str,
    about: About,
    texts: Sequence[str] = (),
) -> Cut:
    """Write a model with this config.json and flat fp32 weights; which pre-tokenizer the file names.

    Matrices are of `dtype` (fp32, fp16 or bf16); norms and biases, rounded to it, stay F32, as llama.cpp
    wants them. `texts` are tried with its pre-tokenizers. Raises InputError for what GGUF can't say.
    """
    try:
        from gguf import GGMLQuantizationType, GGUFWriter
    except ImportError:
        raise InputError("--gguf needs the package gguf: pip install 'cascade-rl[gguf]'") from None
    config = check_gguf(raw, network)
    cut = choose_cut(tokenizer.inner, texts, _prompts(tokenizer))
    name, number = KINDS[dtype]
    architecture = ARCHITECTURES[str(raw["model_type"])]
    with Saving(file):
        writer = GGUFWriter(file, architecture)
        writer.add_name(_OTHERS.sub(r"\1 \2", about.name))
        writer.add_file_type(number)
        for key, value in about.sampling.items():
            writer.add_float32(f"general.sampling.{key}", value)
        _add_settings(writer, architecture, raw, config)
        _add_rope(writer, raw, config)
        _add_tokenizer(writer, tokenizer, config.vocab, cut.name)
        for theirs, tensor in _tensors(raw, config, flat, dtype):
            if tensor.ndim == 1 or dtype == "fp32":
                writer.add_tensor(theirs, tensor.float().numpy())
            elif dtype == "fp16":
                writer.add_tensor(theirs, tensor.numpy())
            else:
                # numpy has no bf16: bytes, of which the package is told what they are
                writer.add_tensor(
                    theirs, tensor.view(torch.uint8).numpy(), raw_dtype=GGMLQuantizationType[name]
                )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return cut


def _prompts(tokenizer: Tokenizer) -> list[str]:
    """What the chat template writes, with blanks beside the marks."""
    turns = (
        Message("user", "  Say 12.\n"),
        Message("assistant", "\n\n12"),
        Message("user", "\n\n5 + 7?  "),
    )
    modes = tokenizer.template.modes
    return [tokenizer.asked(Problem("tried", "tried", turns, None, mode)) for mode in modes]


def _told_rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    return dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})


def _add_settings(
    writer: GGUFWriter, architecture: str, raw: Mapping[str, Any], config: DecoderConfig
) -> None:
    for ours, theirs in NEEDED:
        key = f"{architecture}.{theirs}"
        if isinstance(raw[ours], float):
            writer.add_float32(key, raw[ours])
        else:
            writer.add_uint32(key, raw[ours])
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_vocab_size(config.vocab)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)


def _add_rope(writer: GGUFWriter, raw: Mapping[str, Any], config: DecoderConfig) -> None:
    """The scaling: linear and yarn as settings, Llama 3's as a tensor of divisors."""
    told, kind = _told_rope(raw), config.rope.kind
    if kind == "llama3":
        plain = config.rope.theta ** (
            -torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        )
        divisors = plain / torch.tensor(config.rope.inverse, dtype=torch.float64)
        writer.add_tensor(FREQUENCIES, divisors.float().numpy())
    if kind not in SCALED:
        return
    prefix = f"{writer.arch}.rope.scaling."
    writer.add_string(f"{prefix}type", kind)
    for theirs, ours in SCALED[kind].items():
        if (value := told.get(ours)) is None:
            continue
        if ours == "original_max_position_embeddings":
            writer.add_uint32(f"{prefix}{theirs}", int(value))
        else:
            writer.add_float32(f"{prefix}{theirs}", float(value))


def _tensors(
    raw: Mapping[str, Any], config: DecoderConfig, flat: Tensor, dtype: str
) -> list[tuple[str, Tensor]]:
    """The weights by their names in the file, cast, rows of q and k where llama.cpp looks for them."""
    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    family = str(raw["model_type"])
    layer = {ours: theirs for theirs, ours in (LAYER | (JOINED if family == "phi3" else {})).items()}
    outside = {ours: theirs for theirs, ours in OUTSIDE.items()}
    found = []
    for name, tensor in config.tensors(flat.detach().cpu()):
        stem, _, suffix = name.rpartition(".")
        if stem in outside:
            theirs = outside[stem]
        else:
            number, _, part = stem.removeprefix("model.layers.").partition(".")
            theirs = f"blk.{number}.{layer[part]}"
        rows = tensor.to(kind)
        if ARCHITECTURES[family] == "llama" and theirs.endswith((".attn_q", ".attn_k")):
            rows = _interleaved(rows, config.heads if theirs.endswith("q") else config.kv_heads)
        found.append((f"{theirs}.{suffix}", rows.contiguous()))
    return found


def _interleaved(rows: Tensor, heads: int) -> Tensor:
    """The halves of each head dealt out one by one: llama.cpp turns neighbours, transformers halves."""
    halves = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, rows: int, cut: str) -> None:
    """A byte-level BPE, a token for each of so many `rows` of the embedding."""
    from gguf import TokenType

    inner, whole = tokenizer.inner, core_of(tokenizer.inner)
    by_id = {number: token for token, number in inner.get_vocab().items()}
    special = {token["id"]: token["special"] for token in whole["added_tokens"]}
    kinds = {None: TokenType.NORMAL, True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list([by_id.get(i, f"[PAD{i}]") for i in range(rows)])
    # rows for padding have no token
    writer.add_token_types([kinds[special.get(i)] if i in by_id else TokenType.UNUSED for i in range(rows)])
    merges = whole["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    found = {"bos": inner.bos_token_id, "eos": tokenizer.end_id, "padding": inner.pad_token_id}
    for name in IDS:
        if (number := found[name]) is not None:
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    # further ends; llama.cpp knows the usual ones by their text, too
    others = [i for i in tokenizer.eos_ids if i != tokenizer.end_id]
    if others:
        writer.add_eot_token_id(others[0])
    begins = inner.bos_token_id is not None and inner.encode("a")[:1] == [inner.bos_token_id]
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(False)
    writer.add_chat_template(inner.chat_template)
