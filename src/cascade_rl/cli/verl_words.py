"""How a user says where verl is: `--verl-python`, and RAY_ADDRESS."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.backends.verl.job import Command

_OPTION = typer.Option(
    "--verl-python",
    help="The Python of verl's own environment, or a command that ends with one, such as a container's. "
    "RAY_ADDRESS names a cluster that runs already.",
)
VerlPython = Annotated[str | None, _OPTION]
VerlPythonNeeded = Annotated[str, _OPTION]


def entered(words: str | None) -> Command | None:
    """How verl's environment is entered; None where nothing was said."""
    return None if words is None else command_of(words)


def command_of(words: str) -> Command:
    """How verl's environment is entered; InputError for words that are no command."""
    from cascade_rl.backends.verl.job import Command

    try:
        python = tuple(shlex.split(words))
    except ValueError as error:
        raise InputError(f"--verl-python: {error}: {words}") from None
    if not python:
        raise InputError("--verl-python names nothing; give the path of a Python")
    return Command(python, os.environ.get("RAY_ADDRESS") or None)
