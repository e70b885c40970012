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
from cascade_rl.run.files import read_json
from cascade_rl.run.store import Store, Writer, open_store, writing
from cascade_rl.sources import chats, formats, own_rows, preferences
from cascade_rl.types import Tally

BLOCK = 1 << 22  # bytes of a file that are looked at together
TOLD = 4096  # rows between two words on how far it is
# What decides what a row becomes: another version of it maps the rows anew.
MAKERS = (chat, chats, preferences, formats)
LINES = ("jsonl", "file", "csv")  # schemes whose rows are about as many as the line ends of a plain file

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

    maps     by name
    columns  what is kept beside the records, as names of `array` type codes
    record   what stands in the store; it also appends to the columns
    """

    maps: Mapping[str, Callable[[Mapping[str, Any]], T | None]]
    columns: Mapping[str, str]
    record: Callable[[T, Mapping[str, array[int]]], bytes]


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows of a table in a store, what became of them, and 16 hex digits of all that it holds."""

    store: Store
    tally: Tally
    content: str


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was looked at: bytes, digest, and line ends if they say how many rows there are."""

    path: Path
    size: int
    digest: str
    lines: int


def keep(shelf: Shelf, form: Form[T], source: str, name: str, *, skip: bool) -> Kept:
    """The rows of a source through the map `name`, from the shelf or mapped now.

    Raises InputError for what can't be used, as `own_rows.refuse_bad` says it; Interrupted; NoRoom.
    """
    found = list(_looked_at(shelf, source))
    key = digest([source, name, [[str(f.path), f.digest] for f in found], _code(), dict(form.columns)])
    folder = shelf.folder / key
    store = open_store(folder, key)
    if store is None:
        _map(shelf, form, source, name, found, key, skip=skip)
        store = open_store(folder, key)
    if store is None:
        raise InputError(
            f"{folder} can't be read right after it was written: the disk loses what it is given"
        )
    tally = Tally(**{name: _tuple(value) for name, value in store.facts["tally"].items()})
    # again: what one stage skips another may refuse
    own_rows.refuse_bad(tally, skip=skip)
    return Kept(store, tally, store.facts["content"])


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _code() -> str:
    """The digest of the code that makes items of rows."""
    return digest([Path(str(module.__file__)).read_text(encoding="utf-8") for module in MAKERS])


def _looked_at(shelf: Shelf, source: str) -> Iterator[_File]:
    """The files of a source with the digests of their bytes."""
    scheme, _, pattern = source.partition(":")
    paths = formats.files(pattern)
    try:
        total = sum(path.stat().st_size for path in paths)
        done = 0
        for path in paths:
            size = lines = 0
            hasher = hashlib.sha256()
            with path.open("rb") as file:
                head = file.read(4)
                file.seek(0)
                while block := file.read(BLOCK):
                    hasher.update(block)
                    size += len(block)
                    lines += block.count(b"\n")
                    shelf.told(f"looking at {source}", (done + size) / max(total, done + size))
            done += size
            plain = scheme in LINES and not head.startswith((formats.GZIP, formats.ZSTANDARD))
            yield _File(path, size, hasher.hexdigest(), lines if plain else 0)
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror}") from None


def _map(
    shelf: Shelf, form: Form[T], source: str, name: str, found: list[_File], key: str, *, skip: bool
) -> None:
    """One pass over the files: every row mapped, counted and written into a store."""
    _clear(shelf.folder, source, name)
    scheme = source.partition(":")[0]
    counts, hasher = own_rows.Counts[T](), hashlib.blake2b(digest_size=8)
    total, done = sum(file.size for file in found) or 1, 0
    with writing(shelf.folder / key, form.columns) as writer:
        for file in found:
            begun = counts.read
            for row in own_rows.rows_of_file(scheme, file.path, form.maps[name]):
                _keep_row(form, counts.add(row), writer, hasher)
                if counts.read % TOLD == 0:
                    # nobody knows how many rows a compressed file has left: it counts once it is read
                    part = min(1.0, (counts.read - begun) / file.lines) if file.lines else 0.0
                    shelf.told(f"mapping {source}: {counts.read:,} rows", (done + part * file.size) / total)
            done += file.size
            if file.path.stat().st_size != file.size:
                raise InputError(f"{file.path} changed while it was read; start again once it stays as it is")
        tally = counts.tally(source)
        own_rows.refuse_bad(tally, skip=skip)
        told = {"tally": asdict(tally), "map": name, "content": hasher.hexdigest()}
        writer.finish(key, told)


def _clear(folder: Path, source: str, name: str) -> None:
    """Remove what is kept of a table whose rows are others by now, and what a killed pass left behind."""
    for path in folder.glob("*"):
        told = read_json(path / "store.json") if path.is_dir() else None
        facts = told.get("facts", {}) if isinstance(told, dict) else {}
        if path.name.endswith(".tmp") or (facts.get("tally", {}).get("source"), facts.get("map")) == (
            source,
            name,
        ):
            shutil.rmtree(path)


def _keep_row(form: Form[T], made: T | None, writer: Writer, hasher: hashlib.blake2b) -> None:
    if made is None:
        return
    record = form.record(made, writer.columns)
    writer.add(record)
    hasher.update(len(record).to_bytes(8, "little"))
    hasher.update(record)
