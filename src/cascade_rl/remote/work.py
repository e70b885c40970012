"""What a sampler has to ask a server for, in parts, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cascade_rl.protocols import Finished, Sampling
from cascade_rl.types import Problem, Rollout

Asked = Sequence[tuple[Sequence[Problem], Sampling]]
SHOWN = 5  # reasons that an error tells, the commonest first


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one problem that are asked for together; `group` is its (request, place)."""

    group: tuple[int, int]
    problem: Problem
    sampling: Sampling
    indices: range


class Work:
    """All replies that are wanted, those that came, and why others never did.

    found  by request and place; () where a group is not whole
    over   why nothing more is asked at all; empty while it is
    """

    def __init__(self, asked: Asked, together: int, finished: Finished | None) -> None:
        self.found: list[list[tuple[Rollout, ...]]] = [[()] * len(problems) for problems, _ in asked]
        self.over = ""
        self._asked, self._together, self._finished = asked, together, finished
        self._groups: dict[tuple[int, int], dict[int, Rollout]] = {}
        self._failures: dict[tuple[int, int], str] = {}

    def parts(self) -> Iterator[Part]:
        """What is still worth asking for, group by group, so that they are whole early."""
        for number, (problems, sampling) in enumerate(self._asked):
            for place, problem in enumerate(problems):
                for start in range(0, sampling.n, self._together):
                    # the rest of a group that can't be whole would be paid for and thrown away
                    if not self.over and (number, place) not in self._failures:
                        indices = range(start, min(start + self._together, sampling.n))
                        yield Part((number, place), problem, sampling, indices)

    def add(self, part: Part, rollouts: Sequence[Rollout]) -> None:
        """The replies of a part; the last one of its group makes that whole."""
        group = self._groups.setdefault(part.group, {})
        group.update(zip(part.indices, rollouts, strict=True))
        if len(group) == part.sampling.n:
            number, place = part.group
            self.found[number][place] = tuple(group[index] for index in range(part.sampling.n))
            del self._groups[part.group]
            if self._finished:
                self._finished(place, self.found[number][place])

    def fail(self, part: Part, reason: str) -> None:
        """A part that never came; the first reason of its group counts."""
        self._failures.setdefault(part.group, reason)

    def missing(self) -> str:
        """What did not come and why, in a few lines; empty when all is there."""
        wanted = [
            (i, j)
            for i, (problems, sampling) in enumerate(self._asked)
            if sampling.n
            for j in range(len(problems))
        ]
        lost = [(i, j) for i, j in wanted if not self.found[i][j]]
        if not lost:
            return ""
        lines = [f"no reply to {len(lost)} of {len(wanted)} prompts, so there is no score"]
        # in the order of the problems, so that the same faults are told alike
        reasons = [(self._failures[group], group) for group in lost if group in self._failures]
        first = dict(reversed(reasons))
        for reason, count in Counter(reason for reason, _ in reasons).most_common(SHOWN):
            number, place = first[reason]
            lines.append(f"{count} x {reason}; the first is problem {self._asked[number][0][place].id}")
        if self.over:
            lines.append(f"{len(lost) - len(reasons)} were given up: {self.over}")
        lines.append("what came was handed on; the same command asks for the rest only")
        return "\n  ".join(lines)
