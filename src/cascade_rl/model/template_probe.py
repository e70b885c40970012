"""What a model's own chat template can say, found by rendering short talks with it and looking at the texts.

Nothing is taken from names in its source: a mode counts as known only where the text of a prompt changes with
it, a thought only where it stands in tags, a tool only where its name comes out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cascade_rl.chat import FLAGS, THINK_END, THINK_START, TemplateError
from cascade_rl.model.found import Found, Said
from cascade_rl.model.rendering import Renderer
from cascade_rl.model.turns import Row, Style, Thought, rows_of
from cascade_rl.types import Message, Mode

# Words of these talks: letters alone, so that no template trims, escapes or divides them.
ASKED, ANSWERED, AGAIN, SYSTEM, WHY = "qvaxzq", "avbxza", "qvcxzq", "svdxzs", "tvexzt"
TOOL, KEY, VALUE, RESULT = "fvgxzf", "kvhxzk", "wvixzw", "rvjxzr"
# variables by which published templates are told the mode
VARIABLES = ("enable_thinking", "thinking")
_OPEN = re.compile(rf"{THINK_START}\s*\Z")
_TAGS = re.compile(rf"{THINK_START}|{THINK_END}|\s")
_CLOSED = re.compile(rf"{THINK_END}\s*\Z")


def user(text: str) -> Row:
    """A user's turn."""
    return {"role": "user", "content": text}


def examine(render: Renderer, ends: Callable[[str], tuple[str, str, str] | None]) -> Found:
    """What the template can say; `ends` finds (gap, end token, tail) in the text behind an answer.

    Raises TemplateError, which says what is missing, for a template that can't be trained with.
    """
    alone = render([user(ASKED)], generate=True)
    if ASKED not in alone:
        raise TemplateError("the model's chat template does not write what the user says")
    whole = render([user(ASKED), {"role": "assistant", "content": ANSWERED}])
    found = ends(whole.rpartition(ANSWERED)[2]) if ANSWERED in whole else None
    if found is None:
        raise TemplateError(
            "the model's chat template ends an assistant's turn with no token of its own, so that replies "
            "would never end; set model.template: cascade"
        )
    said: dict[Mode, Said] = {}
    style = Style()
    for mode, way in _ways(render, alone).items():
        known = _instruct(render, way) if mode is Mode.INSTRUCT else _thinking(render, way)
        if known is not None:
            said[mode] = known[0]
            style = replace(style, thought=known[1] or style.thought)
    if not said:
        raise TemplateError(
            "the model's chat template writes replies otherwise than its prompt begins them, or thoughts in "
            "other tags than <think>; set model.template: cascade"
        )
    style = replace(style, arguments=_arguments(render))
    gap, end, tail = found
    talk = [user(ASKED), {"role": "assistant", "content": ANSWERED}, user(AGAIN)]
    return Found(
        said=said,
        style=style,
        end=end,
        gap=gap,
        tail=tail,
        plain=render(talk, generate=True),
        system=_system(render),
        tools=TOOL in (_or_nothing(render, [user(ASKED)], _signatures()) or ""),
        results=style.arguments is not None and RESULT in (_called(render, style) or ""),
    )


def _ways(render: Renderer, alone: str) -> dict[Mode, Said]:
    """How each mode is said; one mode alone where nothing changes the prompt."""
    for name in VARIABLES:
        on, off = (render([user(ASKED)], generate=True, said={name: value}) for value in (True, False))
        # one that closes the thought it was asked for means something else by the name
        if on != off and not _CLOSED.search(on) and not _OPEN.search(off):
            return {Mode.THINKING: Said({name: True}), Mode.INSTRUCT: Said({name: False})}
    told = {mode: render([user(ASKED + flag)], generate=True) for mode, flag in FLAGS.items()}
    # a template that knows no flags copies them as it copies any other word
    copied = all(text == alone.replace(ASKED, ASKED + FLAGS[mode]) for mode, text in told.items())
    if not (copied or _CLOSED.search(told[Mode.THINKING]) or _OPEN.search(told[Mode.INSTRUCT])):
        return {mode: Said(flag=flag) for mode, flag in FLAGS.items()}
    thinks = bool(_OPEN.search(alone)) or _drops_thoughts(render)
    return {Mode.THINKING if thinks else Mode.INSTRUCT: Said()}


