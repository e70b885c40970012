"""Published benchmarks as held-out problems: the protocol of each filled in, its rows found and read.

Rows come from the first source that is there: a user's own, then those that the benchmark names in its order.
All of a benchmark's rows are held out; where fewer are asked for, they are drawn with a fixed seed, the same
ones in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.domain import Benchmark, Domain, HeldOut, Row
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError, meant
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.sources.parts import raw_rows
from cascade_rl.sources.rows import problem_of
from cascade_rl.types import Problem, Tally

OWN = "suite"  # the source of a benchmark whose own are taken
MOST_NAMED = 3  # bad rows in a message
# What of a protocol is changed as a rule, for who mistypes.
CHANGED = (
    "problems", "k", "mode", "both_modes", "greedy", "temperature", "top_p", "max_prompt_tokens",
    "max_response_tokens",
)  # fmt: skip


def protocol(benchmark: Benchmark) -> dict[str, Any]:
    """What a benchmark says of how it is asked, as keys of a BenchmarkSpec."""
    return {
        "suite": benchmark.name,
        "name": benchmark.name,
        "domain": benchmark.domain,
        "source": OWN,
        "problems": benchmark.size,
        "k": benchmark.k,
        "mode": str(benchmark.mode),
        # the report's: one mode, no greedy reply beside the samples
        "both_modes": False,
        "greedy": False,
        "temperature": benchmark.temperature,
        "top_p": benchmark.top_p,
        "max_prompt_tokens": benchmark.max_prompt_tokens,
        "max_response_tokens": benchmark.max_response_tokens,
    }


def suite_specs(
    names: Iterable[str], overrides: Iterable[str] = (), data: Mapping[str, str] | None = None
) -> list[BenchmarkSpec]:
    """The benchmarks of these names, with changes to what they say of themselves.

    overrides  `k=8` for all, `aime25.k=8` for one
    data       the source of a benchmark's rows, by its name

    Raises RecipeError with everything that is wrong.
    """
    raw: dict[str, Any] = {name: protocol(load_benchmark(name)) for name in names}
    problems: Problems = []
    for name, source in (data or {}).items():
        if name in raw:
            raw[name]["source"] = source
        else:
            problems.append((f"--data {name}", f"{meant(name, raw)}there are {', '.join(raw)}"))
    for override in overrides:
        key = override.partition("=")[0]
        each = [f"{name}.{override}" for name in raw] if "." not in key else [override]
        try:
            if "." in key and key.partition(".")[0] not in raw:
                raise ValueError(f"no benchmark {key.partition('.')[0]!r}; there are {', '.join(raw)}")
            for one in each:
                apply_override(raw, one)
        except ValueError as error:
            problems.append((override, str(error)))
    specs = []
    for name, keys in raw.items():
        try:
            specs.append(BenchmarkSpec.model_validate(keys))
        except ValidationError as error:
            problems += [_fault(name, one) for one in error.errors()]
    if problems:
        raise RecipeError("the benchmarks", problems)
    return specs


def _fault(name: str, error: ErrorDetails) -> tuple[str, str]:
    """A change that a benchmark can't take: its place, and what is wrong there."""
    key = ".".join(map(str, error["loc"]))
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        text = f"unknown key; {meant(key, BenchmarkSpec.model_fields)}there are {', '.join(CHANGED)}"
    elif not isinstance(error.get("input"), Mapping | list | None):
        text += f" (got {error['input']!r})"
    return f"{name}.{key}".rstrip("."), text


def fill_suites(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], Problems]:
    """A raw recipe whose benchmarks with the key `suite` are said in full, and names that are none."""
    given = raw.get("benchmarks")
    if not isinstance(given, list):
        return raw, []
    filled, problems = list[Any](), Problems()
    for place, entry in enumerate(given):
        name = entry.get("suite") if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            filled.append(entry)
            continue
        try:
            benchmark = load_benchmark(name)
            if entry.get("domain") not in (None, benchmark.domain):
                raise InputError(f"domain: {name} is graded by {benchmark.domain}; remove it")
        except InputError as error:
            # left out, so that this one fault is all that is told of it
            problems.append((f"benchmarks.{entry.get('name', place)}.suite", str(error)))
            continue
        # a dotted path is what finds it again
        filled.append(protocol(benchmark) | {"suite": name} | dict(entry))
    return {**raw, "benchmarks": filled}, problems


