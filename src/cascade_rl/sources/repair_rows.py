"""Rows of code repair as problems of `swe`: Nemotron-Cascade-RL-SWE, and SWE-bench and its heirs.

What can be graded without a checkout of the repository: RL's reward, which compares a patch with the golden
one on the files that the row holds. Tests are taken over only where the row holds the files that they are in.

Not here: repositories. A row that names one and a commit, but holds no file, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade_rl.sources.columns import RowError, column, listed, parsed, shown, some, text
from cascade_rl.sources.repairs.packages import ASK
from cascade_rl.verify.patches.appraise import PatchError, apply_patch

Row = Mapping[str, Any]
Files = dict[str, str]

# how sets call the two columns of a file where they have a list of them
PATHS, TEXTS = ("path", "file_path", "filename"), ("content", "contents", "text")
# SWE-bench_oracle and the sets with retrieved files quote them so, each line behind its number
_QUOTED = re.compile(r"^\[start of (?P<path>[^\]\n]+)\]\n(?P<text>.*?)\n\[end of (?P=path)\]$", re.M | re.S)
# pytest's; unittest's `test_a (tests.Case)`, which Django's rows have, is none
_NODE_ID = re.compile(r"(?P<path>[^\s:]+\.py)::\S.*", re.S)


def nemotron_swe(row: Row) -> dict[str, Any]:
    """`prompt` as it stands, `golden_patch`, `relevant_file_contents`, `instance_id`."""
    files = _files(column(row, "relevant_file_contents"), "relevant_file_contents")
    patch = text(row, "golden_patch")
    _mended(patch, files, "golden_patch")
    answer = {"files": files, "patch": patch}
    return {"messages": _asked(row), "answer": answer, "id": text(row, "instance_id")}


def swe_bench(row: Row) -> dict[str, Any]:
    """`problem_statement`, `patch` and files: a column `files`, or quoted in `text` as SWE-bench_oracle's."""
    whole = some(row, "files") is not None
    if not whole and not some(row, "text"):
        raise RowError(
            "no file: rows of SWE-bench name a repository and a commit, and nothing is fetched; add a column "
            "files ({path: text}) from a checkout, or take a set that quotes them in text (SWE-bench_oracle)"
        )
    files = _files(row["files"], "files") if whole else _quoted(text(row, "text"))
    patch, issue = text(row, "patch"), text(row, "problem_statement")
    after = _mended(patch, files, "patch")
    # of a whole repository the files that are to be mended; else what the set chose to show
    seen = [path for path in sorted(files) if not whole or files[path] != after.get(path)]
    if not seen:
        raise RowError("patch: it changes none of the files that are there, so that there is nothing to show")
    prompt = ASK.format(
        issue=issue.rstrip(), files="\n\n".join(f"### {path}\n{files[path]}".rstrip() for path in seen)
    )
    tests, why = _tests(row, files) if whole else ({}, "only files that are quoted are there")
    meta = {"issue": issue, "tests": why or "by pytest"}
    answer = {"files": files, "patch": patch, **tests}
    return {"prompt": prompt, "answer": answer, "id": text(row, "instance_id"), "meta": meta}


def _asked(row: Row) -> list[dict[str, Any]]:
    """The messages of a prompt that is a text or a list of them."""
    prompt = column(row, "prompt")
    if isinstance(prompt, str):
        return [{"role": "user", "content": text(row, "prompt")}]
    found = listed(prompt, "prompt")
    if not found or not all(isinstance(m, Mapping) and {"role", "content"} <= set(m) for m in found):
        raise RowError(f"prompt: want a text, or messages with role and content, not {shown(prompt)}")
    return [{"role": m["role"], "content": m["content"]} for m in found]


def _files(said: Any, name: str) -> Files:
    """Files by path: an object, or a list of them with their paths; perhaps as JSON."""
    found = parsed(said, name)
    if isinstance(found, list) and all(isinstance(file, Mapping) for file in found):
        found = {_of(file, PATHS): _of(file, TEXTS) for file in found}
    # Parquet pads objects with the keys of all other rows
    files = (
        {path: body for path, body in found.items() if body is not None} if isinstance(found, Mapping) else {}
    )
    if not files or not all(isinstance(part, str) for file in files.items() for part in file):
        raise RowError(f"{name}: want {{path: text}}, or a list of path and content, not {shown(said)}")
    return files


def _of(file: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((file[name] for name in names if isinstance(file.get(name), str)), None)


def _quoted(said: str) -> Files:
    """The files that a prompt of SWE-bench's own form quotes."""
    files = {found["path"]: _unnumbered(found["text"]) for found in _QUOTED.finditer(said)}
    if not files:
        raise RowError(f"text: no [start of PATH] ... [end of PATH] in {shown(said)}")
    return files


def _unnumbered(said: str) -> str:
    """A file without the numbers of its lines; as it is where its lines have none."""
    lines = said.split("\n")
    numbers = [f"{number} " for number in range(1, len(lines) + 1)]
    if not all(line.startswith(number) for line, number in zip(lines, numbers, strict=True)):
        return said
    return "\n".join(line[len(number) :] for line, number in zip(lines, numbers, strict=True))


def _mended(patch: str, files: Files, name: str) -> Files:
    """The files after a patch; RowError where it does not fit: nothing could be compared with it."""
    try:
        return apply_patch(patch, files)
    except PatchError as error:
        raise RowError(f"{name}: it does not fit the files: {type(error).__name__}: {error}") from None


def _tests(row: Row, files: Files) -> tuple[dict[str, Any], str]:
    """`tests` and `test_files` of an answer, or nothing and the reason why they can't be run."""
    named = {kind.lower(): listed(row.get(kind) or [], kind) for kind in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    if not named["fail_to_pass"]:
        return {}, "none are named"
    after = _mended(text(row, "test_patch"), files, "test_patch") if some(row, "test_patch") else files
    for name in (name for names in named.values() for name in names):
        found = _NODE_ID.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            return {}, f"{shown(name)} is no node id of pytest"
        if found["path"] not in after:
            return {}, f"{found['path']} is not among the files"
    changed = {path: body for path, body in after.items() if files.get(path) != body}
    return {"tests": named, **({"test_files": changed} if changed else {})}, ""
