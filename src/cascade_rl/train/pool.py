"""Which prompts an RL step sees: a mixture over domains, epochs in shuffled order, and the epoch filter."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cascade_rl.recipe import RLStage
from cascade_rl.types import Group, Mode, Problem


@dataclass
class _Source:
    """One share of the mixture: its problems, those of this epoch in order, and how each fared."""

    problems: dict[str, Problem]
    weight: float
    name: str | None = None
    epoch: int = -1
    order: list[str] = field(default_factory=list)
    cursor: int = 0
    credit: float = 0.0  # how many draws it has not had yet of those that its weight gives it
    # id -> "all", "none" or "mixed", as it was when last drawn: a problem that is left out keeps its own
    fared: dict[str, str] = field(default_factory=dict)


class PromptPool:
    """Draws prompts for the steps of a stage; its state is JSON, so that a resumed run draws the same ones.

    With the epoch filter a problem that was solved always or never is dropped for the next epoch, and comes
    back with the probabilities of the recipe (arXiv 2512.13607, math RL).
    """

    def __init__(self, stage: RLStage, problems: Sequence[Sequence[Problem]], seed: int) -> None:
        self.stage, self.seed = stage, seed
        self.sources = [
            _Source({p.id: p for p in found}, data.weight, data.name)
            for data, found in zip(stage.data, problems, strict=True)
        ]
        # what a reply in foreign script earns, by problem id: each data entry of a mixture has its own rule
        self.switch_rules = {
            p.id: data.code_switch for data, found in zip(stage.data, problems, strict=True) for p in found
        }
        # whose verdicts get a reward model's score beside them
        self.scored = {
            p.id
            for data, found in zip(stage.data, problems, strict=True)
            for p in found
            if data.with_reward_model
        }
        self.turn = 0
        self._notes: list[str] = []

    def draw(self, count: int, names: Collection[str] | None = None) -> list[Problem]:
        """The next `count` problems, by weight over the entries, in the modes of the stage.

        Of the entries of these `names` only, as a phase wants it: the others stand still meanwhile.
        """
        drawn: list[Problem] = []
        sources = [s for s in self.sources if names is None or s.name in names]
        total = sum(s.weight for s in sources)
        # By credit and not by chance: after n draws a source has had its share of n, give or take one for
        # each source, and a batch of few prompts is mixed as the recipe says.
        for _ in range(count):
            for source in sources:
                source.credit += source.weight / total
            source = max(sources, key=lambda s: s.credit)
            source.credit -= 1
            drawn.append(self._next(source))
        self.turn += 1
        return [p.in_mode(mode) for p, mode in zip(drawn, self._modes(drawn), strict=True)]

    def _modes(self, drawn: Sequence[Problem]) -> list[Mode]:
        """Half: in turn within each domain, begun by either mode in turn: no domain is tied to one mode."""
        if self.stage.mode_mix != "half":
            return [Mode(self.stage.mode_mix)] * len(drawn)
        # modes dealt over the draws as they come would tie a domain that comes every second time to one mode
        by_domain = sorted(range(len(drawn)), key=lambda i: (drawn[i].domain, i))
        places = {index: place for place, index in enumerate(by_domain)}
        return [(Mode.INSTRUCT, Mode.THINKING)[(places[i] + self.turn) % 2] for i in range(len(drawn))]

    def _next(self, source: _Source) -> Problem:
        if source.cursor >= len(source.order):
            self._new_epoch(source)
        source.cursor += 1
        return source.problems[source.order[source.cursor - 1]]

    def _new_epoch(self, source: _Source) -> None:
        source.epoch += 1
        # of its own for each epoch, so that no generator's state has to be saved
        rng = random.Random(f"{self.seed}/{self.stage.name}/{self.sources.index(source)}/{source.epoch}")
        kept = [i for i in source.problems if self._stays(source.fared.get(i), rng)]
        if not kept:  # an epoch of nothing would never end
            self._notes.append("every problem was solved always or never: all are admitted again")
            kept = list(source.problems)
        elif source.epoch and len(kept) < len(source.problems):
            self._notes.append(f"epoch {source.epoch}: {len(kept)} of {len(source.problems)} problems stay")
        rng.shuffle(kept)
        source.order, source.cursor = kept, 0

    def _stays(self, fared: str | None, rng: random.Random) -> bool:
        rule = self.stage.filter
        chance = rng.random()  # drawn for every problem, so that one outcome does not shift the others
        if rule.kind != "epoch" or fared in (None, "mixed"):
            return True
        return chance < (rule.readmit_easy if fared == "all" else rule.readmit_hard)

    def record(self, groups: Sequence[Group]) -> None:
        """Remember how each problem fared."""
        if self.stage.filter.kind != "epoch":
            return
        for group in groups:
            # the graders' rewards, not those for RL: how long a reply was says nothing of the problem
            rewards = [v.reward for v in group.verdicts if v.reward is not None]
            source = next(s for s in self.sources if group.problem.id in s.problems)
            if rewards:
                source.fared[group.problem.id] = how_fared(rewards)

    def take_notes(self) -> list[str]:
        """What there was to say since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def state(self) -> dict[str, Any]:
        """Everything that the next draw depends on."""
        keys = ("epoch", "order", "cursor", "credit", "fared")
        return {"turn": self.turn, "sources": [{key: getattr(s, key) for key in keys} for s in self.sources]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        self.turn = state["turn"]
        for source, saved in zip(self.sources, state["sources"], strict=True):
            for key, value in saved.items():  # the keys of `state`; problems and weight are the recipe's
                setattr(source, key, value)


def how_fared(rewards: Sequence[float]) -> str:
    """`all` when every reward is full, `none` when none is positive, else `mixed`."""
    # all half right is mixed too: there is something to gain, though this group taught nothing
    if min(rewards) >= 1:
        return "all"
    return "none" if max(rewards) <= 0 else "mixed"
