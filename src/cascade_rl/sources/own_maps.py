"""Maps of a user's own conversations and pairs: named ones, and mappings of fields to operations.

A mapping makes a row of a public shape (`openai-chat`, `trl-preference`), which that map then reads: what is
refused in such rows is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cascade_rl.errors import InputError
from cascade_rl.sources.chats import CHAT_MAPS, Chat, Row, openai_chat
from cascade_rl.sources.operations import Fields, own_map
from cascade_rl.sources.own_rows import Elsewhere
from cascade_rl.sources.preferences import PAIR_MAPS, Preference, trl_preference
from cascade_rl.sources.splits import split_said
from cascade_rl.types import Message, Split

# the name of a map, or a mapping of fields to operations
Said = str | Mapping[str, Any]
T = TypeVar("T")

# A conversation whole, or one exchange in columns of its own, as instruction sets have it.
CHAT = Fields(
    ways=((("messages",), ()), (("prompt", "reply"), ("system", "thought"))), free=("tools", "mode", "split")
)
PAIR = Fields(ways=((("chosen", "rejected"), ()),), free=("prompt", "split"))


def chat_map(said: Said, split: str | None = None) -> Callable[[Row], Chat | Elsewhere]:
    """What makes conversations of rows; those of another split than SFT's are elsewhere.

    `split` is `all`, `hash` (of the user's first text) or the column that says it; without it a field of that
    name in an own map counts, else all rows are SFT's. Raises InputError for a map that is none.
    """
    one, named = _chosen(said, CHAT, CHAT_MAPS, _exchange)

    def made(row: Row) -> Chat | Elsewhere:
        found = one(row)
        own = named(row)
        if split is None and own in (None, ""):
            return found
        belongs = split_said(row, split, own, lambda: _asked(found.messages[: _first_reply(found)]))
        return found if belongs in (None, Split.SFT) else Elsewhere.ELSEWHERE

    return made


def pair_map(said: Said, split: str | None = None) -> Callable[[Row], Preference | None]:
    """What makes pairs of rows, None of a row that says nothing; a pair knows the split that its row names.

    `split` is `hash` (of the user's text) or the column that says it; without it a field of that name in an
    own map counts, else the hash. Raises InputError for a map that is none.
    """
    one, named = _chosen(said, PAIR, PAIR_MAPS, trl_preference)

    def made(row: Row) -> Preference | None:
        found = one(row)
        if found is None:
            return None
        return replace(found, split=split_said(row, split, named(row), lambda: _asked(found.messages)))

    return made


def _chosen(
    said: Said, fields: Fields, maps: Mapping[str, Callable[[Row], T]], read: Callable[[Row], T]
) -> tuple[Callable[[Row], T], Callable[[Row], Any]]:
    """A named map, or an own one whose rows are read as `read` does; and the split that it names of a row."""
    if isinstance(said, Mapping):
        made = own_map(said, fields)
        return lambda row: read(made(row)), lambda row: made(row).get("split")
    if said not in maps:
        raise InputError(
            f"no map {said!r}; there are {', '.join(maps)}, or a mapping of fields (docs/chats.md)"
        )
    return maps[said], lambda row: None


def _exchange(row: Mapping[str, Any]) -> Chat:
    """A conversation of a row with messages, or with one exchange."""
    if "messages" in row:
        return openai_chat(row)
    asked = [{"role": "user", "content": row["prompt"]}]
    # an empty cell says nothing
    if row.get("system") not in (None, ""):
        asked.insert(0, {"role": "system", "content": row["system"]})
    answered = {"role": "assistant", "content": row["reply"], "reasoning_content": row.get("thought")}
    return openai_chat({**row, "messages": [*asked, answered]})


def _first_reply(found: Chat) -> int:
    """The place of the first reply: a conversation belongs where its first question does."""
    return next(place for place, message in enumerate(found.messages) if message.role == "assistant")


def _asked(messages: tuple[Message, ...]) -> str:
    """The user's text, as a problem's prompt has it."""
    return "\n".join(m.content for m in messages if m.role == "user")
