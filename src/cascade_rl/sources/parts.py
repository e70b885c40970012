"""What a source of rows is read in: files of a path or a glob, of a package, or a split of a set on a hub.

Rows come lazily and in one order. Each names its place for people; each part has a label for the ids of its
problems, which stays when all of it moves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.sources.formats import Row, files, rows
from cascade_rl.sources.hub import hub_rows, hub_set
from cascade_rl.sources.installed import package_files, package_rows


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a source; `rows` begins anew with each call.

    What it holds is known by the bytes at `path`, by its `commit`, or by reading alone where it has neither.
    """

    label: str
    rows: Callable[[], Iterator[Row]]
    path: Path | None = None
    commit: str | None = None


def parts(source: str) -> list[Part]:
    """The parts of a source of rows (`jsonl:PATH`, `hub:ORG/NAME@REVISION#SPLIT`, ...), in their order.

    Raises InputError when there is nothing of that name; what can't be read says so once its rows are asked.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "hub":
        named = hub_set(source, rest)
        # a branch or a tag may be another commit tomorrow
        commit = named.revision if re.fullmatch("[0-9a-f]{40}", named.revision) else None
        return [Part(named.label, partial(hub_rows, named), commit=commit)]
    if scheme == "package":
        found = package_files(source, rest)
        return [Part(inside, partial(package_rows, path, inside), path) for inside, path in found.items()]
    paths = files(rest)
    names = labels(paths)
    return [Part(names[path], partial(rows, scheme, path), path) for path in paths]


def raw_rows(source: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a source as they are; InputError for a line that is none."""
    for part in parts(source):
        for row in part.rows():
            if row.value is None:
                raise InputError(f"{row.place}: {row.fault}")
            yield row.value


def labels(paths: list[Path]) -> dict[Path, str]:
    """A name for each file that stays when all move: the file's own, with folders where two are alike."""
    if len({path.name for path in paths}) == len(paths):
        return {path: path.name for path in paths}
    shared = os.path.commonpath([path.parent for path in paths])
    return {path: path.relative_to(shared).as_posix() for path in paths}
