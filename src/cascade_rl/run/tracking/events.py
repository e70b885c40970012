"""What a run directory says, as events: always the same ones in the same order, however often it is read.

What the model scored before the first stage, if that is asked; then stage after stage, in each its steps,
notes, probes and samples as the journals have them, then what it scored. An event's step counts the updates
of the whole run: those planned for the stages before, and its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.errors import InputError
from cascade_rl.recipe import BASE
from cascade_rl.recipe.reading import stored
from cascade_rl.run.files import dumps, read_record
from cascade_rl.run.folder import stage_folder

SAMPLE = (
    "step",
    "problem",
    "domain",
    "mode",
    "prompt",
    "reply",
    "reward",
    "outcome",
    "note",
    "tokens",
    "stop",
)


class Rewound(Exception):
    """What was read is not there any more, or reads otherwise: a resume went back, or a stage began anew."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people to read."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What is told at once, by name, after `step` updates of the run; `alarm` says that a text warns."""

    step: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    alarm: bool = False

    def written(self) -> str:
        """The same text for the same event."""
        tables = {name: [table.columns, table.rows] for name, table in self.tables.items()}
        return dumps([self.step, dict(self.numbers), dict(self.texts), tables])


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the stage that it is of: the name of its folder, and its key."""

    stage: str
    key: str
    event: Event


class Tail:
    """The lines of a JSONL file as it grows, each once; raises Rewound when it was cut back."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._last = path, 0, b""

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset - len(self._last))
                # one line is enough to know it by: what a model says and weighs depends on all steps before
                if file.read(len(self._last)) != self._last:
                    raise Rewound
                found = file.read()
        except FileNotFoundError:
            if self._offset:
                raise Rewound from None
            return []
        whole = found[: found.rfind(b"\n") + 1].splitlines(keepends=True)
        self._offset += sum(map(len, whole))
        self._last = whole[-1] if whole else self._last
        try:
            return [json.loads(line) for line in whole]
        except ValueError as error:
            raise InputError(f"{self._path} holds a line that is no JSON: {error}") from None


class StageTail:
    """The events of one stage as its files grow; `begin` and `end` are its first and last step of the run."""

    def __init__(self, folder: Path, name: str, begin: int, end: int) -> None:
        self._folder, self._name, self._begin, self.end = folder, name, begin, end
        self._journal, self._samples = Tail(folder / "journal.jsonl"), Tail(folder / "samples.jsonl")
        self._read: dict[int, list[dict[str, Any]]] = {}  # samples by step, until the journal has the step
        self.key: str | None = None
        self.scores: Mapping[str, Mapping[str, float]] | None = None
        self._looked: int | None = None

    def new(self) -> list[Event]:
        """The events since the last call; raises Rewound."""
        key = self._key()
        if self.key not in (None, key):
            raise Rewound
        self.key = key
        if key is None:
            return []
        # Before the journal is read: a stage is scored after its last step, so all lines are there by then.
        scores = self._scored()
        events = [self._event(line) for line in self._lines()]
        if self.scores is None and scores is not None:
            self.scores = scores
            events += [Event(self.end, _score_numbers(scores))] if scores else []  # of a run without any
        return events

    def _key(self) -> str | None:
        """What the stage is known by; None before it has begun."""
        record = read_record(self._folder / "stage.json", "key")
        return None if record is None else str(record["key"])

    def _lines(self) -> Iterator[dict[str, Any]]:
        lines = self._journal.lines()
        # after the journal: the samples of a step are written before its line
        for sample in self._samples.lines():
            self._read.setdefault(int(sample["step"]), []).append(sample)
        yield from lines

    def _event(self, line: Mapping[str, Any]) -> Event:
        name, step = self._name, int(line["step"])
        if line["kind"] == "probe":
            shares = {f"{name}/probe": line["score"]}
            shares |= {f"{name}/probe/{key}": value for key, value in line["benchmarks"].items()}
            return Event(self._begin + step, shares)  # a probe counts the steps that are done
        if line["kind"] == "heldout":
            told = {f"{name}/heldout/{key}": float(value) for key, value in line["metrics"].items()}
            return Event(self._begin + step, told)  # as a probe
        after = self._begin + step + 1
        if line["kind"] == "note":
            text = str(line["text"])
            return Event(after, texts={f"{name}/notes": text}, alarm=text.startswith("alarm"))
        # numbers that are not finite stand as text
        numbers = {f"{name}/{key}": float(value) for key, value in line["metrics"].items()}
        samples = self._read.pop(step, [])
        rows = tuple(tuple(sample.get(column) for column in SAMPLE) for sample in samples)
        tables = {f"{name}/samples": Table(SAMPLE, rows)} if rows else {}
        return Event(after, numbers | {f"{name}/step": float(step + 1)}, tables=tables)

    def _scored(self) -> Mapping[str, Mapping[str, float]] | None:
        """The scores of the stage, if it has been scored; raises Rewound when they are others than before."""
        path = self._folder / "scorecard.json"
        try:
            looked = path.stat().st_mtime_ns
        except FileNotFoundError:
            if self.scores is not None:
                raise Rewound from None
            return None
        if looked == self._looked and self.scores is not None:
            return self.scores
        card = read_record(path, "benchmarks") or {"benchmarks": {}}
        scores = {
            name: found["modes"][found["headline"]]["avg"] for name, found in card["benchmarks"].items()
        }
        if self.scores not in (None, scores):
            raise Rewound
        self._looked = looked
        return scores


class BaseTail(StageTail):
    """The model before the first stage: it has scores alone, before the first update."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BASE, 0, 0)

    def _key(self) -> str | None:
        # nothing but its scores tells one from another
        return BASE if (self._folder / "scorecard.json").is_file() else None


