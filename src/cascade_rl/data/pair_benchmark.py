"""Own pairs as a benchmark: prompts that the training of a reward model never sees, with their answers."""

from __future__ import annotations

import random
from dataclasses import replace

from cascade_rl.data.disjoint import normal
from cascade_rl.data.mapped import mapped
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError
from cascade_rl.grading.wins import against_chosen
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.sources.own_maps import pair_map
from cascade_rl.sources.preferences import Preference
from cascade_rl.types import Pair, Problem, Split

TRAINED = (Split.SFT, Split.RL)  # what own pairs train a reward model on, by the hash of their prompts


def pair_benchmark(spec: BenchmarkSpec, split: Split) -> HeldOut:
    """The prompts of a split of own pairs, each once, with all their distinct pairs.

    Prompts that differ by case and spaces alone from one that is trained on are left out. They do not depend
    on the run's seed, so that runs can be compared. Raises InputError when there are none.
    """
    if spec.map is None:
        raise ValueError("a benchmark of own pairs has a map, which the recipe asks for")
    read, counts = mapped(spec.source, pair_map(spec.map, spec.split), spec.bad_rows)
    distinct = list(dict.fromkeys(read))
    trained = set[str]()
    asked: list[tuple[Preference, Problem]] = []
    for preference in distinct:
        problem = preference.pair(spec.source).problem
        if preference.split in (split, None):
            asked.append((preference, problem))
        elif preference.split in TRAINED:
            trained.add(normal(problem.prompt_text))
    found: dict[str, Problem] = {}
    pairs: dict[str, list[list[str]]] = {}
    alike = 0
    for preference, problem in asked:
        if normal(problem.prompt_text) in trained:
            alike += 1
            continue
        found.setdefault(problem.id, problem)
        pairs.setdefault(problem.id, []).append([preference.chosen, preference.rejected])
    if not found:
        raise InputError(
            f"benchmark {spec.name}: of the {len(distinct)} pairs in {spec.source} none is in the {split} "
            "split, which a hash of their prompts or `split` decides; give more, or a file with split: all"
        )
    order = sorted(found)
    random.Random(str(split)).shuffle(order)
    chosen = order[: spec.problems]
    problems = tuple(replace(found[name], answer=pairs[name]) for name in chosen)
    used = sum(len(pairs[name]) for name in chosen)
    tally = replace(
        counts,
        repeated=len(read) - len(distinct),
        elsewhere=len(distinct) - len(asked),
        kept=len(asked),
        used=used,
        beside=(
            *counts.beside,
            f"{len(problems)} prompts",
            *(
                [f"{alike} left out, since their prompts are trained on but for case and spaces"]
                if alike
                else []
            ),
        ),
    )
    return HeldOut(spec, against_chosen(spec.source), problems, (tally,))


def pairs_of(benchmark: HeldOut) -> list[Pair]:
    """All pairs of a benchmark, each once."""
    return [Pair(problem, good, bad) for problem in benchmark.problems for good, bad in problem.answer]
