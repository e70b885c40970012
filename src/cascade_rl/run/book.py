"""What a stage writes while it trains: its journals, its samples, every reply of RL.

`journal`, `samples` and `rollouts` hold only what the seed determines, so that a resumed run ends with the
same bytes; whatever depends on the clock or on the machine goes to `timings`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.run.rollouts import problem_key, stored_group, stored_problem
from cascade_rl.types import Group, StepReport

# All of them are made at once, also those that a kind leaves empty: offsets then always name four.
JOURNALS = ("journal", "timings", "samples", "rollouts")


class Book:
    """The journals of one stage, in its folder; `offsets` and `cut` tie them to a saved state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journals = {name: Journal(folder / f"{name}.jsonl") for name in JOURNALS}
        # After a resume the journal holds problems already. It is read at the first group and not here, since
        # a resume cuts it back first.
        self._stored: set[tuple[str, str]] | None = None

    def step(self, report: StepReport, phase: str) -> None:
        """The numbers of a step, that is, those that the seed determines."""
        metrics = dict(report.metrics)
        self._write("journal", {"kind": "step", "step": report.step, "phase": phase, "metrics": metrics})

    def note(self, step: int, text: str) -> None:
        """A remark for people."""
        self._write("journal", {"kind": "note", "step": step, "text": text})

    def probe(self, step: int, score: float, benchmarks: Mapping[str, float]) -> None:
        """What the validation problems of all domains say of the weights after `step` steps; shares."""
        line = {"kind": "probe", "step": step, "score": score, "benchmarks": dict(benchmarks)}
        self._write("journal", line)

    def heldout(self, step: int, metrics: Mapping[str, float]) -> None:
        """What is measured of held-out rows after `step` steps: `loss`, and what else there is."""
        self._write("journal", {"kind": "heldout", "step": step, "metrics": dict(metrics)})

    def heldouts(self) -> list[tuple[int, dict[str, float]]]:
        """(step, metrics) of all that was measured of held-out rows so far."""
        lines = (line for line in read_lines(self._journals["journal"].path) if line["kind"] == "heldout")
        # what is not finite was written as text
        return [(line["step"], {k: float(v) for k, v in line["metrics"].items()}) for line in lines]

    def times(self, step: int, seconds: Mapping[str, float], **more: Any) -> None:
        """How long something took, with what else depends on the clock; what is empty is left out."""
        kept = {name: value for name, value in more.items() if value}
        self._write("timings", {"step": step, "seconds": dict(seconds)} | kept)

    def samples(self, step: int, groups: Sequence[Group], problems: int = 3, rollouts: int = 2) -> None:
        """Keep a few rollouts for people to read."""
        # 3 x 2 replies, of the first and the last step of RL: for the page
        for group in groups[:problems]:
            asked = group.problem
            for rollout, verdict in list(zip(group.rollouts, group.verdicts, strict=True))[:rollouts]:
                record = {
                    "step": step,
                    "problem": asked.id,
                    "domain": asked.domain,
                    "mode": str(asked.mode),
                    "prompt": asked.prompt_text,
                    "reply": rollout.text,
                    "reward": verdict.reward,
                    "outcome": str(verdict.outcome),
                    "note": verdict.note,
                    "tokens": rollout.tokens,
                    "stop": str(rollout.stop),
                }
                self._write("samples", record)

    def rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """Keep every reply with its verdict, so that a mended grader can judge it again."""
        if self._stored is None:
            lines = read_lines(self._journals["rollouts"].path)
            # once a stage and process: the file may hold hundreds of thousands of replies
            self._stored = {problem_key(line) for line in lines if line["kind"] == "problem"}
        for group in groups:
            record = stored_problem(group.problem)
            if problem_key(record) not in self._stored:
                self._stored.add(problem_key(record))
                self._write("rollouts", record)
            self._write("rollouts", stored_group(step, group))

    def history(self) -> list[Mapping[str, float]]:
        """The metrics of all steps so far."""
        path = self._journals["journal"].path
        return [line["metrics"] for line in read_lines(path) if line["kind"] == "step"]

    def offsets(self) -> dict[str, int]:
        """The size of each journal in bytes, all of it on the disk."""
        return {name: journal.sync() for name, journal in self._journals.items()}

    def cut(self, offsets: Mapping[str, int]) -> None:
        """Go back to these sizes; a journal without one, which an older version did not know, starts anew."""
        for name, journal in self._journals.items():
            journal.cut(offsets.get(name, 0))
        self._stored = None  # problems may have been cut off, too

    def back_to(self, step: int) -> None:
        """Forget all that was written of a step and of those after it."""
        for journal in self._journals.values():
            kept = size = 0
            with journal.path.open("rb") as file:
                for line in file:
                    size += len(line)
                    said = json.loads(line).get("step") if line.endswith(b"\n") else step
                    if said is not None and said >= step:
                        break
                    # a stored problem has no step: it is kept with the first reply to it
                    kept = kept if said is None else size
            journal.cut(kept)
        self._stored = None

    def close(self) -> None:
        """Close the journals."""
        for journal in self._journals.values():
            journal.close()

    def _write(self, journal: str, record: dict[str, Any]) -> None:
        self._journals[journal].write(record)
