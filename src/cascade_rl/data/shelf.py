"""The rows of own tables, mapped once and kept in the run directory, from where what trains on them reads.

A table is mapped in one pass over its files, which counts its rows and writes what the map made of each (a
`Form`) into a store. It is found again by the content of the files, the map and the code that maps; so a
resume that meets the same files maps nothing, and stages that share a table share its store. What a stage
trains on is known by what is in the store: rows that another version maps alike are the same data.
"""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cascade_rl import chat
from cascade_rl.errors import InputError, Interrupted
from cascade_rl.recipe import digest
from cascade_rl.recipe.tables import BadRows
from cascade_rl.run.files import read_json
from cascade_rl.run.store import Store, Writer, open_store, writing
from cascade_rl.sources import chats, formats, operations, own_maps, preferences
from cascade_rl.sources.formats import GZIP, ZSTANDARD
from cascade_rl.sources.own_rows import Counts, Made, refuse_bad, rows_of_part
from cascade_rl.sources.parts import Part, parts
from cascade_rl.types import Message, Tally

PACKED = (GZIP, ZSTANDARD, b"PAR1")  # the first bytes of files whose line ends are none of rows
BLOCK = 1 << 22  # bytes of a file that are looked at together
TOLD = 4096  # rows between two words on how far it is
# What decides what a row becomes: another version of it maps the rows anew.
MAKERS = (chat, chats, preferences, formats, own_maps, operations)

T = TypeVar("T")


def _deaf(what: str, share: float | None) -> None:
    """Nobody listens."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a run keeps the rows of its tables, whom it tells how far it is, and who may stop it."""

    folder: Path
    waiting: Callable[[str, float | None], None] = _deaf
    stop_asked: Callable[[], bool] = _never

    def told(self, what: str, share: float | None) -> None:
        """Say how far it is; raises Interrupted where somebody wants it to end."""
        self.waiting(what, share)
        if self.stop_asked():
            raise Interrupted(
                f"stopped while {what}: nothing of it is kept, and it begins anew the next time"
            )


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How what a map made of a row is kept.

    columns  what is kept beside the records, as names of `array` type codes
    record   what stands in the store; it also appends to the columns
    """

    columns: Mapping[str, str]
    record: Callable[[T, Mapping[str, array[int]]], bytes]


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A table of own rows: its source, what makes items of its rows and what the recipe says of that (JSON).

    `bad_rows` says how many of them may be left out.
    """

    source: str
    made: Made[T]
    said: str
    bad_rows: BadRows


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a table in a store, what became of them, and 16 hex digits of all that it holds."""

    store: Store
    tally: Tally
    content: str


@dataclass(frozen=True, slots=True)
class _Looked:
    """A part as it was looked at: bytes, what decides its rows, and line ends if they tell rows.

    `digest` is None where nothing but reading decides.
    """

    part: Part
    size: int = 0
    digest: str | None = None
    lines: int = 0


def keep(shelf: Shelf, form: Form[T], table: Table[T]) -> Kept:
    """The rows of a table, from the shelf or mapped now.

    Raises InputError for what can't be used, as `own_rows.refuse_bad` says it; Interrupted; NoRoom.
    """
    looked = list(_looked_at(shelf, table.source))
    files = [[seen.part.label, str(seen.part.path), seen.digest] for seen in looked]
    key = digest([table.source, table.said, files, _code(), dict(form.columns)])
    folder = shelf.folder / key
    known = all(seen.digest is not None for seen in looked)
    store = open_store(folder, key) if known else None
    if store is None:
        _map(shelf, form, table, looked, key)
        store = open_store(folder, key)
    if store is None:
        raise InputError(
            f"{folder} can't be read right after it was written: the disk loses what it is given"
        )
    tally = Tally(**{name: _tuple(value) for name, value in store.facts["tally"].items()})
    # again: what one stage skips another may refuse
    refuse_bad(tally, table.bad_rows)
    return Kept(store, tally, store.facts["content"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _code() -> str:
    """The digest of the code that makes items of rows."""
    return digest([Path(str(module.__file__)).read_text(encoding="utf-8") for module in MAKERS])


def _looked_at(shelf: Shelf, source: str) -> Iterator[_Looked]:
    """The parts of a source with the digests of their bytes."""
    found = parts(source)
    try:
        total, done = sum(part.path.stat().st_size for part in found if part.path) or 1, 0
        for part in found:
            if part.path is None:
                yield _Looked(part, digest=part.commit)
                continue
            size = lines = 0
            hasher = hashlib.sha256()
            with part.path.open("rb") as file:
                packed = file.read(4).startswith(PACKED)
                file.seek(0)
                while block := file.read(BLOCK):
                    hasher.update(block)
                    size += len(block)
                    lines += block.count(b"\n")
                    shelf.told(f"looking at {source}", min(1.0, (done + size) / total))
            done += size
            yield _Looked(part, size, hasher.hexdigest(), 0 if packed else lines)
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror}") from None


def _map(shelf: Shelf, form: Form[T], table: Table[T], looked: list[_Looked], key: str) -> None:
    """One pass over the parts: every row mapped, counted and written into a store."""
    _clear(shelf.folder, table)
    counts, hasher = Counts[T](), hashlib.blake2b(digest_size=8)
    total, done = sum(seen.size for seen in looked), 0
    with writing(shelf.folder / key, form.columns) as writer:
        for seen in looked:
            begun = counts.read
            for row in rows_of_part(seen.part, table.made):
                _keep_row(form, counts.add(row), writer, hasher)
                if counts.read % TOLD == 0:
                    # where nobody knows how many rows are left, a file counts once it is read
                    part = min(1.0, (counts.read - begun) / seen.lines) if seen.lines else 0.0
                    share = (done + part * seen.size) / total if total else None
                    shelf.told(f"mapping {table.source}: {counts.read:,} rows", share)
            done += seen.size
            if seen.part.path and seen.part.path.stat().st_size != seen.size:
                raise InputError(
                    f"{seen.part.path} changed while it was read; start again once it stays as it is"
                )
        tally = counts.tally(table.source)
        refuse_bad(tally, table.bad_rows)
        told = {"tally": asdict(tally), "said": table.said, "content": hasher.hexdigest()}
        writer.finish(key, told)


def _clear(folder: Path, table: Table[T]) -> None:
    """Remove what is kept of a table whose rows are others by now, and what a killed pass left behind."""
    for path in folder.glob("*"):
        told = read_json(path / "store.json") if path.is_dir() else None
        facts = told.get("facts", {}) if isinstance(told, dict) else {}
        same = (facts.get("tally", {}).get("source"), facts.get("said")) == (table.source, table.said)
        if same or path.name.endswith(".tmp"):
            shutil.rmtree(path)


def written(message: Message) -> list[str]:
    """A message as a record holds it: `Message(*written(m)) == m`."""
    return [message.role, message.content, *([message.form] if message.form else [])]


def _keep_row(form: Form[T], made: T | None, writer: Writer, hasher: hashlib.blake2b) -> None:
    if made is None:
        return
    record = form.record(made, writer.columns)
    writer.add(record)
    hasher.update(len(record).to_bytes(8, "little"))
    hasher.update(record)
