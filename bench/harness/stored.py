"""The stored files of `cascade eval`: NAME.problems.jsonl and NAME.samples.jsonl of a folder, read and written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# what the names of the suite begin with, for whoever has a judge for it
KINDS = ("ifeval", "ifbench", "humaneval", "aime", "mmlu")


@dataclass(frozen=True)
class Reply:
    """A stored sample; `row` is the name that its source has for the problem, `reward` None where our grader failed."""

    benchmark: str
    problem: str
    mode: str
    sample: int
    row: str | None
    asked: str
    text: str
    reward: float | None
    note: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    form: str = ""

    @property
    def kind(self) -> str:
        """The benchmark as the judges call it: `aime` for `aime24`."""
        return next(kind for kind in KINDS if self.benchmark.startswith(kind))

    @property
    def id(self) -> str:
        """Its name in the files that go to the judges and come back."""
        return f"{self.benchmark}/{self.problem}/{self.mode}/{self.sample}"


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    # not splitlines: a reply may hold other ends of lines than \\n
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read(folder: Path) -> list[Reply]:
    """All samples of a folder of benchmarks that have a judge, in order; an unknown problem is a KeyError."""
    found = []
    for path in sorted(folder.glob("*.samples.jsonl")):
        name = path.name.removesuffix(".samples.jsonl")
        # mmlu_pro has ten options and rows of its own
        if not name.startswith(KINDS) or name.startswith(("mmlu-", "mmlu_")):
            continue
        problems = {line["id"]: line for line in lines(path.with_name(f"{name}.problems.jsonl"))}
        for s in lines(path):
            told = (s.get("note") or "", s.get("parts") or {}, s.get("form") or "")
            place = (name, s["problem"], s["mode"], s["sample"])
            problem = problems[s["problem"]]
            asked = "\n".join(message["content"] for message in problem["messages"])
            found.append(Reply(*place, problem["row"], asked, s["text"], s["reward"], *told))
    return found
