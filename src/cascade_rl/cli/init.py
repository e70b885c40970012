"""The command that writes a recipe for a user's own files: init."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.app import say
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.data.shapes import Fit, Shape

GOALS = {
    "sft": "imitate the replies of own conversations",
    "rl": "reinforcement on own problems, graded by their domain",
    "rlhf": "a reward model on own pairs, then RLHF against it",
    "sft-rl": "conversations first, then problems",
    "cascade": "all of it: conversations, pairs, then problems domain by domain",
}
# what each kind of rows is there for
OF_A_KIND = {"chats": "sft", "problems": "rl", "pairs": "rlhf"}


def init(
    out: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    model: Annotated[
        str | None,
        typer.Option(
            help="A Hugging Face directory, ORG/NAME@REVISION, a GGUF file, smollm2-135m, or scratch: "
            "a small model from nothing."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Own rows: a path, a glob in quotes, or a source as in a recipe; give it once a file."
        ),
    ] = None,
    train: Annotated[str | None, typer.Option(help="; ".join(f"{k}: {v}" for k, v in GOALS.items()))] = None,
    domain: Annotated[
        str | None, typer.Option(help="Of problems: a shipped domain, such as maths, or a dotted path.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a recipe that is there.")] = False,
) -> None:
    """Look at own rows, and write a recipe for them with a reason beside each line that may be changed.

    What is not given is asked for on a terminal. The recipe is one that `cascade check` accepts.
    """
    _refuse(out, force, {"--model": model, "--data": data, "--train": train}, train, _terminal())
    from cascade_rl.data.shapes import shape_of
    from cascade_rl.proposal.begin import begin
    from cascade_rl.sources.sniff import source_of

    named = data or _asked("Files with your rows (paths or globs, with blanks between them)").split()
    shapes = [shape_of(source_of(one), domain) for one in named]
    for shape in shapes:
        _say_shape(shape)
    goal = train or _asked_goal(shapes)
    said = model or _asked("Model (a directory, smollm2-135m, or scratch)")
    text = begin(_name(out), goal, said, shapes, say)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    say(f"\n{out} is written; read it, then:")
    for command, why in _next(out):
        say(f"  {command:<36} # {why}")


def _refuse(out: Path, force: bool, wanted: dict[str, object], train: str | None, asks: bool) -> None:
    """Raise InputError, before anything is read, for what can't be done."""
    if train is not None and train not in GOALS:
        raise InputError(f"--train {train}: there are {', '.join(GOALS)}")
    if out.exists() and not force:
        raise InputError(f"{out} is there already; --force writes over it, or name another file")
    missing = [name for name, value in wanted.items() if not value]
    if missing and not asks:
        raise InputError(
            f"{', '.join(missing)}: not given, and there is no terminal to ask on; --model MODEL, --data "
            f"FILE (once a file), --train {'|'.join(GOALS)}"
        )


def _terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _asked(question: str) -> str:
    answer: str = typer.prompt(question)
    return answer


def _asked_goal(shapes: list[Shape]) -> str:
    for goal, what in GOALS.items():
        say(f"  {goal:<8}{what}")
    kinds = {best.kind for shape in shapes if (best := shape.best())}
    likely = "cascade" if "pairs" in kinds else "sft-rl"
    if len(kinds) < 2:
        likely = OF_A_KIND[min(kinds, default="chats")]
    answer: str = typer.prompt("What to train", default=likely)
    if answer not in GOALS:
        raise InputError(f"{answer}: there are {', '.join(GOALS)}")
    return answer


def _say_shape(shape: Shape) -> None:
    """What the rows are, with counts."""
    say(f"{shape.source}: {shape.looked:,} rows looked at; columns: {', '.join(shape.columns()):.200}")
    if shape.broken:
        say(f"  {shape.broken:,} of them can't be read")
    for fit in shape.fits[:3]:
        others = f"; the first other: {fit.fault:.160}" if fit.fault else ""
        say(f"  {fit.rows:,} of {fit.of:,} fit {fit.named()}{_columns(fit)}{others}")


def _columns(fit: Fit) -> str:
    """Which column an own map takes for what; nothing of a named map."""
    if not isinstance(fit.map, Mapping):
        return ""
    taken = [f"{field} from {said.get('column', said.get('template'))!r}" for field, said in fit.map.items()]
    return f": {', '.join(taken)}"


def _name(out: Path) -> str:
    """A recipe's name out of its file's: small letters, digits and hyphens, as folders and keys have them."""
    return re.sub("[^a-z0-9]+", "-", out.stem.lower()).strip("-") or "run"


def _next(out: Path) -> list[tuple[str, str]]:
    recipe = shlex.quote(str(out))
    return [
        (f"cascade check {recipe}", "what it does, and an example as it is trained"),
        (f"cascade run {recipe} --smoke", "two steps a stage: shows the path in minutes"),
        (f"cascade run {recipe}", "again after a stop: it goes on"),
        (f"cascade status runs/{_name(out)}", "how far it is"),
    ]
