"""Functions to call, and requests that ask for them: of the domain `tools`.

Names of functions and parameters are drawn with each problem, so that they must be read. What is drawn beside
the request follows from its text: a text is one problem, whatever the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
ROOMS = ("kitchen", "bedroom", "hall", "bathroom", "garage", "study", "cellar", "attic")
CITIES = (
    "Oslo",
    "Lima",
    "Cairo",
    "Delhi",
    "Paris",
    "Quito",
    "Rome",
    "Tokyo",
    "Bergen",
    "Dakar",
    "Hanoi",
    "Riga",
)
FOODS = (
    "milk",
    "eggs",
    "rice",
    "bread",
    "tea",
    "salt",
    "apples",
    "soap",
    "butter",
    "beans",
    "honey",
    "cheese",
)
PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Kim", "Lena")
NEWS = (
    "dinner is ready",
    "the train is late",
    "I am at home",
    "the cat is fine",
    "we need milk",
    "it is done",
)
UNITS = (("miles", "kilometres"), ("pounds", "kilograms"), ("inches", "centimetres"), ("gallons", "litres"))
DISHES = ("bread", "pizza", "cake", "pie", "lasagne", "cookies", "quiche", "muffins")
NOTHING_FITS = "No function fits."


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter under each of the names that it may have; without a `default` it is required."""

    names: tuple[str, ...]
    schema: Mapping[str, Any]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Skill:
    """A function under each of its names, texts that ask for it, and what draws their values.

    `draw` gives values by parameter, and words that texts have in their place, under `said`.
    """

    names: tuple[str, ...]
    description: str
    parameters: Mapping[str, Parameter]
    draw: Callable[[random.Random], tuple[str, Values]]


def _timer(rng: random.Random) -> tuple[str, Values]:
    minutes, label = rng.randint(2, 90), rng.choice(FOODS)
    if rng.random() < 0.5:
        return f"Set a timer for {minutes} minutes.", {"minutes": minutes}
    return f"Set a {minutes} minute timer called {label}.", {"minutes": minutes, "label": label}


def _convert(rng: random.Random) -> tuple[str, Values]:
    old, new = rng.sample(rng.choice(UNITS), 2)
    # halves are exact in every notation
    amount = rng.randint(2, 99) if rng.random() < 0.6 else rng.randint(2, 99) + 0.5
    asks = ("Convert {a} {old} to {new}.", "How many {new} are {a} {old}?")
    return rng.choice(asks).format(a=amount, old=old, new=new), {"amount": amount, "old": old, "new": new}


def _weather(rng: random.Random) -> tuple[str, Values]:
    city, days = rng.choice(CITIES), rng.randint(2, 9)
    if rng.random() < 0.3:
        return f"What is the weather in {city}?", {"city": city}
    return f"What will the weather be in {city} for {days} days?", {"city": city, "days": days}


def _light(rng: random.Random) -> tuple[str, Values]:
    room, on = rng.choice(ROOMS), rng.random() < 0.5
    return f"Turn the light in the {room} {'on' if on else 'off'}.", {"room": room, "on": on}


def _list(rng: random.Random) -> tuple[str, Values]:
    items = rng.sample(FOODS, rng.randint(1, 3))
    return f"Put {_and(items)} on my list.", {"items": items}


def _sum(rng: random.Random) -> tuple[str, Values]:
    numbers = [rng.randint(2, 99) for _ in range(rng.randint(2, 4))]
    return f"Add up {_and(list(map(str, numbers)))}.", {"numbers": numbers}


def _message(rng: random.Random) -> tuple[str, Values]:
    person, text = rng.choice(PEOPLE), rng.choice(NEWS)
    return f"Tell {person} that {text}.", {"person": person, "text": text}


def _baking(rng: random.Random) -> tuple[str, Values]:
    dish = rng.choice(DISHES)
    return f"How long does {dish} bake?", {"dish": dish}


TEXT, WHOLE, NUMBER, FLAG = ({"type": name} for name in ("string", "integer", "number", "boolean"))
TIMER = Skill(("set_timer", "start_timer"), "Start a timer.",
              {"minutes": Parameter(("minutes", "duration"), WHOLE),
               "label": Parameter(("label", "name"), TEXT, "")}, _timer)  # fmt: skip
BAKING = Skill(("baking_time", "get_baking_time"), "How many minutes a dish bakes.",
               {"dish": Parameter(("dish", "food"), TEXT)}, _baking)  # fmt: skip
