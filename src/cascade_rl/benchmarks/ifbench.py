"""IFBench: 294 prompts with 57 kinds of instructions that IFEval does not have.

A raw row; arguments of all other instructions stand there as nulls:

    {"key": "0", "prompt": "What should the world's smartest man ... Include keyword kaleidoscope in the
     15th ...",
     "instruction_id_list": ["count:keywords_multiple"], "kwargs": [{"N": null, "keyword1":
     "kaleidoscope", ...}]}

The first version had 300 prompts; the newer one, which the report and NeMo Gym count, has 294. Unlike
IFEval, the report asks in the thinking mode.
"""

from cascade_rl.domain import Benchmark
from cascade_rl.sources.constraints.public import BENCHMARKS
from cascade_rl.sources.maps import ifeval

PACKAGE, REQUIREMENT = BENCHMARKS["ifbench"]

BENCHMARK = Benchmark(
    name="ifbench",
    summary="unseen kinds of instructions that a program can check",
    domain="following",
    sources=(PACKAGE, "hub:allenai/IFBench_test@2e8a48de45ff3bf41242f927254ca81b59ca3ae2#train"),
    problem=ifeval,
    size=294,
    k=8,
    max_response_tokens=32_768,
    metric="prompt-level strict accuracy",
    example={
        "key": "900",
        "prompt": "Describe rain. Use at least 3 different coordinating conjunctions.",
        "instruction_id_list": ["count:conjunctions"],
        "kwargs": [{"small_n": 3, "N": None}],
    },
    citation="Pyatkin et al. 2025, arXiv 2507.02833",
    licence="ODC-BY-1.0",
    missing=f"pip install --no-deps {REQUIREMENT}",
)