def _drops_thoughts(render: Renderer) -> bool:
    """Whether it takes the thought off an earlier turn: it was made for a model that thinks."""
    turn = rows_of([Message("assistant", f"{THINK_START}\n{WHY}\n{THINK_END}\n\n{ANSWERED}")], Style())
    return WHY not in render([user(ASKED), *turn.rows, user(AGAIN)])


def _begun(render: Renderer, way: Said) -> tuple[str, Said]:
    """The prompt of one question, and the way with what the template wrote behind it."""
    asked = [user(ASKED + way.flag)]
    prompt = render(asked, generate=True, said=way.variables)
    before = render(asked, said=way.variables)
    header = prompt.removeprefix(before) if prompt.startswith(before) else ""
    opened = _OPEN.search(prompt)
    return prompt, replace(
        way,
        header=header,
        context=prompt.rpartition(ASKED)[2],
        opening=opened.group() if opened else "",
    )


def _begins_alike(whole: str, way: Said) -> bool:
    """Whether a last turn begins as the prompt does, but for tags; else replies have their own header."""
    between = whole.rpartition(ASKED)[2].rpartition(ANSWERED)[0]
    return _TAGS.sub("", between) == _TAGS.sub("", way.context)


def _instruct(render: Renderer, way: Said) -> tuple[Said, None] | None:
    """The way; None if the template writes answers behind a header that no prompt has."""
    prompt, way = _begun(render, way)
    whole = render([user(ASKED + way.flag), {"role": "assistant", "content": ANSWERED}], said=way.variables)
    goes_on = whole.startswith(prompt) and re.match(rf"\s*{ANSWERED}", whole[len(prompt) :])
    if not goes_on and not _begins_alike(whole, way):
        return None
    return replace(way, composed=not goes_on), None


def _thinking(render: Renderer, way: Said) -> tuple[Said, Thought] | None:
    """The way with where the template reads thoughts; None if it writes them in other tags."""
    prompt, way = _begun(render, way)
    opens = "" if way.opening else rf"\s*{THINK_START}"
    written = re.compile(rf"{opens}\s*{WHY}\s*{THINK_END}\s*{ANSWERED}")
    message = Message("assistant", f"{THINK_START}\n{WHY}\n{THINK_END}\n\n{ANSWERED}")
    wholes: dict[Thought, str] = {}
    places: tuple[Thought, ...] = ("reasoning_content", "content")
    for place in places:
        (turn,) = rows_of([message], Style(place)).rows
        wholes[place] = whole = render([user(ASKED + way.flag), turn], said=way.variables)
        if whole.startswith(prompt) and written.match(whole[len(prompt) :]):
            return way, place
    # it drops the thought of the last turn as of earlier ones: we write it behind its prompt
    if WHY not in wholes["content"] and _begins_alike(wholes["content"], way):
        return replace(way, composed=True), "content"
    return None


def _system(render: Renderer) -> str:
    try:
        text = render([{"role": "system", "content": SYSTEM}, user(ASKED)], generate=True)
    except TemplateError:
        return "refused"
    return "written" if SYSTEM in text else "dropped"


def _signatures() -> list[Row]:
    inner = {"name": TOOL, "description": "d", "parameters": {"type": "object", "properties": {}}}
    return [{"type": "function", "function": inner}]


def _arguments(render: Renderer) -> Any:
    """Whether it wants a call's arguments as an object or as a text; None if it writes no calls."""
    for kind in ("object", "text"):
        style = Style(arguments=kind)
        text = _called(render, style) or ""
        # neither Python's own writing of an object nor JSON inside of a text
        other = (f"'{KEY}'", f'\\"{KEY}')
        if all(w in text for w in (TOOL, KEY, VALUE)) and not any(w in text for w in other):
            return kind
    return None


def _called(render: Renderer, style: Style) -> str | None:
    """A call of a tool with its result, as the template writes them."""
    (turn,) = _calls(style)
    told = turn["tool_calls"][0]
    result = {"role": "tool", "content": RESULT, "name": TOOL, "tool_call_id": told["id"]}
    both = _or_nothing(render, [user(ASKED), turn, result], _signatures())
    return both or _or_nothing(render, [user(ASKED), turn], _signatures())


def _calls(style: Style) -> Iterator[Row]:
    form = f'{{"content": "", "tool_calls": [{{"name": "{TOOL}", "arguments": {{"{KEY}": "{VALUE}"}}}}]}}'
    yield from rows_of([Message("assistant", "x", form)], style).rows


def _or_nothing(render: Renderer, rows: list[Row], tools: list[Row]) -> str | None:
    try:
        return render(rows, tools, generate=True)
    except TemplateError:
        return None
