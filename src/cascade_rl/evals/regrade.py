"""Score the stored rollouts of a run again with today's graders: was a past gain the policy's, or a fault of the verifier?

Each reply of RL lies in `stages/*/rollouts.jsonl` with the verdict of its day. Here it gets today's verdict, and both
are compared by stage and domain. Start and end of a stage are its first and last tenth of steps. Rewards of a reward
model are left out and named: they come from weights, not from a verifier that could have been mended.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services, with_judge
from cascade_rl.grading.verdicts import grading_thread
from cascade_rl.recipe import JudgeSpec
from cascade_rl.run.files import read_json, write_json
from cascade_rl.run.folder import stage_folders
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.types import Group, Rollout, Verdict

BATCH = 64  # groups that are graded at once
EXAMPLES = 5


@dataclass(slots=True)
class Comparison:
    """Old and new verdicts of one domain in one stage."""

    stage: str
    domain: str
    replies: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    rewards: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, step: int, group: Group, verdicts: Sequence[Verdict]) -> None:
        """Take up a group of a step with today's verdicts on it."""
        for rollout, old, new in zip(group.rollouts, group.verdicts, verdicts, strict=True):
            self.replies += 1
            if old.reward is not None and new.reward is not None:
                self.rewards[step].append((old.reward, new.reward))
            if (old.reward, old.outcome) == (new.reward, new.outcome):
                continue
            move = (_short(old), _short(new))
            self.moves[move] += 1
            if len(self.examples) < EXAMPLES and (self.moves[move] == 1 or len(self.moves) == 1):
                self.examples.append(_example(step, group, rollout, old, new))

    def to_json(self) -> dict[str, Any]:
        """What regrade.json says of it; `fault` is the part of the old gain that today's verdicts deny."""
        ends = _ends(sorted(self.rewards))
        (old_start, new_start), (old_end, new_end) = (self._means(steps) for steps in ends)
        old_gain, new_gain = old_end - old_start, new_end - new_start
        return {
            "stage": self.stage, "domain": self.domain, "replies": self.replies, "changed": self.moves.total(),
            "moves": [{"old": a, "new": b, "count": n} for (a, b), n in self.moves.most_common()],
            "steps": [[steps[0], steps[-1]] if steps else [] for steps in ends],
            "old": {"start": old_start, "end": old_end, "gain": old_gain},
            "new": {"start": new_start, "end": new_end, "gain": new_gain},
            "fault": old_gain - new_gain if self.moves else 0.0, "examples": self.examples,
        }  # fmt: skip

    def _means(self, steps: Sequence[int]) -> tuple[float, float]:
        pairs = [pair for step in steps for pair in self.rewards[step]] or [(0.0, 0.0)]
        return fmean(old for old, _ in pairs), fmean(new for _, new in pairs)


def _short(verdict: Verdict) -> str:
    return f"{verdict.outcome} {'null' if verdict.reward is None else format(verdict.reward, 'g')}"


def _example(step: int, group: Group, rollout: Rollout, old: Verdict, new: Verdict) -> dict[str, Any]:
    return {"step": step, "problem": group.problem.id, "prompt": group.problem.prompt_text[-500:],
            "answer": group.problem.answer, "reply": rollout.text[-500:],
            "old": {"verdict": _short(old), "note": old.note}, "new": {"verdict": _short(new), "note": new.note}}  # fmt: skip


