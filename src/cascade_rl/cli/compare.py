"""The command compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.app import console, say
from cascade_rl.errors import InputError
from cascade_rl.types import Mode

if TYPE_CHECKING:
    from cascade_rl.report.comparison import Shown

LOSS = 4  # the exit status of `--fail-on-loss`; app.py's epilog lists all


Things = Annotated[
    list[str],
    typer.Argument(
        help="Two or more, the reference first: a run (runs/tiny: its last stage), a stage "
        "(runs/tiny:rlhf, runs/tiny:4), results of `cascade eval` (evals/NAME) or one NAME.json."
    ),
]
Names = Annotated[str | None, typer.Option(help="What to call them, in this order, separated by commas.")]
OneMode = Annotated[Mode | None, typer.Option(help="This mode, not the headline mode of each.")]
Across = Annotated[
    str | None,
    typer.Option(
        help="Settings that may differ, since they are what is compared, such as k,temperature. "
        "Without it no better or worse is said where one differs."
    ),
]
Problems = Annotated[
    int | None,
    typer.Option(
        min=1, help="List so many problems that rose and that fell most; on the page 5 if not given."
    ),
]
Stages = Annotated[bool, typer.Option("--stages", help="Show the whole matrix of each run as well.")]
PageOut = Annotated[
    Path | None, typer.Option(help="Write one self-contained HTML page there, with replies side by side.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print all numbers as JSON and nothing else.")]
FailOnLoss = Annotated[
    bool,
    typer.Option(
        "--fail-on-loss",
        help="Exit with status 4 when anything is worse beyond noise, with 1 when anything can't be "
        "compared.",
    ),
]


def compare(
    things: Things,
    names: Names = None,
    mode: OneMode = None,
    across: Across = None,
    problems: Problems = None,
    stages: Stages = False,
    page: PageOut = None,
    json: AsJson = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Compare runs, stages or results of eval: what is better beyond noise, what can't be told."""
    from cascade_rl.report.compare_json import compare_to_json
    from cascade_rl.report.compare_page import render_comparison
    from cascade_rl.report.compare_terminal import compare_parts
    from cascade_rl.report.compare_things import read_things
    from cascade_rl.report.comparison import compare as compared
    from cascade_rl.run.files import dumps, write_text

    shown = compared(read_things(things, _listed(names)), mode, _listed(across), problems or 5)
    if page:
        write_text(page, render_comparison(shown))
    if json:
        sys.stdout.write(dumps(compare_to_json(shown), indent=1) + "\n")
    else:
        for part in compare_parts(shown, problems=problems is not None, stages=stages):
            console.print(part)
        if page:
            say(f"Page: {page}")
    if fail_on_loss:
        _judge(shown)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _judge(shown: Shown) -> None:
    """Raise what `--fail-on-loss` exits with: a comparison that could not be made is no pass."""
    from cascade_rl.scores.compare import Answer

    found = shown.compared.comparisons
    if any(c.answer is Answer.WORSE for c in found):
        raise typer.Exit(LOSS)
    gone = [f"{c.benchmark} of {c.other}" for c in found if c.answer in (Answer.OTHER, Answer.MISSING)]
    if gone:
        raise InputError(f"--fail-on-loss: could not be compared, so nothing is known: {', '.join(gone)}")
