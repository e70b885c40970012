"""The data of a whole run, made before it starts: demonstrations, pairs, RL pools, benchmarks; proven disjoint."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cascade_rl.domain import Domain, load_domain
from cascade_rl.evals.benchmark import Benchmark
from cascade_rl.recipe import BenchmarkSpec, Recipe, RLData, RLStage, digest
from cascade_rl.train.loop import StageError
from cascade_rl.train.reward_model import Pair, preference_pairs
from cascade_rl.train.sft import Demonstration, demonstrations
from cascade_rl.types import Mode, Problem, Split


@dataclass(frozen=True, slots=True)
class Materials:
    """What each stage trains on and what the benchmarks ask.

    `data` maps a stage to list[Demonstration], to (pairs, held-out pairs), or to a pool of problems for each of its
    data entries; `hashes` gives 16 hex digits of each.
    """

    domains: Mapping[str, Domain]
    data: Mapping[str, object]
    hashes: Mapping[str, str]
    benchmarks: tuple[Benchmark, ...]
    probes: tuple[Benchmark, ...]


def gather_materials(recipe: Recipe) -> Materials:
    """Make all data from the recipe's seed; raises StageError when prompts of two uses overlap."""
    names = {b.domain for b in recipe.benchmarks} | set(_stage_domains(recipe))
    domains = {name: load_domain(name) for name in sorted(names)}
    data: dict[str, object] = {}
    used: set[str] = set()
    for stage in recipe.stages:
        if stage.kind == "sft":
            data[stage.name] = demonstrations(stage, domains, recipe.seed)
        elif stage.kind == "reward_model":
            domain = domains[stage.domain]
            data[stage.name] = (
                preference_pairs(stage, domain, Split.RL, stage.pairs, recipe.seed),
                preference_pairs(stage, domain, Split.VALIDATION, stage.heldout_pairs, recipe.seed),
            )
        else:
            data[stage.name] = [_pool(stage, entry, domains[entry.domain], recipe.seed, used) for entry in stage.data]
    benchmarks = gather_benchmarks(recipe)
    probes = ()
    if recipe.gate.policy == "best":
        count = recipe.gate.probe_problems
        probes = tuple(_benchmark(spec, domains[spec.domain], Split.VALIDATION, count) for spec in recipe.benchmarks)
    hashes = {name: digest([_content(item) for item in _flat(found)]) for name, found in data.items()}
    check_disjoint(recipe, data, benchmarks)
    return Materials({d.name: d for d in domains.values()}, data, hashes, benchmarks, probes)


def gather_benchmarks(recipe: Recipe) -> tuple[Benchmark, ...]:
    """The benchmarks of a recipe with their held-out problems."""
    return tuple(_benchmark(spec, load_domain(spec.domain), Split.HELDOUT, spec.problems) for spec in recipe.benchmarks)


def _stage_domains(recipe: Recipe) -> Iterable[str]:
    for stage in recipe.stages:
        yield from [stage.domain] if stage.kind == "reward_model" else [d.domain for d in stage.data]


def _pool(stage: RLStage, entry: RLData, domain: Domain, seed: int, used: set[str]) -> list[Problem]:
    """Problems that no earlier RL stage trains on."""
    start = random.Random(f"{seed}/{stage.name}/{entry.domain}").getrandbits(32)
    pool: list[Problem] = []
    for problem in domain.problems(entry.source, Split.RL, start):
        if len(pool) == entry.problems:
            break
        if normal(problem.prompt_text) not in used:
            pool.append(problem)
    if not pool:
        raise StageError(f"{stage.name}: {entry.domain} has no RL prompts left that no earlier stage uses")
    used.update(normal(p.prompt_text) for p in pool)
    return pool


def _benchmark(spec: BenchmarkSpec, domain: Domain, split: Split, count: int) -> Benchmark:
    """Held-out problems do not depend on the run's seed, so that runs can be compared problem by problem."""
    problems: list[Problem] = []
    for problem in domain.problems(spec.source, split, 0):
        problems.append(problem)
        if len(problems) == count:
            break
    headline = spec.mode or domain.headline
    modes = tuple(Mode) if spec.both_modes else (headline,)
    if split is Split.VALIDATION:
        modes = (headline,)
    return Benchmark(
        spec.name, domain, tuple(problems), spec.k if split is Split.HELDOUT else 1, spec.k_other_mode, modes, headline,
        spec.temperature, spec.top_p, spec.min_p, spec.max_response_tokens, spec.max_prompt_tokens,
    )  # fmt: skip


def normal(text: str) -> str:
    """A prompt as disjointness sees it: case and spaces don't count."""
    return " ".join(text.lower().split())


def _flat(found: object) -> Iterable[object]:
    for item in found:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _content(item: object) -> object:
    if isinstance(item, Demonstration):
        return [item.problem.id, item.reply]
    if isinstance(item, Pair):
        return [item.problem.id, item.chosen, item.rejected]
    return [item.id, item.answer]


def prompts_of(found: object) -> set[str]:
    """The normalised prompts of a stage's data."""
    problems = (item if isinstance(item, Problem) else item.problem for item in _flat(found))
    return {normal(p.prompt_text) for p in problems}


def check_disjoint(recipe: Recipe, data: Mapping[str, object], benchmarks: Iterable[Benchmark]) -> None:
    """Raise StageError naming an example when SFT, an RL stage or a benchmark share a prompt.

    SFT stages may share prompts with each other, as may a reward model and the RLHF that follows it (the report's
    RLHF prompts are a subset of the reward model's).
    """
    uses: list[tuple[str, str, set[str]]] = []
    for stage in recipe.stages:
        kind = "sft" if stage.kind == "sft" else "reward" if stage.kind == "reward_model" else stage.name
        found = data[stage.name]
        uses.append((f"stage {stage.name}", kind, prompts_of(found[0] if stage.kind == "reward_model" else found)))
    uses += [
        (f"benchmark {b.name}", f"benchmark {b.name}", {normal(p.prompt_text) for p in b.problems}) for b in benchmarks
    ]
    for index, (name, kind, prompts) in enumerate(uses):
        for other, other_kind, others in uses[:index]:
            shared = prompts & others
            if shared and kind != other_kind and not _reward_pair(recipe, kind, other_kind):
                raise StageError(
                    f"{name} and {other} share {len(shared)} prompts, such as {min(shared)!r}: they must be disjoint"
                )


def _reward_pair(recipe: Recipe, kind: str, other: str) -> bool:
    names = {s.name for s in recipe.stages if s.kind == "rl"}
    return "reward" in (kind, other) and bool({kind, other} & names)
