"""Conversations whose replies stand in the rows themselves: three shapes become one.

A conversation is kept as our template writes it: tools stand in the system prompt, tool calls in the text of
the turn that makes them, thoughts in tags before the answer. So the prompt of a turn is rendered from its
messages alone, as it is when a model is served, and nothing of a row is lost on the way. What a model's own
template writes otherwise stands beside the text, in a message's `form`: JSON of `content` (None where a row
has no system prompt) and `tools`, or of an assistant's `content` and `tool_calls`, each a `name` and
`arguments`.

The mode of a turn follows from its text: thinking where a thought stands there, else instruct. A row that
says its mode must agree in its last reply: a reply without a thought, trained under ` /think`, would teach
the model to skip thinking. Rows are refused with InputError, which says why; who reads them says where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.types import Demonstration, Message, Mode, Problem, problem_id

Row = Mapping[str, Any]

# `developer` is what newer OpenAI models call system; `function` is older than `tool`, and its name is lost.
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
# who speaks in ShareGPT's rows and in those of its heirs, to our roles; `function_call` is a turn of its own
SPEAKERS = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
# After whom a role may speak; None is the beginning. Tools answer one after the other.
AFTER = {
    "user": (None, "system", "user", "assistant", "tool"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
    "system": (None,),
}


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, and its assistant turns that may be trained on as (place, mode), in order."""

    messages: tuple[Message, ...]
    replies: tuple[tuple[int, Mode], ...]

    def demonstrations(self, source: str, *, last: bool) -> list[Demonstration]:
        """Its replies, or the last alone, each after all that was said before; `source` is told of them."""
        return [self._turn(source, place, mode) for place, mode in self.replies[-1 if last else 0 :]]

    def _turn(self, source: str, place: int, mode: Mode) -> Demonstration:
        before = self.messages[:place]
        # by content alone, so that a file that was moved holds the same problems
        identity = problem_id("chat", [[m.role, m.content] for m in before])
        said = self.messages[place]
        return Demonstration(Problem(identity, source, before, None, mode), said.content, said.form)


def openai_chat(row: Row) -> Chat:
    """`{"messages": [{"role", "content", "reasoning_content"?, "tool_calls"?}], "tools"?, "mode"?}`."""
    mode = row.get("mode") or None  # an empty cell of CSV says nothing
    if mode is not None and mode not in list(Mode):
        raise InputError(f"mode {mode!r} is neither {' nor '.join(Mode)}")
    return agreeing(conversation(row.get("messages"), row.get("tools")), mode and Mode(mode))


def nemotron_sft(row: Row) -> Chat:
    """`{"messages": [...], "thinking": true or false}`, as the report's released SFT data."""
    thinking = row.get("thinking")
    if not isinstance(thinking, bool):
        raise InputError(f"thinking: want true or false, got {thinking!r}")
    mode = Mode.THINKING if thinking else Mode.INSTRUCT
    return agreeing(conversation(row.get("messages"), row.get("tools")), mode)


def sharegpt(row: Row) -> Chat:
    """`{"conversations": [{"from", "value"}], "system"?, "tools"?}`."""
    turns = listed(row.get("conversations"), "conversations")
    system = row.get("system")
    first = [{"role": "system", "content": system}] if system else []
    return agreeing(conversation([*first, *map(_spoken, turns)], row.get("tools")), None)


CHAT_MAPS: Mapping[str, Callable[[Row], Chat]] = {
    "openai-chat": openai_chat,
    "sharegpt": sharegpt,
    "nemotron-sft": nemotron_sft,
}


def _spoken(turn: Row) -> dict[str, Any]:
    """A turn of ShareGPT's as a message; one of `function_call` holds the call as JSON."""
    speaker = str(turn.get("from"))
    if speaker not in SPEAKERS:
        raise InputError(f"from {speaker!r} is none of {', '.join(SPEAKERS)}")
    if speaker == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _json(turn.get("value"), "value")}
    return {"role": SPEAKERS[speaker], "content": turn.get("value")}


def agreeing(found: Chat, mode: Mode | None) -> Chat:
    """The conversation, if it has a reply and the last one is in the mode that the row names."""
    if not found.replies:
        raise InputError("no assistant turn to train on")
    place, own = found.replies[-1]
    if mode is not None and own is not mode:
        stands = "a thought stands" if own is Mode.THINKING else "no thought stands"
        raise InputError(f"the row says {mode}, but {stands} in message {place + 1}")
    return found


def conversation(raw: object, tools: object = None) -> Chat:
    """The conversation of a list of messages and the tools that it may call (a list, or one as JSON)."""
    messages: list[Message] = []
    replies = []
    for place, turn in enumerate(listed(raw, "messages")):
        try:
            message, mode = message_of(turn)
            before = messages[-1].role if messages else None
            if before not in AFTER[message.role]:
                raise InputError(f"{message.role} can't speak {f'after {before}' if before else 'first'}")
        except InputError as error:
            raise InputError(f"message {place + 1}: {error}") from None
        messages.append(message)
        # OpenAI's own mark of turns that are not trained on
        if mode is not None and turn.get("weight") != 0:
            replies.append((place, mode))
    # an empty list may be written as JSON, too
    found = _json(tools, "tools") if tools else None
    signatures = listed(found, "tools") if found else []
    return _with_tools(messages, replies, signatures) if signatures else Chat(tuple(messages), tuple(replies))


