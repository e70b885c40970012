"""The house, drawn: floors, rooms, and how many imports lead from a room to others; `python -m docs.floors`.

A module imports from lower floors and from its own room. Whatever does not is listed as an arrow upward.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "cascade_rl"
FLOORS = (
    ("types", "errors"),
    ("chat", "protocols", "recipe"),
    ("domain", "verify", "sandbox", "remote", "run", "scores", "testing"),
    ("sources", "grading", "model", "report"),
    ("domains", "benchmarks", "rollout"),
    ("data", "train", "evals", "serve", "backends", "plan"),
    ("cascade", "doctor", "proposal"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}


def room(path: Path) -> str:
    """The part of the package that a file belongs to: a folder or a single file at the top."""
    name = path.relative_to(ROOT).parts[0].removesuffix(".py")
    # what `python -m cascade_rl` begins with is a door of the command line, not a room
    return "cli" if name == "__main__" else name


def modules(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere, lazily too, below `cascade_rl.`; no relative ones."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("cascade_rl.") for name in found if name.startswith("cascade_rl.")}
    return {_module(name) for name in ours} - {"", "__version__"}


def _module(name: str) -> str:
    """The module of a dotted name whose last part may be something in it."""
    place = ROOT / name.replace(".", "/")
    return name if place.is_dir() or place.with_suffix(".py").is_file() else name.rpartition(".")[0]


def arrows() -> dict[tuple[str, str], int]:
    """(room, other room that it imports from) to the number of imports."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for path in sorted(ROOT.rglob("*.py")):
        for name in modules(path):
            if (other := name.split(".")[0]) != room(path):
                found[room(path), other] += 1
    return found


def main() -> None:
    """Draw it."""
    drawn = arrows()
    for number, rooms in reversed(list(enumerate(FLOORS, 1))):
        print(f"floor {number}: {', '.join(rooms)}")
        for name in rooms:
            down = [f"{other} {count}" for (mine, other), count in sorted(drawn.items()) if mine == name]
            print(f"    {name} -> {', '.join(down) or 'nothing'}")
    upward = [pair for pair in drawn if FLOOR[pair[1]] >= FLOOR[pair[0]]]
    print(f"{len(FLOOR)} rooms on {len(FLOORS)} floors, {len(drawn)} arrows, {len(upward)} upward")
    for mine, other in upward:
        print(f"upward: {mine} -> {other}")


if __name__ == "__main__":
    main()
