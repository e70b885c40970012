"""A schema: how a kind of word problem is told, with which numbers, and by which steps it is worked out.

Tellings and the words of steps are texts with places in braces:

    {A} {B} {C}      names; {Ahe} {AHe} {Aher} (her or his) the pronouns of A
    {a} {b} {n} ...  numbers of the draw, in figures or in words
    {a:thing}        a number with what is counted, of which there are two or more; {a:money} in dollars
    {things} {thing} {boxes} {kind} {place} ...   words that are drawn, see `_words`
    |                where the story ends and the question begins
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from cascade_rl.sources.stories.words import (
    BOXES,
    HE,
    KINDS,
    LARGEST_IN_WORDS,
    LENGTHS,
    PEOPLE,
    PLACES,
    PRONOUNS,
    SHE,
    THINGS,
    WAYS,
    Noun,
    in_words,
)
from cascade_rl.sources.worked.arithmetic import Paper, said

Facts = Mapping[str, int | str]
PLACE = re.compile(r"\{(\w+)(?::(\w+))?\}")
STEP = re.compile(r"(\w+) = (\w+) (\+|-|\*|/|//|%) (\w+)")
IN_WORDS, DISTRACTED = 0.25, 0.15

# numbers that nothing is asked of
DISTRACTORS = (
    "{A} is {z} years old.",
    "It is {z} degrees outside today.",
    "{A} lives at number {z} in a quiet street.",
    "The bus that {A} takes has the number {z}.",
    "There are {z} windows in the house of {A}.",
    "{A} got up at {y} o'clock this morning.",
    "This is day {z} of the holidays.",
)


@dataclass(frozen=True, slots=True)
class Schema:
    """A kind of word problem.

    draw       the numbers of a problem by name; texts are numbers with a point
    tellings   ways to tell it, story and question apart by `|`
    steps      (what is worked out, such as `{b} more than {a}`; the step, such as `s = a + b`), the last one
               gives the answer. `q = t // k` is how often k goes into t, `r = t % k` what is left
    distracts  whether another number may stand in it
    """

    name: str
    draw: Callable[[random.Random], Facts]
    tellings: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    distracts: bool = True


@dataclass(frozen=True, slots=True)
class Story:
    """A told problem: its text, the lines that lead to its answer, and the numbers that it was made of."""

    schema: str
    text: str
    lines: tuple[str, ...]
    answer: str
    facts: Facts


def tell(schema: Schema, rng: random.Random) -> Story:
    """A story of a schema."""
    facts = schema.draw(rng)
    words = _words(rng)
    story, _, question = (part.strip() for part in rng.choice(schema.tellings).partition("|"))
    if schema.distracts and rng.random() < DISTRACTED:
        extra = rng.choice(DISTRACTORS)
        behind = story.endswith(".") and rng.random() < 0.5
        story = f"{story} {extra}" if behind else f"{extra} {story}"
    told = {**facts, "z": rng.randint(11, 60), "y": rng.randint(6, 9)}
    fill = partial(_filled, facts=told, words=words, style="words" if rng.random() < IN_WORDS else "figures")
    lines, answer = _worked(schema.steps, facts)
    return Story(schema.name, _sentences(PLACE.sub(fill, f"{story} {question}")), lines, answer, facts)


def _words(rng: random.Random) -> dict[str, str | Noun]:
    """Everything that a telling may name besides its numbers."""
    found: dict[str, str | Noun] = {}
    for letter, name in zip("ABC", rng.sample([*SHE, *HE], 3), strict=True):
        he, his = PRONOUNS[name]
        found |= {letter: name, f"{letter}he": he, f"{letter}He": he.capitalize(), f"{letter}her": his}
    found["kind"], found["other_kind"], found["third_kind"] = rng.sample(KINDS, 3)
    found["place"], found["other_place"] = rng.sample(PLACES, 2)
    nouns = dict(zip(("thing", "other", "third"), rng.sample(THINGS, 3), strict=True))
    nouns |= {"box": rng.choice(BOXES), "person": rng.choice(PEOPLE)}
    nouns |= {"length": rng.choice(LENGTHS), "way": rng.choice(WAYS)}
    for key, noun in nouns.items():
        found |= {key: noun, PLURALS[key]: noun.many}
    return found


PLURALS = {
    "thing": "things", "other": "others", "third": "thirds", "box": "boxes", "person": "people",
    "length": "lengths", "way": "ways",
}  # fmt: skip


def _filled(place: re.Match[str], *, facts: Facts, words: Mapping[str, str | Noun], style: str) -> str:
    """What stands in a place; numbers that are large, or have a point, are in figures whatever the style."""
    key, counted = place[1], place[2]
    if key not in facts:
        word = words[key]
        return word.one if isinstance(word, Noun) else word
    value = facts[key]
    spoken = style == "words" and isinstance(value, int) and value <= LARGEST_IN_WORDS
    shown = in_words(int(value)) if spoken else f"{value:,}" if isinstance(value, int) else value
    if counted is None:
        return shown
    if counted == "money":
        return f"{shown} dollars" if spoken else f"${shown}"
    noun = words[counted]
    assert isinstance(noun, Noun)
    return f"{shown} {noun.many}"


def _worked(steps: Sequence[tuple[str, str]], facts: Facts) -> tuple[tuple[str, ...], str]:
    """The lines of all steps, and what the last one comes to."""
    values = {name: Decimal(value) for name, value in facts.items()}
    lines: list[str] = []
    for label, step in steps:
        found = STEP.fullmatch(step)
        assert found is not None, step
        name, a, sign, b = found.groups()
        x, y = (values[side] if side in values else Decimal(side) for side in (a, b))
        paper = Paper(False)
        values[name] = _done(paper, x, sign, y)
        told = label.format(**{key: said(value) for key, value in values.items()})
        # the words, and beside them the sum where it is one
        lines += [f"{told}: {paper.lines[0]}", *paper.lines[1:]]
    return tuple(lines), said(values[name])


def _done(paper: Paper, x: Decimal, sign: str, y: Decimal) -> Decimal:
    if sign == "+":
        return paper.plus(x, y)
    if sign == "-":
        return paper.minus(x, y)
    if sign == "*" and y == y.to_integral_value():
        return paper.times(x, y)
    if sign == "*":
        paper.lines.append(f"{said(x)}*{said(y)}={said(x * y)}")
        return x * y
    if sign == "/":
        return paper.over(x, y)
    times, rest = divmod(int(x), int(y))
    paper.lines.append(f"{said(y)}*{times}={said(y * times)}, {said(x)}-{said(y * times)}={rest}")
    return Decimal(times if sign == "//" else rest)


def _sentences(text: str) -> str:
    """Each sentence with a capital letter, which a number in words may lack, and `an` before a vowel."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)
