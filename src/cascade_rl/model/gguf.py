"""GGUF files as Hugging Face directories: settings and tokenizer first, then the weights, turned to fp32.

Numbers come from the `gguf` package, the tokenizer from transformers; which tensor is which is said here, for
the families that are checked (tests/test_gguf.py). Whatever a file holds beyond that is refused by its name:
a tensor or a setting that is passed over gives a model that is nearly right.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from cascade_rl.errors import InputError
from cascade_rl.model.config_faults import check_config
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.pre_tokenizers import CUTS, cut_by
from cascade_rl.model.rope import read_rope
from cascade_rl.model.tokenizer import FILES
from cascade_rl.model.weight_files import check_state
from cascade_rl.run.files import Saving, write_text

FAMILIES = ("llama", "qwen2", "qwen3", "phi3")  # Mistral's files call themselves llama
# (our name, theirs) of settings that every file must have, and of those that it may have
NEEDED = (
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("intermediate_size", "feed_forward_length"),
    ("num_attention_heads", "attention.head_count"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
)
OPTIONAL = (("num_key_value_heads", "attention.head_count_kv"), ("head_dim", "attention.key_length"))
IDS = ("bos", "eos", "padding")
# In a layer: their names and ours.
LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
JOINED = {"ffn_up": "mlp.gate_up_proj"}  # of Phi-3, whose gate lies above
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
# Llama 3.1 to 3.3 carry their scaling as a tensor of factors; these are all that were published with it.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
# Types of scaling, with their settings and transformers' names of those.
SCALED = {
    "linear": {"factor": "factor"},
    "yarn": {
        "factor": "factor",
        "original_context_length": "original_max_position_embeddings",
        "yarn_beta_fast": "beta_fast",
        "yarn_beta_slow": "beta_slow",
    },
}
INSTEAD = "take the model's Hugging Face directory"
FREQUENCIES = "rope_freqs.weight"


class GGUF:
    """An opened GGUF file of a supported family; raises InputError for any other.

    raw  the config.json that it stands for
    cut  the name of its pre-tokenizer; empty where it has none
    """

    def __init__(self, file: Path) -> None:
        try:
            from gguf import GGUFReader
        except ImportError:
            raise InputError(
                f"{file} needs the package gguf to be read: pip install 'cascade-rl[gguf]'"
            ) from None
        try:
            reader = GGUFReader(file)
        except (ValueError, IndexError, KeyError, OSError, TypeError) as error:
            text = str(error).partition("\n")[0]
            raise InputError(f"{file} is no GGUF file, or its copy is cut off: {text}") from None
        self.file = file
        self._fields: Mapping[str, Any] = reader.fields
        self._tensors = {str(tensor.name): tensor for tensor in reader.tensors}
        if (parts := self._value("split.count")) not in (None, 0, 1):
            raise InputError(f"{file} is one of {parts} parts; join them before (llama-gguf-split --merge)")
        self.family = str(self._value("general.architecture") or "")
        if self.family not in FAMILIES:
            raise InputError(
                f"{file}: GGUF files of the architecture {self.family!r} are not supported (only "
                f"{', '.join(FAMILIES)}); {INSTEAD}"
            )
        self.cut = str(self._value("tokenizer.ggml.pre") or "")
        self.raw = self._config()
        check_config(self.raw, file)
        self.config = DecoderConfig.from_hf(self.raw)

    def _value(self, key: str) -> Any:
        field = self._fields.get(key)
        return None if field is None else field.contents()

    def _setting(self, key: str) -> Any:
        return self._value(f"{self.family}.{key}")

    def _config(self) -> dict[str, Any]:
        from transformers import CONFIG_MAPPING

        found = {ours: self._setting(theirs) for ours, theirs in (*NEEDED, *OPTIONAL)}
        if missing := [theirs for ours, theirs in NEEDED if found[ours] is None]:
            raise InputError(f"{self.file} lacks {self.family}.{missing[0]}; it is no whole model")
        if "token_embd.weight" not in self._tensors:
            raise InputError(f"{self.file} lacks token_embd.weight; it is no whole model")
        settings = {ours: value for ours, value in found.items() if value is not None}
        # the shape: rows may be padded beyond the tokens
        settings["vocab_size"] = int(self._tensors["token_embd.weight"].shape[-1])
        settings["tie_word_embeddings"] = "output.weight" not in self._tensors
        if self.family == "llama":
            # Qwen2's are a part of the family, and it has no such key
            settings["attention_bias"] = "blk.0.attn_q.bias" in self._tensors
        for name in IDS:
            settings[f"{name.replace('padding', 'pad')}_token_id"] = self._value(
                f"tokenizer.ggml.{name}_token_id"
            )
        if (window := self._setting("attention.sliding_window")) is not None:
            settings |= {"sliding_window": window, "use_sliding_window": True}
        settings["rope_parameters"] = self._rope(settings)
        kind = CONFIG_MAPPING[self.family]
        made: dict[str, Any] = kind(**settings).to_diff_dict()
        return {**made, "architectures": [_class_of(self.family)], "dtype": "float32"}

    def _rope(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """`rope_parameters`, of the kinds that a file can say; refuses the others."""
        wide = settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"]
        if (turned := self._setting("rope.dimension_count")) not in (None, wide):
            raise InputError(
                f"{self.file}: RoPE that turns {turned} of {wide} numbers of a head is not supported"
            )
        theta = float(self._setting("rope.freq_base") or 10_000.0)
        plain = {"rope_type": "default", "rope_theta": theta}
        prefix = f"{self.family}.rope.scaling."
        told = {key.removeprefix(prefix): self._value(key) for key in self._fields if key.startswith(prefix)}
        kind = told.pop("type", "none")
        told.pop("finetuned", None)  # says how it was made, not how it computes
        if FREQUENCIES in self._tensors:
            return self._llama3(settings, wide, theta)
        if kind == "none":
            return plain
        if kind not in SCALED or "factor" not in told or not set(told) <= set(SCALED[kind]):
            raise InputError(
                f"{self.file}: RoPE scaling of type {kind!r} ({', '.join(told) or 'no settings'}) can't be "
                f"read from GGUF; {INSTEAD}"
            )
        return plain | {"rope_type": kind} | {SCALED[kind][key]: value for key, value in told.items()}

    def _llama3(self, settings: Mapping[str, Any], wide: int, theta: float) -> dict[str, Any]:
        """The settings that give the file's factors, by which plain frequencies are divided."""
        stored = torch.from_numpy(np.array(self._tensors[FREQUENCIES].data, dtype=np.float32).ravel())
        found = {"rope_type": "llama3", "rope_theta": theta, "factor": float(stored.max()), **LLAMA3}
        rope = read_rope({**settings, "model_type": self.family, "rope_parameters": found}, wide)
        plain = theta ** (-torch.arange(0, wide, 2) / wide)
        wanted = plain / torch.tensor(rope.inverse)
        if stored.shape != wanted.shape or not torch.allclose(stored, wanted, rtol=1e-3):
            raise InputError(f"{self.file}: its {FREQUENCIES} is not that of Llama 3; {INSTEAD}")
        return found

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights by their Hugging Face names, in fp32; raises InputError for one that has no place."""
        from gguf import dequantize

        for name, tensor in self._tensors.items():
            if name == FREQUENCIES:
                continue
            theirs = self._name(name)
            try:
                values: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type)
            except NotImplementedError as error:
                raise InputError(f"{self.file}: {name}: {error}; take another quantisation") from None
            yield theirs, torch.from_numpy(self._rows(name, np.array(values, dtype=np.float32)))

    def _name(self, name: str) -> str:
        stem, _, kind = name.rpartition(".")
        block, _, rest = stem.partition(".")
        number, _, part = rest.partition(".")
        if stem in OUTSIDE:
            return f"{OUTSIDE[stem]}.{kind}"
        layer = LAYER | JOINED if self.family == "phi3" else LAYER
        if block == "blk" and part in layer:
            return f"model.layers.{number}.{layer[part]}.{kind}"
        raise InputError(
            f"{self.file}: the tensor {name} has no place in the family {self.family}; {INSTEAD}"
        )

    def _rows(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of q and k in Hugging Face's order: llama's heads come with their halves interleaved."""
        of_q, of_k = ".attn_q." in name, ".attn_k." in name
        if self.family != "llama" or not (of_q or of_k):
            return values
        heads = self.config.heads if of_q else self.config.kv_heads
        halves = values.reshape(heads, len(values) // heads // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _class_of(family: str) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family])


def write_head(gguf: GGUF, folder: Path) -> None:
    """Write tokenizer and config.json, the latter last: where it lies all is there but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    with Saving(folder):
        _write_tokenizer(gguf, folder)
        write_text(folder / "config.json", json.dumps(gguf.raw, indent=2, sort_keys=True, default=str) + "\n")


def write_weights(gguf: GGUF, folder: Path) -> None:
    """Write model.safetensors, in fp32, whole or not at all."""
    state = dict(gguf.tensors())
    check_state(str(gguf.file), state, gguf.config.file_shapes())
    temporary = folder / ".model.safetensors.tmp"
    with Saving(folder, temporary):
        save_file(state, temporary, metadata={"format": "pt"})
        temporary.rename(folder / "model.safetensors")


def _write_tokenizer(gguf: GGUF, folder: Path) -> None:
    """The file's own tokenizer, as transformers reads it; else the one that lies beside the file."""
    from transformers import AutoTokenizer

    file = gguf.file
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        if not any((file.parent / name).is_file() for name in FILES):
            text = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{file}: its tokenizer can't be read ({text}); put the model's tokenizer.json and "
                "tokenizer_config.json beside the file"
            ) from None
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent))
    else:
        # transformers passes over the name of the cut: SmolLM2's digits would not stand alone
        core = getattr(tokenizer, "backend_tokenizer", None)
        if gguf.cut in CUTS and core is not None and type(core.decoder).__name__ == "ByteLevel":
            core.pre_tokenizer = cut_by(gguf.cut)
    tokenizer.save_pretrained(str(folder))
