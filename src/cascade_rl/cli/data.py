"""The command on own data: `data show`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer
import yaml

from cascade_rl.cli.app import say
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.data.show import Shown
    from cascade_rl.data.show_own import OwnShown
    from cascade_rl.sources.tables import Mapped
    from cascade_rl.types import Problem


class Length(Protocol):
    """Tokens of a prompt, with its reply where there is one."""

    def __call__(self, problem: Problem, reply: str | None) -> int: ...


class _Asked(NamedTuple):
    """What `data show` was asked, beside the domain; `limit` is `--max-tokens`."""

    source: str
    map: str | dict[str, Any] | None
    split: str | None
    rows: int
    length: Length | None
    limit: int | None
    as_json: bool


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
    model: Annotated[
        str | None,
        typer.Option(help="Count tokens as this directory's tokenizer does: of the rows shown, and of all."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="How many are longer than this; needs --model.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One mapped row a line, and nothing else on standard output.")
    ] = False,
) -> None:
    """Show rows of a table before and after the map, as the model reads them, and count all of them.

    The exit status is 1 if a row is bad: a recipe would refuse the table unless it says bad_rows: skip.
    """
    if max_tokens is not None and model is None:
        raise InputError("--max-tokens has no effect without --model, whose tokens it means")
    length = None if model is None else _length(model)
    asked = _Asked(source, _map(map), split, rows, length, max_tokens, as_json)
    if domain is None:
        _show_own(asked)
    else:
        _show_problems(asked, domain)


def _length(model: str) -> Length:
    """Tokens of a prompt with its reply, or of the prompt alone, as a stage of this model counts them."""
    from cascade_rl.model.tokenizer import load_tokenizer

    path = Path(model).expanduser()
    try:
        tokenizer = load_tokenizer(path)
    except InputError:
        # as with model.add_tokens; what is wrong otherwise is told again
        tokenizer = load_tokenizer(path, add=True)

    def length(problem: Problem, reply: str | None = None) -> int:
        return len(tokenizer.prompt(problem)) + (0 if reply is None else len(tokenizer.reply(reply)))

    return length


def _show_problems(asked: _Asked, domain: str) -> None:
    """Rows as problems of a domain."""
    from cascade_rl.data.show import as_json as line
    from cascade_rl.data.show import show as rows_of
    from cascade_rl.domains import load_domain
    from cascade_rl.recipe.tables import Reading

    reading = Reading(asked.map, asked.split, "skip")
    tokens = partial(asked.length, reply=None) if asked.length else None
    found = rows_of(asked.source, load_domain(domain), reading, asked.rows, tokens, asked.limit)
    for mapped in found.rows:
        if not asked.as_json:
            _say_row(mapped, asked.length)
        elif mapped.problem:
            typer.echo(json.dumps(line(mapped.problem), ensure_ascii=False))
    _end(found, asked.as_json)


def _show_own(asked: _Asked) -> None:
    """The same of chats and pairs, whose rows hold what is trained on."""
    from cascade_rl.data.show_own import own_json, own_text, samples_of, show_own

    found = show_own(asked.source, asked.map, asked.split, asked.rows, asked.length, asked.limit)
    for row in found.rows:
        if asked.as_json:
            if row.made is not None:
                typer.echo(json.dumps(own_json(row.made), ensure_ascii=False))
            continue
        _say_before(row.place, row.row)
        if row.fault or row.elsewhere:
            say(f"  bad: {row.fault}\n" if row.fault else "  in another split\n")
        for sample in samples_of(row.made) if row.made is not None else []:
            tokens = f" ({asked.length(sample.problem, sample.reply):,} tokens)" if asked.length else ""
            say(f"=> trained on in [[ ]]{tokens}:\n{own_text(sample)}\n")
    _end(found, asked.as_json)


def _say_before(place: str, row: Mapping[str, Any] | None) -> None:
    say(f"--- {place}")
    for name, value in (row or {}).items():
        say(f"  {name}: {_short(value)}")


def _end(found: Shown | OwnShown, as_json: bool) -> None:
    """What became of all rows, where `--json` leaves standard output to the rows alone."""
    for line in (found.tally.line(), found.lengths and found.lengths.line()):
        if line:
            typer.echo(line, err=True) if as_json else say(line)
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


def _say_row(mapped: Mapped, length: Length | None) -> None:
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
    counted = f" ({length(problem, None):,} tokens)" if length else ""
    say(f"  as the model reads it{counted}:\n{as_chat(problem)}\n")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
