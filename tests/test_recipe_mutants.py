"""Whatever a recipe holds, it loads or is refused with messages: 5,000 mutants of those shipped and of those that init writes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from mutation import chosen
from test_init import chats, pairs, sums, write

from cascade_rl.cascade.foresight import foreseen
from cascade_rl.data.abilities import domain_problems
from cascade_rl.data.shapes import shape_of
from cascade_rl.data.suites import fill_suites
from cascade_rl.data.trial import Trial
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.errors import RecipeError
from cascade_rl.proposal.begin import begin
from cascade_rl.recipe import Recipe
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.reading import no_further, read_recipe, shipped_recipes, validate

VALUES = [
    None, True, False, 0, -1, 1, 10**30, -0.5, 0.0, 1.5, -1e300, float("nan"), float("inf"), "", "x", "1e-4", "a.b", [], [1],
    [[]], [{}], {}, {"a": 1}, {"name": 1}, [None], ["a", "a"], "thinking", {1: 2}, {None: 1},
    "~nobody", "jsonl:", "\0", "x" * 5000,
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
# Most of the mutants are of these: they have all kinds of stages, and rows that are made at once.
SMALL = ("tiny", "smollm2-135m")
WRITTEN = ("sft", "rl", "rlhf", "cascade")  # goals of `cascade init`


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with own rows of three kinds, a model, and the recipes that init writes for them."""
    here = tmp_path_factory.mktemp("own")
    files = {"chats": chats(40), "sums": sums(60), "pairs": pairs(40)}
    for name, rows in files.items():
        write(here / f"{name}.jsonl", rows)
    make_tiny(here / "model")
    needed = {"sft": ["chats"], "rl": ["sums"], "rlhf": ["pairs"], "cascade": ["chats", "sums", "pairs"]}
    for goal, names in needed.items():
        shapes = [shape_of(f"jsonl:{here / name}.jsonl") for name in names]
        (here / f"{goal}.yaml").write_text(begin(goal, goal, str(here / "model"), shapes, print))
    return here


def misspelt(key: Any, rng: random.Random) -> Any:
    """A key with a letter left out, doubled or changed; one that is no text becomes one."""
    text = str(key)
    at = rng.randrange(max(1, len(text)))
    return rng.choice(
        (text[:at] + text[at + 1 :], text[:at] + text[at : at + 1] + text[at:], text.upper(), f"{text} ")
    )


def mutate(raw: dict, rng: random.Random) -> None:
    """Change one place: another value, none, a shorter list, a number in a list, a key or an item too much, a name."""
    found = chosen(raw, rng)
    if found is None:
        return
    node, last = found
    what, value = rng.random(), copy.deepcopy(rng.choice(VALUES))
    if what < 0.55:
        node[last] = value
    elif what < 0.68:
        del node[last]
    elif what < 0.76 and isinstance(node[last], list):
        node[last] = node[last][:-1]
    elif what < 0.82:
        node[last] = [node[last]]
    elif what < 0.88 and isinstance(node[last], list) and node[last]:
        node[last].append(copy.deepcopy(node[last][0]))  # the same item twice
    elif what < 0.94 and isinstance(node, dict):
        node[misspelt(last, rng)] = node.pop(last)
    elif isinstance(node, dict):
        node[rng.choice(KEYS)] = value
    else:
        node.insert(last, value)


def mutants(name: str, base: dict, count: int) -> Iterator[dict]:
    for seed in range(count):
        rng, raw = random.Random(f"{name}/{seed}"), copy.deepcopy(base)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutate(raw, rng)
        yield raw


def judged(raw: dict, *further: Any) -> bool:
    """Whether it loads; any other exception than RecipeError fails the test that asks."""
    try:
        assert isinstance(validate(raw, "recipe", *(further or (no_further,)), fill_suites), Recipe)
    except RecipeError as error:
        assert error.problems and all(isinstance(path, str) and text for path, text in error.problems)
        return False
    return True


@pytest.mark.parametrize("name", BASES)
def test_a_mutant_loads_or_is_refused(name):
    # long lists of entries that must fit each other leave few harmless changes
    count, few = (1000, 50) if name in SMALL else (100, 0)
    found = [judged(raw) for raw in mutants(name, BASES[name], count)]
    assert few < sum(found) < 0.7 * count, "some changes do no harm, most do"


@pytest.mark.parametrize("goal", WRITTEN)
def test_so_does_one_of_a_recipe_that_init_wrote(own, goal):
    base = yaml.safe_load((own / f"{goal}.yaml").read_text())
    assert judged(base)
    found = [judged(raw) for raw in mutants(goal, base, 550)]
    assert 10 < sum(found) < 300


@pytest.mark.parametrize("goal", WRITTEN)
def test_also_where_rows_and_model_are_asked(own, goal, monkeypatch, tmp_path):
    """Its rows through their maps, its domains, and its model's config and tokenizer."""
    monkeypatch.chdir(tmp_path)
    base = yaml.safe_load((own / f"{goal}.yaml").read_text())
    model = foreseen(Recipe.model_validate(base), Trial({}, (), [], ()))
    assert not model.problems and judged(base, domain_problems)

    def further(recipe: Recipe, whole: bool) -> Any:
        return domain_problems(recipe, whole) + foreseen(recipe, Trial({}, (), [], ())).problems

    assert sum(judged(raw, further) for raw in mutants(f"{goal}, asked", base, 50))


@pytest.mark.parametrize(("name", "count"), [*((name, 100) for name in SMALL), ("qwen3-0.6b", 25)])
def test_also_where_its_domains_are_asked(name, count, tmp_path, monkeypatch, published):
    monkeypatch.chdir(tmp_path)
    assert sum(judged(raw, domain_problems) for raw in mutants(name, BASES[name], count))


def test_a_mutant_of_the_text_loads_or_is_refused(own, tmp_path):
    """Lines left out, doubled, moved in or out, cut, and letters changed: 400 of them, through the file."""
    path, loaded = tmp_path / "r.yaml", 0
    texts = [found.read_text() for found in shipped_recipes().values()]
    texts += [(own / f"{goal}.yaml").read_text() for goal in WRITTEN]
    for seed in range(400):
        rng = random.Random(f"text/{seed}")
        lines = rng.choice(texts).splitlines()
        at, what = rng.randrange(len(lines)), rng.randrange(6)
        line = lines[at]
        cut = rng.randrange(len(line) + 1)
        mark = rng.choice("{}[]:*&#!|>%@`'\"\t\x07")
        changes = (
            [],
            [line, line],
            ["  " + line],
            [line[1:]],
            [line[:cut]],
            [line[:cut] + mark + line[cut:]],
        )
        lines[at : at + 1] = changes[what]
        path.write_text("\n".join(lines))
        try:
            loaded += isinstance(read_recipe(str(path), fill=fill_suites), Recipe)
        except RecipeError as error:
            assert error.problems and "Traceback" not in str(error)
    assert 50 < loaded < 350


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nname: b\n", "'name' stands twice, first in line 1"),
        ("name: a\nstages:\n  - {name: x, kind: sft, name: y}\n", "'name' stands twice, first in line 3"),
        ("name: &a [*a]\n", "Circular reference"),
        ("name: " + "[" * 3000, "nested too deeply"),
    ],
)  # fmt: skip
def test_yaml_that_would_lose_a_value_or_never_end(tmp_path, text, told):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=told):
        read_recipe(str(tmp_path / "r.yaml"))


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
