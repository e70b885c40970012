"""What the README and the guides show is true: commands exist, recipes load, code runs, links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import typer.main

from cascade_rl.cli.main import app
from cascade_rl.data.abilities import load_recipe
from cascade_rl.domain import Domain
from cascade_rl.recipe.reading import shipped_recipes
from cascade_rl.types import Split

sys.path.insert(0, str(Path(__file__).parent.parent))
from docs.floors import FLOORS
from docs.floors import ROOT as PACKAGE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^(?:\.venv/bin/)?cascade .*$", README, re.MULTILINE)))


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_one_that_the_program_takes(line):
    words = shlex.split(line.partition("#")[0])[1:]
    command = typer.main.get_command(app).commands[words[0]]
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    assert context.command.name == words[0]
    # what a user's own recipe holds, `cascade init` writes: tests/test_init.py
    if words[0] in ("run", "check") and context.params["recipe"] != "my.yaml":
        load_recipe(
            context.params["recipe"], context.params["overrides"] or [], smoke_test=context.params["smoke"]
        )


def test_readme_shows_the_commands():
    assert {line.split()[1] for line in COMMANDS} == set(typer.main.get_command(app).commands)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z0-9]+)", README)) <= targets


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_example_domain_of_the_guide_works():
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/domains.md").read_text(), re.DOTALL).group(1)
    names: dict = {}
    exec(code, names)
    domain = names["DOMAIN"]
    assert isinstance(domain, Domain)
    problem = next(domain.problems("builtin", Split.SFT, 0))
    word = problem.prompt_text.split()[-1].rstrip(".")
    assert problem.answer == "".join(reversed(word)) and problem.answer in domain.gold(problem)


def test_recipe_guide_names_every_key():
    from cascade_rl import recipe as r

    guide = (ROOT / "docs/recipe.md").read_text()
    blocks = (
        r.SFTStage,
        r.RewardModelStage,
        r.RLStage,
        r.SFTData,
        r.RLData,
        r.BenchmarkSpec,
        r.Gate,
        r.PreflightSpec,
        r.JudgeSpec,
        r.Track,
        r.Verl,
    )
    missing = {key for block in blocks for key in block.model_fields if not re.search(rf"\b{key}\b", guide)}
    assert missing == set()


def test_every_shipped_recipe_is_mentioned():
    assert all(name in README for name in shipped_recipes())


TREE = re.search(r"## What is where\n.*?```\n(.*?)```", README, re.DOTALL).group(1)


def tree():
    """(floor, path below the package, phrase) of each line that names something; folders end with a slash."""
    floor, above = 0, []
    for line in TREE.splitlines():
        if heading := re.fullmatch(r"floor (\d): \S.*", line):
            floor = int(heading.group(1))
        elif entry := re.fullmatch(r"((?:  )+)(\S+) {2,}(\S.*)", line):
            above = above[: len(entry.group(1)) // 2 - 1]
            yield floor, "".join([*above, entry.group(2)]), entry.group(3)
            above += [entry.group(2)] if entry.group(2).endswith("/") else []
        else:
            assert line in ("", "src/cascade_rl/"), line


def only_marks_a_folder(path):
    """Whether a file is the `__init__.py` of a room and holds no more than what it is for."""
    if path.name != "__init__.py":
        return False
    nodes = ast.parse(path.read_text()).body
    return all(isinstance(n, ast.Expr) or getattr(n, "module", "") == "__future__" for n in nodes)


def test_the_tree_names_every_file_once_and_nothing_else():
    there = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    files = {str(p.relative_to(PACKAGE)) for p in there if not only_marks_a_folder(p)}
    folders = {f"{p.parent.relative_to(PACKAGE)}/" for p in there} - {"./"}
    named = [path for _, path, _ in tree()]
    assert len(named) == len(set(named))
    assert files | folders == set(named)


def test_the_tree_stands_on_the_floors_of_the_house():
    rooms = defaultdict(set)
    for floor, path, _ in tree():
        rooms[floor].add(path.split("/")[0].removesuffix(".py"))
    assert rooms.pop(0) == {"__init__", "__main__", "py.typed", "recipes"}
    assert dict(rooms) == {number: set(names) for number, names in enumerate(FLOORS, 1)}
    assert list(rooms) == sorted(rooms, reverse=True)


def test_the_tree_can_be_read_at_a_glance():
    assert not [line for line in TREE.splitlines() if len(line) > 110]
    phrases = [phrase for _, _, phrase in tree()]
    assert len(phrases) == len(set(phrases)), "two files are told alike"
    bare = [
        (path, phrase) for _, path, phrase in tree() if phrase.lower() == Path(path).stem.replace("_", " ")
    ]
    assert not bare
