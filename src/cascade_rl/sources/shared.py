"""The sources that every domain shares: a row added here is a source of them all."""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.domain import Maker
from cascade_rl.recipe.tables import FORMS
from cascade_rl.sources.tables import from_table

# a path may be a glob
SHARED: Mapping[str, Maker] = dict.fromkeys(FORMS, from_table)
