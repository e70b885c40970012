"""The reward model of a stage, exported: what transformers scores with, its card, and the recipe."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.cascade import export_told as told
from cascade_rl.cascade.export_wanted import Wanted, precision_of, refuse_other, weight_lines
from cascade_rl.errors import InputError
from cascade_rl.model.cast import Cast, cast
from cascade_rl.model.checkpoint import load_reward_directory, read_config
from cascade_rl.model.export import export
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.report.licences import licence_keys
from cascade_rl.report.reward_card import write_reward_card
from cascade_rl.run.done import Done
from cascade_rl.train.learned_reward import head_shape
from cascade_rl.train.reward_body import BODY
from cascade_rl.train.reward_model import FOLDER


@dataclass(frozen=True, slots=True)
class Judge:
    """A reward model as it was read, its weights cast; `raw` is the config.json of its body."""

    raw: Mapping[str, Any]
    network: Network
    cast: Cast
    tokenizer: Tokenizer


def read(run: Path, done: Done, wanted: Wanted) -> Judge:
    """The reward model of a stage, held against the ledger; InputError where it or `wanted` can't be had."""
    if wanted.gguf:
        raise InputError(
            f"--gguf: {done.name} trained a reward model, of which there is no GGUF; leave it out"
        )
    # the body's config and the tokenizer with the template that was asked stand beside it
    own, folder = done.folder / BODY, done.folder / FOLDER
    checkpoint = own if own.is_dir() else run / done.entry.checkpoint.path
    raw, network = read_config(checkpoint)
    flat = load_reward_directory(folder, network)
    refuse_other(folder, flat, done.entry.exports.get(FOLDER))
    made = cast(flat, wanted.dtype or precision_of(raw))
    return Judge(raw, network, made, load_tokenizer(checkpoint))


def write(
    folder: Path, run: Path, recipe: Recipe, done: Done, model: Judge, wanted: Wanted
) -> tuple[str, ...]:
    """All files of an export; the lines that tell of it."""
    shapes = model.network.shapes() | head_shape(model.network)
    export(
        folder,
        model.raw,
        model.network,
        model.cast.flat,
        model.tokenizer,
        shapes,
        dtype=model.cast.dtype,
    )
    weights = weight_lines(folder, model.cast, done.entry.exports.get(FOLDER))
    facts = told.kept(done.folder / "stage.json", "stage", "settings", "data", "lineage")
    # the origin is the policy's: of another body nothing is known but what the user says
    origin = {} if (done.folder / BODY).is_dir() else facts.get("origin") or {}
    licence = licence_keys(wanted.licence) if wanted.licence else origin.get("licence")
    write_reward_card(folder, facts, licence or {}, weights)
    shutil.copyfile(run / "recipe.yaml", folder / "recipe.yaml")
    return ("its reward model, which AutoModelForSequenceClassification loads", *weights)
