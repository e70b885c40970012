"""The policy's own replies as demonstrations: sampled once as an SFT stage begins, then imitated.

They stay close to what the model says anyway, so that a stage which teaches a mode or a form unlearns
little else (arXiv 2402.13669); kept by a rule they are rejection sampling (arXiv 2308.01825). They lie in the
stage's folder as `replies.jsonl`: for people, and for a resume, which samples nothing again.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cascade_rl.chat import compose_reply, split_reply
from cascade_rl.errors import StageError
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.recipe import OwnReplies, SFTStage
from cascade_rl.run.files import dumps, write_text
from cascade_rl.train.likelihood import Chosen
from cascade_rl.train.stage_run import StageRun
from cascade_rl.types import Demonstration, Demonstrations, Mode, Problem, Rollout, Stop

FILE = "replies.jsonl"


@dataclass(frozen=True, slots=True)
class _Answered:
    """The text that is imitated on each prompt, by the problem's id, and what became of all replies."""

    texts: Mapping[str, str]
    lines: tuple[str, ...]


def answered(run: StageRun[SFTStage], data: Demonstrations) -> tuple[Demonstrations, tuple[str, ...]]:
    """The data with the policy's replies where they were still to come, and what there is to say of them.

    A prompt without a reply that may be imitated is left out. Raises StageError where that is all of them.
    """
    own = run.stage.own_replies
    if own is None:
        return data, ()
    # parallel modes share one reply, drawn in the mode that needs no thought
    asked = {item.problem.id: item.problem.in_mode(Mode.INSTRUCT) for item in data.items if not item.reply}
    found = _read(run) or _sampled(run, own, list(asked.values()))
    if not found.texts:
        raise StageError(
            f"{run.stage.name}: none of the policy's replies to {len(asked)} prompts may be imitated "
            f"(own_replies.keep: {own.keep}); raise own_replies.rollouts or max_tokens, or set keep: best"
        )
    return replace(data, items=_Given(run, data.items, found.texts)), found.lines


class _Given(Chosen):
    """Demonstrations with the replies that the policy gave; read one by one, since rows may be many."""

    def __init__(
        self, run: StageRun[SFTStage], items: Sequence[Demonstration], texts: Mapping[str, str]
    ) -> None:
        kept = (i for i, item in enumerate(items) if item.reply or item.problem.id in texts)
        super().__init__(items, array("Q", kept))
        self._run, self._texts = run, texts

    def _at(self, place: int) -> Demonstration:
        item = self._items[place]
        if item.reply:
            return item
        return replace(item, reply=_composed(self._run, item, self._texts[item.problem.id]))


def _composed(run: StageRun[SFTStage], item: Demonstration, text: str) -> str:
    mode, write = item.problem.mode, run.domains[item.problem.domain].thought
    if mode is Mode.INSTRUCT or write is None:  # the recipe was refused where a thought is asked for in vain
        return text
    return compose_reply(mode, write(item.problem), text)


def _sampled(run: StageRun[SFTStage], own: OwnReplies, problems: Sequence[Problem]) -> _Answered:
    """Sample, grade where the rule asks for it, choose, and keep on the disk."""
    rule = SamplingRule(own.temperature, own.top_p)
    # beside a longer prompt such a reply has no room in the model's positions
    room = run.world.config.max_positions - own.max_tokens
    fits = [problem for problem in problems if len(run.world.tokenizer.prompt(problem)) <= room]
    sampling = Sampling(
        own.rollouts, own.max_tokens, rule, max(1, room), (run.seed, run.stage.name, "replies")
    )
    done = 0

    def told(index: int, rollouts: tuple[Rollout, ...]) -> None:
        nonlocal done
        done += 1
        run.screen.waiting("the policy's own replies", done / len(fits))

    run.screen.waiting("the policy's own replies", 0.0)
    drawn: Sequence[Sequence[Rollout]] = run.world.sampler.sample(fits, sampling, told)
    groups = drawn
    if own.keep == "amended":
        groups = [
            [_amended(run, p, rollout) for rollout in group] for p, group in zip(fits, drawn, strict=True)
        ]
    marks = _marks(run, own, fits, groups)
    texts, kept = {}, []
    counts = {domain: Counter(prompts=n) for domain, n in Counter(p.domain for p in problems).items()}
    for problem, said, group, given in zip(fits, drawn, groups, marks, strict=True):
        count = counts[problem.domain]
        count["replies"] += len(said)
        count["cut off"] += sum(rollout.stop is Stop.LENGTH for rollout in said)
        place = _chosen(own, group, given)
        if place is not None:
            count["kept"] += 1
            texts[problem.id] = group[place].text
            kept.append(_record(problem, group[place], given[place]))
    lines = tuple(
        f"{domain}: the policy's own replies to {c['kept']} of {c['prompts']} prompts are imitated "
        f"({own.keep} of {own.rollouts}; {c['cut off']} of {c['replies']} replies were cut off)"
        for domain, c in counts.items()
    )
    head = {"key": run.key, "lines": list(lines)}
    write_text(run.book.folder / FILE, "".join(dumps(line) + "\n" for line in (head, *kept)))
    return _Answered(texts, lines)


