"""Code-switch detection for English prompts: letters outside the Latin script, by their Unicode names.

Used by the code-switch penalties of the cascade (arXiv 2512.13607, sections 4.2 to 4.4). It departs from a
language identifier on purpose: it is exact, fast and can't be confused by short replies, but French counts as
English. Mathematics isn't a switch: compatibility forms are folded first, a lone Greek letter is a symbol.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Greek and Coptic with no other Greek beside it: α in a formula, not a word
_ISOLATED_GREEK = re.compile(
    r"(?<![\u0370-\u03ff\u1f00-\u1fff])[\u0370-\u03ff](?![\u0370-\u03ff\u1f00-\u1fff])"
)


@lru_cache(maxsize=4096)
def _foreign(char: str) -> bool:
    if unicodedata.category(char) not in ("Lu", "Ll", "Lt", "Lo"):
        return False
    name = unicodedata.name(char, "")
    return not name.startswith("LATIN ") and not name.endswith((" SYMBOL", "ORDINAL INDICATOR"))


def foreign_letters(text: str) -> int:
    """How many letters are of another script than Latin; symbols of mathematics are left out."""
    if text.isascii():
        return 0
    folded = _ISOLATED_GREEK.sub("", unicodedata.normalize("NFKC", text))
    return sum(map(_foreign, folded))


def foreign_share(text: str) -> float:
    """The share of foreign letters among all letters, in [0, 1]; 0 for a text without letters."""
    letters = sum(1 for char in text if char.isalpha())
    return min(1.0, foreign_letters(text) / letters) if letters else 0.0


def switches(prompt: str, reply: str) -> bool:
    """Whether a reply to a prompt in Latin script contains any letter of another script."""
    return foreign_letters(reply) > 0 and foreign_letters(prompt) == 0
