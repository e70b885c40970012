"""The command on own data: `data show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
import yaml

from cascade_rl.cli.app import say
from cascade_rl.errors import InputError
from cascade_rl.run.files import dumps

if TYPE_CHECKING:
    from cascade_rl.data.show import Shown
    from cascade_rl.data.show_model import Read, Reader
    from cascade_rl.data.show_own import OwnShown
    from cascade_rl.sources.tables import Mapped

Template = Literal["cascade", "model"]
LONGEST = 400  # characters of a value on the screen; `--json` shows all


class _Asked(NamedTuple):
    """What `data show` was asked, beside the domain; `limit` is `--max-tokens`."""

    source: str
    map: str | dict[str, Any] | None
    split: str | None
    rows: int
    reader: Reader
    limit: int | None
    as_json: bool


data = typer.Typer(help="Own rows: what is in a table, and what a map makes of it.", no_args_is_help=True)


@data.command("show")
def show(
    source: Annotated[
        str, typer.Argument(help="A table, such as jsonl:train.jsonl, csv:rows/*.csv.gz or a bare path.")
    ],
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
        typer.Option(help="Read rows as this model does, and count the tokens of those shown and of all."),
    ] = None,
    template: Annotated[
        Template | None,
        typer.Option(help="Whose template: cascade, ours, or model, its own; what it was trained with."),
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
    if template is not None and model is None:
        raise InputError("--template has no effect without --model, whose template it may be")
    from cascade_rl.sources.sniff import source_of

    # a bare path, as `init` takes it; a word alone is a source that is no table, which is told below
    if ":" not in source and any(mark in source for mark in "./*"):
        source = source_of(source)
    asked = _Asked(source, _map(map), split, rows, _reader(model, template), max_tokens, as_json)
    if domain is None:
        _show_own(asked)
    else:
        _show_problems(asked, domain)


def _reader(model: str | None, template: Template | None) -> Reader:
    """How rows are read: as the model does, or by our template where none is given."""
    from cascade_rl.data.show_model import Reader

    if model is None:
        return Reader()
    from cascade_rl.model.pretrained import find_model
    from cascade_rl.model.tokenizer import load_tokenizer

    folder = find_model(model, weights=False).folder
    try:
        return Reader(load_tokenizer(folder, template=template))
    except InputError:
        # as with model.add_tokens; what is wrong otherwise is told again
        return Reader(load_tokenizer(folder, add=True, template=template))


def _show_problems(asked: _Asked, domain: str) -> None:
    """Rows as problems of a domain."""
    from cascade_rl.data import show as shown
    from cascade_rl.domains import load_domain
    from cascade_rl.recipe.tables import Reading

    reading = Reading(asked.map, asked.split, "skip")
    found = shown.show(asked.source, load_domain(domain), reading, asked.rows, asked.reader, asked.limit)
    for mapped in found.rows:
        if not asked.as_json:
            _say_row(mapped, asked.reader)
        elif mapped.problem:
            print(dumps(shown.as_json(mapped.problem)))
    _end(found, asked.as_json)


def _show_own(asked: _Asked) -> None:
    """The same of chats and pairs, whose rows hold what is trained on."""
    from cascade_rl.data.show_own import own_json, own_texts, show_own

    found = show_own(asked.source, asked.map, asked.split, asked.rows, asked.reader, asked.limit)
    for row in found.rows:
        if asked.as_json:
            if row.made is not None:
                print(dumps(own_json(row.made)))
            continue
        _say_before(row.place, row.row)
        if row.fault or row.elsewhere:
            say(f"  bad: {row.fault}\n" if row.fault else "  in another split\n")
        for read in own_texts(row.made, asked.reader) if row.made is not None else []:
            say(f"=> trained on in [[ ]]{_tokens(read)}:\n{read.text}\n")
    _end(found, asked.as_json)


def _say_before(place: str, row: Mapping[str, Any] | None) -> None:
    say(f"--- {place}")
    for name, value in (row or {}).items():
        say(f"  {name}: {_short(value)}")


def _end(found: Shown | OwnShown, as_json: bool) -> None:
    """What became of all rows, where `--json` leaves standard output to the rows alone."""
    for line in (found.tally.line(), found.lengths and found.lengths.line()):
        if line:
            print(line, file=sys.stderr) if as_json else say(line)
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


def _tokens(read: Read) -> str:
    return "" if read.tokens is None else f" ({read.tokens:,} tokens)"


def _say_row(mapped: Mapped, reader: Reader) -> None:
    _say_before(mapped.place, mapped.row)
    if mapped.problem is None:
        say(f"  {'left out' if mapped.left_out else 'bad'}: {mapped.fault}\n")
        return
    problem = mapped.problem
    say(f"=> {problem.id}, {problem.mode}, split {mapped.split or 'all'}")
    say(f"  answer: {_short(problem.answer)}")
    if problem.meta:
        say(f"  meta: {_short(dict(problem.meta))}")
    read = reader.prompt(problem)
    say(f"  as the model reads it{_tokens(read)}:\n{read.text}\n")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
