"""Puts this folder on the import path for tests in subfolders, and runs the command line for those that ask."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import published_sets
import pytest
from hypothesis import settings

from cascade_rl.cli import app
from cascade_rl.cli import main as cli

# hypothesis ends an example after 200 ms by default: no test asserts a time
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")


@pytest.fixture
def published(monkeypatch) -> None:
    """The hub sets that shipped recipes name hold rows of their shape, made here; no hub is asked."""
    monkeypatch.setattr("cascade_rl.sources.parts.hub_rows", published_sets.rows)


@pytest.fixture
def cascade(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process, in an empty folder: (exit status, output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app.console, "width", 200)

    def call(*arguments: str, said: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cascade", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return call
