"""What the job's manifest says to the files beside this one, and where a start of the job logs."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

JOB = Path(__file__).resolve().parent.parent
MARK = "CASCADE_VERL_ATTEMPT"  # the variable that names the folder of this start


@lru_cache(maxsize=1)
def settings() -> dict[str, Any]:
    """The part of manifest.json that is meant for these files."""
    found: dict[str, Any] = json.loads((JOB / "manifest.json").read_text(encoding="utf-8"))["inside"]
    return found


def attempt() -> Path | None:
    """The folder of this start; None where verl's classes are used without one, as a check does."""
    named = os.environ.get(MARK)
    return Path(named) if named else None
