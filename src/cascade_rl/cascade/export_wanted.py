"""What is wanted of an export, and what every kind of it does with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.cast import Cast
from cascade_rl.model.checkpoint import weights_hash

SHARD = 5 * 10**9  # bytes of one file of weights, as the hub's own tools divide
PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}  # of config.json, by our names


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a stage is exported.

    dtype      fp32, bf16 or fp16; None is that of the checkpoint
    gguf       whether a GGUF file is written beside the safetensors
    licence    as the card names it; None is that of the model which the run began with
    languages  of the card; empty is English where all data are made by this package
    repo       ORG/NAME under which the card's examples load it; None is the directory
    shard      the most bytes of one file of weights
    """

    dtype: str | None = None
    gguf: bool = False
    licence: str | None = None
    languages: Sequence[str] = ()
    repo: str | None = None
    shard: int = SHARD


def precision_of(raw: Mapping[str, Any]) -> str:
    """Our name of the precision of a checkpoint with this config.json."""
    return PRECISION[raw["dtype"]]


def refuse_other(place: Path, flat: Tensor, recorded: str | None) -> None:
    """Raise InputError where weights are not those that the ledger recorded; None is that of old ledgers."""
    found = weights_hash(flat)
    if recorded not in (None, found):
        raise InputError(
            f"{place} is not what the ledger recorded (checksum {found}, and there {recorded}): it is "
            "damaged, or was put there by hand; restore it"
        )


def weight_lines(folder: Path, made: Cast, recorded: str | None) -> list[str]:
    """Of the weights that were written: whose they are, what became of them, how much that is."""
    parts = sorted(folder.glob("model*.safetensors"))
    size = sum(part.stat().st_size for part in parts)
    return [
        f"checksum of the weights as trained: `{recorded}`, as the run's ledger has it",
        made.line(),
        f"{len(made.flat):,} parameters in {len(parts)} file{'s' * (len(parts) > 1)} of safetensors, "
        f"{size:,} bytes",
    ]
