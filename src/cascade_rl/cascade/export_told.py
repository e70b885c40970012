"""What the card of an exported model says, read from the files of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.cascade.cards import own_stages
from cascade_rl.data.suites import OWN
from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.hub_name import PREFIX
from cascade_rl.recipe.tables import of_a_table
from cascade_rl.report.card import Card
from cascade_rl.run.done import Done
from cascade_rl.run.files import read_record
from cascade_rl.run.journal import read_lines
from cascade_rl.scores.as_json import gate_from_json, scorecard_from_json
from cascade_rl.scores.judged import Judged
from cascade_rl.types import Message, Mode, Problem

QUESTION = "What is 3 + 4?"
MOST_TEXTS = 400  # of a run's samples, on which pre-tokenizers are tried


def read_card(recipe: Recipe, done: Sequence[Done], config: Mapping[str, Any]) -> Card:
    """The card of the last of these stages, from what they left; InputError where one is gone."""
    folder = done[-1].folder
    facts = kept(folder / "stage.json", "stage", "settings", "data", "lineage")
    cards = [kept(one.folder / "scorecard.json", "stage", "benchmarks") for one in done]
    gate = gate_from_json(kept(folder / "gate.json", "cells"))
    judged = {name: Judged.of_json(row) for name, row in cards[-1].get("judged", {}).items()}
    scored = [scorecard_from_json(card) for card in cards]
    return Card(facts, scored, own_stages(recipe), gate, recipe.benchmarks, config, judged)


def kept(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file that a stage left; InputError where it is gone."""
    found = read_record(path, *keys)
    if found is None:
        raise InputError(f"{path} is gone: without it nothing can be said of the stage; restore it")
    return found


def shown_prompts(tokenizer: Tokenizer) -> dict[Mode, str]:
    """One question as the chat template writes it in each mode that it has."""
    asked = Problem("shown", "shown", (Message("user", QUESTION),), None)
    return {mode: tokenizer.asked(asked.in_mode(mode)).rstrip("\n") for mode in tokenizer.template.modes}


def sources_of(recipe: Recipe, stages: int) -> dict[str, list[str]]:
    """The sources of the first so many stages and of the benchmarks, each with who draws from it."""
    found: dict[str, list[str]] = {}
    for name, user in [*_trained(recipe, stages), *_measured(recipe)]:
        users = found.setdefault(name, [])
        if user not in users:
            users.append(user)
    return found


def trained_sources(recipe: Recipe, stages: int) -> list[str]:
    """Those that the first so many stages train on."""
    return list(dict.fromkeys(name for name, _ in _trained(recipe, stages)))


def _trained(recipe: Recipe, stages: int) -> Iterator[tuple[str, str]]:
    for stage in recipe.stages[:stages]:
        for entry in stage.entries():
            yield _named(entry.domain, entry.source), stage.name
        for rows in stage.own_rows():
            yield rows.source, stage.name


def _measured(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for spec in recipe.benchmarks:
        own = load_benchmark(spec.suite) if spec.suite is not None and spec.source == OWN else None
        # a published one takes the first of its sources that is there
        name = " or ".join(own.sources) if own else _named(spec.domain, spec.source)
        yield name, f"benchmark {spec.name}"


def _named(domain: str | None, source: str) -> str:
    """A table by its own name; what a domain makes by the domain's, too."""
    return source if domain is None or of_a_table(source) else f"{domain}: {source}"


def hub_sets(sources: Sequence[str]) -> list[str]:
    """The data sets of a hub among sources, as a card's front matter names them."""
    names = (name.removeprefix(PREFIX) for name in sources if name.startswith(PREFIX))
    return list(dict.fromkeys(name.partition("@")[0].partition("#")[0] for name in names))


def languages_of(sources: Sequence[str]) -> list[str]:
    """English where all data are of our own making; empty where tables hold nobody knows what."""
    return [] if any(of_a_table(name) for name in sources) else ["en"]


def sampled_texts(folder: Path) -> list[str]:
    """Prompts and replies of a stage's samples, without what is no text."""
    found: dict[str, None] = {}
    for row in read_lines(folder / "samples.jsonl"):
        for key in ("prompt", "reply"):
            # half a character that was sampled can't be encoded
            found[str(row.get(key, "")).encode(errors="replace").decode()] = None
    return list(found)[:MOST_TEXTS]
