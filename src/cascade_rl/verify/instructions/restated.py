"""Constraints in a few words each, as a short thought before a reply names what it must keep.

Not what a prompt says (`describe`): no reader is to be won, only the numbers, words and marks stay. The rows
of IFEval's 25 kinds take about ten tokens; a kind without a row is restated by its own sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cascade_rl.verify.instructions import arguments, describe
from cascade_rl.verify.instructions.lexicon import LANGUAGES
from cascade_rl.verify.instructions.table import InstructionError

_RELATIONS = {"less than": "under", "at least": "at least", "exactly": "exactly"}

# {name} is the argument of that name; lists are joined by commas, relations said as in _RELATIONS
SHORT: Mapping[str, str] = {
    "keywords:existence": "say {keywords}",
    "keywords:frequency": "say {keyword} {relation} {frequency} times",
    "keywords:forbidden_words": "never say {forbidden_words}",
    "keywords:letter_frequency": "letter {letter} {let_relation} {let_frequency} times",
    "language:response_language": "only in {language}",
    "length_constraints:number_words": "{relation} {num_words} words",
    "length_constraints:number_sentences": "{relation} {num_sentences} sentences",
    "length_constraints:number_paragraphs": "{num_paragraphs} paragraphs with *** between",
    "length_constraints:nth_paragraph_first_word":
        "{num_paragraphs} paragraphs, number {nth_paragraph} starts with {first_word}",
    "change_case:english_capital": "all capitals",
    "change_case:english_lowercase": "all lowercase",
    "change_case:capital_word_frequency": "{capital_relation} {capital_frequency} words in capitals",
    "punctuation:no_comma": "no commas",
    "detectable_content:number_placeholders": "at least {num_placeholders} [placeholders]",
    "detectable_content:postscript": "then {postscript_marker}",
    "detectable_format:number_bullet_lists": "exactly {num_bullets} bullets *",
    "detectable_format:number_highlighted_sections": "at least {num_highlights} *highlights*",
    "detectable_format:multiple_sections": "{section_spliter} 1 to {section_spliter} {num_sections}",
    "detectable_format:constrained_response": "say my answer is yes, no or maybe",
    "detectable_format:json_format": "only JSON",
    "detectable_format:title": "a <<title>>",
    "combination:two_responses": "two answers with ****** between",
    "combination:repeat_prompt": "repeat the request first",
    "startend:end_checker": "end with: {end_phrase}",
    "startend:quotation": "in double quotes",
    "count:word_count_range": "{min_words} to {max_words} words",
    "count:unique_word_count": "{N} different words",
    "count:person_names": "{N} names of the list",
    "count:numbers": "exactly {N} numbers",
    "count:pronouns": "{N} pronouns",
    "count:conjunctions": "{small_n} kinds of and, but, for, nor, or, so, yet",
    "count:keywords_multiple":
        "{keyword1} once, {keyword2} twice, {keyword3} 3 times, {keyword4} 5 times, {keyword5} 7 times",
    "count:words_japanese": "every word number {N} in Japanese",
    "sentence:keyword": "sentence {N} says {word}",
    "words:keywords_specific_position": "sentence {n}, word {m} is {keyword}",
    "words:words_position": "{keyword} second and last but one",
    "words:repeats": "no word over {small_n} times",
    "sentence:increment": "each sentence {small_n} words longer",
    "ratio:stop_words": "at most {percentage} % function words",
    "ratio:overlap": "{percentage} % of word triples from the text",
    "ratio:sentence_type": "2 statements to a question",
    "ratio:sentence_balance": "as many statements, questions, exclamations",
    "format:list": "items after {sep}",
    "format:options": "only one of {options}",
    "repeat:repeat_change": "copy the text, change its first word",
    "repeat:repeat_span": "copy words {n_start} to {n_end}, counted from 0",
}  # fmt: skip


def _said(name: str, value: Any) -> str:
    if name == "language":
        return LANGUAGES[value]
    if isinstance(value, list):
        return ", ".join(value)
    return _RELATIONS[value] if name.endswith("relation") else str(value).strip()


def _restated(ident: str, kwargs: Mapping[str, Any] | None) -> str:
    if ident not in SHORT:
        sentence = describe(ident, kwargs).rstrip(".")
        return sentence[0].lower() + sentence[1:]
    given = arguments(ident, kwargs)
    return SHORT[ident].format(**{name: _said(name, value) for name, value in given.items()})


def restate(instruction_id_list: Sequence[str], kwargs: Sequence[Mapping[str, Any] | None]) -> str:
    """The constraints of a row in a few words each, in order: `no commas; under 100 words; end with: Bye.`

    InstructionError for an unknown id, arguments that don't fit, and lists of different lengths.
    """
    if len(instruction_id_list) != len(kwargs):
        raise InstructionError(
            f"`instruction_id_list` and `kwargs` are of one length, not {len(instruction_id_list)} and "
            f"{len(kwargs)}"
        )
    said = "; ".join(map(_restated, instruction_id_list, kwargs))
    return said if said.endswith((".", "!", "?")) else said + "."
