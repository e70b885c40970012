"""What in a config.json can't be: values of a wrong kind, and sizes that do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError

COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "sliding_window",
)
NUMBERS = ("rms_norm_eps", "rope_theta")
BLOCKS = ("rope_parameters", "rope_scaling")
FLAGS = ("return_dict", "tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window")
NAMES = ("model_type", "dtype", "torch_dtype")
# the deepest published models have 126; a mistyped number would be noticed by running out of memory
MOST_LAYERS = 1000


def check_config(raw: object, file: Path) -> None:
    """Raise InputError, which names file and key, for values that no model of any family can have."""
    if not isinstance(raw, dict):
        raise InputError(f"{file} holds no JSON object; copy it again")
    for key, value in raw.items():
        # null is a key left out
        if value is not None and (wanted := _wanted(key, value)):
            raise InputError(
                f"{file}: {key} must be {wanted}, and is {str(value)[:40]!r}; copy the file again"
            )
    if (raw.get("num_hidden_layers") or 1) > MOST_LAYERS:
        raise InputError(f"{file}: {raw['num_hidden_layers']} layers (num_hidden_layers) are too many")
    _check_heads(raw, file)


def _wanted(key: str, value: object) -> str | None:
    """What a key must be, where its value is not."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key in COUNTS:
        return None if whole and isinstance(value, int) and value > 0 else "a whole number above 0"
    if key in NUMBERS:
        number = value if whole or isinstance(value, float) else None
        return None if isinstance(number, int | float) and 0 < number < float("inf") else "a number above 0"
    if key in BLOCKS:
        return None if isinstance(value, dict) and _is_rope(value) else "a block of RoPE settings"
    if key == "architectures":
        named = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
        return None if named else "a list of names"
    if key in FLAGS:
        return None if isinstance(value, bool) else "true or false"
    return "a name" if key in NAMES and not isinstance(value, str) else None


def _is_rope(block: Mapping[str, object]) -> bool:
    """Whether type and base are of the right kind; the other settings are read by transformers' functions."""
    theta, kind = block.get("rope_theta", 1.0), block.get("rope_type", block.get("type"))
    number = isinstance(theta, int | float) and not isinstance(theta, bool) and 0 < theta < float("inf")
    return number and (kind is None or isinstance(kind, str))


def check_by_transformers(folder: Path) -> None:
    """Raise InputError for a config.json that transformers does not take."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (StrictDataclassError, TypeError, ValueError, AttributeError, KeyError, OSError) as error:
        # of a checked field the second line says what is wrong
        text = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'} can't be used by transformers: {text[:300]}") from error


def _check_heads(raw: Mapping[str, Any], file: Path) -> None:
    heads, wide = raw.get("num_attention_heads"), raw.get("hidden_size")
    if heads is None or wide is None:
        return
    if heads % (raw.get("num_key_value_heads") or heads):
        raise InputError(f"{file}: num_attention_heads is no multiple of num_key_value_heads")
    if raw.get("head_dim") is None and wide % heads:
        raise InputError(
            f"{file}: hidden_size is no multiple of num_attention_heads, and there is no head_dim"
        )
