"""Repairs made from installed packages: a function that stands alone, an injected bug, tests of what it did.

The source `packages` of `swe`. A problem is a small repository with one broken function; the issue tells
symptoms (the call, what came out, what should), never the place. Half of the repositories hold only the
broken file, half up to four others, in random order (arXiv 2512.13607, SWE RL: half of the prompts with
wrongly localised files). `small-packages` shows the broken file alone, and has short prompts only.

Splits share no function and no copy of one. Everything is read from the installation at hand: another version
of Python or of a package gives other problems.
"""

from __future__ import annotations

import ast
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from cascade_rl.domain import Query
from cascade_rl.sources.repairs.bugs import KINDS
from cascade_rl.sources.repairs.harvest import STANDARD, Piece, catalogue
from cascade_rl.sources.repairs.probe import Found, Record, record
from cascade_rl.types import Message, Problem, Split, problem_id
from cascade_rl.verify.patches.diffs import unified_diff
from cascade_rl.verify.patches.edits import edits_between, solution_text

FOLDER = "kit"  # of the problem's modules, whatever package they come from
MOST_OTHERS = 4  # files beside the broken one
# characters of a prompt of `small-packages`: some 600 tokens, for models that bear no more
SHORT_PROMPT = 1600
LEVELS = ((0.34, "easy"), (0.47, "medium"), (1.0, "hard"))  # the most that a problem of a level scores

ASK = """\
Fix the bug that the issue describes. Reply with SEARCH/REPLACE edits, each in its own fenced block that \
names the file first; the SEARCH lines must stand in the file exactly once:

```diff
### path/of/file.py
<<<<<<< SEARCH
lines as they are
=======
lines as they should be
>>>>>>> REPLACE
```

Issue: {issue}

{files}"""
OPENINGS = ("{call} {got}.", "When I call {call}, it {got}.", "I found that {call} {got}.")
WISHES = ("It should {want}.", "Expected: it should {want}.", "According to its contract it should {want}.")
ALSO = ("Likewise {call} {got}, and should {want}.", "The same with {call}: it {got}; it should {want}.")


def from_packages(query: Query) -> Iterator[Problem]:
    """Problems of `packages` (the standard library) or `packages:NAME,...` (installed packages and modules).

    Every function of the split in turn gives one problem, until there are no bugs left.
    """
    yield from _problems(query, small=False)


def small_from_packages(query: Query) -> Iterator[Problem]:
    """Problems of `small-packages` or `small-packages:NAME,...`: the broken file alone, in a short prompt."""
    yield from _problems(query, small=True)


def _problems(query: Query, small: bool) -> Iterator[Problem]:
    names = tuple(query.rest.split(",")) if query.rest else STANDARD
    pieces = [piece for piece, own in catalogue(names) if own is query.split]
    if small:
        # before they are run, which takes longest
        pieces = [piece for piece in pieces if len(ASK) + len(piece.text) <= SHORT_PROMPT]
    rng = query.rng()
    rng.shuffle(pieces)
    left: dict[Piece, list[Found]] = {}
    seen: set[str] = set()
    used: Counter[str] = Counter()
    # in rounds over all functions, so that the first problems come from many of them
    while pieces:
        for piece in list(pieces):
            known = record(piece)
            bugs = left.setdefault(piece, rng.sample(known.bugs, len(known.bugs)) if known else [])
            # a list of its own is walked, so that a piece may be taken out here
            if known is None or not bugs:
                pieces.remove(piece)
                continue
            # the kind that was used least: some fit in many more places than others
            found = min(bugs, key=lambda f: used[f.bug.kind])
            bugs.remove(found)
            used[found.bug.kind] += 1
            others = [] if small else _others(piece, names, query.split)
            problem = _problem(piece, known, found, others, rng)
            if problem.id not in seen and not (small and len(problem.prompt_text) > SHORT_PROMPT):
                seen.add(problem.id)
                yield problem


@lru_cache(maxsize=64)
def _files_of(names: tuple[str, ...], split: Split) -> dict[str, str]:
    """The files that may stand beside a broken one: of the same split, one for each module."""
    return {_path(piece): piece.text for piece, own in catalogue(names) if own is split}


def _others(piece: Piece, names: tuple[str, ...], split: Split) -> list[tuple[str, str]]:
    return [(path, text) for path, text in _files_of(names, split).items() if path != _path(piece)]


def _path(piece: Piece) -> str:
    return f"{FOLDER}/{piece.module.rpartition('.')[2].lstrip('_')}.py"


