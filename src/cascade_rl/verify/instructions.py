"""Verifiable instructions: an id with its arguments becomes a checker of a reply and a sentence for the prompt.

Ids without the prefix `cascade:` are those of IFEval (arXiv 2311.07911) with the benchmark's argument names, so a
row of its data set, {"instruction_id_list", "kwargs"}, is judged as it stands; `response_language` and the few that
need other data are absent. Sentences are counted by their end marks instead of by nltk, and case is judged without
a language detector. An id or an argument that isn't known raises InstructionError: never a pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class InstructionError(ValueError):
    """The instruction itself can't be judged: an unknown id, or arguments that don't fit it."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """`check(reply, **kwargs)` holds or not; `description` is a format string over the same arguments.

    `types` names every argument with the type that it must have; all are required.
    """

    check: Callable[..., bool]
    description: str
    types: Mapping[str, type]


MARK_NAMES = {"!": "an exclamation mark", "?": "a question mark", ".": "a full stop"}
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
QUOTES = '"“”'


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None


def _related(count: int, relation: str, bound: int) -> bool:
    """IFEval's two relations, and `exactly` beside them."""
    if relation not in ("less than", "at least", "exactly"):
        raise InstructionError(f"relation {relation!r} is not 'less than', 'at least' or 'exactly'")
    return count < bound if relation == "less than" else count >= bound if relation == "at least" else count == bound


def _sentences(text: str) -> int:
    return len([part for part in re.split(r"[.!?]+(?=[\s\"”')]|$)", text) if re.search(r"\w", part)])


