"""Where this package keeps what it makes once for a machine: converted models, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """CASCADE_CACHE, or ~/.cache/cascade-rl."""
    return Path(os.environ.get("CASCADE_CACHE") or Path.home() / ".cache" / "cascade-rl")
