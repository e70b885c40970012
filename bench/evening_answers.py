"""Replies to the same prompts before and after the stages, as markdown that no reply can break out of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from evening_runs import Told

from cascade_rl.report.markup import CONTROL
from cascade_rl.report.records import Answer
from cascade_rl.report.values import as_list, as_mapping, text
from cascade_rl.types import Stop

PROMPTS = 3  # of a domain
LONGEST_PROMPT, LONGEST_REPLY, MOST_LINES = 500, 600, 20  # characters; lines of either
# characters of a prompt from a set that others may not use commercially: enough to know it by, and no copy of it
PART = 60
MORE = " [...]"
NON_COMMERCIAL = re.compile(r"\basdiv\b|-nc-", re.IGNORECASE)


def cut(content: str, longest: int) -> str:
    """The text, or its beginning and how much is left out."""
    lines = content.strip().split("\n")
    shown = "\n".join(lines[:MOST_LINES])[:longest].rstrip()
    left = len(content.strip()) - len(shown)
    return f"{shown} [... {left:,} characters more]" if left else shown


def fenced(content: str) -> str:
    """The text as a block that nothing in it ends: a longer fence than any of its own, no comment that a part ends with."""
    shown = (
        CONTROL.sub("\ufffd", content)
        .replace("<!-- /evening", "<!- - /evening")
        .replace("<!-- evening", "<!- - evening")
    )
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def _told_stages(told: Told, benchmark: str) -> list[str]:
    """After which stages replies are shown: the first that was scored, before and after the own stage, the last."""
    stages = list(told.stages)
    row = next(row for row in told.matrix.rows if row.name == benchmark)
    own = stages.index(row.own_stage) if row.own_stage in stages else 0
    chosen = {0, max(0, own - 1), own, len(stages) - 1}
    return [stages[place] for place in sorted(chosen)]


def _asked(told: Told) -> dict[str, dict[str, dict[str, Answer]]]:
    """benchmark -> problem -> stage -> its answer in the benchmark's headline mode."""
    headline = {row.name: row.headline for row in told.matrix.rows}
    found: dict[str, dict[str, dict[str, Answer]]] = {}
    for stage in told.run.scored:
        for one in stage.answers:
            if one.given.mode == headline.get(one.benchmark):
                found.setdefault(one.benchmark, {}).setdefault(one.given.problem, {})[stage.name] = one
    return found


def quoted(recipe: Mapping[str, Any], benchmark: str, prompt: str) -> str:
    """A prompt as far as it may be shown and kept: of some sets the beginning, and of that the same."""
    specs = (as_mapping(raw) for raw in as_list(recipe.get("benchmarks")))
    named = next((raw for raw in specs if text(raw.get("name")) == benchmark), {})
    said = f"{benchmark} {text(named.get('source'))} {text(named.get('licence'))}"
    if not NON_COMMERCIAL.search(said) or len(prompt) <= PART or prompt.endswith(MORE):
        return prompt
    return prompt[:PART].rstrip() + MORE


def _chosen(told: Told) -> Iterator[tuple[str, str, dict[str, Answer]]]:
    """(domain, benchmark, stage -> answer) of the first prompts of each domain, its benchmarks taking turns."""
    asked = _asked(told)
    domains = dict.fromkeys(told.domain.get(name) or name for name in asked)
    for domain in domains:
        mine = [name for name in asked if (told.domain.get(name) or name) == domain]
        turns = zip_longest(*([(name, by_stage) for by_stage in asked[name].values()] for name in mine))
        taken = [one for turn in turns for one in turn if one is not None]
        yield from ((domain, name, by_stage) for name, by_stage in taken[:PROMPTS])


def answers_part(runs: Sequence[Told]) -> str:
    """Three prompts of each domain: the first ones of its benchmarks, with one sampled reply after each stage told."""
    told = runs[0]
    words = (
        f"{told.seed.capitalize()}, {PROMPTS} prompts of each domain: the first ones of its benchmarks, chosen before any "
        "reply was there. One sampled reply each, in the headline mode: at the start, before and after the stage that "
        "trains for it, and at the end. Long ones are cut; prompts of sets that are not free for commercial use are "
        "quoted in part."
    )
    parts, last = [words], ""
    chosen = list(_chosen(told))
    for domain, benchmark, by_stage in chosen:
        if domain != last:
            parts.append(f"### {domain}" if not last else f"</details>\n\n### {domain}")
            parts.append(f"<details>\n<summary>{sum(one[0] == domain for one in chosen)} prompts</summary>")
        last = domain
        first = next(iter(by_stage.values()))
        prompt = cut(quoted(told.run.recipe, benchmark, first.prompt), LONGEST_PROMPT)
        parts.append(f"**{benchmark}**, {first.given.mode}. Prompt:\n\n{fenced(prompt)}")
        shown = [stage for stage in _told_stages(told, benchmark) if stage in by_stage]
        parts += [_reply(stage, by_stage[stage]) for stage in shown]
    if not last:
        return "No replies were kept yet."
    return "\n\n".join([*parts, "</details>"])


def _reply(stage: str, answer: Answer) -> str:
    given = answer.given
    facts = [str(given.verdict.outcome), "" if given.tokens is None else f"{given.tokens:,} tokens"]
    facts += ["cut off at the limit" if given.stop is Stop.LENGTH else ""]
    return f"After {stage}: {', '.join(fact for fact in facts if fact)}\n\n{fenced(cut(given.text, LONGEST_REPLY))}"
