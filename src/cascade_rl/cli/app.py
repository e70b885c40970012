"""What the commands share: the application, the console, and the arguments that several of them take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Post-train a language model one domain after another: SFT, reward model, then RL domain by domain, "
    "with a benchmark matrix after every stage (arXiv 2512.13607).",
    epilog="Exit status: 0, all is well; 1, an error, told in one message; 2, a wrong command line; "
    "3, nothing here keeps a model's programs in (see docs/sandbox.md); 4, `grade --strict` found a null, "
    "`compare --fail-on-loss` a loss; "
    "130 or 143, stopped by a signal.",
    no_args_is_help=True,
    add_completion=False,
    # a fault of ours is shown as Python's own traceback, which can be searched for and sent
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console()

RecipeArgument = Annotated[
    str, typer.Argument(help="A shipped recipe (tiny, smollm2-135m) or the path of a YAML file.")
]


class Written(StrEnum):
    """How conversations with a model are written."""

    CASCADE = "cascade"
    MODEL = "model"


WrittenBy = Annotated[
    Written | None,
    typer.Option(
        "--template",
        help="The chat template: ours, or the model's own. Without it what the checkpoint was trained "
        "with; of any other model ours, in `eval --suite` its own.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as stages.math-rl.steps=20 or seed=1.")
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Two steps a stage and a few held-out problems: shows the path, not the result."
    ),
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe-exec",
        help="Run a model's programs even where no sandbox isolates them. Not on your machine.",
    ),
]
OnRay = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Grade on a Ray cluster: HOST:PORT, `auto` or `local`; same verdicts, see docs/scale.md.",
    ),
]
Checkpoint = Annotated[
    str,
    typer.Argument(
        help="A checkpoint directory, such as runs/tiny/stages/04-rlhf/checkpoint; or any model: "
        "ORG/NAME@REVISION on a hub, a GGUF file."
    ),
]
RunArgument = Annotated[Path, typer.Argument(help="A run directory, such as runs/tiny.")]


def say(text: str) -> None:
    """Print a text as it is: square brackets are no markup, and long lines are left to the terminal."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
