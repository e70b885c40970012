"""The commands chat; domains and benchmarks, which tell what can be trained and asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import Checkpoint, WrittenBy, console
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.errors import InputError
from cascade_rl.protocols import Sampling, SamplingRule


def model_folder(name: str) -> Path:
    """The directory of a model that a command was given; says what had to be fetched for it."""
    from cascade_rl.model.pretrained import find_model

    with ConsoleScreen(console) as screen:
        return find_model(name, note=screen.note, waiting=screen.waiting).folder


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


def benchmarks() -> None:
    """List the published benchmarks: size, samples, mode, licence, and whether their rows are here."""
    from cascade_rl.benchmarks import REPORT, benchmark_names, load_benchmark
    from cascade_rl.data.suites import protocol, where_found
    from cascade_rl.recipe.scoring import BenchmarkSpec

    table = Table("benchmark", box=None, pad_edge=False, show_edge=False)
    table.add_column("n", justify="right")
    table.add_column("k", justify="right")
    for name in ("mode", "what is asked", "rows"):
        table.add_column(name)
    for name in benchmark_names():
        found = load_benchmark(name)
        spec: BenchmarkSpec = BenchmarkSpec.model_validate(protocol(found))
        table.add_row(
            f"{name}*" if name in REPORT else name,
            str(found.size),
            str(found.k),
            str(found.mode),
            found.summary,
            where_found(found, spec),
        )
    table.caption = "* in the report's table. Licences, metrics, data: docs/benchmarks.md"
    table.caption_justify = "left"
    console.print(table)
