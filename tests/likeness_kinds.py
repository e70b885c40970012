"""Repairs of real source, and replies to each of one kind: what likeness should pay for, and what not."""

from __future__ import annotations

import colorsys
import difflib
import inspect
import random
import statistics
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib import parse

from cascade_rl.sources.repairs.bugs import bugs_of

Files = dict[str, str]
PATH = "django/contrib/admin/templatetags/admin_list.py"  # long: the path itself paid before
OTHER = "kit/other.py"


@dataclass(frozen=True)
class Repair:
    """A broken repository, and the same repaired."""

    files: Files
    golden: Files


@lru_cache(maxsize=1)
def sources() -> list[str]:
    """Functions and methods of the standard library, of 6 to 80 lines."""
    found = []
    for module in (textwrap, difflib, colorsys, statistics, parse):
        for _, thing in inspect.getmembers(module):
            members = [thing, *vars(thing).values()] if inspect.isclass(thing) else [thing]
            for one in members:
                if inspect.isfunction(one) and one.__module__ == module.__name__:
                    text = textwrap.dedent(inspect.getsource(one))
                    if 6 <= text.count("\n") <= 80:
                        found.append(text)
    return found


def file_of(rng: random.Random) -> str:
    return "\n\n".join(rng.sample(sources(), rng.randint(1, 3)))


@lru_cache(maxsize=64)
def bugs(text: str) -> list[str]:
    return [bug.text for bug in bugs_of(text)]


def _one_token(rng: random.Random, right: str) -> str:
    functions = right.split("\n\n\n")
    i = rng.randrange(len(functions))
    found = bugs(functions[i])
    return (
        "\n\n\n".join([*functions[:i], rng.choice(found), *functions[i + 1 :]])
        if found
        else _missing(rng, right)
    )


def _missing(rng: random.Random, right: str) -> str:
    """Two to six lines are not there yet."""
    lines = right.split("\n")
    size = rng.randint(2, 6)
    i = rng.randrange(1, max(2, len(lines) - size - 1))
    return "\n".join(lines[:i] + lines[i + size :])


def _other_lines(rng: random.Random, right: str) -> str:
    """Two to six lines are other code."""
    lines = right.split("\n")
    size = rng.randint(2, 6)
    i = rng.randrange(1, max(2, len(lines) - size - 1))
    return "\n".join(lines[:i] + code(rng, size) + lines[i + size :])


def code(rng: random.Random, count: int) -> list[str]:
    """So many lines with text that follow each other somewhere."""
    lines = [line for line in rng.choice(sources()).split("\n") if line.strip()]
    i = rng.randrange(max(1, len(lines) - count + 1))
    return lines[i : i + count]


def repairs(rng: random.Random, count: int) -> list[Repair]:
    made = []
    while len(made) < count:
        right = file_of(rng)
        wrong = rng.choice((_one_token, _missing, _other_lines))(rng, right)
        other = {OTHER: file_of(rng)}
        if wrong.split() != right.split():
            made.append(Repair({PATH: wrong} | other, {PATH: right} | other))
    return made


def opcodes(repair: Repair) -> list[tuple[str, int, int, int, int]]:
    old, new = (side[PATH].split("\n") for side in (repair.files, repair.golden))
    return difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def changed(repair: Repair) -> list[int]:
    """The lines of the repaired file that the broken one lacks."""
    found = [j for tag, _, _, a, b in opcodes(repair) if tag != "equal" for j in range(a, b)]
    lines = repair.golden[PATH].split("\n")
    return [j for j in found if lines[j].strip()]


def _with(repair: Repair, lines: list[str]) -> Files:
    return repair.files | {PATH: "\n".join(lines)}


def gold(repair: Repair, rng: random.Random) -> Files:
    return dict(repair.golden)


def one_token_off(repair: Repair, rng: random.Random) -> Files:
    """The repair, but for one token of its new lines."""
    lines, new = repair.golden[PATH].split("\n"), changed(repair)
    if not new:
        return repair.golden | {PATH: repair.golden[PATH] + "x"}
    i = rng.choice(new)
    words = lines[i].split(" ")
    k = rng.choice([k for k, word in enumerate(words) if word])
    words[k] = "wrong" if words[k] != "wrong" else "other"
    lines[i] = " ".join(words)
    return _with(repair, lines)


def and_a_comment(repair: Repair, rng: random.Random) -> Files:
    return repair.golden | {PATH: repair.golden[PATH] + "\n# repaired"}


