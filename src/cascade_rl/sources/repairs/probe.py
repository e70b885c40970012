"""Find out what a function does: made-up arguments, recorded results, and which injected bugs they show.

Arguments of many kinds are tried, the names of the parameters hinting at some; the combination that reaches
most lines of the function is taken. The results of the original become its tests (characterisation tests,
Feathers 2004). All runs are in processes of their own with limits, the recording twice with different hash
seeds: what differs is dropped.
"""

from __future__ import annotations

import ast
import builtins
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cascade_rl.sources.repairs.bugs import Bug, bugs_of
from cascade_rl.sources.repairs.harvest import Piece

INSIDE = Path(__file__).with_name("probe_inside.py")
# combinations of kinds of arguments that are tried for a function, and calls with each
COMBINATIONS, CALLS_EACH = 48, 7
MOST_TESTS, FEWEST_TESTS = 14, 5
# of one function: tried in one process, and kept
MOST_BUGS_TRIED, MOST_BUGS = 64, 16
# short texts with capitals, marks, digits and an apostrophe, for branches on the kind of a character
WORDS = [
    "apple", "Bear", "cat-fish", "delta42", "echo", "fox_trot", "Golf", "hotel", "india", "it's", "kilo", "x",
    "y2", "Zulu", "the", "a", "of",
]  # fmt: skip

# errors that name the bug's place by themselves
PLAIN = ("NameError", "UnboundLocalError")

Make = Callable[[random.Random], Any]


def _words(rng: random.Random, low: int = 1, high: int = 9) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def _path(rng: random.Random) -> str:
    parts = rng.choices(
        ["usr", "lib", "..", ".", "a.txt", "b.tar.gz", "", "data", ".rc", "C:"], k=rng.randint(1, 5)
    )
    return rng.choice(["", "", "/", "//"]) + "/".join(parts)


def _list(make: Make, low: int = 1, high: int = 8) -> Make:
    return lambda rng: [make(rng) for _ in range(rng.randint(low, high))]


