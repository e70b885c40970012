"""The commands that look at a run: status, report."""

from __future__ import annotations

from cascade_rl.cli.app import RunArgument, console
from cascade_rl.errors import InputError


def status(run_dir: RunArgument) -> None:
    """Show how far a run is, what each stage scored, and the gate's verdicts."""
    from cascade_rl.report.status import run_status
    from cascade_rl.report.terminal import StatusTable

    console.print(StatusTable(run_status(run_dir)))


def report(run_dir: RunArgument) -> None:
    """Write RUN/report.html, one self-contained page, and show where the time went; also of a run at work."""
    from cascade_rl.report import write_report
    from cascade_rl.report.read import read_run, require_run
    from cascade_rl.report.terminal import speed_table

    if not run_dir.is_dir():
        raise InputError(f"there is no run directory {run_dir}")
    require_run(run_dir)
    if (table := speed_table(read_run(run_dir))).row_count:
        console.print(table)
    console.print(f"Report: {write_report(run_dir)}", soft_wrap=True)