def _score_numbers(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        f"benchmarks/{name}{end}": float(score[key])
        for name, score in scores.items()
        for end, key in (("", "mean"), ("/low", "low"), ("/high", "high"))
    }


class Reading:
    """All events of a run directory, stage after stage, as they come."""

    def __init__(self, run: Path) -> None:
        self._recipe = stored(recipe_of(run), str(run / "recipe.yaml"))
        base = self._recipe.score_base
        self._stages: list[StageTail] = [BaseTail(run / BASE)] if base else []
        self._folders = [BASE] if base else []
        step = 0
        for index, stage in enumerate(self._recipe.stages):
            folder = stage_folder(run, index, stage.name)
            self._folders.append(folder.name)
            end = step + stage.planned_steps
            self._stages.append(StageTail(folder, stage.name, step, end))
            step = end

    def new(self) -> Iterator[Told]:
        """The events since the last call; raises Rewound when those before are not there any more."""
        scored: dict[str, Mapping[str, Mapping[str, float]]] = {}
        for folder, name, stage in zip(self._folders, self._recipe.scored, self._stages, strict=True):
            already = stage.scores is not None
            for event in stage.new():
                yield Told(folder, stage.key or "", event)
            if stage.scores is None:
                return  # stages come one after the other: the next one has not begun
            scored[name] = stage.scores
            if stage.scores and not already:
                yield Told(folder, stage.key or "", self._matrix(scored))

    def _matrix(self, scored: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Event:
        """The benchmarks of all stages so far, in percent, as the terminal shows them."""
        names = list(dict.fromkeys(name for scores in scored.values() for name in scores))
        rows = tuple(
            (
                name,
                *(
                    round(scores[name]["mean"] * 100, 1) if name in scores else None
                    for scores in scored.values()
                ),
            )
            for name in names
        )
        tables = {"matrix": Table(("benchmark", *scored), rows)} if rows else {}
        return Event(self._stages[len(scored) - 1].end, tables=tables)


def recipe_of(run: Path) -> dict[str, Any]:
    """The resolved recipe of a run as plain data; raises InputError when there is none."""
    path = run / "recipe.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{run} is no run directory: it has no recipe.yaml") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is no recipe of a run")
    return found
