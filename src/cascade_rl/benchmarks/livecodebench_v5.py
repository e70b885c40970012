r"""LiveCodeBench v5, contests of August 2024 to February 2025: 279 problems of AtCoder and LeetCode.

A raw row; private tests are packed:

    {"question_title": "...", "question_content": "You are given ...", "platform": "atcoder",
     "question_id": "abc365_a",
     "contest_date": "2024-08-03T00:00:00", "starter_code": "", "difficulty": "easy", "metadata": "{}",
     "public_test_cases": "[{\"input\": \"2023\\n\", \"output\": \"365\\n\", \"testtype\": \"stdin\"}]",
     "private_test_cases": "eJxrYJmaz8gAAREKQ..."}

Release 5 ends in January 2025, so that the rest of the window is empty: rows of release 6, which has 100
and more of the same months, are not of this benchmark, though they don't say so. The revision is the one
that NeMo Gym reads: a branch with Parquet files, since the set's own program is run by no library any more.
Tests take some GB of memory when they are unpacked.
"""

from cascade_rl.benchmarks.shapes.programs import dated_row
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="livecodebench_v5",
    summary="programming contests, August 2024 to February 2025",
    domain="coding",
    sources=("hub:livecodebench/code_generation_lite@refs/pr/7#release_v5/test",),
    problem=lambda row: dated_row(row, "2024-08-01", "2025-03-01"),
    size=279,
    k=8,
    metric="all tests pass",
    example={
        "question_content": "Print twice the number that is read.",
        "question_id": "abc900_a",
        "contest_date": "2024-08-03T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "metadata": "{}",
        "public_test_cases": '[{"input": "2\\n", "output": "4\\n", "testtype": "stdin"}]',
        "private_test_cases": '[{"input": "5\\n", "output": "10\\n", "testtype": "stdin"}]',
    },
    citation="Jain et al. 2024, arXiv 2403.07974; window and k of arXiv 2512.13607",
    licence="CC; statements and tests (c) of the contests",
    missing="hf download --repo-type dataset livecodebench/code_generation_lite --revision "
    "0fe84c3912ea0c4d4a78037083943e8f0c4dd505 --local-dir DIR (4 GB), then "
    "--data 'livecodebench_v5=jsonl:DIR/test[2-5].jsonl'",
)
