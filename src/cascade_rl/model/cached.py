"""Where this package keeps what it makes once for a machine: converted models, compiled kernels."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """CASCADE_CACHE, or ~/.cache/cascade-rl; for a user without a home a folder of the temporary ones."""
    if told := os.environ.get("CASCADE_CACHE"):
        return Path(told).absolute()  # what is loaded by a bare name is looked for elsewhere
    try:
        return Path.home() / ".cache" / "cascade-rl"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cascade-rl-{os.getuid()}"
