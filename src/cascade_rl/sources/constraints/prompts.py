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
import re
from collections.abc import Mapping

from cascade_rl.errors import InputError
from cascade_rl.sources.constraints.arguments import BOUNDS, SHAPES
from cascade_rl.sources.constraints.composer import FILLER, Asked, compose
from cascade_rl.sources.constraints.composer_words import WHOLES
from cascade_rl.sources.constraints.requests import Request, request
from cascade_rl.sources.constraints.wordings import wordings
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Split
from cascade_rl.verify.instructions import IFBENCH, IFEVAL, check

MOST = 10  # constraints in a prompt, before what the reply breaks is dropped

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


def _length(idents: list[str], rng: random.Random) -> int:
    """Sentences of filler: mostly few, up to all where a number of words is asked for."""
    return rng.randint(2, len(FILLER) if "length_constraints:number_words" in idents else 14)


def _settle(idents: list[str], asked: Request, rng: random.Random) -> tuple[list[Asked], str]:
    """Arguments for as many of the constraints as one reply can meet, and that reply."""
    shaped = [
        (ident, SHAPES[ident](rng, asked) if ident in SHAPES else {})
        for ident in idents
        if ident not in BOUNDS
    ]
    reply = compose(shaped, rng, _length(idents, rng))
    # what a reply breaks is dropped, and the rest composed anew: it ends, for there is less each time
    while not all(kept := [_holds(one, reply) for one in shaped]):
        shaped = [one for one, held in zip(shaped, kept, strict=True) if held]
        reply = compose(shaped, rng, _length(idents, rng))
    # after the reply, from what it has; each is checked all the same
    bounds = [(ident, BOUNDS[ident](reply, rng, asked)) for ident in idents if ident in BOUNDS]
    return [*shaped, *(one for one in bounds if _holds(one, reply))], reply


COPIED = frozenset(("repeat:repeat_change", "repeat:repeat_span"))
# Their replies hold the request itself, so that it can't be exchanged later.
ECHOED = frozenset(("repeat:repeat_change", "combination:repeat_prompt"))


def _about(idents: set[str], rng: random.Random, field: str | None = None) -> Request:
    return request(rng, question=bool((ALONE - COPIED) & idents), field=field)


def _woven(text: str, said: list[str]) -> tuple[str, list[str]]:
    """The request with one clause woven in, and the sentences that are left."""
    at = next((i for i, one in enumerate(said) if one.startswith("+")), None)
    if at is None:
        return text, said
    return f"{text[:-1]}{said[at][1:]}.", said[:at] + said[at + 1 :]


def _sayings(text: str, asked: list[Asked], echoed: bool, rng: random.Random) -> list[str]:
    """A wording for each constraint, in any order; one of them at most is to be woven into the request."""
    # only into a sentence that asks for something, and is not to be repeated
    may_weave = not echoed and text.endswith(".") and '"' not in text
    said: list[str] = []
    for one in rng.sample(asked, len(asked)):
        ways = [way for way in wordings(*one) if may_weave or not way.startswith("+")]
        said.append(chosen := rng.choice(ways))
        may_weave = may_weave and not chosen.startswith("+")
    return said


def _worded(first: Request, asked: list[Asked], rng: random.Random) -> str:
    """The prompt in one of many wordings: in any order, in a line or a list, of another such request."""
    idents = {ident for ident, _ in asked}
    text = first.text
    if COPIED & idents:
        text = ""  # the text to copy stands in the constraint
    elif not ECHOED & idents:
        text = _about(idents, rng, first.field).text
    text, said = _woven(text, _sayings(text, asked, bool(ECHOED & idents), rng))
    form = rng.random()
    if len(said) > 1 and form < 0.2:
        return "\n- ".join([text or "Do as follows:", *said])
    if text and said and form < 0.35:
        return f"{text}\n\n{' '.join(said)}"
    # what is said of "the request above" must stand below it
    if text and said and form < 0.5 and not ECHOED & idents:
        return f"{' '.join(said)} {text}"
    return " ".join([text, *said]).strip()


def counts(rest: str) -> tuple[int, int]:
    """The lowest and the highest number of constraints: `1-3`, or `2` for two; "" is one to ten.

    Raises InputError for what is no such range within 1 to 10.
    """
    found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", rest or f"1-{MOST}", re.ASCII)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high <= MOST:
        raise InputError(
            f"{rest!r} is no number of constraints: say the lowest and the highest, such as 1-3, within 1 to "
            f"{MOST}"
        )
    return low, high


def constrained_prompt(
    taxonomy: str, rng: random.Random, split: Split, low: int = 1, high: int = MOST
) -> tuple[str, list[Asked], str]:
    """(prompt, `low` to `high` constraints, a reply that meets them all, by both scorings).

    The prompt is of the split. Composing costs more than wording, so a prompt is worded anew until its hash
    falls into the split, and composed anew, of the same constraints, where there are few wordings.
    """
    while True:
        idents = _choose(taxonomy, rng.randint(low, high), rng)
        # as many tries with these constraints, then others are drawn
        for _ in range(12 if len(idents) >= low else 0):
            first = _about(set(idents), rng)
            asked, reply = _settle(idents, first, rng)
            # a split of 5 % is missed 60 times in a row in one case of twenty
            for _ in range(60 if len(asked) >= low else 0):
                prompt = _worded(first, asked, rng)
                if split_of(prompt) is split:
                    return prompt, asked, reply
