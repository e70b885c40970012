"""Rows of the Berkeley Function-Calling Leaderboard: questions in one file, wanted calls in another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cascade_rl.domain import Row
from cascade_rl.errors import InputError
from cascade_rl.sources.columns import RowError, column, listed, shown, text
from cascade_rl.sources.installed import package_rows
from cascade_rl.sources.parts import Part, parts

# what is read of version 3, with the number of problems
CATEGORIES = {
    "simple": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240,
    "live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24,
    "live_irrelevance": 882, "live_relevance": 18,
}  # fmt: skip
# BFCL's parts of a score as far as they are covered: its own have Java and JavaScript beside `simple`
NON_LIVE = ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance")
GOLDS = "possible_answer"  # the folder beside the questions
_ID = re.compile(r"(?P<category>[a-z]++(?:_[a-z]++)*+)_(?P<number>[0-9]++)(?:-[0-9-]++)?")
_FILE = re.compile(r"BFCL_v3_(?P<category>[a-z_]++)\.json$")
# the checker's names of types as JSON Schema's; a model is shown these, as BFCL's own prompts do
_TYPES = {
    "float": "number", "double": "number", "number": "number", "integer": "integer", "long": "integer",
    "boolean": "boolean", "bool": "boolean", "array": "array", "list": "array", "tuple": "array",
    "dict": "object", "object": "object", "string": "string", "any": "string",
}  # fmt: skip
HINT = " Note that the provided function is in Python 3 syntax."


def joined(source: str) -> Iterator[Row]:
    """The questions of a source, each with the calls of the row of its id in `possible_answer/`, if any.

    Raises InputError for a file that can't be read, or that brings no calls where its category needs them.
    """
    for part in parts(source):
        named = _FILE.search(part.label)
        if named and named["category"] not in CATEGORIES:
            continue  # of the same folder, some in other shapes
        golds = {_key(gold): column(gold, "ground_truth") for gold in _golds(part)}
        for row in _values(part):
            key = _key(row)
            if key in golds:
                yield {**row, "ground_truth": golds[key]}
            else:
                yield row


def function_row(row: Row) -> Row | None:
    """A question as a row of `tools`; None for one of a category that is not read."""
    category = _category(row)
    if category not in CATEGORIES:
        return None
    turns = listed(column(row, "question"), "question")
    if len(turns) != 1:
        raise RowError(f"question: want one turn, not {len(turns)}")
    tools = [_tool(function) for function in listed(column(row, "function"), "function")]
    made: dict[str, Any] = {"id": text(row, "id"), "messages": turns[0], "meta": {"group": category}}
    if tools:
        made["tools"] = tools
    return made | {"answer": {"tools": tools, "calls": _calls(row, category, tools)}}


def averages(
    samples: Sequence[Any], meta: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float | None]]:
    """By mode, as BFCL averages: `non_live` over categories, `live` over problems, and the mean of the two.

    None where a category has no samples. The overall accuracy of BFCL has multi-turn as a third part, which
    is not read, so that it can't be told. Samples are those of `scores/samples`.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for one in samples:
        if not one.greedy:
            by_group = found.setdefault(str(one.mode), {})
            by_group.setdefault(meta[one.problem]["group"], []).append(one.accuracy)
    return {mode: _averages(by_group) for mode, by_group in found.items()}


def _averages(by_group: Mapping[str, list[float]]) -> dict[str, float | None]:
    live, non_live = None, None
    # each problem has as many samples, so that a mean over samples is one over problems
    if all(name in by_group for name in CATEGORIES if name.startswith("live_")):
        each = [value for name, values in by_group.items() if name.startswith("live_") for value in values]
        live = math.fsum(each) / len(each)
    if all(name in by_group for name in NON_LIVE):
        non_live = math.fsum(math.fsum(by_group[name]) / len(by_group[name]) for name in NON_LIVE) / len(
            NON_LIVE
        )
    both = (live + non_live) / 2 if live is not None and non_live is not None else None
    return {"non_live": non_live, "live": live, "mean_of_both": both}


def _calls(row: Row, category: str, tools: list[dict[str, Any]]) -> Any:
    if category.endswith("irrelevance"):
        return []
    if category.endswith("relevance"):
        return "any"
    calls = listed(column(row, "ground_truth"), "ground_truth")
    if category in ("simple", "live_simple") and len(tools) == len(calls) == 1:
        # its checker takes the name of the one function, whatever the calls' file says
        return [{tools[0]["function"]["name"]: next(iter(calls[0].values()))}]
    return calls


def _tool(function: Any) -> dict[str, Any]:
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError(f"function: want an object with a name, not {shown(function)}")
    description = f"{function.get('description', '')}{HINT}"
    made = {**function, "description": description, "parameters": _schema(function.get("parameters") or {})}
    return {"type": "function", "function": made}


def _schema(said: Any) -> Any:
    """A schema with JSON Schema's types all the way down."""
    if not isinstance(said, Mapping):
        return said
    made = dict(said)
    if isinstance(said.get("type"), str):
        made["type"] = _TYPES.get(said["type"], "string")
    if isinstance(said.get("properties"), Mapping):
        made["properties"] = {name: _schema(inner) for name, inner in said["properties"].items()}
    if isinstance(said.get("items"), Mapping):
        made["items"] = _schema(said["items"])
    return made


def _category(row: Row) -> str:
    found = _ID.fullmatch(text(row, "id"))
    if found is None:
        raise RowError(f"id: want a category and a number, not {shown(row['id'])}")
    return found["category"]


def _key(row: Row) -> str:
    """What two files name a row by: category and number, since the rest differs in one of them."""
    found = _ID.fullmatch(text(row, "id"))
    return f"{found['category']}_{found['number']}" if found else text(row, "id")


def _golds(part: Part) -> Iterator[Row]:
    path = part.path.parent / GOLDS / part.path.name if part.path else None
    if path is not None and path.is_file():
        yield from _values(Part(part.label, lambda: package_rows(path, str(path)), path))


def _values(part: Part) -> Iterator[Row]:
    for row in part.rows():
        if row.value is None:
            raise InputError(f"{row.place}: {row.fault}")
        yield row.value
