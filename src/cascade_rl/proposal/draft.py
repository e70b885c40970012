"""A recipe for a user's own job, written from what was found: files, model, machine.

Numbers follow arXiv 2512.13607 where it says something and the machine bears it; each line that somebody may
want to change has its reason beside it. `cascade check` accepts what comes out, which its tests hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cascade_rl.data.shapes import Kind
from cascade_rl.errors import InputError
from cascade_rl.proposal.machine import Machine
from cascade_rl.proposal.prospect import READ, SCRATCH, VOCABULARY, Prospect
from cascade_rl.proposal.stages import (
    Bench,
    chats_stage,
    pairs_stage,
    questions_stage,
    rlhf_stage,
    skipped,
    spoken,
    table_lines,
    up,
)
from cascade_rl.proposal.supply import MOST_ASKED, Chats, PairRows, Questions
from cascade_rl.recipe.commented import Block, Line, commented
from cascade_rl.types import Mode

# The order of the report's stages; domains that it has none for come behind.
ORDER = ("following", "maths", "coding", "swe")
POSITIONS = 128  # those of a model from scratch are a multiple of it


class Goal(StrEnum):
    """What is to be trained."""

    SFT = "sft"
    RL = "rl"
    RLHF = "rlhf"
    SFT_RL = "sft-rl"
    CASCADE = "cascade"


# what each goal needs of the files, in words
NEEDS: Mapping[Goal, tuple[Kind, ...]] = {
    Goal.SFT: ("chats",),
    Goal.RL: ("problems",),
    Goal.RLHF: ("pairs",),
    Goal.SFT_RL: ("chats", "problems"),
    Goal.CASCADE: ("chats", "pairs", "problems"),
}
CALLED: Mapping[Kind, str] = {
    "chats": "conversations (openai-chat, sharegpt, nemotron-sft)",
    "pairs": "pairs of answers (trl-preference, hh-preference, helpsteer)",
    "problems": "problems with answers (gsm8k, math, multiple-choice, ... or a map of your own)",
}


@dataclass(frozen=True, slots=True)
class Supplies:
    """What the files hold, by what it is for."""

    chats: tuple[Chats, ...] = ()
    pairs: tuple[PairRows, ...] = ()
    problems: tuple[Questions, ...] = ()


def refuse_lacking(goal: Goal, found: Supplies) -> None:
    """Raise InputError when the files hold nothing of a kind that a goal needs."""
    if "pairs" in NEEDS[goal] and len(found.pairs) > 1:
        names = ", ".join(one.source for one in found.pairs)
        raise InputError(f"a reward model takes pairs of one source, not of {names}: name them by a glob")
    if lacking := [CALLED[kind] for kind in NEEDS[goal] if not getattr(found, kind)]:
        raise InputError(f"{goal} needs {' and '.join(lacking)}, and no file holds any")


def refuse_unable(goal: Goal, init: str) -> None:
    """Raise InputError for a goal that a model which knows nothing can't reach."""
    if init == SCRATCH and goal in (Goal.RL, Goal.RLHF):
        raise InputError(
            f"a model from scratch can't answer yet, so that {goal} has nothing to reward: train sft-rl, or "
            "take a model that was trained"
        )


def draft(name: str, goal: Goal, found: Supplies, model: Prospect, machine: Machine) -> str:
    """The text of a recipe. Raises InputError when files or model don't do for the goal."""
    refuse_lacking(goal, found)
    wanted = NEEDS[goal]
    bench = Bench(model, machine, rewarded="pairs" in wanted)
    stages: list[Block] = []
    marks: list[Block] = []
    # the order of the report
    if "chats" in wanted:
        stages.append(chats_stage(bench, found.chats))
    if "pairs" in wanted:
        stage, reply = rlhf_stage(bench, found.pairs[0])
        stages += [pairs_stage(bench, found.pairs[0]), stage]
        marks.append(_wins(bench, found.pairs[0], reply))
    if "problems" in wanted:
        made, asked = _on_questions(
            bench, found.problems, _mode(model, found.chats if "chats" in wanted else ())
        )
        stages, marks = stages + made, marks + asked
    return commented(
        (
            Line("name", name, f"the run goes to runs/{name}"),
            Line("seed", 0),
            *_machine(machine),
            Line("model", _model(model, stages, marks)),
            Line("stages", stages),
            *_measures(marks),
        ),
        list(_head(goal, found)),
    )


def _mode(model: Prospect, chats: Sequence[Chats]) -> Mode:
    """The mode in which RL asks: as the model was trained, by SFT before it or by whoever made it."""
    thinks = model.thinks
    if chats:
        thinks = sum(one.thinking * one.replies for one in chats) > sum(one.replies for one in chats) / 2
    return spoken(model, Mode.THINKING if thinks else Mode.INSTRUCT)


