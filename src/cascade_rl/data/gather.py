"""The data of a whole run, made before it starts and proven disjoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cascade_rl.data.disjoint import check_disjoint, may_share, stage_prompts
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.data.measured import check_measured
from cascade_rl.domain import Benchmark, Domain
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Recipe, Stage
from cascade_rl.types import StageData

# (stage, domains by name, the run's seed, normalised prompts that are taken) -> its data
Provide = Callable[[Stage, Mapping[str, Domain], int, set[str]], StageData]


@dataclass(frozen=True, slots=True)
class Materials:
    """The domains by name, what each stage trains on as it was made, and what benchmarks and probes ask."""

    domains: Mapping[str, Domain]
    data: Mapping[str, StageData]
    benchmarks: tuple[Benchmark, ...]
    probes: tuple[Benchmark, ...]

    @property
    def needs(self) -> frozenset[str]:
        """The services that the graders of all domains use."""
        return frozenset[str]().union(*(domain.needs for domain in self.domains.values()))


def gather(recipe: Recipe, provide: Provide) -> Materials:
    """Make all data from the recipe's seed; raises StageError when prompts of two uses overlap."""
    # Recipes name a domain by its path (`maths`, `my_lab.chemistry`), problems by the name that it gives
    # itself; stages ask by the first, all that follows by the second.
    by_path = {name: load_domain(name) for name in sorted({entry.domain for entry in recipe.entries()})}
    data: dict[str, StageData] = {}
    taken: set[str] = set()
    # In the recipe's order, which decides who gets a prompt that two stages want: the earlier one.
    for stage in recipe.stages:
        data[stage.name] = provide(stage, by_path, recipe.seed, taken)
        # RL stages only: SFT and reward models may repeat prompts of their own kind
        if not may_share(stage, stage):
            taken = taken | stage_prompts(data[stage.name])
    benchmarks = gather_benchmarks(recipe)
    # Also across kinds, where nobody asked `taken`: rows of a file may name their split themselves.
    check_disjoint(recipe.stages, data, benchmarks)
    probes = gather_probes(recipe)
    check_measured(data, benchmarks, probes)
    domains = {domain.name: domain for domain in by_path.values()}
    return Materials(domains, data, benchmarks, probes)
