"""What a run is measured by on its way is neither what it trains on nor what it is scored on at the end.

Splits by hash see to that; rows of a file may name their split, or stand in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cascade_rl.data.disjoint import mark, normal, problems_with
from cascade_rl.domain import HeldOut
from cascade_rl.errors import StageError
from cascade_rl.types import Pairs, Problem, StageData

MEND = "give validation rows prompts of their own, by the column split or by split: hash"


def check_measured(
    data: Mapping[str, StageData], benchmarks: Iterable[HeldOut], probes: Iterable[HeldOut]
) -> None:
    """Raise StageError, which names an example, when what measures a stage is not kept apart.

    Probes, which choose a step, ask no prompt of a stage or a benchmark; a held-out pair asks none that its
    reward model is trained on. `data` is by the stage's name.
    """
    asked = {normal(problem.prompt_text): probe.name for probe in probes for problem in probe.problems}
    marks = np.array([mark(text) for text in asked], np.uint64)
    uses: list[tuple[str, Iterable[Sequence[Problem]]]] = []
    uses += [(f"stage {name}", made.pools()) for name, made in data.items()]
    uses += [(f"benchmark {benchmark.name}", [benchmark.problems]) for benchmark in benchmarks]
    for name, pools in uses:
        for text in (normal(problem.prompt_text) for problem in problems_with(pools, marks)):
            # two prompts may have one mark
            if text in asked:
                raise StageError(
                    f"gate.probe_problems: the probe of {asked[text]} and {name} share prompts, such as "
                    f"{text!r}: a step must not be chosen by them; {MEND}"
                )
    for name, made in data.items():
        if isinstance(made, Pairs):
            _check_pairs(name, made)


def _check_pairs(name: str, made: Pairs) -> None:
    # as they are written, and not without case and spaces: own pairs are told apart by a hash of the text
    heldout = {pair.problem.prompt_text for pair in made.heldout}
    marks = np.array([mark(text) for text in heldout], np.uint64)
    shared = heldout & {problem.prompt_text for problem in problems_with(made.pools(), marks)}
    if shared:
        raise StageError(
            f"{name}: {len(shared)} prompts stand in training and in held-out pairs, such as "
            f"{min(shared)!r}; {MEND}"
        )
