"""Problems from a JSONL file: the source `file:PATH` that every domain shares.

A row is `{"prompt" or "messages", "answer", "id"?, "split"?, "mode"?, "meta"?}`. A row without a split falls
into the one that the hash of its prompt names, so splits stay disjoint whatever the file holds. Files come
from outside: each row of every split is checked once, here, by its form and by the domain's `check_answer`,
and the error names the lines that are wrong.

Not here: other formats (Parquet, columns of other names) and whether the problems are any good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade_rl.domain import Domain, Query
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Message, Mode, Problem, Split, problem_id

FORM = '{"prompt" or "messages", "answer", "id"?, "split"?}'
MOST_NAMED = 5  # lines; a file in the wrong format is wrong in all of them


def from_file(query: Query) -> Iterator[Problem]:
    """The rows of the split in the order of the seed, no id twice; InputError names lines that are wrong."""
    path = Path(query.rest)
    chosen: dict[str, Problem] = {}
    # collected over the whole file, all splits: whoever wrote it mends it once, not line by line
    wrong: list[str] = []
    # only "\n" ends a line: `splitlines` would also cut at the line separators that JSON leaves unescaped
    for number, line in enumerate(_text(path, query.domain).split("\n"), 1):
        if not line.strip():
            continue
        try:
            problem, own = problem_of(json.loads(line), query.domain)
        except AnswerError as error:
            wrong.append(f"{path}:{number}: answer: {error}")
        except (KeyError, TypeError, ValueError) as error:
            wrong.append(f"{path}:{number}: want {FORM}: {error!r}")
        else:
            # the first of rows with one id; the file's order decides
            if own is query.split:
                chosen.setdefault(problem.id, problem)
    if wrong:
        more = [f"and {len(wrong) - MOST_NAMED} more lines"] if len(wrong) > MOST_NAMED else []
        raise InputError("\n".join(wrong[:MOST_NAMED] + more))
    # a sample of all is a shuffle that leaves the list as it is
    yield from query.rng().sample(list(chosen.values()), len(chosen))


def _text(path: Path, domain: Domain) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{domain.name}: can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{domain.name}: can't read {path}: not UTF-8: {error}") from None


def problem_of(row: Any, domain: Domain) -> tuple[Problem, Split]:
    """The problem of a row and its split, for readers of any format.

    Raises KeyError, TypeError, ValueError or AnswerError when the row is not of the form.
    """
    if not isinstance(row, dict):
        raise TypeError(f"the line holds {type(row).__name__}, not an object")
    messages = _messages(row)
    # without an id the messages name the row: the same question twice is one problem
    identity = str(row.get("id") or problem_id(domain.name, [[m.role, m.content] for m in messages]))
    mode = Mode(row.get("mode", Mode.THINKING))
    problem = Problem(identity, domain.name, messages, row["answer"], mode, row.get("meta", {}))
    domain.check_answer(problem.answer)
    return problem, Split(row["split"]) if "split" in row else split_of(problem.prompt_text)


def _messages(row: dict[str, Any]) -> tuple[Message, ...]:
    if isinstance(row.get("prompt"), str):
        return (Message("user", row["prompt"]),)
    messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
    if not all(isinstance(m.role, str) and isinstance(m.content, str) for m in messages):
        raise TypeError("role and content of a message are texts")
    return messages
