"""The command on a recipe: check."""

from __future__ import annotations

from cascade_rl.cli.app import Overrides, RecipeArgument, Smoke, say


def check(recipe: RecipeArgument, overrides: Overrides = None, smoke: Smoke = False) -> None:
    """Validate a recipe, print it with every key filled in, and explain what each stage will do."""
    # with its domains: a recipe alone does not know what they can do
    from cascade_rl.data.abilities import load_recipe, table_notes
    from cascade_rl.recipe.explain import explain
    from cascade_rl.run.ledger import recipe_text

    resolved = load_recipe(recipe, overrides or [], smoke_test=smoke)
    found: tuple[str, ...] = ()
    if resolved.model.init != "scratch":
        # imports torch, which a recipe that begins from scratch needs not wait for
        from cascade_rl.cascade.foresight import foresee

        found = foresee(resolved, prompts=True)
    say(recipe_text(resolved))
    say(explain(resolved))
    for line in (*found, *table_notes(resolved)):
        say(line)
