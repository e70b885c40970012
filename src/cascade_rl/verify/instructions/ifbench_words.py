"""IFBench (arXiv 2507.02833), the instructions about words, counts, ratios and sentences.

`check` of each gives what AllenAI's public code gives; where that raises (an empty list of sentences, a ratio
of nothing), the reply fails. What strict changes stands beside each row; for a rule about every word or every
sentence it also asks for enough of them (`FEW`), since a reply of one word keeps them all. What sentences are
asked is checked in `ifbench_sentences`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

from cascade_rl.verify.instructions.ifbench_sentences import (
    chained_sentences,
    growing_alliteration,
    growing_sentences,
    keyword_at,
    keyword_in_sentence,
    sentence_balance,
    sentence_types,
    some_questions,
    two_sentences,
)
from cascade_rl.verify.instructions.lexicon import CONJUNCTIONS, NAMES, PRONOUNS, STOP_WORDS, VERBS
from cascade_rl.verify.instructions.table import COUNT, PLACE, TEXT, Instruction
from cascade_rl.verify.instructions.text import (
    bare,
    between_boundaries,
    runs,
    says,
    solid,
    syllables,
    trimmed,
    word_tokens,
    worded_tokens,
)

FEW = 5  # words that a rule about every word needs to say something
VOWELS, CONSONANTS = frozenset("aeiou"), frozenset("bcdfghjklmnpqrstvwxyz")
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
# below 100, as in the reference: longer words never pass
PRIMES = frozenset(n for n in range(2, 100) if all(n % d for d in range(2, n)))
TIMES = (1, 2, 3, 5, 7)  # how often each of the five keywords


def a_few_words(text: str, **_: object) -> bool:
    """There are words enough for a rule about each to say something."""
    return len(solid(text)) >= FEW


def word_count_range(text: str, min_words: int, max_words: int) -> bool:
    """The number of words is in a range."""
    return min_words <= len(runs(text)) <= max_words


def real_word_count_range(text: str, min_words: int, max_words: int) -> bool:
    """So is the number of runs that hold a letter or a digit."""
    return min_words <= sum(map(says, runs(text))) <= max_words


def unique_words(text: str, N: int) -> bool:
    """At least so many different words, cut at blanks; what is only punctuation counts as one."""
    return len({trimmed(word) for word in text.lower().split()}) >= N


def unique_real_words(text: str, N: int) -> bool:
    """They hold a letter or a digit."""
    return sum(map(says, {trimmed(word) for word in text.lower().split()})) >= N


def stop_words(text: str, percentage: int) -> bool:
    """Function words are at most a percentage of the words."""
    found = runs(text)
    return bool(found) and sum(w.lower() in STOP_WORDS for w in found) / len(found) * 100 <= percentage


def conjunctions(text: str, small_n: int) -> bool:
    """So many different coordinating conjunctions; `and` and `And,` differ."""
    return len({word for word in text.split() if trimmed(word).lower() in CONJUNCTIONS}) >= small_n


def different_conjunctions(text: str, small_n: int) -> bool:
    """They differ in their letters."""
    return len({trimmed(word).lower() for word in text.split()} & CONJUNCTIONS) >= small_n


def person_names(text: str, N: int) -> bool:
    """So many of the fifty names, as whole words."""
    return len(set(NAMES) & set(runs(text))) >= N


def _overlap(mine: Iterable[object], others: Iterable[object], percentage: int) -> bool:
    own = set(mine)
    # of sets: a triple that is repeated counts once, and none at all is no share
    return bool(own) and percentage - 2 <= len(own & set(others)) / len(own) * 100 <= percentage + 2


def overlap(text: str, reference_text: str, percentage: int) -> bool:
    """So many percent, give or take two, of the triples of tokens are those of another text."""
    mine, others = (zip(t, t[1:], t[2:], strict=False) for t in map(word_tokens, (text, reference_text)))
    return _overlap(mine, others, percentage)


def numbers(text: str, N: int) -> bool:
    """Exactly so many runs of digits, once punctuation is taken out."""
    return len(re.findall(r"\d+", bare(text))) == N


def separate_numbers(text: str, N: int) -> bool:
    """Exactly so many numbers as they are read: `3-4` are two, `1,000.5` is one."""
    return len(re.findall(r"\d+(?:[.,]\d+)*", text)) == N


def alphabet_loop(text: str) -> bool:
    """Each word starts with the next letter of the alphabet, `a` after `z`."""
    found = bare(text).split()
    start = ALPHABET.find(found[0][0].lower()) if found else -1
    follow = (word.lower()[0] == ALPHABET[(start + i) % 26] for i, word in enumerate(found[1:], 1))
    return start >= 0 and all(follow)


def three_vowels(text: str) -> bool:
    """One line with at most three of the five vowels."""
    return "\n" not in text.strip() and len(VOWELS & set(text.lower())) <= 3


def consonant_clusters(text: str) -> bool:
    """Every word holds two consonants in a row."""
    return all(any({a, b} <= CONSONANTS for a, b in pairwise(word)) for word in text.lower().split())


def palindromes(text: str) -> bool:
    """Ten palindromes of five characters or more, repeated ones too."""
    return sum(len(word) >= 5 and word == word[::-1] for word in bare(text).lower().split()) >= 10


def different_palindromes(text: str) -> bool:
    """They are ten different ones, of letters that aren't all the same."""
    found = {w for w in bare(text).lower().split() if len(w) >= 5 and w == w[::-1]}
    return sum(word.isalpha() and len(set(word)) > 1 for word in found) >= 10


