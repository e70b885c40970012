"""Answers to the same held-out prompts after each stage, side by side, in every mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade_rl.report.markup import details, esc
from cascade_rl.report.numbers import DASH
from cascade_rl.report.records import Answer, Run
from cascade_rl.report.samples_page import block, outcome_html, reply_html
from cascade_rl.types import Stop

ABOUT = (
    "<p>One sampled reply to each prompt, the same prompts after every stage; rows are modes, columns are "
    "stages. They show how the model answers: how often it is right stands in the matrix.</p>"
)


def _cell(answer: Answer | None) -> str:
    if answer is None:
        return f'<td class="none">{DASH}</td>'
    one = answer.given
    facts = ["" if one.tokens is None else f"{one.tokens:,} tokens"]
    facts += ["cut off at the limit" if one.stop is Stop.LENGTH else ""]
    quiet = " · ".join(fact for fact in facts if fact)
    note = f' title="{esc(one.verdict.note)}"' if one.verdict.note else ""
    head = f'<p{note}>{outcome_html(str(one.verdict.outcome))} <span class="quiet">{quiet}</span></p>'
    return f"<td>{head}{reply_html(one.text, str(one.mode))}</td>"


def _problem(stages: Sequence[str], found: Mapping[tuple[str, str], Answer]) -> str:
    """One prompt: a table of modes by stages."""
    prompt = next(iter(found.values())).prompt
    modes = dict.fromkeys(mode for _, mode in found)
    rows = []
    for mode in modes:
        cells = "".join(_cell(found.get((stage, mode))) for stage in stages)
        rows.append(f'<tr><th scope="row">{esc(mode)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{esc(stage)}</th>' for stage in stages)
    table = (
        f'<div class="scroll"><table class="answers"><thead><tr><th scope="col">mode</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    return f'<div class="asked">{block("prompt", "prompt", prompt)}{table}</div>'


def answers_section(run: Run) -> str:
    """The section #answers; empty where nothing was kept."""
    # benchmark -> problem -> (stage, mode) -> answer
    found: dict[str, dict[str, dict[tuple[str, str], Answer]]] = {}
    for stage in run.scored:
        for one in stage.answers:
            asked = found.setdefault(one.benchmark, {}).setdefault(one.given.problem, {})
            asked[stage.name, str(one.given.mode)] = one
    if not found:
        return ""
    # a stage that left the policy as it was has no answers of its own
    stages = [stage.name for stage in run.scored if stage.answers]
    parts: list[str] = []
    for benchmark, problems in found.items():
        body = "".join(_problem(stages, asked) for asked in problems.values())
        parts.append(details(f"<b>{esc(benchmark)}</b>", body, "benchmark", opened=not parts))
    return f'<section id="answers"><h2>Answers over the stages</h2>{ABOUT}{"".join(parts)}</section>'
