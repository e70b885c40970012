"""What lets a recipe into a run directory."""

from __future__ import annotations

import pytest

from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import RecipeChanged
from cascade_rl.run.ledger import admit, recipe_text


def test_a_recipe_that_is_not_utf8_any_more_is_shown_as_a_changed_one(tmp_path):
    recipe = load_recipe("tiny")
    (tmp_path / "recipe.yaml").write_bytes(b"# \xff\n" + recipe_text(recipe).encode())
    with pytest.raises(RecipeChanged, match="was started with another recipe"):
        admit(tmp_path, recipe, accept_changes=False)
