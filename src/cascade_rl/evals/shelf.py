"""The folder of a benchmark's results: what is written while it is measured, and read when it goes on."""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade_rl.domain import TRAINED_AS, HeldOut
from cascade_rl.errors import InputError
from cascade_rl.evals.benchmark import sizes
from cascade_rl.recipe import digest
from cascade_rl.run.files import dumps, read_record, write_json, write_text
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.scores.as_json import to_json
from cascade_rl.scores.samples import Sample, of_line, to_line
from cascade_rl.types import BenchmarkScore, Mode

MOST_NAMED = 4  # settings that differ, in a message


def settings_of(folder: Path, name: str) -> dict[str, Any]:
    """How the replies to a benchmark in a folder were drawn; InputError where nothing says so."""
    found = read_record(folder / f"{name}.settings.json", "suite", "problems_digest")
    if found is None:
        raise InputError(f"{folder} holds no replies to {name}")
    return {key: value for key, value in found.items() if key != "problems_digest"}


class Shelf:
    """The files NAME.* of one benchmark in a folder, opened for it; see `evals/suite` for what they are.

    settings  what the replies rest on, as JSON: one folder never mixes replies of two of them

    Raises InputError where the folder holds replies that were drawn otherwise, or is damaged.
    """

    def __init__(self, folder: Path, held: HeldOut, settings: Mapping[str, Any]) -> None:
        self._stem, self._held, self.settings = folder / held.name, held, dict(settings)
        self._lock = threading.Lock()
        # how many replies a problem has in a mode; the greedy one is a group of its own
        self._size = {(mode, greedy): k for mode in held.modes for k, greedy in sizes(held, mode)}
        self.groups = len(held.problems) * len(self._size)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"results can't go to {folder}: {error.strerror}; give another --out") from error
        self._begin()
        self.samples: list[Sample] = self._whole_groups()
        self._done = {(one.problem, one.mode, one.greedy) for one in self.samples}
        # What earlier tries took: of a finished benchmark its own word, of one that was cut off when its last
        # reply was there.
        told = [one.seconds for one in self.samples if not math.isnan(one.seconds)]
        self.seconds = float((read_record(self._file("json")) or {}).get("seconds", max(told, default=0.0)))
        self._write_samples()
        self._journal = Journal(self._file("samples.jsonl"))

    def _file(self, ending: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{ending}")

    def _begin(self) -> None:
        """Hold the settings against those that the folder was begun with, or write them."""
        content = [[problem.asked(), problem.answer] for problem in self._held.problems]
        # through JSON, as it is read back
        wanted = json.loads(dumps({**self.settings, "problems_digest": digest(content)}))
        path = self._file("settings.json")
        found = read_record(path)
        if found is not None and found != wanted:
            differ = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
            told = [f"{key} {found.get(key)}, now {wanted.get(key)}" for key in differ[:MOST_NAMED]]
            raise InputError(
                f"{path.parent} holds replies to {self._held.name} that were drawn otherwise "
                f"({'; '.join(told)}): give another --out, or remove {self._stem.name}.* there"
            )
        lines = [
            dumps(
                {
                    "id": problem.id,
                    "messages": [{"role": m.role, "content": m.content} for m in problem.messages],
                    # a row's own name, such as IFEval's key or HumanEval's task
                    "row": problem.id.partition(":")[2].rpartition(":")[0] or None,
                    "meta": {key: value for key, value in problem.meta.items() if key != TRAINED_AS},
                }
            )
            for problem in self._held.problems
        ]
        write_text(self._file("problems.jsonl"), "\n".join([*lines, ""]))
        write_json(path, wanted)

    def _whole_groups(self) -> list[Sample]:
        """The stored replies of groups that are whole: of one that was cut off, some may be missing."""
        path = self._file("samples.jsonl")
        found = [of_line(line, f"{path}:{number}") for number, line in enumerate(read_lines(path), 1)]
        counts = Counter((one.problem, one.mode, one.greedy) for one in found)
        known = {problem.id for problem in self._held.problems}
        # one reply twice would be counted twice, and fill the place of another
        twice = len({one.key for one in found}) < len(found)
        if twice or any(
            one.problem not in known or not 0 <= one.sample < self._size.get((one.mode, one.greedy), 0)
            for one in found
        ):
            raise InputError(f"{path} holds replies to other problems, or too many; move it away")
        return [
            one
            for one in found
            if counts[one.problem, one.mode, one.greedy] == self._size[one.mode, one.greedy]
        ]

    @property
    def done(self) -> int:
        """How many groups are stored."""
        return len(self._done)

    @property
    def share(self) -> float:
        """The part of all groups that is stored."""
        return self.done / self.groups

    def has(self, problem: str, mode: Mode, greedy: bool = False) -> bool:
        """Whether all sampled replies to a problem are stored, or its greedy one."""
        return (problem, mode, greedy) in self._done

    def add(self, samples: Sequence[Sample]) -> None:
        """Store the replies of one group, from whichever thread."""
        with self._lock:
            for one in samples:
                self._journal.write(to_line(one))
            self.samples += samples
            self._done |= {(one.problem, one.mode, one.greedy) for one in samples}

    def replace(self, samples: Sequence[Sample]) -> None:
        """Put these in the place of those that are the same replies, with other verdicts."""
        new = {one.key: one for one in samples}
        self.samples = [new.get(one.key, one) for one in self.samples]

    def tidy(self) -> None:
        """Order the replies as the problems are, whenever each came: the same file each time."""
        places = {problem.id: place for place, problem in enumerate(self._held.problems)}
        modes = list(self._held.modes)
        self.samples.sort(
            key=lambda one: (modes.index(one.mode), one.greedy, places[one.problem], one.sample)
        )
        self._journal.close()
        self._write_samples()

    def _write_samples(self) -> None:
        text = "".join(dumps(to_line(one)) + "\n" for one in self.samples)
        write_text(self._file("samples.jsonl"), text)

    def finish(self, found: BenchmarkScore, told: Mapping[str, Any]) -> None:
        """Write NAME.json: the score, the settings, and what else is told."""
        # of a try that asked nothing the requests are those of the one before
        before = read_record(self._file("json")) or {}
        kept = {} if any(told["requests"].values()) else {"requests": before.get("requests", {})}
        write_json(
            self._file("json"), {**to_json(self._held.name, found), "settings": self.settings, **told, **kept}
        )
