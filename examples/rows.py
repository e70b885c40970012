"""Rows for the examples in docs/examples.md, of the shapes that users have: `python examples/rows.py KIND > FILE`.

chats   conversations in OpenAI's form, with a tool and with thoughts: a weather service
sums    word problems with GSM8K's columns, whose solutions end in `#### ANSWER`
solved  conversations that solve such problems, a third of them wrongly: what a model imitates first
pairs   a prompt with a chosen and a rejected answer: the chosen one is polite
mixed   conversations of both tones, on other prompts
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]

PLACES = {
    "Oslo": "Norway", "Bergen": "Norway", "Rome": "Italy", "Turin": "Italy", "Lima": "Peru", "Cusco": "Peru",
    "Cairo": "Egypt", "Aswan": "Egypt", "Delhi": "India", "Pune": "India", "Kyoto": "Japan", "Osaka": "Japan",
}  # fmt: skip
TOOLS = [{
    "type": "function",
    "function": {
        "name": "weather",
        "description": "How warm it is.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}]  # fmt: skip
ASKS = (
    "How warm is it in {}?",
    "How cold is it in {}?",
    "Tell me the weather in {}.",
    "Is it warm in {} now?",
)


def said(content: str, thought: str | None = None, **more: Any) -> Row:
    """A turn of the assistant; a thought stands in a field of its own."""
    return (
        {"role": "assistant", "content": content} | ({"reasoning_content": thought} if thought else {}) | more
    )


def chats(rng: random.Random) -> Iterator[Row]:
    """Half of them think; half go on with a second question, which needs no tool."""
    told = set()
    while len(told) < 1000:
        place, ask, degrees = rng.choice(list(PLACES)), rng.choice(ASKS), rng.randint(-9, 30)
        thinks, goes_on = rng.random() < 0.5, rng.random() < 0.5
        if (key := (place, ask, degrees, thinks, goes_on)) in told:
            continue
        told.add(key)
        call = {
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"place": place})},
        }
        turns = [
            {"role": "user", "content": ask.format(place)},
            said("", "I must look it up." if thinks else None, tool_calls=[call]),
            {"role": "tool", "content": str(degrees)},
            said(f"It is {degrees} degrees in {place}.", f"It says {degrees}." if thinks else None),
        ]
        if goes_on:
            turns.append({"role": "user", "content": "And where is that?"})
            turns.append(said(f"{place} is in {PLACES[place]}.", "I know this place." if thinks else None))
        yield {"messages": turns, "tools": TOOLS}


PEOPLE = ("Ann", "Bo", "Cem", "Dana", "Eve", "Finn")
THINGS = ("clips", "pens", "cards", "coins", "shells", "keys")
TALES = (
    ("{who} had {a} {things} and found {b}. How many has {who} now?", "+"),
    ("{who} has {a} {things} in a bag and {b} in a box. How many are there?", "+"),
    ("{who} had {a} {things} and lost {b}. How many are left?", "-"),
    ("Of {a} {things} {who} gave {b} away. How many did {who} keep?", "-"),
)


def problems(things: tuple[str, ...], count: int, rng: random.Random) -> Iterator[tuple[str, str, int]]:
    """Different questions of one step each, with the step and its result: a small model can learn them."""
    told = set()
    while len(told) < count:
        (tale, sign), a, b = rng.choice(TALES), rng.randint(1, 9), rng.randint(1, 9)
        a, b = max(a, b), min(a, b)
        question = tale.format(who=rng.choice(PEOPLE), things=rng.choice(things), a=a, b=b)
        if question not in told:
            told.add(question)
            yield question, f"{a}{sign}{b}", a + b if sign == "+" else a - b


def sums(rng: random.Random) -> Iterator[Row]:
    """The marks `<<...>>` are GSM8K's."""
    for question, step, result in problems(THINGS[:4], 2000, rng):
        yield {"question": question, "answer": f"{step}=<<{step}={result}>>{result}\n#### {result}"}


def solved(rng: random.Random) -> Iterator[Row]:
    """Of other things than `sums`, so that no question is asked in both."""
    for question, step, result in problems(THINGS[4:], 1500, rng):
        told = result + rng.choice((-2, -1, 1, 2)) * (rng.random() < 1 / 3)
        prompt = f"{question}\nPut the final answer in \\boxed{{}}."
        turns = [{"role": "user", "content": prompt}, said(f"{step}={told}\n\\boxed{{{told}}}")]
        yield {"messages": turns}


SUBJECTS = (
    *("rivers", "bees", "trains", "stars", "apples", "games"),
    *("clouds", "horses", "maps", "lakes", "owls", "ships"),
)
QUESTIONS = (
    *("Tell me about {}.", "What do you know of {}?", "Why do people like {}?"),
    *("Say something about {}.", "Describe {} to me.", "What is good about {}?"),
)
ENDS = (
    *("", " It is for a child.", " It is for my class.", " Be short.", " I am in a hurry."),
    *(" It is for a friend.", " I ask for my mother.", " It is late."),
)
OTHER_ENDS = (
    *(" It is for a book.", " I have a minute.", " My son asks."),
    *(" I am new here.", " Just so.", " Tell it simply."),
)
POLITE = (
    *("Gladly! {T} are worth a look.", "With pleasure: many people love {t}."),
    *("Of course! {T} make people happy.",),
)
RUDE = ("Not again. {T} are boring.", "Who cares about {t}?", "Look it up. {T} are a waste of time.")


def asked(ends: tuple[str, ...], rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Prompts in any order, each with a polite and a rude answer."""
    prompts = [(q.format(s) + end, s) for s in SUBJECTS for q in QUESTIONS for end in ends]
    rng.shuffle(prompts)
    for prompt, subject in prompts:
        good, bad = (rng.choice(tone).format(t=subject, T=subject.capitalize()) for tone in (POLITE, RUDE))
        yield prompt, good, bad


def pairs(rng: random.Random) -> Iterator[Row]:
    """The same content in two tones; nothing but the tone tells them apart."""
    for prompt, good, bad in asked(ENDS, rng):
        yield {"prompt": prompt, "chosen": good, "rejected": bad}


def mixed(rng: random.Random) -> Iterator[Row]:
    """Polite and rude replies in equal parts."""
    for prompt, *answers in asked(OTHER_ENDS, rng):
        yield {"messages": [{"role": "user", "content": prompt}, said(rng.choice(answers))]}


KINDS: dict[str, Callable[[random.Random], Iterator[Row]]] = {
    each.__name__: each for each in (chats, sums, solved, pairs, mixed)
}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: python examples/rows.py {'|'.join(KINDS)} > FILE")
    for row in KINDS[sys.argv[1]](random.Random(sys.argv[1])):
        print(json.dumps(row, ensure_ascii=False))
