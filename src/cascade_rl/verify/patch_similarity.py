"""How alike two changes of the same files are, by their removed and added lines.

Context doesn't count, so that copying it earns nothing (SWE-RL compares whole files or hunks); lines count
only under the file that they belong to; two changes that change nothing have nothing in common.
"""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.verify.patch_matching import OverBudget, common, matches, opcodes

LONGEST_BY_CHARACTER = 8_000  # characters of both changes together; longer ones are compared line by line
NEARLY = 0.99  # the most that a change earns which is not the golden one

Changes = dict[str, list[str]]


def changed_lines(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """The removed and added lines of each file that differs, with their signs; no context, no positions."""
    found: Changes = {}
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) == after.get(path):
            continue
        old, new = before.get(path, "").split("\n"), after.get(path, "").split("\n")
        found[path] = []
        for tag, i, k, j, m in opcodes(old, new):
            if tag != "equal":
                found[path] += ["-" + line for line in old[i:k]] + ["+" + line for line in new[j:m]]
    return found


def lexical_similarity(given: Changes, golden: Changes) -> float:
    """difflib's ratio of two changes, in [0, 1]; 1 only for equal ones.

    By character up to `LONGEST_BY_CHARACTER`, by line above or when the budget is used up; texts that are too
    dear even so are compared as bags of lines, which is an upper bound. Right lines in the wrong file are
    like nothing.
    """
    if given == golden:
        return 1.0 if golden else 0.0
    given, golden = ({path: [path, *lines] for path, lines in side.items()} for side in (given, golden))
    pairs = [(given[path], golden[path]) for path in sorted(given.keys() & golden.keys())]
    texts = ["\n".join(lines) for side in (given, golden) for lines in side.values()]
    # of all files of both sides, also those that the other does not touch: they count as unlike
    size = sum(map(len, texts))
    if size <= LONGEST_BY_CHARACTER:
        try:
            return 2 * sum(matches("\n".join(a), "\n".join(b)) for a, b in pairs) / size
        except OverBudget:
            pass
    size = sum(text.count("\n") + 1 for text in texts)
    try:
        shared = sum(matches(a, b) for a, b in pairs)
    except OverBudget:
        shared = sum(common(a, b) for a, b in pairs)
    return min(2 * shared / size, NEARLY)
