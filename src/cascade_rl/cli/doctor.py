"""The command on this machine, and on a model in it: doctor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.app import WrittenBy, say
from cascade_rl.errors import InputError, Mendable, SandboxUnavailable
from cascade_rl.sandbox.levels import ISOLATING

if TYPE_CHECKING:
    from cascade_rl.doctor.machine import SandboxReport


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            help="A model (a directory, ORG/NAME@REVISION on a hub, a GGUF file): run the conformance checks "
            "on it as well."
        ),
    ] = None,
    template: WrittenBy = None,
) -> None:
    """Show how strongly programs are kept in here and what computes; check a model for known failures."""
    from cascade_rl.doctor.machine import kernels_line, sandbox_report

    if model is None and template is not None:
        raise InputError("--template has no effect without --model; remove it")
    machine = sandbox_report()
    for line in _lines(machine):
        say(line)
    say(kernels_line())
    well = machine.well
    if model is not None:
        from cascade_rl.cli.models import model_folder
        from cascade_rl.doctor.checks import model_report, route_of

        folder = model_folder(model)
        say(route_of(folder))
        for row in model_report(folder, template):
            well = well and row.passed
            say(f"{'ok    ' if row.passed else 'FAILED'}  {row.failure}: {row.detail}")
    if not well:
        # a machine that isolates nothing has a status of its own, for scripts
        raise typer.Exit(SandboxUnavailable.status if machine.refusal else Mendable.status)


def _lines(found: SandboxReport) -> Iterator[str]:
    if found.standing is None or found.tested is None:
        yield f"sandbox: none of the levels {', '.join(ISOLATING)} works; code is refused"
        yield found.refusal
        return
    yield f"{found.standing.line}; {found.tested.line}"
    yield from (f"  {text}" for text in found.standing.advice)
    for name, runs in found.programs.items():
        yield f"  {name}: {'runs' if runs else 'refused, needs level full'}"
