"""Replies of highest reward for reading by eye: `python bench/evening_samples.py RUN [--stage NAME] [--count 20]`.

A policy that games its grader shows in what earns most. Of each RL stage the steps are cut into as many equal spans as
replies are wanted, so that early and late ones are seen; of each span comes the reply of highest reward to a problem that
was not shown yet. Where a span has none, the best of what is left of all steps fills its place. Of equal rewards comes the
one whose digest (stage, step, problem, place in the group) is lowest: nobody's choice, and the same each time. A reward is
what training earned by: the file's verdict, then the stage's rules for length and foreign script, and a reward model's score
where it is added. Replies without one are left out.
Tokens are counted by the run's own tokenizer, the end of the reply not among them.

    python bench/evening_samples.py runs/smollm2-evening --stage if-rl | less
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from cascade_rl.errors import InputError
from cascade_rl.recipe import RLStage, Stage
from cascade_rl.recipe.reading import stored
from cascade_rl.report.markup import CONTROL
from cascade_rl.report.read import require_run
from cascade_rl.run.folder import stage_folders
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.run.tracking.events import recipe_of
from cascade_rl.train.earned import rewards_of
from cascade_rl.train.preferred import SCORE
from cascade_rl.types import Group

COUNT = 20


@dataclass(frozen=True)
class Shown:
    """A reply as it is shown; `place` counts those of its group."""

    step: int
    domain: str
    problem: str
    mode: str
    place: int
    prompt: str
    reply: str
    reward: float
    outcome: str
    note: str
    stop: str

    def rank(self, stage: str) -> tuple[float, str]:
        """Lower is better: the reward, then a digest."""
        said = f"{stage}/{self.step}/{self.domain}/{self.problem}/{self.place}"
        return -self.reward, hashlib.sha256(said.encode()).hexdigest()


def earned(
    stage: Stage, groups: Iterable[tuple[int, Group]]
) -> Iterator[tuple[int, Group, list[float | None]]]:
    """Each group with what its replies earned in training, None for what had no reward.

    A stored group does not say which entry drew it: entries of one domain count as one.
    """
    if not isinstance(stage, RLStage):
        raise InputError(f"{stage.name} is no stage of RL")
    rule_of = {entry.domain: entry.code_switch for entry in reversed(stage.data)}
    phases = [(range(first, end), rule) for first, end, rule in stage.phases()]
    for step, together in groupby(groups, key=lambda pair: pair[0]):
        batch = [group for _, group in together]
        phase = next(rule for steps, rule in phases if step in steps)
        switch = {group.problem.id: rule_of[group.problem.domain] for group in batch}
        scored = {group.problem.id for group in batch if any(SCORE in v.parts for v in group.verdicts)}
        for group, row in zip(batch, rewards_of(batch, stage, phase, switch, scored), strict=True):
            yield step, group, row


def rewarded(rows: Iterable[tuple[int, Group, Sequence[float | None]]]) -> Iterator[Shown]:
    """Every reply that has a reward."""
    for step, group, row in rows:
        asked = group.problem
        for place, (rollout, verdict, reward) in enumerate(
            zip(group.rollouts, group.verdicts, row, strict=True)
        ):
            if reward is not None:
                words = (
                    asked.prompt_text,
                    rollout.text,
                    reward,
                    str(verdict.outcome),
                    verdict.note,
                    str(rollout.stop),
                )
                yield Shown(step, asked.domain, asked.id, str(asked.mode), place, *words)


def chosen(stage: str, replies: Sequence[Shown], count: int) -> list[Shown]:
    """By the rule above, in order of the steps; fewer where the stage asked fewer problems."""
    if not replies:
        return []
    first, steps = min(r.step for r in replies), max(r.step for r in replies) + 1
    ranked = sorted(replies, key=lambda reply: reply.rank(stage))
    found: list[Shown] = []
    seen: set[tuple[str, str]] = set()

    def take(candidates: Iterable[Shown]) -> None:
        if one := next((r for r in candidates if (r.domain, r.problem) not in seen), None):
            found.append(one)
            seen.add((one.domain, one.problem))

    spans = [
        [r for r in ranked if (r.step - first) * count // (steps - first) == span] for span in range(count)
    ]
    for span in spans:
        take(span)
    while len(found) < count:
        before = len(found)
        take(ranked)
        if len(found) == before:
            break
    return sorted(found, key=lambda r: (r.step, r.rank(stage)))


def wrapped(content: str, width: int, most_lines: int | None = None) -> str:
    """The text for a terminal, its own lines kept, what controls a terminal made visible."""
    lines = [
        piece
        for line in CONTROL.sub("\ufffd", content).split("\n")
        for piece in textwrap.wrap(line, width - 4, replace_whitespace=False, drop_whitespace=False) or [""]
    ]
    left = len(lines) - most_lines if most_lines is not None else 0
    shown = lines[:most_lines] + ([f"[{left} more lines]"] if left > 0 else [])
    return "\n".join(f"    {line}".rstrip() for line in shown)


def told(one: Shown, place: int, tokens: int, width: int, prompt_lines: int | None) -> str:
    """One reply: what it earned, what was asked, what was answered."""
    cut = ", cut off at the limit" if one.stop == "length" else ""
    head = (
        f"{place}. reward {one.reward:.3g} {one.outcome}, {tokens:,} tokens{cut}, step {one.step}, {one.mode}"
    )
    name = textwrap.shorten(f"   {one.domain} {one.problem}", width)
    asked = wrapped(one.prompt, width, prompt_lines)
    note = [f"  note: {CONTROL.sub('?', one.note)}"] if one.note else []
    return "\n".join([head, f"   {name}", *note, "  prompt:", asked, "  reply:", wrapped(one.reply, width)])


def stage_text(
    run: Path, folder: Path, name: str, count: int, width: int, prompt_lines: int | None
) -> Iterator[str]:
    """A stage: how its rewards lie, then the replies."""
    tokenizer = Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    path = folder / "rollouts.jsonl"
    stage = stored(recipe_of(run), str(run / "recipe.yaml")).stage(name)
    replies = list(rewarded(earned(stage, read_groups(read_lines(path), str(path)))))
    if not replies:
        yield f"{name}: no reply has a reward yet"
        return
    top = max(r.reward for r in replies)
    best = [r for r in replies if r.reward == top]
    texts = len({r.reply for r in best})
    yield "=" * width
    yield f"{name}: {len(replies):,} replies with a reward; the highest is {top:.3g}"
    yield f"{len(best):,} have it, with {texts:,} different texts"
    for place, one in enumerate(chosen(name, replies, count), 1):
        tokens = len(tokenizer.encode(one.reply, add_special_tokens=False).ids)
        yield f"{'-' * width}\n{told(one, place, tokens, width, prompt_lines)}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main() -> None:
    """Read the command line, print the stages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage", help="one stage only")
    parser.add_argument("--count", type=int, default=COUNT, help=f"replies of a stage ({COUNT})")
    parser.add_argument("--prompt-lines", type=int, help="show no more lines of a prompt")
    asked = parser.parse_args()
    width = max(40, min(shutil.get_terminal_size((80, 24)).columns, 110))
    try:
        require_run(asked.run)
        folders = [f for f in stage_folders(asked.run) if _size(f.path / "rollouts.jsonl")]
        wanted = [f for f in folders if asked.stage in (None, f.name)]
        if not wanted:
            raise InputError(
                f"no such RL stage in {asked.run}; there are: {', '.join(f.name for f in folders) or 'none'}"
            )
        for folder in wanted:
            for part in stage_text(
                asked.run, folder.path, folder.name, asked.count, width, asked.prompt_lines
            ):
                print(part)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
