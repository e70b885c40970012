"""A row as a problem: the form that every table is read into, whatever its columns were called.

    {"prompt" or "messages", "answer", "id"?, "split"?, "split_by"?, "mode"?, "meta"?}

Null and an empty text are as good as no key where a key may be left out. Each row is held against the
domain's `check_answer`, so that no grader meets an answer that it can't use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cascade_rl.chat import render_problem
from cascade_rl.domain import Domain
from cascade_rl.errors import AnswerError
from cascade_rl.sources.chats import conversation
from cascade_rl.sources.columns import RowError, column, shown
from cascade_rl.types import Message, Mode, Problem, problem_id

FORM = '{"prompt" or "messages", "answer", "id"?, "split"?}'


def problem_of(row: Mapping[str, Any], domain: Domain, label: str) -> Problem:
    """The problem of a row; `label` names its file, so that rows of two files never share an id.

    Raises KeyError, TypeError, ValueError or AnswerError when the row is not of the form, or its messages
    can't be rendered.
    """
    messages = _messages(row)
    mode = _given(row, "mode", Mode.THINKING)
    if mode not in list(Mode):
        raise RowError(f"mode: want {' or '.join(Mode)}, not {shown(mode)}")
    meta = _given(row, "meta", {})
    if not isinstance(meta, Mapping):
        raise RowError(f"meta: want an object, not {shown(meta)}")
    answer = column(row, "answer")
    # Parquet has values that are no JSON, and files of a run could not hold them
    json.dumps([answer, meta], allow_nan=False)
    identity = f"{label}:{_name(row, messages, domain)}"
    problem = Problem(identity, domain.name, messages, answer, Mode(mode), meta)
    if len(messages) > 1:
        # roles may come in an order that no template writes; a question alone always can be
        render_problem(problem)
    try:
        domain.check_answer(answer)
    except AnswerError:
        raise
    # a check that trips over what nobody thought of refuses it as well
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise AnswerError(f"{domain.name} can't use {shown(answer)}: {error!r}") from None
    return problem


def _name(row: Mapping[str, Any], messages: tuple[Message, ...], domain: Domain) -> str:
    """The row's own id with a digest of its prompt; the digest alone where it has none."""
    said = [[m.role, m.content] for m in messages]
    own = _given(row, "id", None)
    if own is None:
        # the messages name the row: the same question twice is one problem
        return problem_id(domain.name, said).rpartition("-")[2]
    if isinstance(own, bool) or not isinstance(own, str | int | float):
        raise RowError(f"id: want a text or a number, not {shown(own)}")
    # With the digest, since two files of one name in two folders may count their rows alike.
    digest = hashlib.blake2b(json.dumps(said, ensure_ascii=False).encode(), digest_size=4).hexdigest()
    return f"{own}:{digest}"


def _given(row: Mapping[str, Any], key: str, default: Any) -> Any:
    value = row.get(key)
    return default if value is None or value == "" else value


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if not isinstance(row.get("messages"), list):
        there = ", ".join(map(str, row)) or "none"
        raise RowError(
            f"no prompt as a text and no list of messages; columns: {there:.200}; a map may name them"
        )
    if row.get("tools") or any(map(_structured, row["messages"])):
        # as SFT reads a conversation: a call that were dropped would leave its result without a question
        messages = conversation(row["messages"], row.get("tools")).messages
    else:
        messages = tuple(_message(number, said) for number, said in enumerate(row["messages"], 1))
    if not messages or messages[-1].role not in ("user", "tool"):
        last = f"it is of {shown(messages[-1].role)}" if messages else "there is none"
        raise RowError(f"messages: the last one is to be answered, of user or tool; {last}")
    return messages


def _structured(said: Any) -> bool:
    return isinstance(said, Mapping) and bool(said.get("tool_calls") or said.get("reasoning_content"))


def _message(number: int, said: Any) -> Message:
    if not isinstance(said, Mapping):
        raise RowError(f"message {number}: want role and content, not {shown(said)}")
    for key in ("role", "content"):
        if not isinstance(said.get(key), str):
            raise RowError(f"message {number}: {key}: want a text, not {shown(said.get(key))}")
    return Message(said["role"], said["content"])
