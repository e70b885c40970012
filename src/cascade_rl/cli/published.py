"""Published benchmarks on a model, for the command eval."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascade_rl.cli.answering import comparer_of, machine_of, served_of
from cascade_rl.cli.app import console, say
from cascade_rl.cli.eval_options import Given
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.cli.suite_table import show
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.domain import HeldOut
    from cascade_rl.evals.suite import Measured


def score_on_suite(given: Given) -> None:
    """Measure the benchmarks of `--suite` into the folder of results, and show them."""
    from cascade_rl.benchmarks import suite_names
    from cascade_rl.cascade.suite import Told, measure_suite
    from cascade_rl.data.suites import suite_specs

    folder = given.out or _results_folder(given.model)
    machine, served, comparer = machine_of(given), served_of(given), comparer_of(given)
    specs = suite_specs(suite_names(given.suite or ""), given.overrides or [], _sources(given.data or []))
    with ConsoleScreen(console) as screen:
        found = measure_suite(
            given.model,
            specs,
            folder,
            Told(screen, _say_begun),
            machine=machine,
            served=served,
            comparer=comparer,
            seed=given.seed,
            unsafe=given.unsafe_exec,
            ray=given.ray,
        )
        show(list(_heard(found)), folder)


def regrade_on_suite(given: Given) -> None:
    """Judge the replies in the folder of results anew, and show what became of them."""
    from cascade_rl.benchmarks import suite_names
    from cascade_rl.cascade.suite import Told, regrade_suite

    folder, names = given.out or _results_folder(given.model), suite_names(given.suite or "")
    with ConsoleScreen(console) as screen:
        told = Told(screen, _say_begun)
        found = list(_heard(regrade_suite(folder, names, told, unsafe=given.unsafe_exec, ray=given.ray)))
    for one in found:
        say(f"{one.name}: {one.changed} of {one.samples} verdicts are others than before")
    show(found, folder)


def _heard(found: Iterable[Measured]) -> Iterator[Measured]:
    """The same, each told of when it is done."""
    for one in found:
        if one.failed:
            say(f"  {one.failed} of {one.samples} verdicts failed and count as wrong")
        if any(one.requests.values()):
            told = (f"{count:,} {name.replace('_', ' ')}" for name, count in one.requests.items() if count)
            say(f"  the server: {', '.join(told)}")
        yield one


def _sources(data: Sequence[str]) -> dict[str, str]:
    """`NAME=SOURCE`s; InputError for what is none."""
    found = {}
    for text in data:
        name, equals, source = text.partition("=")
        if not equals or ":" not in source:
            raise InputError(f"--data {text}: want NAME=SOURCE, such as aime25=jsonl:rows.jsonl")
        found[name] = source
    return found


def _results_folder(model: str) -> Path:
    """Where a model's results lie if nobody says: a folder named by the model's own last parts."""
    parts = [part for part in re.split(r"[/\\#]+", model.rstrip("/")) if part not in ("", ".", "..")]
    if parts[-1:] == ["checkpoint"]:
        # RUN/stages/NN-NAME/checkpoint
        parts = [parts[-4], parts[-2]] if len(parts) >= 4 else parts[:-1]
    return Path("evals") / (re.sub(r"[^\w.@-]+", "-", "-".join(parts[-2:])).strip("-.") or "model")


def _say_begun(held: HeldOut, kept: int) -> None:
    spec, count = held.spec, len(held.problems)
    beside = [text for tally in held.tallies for text in tally.beside]
    modes = " and ".join(map(str, held.modes))
    there = f"; {kept} of its replies are stored already" if kept else ""
    drawn = f"temperature {spec.temperature:g}, at most {spec.max_response_tokens} tokens"
    say("; ".join([f"{held.name}: {count} problems, k = {spec.k}, {modes}, {drawn}{there}", *beside]))
