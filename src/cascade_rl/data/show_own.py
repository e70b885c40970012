"""Rows of own chats and pairs before and after their map: `cascade data show` without a domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import table_only
from cascade_rl.sources.chats import CHAT_MAPS, Chat, Row
from cascade_rl.sources.own_rows import OwnRow, counted, own_rows
from cascade_rl.sources.preferences import PAIR_MAPS, Preference
from cascade_rl.types import Message, Mode, Tally

Own = Chat | Preference
OWN_MAPS: Mapping[str, Callable[[Row], Own | None]] = {**CHAT_MAPS, **PAIR_MAPS}


@dataclass(frozen=True, slots=True)
class OwnShown:
    """The first rows of a table, and what became of all of them."""

    rows: tuple[OwnRow[Own], ...]
    tally: Tally


def show_own(source: str, name: str | None, count: int) -> OwnShown:
    """The first `count` rows of a table through the map `name`, bad ones with their reasons.

    Raises InputError when the source is no table, the map is none of these, or a file can't be read.
    """
    one = OWN_MAPS.get(name or "")
    if one is None:
        raise InputError(f"give --domain, or a --map whose rows need none: {', '.join(OWN_MAPS)}")
    try:
        table_only(source)
    except ValueError as error:
        raise InputError(str(error)) from None
    first: list[OwnRow[Own]] = []

    def keeping() -> Iterator[OwnRow[Own]]:
        found: Iterator[OwnRow[Own]] = own_rows(source, one)
        for row in islice(found, count):
            first.append(row)
            yield row
        yield from found

    tally = counted(source, keeping())
    return OwnShown(tuple(first), tally)


def own_json(made: Own) -> dict[str, Any]:
    """A mapped row, as `--json` prints it; of a chat the id and the mode are those of its last reply."""
    if isinstance(made, Chat):
        last = made.demonstrations("", last=True)[0].problem
        return {"id": last.id, "messages": _plain(made.messages), "mode": str(last.mode)}
    answers = {"chosen": made.chosen, "rejected": made.rejected}
    return {"id": made.pair("").problem.id, "messages": _plain(made.messages)} | answers


def own_text(made: Own) -> list[str]:
    """The texts that are trained on, one a reply or answer; what has loss, or is scored, is in [[ ]]."""
    if isinstance(made, Chat):
        asked = made.demonstrations("", last=False)
        return [f"{chat.render_problem(item.problem)}[[{item.reply}{chat.TURN_END}]]" for item in asked]
    prompt = chat.render(made.messages, Mode.INSTRUCT)
    return [f"{prompt}[[{answer}{chat.TURN_END}]]" for answer in (made.chosen, made.rejected)]


def _plain(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]
