"""The commands on a checkpoint: eval, chat; and domains, which tells what can be asked of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import Overrides, Unsafe, WrittenBy, console, say
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.errors import InputError
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.types import BenchmarkScore

if TYPE_CHECKING:
    from cascade_rl.domain import HeldOut


Checkpoint = Annotated[
    str,
    typer.Argument(
        help="A checkpoint directory, such as runs/tiny/stages/04-rlhf/checkpoint; or any model: "
        "ORG/NAME@REVISION on a hub, a GGUF file."
    ),
]


def model_folder(name: str) -> Path:
    """The directory of a model that a command was given; says what had to be fetched for it."""
    from cascade_rl.model.pretrained import find_model

    with ConsoleScreen(console) as screen:
        return find_model(name, note=screen.note, waiting=screen.waiting).folder


def evaluate(
    checkpoint: Checkpoint,
    recipe: Annotated[str, typer.Option(help="The recipe whose benchmarks are run.")] = "tiny",
    overrides: Overrides = None,
    benchmark: Annotated[list[str] | None, typer.Option(help="Only this benchmark; may be repeated.")] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option(
            help="What judges own pairs; that of the run which the checkpoint lies in if not given."
        ),
    ] = None,
    unsafe_exec: Unsafe = False,
) -> None:
    """Score a checkpoint on the held-out problems of a recipe's benchmarks, in both modes."""
    from cascade_rl.cascade.evaluate import evaluate_checkpoint
    from cascade_rl.data.abilities import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    with ConsoleScreen(console) as screen:
        found = list(
            evaluate_checkpoint(
                checkpoint,
                resolved,
                benchmark or [],
                reward_model=reward_model,
                begun=_say_begun,
                note=screen.note,
                waiting=screen.waiting,
                unsafe_exec=unsafe_exec,
            )
        )
    console.print(_score_table({one.name: one.score for one in found}))
    for one in found:
        if one.judged:
            say(one.judged.line(one.name))


def _say_begun(benchmark: HeldOut) -> None:
    for tally in benchmark.tallies:
        say(f"{benchmark.name}: {tally.line()}")
    console.print(f"{benchmark.name}: {len(benchmark.problems)} problems, k = {benchmark.spec.k} ...")


def _score_table(scores: Mapping[str, BenchmarkScore]) -> Table:
    """A row for each benchmark and mode, in per cent."""
    table = Table("benchmark", "mode", "avg@k", "95 %", "greedy", "leak", "clipped", "tokens", box=None)
    for name, found in scores.items():
        for mode, m in found.modes.items():
            table.add_row(
                f"{name}*" if mode is found.headline else name,
                str(mode),
                f"{m.average.mean * 100:.1f}",
                f"{m.average.low * 100:.1f}-{m.average.high * 100:.1f}",
                f"{m.greedy.mean * 100:.1f}" if m.greedy else "",
                f"{m.leak:.1%}",
                f"{m.clipped:.1%}",
                f"{m.mean_tokens:.0f}",
            )
    table.caption = "* the headline mode"
    return table


def chat(
    checkpoint: Checkpoint,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest reply, in tokens.")] = 256,
    # 0.6 and 0.95: the sampling of the report's evaluation (arXiv 2512.13607, appendix B)
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling.")] = 0.95,
    min_p: Annotated[
        float, typer.Option(help="Keep tokens at least this share as likely as the likeliest; 0 is off.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal replies.")] = 0,
    template: WrittenBy = None,
) -> None:
    """Talk to a checkpoint. End a turn with /think or /no_think to switch the mode; an empty line ends."""
    from cascade_rl.cli.talk import chat_loop

    _refuse_senseless(temperature, top_p, min_p)
    sampling = Sampling(1, max_new_tokens, SamplingRule(temperature, top_p, min_p=min_p))
    chat_loop(model_folder(checkpoint), console, sampling, seed, template)


def _refuse_senseless(temperature: float, top_p: float, min_p: float) -> None:
    """Raise InputError, which names the option, for values that no sampling can follow, NaN among them."""
    wanted = {
        "--temperature": (temperature, 0 <= temperature < math.inf, "0 or more"),
        "--top-p": (top_p, 0 < top_p <= 1, "above 0, up to 1"),
        "--min-p": (min_p, 0 <= min_p <= 1, "from 0 to 1"),
    }
    for option, (value, possible, text) in wanted.items():
        if not possible:
            raise InputError(f"{option} must be {text} (got {value})")


def domains() -> None:
    """List the domains that the package ships, with their sources."""
    from cascade_rl.domains import domain_names, load_domain

    table = Table("domain", "what it asks", "headline mode", "sources", box=None)
    for name in domain_names():
        domain = load_domain(name)
        table.add_row(name, domain.summary, str(domain.headline), ", ".join(domain.sources))
    console.print(table)