def _amended(run: StageRun[SFTStage], problem: Problem, rollout: Rollout) -> Rollout:
    """The reply as its domain mends it; what was cut off is whole then."""
    write = run.domains[problem.domain].amend
    if write is None or not _plain(rollout.text):  # the recipe was refused where nothing amends
        return rollout
    return Rollout.of_text(write(problem, rollout.text), Stop.END)


Mark = tuple[float, float] | None  # reward and sum of its parts; None: no verdict


def _marks(
    run: StageRun[SFTStage],
    own: OwnReplies,
    problems: Sequence[Problem],
    groups: Sequence[Sequence[Rollout]],
) -> list[list[Mark]]:
    """What the benchmark's rule says of each reply; nothing is asked where the first one is taken."""
    if own.keep == "first":
        return [[(0.0, 0.0)] * len(group) for group in groups]
    found: list[list[Mark]] = [[] for _ in groups]
    places: dict[str, list[int]] = {}
    for place, problem in enumerate(problems):
        places.setdefault(problem.domain, []).append(place)
    for domain, numbers in places.items():
        run.screen.waiting(f"grading the policy's own replies: {domain}")
        asked = [(problems[n], rollout) for n in numbers for rollout in groups[n]]
        verdicts = iter(grade_all(run.domains[domain].benchmark_grade, asked, run.world.services))
        for n in numbers:
            graded = [next(verdicts) for _ in groups[n]]
            found[n] = [None if v.reward is None else (v.reward, sum(v.parts.values())) for v in graded]
    return found


def _chosen(own: OwnReplies, group: Sequence[Rollout], marks: Sequence[Mark]) -> int | None:
    """The place of the reply that is imitated: none that was cut off, says nothing, or has no verdict."""
    usable = [
        (place, mark)
        for place, (rollout, mark) in enumerate(zip(group, marks, strict=True))
        # an answer in instruct mode: a thought of its own would stand before the one that is written
        if mark is not None and rollout.stop is Stop.END and _plain(rollout.text)
    ]
    if own.keep in ("right", "amended"):
        usable = [(place, mark) for place, mark in usable if mark[0] >= 1.0]
    if not usable:
        return None
    return usable[0][0] if own.keep != "best" else max(usable, key=lambda one: (one[1], -one[0]))[0]


def _plain(text: str) -> bool:
    reply = split_reply(text, Mode.INSTRUCT)
    return bool(text.strip()) and reply.thought is None and reply.answer is not None


def _record(problem: Problem, rollout: Rollout, mark: Mark) -> dict[str, Any]:
    record = {"problem": problem.id, "domain": problem.domain, "prompt": problem.prompt_text}
    return record | {"reply": rollout.text, "tokens": rollout.tokens, "reward": mark[0] if mark else None}


def _read(run: StageRun[SFTStage]) -> _Answered | None:
    """What an interrupted try of the same stage sampled."""
    path = run.book.folder / FILE
    if not run.key or not path.exists():
        return None
    head, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    if head.get("key") != run.key:
        return None
    return _Answered({line["problem"]: line["reply"] for line in lines}, tuple(head["lines"]))
