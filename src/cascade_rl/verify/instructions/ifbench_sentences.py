"""IFBench (arXiv 2507.02833), what its instructions about sentences ask: their ends, lengths, words in order.

The table of these instructions is that of `ifbench_words`, whose order the sources draw by. Sentences are
those of IFBench's own splitter, not Punkt's.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from cascade_rl.verify.instructions.text import (
    PUNCTUATION,
    bare,
    between_boundaries,
    says,
    sentences,
    worded_tokens,
)

EDGES = PUNCTUATION + " "  # what may stand around a word


def two_sentences(text: str, **_: object) -> bool:
    """There are sentences enough for a rule about neighbours to say something."""
    return sum(map(says, sentences(text))) >= 2


def _ends(text: str) -> tuple[int, int, int]:
    """How many sentences end with a full stop, a question mark, an exclamation mark."""
    last = Counter(sentence[-1:] for sentence in sentences(text))
    return last["."], last["?"], last["!"]


def sentence_types(text: str) -> bool:
    """Two statements to each question; none to none is a ratio too."""
    statements, questions, _ = _ends(text)
    return statements == 2 * questions


def sentence_balance(text: str) -> bool:
    """As many statements as questions as exclamations; none of each is a balance too."""
    return len(set(_ends(text))) == 1


def some_questions(text: str) -> bool:
    """There is a question, and every sentence that has an end mark holds a word."""
    return _ends(text)[1] > 0 and all(map(says, sentences(text)))


def growing_alliteration(text: str) -> bool:
    """Each sentence has more words in runs of one initial than the sentence before."""
    previous = -1  # so that the first sentence may have none
    for sentence in sentences(text):
        initials = [word[0] for w in sentence.lower().split() if (word := w.lstrip(EDGES))]
        same = [a == b for a, b in pairwise(initials)]
        # A run of k equal initials is k - 1 pairs; its first pair counts twice.
        count = sum(pair + (pair and not before) for before, pair in pairwise([False, *same]))
        if count <= previous:
            return False
        previous = count
    return True


def keyword_in_sentence(text: str, word: str, N: int) -> bool:
    """A sentence, by its number, holds a keyword between word boundaries, in any case."""
    found = sentences(text)
    return len(found) >= N and bool(between_boundaries(word, found[N - 1]))


def chained_sentences(text: str) -> bool:
    """The last word of each sentence is the first of the next."""
    for current, following in pairwise(sentences(text)):
        last, first = current.rstrip(EDGES).split(), following.lstrip(EDGES).split()
        if not last or not first or last[-1].lower() != first[0].lower():
            return False
    return True


def growing_sentences(text: str, small_n: int) -> bool:
    """Each sentence has exactly so many words more than the one before."""
    counts = [len(bare(sentence).split()) for sentence in sentences(text)]
    return bool(counts) and all(after == before + small_n for before, after in pairwise(counts))


def keyword_at(text: str, keyword: str, n: int, m: int) -> bool:
    """A keyword is the m-th word of the n-th sentence, in any case; marks are no words."""
    found = sentences(text)
    # of nltk's tokens: the `n't` of a contraction takes a place
    tokens = worded_tokens(found[n - 1]) if len(found) >= n else ()
    return len(tokens) >= m and tokens[m - 1].lower() == keyword.strip().lower()
