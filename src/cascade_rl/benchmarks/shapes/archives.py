"""LiveCodeBench Pro: problems in one set of the hub, their tests as a zip each in another."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade_rl.domain import Row
from cascade_rl.errors import InputError
from cascade_rl.sources.columns import RowError, listed, some, text
from cascade_rl.sources.parts import raw_rows

PROBLEMS, PROBLEMS_AT = "QAQAQAQAQ/LiveCodeBench-Pro", "adebffce047dddb7768a86bace6aea4f7425e3bc"
TESTS, TESTS_AT = "QAQAQAQAQ/LiveCodeBench-Pro-Testcase", "5257736c0a4e30ba0949d41c56a257c323d9c600"
LEVELS = ("easy", "medium")  # those that the report scores
TIMEOUT_S = 6.0  # seconds of one test; the contest's own limit stands in the statement
# the prompt of the authors' harness
ASK = (
    "You are a competitive programmer. You will be given a problem statement, please implement solution "
    "in C++. The execution time and memory limit are also stated in the statement so be aware of the "
    "complexity of the program. Please wrap the code in ```cpp and ``` so that it is properly formatted."
)


def contest_row(row: Row) -> dict[str, Any] | None:
    """A problem of C++ with its tests; None for a hard one, and for one whose tests are not published."""
    level = text(row, "difficulty").lower()
    if level not in LEVELS or row.get("tests") == []:
        return None
    if not some(row, "tests"):
        raise RowError(
            "no column tests: the hub's rows have none, their archives are joined when they are read there"
        )
    tests = [
        {"stdin": text_or_empty(t, "input"), "stdout": text_or_empty(t, "output")}
        for t in listed(row["tests"], "tests")
    ]
    return {
        "id": text(row, "problem_id"),
        "messages": [
            {"role": "system", "content": ASK},
            {"role": "user", "content": text(row, "problem_statement")},
        ],
        "answer": {"tests": tests, "language": "cpp", "timeout_s": TIMEOUT_S},
        "meta": {"group": level},
    }


def text_or_empty(test: Any, name: str) -> str:
    """A text of a test, which may be empty."""
    said = test.get(name) if isinstance(test, dict) else None
    if not isinstance(said, str):
        raise RowError(f"tests: want objects with input and output as texts, not {test!r:.60}")
    return said


def joined(source: str) -> Iterator[Row]:
    """Rows of the hub with the tests of their archives; a user's own as they are.

    A problem without an archive has no test: three of the second quarter of 2025. Raises InputError where an
    archive can't be fetched.
    """
    for row in raw_rows(source):
        if not source.startswith(f"hub:{PROBLEMS}@") or str(row.get("difficulty")).lower() not in LEVELS:
            yield row
            continue
        archive = _archive(text(row, "problem_id"))
        yield {**row, "tests": archived(archive) if archive else []}


def archived(path: Path) -> list[dict[str, str]]:
    """The tests of an archive, `testdata/1.in` with `testdata/1.ans`, in the order of their numbers."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        # stem -> the number that it ends with
        stems = [name.removesuffix(".in") for name in names if name.endswith(".in")]
        found = {stem: number for stem in stems if (number := _number(stem))}
        if lacking := [f"{stem}.in" for stem in found if f"{stem}.ans" not in names]:
            raise InputError(f"{path.name}: no answer to {min(lacking)}: fetch it again")
        if not found:
            raise InputError(f"{path.name}: no test in it: fetch it again")
        ordered = sorted(found, key=lambda stem: (int(found[stem]), stem))
        return [
            {
                "input": archive.read(f"{stem}.in").decode(errors="replace"),
                "output": archive.read(f"{stem}.ans").decode(errors="replace"),
            }
            for stem in ordered
        ]


def _number(stem: str) -> str:
    """The digits at its end."""
    return stem[len(stem.rstrip("0123456789")) :]


def _archive(problem: str) -> Path | None:
    """Where the archive of a problem lies, fetched if need be; None where the hub has none."""
    import httpx2
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(TESTS, f"{problem}.zip", repo_type="dataset", revision=TESTS_AT))
    # a kind of the next one: not in the cache, and the hub can't be asked
    except LocalEntryNotFoundError as error:
        raise InputError(f"{TESTS}: {problem}.zip can't be fetched: {error!s:.200}") from None
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise InputError(f"{TESTS}: {problem}.zip can't be fetched: {error!s:.200}") from None
