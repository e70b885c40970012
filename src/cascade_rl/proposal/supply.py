"""What files give to training: how many rows of which use, and how long they are in a model's tokens."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from cascade_rl import chat
from cascade_rl.data.pair_benchmark import pair_benchmark
from cascade_rl.data.shapes import Fit, Shape
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.proposal.prospect import Prospect
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.chats import Chat
from cascade_rl.sources.own_maps import Said, chat_map, pair_map
from cascade_rl.sources.own_rows import Counts, own_rows
from cascade_rl.sources.preferences import Preference
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Demonstration, Mode, Pair, Problem, Split, Tally

T = TypeVar("T")

MEASURED = 1000  # items of a source whose tokens are counted
PERCENT = 95
MOST_ASKED = 200  # problems of a benchmark


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts and of replies, one by one; a reply of 0 tokens is one that nobody knows."""

    prompts: tuple[int, ...]
    replies: tuple[int, ...]

    @property
    def whole(self) -> list[int]:
        """Prompts with their replies."""
        return [prompt + reply for prompt, reply in zip(self.prompts, self.replies, strict=True)]


@dataclass(frozen=True, slots=True)
class Own:
    """Rows of a user's own that hold what is trained on, and how their source is read."""

    source: str
    map: Said
    tally: Tally


@dataclass(frozen=True, slots=True)
class Chats(Own):
    """Conversations: how many replies they hold, in which modes, and some of them."""

    replies: int
    modes: frozenset[Mode]
    thinking: float
    some: tuple[Demonstration, ...]

    def lengths(self, model: Prospect) -> Lengths:
        """Of some of the replies."""
        taught = [model.taught(item) for item in self.some]
        return Lengths(tuple(prompt for prompt, _ in taught), tuple(reply for _, reply in taught))

    def texts(self) -> list[str]:
        """As they are trained on: what the tokenizer of a model from scratch is learnt from."""
        asked = [(item.problem, item.reply) for item in self.some]
        return [chat.render(problem.messages, problem.mode, reply=reply) for problem, reply in asked]


@dataclass(frozen=True, slots=True)
class PairRows(Own):
    """Pairs: those for training, those held out by a hash of their prompts, some of both, and a benchmark's.

    `prompt` is what the column of the prompt holds, as the field of a map: `prompt` of texts, `messages` of
    lists; None where there is no such column. `column` is its name.
    """

    training: int
    heldout: int
    some: tuple[Pair, ...]
    asked: tuple[Problem, ...]
    prompt: str | None
    column: str

    def lengths(self, model: Prospect) -> Lengths:
        """Of some of the pairs, of two answers the longer."""
        prompts = tuple(model.prompt(pair.problem) for pair in self.some)
        answers = [
            max(
                model.taught(Demonstration(_asked(pair, model), one))[1]
                for one in (pair.chosen, pair.rejected)
            )
            for pair in self.some
        ]
        return Lengths(prompts, tuple(answers))


def _asked(pair: Pair, model: Prospect) -> Problem:
    return pair.problem if pair.problem.mode in model.modes else pair.problem.in_mode(model.modes[0])


@dataclass(frozen=True, slots=True)
class Questions:
    """Problems of a domain: those of RL and those held out for a benchmark, some of both."""

    source: str
    map: str | Mapping[str, Any] | None
    tally: Tally
    domain: str
    split: str | None
    training: int
    heldout: int
    some: tuple[Problem, ...]
    asked: tuple[Problem, ...]

    def lengths(self, model: Prospect) -> Lengths:
        """Of some of the problems, with the solutions that came with their rows."""
        return Lengths(tuple(map(model.prompt, self.some)), tuple(_known(p, model) for p in self.some))

    def longest_asked(self, model: Prospect) -> int:
        """Tokens of the longest prompt of the benchmark."""
        return max(map(model.prompt, self.asked))


def _known(problem: Problem, model: Prospect) -> int:
    """Tokens of a solution that came with the row; 0 where none did."""
    thought = problem.meta.get("thought")
    if not isinstance(thought, str) or not thought:
        return 0
    return len(model.tokenizer.reply(f"{thought}\n\n{problem.answer}"))