KINDS: dict[str, Make] = {
    "text": _words,
    "word": lambda rng: rng.choice(WORDS),
    "lines": lambda rng: "\n".join(
        " " * rng.choice((0, 2, 4)) + _words(rng, 0, 4) for _ in range(rng.randint(1, 5))
    ),
    "path": _path,
    "pattern": lambda rng: (
        rng.choice(["*", "?", "[a-c]", "[!x]", "a"]) + rng.choice(["*.py", "b?", "[x", "", "t*"])
    ),
    "markup": lambda rng: (
        rng.choice(["<b>", "a &amp; b", "&#65;", '"q"', "x<y"]) + rng.choice(WORDS) + rng.choice("<>&;'\"")
    ),
    "query": lambda rng: "&".join(
        f"{rng.choice('abc')}={rng.choice(['1', '%20x', '', 'b+c'])}" for _ in range(rng.randint(1, 4))
    ),
    "url": lambda rng: (
        rng.choice(["http://", "ftp://", "//", ""])
        + rng.choice(["u:p@host:80", "host", "[::1]:9"])
        + "/a;b?c=d#e"
    ),
    "digits": lambda rng: str(rng.randint(0, 99_999)),
    "hex": lambda rng: (
        rng.choice(["=41", "=C3=A9", "%41", "\\x41", "0x1f", "é", "=", ""]) + rng.choice(WORDS)
    ),
    "small": lambda rng: rng.randint(-9, 30),
    "count": lambda rng: rng.randint(1, 12),
    "large": lambda rng: rng.randint(1, 10 ** rng.randint(2, 9)),
    "year": lambda rng: rng.choice((1900, 1999, 2000, 2004, 2023, 2100)),
    "share": lambda rng: round(rng.random(), 3),
    "real": lambda rng: round(rng.uniform(-50, 50), 2),
    "flag": lambda rng: rng.random() < 0.5,
    "bytes": lambda rng: rng.choice(WORDS).encode() + rng.choice([b"", b" \t=", b"\xc3\xa9\n", b"."]),
    "integers": _list(lambda rng: rng.randint(-20, 40)),
    "sorted": lambda rng: sorted(rng.randint(0, 30) for _ in range(rng.randint(1, 9))),
    "reals": _list(lambda rng: round(rng.uniform(1, 60), 1), 2),
    "words": _list(lambda rng: rng.choice(WORDS)),
    "rows": _list(lambda rng: [rng.randint(0, 9) for _ in range(3)], 1, 4),
    "pairs": _list(lambda rng: (rng.choice(WORDS), rng.randint(0, 9)), 1, 5),
    "table": lambda rng: {word: rng.randint(0, 9) for word in rng.sample(WORDS, rng.randint(1, 4))},
    "paths": _list(_path, 1, 4),
}
# names of parameters as patterns, and kinds of KINDS that such parameters mostly take
HINTS = (
    (r"path|file|dir|^p$|name", "path word"), (r"year|^y\d", "year"),
    (r"month|day|hour|^n$|^k$|width|count|size|^i$|num", "count"),
    (r"text|string|^s$|doc|prompt|title|line", "text lines word"), (r"pat", "pattern"), (r"url|uri", "url"),
    (r"html|markup", "markup"), (r"data|xs|seq|iterable|values|^a$|list|items", "integers reals words"),
    (r"^x$|^y$|value|val", "real small large"), (r"^[rghlsvyiq]$|prob|frac|alpha", "share"),
    (r"header|body|query|qs", "query hex"), (r"char|^c$|octet", "word digits"), (r"bytes|buf|^b$", "bytes"),
    (r"dict|map|headers", "table"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """An injected bug that the recorded calls show: what each call gives with it, where that differs."""

    bug: Bug
    symptoms: dict[int, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Record:
    """A function's recorded calls and the bugs that they show.

    calls     literals of the arguments
    outcomes  of each call (kind, text), as probe_inside.py tells it
    lines     of the piece's text that each call goes through
    """

    calls: tuple[str, ...]
    outcomes: tuple[tuple[str, str], ...]
    lines: tuple[frozenset[int], ...]
    bugs: tuple[Found, ...]

    def each(self) -> Iterator[tuple[str, tuple[str, str], frozenset[int]]]:
        """The calls, one by one, with what came of each."""
        return zip(self.calls, self.outcomes, self.lines, strict=True)


@lru_cache(maxsize=4096)
def record(piece: Piece) -> Record | None:
    """What a function does and which bugs show; None when too little can be told. The same on every call."""
    # of the piece alone: all seeds and splits that meet it see the same tests
    rng = random.Random(f"{piece.name}/{piece.digests}")
    calls, combination = _made_up(piece, rng)
    # with another hash seed than the second: what depends on it differs, and is dropped
    first = _run([_job(piece, piece.text, calls)], hash_seed=0)
    if not first:
        return None
    chosen = _chosen(piece, first[0], combination)
    # a bug on a line that no chosen call reaches can't show
    lines = set().union(*(first[0][i][2] for i in chosen))
    bugs = _mixed([bug for bug in bugs_of(piece.text) if bug.line in lines], rng)[:MOST_BUGS_TRIED]
    kept = [calls[i] for i in chosen]
    if len(kept) < FEWEST_TESTS or not bugs:
        return None
    again = _run([_job(piece, text, kept) for text in (piece.text, *(bug.text for bug in bugs))], hash_seed=1)
    if not again:
        return None
    outcomes = [tuple(first[0][i][:2]) for i in chosen]
    steady = [n for n, outcome in enumerate(again[0]) if tuple(outcome[:2]) == outcomes[n]]
    right = [outcomes[n] for n in steady]
    found = []
    for bug, given in zip(bugs, again[1:], strict=True):
        symptoms = _symptoms(right, [tuple(given[n][:2]) for n in steady] if given else [])
        found += [Found(bug, symptoms)] if symptoms else []
    partial = [f for f in found if len(f.symptoms) < len(steady)]
    whole = [f for f in found if len(f.symptoms) == len(steady)]
    whole = whole[: 1 + len(partial) // 2]  # these are easily seen
    if len(steady) < FEWEST_TESTS or not found:
        return None
    through = tuple(frozenset(again[0][n][2]) for n in steady)
    shown = tuple((partial + whole)[:MOST_BUGS])
    return Record(tuple(kept[n] for n in steady), tuple(right), through, shown)


def _mixed(bugs: Sequence[Bug], rng: random.Random) -> list[Bug]:
    """Bugs in random order, those of every kind by turns: some kinds fit in many more places than others."""
    by_kind: dict[str, list[Bug]] = {}
    for bug in rng.sample(bugs, len(bugs)):
        by_kind.setdefault(bug.kind, []).append(bug)
    rounds = zip_longest(*(by_kind[kind] for kind in sorted(by_kind)))
    return [bug for turn in rounds for bug in turn if bug is not None]


def _job(piece: Piece, text: str, calls: Sequence[str]) -> dict[str, Any]:
    return {"text": text, "function": piece.name, "yields": piece.yields, "calls": list(calls)}


def _run(jobs: list[dict[str, Any]], hash_seed: int) -> list[list[list[Any]]]:
    """The outcomes of all jobs in a fresh process; none when it does not end well."""
    try:
        done = subprocess.run(
            [sys.executable, "-s", "-S", "-P", "-B", str(INSIDE)],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            # seconds for all jobs of a function; the process itself ends after 3 of processor time
            timeout=30,
            env={"PYTHONHASHSEED": str(hash_seed), "LC_ALL": "C.UTF-8"},
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return []
    return json.loads(done.stdout) if done.returncode == 0 else []


def _made_up(piece: Piece, rng: random.Random) -> tuple[list[str], list[int]]:
    """Literals of argument lists, and for each the number of its combination of kinds."""
    calls, owner = [], []
    for number in range(COMBINATIONS):
        optional = rng.random() < 0.3 and piece.required < len(piece.parameters)
        parameters = piece.parameters[: piece.required + optional]
        kinds = [_kind(parameter, rng, number) for parameter in parameters]
        for _ in range(CALLS_EACH):
            arguments = [KINDS[kind](rng) for kind in kinds]
            # as a literal, since the calls go to another process and into test files
            calls.append(repr(tuple(arguments)))
            owner.append(number)
    return calls, owner


def _kind(parameter: str, rng: random.Random, number: int) -> str:
    hinted = " ".join(kinds for pattern, kinds in HINTS if re.search(pattern, parameter.lower())).split()
    if hinted and rng.random() < 0.6:
        return rng.choice(hinted)
    names = list(KINDS)
    return names[number % len(names)] if rng.random() < 0.5 else rng.choice(names)


def _chosen(piece: Piece, results: list[list[Any]], owner: Sequence[int]) -> list[int]:
    """Calls for tests, of the combinations that reach most: first those with new lines, then new results."""
    # an error counts as an answer where the function raises it itself, not where it stumbles
    raised = {
        name
        for name in re.findall(r"\braise (\w+)", piece.text)
        if isinstance(getattr(builtins, name, None), type)
    }
    good = [i for i, (kind, text, _) in enumerate(results) if kind == "value" or text in raised]
    reach: dict[int, set[int]] = {}
    for i in good:
        reach.setdefault(owner[i], set()).update(results[i][2])
    # four values at least: a combination that mostly raises tests next to nothing
    steady = {
        number for number in reach if sum(owner[i] == number and results[i][0] == "value" for i in good) >= 4
    }
    best = sorted(steady, key=lambda number: (-len(reach[number]), number))[:4]
    pool = [i for number in best for i in good if owner[i] == number]
    chosen: list[int] = []
    seen_lines: set[int] = set()
    seen_texts: dict[str, int] = {}
    # reach first; what room is left goes to different results, three of a value and two of an error
    for fresh_lines in (True, False):
        for i in pool:
            kind, text, lines = results[i]
            new = seen_texts.get(text, 0) < (3 if kind == "value" else 2)
            if fresh_lines:
                new = not seen_lines.issuperset(lines)
            if i not in chosen and new and len(chosen) < MOST_TESTS:
                chosen.append(i)
                seen_lines.update(lines)
                seen_texts[text] = seen_texts.get(text, 0) + 1
    # a function with fewer than four different results hides most bugs
    return chosen if len(seen_texts) >= 4 else []


def _symptoms(
    right: list[tuple[str, str]], given: list[tuple[str, str]]
) -> dict[int, tuple[str, str]] | None:
    """Calls whose outcome differs; None when there are none, when some can't be told or don't come back.

    Nor does a bug count that a reader of the message finds at once, such as an undefined name.
    """
    if len(given) != len(right) or any(kind in ("hangs", "other") or text in PLAIN for kind, text in given):
        return None
    return {i: g for i, (r, g) in enumerate(zip(right, given, strict=True)) if not _passes(r, g)} or None


def _passes(right: tuple[str, str], given: tuple[str, str]) -> bool:
    """Whether a test for one outcome passes with the other."""
    if right[0] != given[0]:
        return False
    # pytest.raises takes subclasses, too
    if right[0] == "raises":
        return issubclass(getattr(builtins, given[1]), getattr(builtins, right[1]))
    return bool(ast.literal_eval(right[1]) == ast.literal_eval(given[1]))
