"""Tasks as they are written: read into records.

One task is a block of lines, in this order:

    name, other_name | xs: list[int], k: int | int          names, parameters, what is returned
    Return how many items of xs are greater than k.         the words; K is a number from 2 to 9
    # Count with a comparison; an empty list gives 0.       the thought: the approach and the edge case
        return sum(1 for x in xs if x > k)                  the function's body
    ! x > k => x >= k                                       a near miss: the body with one text replaced
    ~ ints, item                                            the kind of each argument, see `inputs`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

ROOMS = ("numbers", "lists", "texts", "tables")
CONSTANT = re.compile(r"\bK\b")


@dataclass(frozen=True, slots=True)
class Task:
    """One function of the table.

    names       what it may be called; the first is the task's own
    parameters  (name, type), in order
    misses      (text of the body, what stands there in a plausible wrong version)
    kinds       of each argument
    """

    names: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    returns: str
    words: str
    thought: str
    body: str
    misses: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]

    @property
    def has_constant(self) -> bool:
        """Whether a number is to be drawn for K."""
        return CONSTANT.search(self.words) is not None

    def wrong_bodies(self) -> tuple[str, ...]:
        """The body in each of its plausible wrong versions."""
        return tuple(self.body.replace(old, new, 1) for old, new in self.misses)


def filled(text: str, constant: int, name: str) -> str:
    """A text of a task with the number in the place of K, and with the function's name in that of NAME."""
    return CONSTANT.sub(str(constant), text).replace("NAME", name)


def read_task(block: str) -> Task:
    """A block of lines as a task; ValueError for one of another shape."""
    head, words, thought, *rest = block.split("\n")
    names, parameters, returns = (part.strip() for part in head.split(" | "))
    body = [line for line in rest if line.startswith("    ")]
    misses = [line[2:].split(" => ") for line in rest if line.startswith("! ")]
    [kinds] = [line[2:] for line in rest if line.startswith("~ ")]
    if not thought.startswith("# ") or len(body) + len(misses) + 1 != len(rest):
        raise ValueError(f"{names}: a line that is none of a task")
    if absent := [old for old, _ in misses if old not in "\n".join(body)]:
        raise ValueError(f"{names}: {absent[0]!r} is not in its function")
    return Task(
        tuple(names.split(", ")),
        # a comma within brackets belongs to a type
        tuple((name, kind) for name, kind in re.findall(r"(\w+): (\w+(?:\[[^:]*\])?)(?:, |$)", parameters)),
        returns,
        words,
        thought[2:],
        "\n".join(body),
        tuple((old, new) for old, new in misses),
        tuple(kinds.split(", ")),
    )


@lru_cache(maxsize=1)
def tasks() -> tuple[Task, ...]:
    """All tasks, in the order in which they are written."""
    texts = [files(__package__).joinpath(f"{room}.txt").read_text(encoding="utf-8") for room in ROOMS]
    return tuple(read_task(block) for text in texts for block in text.strip("\n").split("\n\n"))
