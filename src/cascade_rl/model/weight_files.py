"""The files that hold the weights of a model directory: which they are, whether whole, what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.run.files import read_json

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# In this order, the first that is there counts; Mistral's repositories hold the same weights twice, under
# names of its own in `consolidated*`.
PATTERNS = ("model.safetensors", "*.safetensors", "pytorch_model*.bin")
OTHERS = ("consolidated*", "adapter_model*", "optimizer*", "training_args*")
# dtypes of safetensors that hold weights as they are; integers and 8-bit floats want scales beside them
PLAIN = ("F64", "F32", "F16", "BF16")


def indexed(folder: Path) -> list[str] | None:
    """The files that an index names, of safetensors rather than of .bin; None without an index.

    Raises InputError for an index that is none.
    """
    for name in INDEXES:
        found = read_json(folder / name)
        if found is None:
            continue
        files = found.get("weight_map") if isinstance(found, dict) else None
        named = set(files.values()) if isinstance(files, dict) else set()
        if not named or not all(isinstance(file, str) and file == Path(file).name for file in named):
            raise InputError(
                f"{folder / name} names no files (weight_map); copy it again, or save the model with "
                "save_pretrained"
            )
        return sorted(named)
    return None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a directory's weights; raises InputError where one is missing or none is there."""
    if (named := indexed(folder)) is not None:
        if missing := [name for name in named if not (folder / name).is_file()]:
            more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
            raise InputError(f"{folder} lacks {missing[0]}{more}, which its index names; copy it there")
        return [folder / name for name in named]
    for pattern in PATTERNS:
        found = sorted(
            path for path in folder.glob(pattern) if not any(path.match(other) for other in OTHERS)
        )
        if found:
            return found
    raise InputError(
        f"{folder} has no *.safetensors and no pytorch_model*.bin; save the model with save_pretrained"
    )


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model directory, as they are stored; raises InputError for a file that is cut off."""
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        # weights alone: a pickle could run any code
        plain = file.suffix == ".safetensors"
        read = load_file if plain else partial(torch.load, weights_only=True, map_location="cpu")
        try:
            found = read(file)
        except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
            raise cut_off(file, error) from None
        if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
            raise InputError(f"{file} holds no tensors by name; save the model with save_pretrained")
        state |= found
    return state


def check_files(folder: Path, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError when a directory's weights are cut off, or lack a tensor of these shapes.

    Only headers are read: values, and what lies in pytorch_model*.bin, are seen as the weights are loaded.
    """
    files = weight_files(folder)
    if files[0].suffix != ".safetensors":
        return
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                found |= {n: (str(p.get_dtype()), tuple(p.get_shape())) for n, p in parts.items()}
        except (SafetensorError, OSError) as error:
            raise cut_off(file, error) from None
    check_shapes(str(folder), {name: shape for name, (_, shape) in found.items()}, wanted)
    for name in wanted:
        if found[name][0] not in PLAIN:
            raise unreadable_dtype(str(folder), name, found[name][0])


def check_state(where: str, state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """The same of weights that are loaded, and that every number is finite; `where` they come from."""
    check_shapes(where, {name: tensor.shape for name, tensor in state.items()}, wanted)
    for name in wanted:
        tensor = state[name]
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise unreadable_dtype(where, name, str(tensor.dtype).removeprefix("torch."))
        if not (finite := tensor.isfinite()).all():
            raise InputError(
                f"{where}: {int((~finite).sum())} of {tensor.numel()} numbers of {name} are not finite "
                "(NaN or infinite): the model is damaged, or was trained to pieces; take another copy"
            )


def check_shapes(
    where: str, found: Mapping[str, Iterable[int]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise InputError, which names the first tensor, when weights are not of the wanted names and shapes."""
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{where}: the weights lack {len(missing)} tensors, the first is {missing[0]}; "
            "they belong to another config.json, or a file of them is missing"
        )
    for name, shape in wanted.items():
        if tuple(found[name]) != shape:
            raise InputError(
                f"{where}: {name} is {_size(found[name])} in the weights and {_size(shape)} by config.json: "
                "one of them belongs to another model"
            )


def cut_off(file: Path, error: BaseException) -> InputError:
    """What is said of a file that can't be read."""
    # one line: torch's own text goes over several
    reason = str(error).strip().partition("\n")[0]
    return InputError(f"{file} can't be read, its copy may be cut off: {reason}; copy it again")


def unreadable_dtype(where: str, name: str, dtype: str) -> InputError:
    """What is said of quantised weights."""
    return InputError(
        f"{where}: {name} is stored as {dtype}, which is quantised; take the model's version in bf16, fp16 "
        "or fp32"
    )


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
