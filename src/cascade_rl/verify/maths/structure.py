r"""What kind of answer a text is, before any algebra: lists, tuples, intervals, relations, words.

Structure is decided here, on text, so that a computer algebra system only ever sees single expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT
from cascade_rl.verify.maths.conditions import (
    bound_set,
    condition_of,
    lines_of_cases,
    quantified,
    value_and_condition,
)
from cascade_rl.verify.maths.kinds import (
    Answer,
    Based,
    Builder,
    Chain,
    Many,
    Matrix,
    Named,
    Over,
    Pieces,
    Ratio,
    Row,
    Scalar,
    Sets,
    Words,
)
from cascade_rl.verify.maths.labels import is_label, name, names_of
from cascade_rl.verify.maths.matrices import matrix_cells
from cascade_rl.verify.maths.notation import partners
from cascade_rl.verify.maths.numbers import based, rational
from cascade_rl.verify.maths.splitting import COMMA, listed, row_items, split
from cascade_rl.verify.maths.units import measured, quantity
from cascade_rl.verify.maths.words import lists_options, unmarked, words

MOST_ITEMS = 100  # of a list or set; comparing two takes the square of it
RELATIONS = "=≤≥<>≠≈"

_RELATION = re.compile(rf"[{RELATIONS}]")
_COLON = re.compile(r" ?: ?")
_SPOKEN = re.compile(rf" ?(?:{TEXT} ?to ?{ENDTEXT}|(?<=[0-9}}]) to (?=[-0-9\\])|\\sim(?![a-z])) ?")
_MEMBER = re.compile(r"∈")
# the loosest first
_SET_SIGNS = (("∪", re.compile(r" ?∪ ?")), ("∖", re.compile(r" ?\\setminus ?")), ("∩", re.compile(r" ?∩ ?")))
_TAKEN_AWAY = re.compile(r"(.*[)\]}]) ?- ?(\\\{.*)")
# "the answer is" inside the box
_LEAD = re.compile(rf"{TEXT}[^{ENDTEXT}]*(?::|=|\bis|\bare) ?{ENDTEXT} ?(?=.)")
_POINT = re.compile(r"[A-Z](?:_\w|')? ?\(.*[,;]")


def read(text: str) -> Answer:
    """The structure of a tidy answer."""
    text = _LEAD.sub("", text.strip())
    if lists_options(text):
        return _list(*listed(unmarked(text).strip()))
    if rational(text) is not None:
        return Scalar(text)
    if (conditional := _conditional(text)) is not None:
        return conditional
    if (lines := lines_of_cases(text)) is not None:
        return _cases(lines)
    if (cells := matrix_cells(text)) is not None:
        return Matrix(cells[0], tuple(tuple(map(read, row)) for row in cells[1]))
    items, joins = listed(text)
    # before words: `5 miles per hour` is no sentence, nor is `15 chickens and 15 rabbits`
    if "or" not in joins and (known := quantity(text)) is not None:
        return Scalar(*known)
    if TEXT in text and len(items) > 1 and all(quantity(i) or rational(i) is not None for i in items):
        return _list(items, joins)
    if (said := words(text)) is not None:
        return said
    # `x ∈ [0,1]` answers the interval
    named, *members = split(text, _MEMBER)[0]
    if len(members) == 1 and (is_label(named) or names_of(named)):
        return read(members[0])
    # lists before relations: `x=1, x=2` are two equations
    if len(items) > 1:
        return _list(items, joins)
    sides, signs = split(text, _RELATION)
    if signs and all(sides):
        return _related(sides, signs)
    return _sets(text) or _enclosed(text) or _single(text)


def read_list(text: str) -> Answer | None:
    """The other reading of `98,118,122`, as three numbers; None when there is only one.

    `1,234` has one: it is hardly ever a list, and a reply of `234, 1` would be right for the number.
    """
    items = [part for part in split(text, COMMA)[0] if part]
    plain = len(items) > 2 and all(part.isdigit() for part in items) and rational(text) is not None
    return _many(items) if plain else None


def _conditional(text: str) -> Answer | None:
    """A value under a condition, or for all numbers of a set; None for anything else."""
    if (found := quantified(text)) is not None:
        # for all real numbers is for all there are
        return read(found[0]) if found[2] == "R" else Over(read(found[0]), found[1], found[2])
    pieces = value_and_condition(text)
    return Pieces(tuple((read(value), _condition(text)) for value, text in pieces)) if pieces else None


def _condition(text: str) -> Answer:
    found = read(condition_of(text))
    return (
        found if isinstance(found, Chain | Many | Sets) else Words("".join(unmarked(text).casefold().split()))
    )


def _cases(lines: Sequence[tuple[str, str]]) -> Answer:
    """Equations that all hold, or values under conditions."""
    if not any(condition for _, condition in lines):
        return _list([value for value, _ in lines], [","] * (len(lines) - 1))
    return Pieces(tuple((read(value), _condition(condition)) for value, condition in lines))


def _list(texts: Sequence[str], joins: Sequence[str]) -> Answer:
    found = [read(text) for text in texts[: MOST_ITEMS + 1]]
    if _assigns(found):
        return _assigned(found, joins)
    if any(isinstance(item, Many) and not item.braced for item in found):
        return _many(texts)
    return Many(tuple(found), joins=tuple(joins))


def _assigns(answers: Sequence[Answer]) -> bool:
    """Whether all are values of names, of more than one name."""
    if not all(isinstance(a, Chain) and set(a.signs) == {"="} and is_label(a.sides[0]) for a in answers):
        return False
    return len({name(a.sides[0]) for a in answers if isinstance(a, Chain)}) > 1


def _assigned(answers: Sequence[Answer], joins: Sequence[str]) -> Answer:
    """`x=1, y=2 or x=3, y=4`: a new group begins behind `or` and where a name comes again."""
    groups: list[list[Chain]] = []
    for answer, join in zip(answers, ["or", *joins], strict=False):
        if not isinstance(answer, Chain):
            continue
        known = {name(chain.sides[0]) for chain in groups[-1]} if groups else set()
        if join in ("or", ";") or name(answer.sides[0]) in known:
            groups.append([])
        groups[-1].append(answer)
    found = tuple(_group(group) for group in groups)
    return found[0] if len(found) == 1 else Many(found, joins=("or",) * (len(found) - 1))


def _group(chains: Sequence[Chain]) -> Answer:
    if len(chains) == 1:
        return chains[0]
    return Named(
        tuple(name(chain.sides[0]) for chain in chains), tuple("=".join(chain.sides[1:]) for chain in chains)
    )


def _many(texts: Sequence[str], braced: bool = False) -> Many:
    found: list[Answer] = []
    for text in texts[: MOST_ITEMS + 1]:
        item = read(text)
        found += item.items if isinstance(item, Many) and not item.braced else [item]
    return Many(tuple(found), braced)


def _related(sides: Sequence[str], signs: Sequence[str]) -> Answer:
    """A chain of relations; `(x,y)=(1,2)` names two values."""
    names = names_of(sides[0]) if list(signs) == ["="] else ()
    if names:
        value = read(sides[1])
        items = row_items(sides[1][1:-1])
        if isinstance(value, Row) and len(items) == len(names):
            return Named(names, tuple(items), row=True)
        return value
    return Chain(tuple(sides), tuple(signs))


def _sets(text: str) -> Answer | None:
    for sign, pattern in _SET_SIGNS:
        parts = split(text, pattern)[0]
        if len(parts) > 1 and all(parts):
            return Sets(sign, tuple(read(part) for part in parts[: MOST_ITEMS + 1]))
    if match := _TAKEN_AWAY.fullmatch(text):
        return Sets("∖", (read(match[1]), read(match[2])))
    return None


def _enclosed(text: str) -> Answer | None:
    r"""A set, tuple or interval, or what stands in needless brackets."""
    if text in (r"\emptyset", r"\{\}", r"\{ \}"):
        return Many((), braced=True)
    pairs = partners(text)
    if text.startswith(r"\{") and text.endswith(r"\}") and pairs.get(1) == len(text) - 1:
        if (bound := bound_set(text[2:-2])) is not None:
            return Builder(text, name(bound[0]), read(bound[1]))
        return _many([p for p in split(text[2:-2], COMMA)[0] if p], braced=True)
    if _POINT.match(text):
        start = text.index("(")
        text, pairs = text[start:], {k - start: v - start for k, v in pairs.items()}
    if text[:1] not in ("(", "[", "{", "⟨") or pairs.get(0) != len(text) - 1:
        return None
    # brackets around brackets, all at once: one by one takes the square of them
    k, last = 0, len(text) - 1
    while text[k] in "({" and text[k + 1] in "({" and pairs.get(k + 1) == last - k - 1:
        k += 1
    text = text[k : last + 1 - k]
    inner = row_items(text[1:-1])
    if text[0] == "⟨" and text[-1] == "⟩":
        text = f"({text[1:-1]})"
    if len(inner) > 1 and text[0] != "{":
        return Row(text[0], tuple(read(part) for part in inner[: MOST_ITEMS + 1]), text[-1])
    # `(11]` is half of an interval
    needless = text[0] + text[-1] in ("()", "{}") and text[1:-1].strip()
    return read(text[1:-1]) if needless else None


def _single(text: str) -> Answer:
    """A ratio, a numeral with its base, two values of a ±, or an expression with its unit."""
    if 1 <= text.count("±") <= 3:
        return _many([_signed(text, "+-"), _signed(text, "-+")] if text.count("±") == 1 else _all_signs(text))
    for pattern, spoken in ((_COLON, False), (_SPOKEN, True)):
        parts = split(text, pattern)[0]
        if len(parts) in (2, 3, 4) and all(parts):
            return Ratio(tuple(parts), spoken)
    # only base 10 is the number itself: 1010_2 asked for is not answered by 10
    if (numeral := based(text)) is not None:
        return Scalar(str(numeral[0])) if numeral[1] == 10 else Based(*numeral)
    return Scalar(*measured(text))


def _signed(text: str, signs: str) -> str:
    return text.replace("±", signs[0], 1).replace("∓", signs[1])


def _all_signs(text: str) -> list[str]:
    texts = [text]
    while "±" in texts[0]:
        texts = [_signed(t, signs) for t in texts for signs in ("+-", "-+")]
    return texts
