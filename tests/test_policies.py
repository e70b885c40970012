"""The policy pages can't promise what no test holds: every rule of them ends with the names of its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGES = ("maths", "choice", "coding", "swe", "tools")
REFERENCE = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def rules(text: str) -> list[str]:
    """The items of all lists of a page, each with the lines that go on with it."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("- "):
            found.append(line)
        elif line.startswith("  ") and found and found[-1]:
            found[-1] += " " + line.strip()
        else:
            found.append("")
    return [rule for rule in found if rule]


@cache
def names_in(name: str) -> frozenset[str]:
    [path] = HERE.rglob(name)
    return frozenset(n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))


def policy(page: str) -> list[str]:
    """The rules under the heading `## Policy` of a page."""
    text = (HERE.parent / "docs" / f"{page}.md").read_text()
    return rules(text.partition("\n## Policy\n")[2])


@pytest.mark.parametrize("page", PAGES)
def test_every_rule_names_tests_that_exist(page):
    found = policy(page)
    assert len(found) >= 10
    untested = [rule for rule in found if not REFERENCE.search(rule)]
    assert untested == []
    missing = [
        f"{name}::{test}"
        for rule in found
        for name, test in REFERENCE.findall(rule)
        if not list(HERE.rglob(name)) or test not in names_in(name)
    ]
    assert missing == []
