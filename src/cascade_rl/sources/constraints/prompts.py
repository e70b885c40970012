"""Prompts with one to ten compatible constraints of IFEval's or IFBench's kinds, and replies that meet them.

Arguments of what shapes a reply are drawn first, a reply is composed, and what bounds it (`BOUNDS`: lengths,
letters, forbidden words) gets arguments that this reply keeps. Whatever the reply then breaks is dropped, so
every prompt carries the proof that it can be answered, under both scorings. `GROUPS` names what excludes one
another beforehand.

Left out of IFBench: `custom:*` and `repeat:repeat_simple`. Each is one fixed question of the benchmark; to
ask it in training would be to train on the test.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cascade_rl.sources.constraints.composer import TONGUES, Asked, compose
from cascade_rl.sources.constraints.composer_words import WHOLES
from cascade_rl.sources.small_world.everyday import CLOSERS, TEXTS, THINGS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Split
from cascade_rl.verify.instructions import IFBENCH, IFEVAL, check, describe
from cascade_rl.verify.instructions.lexicon import STOP_WORDS
from cascade_rl.verify.instructions.text import punkt_sentences, runs

MOST = 10  # constraints in a prompt, before what the reply breaks is dropped
_KEYWORDS = """
    anchor basket bottle butter carpet castle copper corner cotton desert engine feather fountain ginger
    hammer hidden honey iron jungle ladder marble mirror needle orange pepper pocket ribbon rocket saddle
    sailor spider sponge ticket timber velvet violin walnut whistle willow wonder
