"""Arguments of constraints: drawn for what shapes a reply, taken from the reply for what bounds it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cascade_rl.sources.constraints.composer import TONGUES
from cascade_rl.sources.constraints.requests import Request
from cascade_rl.sources.small_world.everyday import TEXTS, THINGS
from cascade_rl.verify.instructions.lexicon import STOP_WORDS
from cascade_rl.verify.instructions.text import punkt_sentences, runs

# what readers are tired of; none in the composer's sentences
TABOO = (
    "always", "amazing", "beautiful", "delve", "important", "journey", "magic", "never", "perfect", "really",
    "simply", "special", "tapestry", "truth", "very", "wonderful",
)  # fmt: skip
OPTIONS = (
    "yes/no/perhaps",
    "agree/disagree",
    "true, false, unknown",
    "now or later",
    "left/right/straight on",
    "often, seldom, never",
    "good or bad",
    "hot/cold/mild",
    "keep/change",
    "true or false",
)

SPLITTERS = (
    "Section",
    "SECTION",
    "Part",
    "PART",
    "Chapter",
    "Scene",
    "Day",
    "Paragraph",
    "Stanza",
    "Verse",
    "Step",
)
ENDS = (
    "The end.", "Is there anything else?", "That is all.", "Thank you for reading.", "See you tomorrow!",
    "Hope this helps.", "Now it is your turn.", "What do you think?", "Good luck!", "And so it goes.",
    "Try it yourself.", "Any questions?", "I rest my case.", "Stay curious.", "Let me know how it went.",
    "Nothing more to say.", "Peace!", "More tomorrow.",
)  # fmt: skip
# numbers of words that people ask for
LENGTHS = (
    10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100, 110, 120, 130, 140, 150, 160, 175, 180, 200, 220,
    250, 275, 300, 350, 400,
)  # fmt: skip


def _passage(rng: random.Random) -> str:
    wrote = f"We wrote {rng.choice(TEXTS)} about {rng.choice(THINGS)}"
    return f"{wrote} while the rest of the house was asleep and nobody called."


Draw = Callable[[random.Random, Request], dict[str, Any]]

# Arguments of what shapes the reply to a request.
SHAPES: Mapping[str, Draw] = {
    "keywords:existence": lambda r, request: {"keywords": r.sample(request.words, r.randint(1, 3))},
    "keywords:frequency": lambda r, request: {
        "keyword": r.choice(request.words),
        "frequency": r.randint(1, 5),
        "relation": "at least",
    },
    "detectable_content:number_placeholders": lambda r, request: {"num_placeholders": r.randint(1, 6)},
    "detectable_content:postscript": lambda r, request: {"postscript_marker": r.choice(("P.S.", "P.P.S"))},
    "detectable_format:number_highlighted_sections": lambda r, request: {"num_highlights": r.randint(1, 5)},
    "detectable_format:number_bullet_lists": lambda r, request: {"num_bullets": r.randint(1, 6)},
    "length_constraints:number_paragraphs": lambda r, request: {"num_paragraphs": r.randint(2, 6)},
    "detectable_format:multiple_sections": lambda r, request: {
        "section_spliter": r.choice(SPLITTERS),
        "num_sections": r.randint(2, 5),
    },
    "length_constraints:nth_paragraph_first_word": lambda r, request: {
        "num_paragraphs": (n := r.randint(2, 5)),
        "nth_paragraph": r.randint(1, n),
        "first_word": r.choice(request.words),
    },
    "combination:repeat_prompt": lambda r, request: {"prompt_to_repeat": request.text},
    "startend:end_checker": lambda r, request: {"end_phrase": r.choice(ENDS)},
    "change_case:capital_word_frequency": lambda r, request: {
        "capital_frequency": r.randint(1, 8),
        "capital_relation": "at least",
    },
    "language:response_language": lambda r, request: {"language": r.choice(tuple(TONGUES))},
    "count:conjunctions": lambda r, request: {"small_n": r.randint(2, 6)},
    "count:person_names": lambda r, request: {"N": r.randint(1, 12)},
    "count:numbers": lambda r, request: {"N": r.randint(1, 8)},
    "count:pronouns": lambda r, request: {"N": r.randint(3, 20)},
    "count:keywords_multiple": lambda r, request: {
        f"keyword{i}": word for i, word in enumerate(r.sample(request.words, 5), 1)
    },
    "sentence:keyword": lambda r, request: {"word": r.choice(request.words), "N": r.randint(1, 8)},
    "words:keywords_specific_position": lambda r, request: {
        "keyword": r.choice(request.words),
        "n": r.randint(1, 6),
        "m": r.randint(2, 8),
    },
    "words:words_position": lambda r, request: {"keyword": r.choice(request.words)},
    "format:list": lambda r, request: {
        "sep": r.choice(("=>", "###", "~~", "ITEM", "!?", "-", ">>", "No.", "+", "&&"))
    },
    "count:words_japanese": lambda r, request: {"N": r.randint(5, 20)},
    "sentence:increment": lambda r, request: {"small_n": r.randint(1, 5)},
    "ratio:overlap": lambda r, request: {"reference_text": _passage(r), "percentage": r.randint(30, 99)},
    "format:options": lambda r, request: {"options": r.choice(OPTIONS)},
    "repeat:repeat_change": lambda r, request: {"prompt_to_repeat": request.text},
    "repeat:repeat_span": lambda r, request: {
        "prompt_to_repeat": (text := _passage(r)),
        "n_start": (n := r.randint(0, 6)),
        "n_end": r.randint(n + 1, len(text.split()) - 1),
    },
}


def _near(value: int, rng: random.Random) -> int:
    # above what the reply has, but near enough to bind a longer one
    return round(value * rng.uniform(1.0, 1.4))


def _words_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    count = len(runs(text))
    more, fewer = [n for n in LENGTHS if n > count], [n for n in LENGTHS if n <= count]
    # people ask for round numbers; the nearest binds most
    if fewer and rng.random() < 0.5:
        return {"num_words": rng.choice(fewer[-3:]), "relation": "at least"}
    return {"num_words": rng.choice(more[:6]) if more else count + 1, "relation": "less than"}


def _sentences_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    count = len(punkt_sentences(text))
    if rng.random() < 0.5:
        return {"num_sentences": _near(count + 1, rng), "relation": "less than"}
    return {"num_sentences": max(1, round(count * rng.uniform(0.5, 0.9))), "relation": "at least"}


def _letter_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    count = text.lower().count(letter)
    least = count > 1 and rng.random() < 0.6
    bound = rng.randint(max(1, count // 2), count) if least else _near(count + 1, rng)
    return {"letter": letter, "let_frequency": bound, "let_relation": "at least" if least else "less than"}


def _range_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    count = len(runs(text))
    return {"min_words": round(count * rng.uniform(0.7, 1.0)), "max_words": _near(count, rng)}


def _stop_words_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    found = runs(text.lower())
    share = sum(w in STOP_WORDS for w in found) / max(len(found), 1)
    return {"percentage": min(95, round(share * 100) + rng.randint(2, 12))}


def _repeats_bound(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    most = max(Counter(text.lower().split()).values())
    return {"small_n": most + rng.randint(0, 3)}


def _forbidden(text: str, rng: random.Random, request: Request) -> dict[str, Any]:
    # what comes to mind about the topic more often than what is forbidden for its style
    pool = [w for w in (*request.words, *rng.sample(TABOO, 5)) if w not in text.lower()]
    return {"forbidden_words": rng.sample(pool, min(len(pool), rng.randint(1, 4)))}


# Arguments of what bounds the reply, chosen so that the composed one keeps to them.
BOUNDS: Mapping[str, Callable[[str, random.Random, Request], dict[str, Any]]] = {
    "length_constraints:number_words": _words_bound,
    "length_constraints:number_sentences": _sentences_bound,
    "keywords:letter_frequency": _letter_bound,
    "punctuation:no_comma": lambda text, rng, request: {},
    "keywords:forbidden_words": _forbidden,
    "count:word_count_range": _range_bound,
    "count:unique_word_count": lambda text, rng, request: {
        "N": max(1, round(len(set(runs(text.lower()))) * rng.uniform(0.5, 0.9)))
    },
    "ratio:stop_words": _stop_words_bound,
    "words:repeats": _repeats_bound,
}
