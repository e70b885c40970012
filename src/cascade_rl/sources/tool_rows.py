"""Rows of xLAM's function-calling sets as `tools` wants them: a query, functions, and the right calls.

Its parameters are a plain object, each with a type as Python writes it (`str, optional`, `List[int]`) and
perhaps a default; here they become JSON Schema's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade_rl.sources.columns import RowError, listed, shown, text
from cascade_rl.verify.tools.answer import as_admitted

Row = Mapping[str, Any]
OPTIONAL = re.compile(r",?+ *+optional\b|^Optional(?=\[)", re.IGNORECASE)
_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number",
    "number": "number", "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array",
    "tuple": "array", "set": "array", "dict": "object", "object": "object",
}  # fmt: skip
_CALLED = re.compile(r"\[?(?P<name>[a-z]++)(?:\[(?P<inner>[a-z]++))?", re.IGNORECASE)


def xlam(row: Row) -> dict[str, Any]:
    """`query`, `tools` and `answers`, lists that may be JSON (xlam-function-calling-60k, APIGen)."""
    tools = [_tool(said) for said in listed(row.get("tools"), "tools")]
    functions = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    calls = [_call(said, functions) for said in listed(row.get("answers"), "answers")]
    made = {
        "messages": [{"role": "user", "content": text(row, "query")}],
        "tools": tools,
        "answer": {"tools": tools, "calls": calls},
    }
    return made | ({"id": text(row, "id")} if row.get("id") not in (None, "") else {})


def _tool(said: Any) -> dict[str, Any]:
    parameters = said.get("parameters") or {} if isinstance(said, Mapping) else None
    if not isinstance(parameters, Mapping) or not isinstance(said.get("name"), str):
        raise RowError(f"tools: want functions with name and parameters, not {shown(said)}")
    properties, required = dict[str, Any](), list[str]()
    for name, about in parameters.items():
        if not isinstance(about, Mapping) or not isinstance(about.get("type", ""), str):
            raise RowError(
                f"tools: {said['name']}: {name}: want a type and a description, not {shown(about)}"
            )
        properties[name] = {**about, **_schema(about.get("type", ""))}
        if "default" not in about and not OPTIONAL.search(about.get("type", "")):
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required}
    function = {"name": said["name"], "description": str(said.get("description", "")), "parameters": schema}
    return {"type": "function", "function": function}


def _schema(written: str) -> dict[str, Any]:
    """The schema of a type as Python writes it; one that is not known leaves the values to decide."""
    found = _CALLED.match(OPTIONAL.sub("", written).strip())
    kind = _TYPES.get(found["name"].lower(), "") if found else ""
    inner = _TYPES.get((found["inner"] or "").lower(), "") if found else ""
    if not kind:
        return {"type": "any"}
    return {"type": kind, **({"items": {"type": inner}} if kind == "array" and inner else {})}


def _call(said: Any, functions: Mapping[str, Any]) -> dict[str, Any]:
    """A call with the values that are admitted: what is a default may be left out."""
    arguments = said.get("arguments") if isinstance(said, Mapping) else None
    if not isinstance(arguments, Mapping) or said.get("name") not in functions:
        raise RowError(f"answers: want name, one of {', '.join(functions)}, and arguments, not {shown(said)}")
    schema = functions[said["name"]]
    admitted: dict[str, Any] = {}
    for name, about in schema["properties"].items():
        may_be_out = name not in schema["required"]
        if name in arguments:
            same = may_be_out and about.get("default") == arguments[name]
            admitted[name] = [as_admitted(arguments[name], about), *([""] if same else [])]
        elif may_be_out and "default" in about:
            admitted[name] = ["", as_admitted(about["default"], about)]
    if unknown := [name for name in arguments if name not in schema["properties"]]:
        raise RowError(f"answers: {said['name']} has no parameter {unknown[0]}")
    if missing := [name for name in schema["required"] if name not in arguments]:
        raise RowError(f"answers: {said['name']} needs {missing[0]}, which has no default")
    return {said["name"]: admitted}
