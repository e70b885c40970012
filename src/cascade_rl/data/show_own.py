"""Rows of own chats and pairs before and after their map: `cascade data show` without a domain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cascade_rl.data.show_lengths import LengthCount, Lengths
from cascade_rl.data.show_model import Read, Reader
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import table_only
from cascade_rl.sources.chats import CHAT_MAPS, Chat
from cascade_rl.sources.own_maps import Said, chat_map, pair_map
from cascade_rl.sources.own_rows import Made, OwnRow, counted, own_rows
from cascade_rl.sources.preferences import PAIR_MAPS, Preference
from cascade_rl.types import Message, Tally

Own = Chat | Preference
OWN_MAPS = (*CHAT_MAPS, *PAIR_MAPS)


@dataclass(frozen=True, slots=True)
class OwnShown:
    """The first rows of a table, what became of all of them, and how long the samples are that they make."""

    rows: tuple[OwnRow[Own], ...]
    tally: Tally
    lengths: Lengths | None = None


def show_own(
    source: str,
    said: Said | None,
    split: str | None,
    count: int,
    reader: Reader,
    limit: int | None = None,
) -> OwnShown:
    """The first `count` rows of a table through a named or own map, bad ones with their reasons.

    Where the reader counts tokens all samples are read (of a pair the longer answer), `limit` is the most
    that one may have, and a row that the model's template can't write is bad. Raises InputError when the
    source is no table, the map is none, or a file can't be read.
    """
    one = _map_of(said, split)
    try:
        table_only(source)
    except ValueError as error:
        raise InputError(str(error)) from None
    first: list[OwnRow[Own]] = []
    lengths = LengthCount("replies with their prompts, or longer answers of pairs", limit)

    def keeping() -> Iterator[OwnRow[Own]]:
        found: Iterator[OwnRow[Own]] = own_rows(source, one)
        for row in found:
            if reader.counts and row.made is not None:
                row = _counted(row, row.made, reader, lengths)
            if len(first) < count:
                first.append(row)
            yield row

    tally = counted(source, keeping())
    return OwnShown(tuple(first), tally, lengths.lengths())


def _map_of(said: Said | None, split: str | None) -> Made[Own]:
    """The map of conversations or pairs that is meant: a mapping that names answers is one of pairs."""
    if said is None or (isinstance(said, str) and said not in OWN_MAPS):
        raise InputError(
            f"give --domain, or a --map whose rows need none: {', '.join(OWN_MAPS)}, or a mapping of fields"
        )
    if said in PAIR_MAPS if isinstance(said, str) else not {"chosen", "rejected"}.isdisjoint(said):
        return pair_map(said, split)
    return chat_map(said, split)


def _counted(row: OwnRow[Own], made: Own, reader: Reader, lengths: LengthCount) -> OwnRow[Own]:
    try:
        found = [read.tokens or 0 for read in own_texts(made, reader)]
    except InputError as error:
        return OwnRow(row.place, row.row, fault=str(error))
    # both answers of a pair are trained together, or left out
    for tokens in found if isinstance(made, Chat) else [max(found)]:
        lengths.add(tokens)
    return row


def own_texts(made: Own, reader: Reader) -> list[Read]:
    """What it is trained on: each reply after all that was said before, or each answer of a pair."""
    if isinstance(made, Chat):
        return [reader.sample(item) for item in made.demonstrations("", last=False)]
    return list(reader.answers(made.pair("")))


def own_json(made: Own) -> dict[str, Any]:
    """A mapped row, as `--json` prints it; of a chat the id and the mode are those of its last reply."""
    if isinstance(made, Chat):
        last = made.demonstrations("", last=True)[0].problem
        return {"id": last.id, "messages": _plain(made.messages), "mode": str(last.mode)}
    answers = {"chosen": made.chosen, "rejected": made.rejected}
    return {"id": made.pair("").problem.id, "messages": _plain(made.messages)} | answers


def _plain(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]