def every_mark(text: str) -> bool:
    """Each of `. , ! ? ; :` besides one interrobang."""
    if not any(mark in text for mark in ("!?", "?!", "‽")):
        return False
    # one interrobang is taken out: its marks don't count as the ! and ? that are asked for besides
    rest = text.replace("?!", "", 1) if "?!" in text else text.replace("!?", "", 1)
    return set(".,!?;:") <= set(rest)


def prime_lengths(text: str) -> bool:
    """The length of every word is a prime below 100."""
    return all(len(word) in PRIMES for word in bare(text).split())


def japanese_words(text: str, N: int) -> bool:
    """Every N-th word that isn't a number holds a Japanese character."""
    chosen = [word for w in text.split()[N - 1 :: N] if (word := trimmed(w)) and not word.isdigit()]
    return all(re.search("[\u3040-\u30ff\u4e00-\u9fff]", word) for word in chosen)


def some_japanese_words(text: str, N: int) -> bool:
    """There are N words at least."""
    return sum(map(says, text.split())) >= max(N, 2)


def starts_with_verb(text: str) -> bool:
    """The first word is in our list of verbs."""
    # 400 characters hold the first word, and tokens of a long reply take milliseconds
    return bool(tokens := word_tokens(text.lstrip()[:400])) and tokens[0].lower() in VERBS


def few_repeats(text: str, small_n: int) -> bool:
    """No word more often than so many times."""
    return max(Counter(bare(text.lower()).split()).values(), default=0) <= small_n


def pronouns(text: str, N: int) -> bool:
    """At least so many pronouns, of all kinds; a contraction is two tokens."""
    return sum(word in PRONOUNS for word in word_tokens(text.replace("/", " ").lower())) >= N


def alternating_syllables(text: str) -> bool:
    """Odd and even numbers of syllables take turns."""
    return all((syllables(a) + syllables(b)) % 2 for a, b in pairwise(bare(text).lower().split()))


def words_with_syllables(text: str) -> bool:
    """There are a few words, and each has a syllable."""
    return a_few_words(text) and all(map(syllables, bare(text).lower().split()))


def _trimmed_lines(text: str) -> list[list[str]]:
    return [words_ for line in text.split("\n") if (words_ := trimmed(line.strip().lower()).split())]


def paragraphs_come_back(text: str) -> bool:
    """Each line ends with the word that it starts with; one word does."""
    return all(line[0] == line[-1] for line in _trimmed_lines(text))


def long_paragraphs_come_back(text: str) -> bool:
    """Each line has three words at least."""
    return bool(lines := _trimmed_lines(text)) and all(len(line) > 2 for line in lines)


def no_same_initials(text: str) -> bool:
    """No two neighbouring words start with the same letter."""
    return all(a[0] != b[0] for a, b in pairwise(bare(text.lower()).split()))


def keywords_multiple(text: str, **keywords: str) -> bool:
    """Five keywords are found 1, 2, 3, 5 and 7 times between word boundaries, in any case."""
    return all(
        len(between_boundaries(keywords[f"keyword{i}"].strip(), text)) == n for i, n in enumerate(TIMES, 1)
    )


def keyword_second_from_both_ends(text: str, keyword: str) -> bool:
    """A keyword is the second word and the last but one, in any case; marks are no words."""
    found = worded_tokens(text)
    return len(found) > 1 and found[1].lower() == found[-2].lower() == keyword.strip().lower()


def three_words(text: str, keyword: str) -> bool:
    """There are three words, so that the second is not the first as well."""
    return len(worded_tokens(text)) > 2


