r"""Which commas group the digits of one number, and which part the items of a list.

`1{,}000`, `1,\!000` and `1\,000` say that they group. A plain comma groups unless it could part two items:
`1,000 cm`, `x=1,000` and `(1,000, 2)` hold a thousand, `(1,234)` is a pair, and the lone `98,118,122` is read
both ways, by `structure`.
"""

from __future__ import annotations

import re

# only before three digits and no fourth: `1\,000` is a number, `1\,2` two
_SAID = re.compile(r"(?<=[0-9])(?:\\[,;:> ]|\{ ?\}|\{ ?, ?\}\s?|, ?\\! ?|\\! ?, ?)(?=[0-9]{3}(?![0-9]))|\\!")
_GROUPED = re.compile(r"(?<![0-9.,_^])([1-9][0-9]{0,2})((?:,[0-9]{3})+)(?![0-9]|,[0-9])")
_ALONE = re.compile(r"[-+ $]*[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?[ $.]*")
_ZERO = re.compile(r",0")
_OPENING, _CLOSING = "([", ")]"


def without_said_groups(text: str) -> str:
    """A text without the separators that can be nothing else."""
    return _SAID.sub("", text).replace("{,}", ",")


def without_groups(text: str) -> str:
    """A tidy text without the plain commas that group digits; a number alone is left as it is."""
    if "," not in text or _ALONE.fullmatch(text) or not (found := list(_GROUPED.finditer(text))):
        return text
    lists = _listing_brackets(text)
    parts, at = [], 0
    for match in found:
        # a group such as 000 is no item, and a list with blanks behind its commas has none within
        bracket = lists[match.start()]
        if bracket in (None, True) or _ZERO.search(match[2]):
            parts += [text[at : match.start()], match.group().replace(",", "")]
            at = match.end()
    return "".join(parts) + text[at:]


def _listing_brackets(text: str) -> list[bool | None]:
    """For each place whether the list around it parts its items by comma and blank; None outside of lists."""
    # of each bracket: does it hold ", "
    wide: dict[int, bool] = {}
    inside: list[int | None] = []
    opened: list[int | None] = []
    for i, char in enumerate(text):
        inside.append(opened[-1] if opened else None)
        if char in _OPENING or (char == "{" and text[i - 1 : i] == "\\"):
            opened.append(i)
            wide[i] = False
        elif char == "{":
            # the braces of an argument are no list, whatever stands around them
            opened.append(None)
        elif char in _CLOSING or char == "}":
            if opened:
                opened.pop()
        elif char == "," and text[i + 1 : i + 2] == " " and opened and opened[-1] is not None:
            wide[opened[-1]] = True
    return [None if bracket is None else wide[bracket] for bracket in inside]