def half_right(repair: Repair, rng: random.Random) -> Files:
    """The first half of the new lines, or, of one alone, its first half."""
    lines, new = repair.golden[PATH].split("\n"), changed(repair)
    gone = set(new[(len(new) + 1) // 2 :])
    kept = [line for j, line in enumerate(lines) if j not in gone]
    if len(new) == 1:
        kept[new[0]] = " ".join(lines[new[0]].split(" ")[: -(len(lines[new[0]].split()) // 2) or None])
    return _with(repair, kept)


def right_lines_elsewhere(repair: Repair, rng: random.Random) -> Files:
    lines, right = repair.files[PATH].split("\n"), repair.golden[PATH].split("\n")
    i = rng.randrange(len(lines))
    return _with(repair, lines[:i] + [right[j] for j in changed(repair)] + lines[i:])


def away(repair: Repair, rng: random.Random, count: int) -> int:
    """A line of the broken file that is not beside a change, if there is one."""
    lines = repair.files[PATH].split("\n")
    near = {k for tag, a, b, _, _ in opcodes(repair) if tag != "equal" for k in range(a - count, b + 1)}
    free = [i for i in range(1, max(2, len(lines) - count)) if i not in near]
    return rng.choice(free or [0])


def other_code_in_other_lines(repair: Repair, rng: random.Random) -> Files:
    lines, count = repair.files[PATH].split("\n"), rng.randint(1, 5)
    i = away(repair, rng, count)
    return _with(repair, lines[:i] + code(rng, count) + lines[i + count :])


def other_code_added(repair: Repair, rng: random.Random) -> Files:
    lines, i = repair.files[PATH].split("\n"), away(repair, rng, 1)
    return _with(repair, lines[:i] + code(rng, rng.randint(1, 8)) + lines[i:])


def other_code_at_the_place(repair: Repair, rng: random.Random) -> Files:
    """The right lines go, and as many others come."""
    lines = []
    old, new = repair.files[PATH].split("\n"), repair.golden[PATH].split("\n")
    for tag, a, b, c, d in opcodes(repair):
        lines += old[a:b] if tag == "equal" else code(rng, len(new[c:d]) or 1)
    return _with(repair, lines)


def a_comment(repair: Repair, rng: random.Random) -> Files:
    said = rng.choice(["#", "# fix", "# return the right value", '"""Done."""'])
    return _with(repair, [*repair.files[PATH].split("\n"), said])


def blanks(repair: Repair, rng: random.Random) -> Files:
    lines = [line + " " * rng.randint(0, 2) for line in repair.files[PATH].split("\n")]
    return _with(repair, [*lines, "", " "])


def lines_moved(repair: Repair, rng: random.Random) -> Files:
    lines = repair.files[PATH].split("\n")
    for _ in range(rng.randint(1, 4)):
        lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return _with(repair, [*lines, "\t"])


def lines_deleted(repair: Repair, rng: random.Random) -> Files:
    share = rng.choice([0.1, 0.3, 0.6, 1.0])
    return _with(repair, [*(line for line in repair.files[PATH].split("\n") if rng.random() > share), "\t"])


def lines_repeated(repair: Repair, rng: random.Random) -> Files:
    lines = [line for line in repair.files[PATH].split("\n") for _ in range(rng.choice([1, 1, 2, 3]))]
    return _with(repair, [*lines, "\t"])


def all_rewritten(repair: Repair, rng: random.Random) -> Files:
    return repair.files | {PATH: file_of(rng) + "\n# new"}


def context_copied(repair: Repair, rng: random.Random) -> Files:
    """The lines around the change, once more at its place."""
    lines = []
    old = repair.files[PATH].split("\n")
    for tag, a, b, _, _ in opcodes(repair):
        lines += old[a:b] if tag == "equal" else [*old[a:b], *old[max(0, a - 3) : b + 3]]
    return _with(repair, [*lines, "\t"])


Reply = Callable[[Repair, random.Random], Files]
NEAR: dict[str, Reply] = {
    "the golden files": gold,
    "and a comment": and_a_comment,
    "one token off": one_token_off,
    "half right": half_right,
    "right lines elsewhere": right_lines_elsewhere,
}
FAR: dict[str, Reply] = {
    "other code at the place": other_code_at_the_place,
    "other code in other lines": other_code_in_other_lines,
    "other code added": other_code_added,
    "a comment at the end": a_comment,
    "blanks added": blanks,
    "lines moved": lines_moved,
    "lines deleted": lines_deleted,
    "lines repeated": lines_repeated,
    "all rewritten": all_rewritten,
    "context copied": context_copied,
}
KINDS = NEAR | FAR