INSTRUCTIONS: Mapping[str, Instruction] = {
    "count:word_count_range": Instruction(
        word_count_range, "Use between {min_words} and {max_words} words.",
        {"min_words": COUNT, "max_words": COUNT}, also=real_word_count_range,
        strictly="underscores aren't words"),
    "count:unique_word_count": Instruction(
        unique_words, "Use {N} different words or more.", {"N": COUNT}, also=unique_real_words,
        strictly="punctuation is no word"),
    "ratio:stop_words": Instruction(
        stop_words, "At most {percentage} percent of the words may be function words such as 'the' or 'of'.",
        {"percentage": COUNT}, also=a_few_words, strictly="five words at least"),
    "ratio:sentence_type": Instruction(
        sentence_types, "Write twice as many statements as questions.", {}, also=some_questions,
        strictly="a question at least; every sentence holds a word"),
    "ratio:sentence_balance": Instruction(
        sentence_balance, "Write as many statements as questions, and as many exclamations.", {},
        also=some_questions, strictly="one of each at least; every sentence holds a word"),
    "count:conjunctions": Instruction(
        conjunctions, "Use {small_n} or more of the conjunctions and, but, for, nor, or, so, yet.",
        {"small_n": COUNT}, also=different_conjunctions, strictly="`and` and `And,` are one"),
    "count:person_names": Instruction(
        person_names, f"Name at least {{N}} of these people: {', '.join(NAMES)}.", {"N": COUNT}),
    "ratio:overlap": Instruction(
        overlap, "Share {percentage} percent of your word triples with this text: {reference_text}",
        {"reference_text": TEXT, "percentage": COUNT}),
    "count:numbers": Instruction(
        numbers, "Use exactly {N} numbers, written in digits.", {"N": COUNT}, also=separate_numbers,
        strictly="`3-4` are two numbers"),
    "words:alphabet": Instruction(
        alphabet_loop,
        "Start each word with the letter that follows the one before in the alphabet; after z comes a.", {},
        also=a_few_words, strictly="five words at least"),
    "words:vowel": Instruction(
        three_vowels, "Use no more than three different vowels, in one paragraph.", {}, also=a_few_words,
        strictly="five words at least"),
    "words:consonants": Instruction(
        consonant_clusters, "Every word must hold two consonants next to each other.", {}, also=a_few_words,
        strictly="five words at least"),
    "sentence:alliteration_increment": Instruction(
        growing_alliteration,
        "From sentence to sentence, let more neighbouring words begin with the same letter.", {},
        also=two_sentences, strictly="two sentences at least"),
    "words:palindrome": Instruction(
        palindromes, "Work in ten different palindromes of five letters or more.", {},
        also=different_palindromes, strictly="ten different ones, of letters, not of one letter"),
    "count:punctuation": Instruction(
        every_mark, "Use a full stop, a comma, a colon, a semicolon, ! and ?, and the mark ?! too.", {},
        also=a_few_words, strictly="five words at least"),
    "words:prime_lengths": Instruction(
        prime_lengths, "The number of letters of every word must be prime.", {}, also=a_few_words,
        strictly="five words at least"),
    "count:words_japanese": Instruction(
        japanese_words, "Write one word in {N} in Japanese: number {N}, and so on in steps of {N}.",
        {"N": PLACE}, also=some_japanese_words, strictly="N words at least"),
    "words:start_verb": Instruction(starts_with_verb, "Begin with a verb.", {}),
    "words:repeats": Instruction(
        few_repeats, "Use no word more than {small_n} times.", {"small_n": COUNT}, also=a_few_words,
        strictly="five words at least"),
    "sentence:keyword": Instruction(
        keyword_in_sentence, "Sentence number {N} must hold the word {word}.", {"word": TEXT, "N": PLACE}),
    "count:pronouns": Instruction(pronouns, "Use {N} pronouns or more.", {"N": COUNT}),
    "words:odd_even_syllables": Instruction(
        alternating_syllables, "Let words with an odd and an even number of syllables take turns.", {},
        also=words_with_syllables, strictly="five words at least, no numbers"),
    "words:last_first": Instruction(
        chained_sentences, "Start each sentence with the word that ended the one before.", {},
        also=two_sentences, strictly="two sentences at least"),
    "words:paragraph_last_first": Instruction(
        paragraphs_come_back, "Give each line of text the same word at its start and its end.", {},
        also=long_paragraphs_come_back, strictly="three words a line at least"),
    "sentence:increment": Instruction(
        growing_sentences, "Make each sentence exactly {small_n} words longer than the one before.",
        {"small_n": COUNT}, also=two_sentences, strictly="two sentences at least"),
    "words:no_consecutive": Instruction(
        no_same_initials, "Neighbouring words must begin with different letters.", {}, also=a_few_words,
        strictly="five words at least"),
    "count:keywords_multiple": Instruction(
        keywords_multiple,
        "Use the word {keyword1} once, {keyword2} twice, {keyword3} 3 times, {keyword4} 5 times "
        "and {keyword5} 7 times.",
        {f"keyword{i}": TEXT for i in range(1, 6)}),
    "words:keywords_specific_position": Instruction(
        keyword_at, "Word number {m} of sentence number {n} must be {keyword}.",
        {"keyword": TEXT, "n": PLACE, "m": PLACE}),
    "words:words_position": Instruction(
        keyword_second_from_both_ends, "Make {keyword} the second word and the last word but one.",
        {"keyword": TEXT}, also=three_words, strictly="three words at least"),
}  # fmt: skip
