"""What lets a recipe into a run directory."""

from __future__ import annotations

import pytest

from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import InputError, RecipeChanged
from cascade_rl.run.ledger import admit, recipe_text


def test_a_recipe_that_is_not_utf8_any_more_is_shown_as_a_changed_one(tmp_path):
    recipe = load_recipe("tiny")
    (tmp_path / "recipe.yaml").write_bytes(b"# \xff\n" + recipe_text(recipe).encode())
    with pytest.raises(RecipeChanged, match="was started with another recipe"):
        admit(tmp_path, recipe, accept_changes=False)


@pytest.mark.parametrize("content", [b"a: [1", b"- 1", b"\xff\xfe", b"name: x"])
def test_what_has_changed_since_a_damaged_recipe_is_unknown(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"recipe.yaml is no (YAML|recipe) any more"):
        admit(tmp_path, load_recipe("tiny"), accept_changes=True)
    assert (tmp_path / "recipe.yaml").read_bytes() == content
