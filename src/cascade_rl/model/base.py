"""What a run starts from: the device, the tokenizer, the first model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import (
    load_directory,
    read_config,
    read_generation,
    scratch_config,
    scratch_weights,
    weights_hash,
)
from cascade_rl.model.choice import network_of
from cascade_rl.model.decoder import DecoderConfig, flat_size, views
from cascade_rl.model.export import export
from cascade_rl.model.network import Network
from cascade_rl.model.pretrained import Origin, find_model
from cascade_rl.model.tokenizer import check_vocabulary, load_tokenizer, train_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.run.files import Saving, read_json, write_json

NOTES = "notes.json"


class Asked(Protocol):
    """On what to compute, and how: a recipe, or what a command was told."""

    @property
    def device(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def precision(self) -> str: ...


def choose_device(recipe: Asked) -> tuple[str, str]:
    """The device, and the precision of matrix products: bf16 where the processor multiplies it natively."""
    device = recipe.device
    if device == "auto":
        # several workers are several processes on a CPU, or a GPU each, which a recipe has to ask for
        device = "cuda" if torch.cuda.is_available() and recipe.workers == 1 else "cpu"
    precision = recipe.precision
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if native else "fp32"
    return device, precision


def make_base(recipe: Recipe, texts: Sequence[str], base: Path, tokens: Path) -> None:
    """Write the tokenizer (a scratch model's: learnt from `texts`) and the model of the first stage.

    Raises InputError where tokenizer and model do not fit each other or the recipe.
    """
    spec = recipe.model
    generation: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    notes: list[str] = []
    config: Network
    scaling = {} if spec.rope_scaling is None else spec.rope_scaling.settings()
    # `scratch`: the recipe fills in both, and neither for any other
    if spec.tokenizer is not None and spec.architecture is not None:
        # evenly over all texts, which come stage by stage and domain by domain
        stride = max(1, len(texts) // spec.tokenizer.samples)
        tokenizer = train_tokenizer(texts[::stride], spec.tokenizer.vocab_size)
        size = len(tokenizer.inner)
        raw = scratch_config(spec.architecture, size, tokenizer.end_id, tokenizer.pad_id)
        raw = with_scaling(raw, scaling)
        decoder = DecoderConfig.from_hf(raw)
        config, flat = decoder, scratch_weights(decoder, recipe.seed)
    else:
        found = find_model(spec.init, spec.commit)
        source = found.folder
        raw, config, flat = load_directory(source)
        tokenizer = load_tokenizer(source, add=spec.add_tokens, template=spec.template)
        origin = origin_of(found, weights_hash(flat), unchanged=not (scaling or tokenizer.added))
        raw = with_scaling(raw, scaling)
        config = network_of(raw)
        generation = read_generation(source)
        check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, source)
        if tokenizer.added:
            raw, config, flat = with_rows(raw, config, flat, tokenizer.size, len(tokenizer.added))
            names = ", ".join(f"`{name}`" for name in tokenizer.added)
            notes.append(
                f"model.add_tokens: {names} added to the tokenizer; their rows of embedding and head "
                "begin as the mean of the others"
            )
        notes += tokenizer.template.words()
        if tokenizer.lead:
            notes.append(f"every conversation begins with `{tokenizer.lead}`, as this tokenizer has it")
    if config.BY != DecoderConfig.BY:
        notes.append(config.described(raw))
    if scaling:
        notes.append("model.rope_scaling: " + ", ".join(f"{k} {v}" for k, v in scaling.items()))
    config.prove(flat)
    with Saving(tokens):
        tokens.mkdir(parents=True, exist_ok=True)
        tokenizer.save(tokens)
    write_json(tokens / NOTES, notes)  # before the model, whose config.json says that all is there
    # half the room where the model comes in bf16, as most do; never rounded
    dtype = "bf16" if spec.export_dtype == "bf16" and torch.equal(flat, flat.bfloat16().float()) else "fp32"
    export(base, raw, config, flat, tokenizer, generation=generation, dtype=dtype, origin=origin)


def base_config(recipe: Recipe, folder: Path) -> tuple[dict[str, Any], Network]:
    """A directory's config.json as `make_base` would write it: with the recipe's RoPE and its positions."""
    raw, config = read_config(folder)
    scaling = recipe.model.rope_scaling
    if scaling is None:
        return raw, config
    raw = with_scaling(raw, scaling.settings())
    return raw, network_of(raw)


def origin_of(found: Origin, weights: str, *, unchanged: bool) -> dict[str, Any]:
    """What a run keeps of where its first model came from; see docs/runs.md."""
    told = {"name": found.name, "commit": found.commit, "weights": weights, "unchanged": unchanged}
    return {**told, "licence": dict(found.licence)}


def base_notes(tokens: Path) -> list[str]:
    """What `make_base` did to model and tokenizer, in words; empty also for runs of before it said so."""
    return list(read_json(tokens / NOTES) or [])


def with_scaling(raw: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with this RoPE scaling instead of its own, under both names that readers know."""
    if not scaling:
        return dict(raw)
    theta = network_of(raw).rope_theta()
    # transformers reads the first, vLLM and older versions the second with the base beside it
    # how much of each head is turned is no matter of scaling
    own = raw.get("rope_parameters") or {}
    kept = {key: own[key] for key in ("partial_rotary_factor",) if key in own and key not in scaling}
    settings = {**scaling, "rope_theta": theta, **kept}
    return {**raw, "rope_parameters": settings, "rope_scaling": dict(scaling), "rope_theta": theta}


def stretched(raw: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A config.json whose positions are `factor` times as many by YaRN (arXiv 2309.00071), 4.2 in the paper.

    Raises InputError where its RoPE is scaled already: two scalings would not be the model's any more.
    """
    told = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if (told.get("rope_type") or told.get("type") or "default") != "default":
        raise InputError("the model's RoPE is scaled already: it can't be stretched by YaRN once more")
    before = int(raw.get("max_position_embeddings", 2048))
    settings = {"rope_type": "yarn", "factor": float(factor), "original_max_position_embeddings": before}
    return {**with_scaling(raw, settings), "max_position_embeddings": int(before * factor)}


def with_rows(
    raw: Mapping[str, Any], config: Network, flat: Tensor, size: int, new: int
) -> tuple[dict[str, Any], Network, Tensor]:
    """A model whose last `new` of `size` tokens have the mean of the others' rows in embedding and head.

    Rows that the model had for padding are taken first; it grows where they are too few.
    """
    wider = config.widened(max(config.vocab, size))
    grown = torch.empty(flat_size(wider.shapes()))
    found = views(grown, wider.shapes())
    for name, tensor in views(flat, config.shapes()).items():
        found[name][: len(tensor)] = tensor
        if name in wider.by_token():
            found[name][size - new : size] = tensor[: size - new].mean(0)
    return {**raw, "vocab_size": wider.vocab}, wider, grown
