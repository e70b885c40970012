"""One self-contained page from a run directory."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.report.page import render
from cascade_rl.report.read import read_run
from cascade_rl.report.retention import run_verdict
from cascade_rl.run.files import write_text

__all__ = ["summary_line", "write_report"]


def summary_line(run_dir: Path) -> str:
    """The page's one line on forgetting, for the terminal."""
    return f"{run_verdict(read_run(Path(run_dir)))[0]}."


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html, whole or not at all, and return its path; the run may still be in progress."""
    target = Path(run_dir) / "report.html"
    write_text(target, render(read_run(Path(run_dir))))
    return target
