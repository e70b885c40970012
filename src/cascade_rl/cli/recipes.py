"""The command on a recipe: check."""

from __future__ import annotations

from cascade_rl.cli.app import Overrides, RecipeArgument, Smoke, say


def check(recipe: RecipeArgument, overrides: Overrides = None, smoke: Smoke = False) -> None:
    """Validate a recipe, print it with every key filled in, and explain what each stage will do."""
    # with its domains: a recipe alone does not know what they can do
    from cascade_rl.data.abilities import load_recipe, table_notes
    from cascade_rl.errors import RecipeError
    from cascade_rl.recipe.explain import explain
    from cascade_rl.run.ledger import recipe_text
    from cascade_rl.run.tracking.targets import missing_packages

    resolved = load_recipe(recipe, overrides or [], smoke_test=smoke)
    if missing := missing_packages(resolved.track):
        raise RecipeError(recipe, missing)
    if resolved.model.init != "scratch":
        # imports torch, which a recipe that begins from scratch needs not wait for
        from cascade_rl.cascade.foresight import foresee, way_of

        resolved = foresee(resolved, prompts=True, note=say)
        say(way_of(resolved))
    say(recipe_text(resolved))
    say(explain(resolved))
    for line in table_notes(resolved):
        say(line)
