"""The data of a whole run, made before it starts: demonstrations, pairs, RL pools, benchmarks; proven disjoint."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cascade_rl.data.demonstrations import demonstrations
from cascade_rl.data.disjoint import _flat, check_disjoint, normal
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.data.pairs import preference_pairs
from cascade_rl.domain import Benchmark, Domain
from cascade_rl.domains import load_domain
from cascade_rl.errors import StageError
from cascade_rl.recipe import Recipe, RLData, RLStage, digest
from cascade_rl.types import Demonstration, Pair, Problem, Split


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
            data[stage.name] = [
                _pool(stage, entry, domains[entry.domain], recipe.seed, used) for entry in stage.data
            ]
    benchmarks = gather_benchmarks(recipe)
    hashes = {name: digest([_content(item) for item in _flat(found)]) for name, found in data.items()}
    check_disjoint(recipe, data, benchmarks)
    return Materials({d.name: d for d in domains.values()}, data, hashes, benchmarks, gather_probes(recipe, domains))


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


def _content(item: object) -> object:
    if isinstance(item, Demonstration):
        return [item.problem.id, item.reply]
    if isinstance(item, Pair):
        return [item.problem.id, item.chosen, item.rejected]
    return [item.id, item.answer]
