"""Rows of SWE-bench's shape through the grader: what is mapped is what is graded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_maps import RIGHT

from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.repair_rows import swe_bench
from cascade_rl.sources.tables import mapped_rows
from cascade_rl.types import Problem, Rollout

SWE = load_domain("swe")
CASES = {name: row for name, (said, _, row, _) in RIGHT.items() if said in ("swe-bench", "nemotron-swe")}


def problem(name: str, tmp_path: Path) -> Problem:
    (tmp_path / "rows.jsonl").write_text(json.dumps(CASES[name]))
    said = "nemotron-swe" if name.startswith("nemotron") else "swe-bench"
    [mapped] = mapped_rows(f"jsonl:{tmp_path / 'rows.jsonl'}", SWE, Reading(said, "all"))
    assert mapped.problem is not None, mapped.fault
    return mapped.problem


@pytest.mark.parametrize("name", CASES)
def test_gold_earns_all_and_nothing_earns_nothing(name, tmp_path):
    made = problem(name, tmp_path)
    with open_services(SWE.needs) as services:
        for grade in (SWE.grade, SWE.benchmark_grade):
            right = asyncio.run(grade(made, Rollout.of_text(SWE.gold(made)), services))
            assert right.reward == 1.0, right.note
            assert asyncio.run(grade(made, Rollout.of_text(SWE.null(made)), services)).reward == 0.0


def test_tests_that_were_taken_over_decide_the_benchmark(tmp_path):
    made = problem("swe-bench with its files", tmp_path)
    # right by the tests, and not the golden change
    other = SWE.gold(made).replace("return w * h", "return h * w")
    wrong = SWE.gold(made).replace("return w * h", "return 5")
    with open_services(SWE.needs) as services:
        assert [
            asyncio.run(SWE.benchmark_grade(made, Rollout.of_text(reply), services)).reward
            for reply in (other, wrong)
        ] == [1.0, 0.0]
        quoted = problem("swe-bench with quoted files", tmp_path)
        near = SWE.gold(made).replace("return w * h", "return (w * h)")
        likened = asyncio.run(SWE.benchmark_grade(quoted, Rollout.of_text(near), services))
        assert 0 < likened.reward < 1, "without tests the benchmark is RL's reward"


def quoted(files: dict[str, str]) -> str:
    """Files as SWE-bench writes them into its prompts: sorted, each line behind its number."""
    blocks = []
    for path, body in sorted(files.items()):
        lines = [f"{number} {line}" for number, line in enumerate(body.split("\n"), 1)]
        blocks.append(f"[start of {path}]\n" + "\n".join(lines) + f"\n[end of {path}]")
    return "<issue>\nIt fails.\n</issue>\n<code>\n" + "\n".join(blocks) + "\n</code>\n<patch>\n--- a/file.py"


BODIES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=40)


@given(
    files=st.dictionaries(st.sampled_from(["a.py", "b/c.py", "README.md"]), BODIES, min_size=1), rest=BODIES
)
def test_quoted_files_come_back_as_they_were(files, rest):
    files = {**files, "x.py": f"old\n{rest}"}
    # the first line alone is named, so that the patch fits whatever follows
    patch = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-old\n+new\n"
    row = {"instance_id": "i", "text": quoted(files), "patch": patch, "problem_statement": "It fails."}
    assert swe_bench(row)["answer"]["files"] == files
