"""A public implementation of IFEval's and IFBench's checkers, if-verifiable 0.1.2, made to run offline.

It runs with its own dependencies: nltk with the Punkt model and stop words that llama-index-core carries, and
langdetect, seeded. Its data set loader and its downloads are cut off. Its part-of-speech tagger has no weights here.

It is older than IFBench's own repository, which our default scoring follows as of commit 1d62c1d (`UPSTREAM`). What
the repository has changed since is stated anew in `CHANGED`, on nltk and the package's own sentence splitter; every
other checker is the package's. IFEval's have not changed.
"""

import logging
import re
import string
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

UPSTREAM = "1d62c1d6dc4f6608938d22424c46edef6ce50671"  # of github.com/allenai/IFBench
Judge = Callable[[str, dict[str, Any], str], bool | str]


def site(module: str) -> Path:
    """Where a package lies, without importing it."""
    return Path(next(iter(find_spec(module).submodule_search_locations)))


def _tokens(text: str) -> list[str]:
    import nltk

    return nltk.word_tokenize(text)


def _spoken(text: str) -> list[str]:
    """Tokens in lower case without those that are marks only."""
    return [token.lower() for token in _tokens(text) if re.search(r"[^\W_]", token)]


def _sentences(text: str) -> list[str]:
    from if_verifiable.ifbench import instructions_util

    return instructions_util.split_into_sentences(text)


def _times(phrase: str, text: str, flags: int = re.IGNORECASE) -> int:
    return sum(1 for _ in re.finditer(r"\b" + re.escape(phrase) + r"\b", text, flags))


def _triples(text: str) -> set[tuple[str, ...]]:
    tokens = _tokens(text)
    return {tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)}


def _overlap(text: str, reference_text: str, percentage: int) -> bool:
    mine = _triples(text)
    return bool(mine) and abs(100 * len(mine & _triples(reference_text)) / len(mine) - percentage) <= 2


def _word_at(text: str, keyword: str, n: int, m: int) -> bool:
    found = _sentences(text)
    return n <= len(found) and _spoken(found[n - 1])[m - 1 : m] == [keyword.strip().lower()]


def _second_from_both_ends(text: str, keyword: str) -> bool:
    found = _spoken(text)
    return len(found) >= 2 and {found[1], found[-2]} == {keyword.strip().lower()}


def _alphabet(text: str) -> bool:
    firsts = [re.sub(rf"^[{re.escape(string.punctuation)}\s]+", "", s)[:1].lower() for s in _sentences(text)]
    return firsts == list(string.ascii_lowercase)


def _title_case(text: str) -> bool:
    def small(token: str) -> bool:
        rest = token[1:]
        return token[0].isalpha() and token[0].islower() and (not rest or rest.islower() or rest.isupper())

    return not any(map(small, _tokens(text)))


def _quotes_explained(text: str) -> bool:
    packed = re.sub(r"\s", "", re.sub("[“”]", '"', text).replace("'\"'", ""))
    ends = re.sub(rf"[{re.escape(string.digits + string.punctuation.replace(chr(34), ''))}]+$", "", packed)
    return '""' not in packed and ends[-1:] != '"'


def _equal_sentences(text: str) -> bool:
    found = _sentences(text)
    spoken = "".join(c for c in " ".join(found).lower() if c not in string.punctuation).split()
    return (
        len(found) == 3
        and len({len(s) for s in found}) == 1
        and max(map(spoken.count, spoken), default=1) == 1
    )


