"""Requests to which constraints are added: kinds of texts and questions, combined with what they are about.

Not here: translations and tasks that need a file or a tool. A request is one line, so that it can be copied.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from cascade_rl.sources.constraints.subjects import FACTS, FIELDS, GIVEN, JOBS, PEOPLE, TONES

# kind: templates over {thing} {other} {person} {job} {tone} {fact} {given} {n}
KINDS: Mapping[str, tuple[str, ...]] = {
    "email": (
        "Write an email to {person} about {thing}.",
        "Draft a {tone} email in which I tell {person} about {thing}.",
        "Help me answer an email from {person}, who asks about {thing}.",
    ),
    "letter": (
        "Write a cover letter for a job as {job}.", "Write a {tone} letter to {person} about {thing}.",
        "I apply for a job as {job}. Write a short letter of application.",
        "Draft a letter of complaint about {thing}.",
    ),
    "verse": (
        "Write a poem about {thing}.", "Compose a {tone} song about {thing}.",
        "Write a limerick about {job}.",
        "Write a rap about {thing} and {other}.", "I need a {tone} birthday poem for {person}.",
    ),
    "story": (
        "Write a short story about {thing}.", "Tell me a {tone} story in which {job} meets {thing}.",
        "Invent a bedtime story about {thing} for {person}.", "Write the beginning of a novel about {thing}.",
    ),
    "blog": (
        "Write a blog post about {thing}.", "Write a {tone} article on {thing} for {person}.",
        "Write a post for social media about {thing}.", "Write a diary entry about {thing}.",
    ),
    "advert": (
        "Write an advertisement for {thing}.", "Write a {tone} radio advert by {job}.",
        "Come up with a flyer that invites {person} to an evening about {thing}.",
        "I want to sell my collection of things about {thing}. Write the ad.",
    ),
    "given text": (
        'Summarise this text: "{given}"', 'Rewrite this in a {tone} style: "{given}"',
        'Continue this text: "{given}"', 'What is meant by this? "{given}"',
        'Explain the following to {person}: "{given}"',
    ),
    "product": (
        "Describe a new product that has to do with {thing}.",
        "Write a {tone} product description for a book on {thing}.",
        "Write a review of a course about {thing}.", "Write a {tone} description of a game about {thing}.",
    ),
    "comparison": (
        "Compare {thing} with {other}.", "What are the pros and cons of {thing}?",
        "What is better for {person}: {thing} or {other}?", "List arguments for and against {thing}.",
    ),
    "how-to": (
        "Explain to {person} what matters about {thing}.", "Give me tips about {thing}.",
        "How do I become {job}?", "Write instructions for {job} on the first day.",
        "What should {job} know about {thing}?",
    ),
    "fact": ("{fact}", "{fact} Explain it to {person}.", "I was asked this today: {fact}", "Tell me: {fact}"),
    "brainstorm": (
        "Give me {n} ideas for a film about {thing}.",
        "Suggest {n} names for a club of people who love {thing}.",
        "Brainstorm {n} questions that {person} may ask about {thing}.", "Find {n} slogans about {thing}.",
        "What would be good gifts for {job}?",
    ),
    "plan": (
        "Plan a day about {thing} for {person}.", "Make an itinerary for {n} days that includes {thing}.",
        "Write a timetable for {job}.", "Outline a talk about {thing}.",
        "Plan a party whose theme is {thing}.",
    ),
    "dialogue": (
        "Write a dialogue between {job} and a child about {thing}.", "Write a {tone} interview with {job}.",
        "Write a scene in which {job} explains {thing}.",
        "Two friends disagree about {thing}. Write what they say.",
    ),
    "riddle": (
        "Write a riddle about {thing}.", "Tell me a joke about {job}.",
        "Write a quiz question about {thing}.",
        "Make a {tone} joke about {thing}.",
    ),
    "critique": (
        'What could be improved in this text? "{given}"', "Write a {tone} critique of a play about {thing}.",
        'Is this well written? "{given}"', "Judge the idea of a museum about {thing}.",
    ),
    "profile": (
        "Write a résumé for {job}.", "Write a short biography of {job} who loves {thing}.",
        "Introduce yourself as {job}.", "Write a {tone} speech about {thing}.",
    ),
}  # fmt: skip
# questions to which yes, no and perhaps are answers
QUESTIONS = (
    "Would {thing} make a good present for {person}?", "Is it wise to spend a whole day on {thing}?",
    "Could {thing} be the subject of a famous film?",
    "Do most people think of {thing} when they cannot sleep?",
    "Is {thing} more useful than {other}?", "Should {person} know about {thing}?",
    "Can {job} live without {thing}?",
    "Will {thing} still matter in a hundred years?", "Is {thing} a good topic for a poem?",
    "Would you like to talk about {thing}?", "Does {job} need to care about {thing}?",
    "Have you heard enough about {thing}?",
)  # fmt: skip
_EVERY_FIELD = tuple(FIELDS)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, before any constraint.

    text   one line
    field  of life that it is about
    words  that fit the field
    """

    text: str
    field: str
    words: tuple[str, ...]


def request(rng: random.Random, *, question: bool = False, field: str | None = None) -> Request:
    """A request about a field, or a question to be answered by yes or no."""
    field = field or rng.choice(_EVERY_FIELD)
    forms = QUESTIONS if question else KINDS[rng.choice(tuple(KINDS))]
    thing, other = rng.sample(FIELDS[field].things, 2)
    text = rng.choice(forms).format(
        thing=thing,
        other=other,
        person=rng.choice(PEOPLE),
        job=rng.choice(JOBS),
        tone=(tone := rng.choice(TONES)),
        fact=rng.choice(FACTS),
        given=rng.choice(GIVEN),
        n=rng.randint(2, 8),
    )
    # the templates say `a`
    text = text.replace(f" a {tone}", f" an {tone}") if tone[0] in "aeiou" else text
    return Request(text, field, FIELDS[field].words)
