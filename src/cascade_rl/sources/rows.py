"""Problems from a JSONL file: the `file:PATH` source that every domain shares.

A row is `{"prompt" or "messages", "answer", "id"?, "split"?, "mode"?, "meta"?}`. A row without a split falls
into the one that the hash of its prompt names, so splits stay disjoint whatever the file holds. Files come from
outside: each row is checked once, here, and the error names its line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade_rl.sources.splits import split_of
from cascade_rl.types import Message, Mode, Problem, Split, problem_id

PREFIX = "file:"


def unknown_source(domain: str, source: str, known: tuple[str, ...]) -> ValueError:
    """The error for a source that a domain does not have."""
    return ValueError(f"{domain} has no source {source!r}; known: {', '.join(known)}")


def _messages(row: dict[str, Any]) -> tuple[Message, ...]:
    if isinstance(row.get("prompt"), str):
        return (Message("user", row["prompt"]),)
    return tuple(Message(m["role"], m["content"]) for m in row["messages"])


def _problem(row: dict[str, Any], domain: str) -> tuple[Problem, Split]:
    messages = _messages(row)
    identity = str(row.get("id") or problem_id(domain, [[m.role, m.content] for m in messages]))
    mode = Mode(row.get("mode", Mode.THINKING))
    problem = Problem(identity, domain, messages, row["answer"], mode, row.get("meta", {}))
    return problem, Split(row["split"]) if "split" in row else split_of(problem.prompt_text)


def file_problems(domain: str, source: str, split: Split, seed: int) -> Iterator[Problem]:
    """The rows of `split`, shuffled by the seed, without repeated ids; ValueError names the line that is wrong."""
    path = Path(source.removeprefix(PREFIX))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{domain}: can't read {path}: {error.strerror}") from None
    chosen: dict[str, Problem] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            problem, own = _problem(json.loads(line), domain)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}:{number}: want {{"prompt" or "messages", "answer", "id"?, "split"?}}: {error!r}'
            ) from None
        if own is split:
            chosen.setdefault(problem.id, problem)
    yield from random.Random(f"{split}/{seed}").sample(list(chosen.values()), len(chosen))