def _ends(steps: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The first and the last tenth of the steps, one at least."""
    tenth = max(1, len(steps) // 10)
    return steps[:tenth], steps[-tenth:]


def regrade_run(run: Path, only: Sequence[str], console: Console, unsafe: bool = False) -> dict[str, Any]:
    """Regrade the RL stages of a run, or those in `only`; writes RUN/regrade.json, prints it, and returns it.

    Raises ValueError when there are no stored rollouts, or no stage of a name in `only`.
    """
    stored = {f.name: f.path for f in stage_folders(run) if _stored(f.path)}
    if missing := [name for name in only if name not in stored]:
        raise ValueError(
            f"{', '.join(missing)}: no such stage with rollouts in {run}; there are {', '.join(stored)}"
        )
    if not stored:
        raise ValueError(f"{run} has no stages with rollouts: `cascade run` stores them in RL stages")
    found: dict[str, Any] = {"stages": [], "skipped": []}
    for name, folder in stored.items():
        if not only or name in only:
            compared, skipped = _regrade_stage(name, folder, unsafe)
            found["stages"] += [c.to_json() for c in compared]
            found["skipped"] += skipped
    write_json(run / "regrade.json", found)
    _show(found, console)
    return found


def _stored(folder: Path) -> bool:
    return next(iter(read_lines(folder / "rollouts.jsonl")), None) is not None


def _regrade_stage(name: str, folder: Path, unsafe: bool) -> tuple[list[Comparison], list[dict[str, str]]]:
    """Its comparisons by domain, and what was left out with the reason."""
    settings = read_json(folder / "stage.json")["settings"]
    loaded = (load_domain(data["domain"]) for data in settings["data"])
    domains: dict[str, Domain] = {domain.name: domain for domain in loaded}
    learned = sorted(d.name for d in domains.values() if d.learned)
    compared = {d: Comparison(name, d) for d in domains if d not in learned}
    needs = frozenset().union(*(domains[d].needs for d in compared))
    groups = (
        g for g in read_groups(read_lines(folder / "rollouts.jsonl")) if g[1].problem.domain in compared
    )
    with open_services(needs, unsafe=unsafe) as services:
        if settings.get("judge"):
            services = with_judge(services, JudgeSpec.model_validate(settings["judge"]))
        for step, group, verdicts in _again(groups, domains, services):
            compared[group.problem.domain].add(step, group, verdicts)
    why = "its reward comes from a reward model"
    return list(compared.values()), [{"stage": name, "domain": d, "why": why} for d in learned]


def _again(
    groups: Iterable[tuple[int, Group]], domains: Mapping[str, Domain], services: Services
) -> Iterator[tuple[int, Group, Sequence[Verdict]]]:
    """Today's verdicts on (step, group), in order, a batch at a time."""
    groups, thread = iter(groups), grading_thread()
    while batch := list(islice(groups, BATCH)):
        futures = [
            thread.submit(domains[g.problem.domain].grade, [(g.problem, r) for r in g.rollouts], services)
            for _, g in batch
        ]
        for (step, group), graded in zip(batch, futures, strict=True):
            yield step, group, graded.result()


def _show(found: Mapping[str, Any], console: Console) -> None:
    table = Table(
        "stage",
        "domain",
        "replies",
        "changed",
        "reward then",
        "reward now",
        "gain then",
        "gain now",
        box=None,
    )
    for row in found["stages"]:
        old, new = row["old"], row["new"]
        table.add_row(
            row["stage"], row["domain"], f"{row['replies']:,}", f"{row['changed']:,}",
            f"{old['start']:.3f} to {old['end']:.3f}", f"{new['start']:.3f} to {new['end']:.3f}",
            f"{old['gain']:+.3f}", f"{new['gain']:+.3f}",
        )  # fmt: skip
    console.print(table)
    for row in found["stages"]:
        for text in _sentences(row):
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    for row in found["skipped"]:
        console.print(
            f"{row['stage']}, {row['domain']}: left out, {row['why']}", markup=False, highlight=False
        )


def _sentences(row: Mapping[str, Any]) -> Iterator[str]:
    """What a person should take from a row."""
    place = f"{row['stage']}, {row['domain']}"
    if not row["changed"]:
        yield f"{place}: every verdict is as it was"
        return
    gain, fault = row["old"]["gain"], row["fault"]
    if gain > 0 and fault > 0:
        part = f"{min(fault, gain):.3f} ({min(1.0, fault / gain):.0%})"
        yield f"{place}: of the gain of {gain:+.3f}, {part} was the verifier's fault"
    elif fault < 0:
        yield f"{place}: the gain was {-fault:.3f} larger than the verifier of that time saw"
    yield from (f"  {move['count']:,} x {move['old']} -> {move['new']}" for move in row["moves"][:8])
    for example in row["examples"][:3]:
        reply = example["reply"][-160:]
        yield f"  step {example['step']}, {example['problem']}, wanted {str(example['answer'])[:60]!r}: ...{reply!r}"
        yield f"    {example['old']['verdict']} -> {example['new']['verdict']}: {example['new']['note'][:160]}"
