r"""SWE-bench Verified: 500 issues of twelve Python repositories; the repair step alone, files given.

A raw row (of SWE-bench_Verified, shortened), with the files that a user adds or that SWE-bench_oracle
quotes in `text`:

    {"instance_id": "astropy__astropy-12907", "repo": "astropy/astropy", "base_commit": "d16bfe05...",
     "problem_statement": "Modeling's `separability_matrix` does not compute ...", "patch": "diff --git
     a/astropy/...",
     "FAIL_TO_PASS": "[...]", "files": {"astropy/modeling/separable.py": "..."}, "shown":
     ["astropy/modeling/..."]}

WHAT IS SCORED HERE IS NOT THE RESOLVED RATE OF THE REPORT: without SWE-bench's images no test runs. The
score is the likeness of a patch to the golden one, RL's own measure, 1 for the golden change. For the
resolved rate `predictions` (benchmarks/shapes/repairs.py) writes what the official harness reads;
docs/benchmarks.md shows both. No commit of SWE-bench_oracle is known here: its branch is named.
"""

from collections.abc import Iterator

from cascade_rl.benchmarks.shapes.repairs import repair_row
from cascade_rl.domain import Benchmark, Row
from cascade_rl.sources.columns import text
from cascade_rl.sources.parts import raw_rows

VERIFIED = "hub:princeton-nlp/SWE-bench_Verified@c104f840cc67f8b6eec6f759ebc8b2693d585d4a#test"
ORACLE = "hub:princeton-nlp/SWE-bench_oracle@main#test"


def load(source: str) -> Iterator[Row]:
    """Rows with their files: a user's own as they are, those of the hub with what SWE-bench_oracle quotes."""
    if source != VERIFIED:
        yield from raw_rows(source)
        return
    verified = {text(row, "instance_id"): row for row in raw_rows(source)}
    for row in raw_rows(ORACLE):
        if row.get("instance_id") in verified:
            yield {**verified[row["instance_id"]], "text": row.get("text")}


BENCHMARK = Benchmark(
    name="swe_bench_verified",
    summary="issues of real repositories: the repair step",
    domain="swe",
    sources=(VERIFIED,),
    problem=repair_row,
    load=load,
    size=500,
    k=4,
    metric="likeness to the golden patch, NOT the resolved rate",
    example={
        "instance_id": "lab__shapes-1",
        "repo": "lab/shapes",
        "base_commit": "0" * 40,
        "problem_statement": "area adds the sides",
        "patch": "--- a/shapes.py\n+++ b/shapes.py\n@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n"
        "+    return w * h\n",
        "files": {"shapes.py": "def area(w, h):\n    return w + h\n"},
    },
    citation="Jimenez et al. 2023, arXiv 2310.06770; OpenAI 2024; Agentless: arXiv 2407.01489",
    licence="MIT; the repositories' own for their code",
    missing="rows of your own with a column files, {path: text}: docs/benchmarks.md makes them",
)
