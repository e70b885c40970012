r"""No regular expression of ours takes more than linear time: none is slowed down by texts made from its own parse tree.

A reply is graded in the event loop, so a quadratic pattern there stops a whole run; `"answer" + "=" * 4000 + "!"` once took
0.65 s. What is measured is how the processor's time grows as a text doubles, not how long it takes. About 20 s on one core.
"""

import re
import time
from itertools import islice

import pytest
from pattern_attacks import attacks, modules_of, patterns

HELD = (
    "cascade_rl.chat", "cascade_rl.domains", "cascade_rl.grading", "cascade_rl.verify.instructions",
    "cascade_rl.verify.comparison",
    "cascade_rl.verify.choice.letters", "cascade_rl.verify.choice.forms", "cascade_rl.verify.choice.context",
    "cascade_rl.verify.choice.text", "cascade_rl.verify.preference", "cascade_rl.verify.script",
    "cascade_rl.verify.tools", "cascade_rl.benchmarks",
    "cascade_rl.verify.maths.answers",
    "cascade_rl.verify.maths.compare", "cascade_rl.verify.patches.appraise", "cascade_rl.verify.patches.edits",
    "cascade_rl.verify.patches.diffs", "cascade_rl.verify.patches.errors", "cascade_rl.verify.patches.similarity",
    "cascade_rl.verify.patches.matching", "cascade_rl.verify.patches.questions", "cascade_rl.verify.suites.repository_tests",
    "cascade_rl.verify.suites.canaries", "cascade_rl.verify.programs.assertions", "cascade_rl.verify.suites.source_spans",
    "cascade_rl.verify.programs.languages",
)  # fmt: skip
SIZE = 6000  # characters at first; then twice and four times as many
NOTICED_S = 0.002  # what a quadratic pattern takes for them at the very least: some 18 million steps
NESTED_S = 0.05  # a text of 24 repetitions takes so long only if each doubles the work


def cpu_s(pattern: re.Pattern[str], method: str, text: str) -> float:
    """The processor's time for one use, to the end."""
    begin = time.thread_time()
    if method in ("match", "fullmatch", "search"):
        getattr(pattern, method)(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - begin


def slowed(pattern: re.Pattern[str], method: str, head: str, piece: str, tail: str) -> bool:
    """Whether two doublings of a text make more than threefold work each, in all of three tries."""

    def text(size: int) -> str:
        return head + piece * (size // len(piece) + 1) + tail

    if any(cpu_s(pattern, method, head + piece * count + tail) > NESTED_S for count in (12, 18, 24)):
        return all(cpu_s(pattern, method, head + piece * 24 + tail) > NESTED_S for _ in range(2))
    if cpu_s(pattern, method, text(SIZE)) < NOTICED_S:
        return False
    for _ in range(3):
        once, twice, four = (cpu_s(pattern, method, text(SIZE * times)) for times in (1, 2, 4))
        if not (twice > 3 * once and four > 3 * twice):
            return False
    return True


def slow(pattern: str, flags: int, methods: set[str]) -> list[tuple[str, str, str]]:
    """The first attack that slows a pattern down."""
    compiled = re.compile(pattern, flags)
    tried = (
        attack
        for method in sorted(methods)
        for attack in attacks(pattern, flags)
        if slowed(compiled, method, *attack)
    )
    return list(islice(tried, 1))


def test_no_pattern_of_the_graders_is_slowed_down():
    found = patterns(modules_of(*HELD))
    assert len(found) > 130
    assert {
        (where, pattern): bad
        for (pattern, flags), (where, methods) in found.items()
        if (bad := slow(pattern, flags, methods))
    } == {}


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"answer(?:\s*(?:is|:|=))+[\s:=(]*[A-Z]", "search"), (r"(a|a)*b", "match"), (r"(?:a+)+b", "match"), (r"\s+$", "search"),
        (r"([0-9]*)\.([0-9]+)", "search"), (r"\{[^}]*\}", "finditer"), (r"(.*?x.*?)y", "match"),
        (r"\n*(?:Question \d+)", "split"),
    ],
)  # fmt: skip
def test_the_attacks_find_what_is_slow(pattern, method):
    assert slow(pattern, re.compile(pattern).flags, {method})


@pytest.mark.parametrize(
    "pattern", [r"answer(?:\s*+(?:is|:|=))++\(?[A-Z]", r"(?>a+)b", r"[0-9]{1,30}\.", r"\S++(?<=x)", r"^\s*+x"]
)
def test_what_is_linear_is_left_in_peace(pattern):
    assert slow(pattern, re.compile(pattern).flags, {"match"}) == []
