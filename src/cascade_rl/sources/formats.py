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
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cascade_rl.errors import InputError
from cascade_rl.sources.parquet import opened_zst, parquet
from cascade_rl.verify.told import json_fault

CHUNK = 1 << 20  # characters of a JSON array that are read at once
# a literal or an escape is shorter: a fault so near the end of what was read may be a cut
LONGEST_CUT = 16
# a half of a surrogate pair, and what only Python reads as a number
DOUBTFUL = ("\\ud", "\\uD", "NaN", "Infinity")
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
    if "\0" in pattern:
        raise InputError(f"no path has a null character: {pattern!r}")
    try:
        path = Path(pattern).expanduser()
        # a name with brackets in it that exists is meant as it stands
        if path.exists() or not any(mark in pattern for mark in "*?["):
            return [path]
        root = Path(path.anchor)
        found = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
    # nobody's home, what is no glob, and a name that no file system has
    except (RuntimeError, ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"can't find {pattern!r:.200}: {why}") from None
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
    except UnicodeEncodeError:
        raise InputError(f"can't read {str(path)!r}: half of a surrogate pair is in no name") from None
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
            yield _line(f"{path}:{number}", line)


def _json(path: Path) -> Iterator[Row]:
    """The elements of an array; a file that begins otherwise holds a row a line."""
    with _opened(path) as file:
        head = file.read(64).removeprefix(codecs.BOM_UTF8).lstrip()
    yield from _array(path) if head.startswith(b"[") else _jsonl(path)


def _line(place: str, line: bytes) -> Row:
    """A row from its line of JSON."""
    try:
        text = line.decode("utf-8")
        return _checked(place, json.loads(text), text)
    except UnicodeDecodeError as error:
        return Row(place, None, f"not UTF-8: {error.reason} at byte {error.start}")
    except RecursionError:
        return Row(place, None, "nested too deeply")
    except json.JSONDecodeError as error:
        return Row(place, None, f"no JSON: {json_fault(error)}")
    # a whole number of more digits than Python reads
    except ValueError as error:
        return Row(place, None, f"no JSON: {error}")


def _checked(place: str, value: Any, text: str) -> Row:
    """A row from a value and the JSON that it was read of."""
    if not isinstance(value, dict):
        return Row(place, None, f"the line holds {type(value).__name__}, not an object")
    try:
        # of an array bytes that are no UTF-8 are surrogates by now
        text.encode()
        # looked for only where there may be any, since it takes as long as reading
        if any(mark in text for mark in DOUBTFUL):
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return Row(place, None, "not UTF-8: half of a surrogate pair is no character")
    except ValueError:
        return Row(place, None, "no JSON: NaN and Infinity are Python's own")
    return Row(place, value)


def _array(path: Path) -> Iterator[Row]:
    """Rows of a JSON array, one at a time; InputError where it breaks: nobody knows what follows."""
    with _opened(path) as file:
        # so that bytes that are no UTF-8 are a fault of their row alone
        text = _Text(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
        count = 0
        text.take("[")
        while not text.take("]"):
            count += 1
            try:
                value, said = text.element()
            except (ValueError, RecursionError) as error:
                why = "nested too deeply" if isinstance(error, RecursionError) else f"no JSON: {error}"
                raise InputError(f"{path}: row {count}: {why}; nothing after it can be read") from None
            yield _checked(f"{path}: row {count}", value, said)
            if not text.take(",") and text.peek() != "]":
                raise InputError(f"{path}: row {count}: neither a comma nor the end of the array follows it")
        if text.peek():
            raise InputError(f"{path}: row {count}: something follows the array")


class _Text:
    """JSON that is read as it is needed: what was taken is dropped when more is read."""

    def __init__(self, reader: io.TextIOWrapper) -> None:
        self._reader = reader
        self._buffer, self._at, self._ended = "", 0, False

    def _more(self) -> None:
        rest = self._buffer[self._at :]
        # doubling: an element that is cut is parsed again, in all in linear time
        read = self._reader.read(max(CHUNK, len(rest)))
        self._buffer, self._at, self._ended = rest + read, 0, not read

    def peek(self) -> str:
        """The next character that is not blank; an empty text at the end."""
        while True:
            match = _BLANK.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]
            self._more()

    def take(self, mark: str) -> bool:
        """Whether this character is next; then it is passed."""
        found = self.peek() == mark
        self._at += found
        return found

    def element(self) -> tuple[Any, str]:
        """The next value and its text; raises ValueError or RecursionError where it is no JSON."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
                # a number that ends where the buffer ends may go on
                if end < len(self._buffer) or self._ended:
                    said, self._at = self._buffer[self._at : end], end
                    return value, said
            except json.JSONDecodeError as error:
                near = error.pos >= len(self._buffer) - LONGEST_CUT
                if self._ended or not (near or error.msg.startswith("Unterminated string")):
                    raise ValueError(error.msg) from None
            self._more()


_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def _csv(path: Path) -> Iterator[Row]:
    """Rows of texts by the names in the first line; an empty cell is an empty text."""
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
