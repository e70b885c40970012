"""The command on own data: `data show`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from cascade_rl.cli.app import say
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.data.show import Shown
    from cascade_rl.data.show_own import OwnShown
    from cascade_rl.sources.tables import Mapped

LONGEST = 400  # characters of a value on the screen; `--json` shows all

data = typer.Typer(help="Own rows: what is in a table, and what a map makes of it.", no_args_is_help=True)


@data.command("show")
def show(
    source: Annotated[str, typer.Argument(help="A table, such as jsonl:train.jsonl or csv:rows/*.csv.gz.")],
    domain: Annotated[
        str | None,
        typer.Option(help="A shipped domain, such as maths, or a dotted path; chats and pairs need none."),
    ] = None,
    map: Annotated[
        str | None,
        typer.Option(help="A map's name, or a mapping as a recipe has it: '{prompt: {column: q}, ...}'."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="all, hash, or the column that says it.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="One mapped row a line, and nothing else on standard output.")
    ] = False,
) -> None:
    """Show rows of a table before and after the map, as the model reads them, and count all of them.

    The exit status is 1 if a row is bad: a recipe would refuse the table unless it says bad_rows: skip.
    """
    from cascade_rl.data.show import as_json as line
    from cascade_rl.data.show import show as rows_of
    from cascade_rl.domains import load_domain
    from cascade_rl.recipe.tables import Reading

    if domain is None:
        if split is not None:
            raise InputError("--split has no effect without --domain")
        _show_own(source, map, rows, as_json)
        return
    found = rows_of(source, load_domain(domain), Reading(_map(map), split, "skip"), rows)
    if as_json:
        for mapped in found.rows:
            if mapped.problem:
                typer.echo(json.dumps(line(mapped.problem), ensure_ascii=False))
        typer.echo(found.tally.line(), err=True)
    else:
        for mapped in found.rows:
            _say_row(mapped)
        say(found.tally.line())
    _end(found)


def _show_own(source: str, name: str | None, rows: int, as_json: bool) -> None:
    """The same of chats and pairs, whose rows hold what is trained on."""
    from cascade_rl.data.show_own import own_json, own_text, show_own

    found = show_own(source, name, rows)
    for row in found.rows:
        if as_json:
            if row.made is not None:
                typer.echo(json.dumps(own_json(row.made), ensure_ascii=False))
            continue
        _say_before(row.place, row.row)
        if row.fault:
            say(f"  bad: {row.fault}\n")
        for text in own_text(row.made) if row.made is not None else []:
            say(f"=> trained on in [[ ]]:\n{text}\n")
    typer.echo(found.tally.line(), err=True) if as_json else say(found.tally.line())
    _end(found)


def _say_before(place: str, row: Mapping[str, Any] | None) -> None:
    say(f"--- {place}")
    for name, value in (row or {}).items():
        say(f"  {name}: {_short(value)}")


def _end(found: Shown | OwnShown) -> None:
    if found.tally.bad:
        raise typer.Exit(1)


def _map(said: str | None) -> str | dict[str, Any] | None:
    if said is None or not said.lstrip().startswith("{"):
        return said
    try:
        made = yaml.safe_load(said)
    except yaml.YAMLError as error:
        raise InputError(f"--map is no YAML: {error}") from None
    if not isinstance(made, dict):
        raise InputError("--map: want a name or a mapping of fields to operations")
    return made


def _say_row(mapped: Mapped) -> None:
    from cascade_rl.data.show import as_chat

    _say_before(mapped.place, mapped.row)
    if mapped.problem is None:
        say(f"  bad: {mapped.fault}\n")
        return
    problem = mapped.problem
    say(f"=> {problem.id}, {problem.mode}, split {mapped.split or 'all'}")
    say(f"  answer: {_short(problem.answer)}")
    if problem.meta:
        say(f"  meta: {_short(dict(problem.meta))}")
    say(f"  as the model reads it:\n{as_chat(problem)}\n")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
