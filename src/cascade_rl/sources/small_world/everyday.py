"""Natural requests for a pretrained model: of the sources `chat` and `ifeval-style`.

The first are alignment's, with good and openly faulty replies; the others are for instruction following, with
constraints that can all be met at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from cascade_rl.verify.instructions import describe

# subject (with its key words) for the source `chat`
SUBJECTS = {
    "a birthday party": ("party", "birthday"), "a job interview": ("interview",),
    "a small garden": ("garden",), "a long flight": ("flight",), "a first marathon": ("marathon",),
    "a quiet weekend": ("weekend",), "a vegetable soup": ("soup",), "a new puppy": ("puppy",),
    "a school exam": ("exam",), "a rainy day": ("day",), "a road trip": ("trip",),
    "a tidy kitchen": ("kitchen",), "better sleep": ("sleep",), "a thank-you card": ("card",),
    "a guitar lesson": ("guitar", "lesson"), "a family dinner": ("dinner",),
    "a bicycle tour": ("tour", "bicycle"), "a book club": ("club", "book"),
    "a camping night": ("camping", "night"), "a home office": ("office",),
    "a speech at a wedding": ("speech", "wedding"), "moving to a new city": ("city", "moving"),
}  # fmt: skip
ASKS = (
    "Can you help me with {}?", "What should I know about {}?", "Give me advice on {}.",
    "How do I prepare for {}?", "I need an idea for {}.", "What is the best way to start with {}?",
    "Tell me how to enjoy {}.", "What mistakes should I avoid with {}?", "Write me a short note about {}.",
    "Make a simple plan for {}.",
)  # fmt: skip
SITUATIONS = (
    "", " I have little time.", " I have little money.", " It is for my parents.", " I am a beginner.",
    " It is tomorrow.", " My friends will join.", " I am a bit nervous.", " I want to surprise someone.",
    " I have done it once before.", " My children will be there.", " It must be simple.",
)  # fmt: skip
CHAT_OPEN = ("Of course!", "I am glad to help.", "With pleasure!", "Thank you for asking.", "Good question!")
CHAT_CORE = (
    "For {s}, start early and keep things simple.", "The heart of {s} is a clear plan.",
    "With {s}, small steps work best.", "Most people find that {s} gets easier with practice.",
)  # fmt: skip
CHAT_MORE = ("Write down what you need and check it twice.", "Ask someone who has done it before.",
             "Leave a little room for surprises.", "Rest well, and begin with the easiest part.")  # fmt: skip
CHAT_CLOSE = (
    "I hope this helps!", "Good luck, and let me know how it goes.", "Please ask if you want more detail.",
    "Enjoy every minute of it!",
)  # fmt: skip
CHAT_FAULTS = ("rude", "off-topic", "curt", "repetitive", "cold", "cut", "rambling")


def framed(body: str, opens: Sequence[str], closes: Sequence[str], rng: random.Random) -> str:
    """A body with a courteous opening, closing, or both."""
    kind = rng.choices(("open", "close", "both"), (4, 4, 2))[0]
    parts = [rng.choice(opens)] if kind != "close" else []
    return " ".join([*parts, body, *([rng.choice(closes)] if kind != "open" else [])])


def write_chat(subject: str, fault: str | None, rng: random.Random) -> str:
    """A reply to an everyday request with one fault or none."""
    # a subject that shares no key word with the one asked for, or the answer might still be on it
    if fault == "off-topic":
        subject = rng.choice([s for s in SUBJECTS if not set(SUBJECTS[s]) & set(SUBJECTS[subject])])
    core, more = rng.choice(CHAT_CORE).format(s=subject), rng.choice(CHAT_MORE)
    if fault == "curt":
        return rng.choice(("Just look it up.", "No idea.", "It depends."))
    body = {
        "rude": f"What a stupid question. {core} {more}",
        "repetitive": " ".join([core] * 4),
        "rambling": " ".join([core, *CHAT_MORE, "Then do it all again, slowly and with care."] * 3),
    }.get(fault or "", f"{core} {more}")
    text = body if fault == "cold" else framed(body, CHAT_OPEN, CHAT_CLOSE, rng)
    kept = text.split()
    return text if fault != "cut" else " ".join(kept[: rng.randint(4, len(kept) - 2)]).rstrip(".!?,:")


TEXTS = (
    "a short story", "a poem", "a letter", "a blog post", "an advertisement", "a news report", "a riddle",
    "a diary entry", "a travel guide", "a speech",
)  # fmt: skip
THINGS = ("a lighthouse", "a lost dog", "the first snow", "a night train", "an old piano", "a village bakery",
          "the moon", "a shy dragon", "a rainy market", "a broken clock", "a beekeeper", "two brothers",
          "a mountain lake", "a school trip", "an empty theatre", "a talking cat", "a garden in spring",
          "a long goodbye")  # fmt: skip
KEYWORDS = ("window", "river", "letter", "silver", "winter", "friend", "bridge", "secret", "music", "shadow")
CLOSERS = ("The end.", "Is there anything else?", "That is all.", "Thank you for reading.")


def constrained_request(rng: random.Random) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """A request with one to three constraints of IFEval's kinds; those of a group exclude one another."""
    groups: list[list[tuple[str, dict[str, Any]]]] = [
        [
            (
                "length_constraints:number_words",
                {"num_words": rng.randrange(30, 121, 10), "relation": "less than"},
            ),
            (
                "length_constraints:number_words",
                {"num_words": rng.randrange(20, 81, 10), "relation": "at least"},
            ),
        ],
        [("keywords:existence", {"keywords": rng.sample(KEYWORDS[:5], rng.randint(1, 2))})],
        [("keywords:forbidden_words", {"forbidden_words": rng.sample(KEYWORDS[5:], rng.randint(1, 2))})],
        [
            ("startend:end_checker", {"end_phrase": rng.choice(CLOSERS)}),
            ("startend:quotation", {}),
            ("detectable_content:postscript", {"postscript_marker": "P.S."}),
        ],
        [("change_case:english_lowercase", {}), ("change_case:english_capital", {})],
        [("punctuation:no_comma", {})],
        [("detectable_format:title", {})],
        [
            ("detectable_format:number_bullet_lists", {"num_bullets": rng.randint(2, 4)}),
            ("detectable_format:number_highlighted_sections", {"num_highlights": rng.randint(1, 3)}),
        ],
    ]
    asked = [rng.choice(group) for group in rng.sample(groups, rng.randint(1, 3))]
    request = f"Write {rng.choice(TEXTS)} about {rng.choice(THINGS)}."
    return " ".join([request, *(describe(*c) for c in asked)]), asked