SKILLS = (
    TIMER,
    Skill(("convert_units", "unit_converter"), "Convert an amount to another unit.",
          {"amount": Parameter(("amount", "value"), NUMBER), "old": Parameter(("from", "from_unit"), TEXT),
           "new": Parameter(("to", "to_unit"), TEXT)}, _convert),
    Skill(("get_weather", "weather_report"), "The weather of a city.",
          {"city": Parameter(("city", "place"), TEXT),
           "days": Parameter(("days", "number_of_days"), WHOLE, 1)}, _weather),
    Skill(("switch_light", "set_lamp"), "Turn a light on or off.",
          {"room": Parameter(("room", "where"), TEXT), "on": Parameter(("on", "state"), FLAG)}, _light),
    Skill(("add_to_list", "put_on_list"), "Put items on the shopping list.",
          {"items": Parameter(("items", "things"), {"type": "array", "items": TEXT})}, _list),
    Skill(("add_numbers", "sum_of"), "The sum of numbers.",
          {"numbers": Parameter(("numbers", "values"), {"type": "array", "items": WHOLE})}, _sum),
    Skill(("send_message", "tell"), "Send somebody a message.",
          {"person": Parameter(("to", "person"), TEXT),
           "text": Parameter(("text", "message"), TEXT)}, _message),
    BAKING,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation of the small world, what is offered in it, and the calls that are wanted next."""

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    calls: tuple[Mapping[str, Any], ...]


def request(rng: random.Random) -> Request:
    """One to three requests at once, one that no function fits, or one whose first call has been answered."""
    if rng.random() < 0.12:
        return _answered(rng)
    count = rng.choices((1, 2, 3), (7, 2, 1))[0]
    asked = [(skill, *skill.draw(rng)) for skill in rng.choices(SKILLS, k=count)]
    text = " ".join(said for _, said, _ in asked)
    # the same text would else come with other functions under another seed, and ids go by texts
    rng = random.Random(text)
    needed = [skill for skill, _, _ in asked]
    without = count == 1 and rng.random() < 0.18
    offered = _offered([] if without else needed, needed, rng)
    calls = [] if without else [offered[skill.names].call(values) for skill, _, values in asked]
    return Request(({"role": "user", "content": text},), _signatures(offered), tuple(calls))


def _answered(rng: random.Random) -> Request:
    """A timer for as long as a dish bakes: the function was asked how long, and has answered."""
    dish, label = rng.choice(DISHES), rng.choice((*FOODS, *PEOPLE))
    asks = ("Set a timer called {label} for as long as {dish} bakes.",
            "I bake {dish}. Start a timer for it, named {label}.")  # fmt: skip
    text = rng.choice(asks).format(dish=dish, label=label)
    rng = random.Random(text)
    offered = _offered([TIMER, BAKING], [TIMER, BAKING], rng)
    minutes = rng.randint(10, 90)
    asked = offered[BAKING.names].given({"dish": dish})
    messages = (
        {"role": "user", "content": text},
        {"role": "assistant", "content": "", "tool_calls": [asked]},
        {"role": "tool", "content": f'{{"minutes": {minutes}}}'},
    )
    call = offered[TIMER.names].call({"minutes": minutes, "label": label})
    return Request(messages, _signatures(offered), (call,))


@dataclass(frozen=True, slots=True)
class _Offer:
    """A skill under the names that were drawn."""

    skill: Skill
    name: str
    names: Mapping[str, str]

    def given(self, values: Values) -> dict[str, Any]:
        """A call as a message has it."""
        return {"name": self.name, "arguments": {self.names[key]: value for key, value in values.items()}}

    def call(self, values: Values) -> dict[str, Any]:
        """A call that is wanted; what the text does not say may be left out, or be its default."""
        admitted = {
            name: [values[key]] if key in values else [self.skill.parameters[key].default, ""]
            for key, name in self.names.items()
        }
        return {self.name: admitted}

    def signature(self) -> dict[str, Any]:
        """As OpenAI writes a tool."""
        of = self.skill.parameters
        said = {
            name: {**of[key].schema, **({} if of[key].default is None else {"default": of[key].default})}
            for key, name in self.names.items()
        }
        required = [name for key, name in self.names.items() if of[key].default is None]
        parameters = {"type": "object", "properties": said, "required": required}
        inner = {"name": self.name, "description": self.skill.description, "parameters": parameters}
        return {"type": "function", "function": inner}


def _offered(
    needed: Sequence[Skill], asked: Sequence[Skill], rng: random.Random
) -> dict[tuple[str, ...], _Offer]:
    """What is needed and one or two others that were not asked for, in any order, by the skill's names."""
    spare = rng.sample([skill for skill in SKILLS if skill not in asked], rng.randint(1, 2))
    chosen = [*dict.fromkeys(skill.names for skill in needed), *(skill.names for skill in spare)]
    rng.shuffle(chosen)
    by_names = {skill.names: skill for skill in SKILLS}
    return {
        names: _Offer(
            by_names[names],
            rng.choice(names),
            {key: rng.choice(parameter.names) for key, parameter in by_names[names].parameters.items()},
        )
        for names in chosen
    }


def _signatures(offered: Mapping[tuple[str, ...], _Offer]) -> tuple[Mapping[str, Any], ...]:
    return tuple(offer.signature() for offer in offered.values())


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
