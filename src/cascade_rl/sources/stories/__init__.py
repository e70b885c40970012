"""Word problems of primary school, generated: some sixty kinds of them, told in a few ways each.

What they are for is to train a small model on the kinds that sets such as ASDiv have. Their sentences are
their own: no nine words in a row stand in ASDiv, also without the numbers.

    Ivo has 9 shells. Noor has 6 more than Ivo. How many shells has Noor?
    6 more than 9: 9+6=15
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import yaml

from cascade_rl.sources.stories.numbers import numbers
from cascade_rl.sources.stories.schema import Schema, Story, tell


@cache
def schemata() -> tuple[Schema, ...]:
    """All kinds of problems, from schemata.yaml."""
    read = yaml.safe_load(Path(__file__).with_name("schemata.yaml").read_text())
    return tuple(
        Schema(
            one["name"],
            numbers(one["draw"]),
            tuple(one["tellings"]),
            tuple((label, step) for label, _, step in (line.rpartition(": ") for line in one["steps"])),
            one.get("distracts", True),
        )
        for one in read
    )


def story(rng: random.Random) -> Story:
    """A word problem of any kind."""
    return tell(rng.choice(schemata()), rng)
