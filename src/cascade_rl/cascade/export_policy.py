"""The policy of a stage, exported: weights, sampling by the recipe, card, scores, recipe, GGUF if wanted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.cascade import export_told as told
from cascade_rl.cascade.export_wanted import Wanted, precision_of, refuse_other, weight_lines
from cascade_rl.model.cast import Cast, cast
from cascade_rl.model.checkpoint import load_directory, read_generation
from cascade_rl.model.export import export
from cascade_rl.model.gguf_writer import KINDS, About, check_gguf, write_gguf
from cascade_rl.model.network import Network
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.report.card_use import drawn_as
from cascade_rl.report.export_card import GgufTold, Told, export_card
from cascade_rl.run.done import Done, done_stages
from cascade_rl.run.files import read_record, write_text


@dataclass(frozen=True, slots=True)
class Policy:
    """A checkpoint as it was read, its weights cast."""

    raw: Mapping[str, Any]
    network: Network
    cast: Cast
    tokenizer: Tokenizer
    generation: Mapping[str, Any]


def read(run: Path, done: Done, wanted: Wanted) -> Policy:
    """The checkpoint of a stage, held against the ledger; InputError where it or `wanted` can't be had."""
    checkpoint = run / done.entry.checkpoint.path
    raw, network, flat = load_directory(checkpoint)
    refuse_other(checkpoint, flat, done.entry.checkpoint.weights_hash)
    if wanted.gguf:
        check_gguf(raw, network)
    made = cast(flat, wanted.dtype or precision_of(raw))
    return Policy(raw, network, made, load_tokenizer(checkpoint), read_generation(checkpoint))


def write(
    folder: Path, run: Path, recipe: Recipe, done: Done, model: Policy, wanted: Wanted
) -> tuple[str, ...]:
    """All files of an export; the lines that tell of it."""
    settings = _sampling(recipe, model.raw)
    export(
        folder,
        model.raw,
        model.network,
        model.cast.flat,
        model.tokenizer,
        generation={**model.generation, **settings},
        dtype=model.cast.dtype,
        shard=wanted.shard,
    )
    gguf = _gguf(folder, done, recipe, model, settings) if wanted.gguf else None
    weights = weight_lines(folder, model.cast, done.entry.checkpoint.weights_hash)
    before = done_stages(run)[: done.index + 1]
    card = told.read_card(recipe, before, read_record(folder / "config.json") or {})
    trained = told.trained_sources(recipe, done.index + 1)
    text = export_card(
        Told(
            card=card,
            entries=[one.entry for one in before],
            prompts=told.shown_prompts(model.tokenizer),
            weights=weights,
            sources=told.sources_of(recipe, done.index + 1),
            positions=model.network.max_positions,
            repo=wanted.repo,
            licence=wanted.licence,
            languages=wanted.languages or told.languages_of(trained),
            datasets=told.hub_sets(trained),
            gguf=gguf,
            smoke=recipe.smoke,
        )
    )
    write_text(folder / "README.md", text)
    for name, place in (("scorecard.json", done.folder), ("recipe.yaml", run)):
        shutil.copyfile(place / name, folder / name)
    gate = [] if card.gate.passed else [f"the gate DID NOT PASS: {'; '.join(card.gate.notes)}"]
    smoke = ["of a smoke run: two steps a stage, these weights are of no use"] if recipe.smoke else []
    return (*gate, *smoke, *weights, *([f"{gguf.file}: {gguf.line}"] if gguf else []))


def _sampling(recipe: Recipe, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Of generation_config.json: as the recipe's benchmarks are drawn."""
    drawn = drawn_as(recipe.benchmarks, raw)
    settings = {"do_sample": True, "temperature": drawn.temperature, "top_p": drawn.top_p}
    if drawn.min_p:
        settings["min_p"] = drawn.min_p
    # transformers would cut at the 50 likeliest of itself
    return {**settings, "top_k": 0, "max_new_tokens": drawn.tokens}


def _gguf(folder: Path, done: Done, recipe: Recipe, model: Policy, settings: Mapping[str, Any]) -> GgufTold:
    name = f"{recipe.name}-{done.name}"
    file = f"{name}-{KINDS[model.cast.dtype][0]}.gguf"
    texts: Sequence[str] = told.sampled_texts(done.folder)
    cut = write_gguf(
        folder / file,
        model.raw,
        model.network,
        model.cast.flat,
        model.tokenizer,
        model.cast.dtype,
        About(name, {"temp": settings["temperature"], "top_p": settings["top_p"]}),
        texts,
    )
    return GgufTold(file, cut.line())
