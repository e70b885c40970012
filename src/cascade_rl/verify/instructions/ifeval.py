"""The 25 instructions of IFEval (arXiv 2311.07911) with its ids and argument names.

`check` of each gives what Google's public code gives, but never draws at random: a letter that isn't a letter (`#`)
is counted as it stands, and arguments that are missing are an error. What strict changes stands beside each row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from cascade_rl.verify.instructions.table import Instruction, InstructionError, enough, related
from cascade_rl.verify.instructions.text import (
    bracketed,
    known_languages,
    language_of,
    occurrences,
    punkt_sentences,
    runs,
    says,
    solid,
    word_tokens,
    words,
)

CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _pattern(keyword: str) -> str:
    """A keyword as the pattern that it is to the reference, or as it stands when it is none (`C++`)."""
    try:
        re.compile(keyword)
    except re.error:
        return re.escape(keyword)
    return keyword


def keywords_exist(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword is found, as a pattern, in any case, inside other words too."""
    return all(re.search(_pattern(keyword), text, re.IGNORECASE) for keyword in keywords)


def keywords_exist_as_words(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword stands as a whole word."""
    return all(occurrences(text, keyword) for keyword in keywords)


def keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword is found so often, as a pattern, in any case, inside other words too."""
    return related(len(re.findall(_pattern(keyword.strip()), text, re.IGNORECASE)), relation, frequency)


def keyword_frequency_as_word(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword stands so often as a whole word, and inside others it doesn't change that."""
    inside = text.lower().count(keyword.strip().lower())
    return all(related(count, relation, frequency) for count in (occurrences(text, keyword), inside))


def words_avoided(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs between word boundaries, in any case."""
    return not any(re.search(rf"\b{_pattern(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def words_avoided_literally(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs, whatever signs it consists of."""
    return not any(occurrences(text, word) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter, or any other character, occurs so often in any case."""
    if len(letter) != 1:
        raise InstructionError(f"keywords:letter_frequency: letter={letter!r} is not one character")
    return related(text.lower().count(letter.lower()), let_relation, let_frequency)


def _known(language: str) -> str:
    if language not in known_languages():
        raise InstructionError(f"language {language!r} can't be detected; known: {', '.join(known_languages())}")
    return language


def in_language(text: str, language: str) -> bool:
    """The text is in a language; one without any letters passes."""
    return language_of(text) in (_known(language), None)


def surely_in_language(text: str, language: str) -> bool:
    """The language can be told, and is the one."""
    return language_of(text) == language


def number_of_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """So many sentences, by Punkt."""
    return related(len(punkt_sentences(text)), relation, num_sentences)


def number_of_real_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """So many sentences that hold a word."""
    return enough(sum(map(says, punkt_sentences(text))), relation, num_sentences)


def number_of_words(text: str, num_words: int, relation: str) -> bool:
    r"""So many runs of letters, digits and underscores."""
    return related(len(runs(text)), relation, num_words)


def number_of_real_words(text: str, num_words: int, relation: str) -> bool:
    """So many words that hold a letter or a digit."""
    return enough(len(solid(text)), relation, num_words)


def number_of_paragraphs(text: str, num_paragraphs: int) -> bool:
    """So many parts between `***`; the first and the last may be empty and then don't count."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    return all(part.strip() for part in parts[1:-1]) and sum(1 for p in parts if p.strip()) == num_paragraphs


def paragraphs_say_something(text: str, num_paragraphs: int) -> bool:
    """Every part between dividers holds a word, and each divider is a line of its own."""
    return len([p for p in re.split(r"(?:^|\n)[ \t]*\*\*\*[ \t]*(?:\n|$)", text) if says(p)]) == num_paragraphs


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many paragraphs between blank lines, and one of them starts with a word; blank ones shift the count."""
    paragraphs = text.split("\n\n")
    count = sum(1 for p in paragraphs if p.strip())
    if nth_paragraph > count or not paragraphs[nth_paragraph - 1].strip():
        return False
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    first = "".join(map(str.lower, re.split(r"[.,?!'\"]", word)[0]))
    return count == num_paragraphs and first == first_word.lower()


def paragraphs_with_words(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Every paragraph holds a word."""
    return sum(1 for p in re.split(r"\n\s*\n", text) if says(p)) == num_paragraphs


def placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many pairs of square brackets, each within a line."""
    return bracketed(text) >= num_placeholders


def real_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many square brackets around words that aren't a link, a check box or a footnote."""
    found = re.findall(r"\[([^\[\]\n]{1,80})\](?![(\[:])", text)
    return sum(1 for name in found if re.search(r"[^\W\d_]{2}", name)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """The marker of a postscript is found anywhere, in any case."""
    marker = postscript_marker.strip()
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, marker.lower())
    return re.search(pattern, text.lower()) is not None


def postscript_after_text(text: str, postscript_marker: str) -> bool:
    """The marker begins a line, with words before it and after it."""
    marker = re.escape(postscript_marker.strip()).replace(r"\.", r"\.\s?")
    parts = re.split(rf"(?:^|\n)[\W_]*{marker}", text, flags=re.IGNORECASE)
    return len(parts) > 1 and says("".join(parts[:-1])) and says(parts[-1])


def bullets(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that start with `*` (one alone) or `-`."""
    stars = re.findall(r"^[^\S\n]*\*[^*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^[^\S\n]*-.*$", text, re.MULTILINE)) == num_bullets


def bullets_with_words(text: str, num_bullets: int) -> bool:
    """Exactly so many bullets followed by words."""
    return len(re.findall(r"^[ \t]*[*-][ \t]+.*[^\W_].*$", text, re.MULTILINE)) == num_bullets


def highlights(text: str, num_highlights: int) -> bool:
    """At least so many spans between single or double asterisks that are not blank."""
    single = sum(1 for span in re.findall(r"\*[^\n*]*\*", text) if span.strip("*").strip())
    double = sum(1 for span in re.findall(r"\*\*[^\n*]*\*\*", text) if span[2:-2].strip())
    return single + double >= num_highlights


def highlighted_words(text: str, num_highlights: int) -> bool:
    """At least so many spans of words, each between asterisks of one kind that touch them."""
    spans = re.findall(r"(?<!\*)(\*\*?)(?![\s*])([^*\n]+)(?<!\s)\1(?!\*)", text)
    return sum(1 for _, span in spans if says(span)) >= num_highlights


def sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many times the heading with a number."""
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


def sections_in_order(text: str, section_spliter: str, num_sections: int) -> bool:
    """The headings start lines, are numbered 1 to n once each, and words follow each."""
    parts = re.split(rf"(?:^|\n)[^\w\n]*{re.escape(section_spliter.strip())}\s?(\d+)\b", text)
    wanted = [str(n) for n in range(1, num_sections + 1)]
    return parts[1::2] == wanted and all(map(says, parts[2::2]))


def constrained(text: str) -> bool:
    """One of the three answers is found."""
    return any(option in text for option in CONSTRAINED)


def one_answer(text: str) -> bool:
    """Exactly one of the three answers is found."""
    return sum(option in text for option in CONSTRAINED) == 1


def _json(text: str) -> object:
    """The value of a JSON text in optional fences; raises ValueError."""
    body = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    try:
        return json.loads(body.removesuffix("```").strip())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str) -> bool:
    """The text, without fences, is JSON."""
    try:
        _json(text)
    except ValueError:
        return False
    return True


def is_json_record(text: str) -> bool:
    """It is an object or an array that holds something."""
    return isinstance(value := _json(text), dict | list) and bool(value)


def title(text: str) -> bool:
    """A line holds `<<...>>` around something."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start <= end - 3 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def title_of_words(text: str) -> bool:
    """The brackets hold words and no other bracket."""
    return any(map(says, re.findall(r"<<([^<>\n]{1,200})>>", text)))


def _two(text: str) -> list[str]:
    return [part.strip() for part in text.split("******") if part.strip()]


def two_responses(text: str) -> bool:
    """Two parts that differ, with `******` between them."""
    inner = text.split("******")[1:-1]
    return all(part.strip() for part in inner) and len(parts := _two(text)) == 2 and parts[0] != parts[1]


def two_different_responses(text: str) -> bool:
    """They differ in their words."""
    first, second = (words(part) for part in _two(text))
    return first != second and all(map(says, _two(text)))


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text starts with the request, in any case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def answers_after_prompt(text: str, prompt_to_repeat: str) -> bool:
    """An answer follows the request."""
    return says(text.strip().lower().removeprefix(prompt_to_repeat.strip().lower()))


def ends_with(text: str, end_phrase: str) -> bool:
    """The text ends with a phrase, in any case, quotation marks apart."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def says_more_than_end(text: str, end_phrase: str) -> bool:
    """Words stand before the phrase, and it begins a word."""
    before = text.strip().strip('"').lower().removesuffix(phrase := end_phrase.strip().lower())
    return says(before) and not (re.match(r"\w", phrase) and re.search(r"\w\Z", before))


def quoted(text: str) -> bool:
    """The first and the last character are double quotation marks."""
    body = text.strip()
    return len(body) > 1 and body[0] == '"' and body[-1] == '"'


def english_capitals(text: str) -> bool:
    """No lowercase letter, and English by what the detector makes of capitals, or no telling."""
    return text.isupper() and language_of(text) in ("en", None)


def capitals_in_english(text: str) -> bool:
    """No lowercase letter, and English once it is lowered: the detector passes over words in capitals."""
    return text.isupper() and language_of(text.lower()) == "en"


def english_lowercase(text: str) -> bool:
    """No capital letter, and English, or no telling."""
    return text.islower() and language_of(text) in ("en", None)


def lowercase_in_english(text: str) -> bool:
    """It can be told that it is English."""
    return language_of(text) == "en"


def capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many tokens in capitals; `I` and `A` count."""
    return related(sum(token.isupper() for token in word_tokens(text)), capital_relation, capital_frequency)


def long_capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words of two capital letters or more."""
    return enough(sum(w.isupper() for w in re.findall(r"[^\W\d_]{2,}", text)), capital_relation, capital_frequency)


def no_comma(text: str) -> bool:
    """No comma."""
    return "," not in text


def words_without_any_comma(text: str) -> bool:
    """There are words, and none of the commas of other scripts."""
    return says(text) and not re.search("[，、،﹐]", text)


INSTRUCTIONS: Mapping[str, Instruction] = {
    "keywords:existence": Instruction(
        keywords_exist, "Include these words in the response: {keywords}.", {"keywords": list},
        instead=keywords_exist_as_words, strictly="whole words only"),
    "keywords:frequency": Instruction(
        keyword_frequency, "The word {keyword} should appear {relation} {frequency} times.",
        {"keyword": str, "frequency": int, "relation": str},
        instead=keyword_frequency_as_word, strictly="whole words only"),
    "keywords:forbidden_words": Instruction(
        words_avoided, "Do not use these words: {forbidden_words}.", {"forbidden_words": list},
        instead=words_avoided_literally, strictly="words with signs in them (`C++`) are found too"),
    "keywords:letter_frequency": Instruction(
        letter_frequency, "The letter {letter} should appear {let_relation} {let_frequency} times.",
        {"letter": str, "let_frequency": int, "let_relation": str}),
    "language:response_language": Instruction(
        in_language, "Write everything in the language with the code {language}.", {"language": str},
        also=surely_in_language, strictly="a text without letters is in no language"),
    "length_constraints:number_words": Instruction(
        number_of_words, "Answer with {relation} {num_words} words.", {"num_words": int, "relation": str},
        also=number_of_real_words, strictly="underscores aren't words"),
    "length_constraints:number_sentences": Instruction(
        number_of_sentences, "Answer with {relation} {num_sentences} sentences.",
        {"num_sentences": int, "relation": str},
        also=number_of_real_sentences, strictly="a sentence holds a word"),
    "length_constraints:number_paragraphs": Instruction(
        number_of_paragraphs, "Write {num_paragraphs} paragraphs, separated by the markdown divider ***.",
        {"num_paragraphs": int},
        also=paragraphs_say_something, strictly="a paragraph holds a word, a divider is a line"),
    "length_constraints:nth_paragraph_first_word": Instruction(
        nth_paragraph_first_word,
        "Write {num_paragraphs} paragraphs, a blank line between; number {nth_paragraph} starts with {first_word}.",
        {"num_paragraphs": int, "nth_paragraph": int, "first_word": str},
        also=paragraphs_with_words, strictly="a paragraph holds a word"),
    "detectable_content:number_placeholders": Instruction(
        placeholders, "Use at least {num_placeholders} placeholders in square brackets, such as [name].",
        {"num_placeholders": int},
        also=real_placeholders, strictly="links, check boxes and footnotes aren't placeholders"),
    "detectable_content:postscript": Instruction(
        postscript, "At the end, add a postscript that starts with {postscript_marker}", {"postscript_marker": str},
        also=postscript_after_text, strictly="begins a line, between words"),
    "detectable_format:number_bullet_lists": Instruction(
        bullets, "Use exactly {num_bullets} markdown bullet points, each starting with *.", {"num_bullets": int},
        also=bullets_with_words, strictly="a bullet is followed by words; rules of dashes aren't bullets"),
    "detectable_format:number_highlighted_sections": Instruction(
        highlights, "Highlight at least {num_highlights} parts with markdown, such as *this*.",
        {"num_highlights": int},
        also=highlighted_words, strictly="words between asterisks of one kind"),
    "detectable_format:multiple_sections": Instruction(
        sections, "Write {num_sections} sections, each headed {section_spliter} 1, {section_spliter} 2 and so on.",
        {"section_spliter": str, "num_sections": int},
        also=sections_in_order, strictly="exactly 1 to n, at the start of lines, with words"),
    "detectable_format:constrained_response": Instruction(
        constrained, "Answer with one of: " + " ".join(CONSTRAINED), {},
        also=one_answer, strictly="only one of the answers"),
    "detectable_format:json_format": Instruction(
        is_json, "Give the whole answer in JSON format.", {},
        also=is_json_record, strictly="an object or an array, not empty"),
    "detectable_format:title": Instruction(
        title, "Add a title in double angular brackets, such as <<title>>.", {},
        also=title_of_words, strictly="holds words"),
    "combination:two_responses": Instruction(
        two_responses, "Give two different answers, separated by six asterisks: ******.", {},
        also=two_different_responses, strictly="differ in their words"),
    "combination:repeat_prompt": Instruction(
        repeats_prompt, "First repeat the request word for word, then answer it.", {"prompt_to_repeat": str},
        also=answers_after_prompt, strictly="an answer follows"),
    "startend:end_checker": Instruction(
        ends_with, "Finish with exactly this: {end_phrase}", {"end_phrase": str},
        also=says_more_than_end, strictly="words stand before it"),
    "startend:quotation": Instruction(
        quoted, "Wrap it in double quotation marks.", {}, also=says, strictly="holds a word"),
    "change_case:english_capital": Instruction(
        english_capitals, "Use capital letters only.", {},
        instead=capitals_in_english, strictly="the language is told from the lowered text"),
    "change_case:english_lowercase": Instruction(
        english_lowercase, "Use lowercase letters only.", {},
        also=lowercase_in_english, strictly="a text that can't be told isn't English"),
    "change_case:capital_word_frequency": Instruction(
        capital_words, "Words in all capital letters should appear {capital_relation} {capital_frequency} times.",
        {"capital_frequency": int, "capital_relation": str},
        also=long_capital_words, strictly="two letters or more"),
    "punctuation:no_comma": Instruction(
        no_comma, "Use no commas.", {}, also=words_without_any_comma, strictly="holds a word; commas of other scripts"),
}  # fmt: skip
