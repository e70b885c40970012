"""Models to and from Hugging Face directories; what is exported loads with transformers alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.choice import network_of
from cascade_rl.model.config_faults import check_by_transformers, check_config
from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.network import Network, Shapes
from cascade_rl.model.weight_files import read_state
from cascade_rl.recipe import Architecture
from cascade_rl.run.files import read_json

ORIGIN = "origin.json"  # in the directory of a run's first model
# of exports, by the recipe's names
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def to_hf(flat: Tensor, config: Network) -> dict[str, Tensor]:
    """The state dict that transformers expects, as fp32 copies on the CPU."""
    return {name: rows.clone() for name, rows in config.tensors(flat.detach().cpu())}


def scratch_config(shape: Architecture, vocab: int, eos: int, pad: int) -> dict[str, Any]:
    """A Qwen3 config, as the dictionary of config.json."""
    from transformers import Qwen3Config

    config = Qwen3Config(
        vocab_size=vocab,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=True,
        max_position_embeddings=shape.max_position_embeddings,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
    )
    return config.to_dict()


def scratch_weights(config: DecoderConfig, seed: int) -> Tensor:
    """Normal(0, 0.02) matrices, those that write to the residual scaled down by depth (GPT-2), norms 1.

    Embeddings get 0.1: at 0.02 a small model learns several times later to look at its prompt (docs/LOG.md).
    """
    generator = torch.Generator().manual_seed(seed)  # of its own, in the order of the flat vector
    flat, depth = torch.empty(flat_size(config.shapes())), 0.02 / (2 * config.layers) ** 0.5
    for name, view in views(flat, config.shapes()).items():
        short = name.rpartition(".")[2]
        if "norm" in short:
            view.fill_(1.0)
        elif short.endswith("_bias"):
            view.zero_()
        else:
            std = {"embed": 0.1, "o": depth, "down": depth}.get(short, 0.02)
            view.normal_(0.0, std, generator=generator)
    return flat


def weights_hash(flat: Tensor) -> str:
    """16 hex digits of the SHA-256 of the weights' bytes: one bit that differs is another hash."""
    return hashlib.sha256(flat.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def read_config(path: Path) -> tuple[dict[str, Any], Network]:
    """The config dictionary and the network of a local Hugging Face directory; InputError if unsupported."""
    file = path / "config.json"
    if not file.is_file():
        raise InputError(f"{path} is no Hugging Face model directory: it has no config.json")
    raw = read_json(file)
    check_config(raw, file)
    try:
        config = network_of(raw)
    except KeyError as error:
        raise InputError(f"{file} lacks {error}") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    check_by_transformers(path)
    return raw, config


def load_directory(path: Path) -> tuple[dict[str, Any], Network, Tensor]:
    """The config dictionary, the network and the flat weights of a local Hugging Face directory."""
    raw, config = read_config(path)
    return raw, config, config.flat(read_state(path), str(path))


def read_generation(path: Path) -> dict[str, Any]:
    """The settings in a model directory's generation_config.json; none where there is no such file.

    Raises InputError for settings that transformers could not read back from an export.
    """
    from transformers import GenerationConfig

    file = path / "generation_config.json"
    found = read_json(file)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no JSON object; copy it again, or remove it")
    try:
        GenerationConfig.from_dict(found).validate()
    except (TypeError, ValueError, AttributeError) as error:
        text = str(error).strip().partition("\n")[0]
        raise InputError(f"{file} can't be used: {text}; mend it, or remove it") from None
    return dict(found)


def read_origin(folder: Path) -> dict[str, Any]:
    """Where the model of a run's base directory came from (docs/runs.md); empty where nobody said so."""
    return dict(read_json(folder / ORIGIN) or {})


def save_directory(
    path: Path,
    raw: Mapping[str, Any],
    config: Network,
    flat: Tensor,
    generation: Mapping[str, Any] | None = None,
    dtype: str = "fp32",
    shard: int | None = None,
) -> None:
    """Write config.json, generation_config.json and model.safetensors into a directory.

    `generation` are settings of the model that this one was made from; `dtype` is fp32, bf16 or fp16; weights
    of more than `shard` bytes are divided into files with an index.
    """
    path.mkdir(parents=True, exist_ok=True)
    kind = DTYPES[dtype]
    # the older name of the same key would contradict it
    raw = {k: v for k, v in raw.items() if k != "torch_dtype"} | {"dtype": str(kind).removeprefix("torch.")}
    (path / "config.json").write_text(json.dumps(raw, indent=2, sort_keys=True, default=str) + "\n")
    ids = {
        key: raw[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if raw.get(key) is not None
    }
    settings = ids | dict(generation or {})
    (path / "generation_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    state = {name: tensor.to(kind) for name, tensor in to_hf(flat, config).items()}
    if shard is None:
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    else:
        save_torch_state_dict(state, path, max_shard_size=shard, metadata={"format": "pt"})


def save_reward_directory(
    path: Path,
    raw: Mapping[str, Any],
    config: Network,
    flat: Tensor,
    shapes: Shapes,
    dtype: str = "fp32",
) -> None:
    """Write a reward model that AutoModelForSequenceClassification loads: body and a `score` of one label."""
    path.mkdir(parents=True, exist_ok=True)
    held = DTYPES[dtype]
    raw = {
        # `dtype` has an older name, which would contradict it
        **{key: value for key, value in raw.items() if key != "torch_dtype"},
        "architectures": [config.classifier(raw)],
        "num_labels": 1,
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
        "dtype": str(held).removeprefix("torch."),
    }
    ends = raw.get("eos_token_id")
    if raw.get("pad_token_id") in (ends if isinstance(ends, list) else [ends]):
        # transformers would take the end mark for padding, and score the token before it
        raw["pad_token_id"] = None
    (path / "config.json").write_text(json.dumps(raw, indent=2, sort_keys=True, default=str) + "\n")
    # the head over the vocabulary is left out: a classifier has none
    state = to_hf(flat[: flat_size(config.shapes())], config)
    for name in config.head_only():
        state.pop(name)
    state["score.weight"] = views(flat.detach().cpu(), shapes)["score"].clone()
    state = {name: tensor.to(held) for name, tensor in state.items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})


def load_reward_directory(path: Path, config: Network) -> Tensor:
    """The flat weights, head last, of what `save_reward_directory` wrote, or of one that was published.

    Raises InputError for files that are cut off, KeyError without a `score.weight`, and InputError for one
    that is not of one row: a model that sorts texts, or scores them in several ways, gives no reward.
    """
    state = read_state(path)
    score = state.pop("score.weight")
    if tuple(score.shape) != (1, config.hidden):
        raise InputError(f"{path}: its score has the shape {tuple(score.shape)}, not (1, {config.hidden})")
    # the flat vector has a place for what reads logits, which a reward model never does
    state |= {name: torch.zeros(shape) for name, shape in config.head_only().items()}
    return torch.cat([config.flat(state), score.float().flatten()])
