"""A model's own reply, amended until it keeps its constraints: what it says stays, its layout changes.

For demonstrations: a small model writes on the topic but hits few constraints, and some (all capitals, the
request repeated first) so seldom that RL never sees one rewarded. Each amendment is a rule on text; whether
all constraints are met is for the checkers to say, never assumed. What can't be amended (a language, a length
that the reply does not reach, most of IFBench's kinds) is left as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade_rl.verify.instructions import arguments
from cascade_rl.verify.instructions.text import punkt_sentences, runs

MOST = 8  # sentences that are kept: a short demonstration is learnt sooner
# what a highlighted part, a title or a placeholder can't be made of
_MARKS = re.compile(r"[*\[\]<>\"`#_]")
PLACES = ("name", "address", "date", "time", "place", "number", "email", "title")

Given = Mapping[str, Any]


def amended(text: str, instruction_id_list: Sequence[str], kwargs: Sequence[Given | None]) -> str:
    """The reply with its constraints kept where a rule knows how; InstructionError for an unknown one."""
    asked = {ident: arguments(ident, given) for ident, given in zip(instruction_id_list, kwargs, strict=True)}
    sentences = _plain(text)
    if not sentences:
        return text
    for ident in (key for key in _ON_SENTENCES if key in asked):
        sentences = _ON_SENTENCES[ident](sentences, asked[ident])
    laid = next((key for key in _LAYOUTS if key in asked), None)
    body = _LAYOUTS[laid](sentences, asked[laid]) if laid else " ".join(sentences)
    for ident in (key for key in _ON_TEXT if key in asked):
        body = _ON_TEXT[ident](body, {**asked[ident], "first": sentences[0]})
    return body


def _plain(text: str) -> list[str]:
    """Whole sentences without marks, each once: a cut-off end and a repetition teach nothing."""
    flat = " ".join(_MARKS.sub("", text).split())
    found = [s.strip() for s in punkt_sentences(flat)]
    whole = [s for s in found if s.endswith((".", "!", "?")) and len(runs(s)) > 2]
    return list(dict.fromkeys(whole))[:MOST]


def _parts(sentences: Sequence[str], count: int) -> list[str]:
    """The sentences dealt to `count` parts in order; words where there are fewer sentences."""
    units = list(sentences) if len(sentences) >= count else " ".join(sentences).split()
    ends = [round(len(units) * (i + 1) / count) for i in range(count)]
    return [" ".join(units[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


def _fewer_words(sentences: list[str], given: Given) -> list[str]:
    if given["relation"] != "less than":
        return sentences
    kept: list[str] = []
    for sentence in sentences:
        if len(runs(" ".join([*kept, sentence]))) >= given["num_words"]:
            break
        kept.append(sentence)
    # no sentence is short enough: as many words of the first
    return kept or [" ".join(sentences[0].split()[: given["num_words"] - 1]).rstrip(".,;:") + "."]


def _fewer_sentences(sentences: list[str], given: Given) -> list[str]:
    less = given["relation"] == "less than"
    return sentences[: max(1, given["num_sentences"] - 1)] if less else sentences


def _without_words(sentences: list[str], given: Given) -> list[str]:
    kept = [s for s in sentences if not _has(s, given["forbidden_words"])]
    return kept or sentences


def _has(text: str, words: Sequence[str]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in words)


def _with_words(sentences: list[str], given: Given) -> list[str]:
    missing = [word for word in given["keywords"] if not _has(" ".join(sentences), [word])]
    return [*sentences, f"Think of {', '.join(missing)}, too."] if missing else sentences


def _with_frequent(sentences: list[str], given: Given) -> list[str]:
    word, wanted = given["keyword"], given["frequency"]
    found = len(re.findall(rf"\b{re.escape(word)}\b", " ".join(sentences), re.IGNORECASE))
    if given["relation"] == "less than":
        return _without_words(sentences, {"forbidden_words": [word]}) if found >= wanted else sentences
    more = [f"Here is {word}.", f"Then comes {word} again.", f"And {word} once more."]
    return [*sentences, *(more[i % len(more)] for i in range(max(0, wanted - found)))]


def _bullets(sentences: Sequence[str], given: Given) -> str:
    return "\n".join(f"* {part}" for part in _parts(sentences, given["num_bullets"]))


def _sections(sentences: Sequence[str], given: Given) -> str:
    parts = enumerate(_parts(sentences, given["num_sections"]), 1)
    return "\n\n".join(f"{given['section_spliter']} {i}\n{part}" for i, part in parts)


def _starting(sentences: Sequence[str], given: Given) -> str:
    parts = _parts(sentences, given["num_paragraphs"])
    place, word = given["nth_paragraph"] - 1, given["first_word"]
    if parts[place].split()[0].lower().strip(".,!?") != word:
        parts[place] = f"{word.capitalize()} first. {parts[place]}"
    return "\n\n".join(parts)


# Of these at most one stands in a prompt that the composer made.
_LAYOUTS: Mapping[str, Callable[[Sequence[str], Given], str]] = {
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:multiple_sections": _sections,
    "length_constraints:number_paragraphs": lambda s, given: "\n\n***\n\n".join(
        _parts(s, given["num_paragraphs"])
    ),
    "length_constraints:nth_paragraph_first_word": _starting,
    "combination:two_responses": lambda s, given: "\n\n******\n\n".join(_parts(s, 2)),
    "detectable_format:json_format": lambda s, given: json.dumps({"reply": " ".join(s)}, ensure_ascii=False),
    "detectable_format:constrained_response": lambda s, given: "My answer is maybe.",
}
_ON_SENTENCES: Mapping[str, Callable[[list[str], Given], list[str]]] = {
    "keywords:forbidden_words": _without_words,
    "length_constraints:number_words": _fewer_words,
    "length_constraints:number_sentences": _fewer_sentences,
    "keywords:existence": _with_words,
    "keywords:frequency": _with_frequent,
}


def _highlighted(text: str, given: Given) -> str:
    """The first long words of the text in italics, as many as are asked for."""
    left = given["num_highlights"]
    out = []
    for word in re.split(r"(\s+)", text):
        bare = word.strip(".,!?;:")
        if left and len(bare) > 4 and bare.isalpha():
            word = word.replace(bare, f"*{bare}*")
            left -= 1
        out.append(word)
    return "".join(out)


def _capitals(text: str, given: Given) -> str:
    count = given["capital_frequency"]
    if given["capital_relation"] == "less than":
        return re.sub(r"\b[A-Z]{2,}\b", lambda m: m[0].lower(), text)
    return re.sub(r"\b[A-Za-z]{4,}\b", lambda m: m[0].upper(), text, count=count)


def _placeholders(text: str, given: Given) -> str:
    count = given["num_placeholders"]
    names = [
        PLACES[i % len(PLACES)] + (str(i // len(PLACES) + 1) if i >= len(PLACES) else "")
        for i in range(count)
    ]
    return f"{text}\n\nTo be filled in: " + ", ".join(f"[{name}]" for name in names) + "."


def _title(text: str, given: Given) -> str:
    words = [word.strip(".,!?;:'") for word in given["first"].split()]
    return f"<<{' '.join(words[:4]).title()}>>\n\n{text}"


# In this order: what adds text, then what changes all letters, then what encloses all.
_ON_TEXT: Mapping[str, Callable[[str, Given], str]] = {
    "detectable_format:number_highlighted_sections": _highlighted,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_format:title": _title,
    "detectable_content:postscript": lambda text, given: (
        f"{text}\n\n{given['postscript_marker']} Thank you for asking."
    ),
    "startend:end_checker": lambda text, given: f"{text} {given['end_phrase']}",
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_lowercase": lambda text, given: text.lower(),
    "change_case:english_capital": lambda text, given: text.upper(),
    "combination:repeat_prompt": lambda text, given: f"{given['prompt_to_repeat']}\n\n{text}",
    "punctuation:no_comma": lambda text, given: text.replace(",", ""),
    "startend:quotation": lambda text, given: '"' + text.replace('"', "'") + '"',
}
