"""The answer of a problem: the functions that are offered, and the calls that are wanted.

    {"tools": [SIGNATURE, ...], "calls": [CALL, ...] or "any", "say": [TEXT, ...]?}

A signature is OpenAI's `{"type": "function", "function": {...}}` or the inner object alone; the types of its
parameters are JSON Schema's or BFCL's. A call is BFCL's `{NAME: {PARAMETER: [VALUE, ...]}}` with all values
that are admitted ("" among them: it may be left out), or `{"name": NAME, "arguments": {...}}` with the one
that is right. No calls: none of the functions fits. `"any"`: a call must be made, whichever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.tools.calls import MOST
from cascade_rl.verify.tools.values import OMITTED

FORM = '{"tools": [...], "calls": [...] or "any", "say"?: [...]}'


@dataclass(frozen=True, slots=True)
class Signature:
    """A function that is offered: its parameters with their schemas, and those that must be given."""

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that is wanted: the values that are admitted for each of its parameters."""

    signature: Signature
    arguments: Mapping[str, Sequence[Any]]

    @property
    def name(self) -> str:
        """The function's."""
        return self.signature.name


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply is held against. `calls` None: any call. `say`: of which a reply without calls has one."""

    offered: Mapping[str, Signature]
    calls: tuple[Wanted, ...] | None
    say: tuple[str, ...] = ()


def answer_of(raw: Any) -> Answer:
    """The answer of its JSON; ValueError says what is wrong and where."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{_short(raw)} is no object")
    offered: dict[str, Signature] = {}
    for number, tool in enumerate(_list(raw.get("tools"), "tools"), 1):
        signature = _signature(tool, f"tools: number {number}")
        # of two of one name the first is meant, as BFCL's checker finds it
        offered.setdefault(signature.name, signature)
    said = raw.get("say", [])
    if not isinstance(said, list) or not all(isinstance(text, str) and text.strip() for text in said):
        raise ValueError(f"say: want a list of texts, not {_short(said)}")
    if raw.get("calls") == "any":
        if not offered or said:
            raise ValueError('"any" call needs tools, and nothing to say')
        return Answer(offered, None)
    calls = [
        _wanted(c, offered, f"calls: number {n}") for n, c in enumerate(_list(raw.get("calls"), "calls"), 1)
    ]
    if len(calls) > MOST:
        raise ValueError(f"calls: {len(calls)} of them, and no reply may have more than {MOST}")
    if calls and said:
        raise ValueError("say has no effect where calls are wanted")
    return Answer(offered, tuple(calls), tuple(said))


def _signature(raw: Any, place: str) -> Signature:
    inner = raw.get("function", raw) if isinstance(raw, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"]:
        raise ValueError(f"{place}: want a function with a name, not {_short(raw)}")
    said = inner.get("parameters") or {}
    properties = said.get("properties") or {} if isinstance(said, Mapping) else None
    if not isinstance(properties, Mapping) or not all(isinstance(p, Mapping) for p in properties.values()):
        raise ValueError(f"{place}, {inner['name']}: parameters: want properties, each an object with a type")
    required = said.get("required") or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError(f"{place}, {inner['name']}: required: want names, not {_short(required)}")
    return Signature(inner["name"], properties, tuple(required))


def _wanted(raw: Any, offered: Mapping[str, Signature], place: str) -> Wanted:
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(f"{place}: want a call, not {_short(raw)}")
    plainly = set(raw) == {"name", "arguments"} and isinstance(raw["name"], str)
    if not plainly and len(raw) > 1:
        raise ValueError(f"{place}: want one function, or name and arguments; keys: {_short(list(raw))}")
    name, arguments = (raw["name"], raw["arguments"]) if plainly else next(iter(raw.items()))
    if name not in offered:
        raise ValueError(f"{place}: {_short(name)} is none of the tools: {_short(list(offered))}")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{place}, {name}: want arguments as an object, not {_short(arguments)}")
    signature = offered[name]
    if plainly:
        schemas = signature.parameters
        return Wanted(signature, {k: [as_admitted(v, schemas.get(k, {}))] for k, v in arguments.items()})
    for parameter, values in arguments.items():
        # an empty one admits nothing, so that no reply is right: BFCL has two such rows
        if not isinstance(values, list):
            raise ValueError(f"{place}, {name}: {parameter}: want a list of the values that are admitted")
        for value in values:
            _admissible(value, f"{place}, {name}: {parameter}")
    return Wanted(signature, arguments)


def _admissible(value: Any, place: str) -> None:
    """An object, or a list of some, has a list of values behind each key, too."""
    for inner in value if isinstance(value, list) else [value]:
        if isinstance(inner, Mapping) and not all(isinstance(v, list) for v in inner.values()):
            raise ValueError(f"{place}: of an object each key has a list of the values that are admitted")


def as_admitted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A plain value as BFCL writes one of those that are admitted: the keys of objects have lists."""
    if isinstance(value, dict) and schema.get("type") in ("object", "dict"):
        return {key: [inner] for key, inner in value.items()}
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [as_admitted(inner, schema["items"]) for inner in value]
    return value


def first(values: Sequence[Any], schema: Mapping[str, Any]) -> Any:
    """The first value that is admitted, as a call gives it: the inverse of how answers write objects."""
    return _plain(next(value for value in values if value != OMITTED), schema)


def _plain(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and schema.get("type") in ("object", "dict"):
        given = {key: [v for v in values if v != OMITTED] for key, values in value.items()}
        return {key: values[0] for key, values in given.items() if values}
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_plain(inner, schema["items"]) for inner in value]
    return value


def _list(value: Any, key: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{key}: want a list, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    return f"{value!r:.80}"
