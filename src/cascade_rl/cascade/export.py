"""A stage's model for others: a directory that loads elsewhere, with a card that says what it is.

The checkpoint of a run is the run's own; here it is checked against the ledger, cast, divided into files of a
size that a hub takes, told how it is sampled, and written with its scores, its recipe and its history.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from cascade_rl.cascade import export_told as told
from cascade_rl.errors import InputError
from cascade_rl.model.cast import Cast, cast
from cascade_rl.model.checkpoint import load_directory, read_generation, weights_hash
from cascade_rl.model.export import export
from cascade_rl.model.gguf_writer import KINDS, About, check_gguf, write_gguf
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.reading import stored
from cascade_rl.report.card_use import drawn_as
from cascade_rl.report.export_card import GgufTold, Told, export_card
from cascade_rl.report.licences import licence_keys
from cascade_rl.run.done import Done, done_stage, done_stages
from cascade_rl.run.files import Saving, read_record, sync_folder, write_text

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


@dataclass(frozen=True, slots=True)
class Made:
    """What was exported: where, of which stage, and what is to be known of it, in lines."""

    folder: Path
    stage: Done
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Model:
    """A checkpoint as it was read."""

    raw: Mapping[str, Any]
    network: Network
    cast: Cast
    tokenizer: Tokenizer
    generation: Mapping[str, Any]


def export_stage(run: Path, word: str, out: Path, wanted: Wanted) -> Made:
    """Export the policy of a stage, called by name, number or `last`, into a directory that is not there yet.

    Raises InputError, before anything is written, for a stage that is not done, a checkpoint that is not what
    the ledger recorded, and whatever of `wanted` can't be had.
    """
    done = done_stage(run, word)
    refuse_full(out)
    if wanted.licence:
        licence_keys(wanted.licence)
    file = run / "recipe.yaml"
    recipe = stored(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    if recipe.stages[done.index].trains == "reward_model":
        raise InputError(
            f"{done.name} trained a reward model; the policy after it is that of the stage before. The "
            f"reward model lies in {done.folder / 'reward_model'} with a card of its own, and transformers loads "
            "it from there"
        )
    model = _read(run, done, wanted)
    with placed(out) as folder:
        lines = _write(folder, run, recipe, done, model, wanted)
    return Made(out, done, lines)


def refuse_full(out: Path) -> None:
    """Raise InputError where something lies at `out` that is no empty directory."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise InputError(f"{out} is there already: name a directory that is not, or an empty one")


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all went well, and is gone otherwise."""
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with Saving(out, temporary):
            out.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.rename(out)
            sync_folder(out.parent)
    finally:
        # gone where all went well: it has another name now
        shutil.rmtree(temporary, ignore_errors=True)


def _read(run: Path, done: Done, wanted: Wanted) -> _Model:
    checkpoint = run / done.entry.checkpoint.path
    raw, network, flat = load_directory(checkpoint)
    _refuse_other(checkpoint, flat, done)
    dtype = wanted.dtype or PRECISION[raw["dtype"]]
    if wanted.gguf:
        check_gguf(raw, network)
    return _Model(raw, network, cast(flat, dtype), load_tokenizer(checkpoint), read_generation(checkpoint))


def _refuse_other(checkpoint: Path, flat: Tensor, done: Done) -> None:
    recorded = done.entry.checkpoint.weights_hash
    if (found := weights_hash(flat)) != recorded:
        raise InputError(
            f"{checkpoint} is not what the ledger recorded (checksum {found}, and there {recorded}): it is "
            "damaged, or was put there by hand; restore it"
        )


def _write(
    folder: Path, run: Path, recipe: Recipe, done: Done, model: _Model, wanted: Wanted
) -> tuple[str, ...]:
    """All files of an export; the lines that tell of it."""
    dtype = model.cast.dtype
    drawn = drawn_as(recipe.benchmarks, model.raw)
    settings: dict[str, Any] = {
        "do_sample": True,
        "temperature": drawn.temperature,
        "top_p": drawn.top_p,
        # transformers would cut at 50 of itself
        "top_k": 0,
        "max_new_tokens": drawn.tokens,
    } | ({"min_p": drawn.min_p} if drawn.min_p else {})
    export(
        folder,
        model.raw,
        model.network,
        model.cast.flat,
        model.tokenizer,
        generation={**model.generation, **settings},
        dtype=dtype,
        shard=wanted.shard,
    )
    gguf = _gguf(folder, done, recipe, model, settings) if wanted.gguf else None
    parts = sorted(folder.glob("model*.safetensors"))
    size = sum(part.stat().st_size for part in parts)
    weights = [
        f"checksum of the weights as trained: `{done.entry.checkpoint.weights_hash}`, as the run's ledger "
        "has it",
        model.cast.line(),
        f"{len(model.cast.flat):,} parameters in {len(parts)} file{'s' * (len(parts) > 1)} of safetensors, "
        f"{size:,} bytes",
    ]
    config = read_record(folder / "config.json") or {}
    before = done_stages(run)[: done.index + 1]
    card = told.read_card(recipe, before, config)
    sources = told.sources_of(recipe, done.index + 1)
    text = export_card(
        Told(
            card,
            [one.entry for one in before],
            told.shown_prompts(model.tokenizer),
            weights,
            sources,
            model.network.max_positions,
            wanted.repo,
            wanted.licence,
            wanted.languages or told.languages_of(list(sources)),
            told.hub_sets(list(sources)),
            gguf,
            recipe.smoke,
        )
    )
    write_text(folder / "README.md", text)
    for name, place in (("scorecard.json", done.folder), ("recipe.yaml", run)):
        shutil.copyfile(place / name, folder / name)
    gate = () if card.gate.passed else (f"the gate DID NOT PASS: {'; '.join(card.gate.notes)}",)
    return (*gate, *weights, *([f"{gguf.file}: {gguf.line}"] if gguf else []))


def _gguf(folder: Path, done: Done, recipe: Recipe, model: _Model, settings: Mapping[str, Any]) -> GgufTold:
    dtype = model.cast.dtype
    name = f"{recipe.name}-{done.name}"
    file = f"{name}-{KINDS[dtype][0]}.gguf"
    sampling = {"temp": settings["temperature"], "top_p": settings["top_p"]}
    cut = write_gguf(
        folder / file,
        model.raw,
        model.network,
        model.cast.flat,
        model.tokenizer,
        dtype,
        About(name, sampling),
        told.sampled_texts(done.folder),
    )
    return GgufTold(file, cut.line())
