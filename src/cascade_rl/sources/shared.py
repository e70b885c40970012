"""The sources that every domain shares: a row added here is a source of them all."""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.domain import Maker
from cascade_rl.sources.rows import from_file

SHARED: Mapping[str, Maker] = {"file:PATH": from_file}