def _on_questions(
    bench: Bench, questions: Sequence[Questions], mode: Mode
) -> tuple[list[Block], list[Block]]:
    """RL stages by domain in the report's order, each with its benchmark."""
    domains = sorted({one.domain for one in questions}, key=lambda name: (_place(name), name))
    stages, marks = [], []
    for domain in domains:
        own = [one for one in questions if one.domain == domain]
        short = domain.rpartition(".")[2].replace("_", "-").lower()
        stage, reply = questions_stage(bench, f"{short}-rl", own, mode)
        stages.append(stage)
        names = [f"{short}-{n}" if len(own) > 1 else short for n in range(1, len(own) + 1)]
        marks += [_benchmark(n, bench, one, reply, mode) for n, one in zip(names, own, strict=True)]
    return stages, marks


def _place(domain: str) -> int:
    return ORDER.index(domain) if domain in ORDER else len(ORDER)


def _benchmark(name: str, bench: Bench, one: Questions, reply: int, mode: Mode) -> Block:
    asked, longest = min(one.heldout, MOST_ASKED), one.longest_asked(bench.model)
    return (
        Line("name", name),
        Line("domain", one.domain),
        *table_lines(one),
        Line("problems", asked, f"of {one.heldout:,} that no stage trains on"),
        Line("k", 4 if asked < 100 else 2, "samples a problem, and a greedy one: more narrow the interval"),
        Line("mode", str(mode)),
        Line("both_modes", False, "true: the other mode is measured, too"),
        Line("max_prompt_tokens", up(longest), f"the longest has {longest:,}"),
        Line("max_response_tokens", reply, "as in RL"),
    )


def _measures(marks: Sequence[Block]) -> list[Line]:
    """The benchmarks with their gate, or the word that there are none."""
    if not marks:
        why = "none: the held-out loss above measures; one of a domain would show what else is forgotten"
        return [Line("benchmarks", [], why)]
    policy = Line("policy", "warn", "stop: a benchmark that falls ends the run; best: its best step is kept")
    return [Line("benchmarks", marks), Line("gate", (policy,))]


def _wins(bench: Bench, pairs: PairRows, reply: int) -> Block:
    """How often the reward model prefers the policy's reply to the chosen one, on held-out prompts."""
    longest = max(map(bench.model.prompt, pairs.asked))
    return (
        Line("name", "wins"),
        Line("source", pairs.source, "how often the reward model prefers the reply to the chosen answer"),
        Line("map", pairs.map),
        *skipped(pairs.tally),
        Line("problems", len(pairs.asked), "held out by a hash of their prompts"),
        Line("k", 2, "samples a prompt, and a greedy one"),
        Line("mode", str(spoken(bench.model, Mode.INSTRUCT))),
        Line("both_modes", False),
        Line("max_prompt_tokens", up(longest), f"the longest has {longest:,}"),
        Line("max_response_tokens", reply, "as in RLHF"),
    )


def _machine(machine: Machine) -> list[Line]:
    lines = [
        Line("device", machine.device, f"found here: {machine.name}"),
        Line("workers", machine.workers, "processes, one a core" if machine.device == "cpu" else "GPUs"),
    ]
    return [*lines, Line("precision", "auto", f"of products; here that is {machine.precision}")]


def _model(model: Prospect, stages: Sequence[Block], marks: Sequence[Block]) -> Block:
    if model.scratch:
        most = max(map(_longest, (*stages, *marks)))
        positions = max(512, -(-most // POSITIONS) * POSITIONS)
        return (
            Line(
                "init", model.init, "two million parameters that know nothing: shows the path, not a result"
            ),
            Line("architecture", {"max_position_embeddings": positions}, "the longest prompt with its reply"),
            Line(
                "tokenizer",
                {"vocab_size": VOCABULARY, "samples": READ},
                "learnt from the conversations below",
            ),
        )
    lines = [Line("init", model.init), Line("template", model.tokenizer.template.name, model.why)]
    if added := model.tokenizer.added:
        why = f"its tokenizer lacks {' and '.join(added)}: they are added, and must be learnt by SFT"
        lines.append(Line("add_tokens", True, why))
    return tuple(lines)


def _longest(block: Block) -> int:
    """Tokens of a stage's or a benchmark's longest sequence."""
    said: dict[str, Any] = {line.key: line.value for line in block}
    if "max_tokens" in said:
        return int(said["max_tokens"])
    return int(said["max_prompt_tokens"] + said["max_response_tokens"])


def _head(goal: Goal, found: Supplies) -> Iterator[str]:
    yield f"Written by `cascade init` for {goal}; any line may be changed. `cascade check` says what it does"
    tallies = [one.tally for one in found.chats] + [one.tally for one in found.pairs]
    for tally in tallies + [one.tally for one in found.problems]:
        yield tally.line()
