"""Messages as the rows that a model's own template reads: OpenAI's form, as transformers documents it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascade_rl.chat import THINK_END, THINK_START, thinking_reply
from cascade_rl.types import Message

Row = dict[str, Any]
# Where a template reads an assistant's thought: a field of its own, or tags in the content.
Thought = Literal["reasoning_content", "content"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a template wants turns of the assistant.

    thought    where it reads thoughts; None: it knows none, and a text stays as it is
    arguments  whether those of a call are an object, else JSON as a text; None: it writes no calls
    """

    thought: Thought | None = None
    arguments: Literal["object", "text"] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A conversation as rows, with its tools."""

    rows: list[Row]
    tools: list[Row]


def rows_of(messages: Sequence[Message], style: Style) -> Rows:
    """The rows of a conversation; tools out of its system prompt, names and ids of calls by their order."""
    rows: list[Row] = []
    tools: list[Row] = []
    calls: list[Row] = []
    for message in messages:
        form = json.loads(message.form) if message.form else {}
        if message.role == "system":
            tools = form.get("tools", [])
            text = form["content"] if form else message.content
            rows += [] if text is None else [{"role": "system", "content": text}]
        elif message.role == "assistant":
            rows.append(assistant(message.content, form, style, len(rows)))
            calls = list(rows[-1].get("tool_calls", []))
        elif message.role == "tool":
            # results come in the order of the calls
            told = calls.pop(0) if calls else None
            named = {"name": told["function"]["name"], "tool_call_id": told["id"]} if told else {}
            rows.append({"role": "tool", "content": message.content, **named})
        else:
            rows.append({"role": message.role, "content": message.content})
    return Rows(rows, tools)


def assistant(content: str, form: Mapping[str, Any], style: Style, place: int) -> Row:
    """An assistant's turn: its thought where the template reads it, its calls beside the text."""
    thought, answer = parted(content)
    if form:
        answer = form["content"]
    row: Row = {
        "role": "assistant",
        "content": answer if thought is not None else form.get("content", content),
    }
    if thought is not None:
        if style.thought == "reasoning_content":
            row["reasoning_content"] = thought
        else:
            row["content"] = thinking_reply(thought, answer)
    if form.get("tool_calls"):
        row["tool_calls"] = [
            _call(call, style, f"call{place:03}{n:02}") for n, call in enumerate(form["tool_calls"])
        ]
    return row


def parted(content: str) -> tuple[str | None, str]:
    """The thought at the start of a turn (None where there is none) and what follows it."""
    head, tag, tail = content.partition(THINK_END)
    if not tag or not head.lstrip().startswith(THINK_START):
        return None, content
    return head.lstrip().removeprefix(THINK_START).strip("\n"), tail.lstrip("\n")


def _call(call: Mapping[str, Any], style: Style, name: str) -> Row:
    # nine letters and digits: Mistral's templates refuse any other id
    arguments = call["arguments"]
    if style.arguments == "text":
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", "id": name, "function": {"name": call["name"], "arguments": arguments}}