def _with_tools(
    messages: Sequence[Message], replies: Sequence[tuple[int, Mode]], tools: Sequence[Any]
) -> Chat:
    own = messages[0].role == "system"
    written = chat.written_tools(messages[0].content if own else None, tools)
    form = {"content": messages[0].content if own else None, "tools": list(tools)}
    system = Message("system", whole(written), json.dumps(form, ensure_ascii=False))
    # a system prompt that the row had none of moves all turns by one
    shifted = [(place + (not own), mode) for place, mode in replies]
    return Chat((system, *messages[own:]), tuple(shifted))


def message_of(turn: Row) -> tuple[Message, Mode | None]:
    """A message as the template writes it, with the mode of its reply if it is the assistant's."""
    role = ROLES.get(str(turn.get("role")))
    if role is None:
        raise InputError(f"role {turn.get('role')!r} is none of {', '.join(ROLES)}")
    if turn.get("function_call"):
        raise InputError("function_call is not read; write tool_calls")
    if role == "assistant":
        thought, answer, form = parts_of(turn)
        mode = Mode.INSTRUCT if thought is None else Mode.THINKING
        text = chat.compose_reply(mode, thought or "", answer)
        if chat.leaks(text, mode):
            raise InputError("think tags inside an answer or a thought")
        return Message(role, whole(text), form), mode
    text = text_of(turn.get("content"))
    # The mode is said by the reply: a flag that stands in the text would be said twice.
    for flag in chat.FLAGS.values() if role == "user" else ():
        text = text.removesuffix(flag)
    return Message(role, text), None


def reply_of(turn: Row) -> tuple[str | None, str]:
    """The thought (None where there is none) and the answer of an assistant's turn, tool calls in it."""
    return parts_of(turn)[:2]


def parts_of(turn: Row) -> tuple[str | None, str, str]:
    """The same with what the answer was written from: JSON of its text and calls, empty without calls."""
    raw = turn.get("tool_calls")
    calls = [_call(call) for call in listed(raw, "tool_calls")] if raw else []
    content = turn.get("content")
    text = "" if content is None and calls else text_of(content)
    thought = turn.get("reasoning_content")
    head, tag, tail = text.partition(chat.THINK_END)
    if tag and head.lstrip().startswith(chat.THINK_START):
        if thought:
            raise InputError("a thought in tags and one in reasoning_content")
        thought, text = head.lstrip().removeprefix(chat.THINK_START), tail.lstrip("\n")
    answer = chat.written_calls(text, calls) if calls else text
    form = json.dumps({"content": text, "tool_calls": _objects(calls)}, ensure_ascii=False) if calls else ""
    if not answer.strip():
        raise InputError("the reply is empty")
    # an empty block is how other templates ask for no thought
    thought = thought and text_of(thought).strip("\n")
    return (thought if thought and thought.strip() else None), answer, form


def _objects(calls: Sequence[Row]) -> list[dict[str, Any]]:
    """Calls with their arguments as objects: how a template writes these is its own matter."""
    return [{"name": call["name"], "arguments": _json(call["arguments"], "arguments")} for call in calls]


def _call(call: Row) -> dict[str, Any]:
    """A tool call, whose arguments are an object or the JSON of one."""
    inner = call.get("function") or call
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise InputError("a tool call without a name")
    arguments = inner.get("arguments")
    if not isinstance(_json(arguments, "arguments"), Mapping):
        raise InputError(f"the arguments of {inner['name']} are no JSON object")
    return {"name": inner["name"], "arguments": arguments}


def text_of(content: object) -> str:
    """The text of a content: a string, or OpenAI's list of parts if all are texts."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise InputError("content has parts that are no text")
        content = "".join(map(str, parts))
    if not isinstance(content, str):
        found = "null" if content is None else type(content).__name__
        raise InputError(f"content is {found}, not a text")
    return whole(content)


def whole(text: str) -> str:
    """The text, unless it holds half a character; control tokens spelled in it are text to `model/marks`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # out of JSON inside a text, which readers of files do not look into
        raise InputError("half of a surrogate pair is no character") from None
    return text


def listed(value: object, key: str) -> Sequence[Any]:
    """A list of objects, one at least; InputError names the key."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        # CSV and some public sets hold lists as JSON
        value = _json(value, key)
    rows = value if isinstance(value, Sequence) and not isinstance(value, str) else []
    if isinstance(value, Mapping):
        rows = [value]
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"{key}: want a list of objects, got {_short(value)}")
    return rows


def _json(value: object, key: str) -> Any:
    """A value that may be written as JSON, as columns of tables have it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InputError(f"{key}: not JSON: {_short(value)}") from None


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
