"""Which kind of source a bare path is: told by what its first file holds, since names may be wrong."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import SCHEMES
from cascade_rl.sources.formats import files, rows

PARQUET = b"PAR1"  # how such a file begins


def source_of(said: str) -> str:
    """A source as a recipe names it, of one or of a bare path or glob.

    Raises InputError when nothing is there, or it is no table of rows.
    """
    if said.partition(":")[0] in SCHEMES:
        return said
    first = files(said)[0]
    if first.is_dir():
        raise InputError(f"{said} is a folder: name its files, such as {said.rstrip('/')}/*.jsonl")
    return f"{_scheme(first)}:{said}"


def _scheme(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if file.read(len(PARQUET)) == PARQUET:
                return "parquet"
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from None
    # CSV last: to its reader almost every text is one
    for scheme in ("jsonl", "json", "csv"):
        try:
            row = next(rows(scheme, path), None)
        except InputError:
            continue
        # a text in prose has one column, too
        if row is not None and row.value is not None and (scheme != "csv" or len(row.value) > 1):
            return scheme
    raise InputError(
        f"{path} holds no rows that can be read: want JSON objects, one a line or in an array, CSV with "
        "names in its first line, or Parquet"
    )
