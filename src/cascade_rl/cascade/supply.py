"""What a user's files give to training: how many rows of which use, and how long they are in a model's tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

from cascade_rl import chat
from cascade_rl.cascade.prospect import Prospect
from cascade_rl.data.shapes import Fit, Shape
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import BadRows, Reading
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_rows import own_table
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Demonstration, Mode, Pair, Problem, Split, Tally

T = TypeVar("T")

MEASURED = 1000  # items of a source whose tokens are counted
PERCENT = 95
MOST_ASKED = 200  # problems of a benchmark


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts and of replies; a reply of 0 tokens is one that nobody knows."""

    prompts: tuple[int, ...]
    replies: tuple[int, ...]

    def whole(self, percent: int = PERCENT) -> int:
        """Prompt and reply together, that share of them being no longer."""
        return percentile([p + r for p, r in zip(self.prompts, self.replies, strict=True)], percent)


@dataclass(frozen=True, slots=True)
class Chats:
    """Own conversations: how many replies they hold, and how many of those that were counted think."""

    source: str
    map: str
    replies: int
    thinking: float
    lengths: Lengths
    tally: Tally


@dataclass(frozen=True, slots=True)
class PairRows:
    """Own pairs: those for training, and those held out by a hash of their prompts.

    Of two answers the longer counts. `prompt` is what the column `prompt` holds: the field of a map, `prompt`
    for texts and `messages` for lists; None where there is no such column.
    """

    source: str
    map: str
    training: int
    heldout: int
    lengths: Lengths
    tally: Tally
    prompt: str | None


@dataclass(frozen=True, slots=True)
class Questions:
    """Own problems of a domain: those of RL, and those held out for a benchmark."""

    source: str
    map: Any
    domain: str
    split: str | None
    training: int
    heldout: int
    lengths: Lengths
    longest_heldout: int
    tally: Tally

    @property
    def reading(self) -> Reading:
        """How its rows are read; bad ones are left out."""
        return Reading(self.map, self.split, bad(self.tally))


def bad(tally: Tally) -> BadRows:
    """What a recipe has to say of bad rows, if there are any."""
    return "skip" if tally.bad else None


def percentile(values: Sequence[int], percent: int = PERCENT) -> int:
    """The least value that so many in a hundred do not exceed; 0 of none."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1] if values else 0


def chats_of(shape: Shape, fit: Fit, model: Prospect) -> Chats:
    """All rows of a file of conversations, through the map that they fit."""
    table = own_table(shape.source, CHAT_MAPS[str(fit.map)], skip=True)
    some = _some(table.items, shape.source)
    made = [item for found in some for item in found.demonstrations(shape.source, last=False)][:MEASURED]
    thinking = sum(item.problem.mode is Mode.THINKING for item in made) / max(1, len(made))
    replies = sum(len(found.replies) for found in table.items)
    return Chats(shape.source, str(fit.map), replies, thinking, _of_demonstrations(made, model), table.tally)


def _of_demonstrations(made: Sequence[Demonstration], model: Prospect) -> Lengths:
    prompts = tuple(model.prompt(item.problem) for item in made)
    return Lengths(prompts, tuple(model.count(f"{item.reply}{chat.TURN_END}") for item in made))


def texts_of(shape: Shape, fit: Fit) -> list[str]:
    """Conversations as they are trained on: what the tokenizer of a model from scratch is learnt from."""
    table = own_table(shape.source, CHAT_MAPS[str(fit.map)], skip=True)
    made = [
        item for found in _some(table.items, shape.source) for item in found.demonstrations("", last=False)
    ]
    return [chat.render(item.problem.messages, item.problem.mode, reply=item.reply) for item in made]


def pairs_of(shape: Shape, fit: Fit, model: Prospect) -> PairRows:
    """All rows of a file of pairs, each pair once, split as their stage splits them."""
    table = own_table(shape.source, PAIR_MAPS[str(fit.map)], skip=True)
    distinct = [found.pair(shape.source) for found in dict.fromkeys(table.items)]
    held = [split_of(p.problem.prompt_text) in (Split.VALIDATION, Split.HELDOUT) for p in distinct]
    some = _some(distinct, shape.source)
    lengths = Lengths(tuple(model.prompt(p.problem) for p in some), tuple(_longer(p, model) for p in some))
    training, heldout = len(held) - sum(held), sum(held)
    if not training or not heldout:
        raise InputError(
            f"{shape.source}: by a hash of their prompts {training} pairs are for training and {heldout} held "
            "out; both are needed: give more prompts"
        )
    return PairRows(shape.source, str(fit.map), training, heldout, lengths, table.tally, _prompt(shape))


def _prompt(shape: Shape) -> str | None:
    asked = [row.get("prompt") for row in shape.rows]
    if all(isinstance(one, str) and one for one in asked):
        return "prompt"
    return "messages" if all(isinstance(one, list) and one for one in asked) else None


def _longer(pair: Pair, model: Prospect) -> int:
    return max(model.count(f"{answer}{chat.TURN_END}") for answer in (pair.chosen, pair.rejected))


def questions_of(shape: Shape, fit: Fit, model: Prospect, *, sft: bool) -> Questions:
    """All rows of a file of problems, split by a hash of their prompts unless the rows say it themselves.

    With `sft` half of them are left to SFT. Raises InputError when nothing is left to train on or to measure.
    """
    if fit.domain is None:
        raise ValueError("problems are of a domain")
    domain = load_domain(fit.domain)
    said = {row.get("split") for row in shape.rows}
    split = None if said <= {str(split) for split in Split} else ("hash" if sft else "hash-rl")
    told: list[Tally] = []
    reading = Reading(fit.map, split, "skip")
    training = list(domain.problems(shape.source, Split.RL, 0, reading, told.append))
    heldout = list(domain.problems(shape.source, Split.HELDOUT, 0, reading))
    if not training or not heldout:
        raise InputError(
            f"{shape.source}: {len(training)} problems are left for RL and {len(heldout)} to measure it by "
            f"({told[0].line()}); give more rows"
        )
    some = _some(training, shape.source)
    replies = tuple(_known_reply(problem, model) for problem in some)
    lengths = Lengths(tuple(_longest_mode(problem, model) for problem in some), replies)
    # of those that a benchmark would ask
    longest = max(_longest_mode(problem, model) for problem in heldout[:MOST_ASKED])
    return Questions(
        shape.source, fit.map, fit.domain, split, len(training), len(heldout), lengths, longest, told[0]
    )


def _longest_mode(problem: Problem, model: Prospect) -> int:
    """Tokens of a prompt in the longer of both modes."""
    return max(model.prompt(problem.in_mode(mode)) for mode in Mode)


def _known_reply(problem: Problem, model: Prospect) -> int:
    """Tokens of a solution that came with the row; 0 where none did."""
    thought = problem.meta.get("thought")
    return model.count(f"{thought}\n\n{problem.answer}") if isinstance(thought, str) and thought else 0


def _some(items: Sequence[T], seed: str) -> list[T]:
    """So many of them as are counted, drawn alike on every machine."""
    if len(items) <= MEASURED:
        return list(items)
    return random.Random(seed).sample(list(items), MEASURED)
