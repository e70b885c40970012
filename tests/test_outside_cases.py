"""Cases from outside: replies, programs and repairs with the rewards that a practitioner would give them.

Most were taken from public reports of faults in other graders and from the unit tests of other projects, or made
beside them. Each names the rewards that are right. Where ours is another one on purpose, the case stands in `ARGUED`
with its reason; a case that stands there and agrees is an error too, so that the list can't grow stale.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cascade_rl.domains import load_domain
from cascade_rl.grading.file import grade_lines, grader
from cascade_rl.grading.services import open_services

FOLDER = Path(__file__).parent / "cases"
ARGUED: dict[str, str] = json.loads((FOLDER / "argued.json").read_text())


def load() -> dict[tuple[str, str], list[dict]]:
    """The cases by domain and reward, each with an id that names its file and line."""
    found: dict[tuple[str, str], list[dict]] = {}
    for name in ("replies", "programs_and_repairs"):
        for number, line in enumerate((FOLDER / f"{name}.jsonl").read_text().splitlines(), 1):
            row = json.loads(line) | {"id": f"{name}:{number}"}
            found.setdefault((row["domain"], row.get("reward", "benchmark")), []).append(row)
    return found


CASES = load()


@pytest.mark.parametrize(("name", "reward"), sorted(CASES))
def test_the_reward_is_one_that_is_right(name, reward):
    rows, domain, bad = CASES[name, reward], load_domain(name), []
    lines = [json.dumps({key: row[key] for key in ("id", "answer", "response")}).encode() for row in rows]
    with open_services(domain.needs - {"reward_model"}, 2, math.inf, False) as services:
        graded = grade_lines(lines, domain, grader(domain, reward), services, bad.append)
        verdicts = [one.row() for one in graded]
    other = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        given = verdict["reward"]
        if given is None or not any(math.isclose(given, right) for right in row["rewards"]):
            other[row["id"]] = (row["source"], row["response"][-200:], given, row["rewards"], verdict["note"])
    argued = {row["id"] for row in rows} & ARGUED.keys()
    assert {key: told for key, told in other.items() if key not in argued} == {}
    assert argued - other.keys() == set()
