"""What a reply looks like where graders part: each trait is a question to a disagreement, asked in order.

The names stand in the table of docs/benchmarks.md, which says for each why the scores differ there and who is right by
which rule. A trait looks at the reply and at what both sides said of it; the first that holds is the disagreement's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stored import Reply


@dataclass(frozen=True)
class Disagreement:
    """One verdict on which we and a judge differ; `part` is an instruction, or empty for the whole reply."""

    reply: Reply
    judge: str
    part: str
    ours: float | None
    theirs: float | None
    read: str
    note: str


Holds = Callable[[Disagreement], bool]


def _open_thought(d: Disagreement) -> bool:
    return "<think>" in d.reply.text and "</think>" not in d.reply.text


def _blank_ends(d: Disagreement) -> bool:
    return d.reply.text != d.reply.text.strip()


def _boxes(d: Disagreement) -> int:
    return len(re.findall(r"\\boxed\s*\{", d.reply.text.rpartition("</think>")[2]))


def _not_raised(d: Disagreement) -> bool:
    return d.theirs is not None


def _part(name: str) -> Holds:
    return lambda d: d.part == name and _not_raised(d)


def _words_by_engines(d: Disagreement) -> bool:
    # letters, digits and underscores to `re`, but not to `regex`, or the other way round
    odd = re.search(
        r"[\u0300-\u036f\u0900-\u0dff\u200c\u200d]|[^\W\d_a-zA-Z]|[\u00b2\u00b3\u00b9\u2070-\u209f]",
        d.reply.text,
    )
    return d.part in (
        "length_constraints:number_words",
        "count:word_count_range",
        "ratio:stop_words",
    ) and bool(odd)


def _said(words: str) -> Holds:
    return lambda d: words in d.reply.note


def _answer(d: Disagreement) -> str:
    return d.reply.text.rpartition("</think>")[2]


def _blocks(d: Disagreement) -> list[str]:
    return re.findall(r"^\s*(?:```|~~~)(.*)$", _answer(d), flags=re.MULTILINE)


def _fenced_otherwise(d: Disagreement) -> bool:
    # EvalScope's pattern, word for word
    return not re.search(r"```\w*\n(.*?)```", _answer(d), flags=re.DOTALL)


FOLLOWING: dict[str, Holds] = {
    "reasoning without an end": _open_thought,
    "a letter that is none": lambda d: d.part == "keywords:letter_frequency" and _not_raised(d),
    "words of marks and raised digits": _words_by_engines,
    "a lower-case word of one letter": _part("format:title_case"),
    "blanks at the ends": lambda d: _blank_ends(d) and _not_raised(d),
    "pronouns of all kinds": _part("count:pronouns"),
    "sentences without words": _part("ratio:sentence_words"),
    "triples of letters": _part("ratio:overlap"),
    "a line of marks": _part("words:paragraph_last_first"),
    "no tagger": lambda d: d.theirs is None and "words:start_verb" in " ".join(d.reply.parts),
    # EvalScope logs what was raised, and gives no score
    "the judge raises": lambda d: d.theirs is None and (d.judge == "EvalScope" or "Error: " in d.note),
}
AIME: dict[str, Holds] = {
    "reasoning without an end": _open_thought,
    "several boxes": lambda d: _boxes(d) > 1,
    "a framed box": lambda d: r"\fbox" in d.reply.text or r"\boxed " in d.reply.text,
    "an alternative in the box": lambda d: r"\text{ or }" in d.reply.text,
    "zeros in front": lambda d: bool(re.search(r"\\boxed\{0\d+\}", _answer(d))),
    "more than digits in the box": lambda d: _boxes(d) == 1 and not re.search(r"\\boxed\{\d+\}", _answer(d)),
    "a number, but no statement": _said("no stated answer"),
    "an answer that is stated without a box": lambda d: _boxes(d) == 0 and d.ours == 1.0,
}
MMLU: dict[str, Holds] = {
    "reasoning without an end": _open_thought,
    "no ANSWER line": lambda d: not re.search(r"answer\s*:", d.reply.text, flags=re.IGNORECASE),
    "a statement beside the ANSWER line": lambda d: bool(
        re.search(r"answer is", d.reply.text, flags=re.IGNORECASE)
    ),
    "an ANSWER line without a letter": lambda d: (
        not re.search(r"answer\s*:\W*[A-J]\b", d.reply.text, flags=re.IGNORECASE)
    ),
}
HUMANEVAL: dict[str, Holds] = {
    "reasoning without an end": _open_thought,
    "no block": lambda d: not _blocks(d),
    "a block that isn't fenced as EvalScope's pattern has it": _fenced_otherwise,
    "the rest of the function": lambda d: d.read.lstrip("\n")[:1] in (" ", "\t") and d.theirs == 1.0,
    "a block that is indented": lambda d: bool(re.search(r"^[ \t]+```", _answer(d), flags=re.MULTILINE)),
    "several blocks": lambda d: len(_blocks(d)) > 2,
    "a given function that the reply writes anew": lambda d: _answer(d).count("\ndef ") > 1,
}
TRAITS: Mapping[str, dict[str, Holds]] = {
    "ifeval": FOLLOWING,
    "ifbench": FOLLOWING,
    "humaneval": HUMANEVAL,
    "aime": AIME,
    "mmlu": MMLU,
}


def trait(d: Disagreement) -> str:
    """The first that holds; empty where none does: such a disagreement is not explained."""
    return next((name for name, holds in TRAITS[d.reply.kind].items() if holds(d)), "")
