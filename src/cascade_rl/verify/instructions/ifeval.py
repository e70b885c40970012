"""IFEval (arXiv 2311.07911), the instructions about words, lengths, case and language.

`check` of each gives what Google's public code gives, but never draws at random: a letter that isn't a letter
(`#`) is counted as it stands, and arguments that are missing are an error. What strict changes stands beside
each row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cascade_rl.verify.instructions.table import (
    COUNT,
    LETTER,
    PLACE,
    RELATION,
    TEXT,
    WORDS,
    Instruction,
    Kind,
    enough,
    related,
)
from cascade_rl.verify.instructions.text import (
    known_languages,
    language_of,
    occurrences,
    punkt_sentences,
    runs,
    says,
    solid,
    word_tokens,
)


def _pattern(keyword: str) -> str:
    """A keyword as the pattern that it is to the reference, or as it stands when it is none (`C++`)."""
    # possessive since Python 3.11, an error to the reference before: never meant as a pattern
    if re.search(r"[*+?}]\+", keyword):
        return re.escape(keyword)
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
    # both counts: the reference's would be met by `cat` in `category`, ours alone would let "less than" pass
    inside = text.lower().count(keyword.strip().lower())
    return all(related(count, relation, frequency) for count in (occurrences(text, keyword), inside))


def words_avoided(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs between word boundaries, in any case."""
    return not any(re.search(rf"\b{_pattern(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def words_avoided_literally(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs, whatever signs it consists of, emphasised or with unseen signs inside."""
    seen = re.sub("[\u00ad\u200b\u2060\ufeff]", "", text)
    return not any(
        occurrences(shown, word) for word in forbidden_words for shown in (text, seen, seen.replace("_", " "))
    )


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter, or any other character, occurs so often in any case."""
    return related(text.lower().count(letter.strip().lower()), let_relation, let_frequency)


def in_language(text: str, language: str) -> bool:
    """The text is in a language; one without any letters passes."""
    return language_of(text) in (language, None)


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
    return (
        len([p for p in re.split(r"(?:^|\n)[ \t]*\*\*\*[ \t]*(?:\n|$)", text) if says(p)]) == num_paragraphs
    )


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many paragraphs between blank lines, one of which starts with a word; blank ones shift the count."""
    paragraphs = text.split("\n\n")
    count = sum(1 for p in paragraphs if p.strip())
    if nth_paragraph > count or not paragraphs[nth_paragraph - 1].strip():
        return False
    # the reference's own way to the first word, letter by letter until a mark
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    first = "".join(map(str.lower, re.split(r"[.,?!'\"]", word)[0]))
    return count == num_paragraphs and first == first_word.lower()


def paragraphs_with_words(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Every paragraph holds a word."""
    return sum(1 for p in re.split(r"\n\s*\n", text) if says(p)) == num_paragraphs


def english_capitals(text: str) -> bool:
    """No lowercase letter, and English by what the detector makes of capitals, or no telling."""
    return text.isupper() and language_of(text) in ("en", None)


def capitals_in_english(text: str) -> bool:
    """No lowercase letter, and English once it is lowered: the detector passes over words in capitals."""
    # langdetect takes "DOGS ARE LOYAL FRIENDS OF PEOPLE." for German
    return text.isupper() and language_of(text.lower()) == "en"


def english_lowercase(text: str) -> bool:
    """No capital letter, and English, or no telling."""
    return text.islower() and language_of(text) in ("en", None)


def lowercase_in_english(text: str) -> bool:
    """It can be told that it is English."""
    return language_of(text) == "en"


def capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many tokens in capitals; `I` and `A` count."""
    # tokens of nltk, so `U.S.` and a lone `A` are words in capitals
    return related(sum(token.isupper() for token in word_tokens(text)), capital_relation, capital_frequency)


def long_capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words of two capital letters or more."""
    return enough(
        sum(w.isupper() for w in re.findall(r"[^\W\d_]{2,}", text)), capital_relation, capital_frequency
    )


def no_comma(text: str) -> bool:
    """No comma."""
    return "," not in text


def words_without_any_comma(text: str) -> bool:
    """There are words, and none of the commas of other scripts."""
    return says(text) and not re.search("[，、،﹐]", text)


LANGUAGE = Kind("a code that langdetect knows", str, lambda code: code in known_languages())

INSTRUCTIONS: Mapping[str, Instruction] = {
    "keywords:existence": Instruction(
        keywords_exist, "Include these words in the response: {keywords}.", {"keywords": WORDS},
        instead=keywords_exist_as_words, strictly="whole words only"),
    "keywords:frequency": Instruction(
        keyword_frequency, "Bring in the word {keyword} {relation} {frequency} times.",
        {"keyword": TEXT, "frequency": COUNT, "relation": RELATION}, instead=keyword_frequency_as_word,
        strictly="whole words only"),
    "keywords:forbidden_words": Instruction(
        words_avoided, "Do not use these words: {forbidden_words}.", {"forbidden_words": WORDS},
        instead=words_avoided_literally, strictly="words that end in a sign (`C#`) are found too"),
    "keywords:letter_frequency": Instruction(
        letter_frequency, "Let the letter {letter} occur {let_relation} {let_frequency} times.",
        {"letter": LETTER, "let_frequency": COUNT, "let_relation": RELATION}),
    "language:response_language": Instruction(
        in_language, "Write everything in the language with the code {language}.", {"language": LANGUAGE},
        also=surely_in_language, strictly="a text without letters is in no language"),
    "length_constraints:number_words": Instruction(
        number_of_words, "Answer with {relation} {num_words} words.",
        {"num_words": COUNT, "relation": RELATION}, also=number_of_real_words,
        strictly="underscores aren't words"),
    "length_constraints:number_sentences": Instruction(
        number_of_sentences, "Answer with {relation} {num_sentences} sentences.",
        {"num_sentences": COUNT, "relation": RELATION}, also=number_of_real_sentences,
        strictly="a sentence holds a word"),
    "length_constraints:number_paragraphs": Instruction(
        number_of_paragraphs, "Write {num_paragraphs} paragraphs, separated by the markdown divider ***.",
        {"num_paragraphs": PLACE}, also=paragraphs_say_something,
        strictly="a paragraph holds a word, a divider is a line"),
    "length_constraints:nth_paragraph_first_word": Instruction(
        nth_paragraph_first_word,
        "Write {num_paragraphs} paragraphs, a blank line between; "
        "number {nth_paragraph} starts with {first_word}.",
        {"num_paragraphs": PLACE, "nth_paragraph": PLACE, "first_word": TEXT}, also=paragraphs_with_words,
        strictly="a paragraph holds a word"),
    "change_case:english_capital": Instruction(
        english_capitals, "Use capital letters only.", {}, instead=capitals_in_english,
        strictly="the language is told from the lowered text"),
    "change_case:english_lowercase": Instruction(
        english_lowercase, "Use lowercase letters only.", {}, also=lowercase_in_english,
        strictly="a text that can't be told isn't English"),
    "change_case:capital_word_frequency": Instruction(
        capital_words, "Write {capital_relation} {capital_frequency} words entirely in capitals.",
        {"capital_frequency": COUNT, "capital_relation": RELATION}, also=long_capital_words,
        strictly="two letters or more"),
    "punctuation:no_comma": Instruction(
        no_comma, "Use no commas.", {}, also=words_without_any_comma,
        strictly="holds a word; commas of other scripts"),
}  # fmt: skip
