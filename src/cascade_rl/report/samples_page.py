"""Sample rollouts as HTML: the start and the end of a stage side by side, reasoning apart from the answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from cascade_rl.chat import THINK_START, split_reply
from cascade_rl.report.markup import details, esc, words
from cascade_rl.report.records import Sample
from cascade_rl.types import Mode

OPEN_PAIRS = 2  # that are shown without a click, at least
LONGEST = 6000  # characters of a text; the middle of a longer one is left out
TONES = {"right": "good", "partial": "middling", "wrong": "bad", "unparseable": "bad", "timeout": "bad"}


def _shown(text: str) -> str:
    """Escaped text; of a very long one the middle is left out."""
    if len(text) <= LONGEST:
        return esc(text)
    half = LONGEST // 2
    gap = f'<span class="gap">… {len(text) - LONGEST:,} characters left out …</span>'
    return esc(text[:half]) + gap + esc(text[-half:])


def outcome_html(outcome: str) -> str:
    """What a grader said, in its colour."""
    return f'<span class="outcome {TONES.get(outcome, "open")}">{words(outcome)}</span>'


def block(css: str, label: str, text: str) -> str:
    """A text under its label."""
    return f'<div class="{css}"><span class="label">{label}</span><pre>{_shown(text)}</pre></div>'


def reply_html(text: str, mode: str) -> str:
    """A reply, its reasoning apart from its answer."""
    # a sample may lack its mode, as any file may lack a key: then the reply tells
    thinking = mode == Mode.THINKING or (mode != Mode.INSTRUCT and THINK_START in text)
    reply = split_reply(text, Mode.THINKING if thinking else Mode.INSTRUCT)
    parts = []
    if reply.thought is not None:
        parts.append(block("thought", "thinking", reply.thought))
    if reply.answer is None:
        parts.append('<p class="quiet">No answer: the thinking never ended.</p>')
    else:
        parts.append(block("answer", "answer", reply.answer))
    return "".join(parts)


def sample_card(sample: Sample) -> str:
    """One rollout: prompt, reply, and what the grader said."""
    return reply_card(sample, f"step {sample.step}", block("prompt", "prompt", sample.prompt))


def reply_card(sample: Sample, place: str, before: str = "") -> str:
    """A reply with what the grader said; `place` tells which one it is, `before` is HTML above it."""
    reward = "no reward" if sample.reward is None else f"reward {sample.reward:.2f}"
    facts = [place, sample.mode, "" if sample.tokens is None else f"{sample.tokens:,} tokens"]
    facts += ["cut off at the limit" if sample.stop == "length" else ""]
    outcome = outcome_html(sample.outcome)
    note = f'<p class="note">{_shown(sample.note)}</p>' if sample.note else ""
    return (
        f'<article class="sample"><header><b>{reward}</b> {outcome} '
        f'<span class="quiet">{" · ".join(esc(f) for f in facts if f)}</span></header>'
        f"{before}{reply_html(sample.reply, sample.mode)}{note}"
        f'<footer class="quiet">{esc(sample.problem)}</footer></article>'
    )


def prompt_html(text: str) -> str:
    """A prompt above the replies to it."""
    return f'<article class="sample">{block("prompt", "prompt", text)}</article>'


def _ends(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Samples nearer to the first step, and those nearer to the last; one end if there is one step only."""
    first, last = min(s.step for s in samples), max(s.step for s in samples)
    start = [s for s in samples if s.step - first <= last - s.step] if first < last else list(samples)
    return start, [s for s in samples if s.step > first and s.step - first > last - s.step]


def pairs(samples: Sequence[Sample]) -> list[tuple[str, Sample | None, Sample | None]]:
    """(domain and mode, start, end), the same problem where both ends have it, the domains taking turns."""
    start, end = _ends(samples)
    keys = dict.fromkeys((s.domain, s.mode) for s in samples)
    columns = []
    for domain, mode in keys:
        before = [s for s in start if (s.domain, s.mode) == (domain, mode)]
        # the last step first
        after = [s for s in reversed(end) if (s.domain, s.mode) == (domain, mode)]
        shared = {s.problem for s in before} & {s.problem for s in after}
        # problems that both ends have come first and in one order, so that zip puts them side by side
        before.sort(key=lambda s: (s.problem not in shared, s.problem if s.problem in shared else ""))
        after.sort(key=lambda s: (s.problem not in shared, s.problem if s.problem in shared else ""))
        name = f"{domain}, {mode}" if mode else domain
        columns.append([(name, a, b) for a, b in zip_longest(before, after)])
    return [pair for turn in zip_longest(*columns) for pair in turn if pair is not None]


def _pair(name: str, before: Sample | None, after: Sample | None) -> str:
    sides = "".join(
        f'<div class="side"><h5>{title}</h5>{sample_card(sample)}</div>'
        for title, sample in (("Start of the stage", before), ("End of the stage", after))
        if sample is not None
    )
    return f'<div class="pair"><h4>{esc(name)}</h4><div class="sides">{sides}</div></div>'


def samples_html(samples: Sequence[Sample]) -> str:
    """All kept rollouts of a stage: one pair of each domain and mode first, the rest folded away."""
    if not samples:
        return ""
    found = pairs(samples)
    keys = len({name for name, _, _ in found})
    # one of each domain and mode, four at most
    visible = max(OPEN_PAIRS, min(keys, 4))
    rest = [_pair(*pair) for pair in found[visible:]]
    more = details(f"{len(rest)} more", "".join(rest)) if rest else ""
    return f"<h3>Sample rollouts</h3>{''.join(_pair(*pair) for pair in found[:visible])}{more}"
