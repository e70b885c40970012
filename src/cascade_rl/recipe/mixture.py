"""The data entries of an RL stage beside each other: which a phase draws from, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.recipe.base import Problems
from cascade_rl.recipe.prompts import JudgeSpec, Phase, RLData
from cascade_rl.recipe.stage import Able


def drawn_in(phase: Phase, data: Sequence[RLData]) -> list[RLData]:
    """The entries that a phase draws from, in the recipe's order."""
    return [entry for entry in data if phase.data is None or entry.name in phase.data]


def unfit_names(data: Sequence[RLData], curriculum: Sequence[Phase]) -> str | None:
    """What is wrong with the names of entries, or with what phases say of them; None if nothing is."""
    names = [entry.name for entry in data if entry.name is not None]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"data: the name {twice[0]} stands twice"
    for number, phase in enumerate(curriculum):
        asked = phase.data or []
        if unknown := [name for name in asked if name not in names]:
            there = ", ".join(names) or "none: give entries a name"
            return f"curriculum.{number}.data: no entry is named {unknown[0]!r}; there are {there}"
        if len(set(asked)) < len(asked):
            return f"curriculum.{number}.data: a name stands twice; give that entry a higher weight"
    used = {entry.name for phase in curriculum for entry in drawn_in(phase, data)}
    for entry in data if curriculum else ():
        if entry.name not in used:
            # without a name no phase can ask for it
            what = entry.name or f"of {entry.domain}, which has no name,"
            return f"data: the entry {what} has no effect: no phase of the curriculum draws from it"
    places = [
        (entry.domain, entry.source, tuple(entry in drawn_in(phase, data) for phase in curriculum))
        for entry in data
    ]
    if len(set(places)) < len(places):
        return "data: the same domain and source stand twice; add their weights instead"
    return None


def unscored(
    stage: str, data: Sequence[RLData], domains: Mapping[str, Able], judge: JudgeSpec | None
) -> Problems:
    """Entries whose reward can't have a reward model's score beside it."""
    problems: Problems = []
    for entry in data:
        path = f"stages.{stage}.data.{entry.name or entry.domain}.with_reward_model"
        if not entry.with_reward_model:
            continue
        if domains[entry.domain].learned:
            problems.append((path, "has no effect: the score is this domain's reward already; remove it"))
        elif judge and domains[entry.domain].judged:
            text = "a judge's probability is the reward here, which is hardly ever 1; remove it or the judge"
            problems.append((path, text))
    return problems
