"""Whether an argument is one that is admitted, by the type that its function declares.

BFCL's rules (its AST checker, version 3), with two differences unless `official`: a boolean is never a number
inside of lists and objects, too, and a whole number stands for a float there as it does outside. Texts are
compared without case, blanks and some punctuation, so that "April 1, 2024" is "april 1 2024". An empty text
among the admitted values says that a parameter or a key may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OMITTED = ""  # among the admitted values: may be left out
_NUMBER = ("number", "float", "double")
# JSON Schema's names, and those that BFCL writes; what has another name is judged by the values alone
_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "object": dict,
    "dict": dict,
    **dict.fromkeys(_NUMBER, float),
}
_DROPPED = {ord(c): None for c in " ,./-_*^"} | {ord("'"): '"'}


def plain(text: str) -> str:
    """A text as texts are compared: in lower case, without blanks and the marks `,./-_*^`, quotes alike."""
    return text.translate(_DROPPED).lower()


def admitted(value: Any, wants: Sequence[Any], schema: Mapping[str, Any], official: bool) -> bool:
    """Whether `value` is one of `wants` under the declared type of its parameter."""
    kind = _kind(schema)
    said = _first_type(wants)
    typed = kind is None or _is(value, schema)
    if typed and kind is list and not _items_typed(value, wants, schema.get("items"), official):
        return False
    # what is not of the declared type must be of that of the first value: a variable's name, for instance
    if not typed and (said is None or type(value) is not said):
        return False
    if typed and said in (None, kind):
        if kind is dict:
            return any(_object_fits(value, want, official) for want in wants)
        if kind is list:
            return any(_list_fits(value, want, schema.get("items"), official) for want in wants)
    # texts that were declared as such, and those inside of lists and objects, are compared by `plain`
    loose = kind in (str, None) and said in (str, None)
    if loose and isinstance(value, str):
        return any(isinstance(want, str) and plain(value) == plain(want) for want in wants)
    return any(value == want if official else _same(value, want) for want in wants)


def _kind(schema: object) -> type | None:
    name = schema.get("type") if isinstance(schema, Mapping) else None
    return _TYPES.get(name) if isinstance(name, str) else None


def _is(value: Any, schema: Any, whole: bool = True) -> bool:
    """Whether a value has the declared type; `whole`: a whole number stands for a float."""
    kind = _kind(schema)
    # not isinstance: a boolean is an int to Python
    return type(value) is kind or (kind is float and whole and type(value) is int)


def _first_type(wants: Sequence[Any]) -> type | None:
    return next((type(want) for want in wants if want != OMITTED), None)


def _items_typed(value: Sequence[Any], wants: Sequence[Any], items: Any, official: bool) -> bool:
    """Whether the items have the declared type, or that of one of the lists that are admitted."""
    if _kind(items) is None:
        return True
    odd = {type(item) for item in value if not _is(item, items, whole=not official)}
    if not odd:
        return True
    # what is no list says nothing of types
    return any(not isinstance(want, list) or odd == {_first_type(want)} for want in wants)


def _list_fits(value: Sequence[Any], want: Any, items: Any, official: bool) -> bool:
    if want == OMITTED:
        want = []  # nothing to list is as good as nothing said
    if not isinstance(want, list) or len(value) != len(want):
        return False
    fits = _object_fits if _kind(items) is dict else _equal
    return all(fits(item, wanted, official) for item, wanted in zip(value, want, strict=True))


def _object_fits(value: Any, want: Any, official: bool) -> bool:
    """Whether an object has the keys of `want`, each with one of the values that are listed there."""
    if not isinstance(value, dict) or not isinstance(want, dict):
        return False
    for key, item in value.items():
        if not any(_equal(item, wanted, official) for wanted in want.get(key, ())):
            return False
    return all(key in value or OMITTED in wants for key, wants in want.items())


def _equal(value: Any, want: Any, official: bool) -> bool:
    """Equality inside of lists and objects."""
    if not official:
        return _same(value, want)
    if isinstance(value, str) and isinstance(want, str):
        return plain(value) == plain(want)
    return bool(value == want)


def _same(value: Any, want: Any) -> bool:
    """Equality of JSON values in which booleans are no numbers and texts are compared by `plain`."""
    if isinstance(value, list) and isinstance(want, list):
        return len(value) == len(want) and all(map(_same, value, want))
    if isinstance(value, dict) and isinstance(want, dict):
        return value.keys() == want.keys() and all(_same(value[key], want[key]) for key in want)
    if isinstance(value, str) and isinstance(want, str):
        return plain(value) == plain(want)
    return isinstance(value, bool) is isinstance(want, bool) and bool(value == want)
