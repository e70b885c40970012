"""Instructions of our own, `cascade:*`, for the small world of the builtin problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.verify.instructions.table import COUNT, TEXT, WORDS, Instruction
from cascade_rl.verify.instructions.text import QUOTES, words

PREFIX = "cascade:"  # tells problems of the small world: they have one scoring for RL and benchmark
MARK_NAMES = {"!": "an exclamation mark", "?": "a question mark", ".": "a full stop"}


def different_words(text: str, least: int, most: int) -> bool:
    """A number of words in a range, none twice."""
    found = words(text)
    return least <= len(found) <= most and len(set(found)) == len(found)


def first_word(text: str, word: str) -> bool:
    """The first word."""
    return words(text)[:1] == [word.lower()]


def last_word(text: str, word: str) -> bool:
    """The last word."""
    return words(text)[-1:] == [word.lower()]


def comma_separated(text: str) -> bool:
    """A comma between every two words."""
    pieces = text.strip().strip(QUOTES).rstrip(".!?").split(",")
    return len(pieces) > 1 and all(len(words(piece)) == 1 for piece in pieces)


def on_topic(text: str, topic_words: Sequence[str], least: int) -> bool:
    """At least so many of some words."""
    return len(set(words(text)) & {w.lower() for w in topic_words}) >= least


INSTRUCTIONS: Mapping[str, Instruction] = {
    "cascade:different_words": Instruction(
        different_words, "Use {least} to {most} words, all different.", {"least": COUNT, "most": COUNT}),
    "cascade:first_word": Instruction(first_word, "Start with the word {word}.", {"word": TEXT}),
    "cascade:last_word": Instruction(last_word, "End with the word {word}.", {"word": TEXT}),
    "cascade:comma_separated": Instruction(comma_separated, "Put commas between the words.", {}),
    "cascade:on_topic": Instruction(
        on_topic, "Use at least {least} of these words: {topic_words}.",
        {"topic_words": WORDS, "least": COUNT}),
}  # fmt: skip