def _whole(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Rows hold some counts as 3.0."""
    return {key: int(value) if isinstance(value, float) else value for key, value in kwargs.items()}


_NAMES = [
    "Emma",
    "Liam",
    "Sophia",
    "Jackson",
    "Olivia",
    "Noah",
    "Ava",
    "Lucas",
    "Isabella",
    "Mason",
    "Mia",
    "Ethan",
    "Charlotte",
    "Alexander",
    "Amelia",
    "Benjamin",
    "Harper",
    "Leo",
    "Zoe",
    "Daniel",
    "Chloe",
    "Samuel",
    "Lily",
    "Matthew",
    "Grace",
    "Owen",
    "Abigail",
    "Gabriel",
    "Ella",
    "Jacob",
    "Scarlett",
    "Nathan",
    "Victoria",
    "Elijah",
    "Layla",
    "Nicholas",
    "Audrey",
    "David",
    "Hannah",
    "Christopher",
    "Penelope",
    "Thomas",
    "Nora",
    "Andrew",
    "Aria",
    "Joseph",
    "Claire",
    "Ryan",
    "Stella",
    "Jonathan",
]
_PRONOUNS = [
    "i",
    "me",
    "we",
    "us",
    "you",
    "he",
    "him",
    "she",
    "her",
    "it",
    "they",
    "them",
    "my",
    "mine",
    "our",
    "ours",
    "your",
    "yours",
    "his",
    "hers",
    "its",
    "their",
    "theirs",
    "myself",
    "ourselves",
    "yourself",
    "yourselves",
    "himself",
    "herself",
    "itself",
    "themselves",
    "this",
    "that",
    "these",
    "those",
    "who",
    "whom",
    "whose",
    "which",
    "what",
    "whoever",
    "whomever",
    "whatever",
    "whichever",
    "anybody",
    "anyone",
    "anything",
    "everybody",
    "everyone",
    "everything",
    "nobody",
    "nothing",
    "somebody",
    "someone",
    "something",
    "each",
    "either",
    "neither",
    "both",
    "all",
    "some",
    "any",
    "none",
]
_TIMES = {"keyword1": 1, "keyword2": 2, "keyword3": 3, "keyword4": 5, "keyword5": 7}
# What upstream checks since the package was made. Its `quote_unquote` no longer sees curly marks, as ours and the package's do.
CHANGED: dict[str, Callable[..., bool]] = {
    "count:person_names": lambda text, N: sum(_times(name, text, 0) > 0 for name in _NAMES) >= N,
    "count:pronouns": lambda text, N: (
        sum(t in _PRONOUNS for t in _tokens(text.replace("/", " ").lower())) >= N
    ),
    "count:keywords_multiple": lambda text, **given: all(
        _times(given[key].strip(), text) == times for key, times in _TIMES.items()
    ),
    "sentence:keyword": lambda text, word, N: any(_times(word, s) for s in _sentences(text)[N - 1 : N]),
    "words:keywords_specific_position": _word_at,
    "words:words_position": _second_from_both_ends,
    "ratio:overlap": _overlap,
    "ratio:sentence_words": _equal_sentences,
    "repeat:repeat_span": lambda text, prompt_to_repeat, n_start, n_end: (
        text.strip().lower() == " ".join(prompt_to_repeat.split()[n_start : n_end + 1]).lower()
    ),
    "custom:sentence_alphabet": _alphabet,
    "format:title_case": _title_case,
    "format:quote_unquote": _quotes_explained,
}


@contextmanager
def public_checkers() -> Iterator[tuple[Judge, frozenset[str]]]:
    """`judge(id, kwargs, reply)`, which gives a verdict or the name of what was raised; and the ids that it knows."""
    loader = types.ModuleType("datasets")
    loader.load_dataset = None
    import langdetect
    import nltk

    data = [str(site("llama_index") / "core/_static/nltk_cache")]
    with (
        mock.patch.dict(sys.modules, {"datasets": loader}),
        mock.patch.object(nltk, "download", lambda *_, **__: False),
        mock.patch.object(nltk.data, "path", data),
        mock.patch.object(langdetect.DetectorFactory, "seed", 0),
    ):
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as BENCH
        from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as EVAL

        known = {**EVAL, **BENCH}

        def judge(ident: str, kwargs: dict[str, Any], reply: str) -> bool | str:
            if ident in CHANGED:
                return bool(reply.strip() and CHANGED[ident](reply, **_whole(kwargs)))
            checker = known[ident](ident)
            checker.build_description(**kwargs)
            try:
                return bool(reply.strip() and checker.check_following(reply))
            except (IndexError, ZeroDivisionError, LookupError) as fault:
                return type(fault).__name__

        with mock.patch.object(
            logging.getLogger(), "disabled", True
        ):  # it logs each text that langdetect can't tell
            yield judge, frozenset(known)
