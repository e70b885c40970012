"""Exported checkpoints: a directory that transformers loads with no code of ours, and its model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cascade_rl.model.checkpoint import save_directory, save_reward_directory
from cascade_rl.model.decoder import DecoderConfig, Shapes
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.run.files import sync_folder


def export(
    path: Path,
    raw: Mapping[str, Any],
    config: DecoderConfig,
    flat: Tensor,
    tokenizer: Tokenizer,
    shapes: Shapes | None = None,
) -> None:
    """Write a model (a reward model when `shapes` with a score head is given)
    with its tokenizer, whole or not at all.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    if shapes is None:
        save_directory(temporary, raw, config, flat)
    else:
        save_reward_directory(temporary, raw, config, flat, shapes)
    tokenizer.save(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    sync_folder(path.parent)
