"""Whatever a recipe holds, it loads or is refused with messages: two thousand mutants of the shipped ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cascade_rl.data.abilities import domain_problems
from cascade_rl.errors import RecipeError
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.reading import read_recipe, shipped_recipes, validate

VALUES = [
    None, True, False, 0, -1, 1, 10**30, -0.5, 0.0, 1.5, float("nan"), float("inf"), "", "x", "1e-4", "a.b", [], [1],
    [[]], [{}], {}, {"a": 1}, {"name": 1}, [None], ["a", "a"], "thinking", {1: 2}, {None: 1},
]  # fmt: skip
KEYS = [
    "kind",
    "name",
    "data",
    "steps",
    "mode",
    "domain",
    "defaults",
    "model",
    "curriculum",
    "filter",
    "x",
    1,
    None,
]
BASES = {name: yaml.safe_load(path.read_text()) for name, path in shipped_recipes().items()}


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value below a node."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def mutate(raw: dict, rng: random.Random) -> None:
    """Change one place: another value, none, a shorter list, a number in a list, a key or an item too much."""
    found = list(places(raw))
    if not found:
        return
    *parents, last = rng.choice(found)
    node: Any = raw
    for key in parents:
        node = node[key]
    what, value = rng.random(), copy.deepcopy(rng.choice(VALUES))
    if what < 0.6:
        node[last] = value
    elif what < 0.75:
        del node[last]
    elif what < 0.85 and isinstance(node[last], list):
        node[last] = node[last][:-1]
    elif what < 0.9:
        node[last] = [node[last]]
    elif isinstance(node, dict):
        node[rng.choice(KEYS)] = value
    else:
        node.insert(last, value)


def mutants(name: str, count: int) -> Iterator[dict]:
    for seed in range(count):
        rng, raw = random.Random(f"{name}/{seed}"), copy.deepcopy(BASES[name])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutate(raw, rng)
        yield raw


def judged(raw: dict, *further: Any) -> bool:
    """Whether it loads; any other exception than RecipeError fails the test that asks."""
    try:
        assert isinstance(validate(raw, "recipe", *further), Recipe)
    except RecipeError as error:
        assert error.problems and all(isinstance(path, str) and text for path, text in error.problems)
        return False
    return True


@pytest.mark.parametrize("name", BASES)
def test_a_mutant_loads_or_is_refused(name):
    found = [judged(raw) for raw in mutants(name, 1000)]
    assert 50 < sum(found) < 500, "some changes do no harm, most do"


@pytest.mark.parametrize("name", BASES)
def test_also_where_its_domains_are_asked(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sum(judged(raw, domain_problems) for raw in mutants(name, 100))


@pytest.mark.parametrize(
    ("override", "path", "text"),
    [
        ("stages.sft-1.betas=[0.9]", "stages.sft-1.betas.1", "missing"),
        ("defaults.sft=5", "defaults.sft", "must be a block of settings (got 5)"),
        ("defaults.sft=[lr]", "defaults.sft", "must be a block of settings (got ['lr'])"),
        ("stages.sft-1.kind=[]", "stages.sft-1", "tag '[]' found using 'kind'"),
        ("stages.sft-1.kind={}", "stages.sft-1", "tag '{}' found using 'kind'"),
    ],
)
def test_what_users_wrote(override, path, text):
    with pytest.raises(RecipeError) as told:
        read_recipe("tiny", [override])
    [(where, what)] = told.value.problems
    assert where == path and text in what


def test_a_recipe_that_is_no_text(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_recipe(str(tmp_path / "r.yaml"))


def test_overrides_reach_names_with_dots():
    raw = copy.deepcopy(BASES["tiny"])
    raw["stages"][0]["data"][2]["domain"] = "my_lab.sums"
    raw["stages"][0]["data"].append({"domain": "my_lab"})
    apply_override(raw, "stages.sft-1.data.my_lab.sums.weight=9")
    apply_override(raw, "stages.sft-1.data.my_lab.weight=2")
    data = raw["stages"][0]["data"]
    assert (data[2]["weight"], data[-1]["weight"]) == (9, 2)
    apply_override(raw, "stages.sft-1.data.my_lab.sums={domain: maths}")
    assert data[2] == {"domain": "maths"}
    with pytest.raises(
        ValueError, match=r"stages\.sft-1\.data\.your_lab: no 'your_lab' here; there are alignment"
    ):
        apply_override(raw, "stages.sft-1.data.your_lab.sums.weight=9")
