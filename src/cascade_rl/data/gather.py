"""The data of a whole run, made before it starts and proven disjoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cascade_rl import chat
from cascade_rl.data.disjoint import check_disjoint, may_share, stage_prompts
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.data.measured import check_measured
from cascade_rl.data.reading import Joined, Read
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Domain, HeldOut
from cascade_rl.domains import load_domain
from cascade_rl.recipe import Recipe, Stage
from cascade_rl.types import Demonstrations, StageData

# (stage, domains by name, the run's seed, normalised prompts that are taken, where own rows are kept) -> data
Provide = Callable[[Stage, Mapping[str, Domain], int, set[str], Shelf | None], StageData]


@dataclass(frozen=True, slots=True)
class Materials:
    """The domains by name, what each stage trains on as it was made, and what benchmarks and probes ask."""

    domains: Mapping[str, Domain]
    data: Mapping[str, StageData]
    benchmarks: tuple[HeldOut, ...]
    probes: tuple[HeldOut, ...]

    @property
    def needs(self) -> frozenset[str]:
        """The services that the graders of all domains use."""
        return frozenset[str]().union(*(domain.needs for domain in self.domains.values()))

    def conversations(self) -> Sequence[str]:
        """All SFT conversations as text, rendered when asked: a scratch model's tokenizer is learnt of it."""
        return Conversations([data for data in self.data.values() if isinstance(data, Demonstrations)])


class Conversations(Read[str]):
    """What stages imitate, as text."""

    def __init__(self, data: Sequence[Demonstrations]) -> None:
        self._items = Joined([made.items for made in data])

    def __len__(self) -> int:
        return len(self._items)

    def _one(self, index: int) -> str:
        item = self._items[index]
        return chat.render(item.problem.messages, item.problem.mode, reply=item.reply)


def gather(recipe: Recipe, provide: Provide, shelf: Shelf | None = None) -> Materials:
    """Make all data from the recipe's seed, own rows kept on the shelf.

    Raises StageError when prompts of two uses overlap.
    """
    # Recipes name a domain by its path (`maths`, `my_lab.chemistry`), problems by the name that it gives
    # itself; stages ask by the first, all that follows by the second.
    by_path = {name: load_domain(name) for name in sorted({entry.domain for entry in recipe.entries()})}
    data: dict[str, StageData] = {}
    taken: set[str] = set()
    # In the recipe's order, which decides who gets a prompt that two stages want: the earlier one.
    for stage in recipe.stages:
        data[stage.name] = provide(stage, by_path, recipe.seed, taken, shelf)
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
