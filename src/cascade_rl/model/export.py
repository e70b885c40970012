"""Exported checkpoints: directories that transformers or, of an adapter, PEFT loads with no code of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from cascade_rl.model.checkpoint import ORIGIN, read_origin, save_directory, save_reward_directory
from cascade_rl.model.network import Network, Shapes
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe.lora import LoRA
from cascade_rl.run.files import Saving, sync_folder, write_json


def export(
    path: Path,
    raw: Mapping[str, Any],
    config: Network,
    flat: Tensor,
    tokenizer: Tokenizer,
    shapes: Shapes | None = None,
    *,
    generation: Mapping[str, Any] | None = None,
    dtype: str = "fp32",
    origin: Mapping[str, Any] | None = None,
    shard: int | None = None,
) -> None:
    """Write a model (with `shapes`, those with a score head, a reward model), whole or not at all.

    `generation` and `shard` are of a language model, `dtype` of both, see `save_directory`. A reward model's
    chat template renders what it was trained to read, see `reward_template`. `origin` is kept for
    `read_origin`.
    """
    # under a name of its own until it is complete: a run that is killed here exports again
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with Saving(path, temporary):
        if shapes is None:
            save_directory(temporary, raw, config, flat, generation, dtype, shard)
        else:
            save_reward_directory(temporary, raw, config, flat, shapes, dtype)
        tokenizer.save(temporary)
        if shapes is not None:
            # where transformers puts the template of the tokenizer that it has just saved
            (temporary / "chat_template.jinja").write_text(tokenizer.template.reward_text())
        if origin:
            write_json(temporary / ORIGIN, origin)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        sync_folder(path.parent)


def _base_of(folder: Path) -> tuple[str, str | None]:
    """How an adapter names the model that it was trained on: on a hub with its commit, else by its path."""
    origin = read_origin(folder)
    # what was changed on the way here (rows for new tokens, another RoPE) is not what the hub has
    if origin.get("commit") and origin.get("unchanged"):
        return origin["name"], origin["commit"]
    # absolute: PEFT would look for a relative path from wherever it is called
    return str(folder.absolute()), None


def write_adapter(
    folder: Path, state: Mapping[str, Tensor], lora: LoRA, base: Path, targets: Sequence[str], turned: bool
) -> None:
    """Write adapter_model.safetensors and adapter_config.json: `peft` loads them onto the model at `base`.

    A base that is a hub's model as it stands there is named so, with its commit. `targets` are the names of
    its projections, `turned` whether they are stored [in, out].
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a reward model's head is trained whole, which PEFT calls a module to save
    head = any(name.endswith(".score.weight") for name in state)
    name, commit = _base_of(base)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if head else "CAUSAL_LM",
        "base_model_name_or_path": name,
        "revision": commit,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "target_modules": list(targets),
        **({"fan_in_fan_out": True} if turned else {}),
        "modules_to_save": ["score"] if head else None,
    }
    with Saving(folder):
        save_file(
            dict(sorted(state.items())), folder / "adapter_model.safetensors", metadata={"format": "pt"}
        )
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