"""
KEYWORDS = tuple(_KEYWORDS.split())
# words that FILLER does not use
TABOO = (
    "always", "amazing", "beautiful", "delve", "important", "journey", "magic", "never", "perfect", "really",
    "simply", "special", "tapestry", "truth", "very", "wonderful",
)  # fmt: skip
QUESTIONS = (
    "Would {} make a good present?", "Is it wise to spend a whole day on {}?", "Could {} be famous one day?",
    "Do most people think of {} when they cannot sleep?",
)  # fmt: skip
OPTIONS = (
    "yes/no/perhaps",
    "agree/disagree",
    "true, false, unknown",
    "now or later",
    "left/right/straight on",
)

# What excludes one another: at most one of each group in a prompt.
_GROUPS = (
    """
    length_constraints:number_paragraphs length_constraints:nth_paragraph_first_word
    combination:two_responses detectable_format:multiple_sections detectable_format:json_format
    """,
    "change_case:english_capital change_case:english_lowercase change_case:capital_word_frequency",
    "change_case:english_capital change_case:english_lowercase language:response_language",
    """
    change_case:english_capital change_case:english_lowercase detectable_format:multiple_sections
    detectable_format:constrained_response
    """,
    "combination:repeat_prompt startend:quotation",
    "detectable_format:json_format startend:quotation",
    "detectable_format:json_format punctuation:no_comma",
    """
    combination:repeat_prompt change_case:english_capital change_case:english_lowercase
    language:response_language
    """,
    "detectable_format:constrained_response language:response_language",
    "startend:end_checker detectable_content:postscript",
    "format:list format:sub-bullets format:no_bullets_bullets",
    """
    format:thesis format:output_template words:start_verb words:words_position
    words:keywords_specific_position
    """,
    "format:thesis format:output_template sentence:keyword words:keywords_specific_position",
    "format:emoji words:words_position words:paragraph_last_first format:quote_unquote",
    "ratio:sentence_type ratio:sentence_balance words:words_position words:paragraph_last_first",
    "ratio:sentence_type ratio:sentence_balance count:punctuation format:emoji format:no_bullets_bullets",
    """
    format:title_case count:keywords_multiple words:keywords_specific_position words:words_position
    format:thesis
    """,
    "format:quotes format:quote_unquote",
    """
    count:words_japanese words:words_position words:paragraph_last_first count:keywords_multiple
    format:thesis
    """,
    "words:paragraph_last_first words:start_verb format:no_bullets_bullets format:sub-bullets format:list",
    "words:paragraph_last_first format:output_template format:thesis words:words_position",
)
GROUPS: tuple[frozenset[str], ...] = tuple(frozenset(group.split()) for group in _GROUPS)

Draw = Callable[[random.Random, str], dict[str, Any]]

# Arguments of what shapes the reply; `request` is the sentence that asks for the text.
SHAPES: Mapping[str, Draw] = {
    "keywords:existence": lambda r, request: {"keywords": r.sample(KEYWORDS, r.randint(1, 3))},
    "keywords:frequency": lambda r, request: {
        "keyword": r.choice(KEYWORDS),
        "frequency": r.randint(2, 4),
        "relation": "at least",
    },
    "detectable_content:number_placeholders": lambda r, request: {"num_placeholders": r.randint(1, 6)},
    "detectable_content:postscript": lambda r, request: {"postscript_marker": r.choice(("P.S.", "P.P.S"))},
    "detectable_format:number_highlighted_sections": lambda r, request: {"num_highlights": r.randint(1, 5)},
    "detectable_format:number_bullet_lists": lambda r, request: {"num_bullets": r.randint(1, 6)},
    "length_constraints:number_paragraphs": lambda r, request: {"num_paragraphs": r.randint(2, 6)},
    "detectable_format:multiple_sections": lambda r, request: {
        "section_spliter": r.choice(("Section", "Part", "Chapter", "Scene")),
        "num_sections": r.randint(2, 5),
    },
    "length_constraints:nth_paragraph_first_word": lambda r, request: {
        "num_paragraphs": (n := r.randint(2, 5)),
        "nth_paragraph": r.randint(1, n),
        "first_word": r.choice(KEYWORDS),
    },
    "combination:repeat_prompt": lambda r, request: {"prompt_to_repeat": request},
    "startend:end_checker": lambda r, request: {"end_phrase": r.choice(CLOSERS)},
    "change_case:capital_word_frequency": lambda r, request: {
        "capital_frequency": r.randint(1, 5),
        "capital_relation": "at least",
    },
    "language:response_language": lambda r, request: {"language": r.choice(tuple(TONGUES))},
    "count:conjunctions": lambda r, request: {"small_n": r.randint(2, 6)},
    "count:person_names": lambda r, request: {"N": r.randint(1, 12)},
    "count:numbers": lambda r, request: {"N": r.randint(1, 8)},
    "count:pronouns": lambda r, request: {"N": r.randint(3, 20)},
    "count:keywords_multiple": lambda r, request: {
        f"keyword{i}": word for i, word in enumerate(r.sample(KEYWORDS, 5), 1)
    },
    "sentence:keyword": lambda r, request: {"word": r.choice(KEYWORDS), "N": r.randint(1, 8)},
    "words:keywords_specific_position": lambda r, request: {
        "keyword": r.choice(KEYWORDS),
        "n": r.randint(1, 6),
        "m": r.randint(2, 8),
    },
    "words:words_position": lambda r, request: {"keyword": r.choice(KEYWORDS)},
    "format:list": lambda r, request: {"sep": r.choice(("=>", "###", "~~", "ITEM", "!?", "-"))},
    "count:words_japanese": lambda r, request: {"N": r.randint(5, 20)},
    "sentence:increment": lambda r, request: {"small_n": r.randint(1, 5)},
    "ratio:overlap": lambda r, request: {"reference_text": _passage(r), "percentage": r.randint(30, 99)},
    "format:options": lambda r, request: {"options": r.choice(OPTIONS)},
    "repeat:repeat_change": lambda r, request: {"prompt_to_repeat": request},
    "repeat:repeat_span": lambda r, request: {
        "prompt_to_repeat": (text := _passage(r)),
        "n_start": (n := r.randint(0, 6)),
        "n_end": r.randint(n + 1, len(text.split()) - 1),
    },
}


def _near(value: int, rng: random.Random) -> int:
    # above what the reply has, but near enough to bind a longer one
    return round(value * rng.uniform(1.0, 1.4))


def _words_bound(text: str, rng: random.Random) -> dict[str, Any]:
    count = len(runs(text))
    if rng.random() < 0.5:
        return {"num_words": _near(count + 1, rng), "relation": "less than"}
    return {"num_words": round(count * rng.uniform(0.5, 1.0)), "relation": "at least"}


def _sentences_bound(text: str, rng: random.Random) -> dict[str, Any]:
    count = len(punkt_sentences(text))
    if rng.random() < 0.5:
        return {"num_sentences": _near(count + 1, rng), "relation": "less than"}
    return {"num_sentences": max(1, round(count * rng.uniform(0.5, 0.9))), "relation": "at least"}


def _letter_bound(text: str, rng: random.Random) -> dict[str, Any]:
    letter = rng.choice("abcdefghijklmnopqrstuvwxyz")
    count = text.lower().count(letter)
    least = count > 1 and rng.random() < 0.6
    bound = rng.randint(max(1, count // 2), count) if least else _near(count + 1, rng)
    return {"letter": letter, "let_frequency": bound, "let_relation": "at least" if least else "less than"}


def _range_bound(text: str, rng: random.Random) -> dict[str, Any]:
    count = len(runs(text))
    return {"min_words": round(count * rng.uniform(0.7, 1.0)), "max_words": _near(count, rng)}


def _stop_words_bound(text: str, rng: random.Random) -> dict[str, Any]:
    found = runs(text.lower())
    share = sum(w in STOP_WORDS for w in found) / max(len(found), 1)
    return {"percentage": min(95, round(share * 100) + rng.randint(2, 12))}


def _repeats_bound(text: str, rng: random.Random) -> dict[str, Any]:
    most = max(Counter(text.lower().split()).values())
    return {"small_n": most + rng.randint(0, 3)}


# Arguments of what bounds the reply, chosen so that the composed one keeps to them.
BOUNDS: Mapping[str, Callable[[str, random.Random], dict[str, Any]]] = {
    "length_constraints:number_words": _words_bound,
    "length_constraints:number_sentences": _sentences_bound,
    "keywords:letter_frequency": _letter_bound,
    "punctuation:no_comma": lambda text, rng: {},
    "keywords:forbidden_words": lambda text, rng: {
        "forbidden_words": rng.sample([w for w in TABOO if w not in text.lower()], rng.randint(1, 3))
    },
    "count:word_count_range": _range_bound,
    "count:unique_word_count": lambda text, rng: {
        "N": max(1, round(len(set(runs(text.lower()))) * rng.uniform(0.5, 0.9)))
    },
    "ratio:stop_words": _stop_words_bound,
    "words:repeats": _repeats_bound,
}
# Few other constraints go with a text that is ruled word by word; these do, where it happens to keep them.
BESIDE_WHOLE = frozenset(
    (
        *BOUNDS,
        "startend:quotation",
        "change_case:english_capital",
        "change_case:english_lowercase",
        "count:pronouns",
        "words:start_verb",
    )
)
# their reply is nothing but the answer or the copy
ALONE = frozenset(
    ("format:options", "repeat:repeat_change", "repeat:repeat_span", "detectable_format:constrained_response")
)

TAXONOMIES: Mapping[str, tuple[str, ...]] = {
    "ifeval-train": tuple(IFEVAL),
    "ifbench-train": tuple(i for i in IFBENCH if not i.startswith("custom:") and i != "repeat:repeat_simple"),
}


def _passage(rng: random.Random) -> str:
    wrote = f"We wrote {rng.choice(TEXTS)} about {rng.choice(THINGS)}"
    return f"{wrote} while the rest of the house was asleep and nobody called."


def fit_together(ident: str, chosen: list[str]) -> bool:
    """Whether a constraint may join others: excluded by no group, nor by a text ruled word by word."""
    if any(ident in group and not group.isdisjoint(chosen) for group in GROUPS):
        return False
    if ident in WHOLES or any(other in WHOLES for other in chosen):
        rest = [other for other in (ident, *chosen) if other not in WHOLES]
        if len(rest) < len(chosen) or not set(rest) <= BESIDE_WHOLE:
            return False
    alone = ALONE & {ident, *chosen}
    return not alone or {ident, *chosen} - alone <= {"punctuation:no_comma", "startend:quotation"}


def _choose(taxonomy: str, wanted: int, rng: random.Random) -> list[str]:
    chosen: list[str] = []
    # in random order, first come: each kind has its turn, however much it excludes
    for ident in rng.sample(TAXONOMIES[taxonomy], len(TAXONOMIES[taxonomy])):
        if len(chosen) < wanted and fit_together(ident, chosen):
            chosen.append(ident)
    return chosen


def _holds(asked: Asked, reply: str) -> bool:
    return check(*asked, reply) and check(*asked, reply, strict=True)


def _settle(idents: list[str], request: str, rng: random.Random) -> tuple[list[Asked], str]:
    """Arguments for as many of the constraints as one reply can meet, and that reply."""
    shaped = [
        (ident, SHAPES[ident](rng, request) if ident in SHAPES else {})
        for ident in idents
        if ident not in BOUNDS
    ]
    reply = compose(shaped, rng, rng.randint(2, 14))
    # what a reply breaks is dropped, and the rest composed anew: it ends, for there is less each time
    while not all(kept := [_holds(one, reply) for one in shaped]):
        shaped = [one for one, held in zip(shaped, kept, strict=True) if held]
        reply = compose(shaped, rng, rng.randint(2, 14))
    # after the reply, from what it has; each is checked all the same
    bounds = [(ident, BOUNDS[ident](reply, rng)) for ident in idents if ident in BOUNDS]
    return [*shaped, *(one for one in bounds if _holds(one, reply))], reply


COPIED = frozenset(("repeat:repeat_change", "repeat:repeat_span"))
# Their replies hold the request itself, so that it can't be exchanged later.
ECHOED = frozenset(("repeat:repeat_change", "combination:repeat_prompt"))


def _request(idents: set[str], rng: random.Random) -> str:
    asks = QUESTIONS if (ALONE - COPIED) & idents else [f"Write {text} about {{}}." for text in TEXTS]
    return rng.choice(asks).format(rng.choice(THINGS))


def _worded(request: str, asked: list[Asked], rng: random.Random) -> str:
    """The prompt in one of many wordings: in another order, in a line or as a list, about another thing."""
    idents = {ident for ident, _ in asked}
    if COPIED & idents:
        request = ""  # the text to copy stands in the constraint
    elif not ECHOED & idents:
        request = _request(idents, rng)
    sentences = rng.sample(texts := [describe(*one) for one in asked], len(texts))
    if len(sentences) > 1 and rng.random() < 0.3:
        return "\n- ".join([request or "Do as follows:", *sentences])
    return " ".join([request, *sentences]).strip()


def constrained_prompt(taxonomy: str, rng: random.Random, split: Split) -> tuple[str, list[Asked], str]:
    """(prompt, constraints, a reply that meets them all, by both scorings); the prompt is of the split.

    Composing costs more than wording, so a prompt is worded anew until its hash falls into the split, and
    composed anew, of the same constraints, where there are few wordings.
    """
    while True:
        idents = _choose(taxonomy, rng.randint(1, MOST), rng)
        # as many tries with these constraints, then others are drawn
        for _ in range(12):
            request = _request(set(idents), rng)
            asked, reply = _settle(idents, request, rng)
            # a split of 5 % is missed 60 times in a row in one case of twenty
            for _ in range(60 if asked else 0):
                prompt = _worded(request, asked, rng)
                if split_of(prompt) is split:
                    return prompt, asked, reply