def _paragraphs(text: str) -> int | None:
    """The number of paragraphs between `***` dividers; None when one of the inner ones is empty."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return None if not all(parts[1:-1]) else sum(1 for part in parts if part)


def _bullets(text: str) -> int:
    return len(re.findall(r"^[ \t]*(?:\*[^*\n]|-).*$", text, re.MULTILINE))


def _highlights(text: str) -> int:
    return sum(1 for span in re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text) if span.strip("* "))


def _is_json(text: str) -> bool:
    body = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _postscript(text: str, marker: str) -> bool:
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, re.escape(marker.lower()))
    return re.search(pattern, text.lower()) is not None


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def _first_in_paragraph(text: str, count: int, nth: int, first: str) -> bool:
    paragraphs = [p for p in re.split(r"\n\n", text) if p.strip()]
    if len(paragraphs) != count or not 1 <= nth <= count:
        return False
    return words(paragraphs[nth - 1])[:1] == [first.lower()]


def _distinct(text: str, least: int, most: int) -> bool:
    found = words(text)
    return least <= len(found) <= most and len(set(found)) == len(found)


def _quoted(text: str) -> bool:
    body = text.strip()
    return len(body) > 1 and body[0] == '"' and body[-1] == '"'


def _comma_separated(text: str) -> bool:
    pieces = text.strip().strip(QUOTES).rstrip(".!?").split(",")
    return len(pieces) > 1 and all(len(words(piece)) == 1 for piece in pieces)


def _ends(text: str, phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(phrase.strip().lower())


def _echoes(text: str, prompt: str) -> bool:
    return text.strip().lower().startswith(prompt.strip().lower())


def _letter(text: str, letter: str, relation: str, bound: int) -> bool:
    return _related(text.lower().count(letter.lower()), relation, bound)


def _shouted(text: str) -> int:
    return sum(1 for word in re.findall(r"\w+", text) if word.isupper())


def _on_topic(text: str, topic_words: Sequence[str], least: int) -> bool:
    return len(set(words(text)) & {w.lower() for w in topic_words}) >= least


INSTRUCTIONS: Mapping[str, Instruction] = {
    "keywords:existence": Instruction(
        lambda t, keywords: all(re.search(re.escape(k), t, re.IGNORECASE) for k in keywords),
        "Include these words in the response: {keywords}.", {"keywords": list}),
    "keywords:frequency": Instruction(
        lambda t, keyword, frequency, relation: _related(
            len(re.findall(re.escape(keyword), t, re.IGNORECASE)), relation, frequency),
        "The word {keyword} should appear {relation} {frequency} times.",
        {"keyword": str, "frequency": int, "relation": str}),
    "keywords:forbidden_words": Instruction(
        lambda t, forbidden_words: not any(_has_word(t, w) for w in forbidden_words),
        "Do not use these words: {forbidden_words}.", {"forbidden_words": list}),
    "keywords:letter_frequency": Instruction(
        lambda t, letter, let_relation, let_frequency: _letter(t, letter, let_relation, let_frequency),
        "The letter {letter} should appear {let_relation} {let_frequency} times.",
        {"letter": str, "let_frequency": int, "let_relation": str}),
    "length_constraints:number_words": Instruction(
        lambda t, num_words, relation: _related(len(re.findall(r"\w+", t)), relation, num_words),
        "Answer with {relation} {num_words} words.", {"num_words": int, "relation": str}),
    "length_constraints:number_sentences": Instruction(
        lambda t, num_sentences, relation: _related(_sentences(t), relation, num_sentences),
        "Answer with {relation} {num_sentences} sentences.", {"num_sentences": int, "relation": str}),
    "length_constraints:number_paragraphs": Instruction(
        lambda t, num_paragraphs: _paragraphs(t) == num_paragraphs,
        "Write {num_paragraphs} paragraphs, separated by the markdown divider ***.", {"num_paragraphs": int}),
    "length_constraints:nth_paragraph_first_word": Instruction(
        lambda t, num_paragraphs, nth_paragraph, first_word: _first_in_paragraph(
            t, num_paragraphs, nth_paragraph, first_word),
        "Write {num_paragraphs} paragraphs, a blank line between; number {nth_paragraph} starts with {first_word}.",
        {"num_paragraphs": int, "nth_paragraph": int, "first_word": str}),
    "detectable_content:number_placeholders": Instruction(
        lambda t, num_placeholders: len(re.findall(r"\[[^\[\]]*\]", t)) >= num_placeholders,
        "Use at least {num_placeholders} placeholders in square brackets, such as [name].", {"num_placeholders": int}),
    "detectable_content:postscript": Instruction(
        lambda t, postscript_marker: _postscript(t, postscript_marker),
        "At the end, add a postscript that starts with {postscript_marker}", {"postscript_marker": str}),
    "detectable_format:number_bullet_lists": Instruction(
        lambda t, num_bullets: _bullets(t) == num_bullets,
        "Use exactly {num_bullets} markdown bullet points, each starting with *.", {"num_bullets": int}),
    "detectable_format:number_highlighted_sections": Instruction(
        lambda t, num_highlights: _highlights(t) >= num_highlights,
        "Highlight at least {num_highlights} parts with markdown, such as *this*.", {"num_highlights": int}),
    "detectable_format:multiple_sections": Instruction(
        lambda t, section_spliter, num_sections: len(
            re.findall(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", t)) >= num_sections,
        "Write {num_sections} sections, each headed {section_spliter} 1, {section_spliter} 2 and so on.",
        {"section_spliter": str, "num_sections": int}),
    "detectable_format:constrained_response": Instruction(
        lambda t: any(option in t for option in CONSTRAINED),
        "Answer with one of: " + " ".join(CONSTRAINED), {}),
    "detectable_format:json_format": Instruction(_is_json, "Give the whole answer in JSON format.", {}),
    "detectable_format:title": Instruction(
        lambda t: any(title.strip() for title in re.findall(r"<<([^<>\n]+)>>", t)),
        "Add a title in double angular brackets, such as <<title>>.", {}),
    "combination:two_responses": Instruction(
        _two_responses, "Give two different answers, separated by six asterisks: ******.", {}),
    "combination:repeat_prompt": Instruction(
        lambda t, prompt_to_repeat: _echoes(t, prompt_to_repeat),
        "First repeat the request word for word, then answer it.", {"prompt_to_repeat": str}),
    "startend:end_checker": Instruction(
        lambda t, end_phrase: _ends(t, end_phrase),
        "Finish with exactly this: {end_phrase}", {"end_phrase": str}),
    "startend:quotation": Instruction(_quoted, "Wrap it in double quotation marks.", {}),
    "change_case:english_capital": Instruction(
        lambda t: t.isupper(), "Use capital letters only.", {}),
    "change_case:english_lowercase": Instruction(
        lambda t: t.islower(), "Use lowercase letters only.", {}),
    "change_case:capital_word_frequency": Instruction(
        lambda t, capital_frequency, capital_relation: _related(_shouted(t), capital_relation, capital_frequency),
        "Words in all capital letters should appear {capital_relation} {capital_frequency} times.",
        {"capital_frequency": int, "capital_relation": str}),
    "punctuation:no_comma": Instruction(lambda t: "," not in t, "Use no commas.", {}),
    "cascade:different_words": Instruction(
        lambda t, least, most: _distinct(t, least, most),
        "Use {least} to {most} words, all different.", {"least": int, "most": int}),
    "cascade:first_word": Instruction(
        lambda t, word: words(t)[:1] == [word.lower()], "Start with the word {word}.", {"word": str}),
    "cascade:last_word": Instruction(
        lambda t, word: words(t)[-1:] == [word.lower()], "End with the word {word}.", {"word": str}),
    "cascade:comma_separated": Instruction(_comma_separated, "Put commas between the words.", {}),
    "cascade:on_topic": Instruction(
        lambda t, topic_words, least: _on_topic(t, topic_words, least),
        "Use at least {least} of these words: {topic_words}.", {"topic_words": list, "least": int}),
}  # fmt: skip


def _bound(instruction_id: str, kwargs: Mapping[str, Any] | None) -> tuple[Instruction, dict[str, Any]]:
    """The instruction with its checked arguments; the nulls that IFEval's rows are padded with are dropped."""
    instruction = INSTRUCTIONS.get(instruction_id)
    if instruction is None:
        raise InstructionError(f"unknown instruction {instruction_id!r}; known: {', '.join(sorted(INSTRUCTIONS))}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise InstructionError(f"{instruction_id}: the arguments are no mapping")
    given = {k: v for k, v in (kwargs or {}).items() if v is not None}
    if set(given) != set(instruction.types):
        raise InstructionError(f"{instruction_id} takes {sorted(instruction.types)}, not {sorted(given)}")
    return instruction, {k: _fitted(instruction_id, k, v, instruction.types[k]) for k, v in given.items()}


def _fitted(instruction_id: str, name: str, value: Any, kind: type) -> Any:
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if kind is list:
        fits = isinstance(value, list) and bool(value) and all(isinstance(v, str) and v.strip() for v in value)
    elif kind is str:
        fits = fits and bool(value.strip())
    if not fits:
        raise InstructionError(f"{instruction_id}: {name}={value!r} is not a usable {kind.__name__}")
    return value


def check(instruction_id: str, kwargs: Mapping[str, Any] | None, reply: str) -> bool:
    """Whether the reply follows one instruction; an empty reply follows none, as in IFEval."""
    instruction, given = _bound(instruction_id, kwargs)
    holds = bool(instruction.check(reply, **given))
    return holds and bool(reply.strip())


def describe(instruction_id: str, kwargs: Mapping[str, Any] | None) -> str:
    """The sentence that asks for it in a prompt."""
    instruction, given = _bound(instruction_id, kwargs)
    return instruction.description.format(**{k: ", ".join(v) if isinstance(v, list) else v for k, v in given.items()})


def check_all(answer: Any, reply: str) -> dict[str, bool]:
    """Each instruction of an IFEval row {"instruction_id_list", "kwargs"}; a repeated id gets a suffix `#2`.

    Raises InstructionError when the row is malformed, holds nothing to check, or names an unknown instruction.
    """
    ids = answer.get("instruction_id_list") if isinstance(answer, Mapping) else None
    kwargs = answer.get("kwargs") if isinstance(answer, Mapping) else None
    if not isinstance(ids, list) or not isinstance(kwargs, list) or not ids or len(ids) != len(kwargs):
        raise InstructionError("an answer needs `instruction_id_list` and `kwargs`, lists of one length and not empty")
    if not all(isinstance(i, str) for i in ids):
        raise InstructionError("every instruction id must be a string")
    parts: dict[str, bool] = {}
    for instruction_id, given in zip(ids, kwargs, strict=True):
        count = sum(1 for key in parts if key.split("#")[0] == instruction_id)
        parts[f"{instruction_id}#{count + 1}" if count else instruction_id] = check(instruction_id, given, reply)
    return parts
