"""What RL's likeness of repairs pays for, beside difflib's ratio as it was taken before. `python bench/likeness.py`

5,400 replies to 360 repairs of the built-in generator and of larger random ones, 15 kinds of reply each. Prints for
each kind the quantiles of both measures, before any floor, and the share that a floor of one half lets through.
"""

from __future__ import annotations

import difflib
import random
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from likeness_kinds import KINDS, Repair, repairs

from cascade_rl.verify.patches.appraise import similarity

Files = Mapping[str, str]


def before_now(files: Files, given: Files, golden: Files) -> float:
    """The measure before: difflib's ratio over path and signed lines of what changes, each file's apart."""

    def changed(after: Files) -> dict[str, str]:
        found = {}
        for path in sorted(files.keys() | after.keys()):
            old, new = (side.get(path, "").split("\n") for side in (files, after))
            lines = [path]
            for tag, i, k, j, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                if tag != "equal":
                    lines += ["-" + line for line in old[i:k]] + ["+" + line for line in new[j:m]]
            if len(lines) > 1:
                found[path] = "\n".join(lines)
        return found

    a, b = changed(given), changed(golden)
    if given == golden:
        return 1.0
    blocks = [
        difflib.SequenceMatcher(None, a[p], b[p], autojunk=False).get_matching_blocks()
        for p in a.keys() & b.keys()
    ]
    size = sum(map(len, (*a.values(), *b.values())))
    return min(2 * sum(block.size for some in blocks for block in some) / size, 0.99)


def quantiles(values: list[float]) -> str:
    ordered = sorted(values)
    return " ".join(f"{ordered[round(q * (len(ordered) - 1))]:5.2f}" for q in (0.0, 0.5, 0.9, 1.0))


def main() -> None:
    rng = random.Random(0)
    drawn: list[Repair] = repairs(rng, 360)
    print(
        f"{'kind':28s} {'before: least, median, 90 %, most':>36s} {'now':>24s}   over one half: before, now"
    )
    total = 0
    for kind, reply in KINDS.items():
        given = [reply(repair, rng) for repair in drawn]
        pairs = list(zip(drawn, given, strict=True))
        old, new = ([by(r.files, after, r.golden) for r, after in pairs] for by in (before_now, similarity))
        total += len(drawn)
        over = [sum(value >= 0.5 for value in values) / len(values) for values in (old, new)]
        print(
            f"{kind:28s} {quantiles(old):>36s} {quantiles(new):>24s}   {over[0]:6.1%} {over[1]:6.1%}",
            flush=True,
        )
    print(f"{total} replies")


if __name__ == "__main__":
    main()