def suite_problems(recipe: Recipe) -> Problems:
    """Benchmarks that a run can't score: their data are not there or can't be read, or a judge compares."""
    problems: Problems = []
    for spec in recipe.benchmarks:
        try:
            if spec.suite is not None and load_benchmark(spec.suite).judged:
                raise InputError(f"a run has no judge for it; use cascade eval MODEL --suite {spec.suite}")
            if spec.suite is not None:
                next(_read(load_benchmark(spec.suite), spec), None)
        except InputError as error:
            problems.append((f"benchmarks.{spec.name}", str(error)))
    return problems


def suite_heldout(spec: BenchmarkSpec) -> HeldOut:
    """The problems of a published benchmark; `spec` names it in `suite`.

    Raises InputError where none of its sources is there, or a row is not of its shape.
    """
    benchmark = load_benchmark(spec.suite or spec.name)
    repeated: list[str] = []
    problems = list(_read(benchmark, spec, repeated))
    if not problems:
        raise InputError(f"{benchmark.name}: the rows of {spec.source} hold none of its problems")
    count = len(problems)
    note = () if count == benchmark.size else (f"{count} problems, where the benchmark has {benchmark.size}",)
    if spec.problems < count:
        # each problem's own number decides, so that neither the order of the file nor the size of the sample
        # nor any other setting changes which ones are drawn
        drawn = sorted(problems, key=lambda p: hashlib.blake2b(p.id.encode()).digest())[: spec.problems]
        chosen = {problem.id for problem in drawn}
        problems = [problem for problem in problems if problem.id in chosen]
    rows = count + len(repeated)
    tally = Tally(spec.source, rows, 0, (), len(repeated), 0, count, len(problems), note)
    return HeldOut(spec, _domain(benchmark), tuple(problems), (tally,))


def _domain(benchmark: Benchmark) -> Domain:
    """Who grades: the domain, with the benchmark's own grader where it has one."""
    domain = load_domain(benchmark.domain)
    return replace(domain, score=benchmark.grade) if benchmark.grade else domain


def _read(benchmark: Benchmark, spec: BenchmarkSpec, repeated: list[str] | None = None) -> Iterator[Problem]:
    """The problems of the first source that is there; InputError names bad rows.

    No id comes twice: those that would are noted in `repeated`.
    """
    source, rows = _first(benchmark, spec)
    domain, seen, bad = load_domain(benchmark.domain), set[str](), list[str]()
    for number, row in enumerate(rows, 1):
        try:
            made = benchmark.problem(row)
            if made is None:
                continue
            # the benchmark's name, not the file's: ids are the same wherever the rows were found
            problem = problem_of(made, domain, benchmark.name)
        except (InputError, KeyError, TypeError, ValueError) as error:
            bad.append(f"{source}, row {number}: {error if isinstance(error, InputError) else repr(error)}")
            continue
        if problem.id not in seen:
            seen.add(problem.id)
            yield problem.in_mode(spec.mode or benchmark.mode)
        elif repeated is not None:
            repeated.append(problem.id)
    if bad:
        raise InputError(
            "\n".join(
                [*bad[:MOST_NAMED], f"{benchmark.name}: {len(bad)} rows of {source} are not of its shape"]
            )
        )


def _first(benchmark: Benchmark, spec: BenchmarkSpec) -> tuple[str, Iterable[Row]]:
    """The rows of the first source that is there; InputError says of each why not, and the ways to it."""
    own = spec.source != OWN
    reasons = []
    for source in (spec.source,) if own else benchmark.sources:
        try:
            rows = iter((benchmark.load or raw_rows)(source))
            # a hub or a package is only asked as its rows are
            head = list(islice(rows, 1))
            return source, _chained(head, rows)
        except InputError as error:
            reasons.append(str(error))
    ways = [] if own else [f"rows of your own: --data {benchmark.name}=jsonl:PATH, or source: in a recipe"]
    missing = [benchmark.missing] if benchmark.missing and not own else []
    raise InputError(
        "\n".join(
            [
                f"no data of {benchmark.name} here:",
                *(f"- {r}" for r in (*reasons, *missing, *ways)),
            ]
        )
    )


def where_found(benchmark: Benchmark, spec: BenchmarkSpec) -> str:
    """The first of its sources that is on this machine, by its kind; `hub`, or `missing`, where none is."""
    for source in benchmark.sources:
        scheme = source.partition(":")[0]
        if scheme == "hub":
            return "hub"  # whether it answers is not asked here: that may take a minute
        try:
            _first(replace(benchmark, sources=(source,)), spec)
            return scheme
        except InputError:
            continue
    return "missing"


def _chained(head: list[Row], rest: Iterator[Row]) -> Iterator[Row]:
    yield from head
    yield from rest
