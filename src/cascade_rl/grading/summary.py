"""What came of a file of replies: counts, the mean reward, and why verdicts are null."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cascade_rl.types import Outcome, Verdict

MOST_REASONS = 1_000  # kinds of reasons that are kept apart: a file may have millions of lines
MOST_TOLD = 3
# what differs between two replies that fail alike
_OWN = re.compile(r"'[^']*'|[0-9]+")
# words of a null's reason, and what to do where something is missing
MENDS: Mapping[str, str] = {
    "pytest": "tests are run by pytest: pip install pytest, beside cascade-rl",
    "g++": "programs in C++ need a compiler: install g++",
    "sandbox": "`cascade doctor` says how programs are kept in here, and what is missing",
    "needs a reward model": "this reward needs a reward model: --reward benchmark asks none",
    "the judge": "does the server answer that --judge names?",
}


@dataclass(slots=True)
class Summary:
    """Counts so far: verdicts by outcome, the sum of rewards, bad lines, nulls by their kind of reason."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rewards: float = 0.0
    bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, verdict: Verdict, bad: bool = False) -> None:
        """Count a verdict; `bad` when its line could not be read."""
        self.outcomes[str(verdict.outcome)] += 1
        self.rewards += verdict.reward or 0.0
        self.bad += bad
        # bad lines are named one by one
        if verdict.reward is None and not bad:
            kind = _OWN.sub("_", verdict.note)
            if kind in self._first or len(self._first) < MOST_REASONS:
                self.reasons[kind] += 1
                self._first.setdefault(kind, verdict.note)

    @property
    def nulls(self) -> int:
        """Verdicts that could not be given, those on bad lines among them."""
        return self.outcomes[Outcome.GRADER_ERROR]

    def line(self, seconds: float) -> str:
        """Such as `120 graded in 3.1 s: 80 right, 30 wrong, 10 null (2 bad lines); mean reward 0.727`."""
        parts = [
            f"{self.outcomes[o]:,} {o}" for o in Outcome if self.outcomes[o] and o != Outcome.GRADER_ERROR
        ]
        lines = "line" if self.bad == 1 else "lines"
        bad = f" ({self.bad:,} bad {lines})" if self.bad else ""
        parts += [f"{self.nulls:,} null{bad}"]
        count = self.outcomes.total()
        judged = count - self.nulls
        mean = f"mean reward {self.rewards / judged:.3f}" if judged else "no reward"
        return f"{count:,} graded in {seconds:.1f} s: {', '.join(parts)}; {mean}"

    def why(self) -> Iterator[str]:
        """The most frequent reasons of nulls, a line each, then what to do where something is missing."""
        found = self.reasons.most_common(MOST_TOLD)
        yield from (f"  {count:,} null: {self._first[kind]}" for kind, count in found)
        if (rest := len(self.reasons) - len(found)) > 0:
            yield f"  and {rest:,} other reasons"
        yield from (
            f"hint: {mend}" for word, mend in MENDS.items() if any(word in kind for kind in self.reasons)
        )
