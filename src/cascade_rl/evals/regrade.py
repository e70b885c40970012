"""Score a run's stored rollouts again: was a past gain the policy's, or the verifier's fault?

Each reply of RL lies in `stages/*/rollouts.jsonl` with the verdict of its day. Here it gets today's verdict,
and both are compared by stage and domain. Start and end of a stage are its first and last tenth of steps.
Rewards of a reward model are left out and named: no verifier gave them that could have been mended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.grading.services import judge_spec, open_services, with_judge
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.run.files import read_record, write_json
from cascade_rl.run.folder import stage_folders
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.types import Group, Rollout, Verdict

BATCH = 64  # groups that are graded at once: 512 replies at 8 a group
EXAMPLES = 5  # for each stage and domain, in regrade.json


@dataclass(frozen=True, slots=True)
class Rewards:
    """Mean rewards at the start and at the end of a stage, under the verdicts of one day."""

    start: float
    end: float

    @property
    def gain(self) -> float:
        """What the policy won over the stage, as those verdicts saw it."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict of one day: its outcome with the reward, and its note."""

    verdict: str
    note: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A reply on which the two verdicts differ; prompt and reply are cut to their ends."""

    step: int
    problem: str
    prompt: str
    answer: Any
    reply: str
    old: Judged
    new: Judged


@dataclass(slots=True)
class Move:
    """The (old, new) rewards of replies whose verdict of one outcome became one of another or of the same."""

    outcomes: tuple[str, str]
    rewards: list[tuple[float | None, float | None]] = field(default_factory=list)

    def told(self, place: int) -> str:
        """The verdict of then (0) or of now (1), such as `right 1`; of rewards that differ their mean."""
        rewards = [pair[place] for pair in self.rewards]
        known = [reward for reward in rewards if reward is not None]
        mean = "null" if not known else format(known[0] if len(set(known)) == 1 else fmean(known), ".4g")
        return f"{self.outcomes[place]} {mean}{' on average' if len(set(known)) > 1 else ''}"

    def to_json(self) -> dict[str, Any]:
        """What regrade.json says of it."""
        return {"old": self.told(0), "new": self.told(1), "count": len(self.rewards)}


@dataclass(slots=True)
class Comparison:
    """Old and new verdicts of one domain in one stage.

    moves    by the outcomes of both days, the verdicts that are others today
    rewards  by step, the (old, new) rewards of the replies that both days could judge
    """

    stage: str
    domain: str
    replies: int = 0
    moves: dict[tuple[str, str], Move] = field(default_factory=dict)
    rewards: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    examples: list[Changed] = field(default_factory=list)

    def add(self, step: int, group: Group, verdicts: Sequence[Verdict]) -> None:
        """Take up a group of a step with today's verdicts on it."""
        for rollout, old, new in zip(group.rollouts, group.verdicts, verdicts, strict=True):
            self.replies += 1
            # Start, end and gain are of the same replies under both days, or a null of one day would look
            # like a gain.
            if old.reward is not None and new.reward is not None:
                self.rewards[step].append((old.reward, new.reward))
            if (old.reward, old.outcome) == (new.reward, new.outcome):
                continue
            outcomes = (str(old.outcome), str(new.outcome))
            move = self.moves.setdefault(outcomes, Move(outcomes))
            move.rewards.append((old.reward, new.reward))
            # of the first kind of move up to all of them, of each further kind the first
            if len(self.examples) < EXAMPLES and (len(move.rewards) == 1 or len(self.moves) == 1):
                self.examples.append(_example(step, group, rollout, old, new))

    @property
    def changed(self) -> int:
        """Replies whose verdict, outcome or reward, is another one today."""
        return sum(len(move.rewards) for move in self.moves.values())

    @property
    def repaid(self) -> int:
        """Replies that earn another reward today; the others of `changed` have another outcome alone."""
        return sum(old != new for move in self.moves.values() for old, new in move.rewards)

    @property
    def by_count(self) -> list[Move]:
        """The moves, the most frequent first."""
        return sorted(self.moves.values(), key=lambda move: -len(move.rewards))

    @property
    def ends(self) -> tuple[Sequence[int], Sequence[int]]:
        """The first and the last tenth of the steps, one step at least."""
        # steps of which no reply could be judged twice are not among them
        steps = sorted(self.rewards)
        tenth = max(1, len(steps) // 10)
        return steps[:tenth], steps[-tenth:]

    @property
    def old(self) -> Rewards:
        """As the verdicts of that time saw it."""
        return Rewards(*(self._mean(steps, 0) for steps in self.ends))

    @property
    def new(self) -> Rewards:
        """As today's verdicts see it."""
        return Rewards(*(self._mean(steps, 1) for steps in self.ends))

    @property
    def fault(self) -> float:
        """The part of the old gain that today's verdicts deny."""
        # without a changed verdict exactly 0, whatever the two means round to
        return self.old.gain - self.new.gain if self.moves else 0.0

    def to_json(self) -> dict[str, Any]:
        """What regrade.json says of it."""
        return {
            "stage": self.stage,
            "domain": self.domain,
            "replies": self.replies,
            "changed": self.changed,
            "rewards_changed": self.repaid,
            "moves": [move.to_json() for move in self.by_count],
            "steps": [[steps[0], steps[-1]] if steps else [] for steps in self.ends],
            "old": {**asdict(self.old), "gain": self.old.gain},
            "new": {**asdict(self.new), "gain": self.new.gain},
            "fault": self.fault,
            "examples": [asdict(example) for example in self.examples],
        }

    def _mean(self, steps: Sequence[int], place: int) -> float:
        return fmean([pair[place] for step in steps for pair in self.rewards[step]] or [0.0])


@dataclass(frozen=True, slots=True)
class Skipped:
    """A domain of a stage that was left out, and why."""

    stage: str
    domain: str
    why: str


@dataclass(frozen=True, slots=True)
class Regrade:
    """What regrade.json holds: the stages that were graded again, and what was left out."""

    stages: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of regrade.json."""
        return {"stages": [c.to_json() for c in self.stages], "skipped": [asdict(s) for s in self.skipped]}


def _short(verdict: Verdict) -> str:
    return f"{verdict.outcome} {'null' if verdict.reward is None else format(verdict.reward, 'g')}"


def _example(step: int, group: Group, rollout: Rollout, old: Verdict, new: Verdict) -> Changed:
    problem = group.problem
    return Changed(
        step,
        problem.id,
        # characters: the end of a reply is where its answer stands
        problem.prompt_text[-500:],
        problem.answer,
        rollout.text[-500:],
        Judged(_short(old), old.note),
        Judged(_short(new), new.note),
    )


def regrade_run(run: Path, only: Sequence[str], unsafe: bool = False, ray: str | None = None) -> Regrade:
    """Grade the stored replies of a run's RL stages again, or of those in `only`; writes RUN/regrade.json.

    Raises InputError when there are no stored rollouts, or no stage of a name in `only`, and
    SandboxUnavailable when programs have to be run and nothing isolates them.
    """
    stored = {f.name: f.path for f in stage_folders(run) if _stored(f.path)}
    if missing := [name for name in only if name not in stored]:
        raise InputError(
            f"{', '.join(missing)}: no such stage with rollouts in {run}; there are {', '.join(stored)}"
        )
    if not stored:
        raise InputError(f"{run} has no stages with rollouts: `cascade run` stores them in RL stages")
    stages: list[Comparison] = []
    skipped: list[Skipped] = []
    for name, folder in stored.items():
        if not only or name in only:
            compared, left_out = _regrade_stage(name, folder, unsafe, ray)
            stages += compared
            skipped += left_out
    found = Regrade(tuple(stages), tuple(skipped))
    write_json(run / "regrade.json", found.to_json())
    return found


def _stored(folder: Path) -> bool:
    return next(iter(read_lines(folder / "rollouts.jsonl")), None) is not None


def _regrade_stage(
    name: str, folder: Path, unsafe: bool, ray: str | None
) -> tuple[list[Comparison], list[Skipped]]:
    """Its comparisons by domain, and what was left out with the reason."""
    # as the stage was run, not as the recipe says today
    settings = (read_record(folder / "stage.json", "settings") or {})["settings"]
    loaded = (load_domain(data["domain"]) for data in settings["data"])
    domains: dict[str, Domain] = {domain.name: domain for domain in loaded}
    compared = {d: Comparison(name, d) for d in domains if not domains[d].learned}
    needs = frozenset[str]().union(*(domains[d].needs for d in compared))
    file = folder / "rollouts.jsonl"
    stored = read_groups(read_lines(file), str(file))
    groups = ((step, group) for step, group in stored if group.problem.domain in compared)
    with open_services(needs, unsafe=unsafe, ray=ray) as services:
        if settings.get("judge"):
            spec = judge_spec(settings["judge"], str(folder / "stage.json"))
            services = with_judge(services, spec)
        for step, group, verdicts in _again(groups, domains, services):
            compared[group.problem.domain].add(step, group, verdicts)
    why = "its reward comes from a reward model"
    return list(compared.values()), [Skipped(name, d, why) for d in sorted(domains) if domains[d].learned]


def _again(
    groups: Iterable[tuple[int, Group]], domains: Mapping[str, Domain], services: Services
) -> Iterator[tuple[int, Group, Sequence[Verdict]]]:
    """Today's verdicts on (step, group), in order, a batch at a time."""
    groups, thread = iter(groups), grading_thread()
    while batch := list(islice(groups, BATCH)):
        # RL's grader, not the benchmark's: it is RL's reward that is asked about.
        futures = [
            thread.submit(domains[g.problem.domain].grade, [(g.problem, r) for r in g.rollouts], services)
            for _, g in batch
        ]
        for (step, group), graded in zip(batch, futures, strict=True):
            yield step, group, graded.result()