def _problem(
    piece: Piece, known: Record, found: Found, others: Sequence[tuple[str, str]], rng: random.Random
) -> Problem:
    path, bug = _path(piece), found.bug
    shown = {path: bug.text}
    if rng.random() < 0.5:
        shown |= dict(rng.sample(others, min(len(others), rng.randint(1, MOST_OTHERS))))
    # so that the place in the prompt tells nothing of the bug's file
    order = rng.sample(sorted(shown), len(shown))
    issue = _issue(piece, known, found, rng)
    prompt = ASK.format(issue=issue, files="\n\n".join(f"### {p}\n{shown[p]}".rstrip() for p in order))
    files = shown | {f"{FOLDER}/__init__.py": ""}
    test_path = f"tests/test_{path.removeprefix(FOLDER + '/')}"
    ids = [f"{test_path}::test_{piece.name}_{i}" for i in range(len(known.calls))]
    # the tests hold what the function did, so a golden patch passes them by construction
    answer = {
        "files": files,
        "patch": unified_diff({path: bug.text}, {path: piece.text}),
        "tests": {
            "fail_to_pass": [ids[i] for i in found.symptoms],
            "pass_to_pass": [ids[i] for i in range(len(ids)) if i not in found.symptoms],
        },
        "test_files": {test_path: _tests(piece, known)},
    }
    meta = {
        "family": piece.module,
        "function": piece.name,
        "place": bug.place,
        "kind": bug.kind,
        "issue": issue,
        "edits": solution_text(edits_between(path, bug.text, piece.text)),
        "thought": f"The fault is in {bug.place} of {path}.",
        "difficulty": _difficulty(piece, known, found, shown),
    }
    return Problem(problem_id("swe", prompt), "swe", (Message("user", prompt),), answer, meta=meta)


def _call(piece: Piece, arguments: str) -> str:
    values = ", ".join(map(repr, ast.literal_eval(arguments)))
    return f"list({piece.name}({values}))" if piece.yields else f"{piece.name}({values})"


def _tests(piece: Piece, known: Record) -> str:
    """A test file with one test for each recorded call."""
    module = _path(piece).removesuffix(".py").replace("/", ".")
    out = [f"import pytest\nfrom {module} import {piece.name}\n"]
    for i, (arguments, (kind, text)) in enumerate(zip(known.calls, known.outcomes, strict=True)):
        call = _call(piece, arguments)
        # the kind of error only: its words may differ between versions of Python
        raising = f"    with pytest.raises({text}):\n        {call}"
        check = f"    assert {call} == {text}" if kind == "value" else raising
        out.append(f"\ndef test_{piece.name}_{i}():\n{check}\n")
    return "\n".join(out)


def _does(outcome: tuple[str, str], verb: str) -> str:
    kind, text = outcome
    return f"{'returns' if verb == 's' else 'return'} `{text}`" if kind == "value" else f"raise{verb} {text}"


def _issue(piece: Piece, known: Record, found: Found, rng: random.Random) -> str:
    """What a user would report: one or two calls whose outcome is wrong, the shortest being likeliest."""
    ranked = sorted(found.symptoms, key=lambda i: (len(known.calls[i]) + len(known.outcomes[i][1]), i))
    shown = ranked[:1] + ([rng.choice(ranked[1:3])] if len(ranked) > 1 and rng.random() < 0.6 else [])
    told = []
    for i in shown:
        words = {
            "call": f"`{_call(piece, known.calls[i])}`",
            "got": _does(found.symptoms[i], "s"),
            "want": _does(known.outcomes[i], ""),
        }
        told.append(words)
    text = f"{rng.choice(OPENINGS).format(**told[0])} {rng.choice(WISHES).format(**told[0])}"
    return text + "".join(" " + rng.choice(ALSO).format(**words) for words in told[1:])


def _difficulty(piece: Piece, known: Record, found: Found, shown: dict[str, str]) -> dict[str, Any]:
    """How hard a problem should be, from 0 to 1, and what that is made of.

    Lines and files to search, the kind of bug, how few tests show it, and whether it lies in another function
    than the one that fails. The weights are a judgement, not a fit; `level` splits the problems in about
    three equal parts.
    """
    lines = sum(bool(line.strip()) for text in shown.values() for line in text.split("\n"))
    share = len(found.symptoms) / len(known.calls)
    helper = found.bug.place != piece.name
    # 0 at 8 lines, 1 at 512 and more, by doublings
    search = min(1.0, math.log2(max(1, lines / 8)) / 6)
    score = 0.35 * search + 0.25 * KINDS[found.bug.kind] + 0.2 * (1 - share) + 0.2 * helper
    level = next(name for most, name in LEVELS if score <= most)
    return {
        "level": level,
        "score": round(score, 3),
        "lines": lines,
        "files": len(shown),
        "failing": round(share, 3),
        "elsewhere": helper,
    }
