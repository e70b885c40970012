"""The command line: one table of commands, and the one place where errors become messages."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from cascade_rl.cli import (
    compare,
    doctor,
    evaluate,
    export,
    graders,
    init,
    models,
    plan,
    progress,
    recipes,
    runs,
    serving,
    tracking,
)
from cascade_rl.cli.app import app
from cascade_rl.cli.data import data
from cascade_rl.cli.verl_cluster import verl
from cascade_rl.errors import Mendable

# In the order of `cascade --help`. What a command needs is imported inside it, so that help and mistakes are
# quick and that grading needs no torch.
COMMANDS: Mapping[str, Callable[..., None]] = {
    "init": init.init,
    "plan": plan.plan,
    "run": runs.run,
    "status": progress.status,
    "report": progress.report,
    "track": tracking.track,
    "export": export.export,
    "eval": evaluate.evaluate,
    "compare": compare.compare,
    "chat": models.chat,
    "serve": serving.serve,
    "domains": models.domains,
    "benchmarks": models.benchmarks,
    "grade": graders.grade,
    "regrade": graders.regrade,
    "check": recipes.check,
    "doctor": doctor.doctor,
}

for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(data, name="data")
app.add_typer(verl, name="verl")


def main() -> None:
    """Run the command line; an error that a user can mend becomes one message and its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # ASCII or latin-1, as in some logs: an arrow that can't be written must not end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # A domain by dotted path may lie where the command is given; last, so that no file there hides a package.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    # OSError: a full disk, a file that can't be read; its text names the path
    except (Mendable, OSError) as error:
        shown = Console(stderr=True)
        shown.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.status if isinstance(error, Mendable) else Mendable.status)


if __name__ == "__main__":
    main()