def percentile(values: Sequence[int], percent: int = PERCENT) -> int:
    """The least value that so many in a hundred do not exceed; 0 of none."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1] if values else 0


def chats_of(shape: Shape, said: Said) -> Chats:
    """All rows of a file of conversations, through the map that they fit; a sample of them is kept."""
    counts, some = Counts[Chat](), Sample[Chat](shape.source)
    replies, modes = 0, set[Mode]()
    for row in own_rows(shape.source, chat_map(said)):
        if (found := counts.add(row)) is not None:
            some.add(found)
            replies += len(found.replies)
            modes |= {mode for _, mode in found.replies}
    made = [item for found in some.items for item in found.demonstrations(shape.source, last=False)]
    counted = made[:MEASURED]
    thinking = sum(item.problem.mode is Mode.THINKING for item in counted) / len(counted)
    tally = counts.tally(shape.source)
    return Chats(shape.source, said, tally, replies, frozenset(modes), thinking, tuple(counted))


def pairs_of(shape: Shape, said: Said) -> PairRows:
    """All rows of a file of pairs, each pair once, split as their stage splits them; a sample is kept.

    Raises InputError when there are none for training or none for measuring.
    """
    counts, some = Counts[Preference](), Sample[Pair](shape.source)
    training = heldout = 0
    # by a hash of eight bytes: the pairs themselves may be more than fit
    seen: set[int] = set()
    for row in own_rows(shape.source, pair_map(said)):
        found = counts.add(row)
        if found is None or hash(found) in seen:
            continue
        seen.add(hash(found))
        pair = found.pair(shape.source)
        some.add(pair)
        held = split_of(pair.problem.prompt_text) in (Split.VALIDATION, Split.HELDOUT)
        training, heldout = training + (not held), heldout + held
    if not training or not heldout:
        raise InputError(
            f"{shape.source}: by a hash of their prompts {training} pairs are for training and {heldout} "
            "held out; both are needed: give more prompts"
        )
    tally = counts.tally(shape.source)
    wins = BenchmarkSpec.model_validate(
        {
            "name": "wins",
            "source": shape.source,
            "map": said,
            "bad_rows": {"skip": 1.0},
            "problems": MOST_ASKED,
        }
    )
    asked = pair_benchmark(wins, Split.HELDOUT).problems
    column = _column(said)
    prompt = _prompt(shape, column)
    return PairRows(shape.source, said, tally, training, heldout, tuple(some.items), asked, prompt, column)


def _column(said: Said) -> str:
    """The column of a pair's prompt: that of an own map, or what the named maps call it."""
    field = said.get("prompt") if isinstance(said, Mapping) else None
    return str(field["column"]) if isinstance(field, Mapping) and "column" in field else "prompt"


def _prompt(shape: Shape, column: str) -> str | None:
    asked = [row.get(column) for row in shape.rows]
    if all(isinstance(one, str) and one for one in asked):
        return "prompt"
    return "messages" if all(isinstance(one, list) and one for one in asked) else None


def questions_of(shape: Shape, fit: Fit) -> Questions:
    """All rows of a file of problems, split by a hash of their prompts unless the rows say it themselves.

    Raises InputError when nothing is left to train on or to measure.
    """
    if fit.domain is None:
        raise ValueError("problems are of a domain")
    domain = load_domain(fit.domain)
    said = {row.get("split") for row in shape.rows}
    split = None if said <= {str(split) for split in Split} else "hash-rl"
    told: list[Tally] = []
    reading = Reading(fit.map, split, {"skip": 1.0})
    training = list(domain.problems(shape.source, Split.RL, 0, reading, told.append))
    heldout = list(domain.problems(shape.source, Split.HELDOUT, 0, reading))
    if not training or not heldout:
        raise InputError(
            f"{shape.source}: {len(training)} problems are left for RL and {len(heldout)} to measure it by "
            f"({told[0].line()}); give more rows"
        )
    some, asked = tuple(_some(training, shape.source)), tuple(heldout[:MOST_ASKED])
    return Questions(
        shape.source, fit.map, told[0], fit.domain, split, len(training), len(heldout), some, asked
    )


class Sample(Generic[T]):
    """`MEASURED` of a stream of items, each as likely, drawn alike on every machine."""

    def __init__(self, seed: str) -> None:
        self.items: list[T] = []
        self._rng, self._seen = random.Random(seed), 0

    def add(self, item: T) -> None:
        """The next of the stream, which may take another's place (algorithm R)."""
        self._seen += 1
        if len(self.items) < MEASURED:
            self.items.append(item)
        elif (place := self._rng.randrange(self._seen)) < MEASURED:
            self.items[place] = item


def _some(items: Sequence[T], seed: str) -> list[T]:
    """So many of them as are counted."""
    sample = Sample[T](seed)
    for item in items:
        sample.add(item)
    return sample.items
