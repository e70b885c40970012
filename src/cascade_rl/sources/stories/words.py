"""The words of word problems: names with their pronouns, things with their plurals, numbers in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.sources.masked import TENS, UNITS

SHE = (
    "Noor", "Ines", "Lotte", "Amara", "Yuki", "Freya", "Zofia", "Leila", "Pilar", "Greta", "Anouk", "Keiko",
    "Salma", "Ilse", "Runa", "Vera",
)  # fmt: skip
HE = (
    "Ivo", "Tariq", "Anton", "Kofi", "Mateo", "Emre", "Jonas", "Niko", "Ravi", "Soren", "Bruno", "Hugo",
    "Yusuf", "Pablo", "Lars", "Otto",
)  # fmt: skip
PRONOUNS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(SHE, ("she", "her")),
    **dict.fromkeys(HE, ("he", "his")),
}


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be counted."""

    one: str
    many: str


def _nouns(text: str) -> tuple[Noun, ...]:
    """Words with an s, or `one/many` where the plural is another."""
    pairs = [(word.partition("/")[0], word.partition("/")[2] or f"{word}s") for word in text.split()]
    return tuple(Noun(one.replace("_", " "), many.replace("_", " ")) for one, many in pairs)


# small enough to be held, kept in boxes, given away, bought
THINGS = _nouns(
    "marble sticker pencil shell stamp button bead postcard crayon acorn pebble magnet badge ribbon walnut "
    "plum apple pear peach/peaches lemon cherry/cherries tomato/tomatoes egg muffin biscuit pancake cracker "
    "balloon candle brush/brushes key coin spoon cup notebook eraser toy_car seed tulip rose "
    "daisy/daisies strawberry/strawberries"
)
KINDS = ("red", "blue", "green", "yellow", "white", "black", "striped", "spotted")
BOXES = _nouns(
    "box/boxes bag basket jar tray crate drawer shelf/shelves packet tin bucket case bowl carton "
    "pouch/pouches"
)
PEOPLE = _nouns("friend cousin neighbour child/children classmate guest player teammate pupil")
PLACES = ("market", "library", "harbour", "museum", "lake", "station", "castle", "farm", "beach", "school")
LENGTHS = _nouns("metre foot/feet inch/inches centimetre yard")
WAYS = _nouns("kilometre mile")
LARGEST_IN_WORDS = 99


def in_words(n: int) -> str:
    """A number up to 99 in words."""
    if n < len(UNITS):
        return UNITS[n]
    tens, ones = TENS[n // 10 - 2], n % 10
    return f"{tens}-{UNITS[ones]}" if ones else tens
