"""Files of rows as a stream of rows: JSONL, JSON, CSV and Parquet, plain or compressed, one file or many.

A row that is broken is told with its place and the rest goes on, as far as the format allows it. No file is
held whole: of a JSON array the element that is being read, of Parquet a batch.

What a row means is not known here, see `rows` and `maps`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cascade_rl.errors import InputError
from cascade_rl.sources.parquet import opened_zst, parquet

CHUNK = 1 << 20  # characters of a JSON array that are read at once
# a literal or an escape is shorter: a fault so near the end of what was read may be a cut
LONGEST_CUT = 16
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the first bytes: a file's name may be wrong


class Row(NamedTuple):
    """A row of a file: `place` is `path:line`, or `path: row n` where rows are no lines.

    `value` is None where `fault` says what is broken.
    """

    place: str
    value: dict[str, Any] | None
    fault: str = ""


def files(pattern: str) -> list[Path]:
    """The files of a path or a glob, sorted; `~` is the home directory.

    Raises InputError when nothing matches.
    """
    path = Path(pattern).expanduser()
    # a name with brackets in it that exists is meant as it stands
    if path.exists() or not any(mark in pattern for mark in "*?["):
        return [path]
    root = Path(path.anchor)
    found = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
    if not found:
        raise InputError(f"no file matches {pattern}")
    return found


def rows(scheme: str, path: Path) -> Iterator[Row]:
    """The rows of one file in its order; InputError when it can't be read at all or not to its end."""
    try:
        yield from FORMATS[scheme](path)
    except OSError as error:
        # gzip raises an OSError without a number for a file that is damaged
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"can't read {path}: the compressed file is damaged: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed where it begins as a compressed one."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(GZIP):
            with gzip.GzipFile(fileobj=file) as plain:
                yield io.BufferedReader(plain)
        elif head == ZSTANDARD:
            with opened_zst(path) as plain:
                yield plain
        else:
            yield file


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their number from 1; a byte order mark is taken off the first."""
    with _opened(path) as file:
        # only "\n" ends a line: texts also hold the separators that JSON leaves unescaped
        for number, line in enumerate(file, 1):
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if line.strip():
            yield _row(f"{path}:{number}", line)


def _json(path: Path) -> Iterator[Row]:
    """The elements of an array; a file that begins otherwise holds a row a line."""
    with _opened(path) as file:
        head = file.read(64).removeprefix(codecs.BOM_UTF8).lstrip()
    yield from _array(path) if head.startswith(b"[") else _jsonl(path)


def _row(place: str, text: bytes | str) -> Row:
    """A row from its JSON."""
    try:
        value = _loads(text)
    except UnicodeDecodeError as error:
        return Row(place, None, f"not UTF-8: {error.reason} at byte {error.start}")
    except UnicodeEncodeError:
        return Row(place, None, "not UTF-8: half of a surrogate pair is no character")
    except RecursionError:
        return Row(place, None, "nested too deeply")
    except ValueError as error:
        return Row(place, None, f"no JSON: {error}")
    if not isinstance(value, dict):
        return Row(place, None, f"the line holds {type(value).__name__}, not an object")
    return Row(place, value)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# NaN and Infinity are Python's own: no other reader of a run's files knows them
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _loads(said: bytes | str) -> Any:
    text = said.decode("utf-8") if isinstance(said, bytes) else said
    # bytes of an array that were no UTF-8 are surrogates by now
    text.encode()
    value = _DECODER.decode(text)
    # such an escape alone can't be written again; looked for only where there are any
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _array(path: Path) -> Iterator[Row]:
    """Rows of a JSON array, one at a time; InputError where it breaks: nobody knows what follows."""
    for number, element in enumerate(_elements(path), 1):
        yield _row(f"{path}: row {number}", element)


def _elements(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        # bytes that are no UTF-8 become surrogates, so that the fault stays in its row
        reader = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        buffer, ended, count = reader.read(CHUNK).lstrip()[1:], False, 0
        while True:
            buffer = buffer.lstrip()
            end = 0 if buffer[:1] in ("", "]") else _end(buffer, path, count, ended)
            if end is None or (not buffer and not ended):
                # doubling: an element that is cut is parsed again, in all in linear time
                more = reader.read(max(CHUNK, len(buffer)))
                buffer, ended = buffer + more, not more
                continue
            if end == 0:
                if buffer[:1] != "]" or (buffer[1:] + reader.read(CHUNK)).strip():
                    raise InputError(
                        f"{path}: row {count + 1}: the array is cut short or something follows it"
                    )
                return
            count += 1
            yield buffer[:end]
            buffer, separated = _separated(buffer[end:], reader)
            if not separated and buffer[:1] != "]":
                raise InputError(f"{path}: row {count}: no comma follows it")


def _separated(buffer: str, reader: io.TextIOWrapper) -> tuple[str, bool]:
    """What follows an element, without its comma, and whether there was one."""
    buffer = buffer.lstrip() or reader.read(CHUNK).lstrip()
    return (buffer[1:], True) if buffer[:1] == "," else (buffer, False)


def _end(buffer: str, path: Path, count: int, ended: bool) -> int | None:
    """Where the element at the start of the buffer ends; None if more must be read to know."""
    try:
        end = _DECODER.raw_decode(buffer)[1]
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(buffer) - LONGEST_CUT
        if cut and not ended:
            return None
        raise InputError(
            f"{path}: row {count + 1}: no JSON: {error.msg}; nothing after it can be read"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: row {count + 1}: no JSON: {error}; nothing after it can be read") from None
    # a number that ends where the buffer ends may go on
    return end if end < len(buffer) or ended else None


def _csv(path: Path) -> Iterator[Row]:
    """Rows of texts by the names in the first line; CSV knows no types, and an empty cell is an empty text."""
    # the default refuses cells over 128 KB, which a program or a file of a repository may well have
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = (line.decode("utf-8", "surrogateescape") for _, line in _lines(path))
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise InputError(f"{path}:{start}: the header is no CSV: {error}") from None
            yield Row(f"{path}:{start}", None, f"no CSV: {error}")
            continue
        if header is None:
            header = _header(path, start, cells)
        elif cells:
            yield _record(f"{path}:{start}", header, cells)


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    if twice := sorted({name for name in cells if cells.count(name) > 1}):
        raise InputError(f"{path}:{line}: the header names {', '.join(twice)} twice")
    return cells


def _record(place: str, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        return Row(place, None, f"{len(cells)} cells where the header has {len(header)}")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return Row(place, None, "not UTF-8")
    return Row(place, dict(zip(header, cells, strict=True)))


def _parquet(path: Path) -> Iterator[Row]:
    for number, value in enumerate(parquet(path), 1):
        yield Row(f"{path}: row {number}", value)


FORMATS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    # the older name
    "file": _jsonl,
}
