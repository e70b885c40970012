"""The command on a recipe: check."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cascade_rl.cli.app import Overrides, RecipeArgument, Smoke, say

if TYPE_CHECKING:
    from cascade_rl.data.example import Example

COLUMNS = 75  # of the texts of an example, behind a bar: together 80
HEAD, TAIL = 600, 500  # characters of a text that is longer than both


def check(recipe: RecipeArgument, overrides: Overrides = None, smoke: Smoke = False) -> None:
    """Validate a recipe, open its model, tokenizer and data, and show one example of each stage as trained.

    It prints the recipe with every key filled in and explains what each stage will do. Whatever can be known
    before training is told, all that is wrong in one message.
    """
    from cascade_rl.cascade.look import look
    from cascade_rl.recipe.explain import explain
    from cascade_rl.run.ledger import recipe_text

    seen = look(recipe, overrides or [], smoke_test=smoke, note=say)
    say(recipe_text(seen.recipe))
    say(explain(seen.recipe))
    for line in seen.notes:
        say(line)
    say("\nOne example of each stage, as it is trained:")
    for number, shown in enumerate(seen.examples, 1):
        for line in _drawn(number, shown):
            say(line)


def _drawn(number: int, shown: Example) -> Iterator[str]:
    yield from textwrap.wrap(f"{number}. {shown.stage}: {shown.line}", COLUMNS, subsequent_indent="   ")
    for what, text in shown.texts:
        yield f"   {what}:"
        for line in _shortened(text).split("\n"):
            for part in textwrap.wrap(line, COLUMNS, drop_whitespace=False, replace_whitespace=False) or [""]:
                yield f"   | {part}".rstrip()


def _shortened(text: str) -> str:
    """A long text without its middle."""
    left_out = len(text) - HEAD - TAIL
    if left_out <= 0:
        return text
    return f"{text[:HEAD]}\n[{left_out:,} characters are not shown]\n{text[-TAIL:]}"
