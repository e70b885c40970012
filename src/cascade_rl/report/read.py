"""A run directory, read into frozen records; docs/runs.md says what each file holds.

Only reads. A run in progress is as good as a finished one: a file that is not there yet leaves its field
empty, a torn last line of a journal is skipped. What is there but can't be understood is named in
`Run.unread` and otherwise left out, so that one bad file never costs the page.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.report.records import (
    DONE,
    HELD,
    RUNNING,
    WAITING,
    Gate,
    GateCell,
    Matrix,
    ModeCell,
    Note,
    Row,
    Run,
    Sample,
    Stage,
    Step,
)
from cascade_rl.report.speed import efforts, machine
from cascade_rl.report.values import as_list, as_mapping, number
from cascade_rl.types import Score

SAMPLE_WORDS = ("problem", "domain", "mode", "prompt", "reply", "outcome", "note", "stop")
STAGE_FOLDER = re.compile(r"^(\d+)-(.+?)$")
SET_ASIDE = re.compile(r"\.old-\d+$")


class Reader:
    """Reads the files below one folder and collects what could not be understood."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unread: list[str] = []

    def text(self, name: str) -> str | None:
        """The file's text, or None if there is no such file; bytes that are not UTF-8 are replaced."""
        try:
            return (self.root / name).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.unread.append(f"{name}: {error.strerror or error}")
            return None

    def parsed(self, name: str, parse: Callable[[str], Any]) -> Any:
        """The file's content through `parse`, or None."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse(text)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            self.unread.append(f"{name}: {str(error).splitlines()[0]}")
            return None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A JSON object, empty when absent."""
        return as_mapping(self.parsed(name, json.loads))

    def lines(self, name: str) -> list[Mapping[str, Any]]:
        """The objects of a JSONL file; a torn last line is expected of a run in progress."""
        rows, text = [], self.text(name) or ""
        lines = text.split("\n")
        for place, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                rows.append(as_mapping(json.loads(line)))
            except (ValueError, RecursionError):
                if place < len(lines):
                    self.unread.append(f"{name}: line {place} is not JSON")
        return rows


def _text(raw: Any) -> str:
    if raw is None or raw is False:
        return ""
    return raw if isinstance(raw, str) else "yes" if raw is True else json.dumps(raw, ensure_ascii=False)


def _entries(raw: Any) -> dict[str, Mapping[str, Any]]:
    """Name -> entry, from a mapping of entries or a list of entries that carry their name."""
    if isinstance(raw, Mapping):
        return {str(name): as_mapping(entry) for name, entry in raw.items()}
    rows = [as_mapping(entry) for entry in as_list(raw)]
    named = ((row.get("name") or row.get("stage"), row) for row in rows)
    return {str(name): row for name, row in named if name}


def parse_score(raw: Any) -> Score | None:
    """A score, or None without a mean; an absent bound falls on the mean."""
    row = as_mapping(raw)
    mean = number(row.get("mean"))
    if mean is None:
        return None
    low, high = number(row.get("low")), number(row.get("high"))
    n, k = number(row.get("n")), number(row.get("k"))
    return Score(mean, mean if low is None else low, mean if high is None else high, int(n or 0), int(k or 1))


def _mode_cells(raw: Any) -> dict[str, ModeCell]:
    return {
        mode: ModeCell(
            parse_score(cell.get("avg")),
            parse_score(cell.get("greedy")),
            number(cell.get("leak")),
            number(cell.get("clipped")),
            number(cell.get("mean_tokens")),
        )
        for mode, cell in _entries(raw).items()
    }


def _row(name: str, raw: Mapping[str, Any]) -> Row:
    scores = {stage: parse_score(score) for stage, score in as_mapping(raw.get("scores")).items()}
    return Row(
        name,
        _text(raw.get("own_stage")) or None,
        _text(raw.get("headline")) or None,
        {stage: score for stage, score in scores.items() if score is not None},
        {stage: _mode_cells(modes) for stage, modes in as_mapping(raw.get("modes")).items()},
    )


def parse_matrix(raw: Any) -> Matrix:
    """matrix.json as a record; a stage that only a row names comes after those that are listed."""
    data = as_mapping(raw)
    rows = tuple(_row(name, row) for name, row in _entries(data.get("benchmarks")).items())
    listed = [str(s) for s in as_list(data.get("stages")) if isinstance(s, str)]
    stages = dict.fromkeys([*listed, *(s for row in rows for s in row.scores)])
    clock = {name: number(s) for name, s in as_mapping(data.get("seconds")).items()}
    return Matrix(tuple(stages), rows, {name: s for name, s in clock.items() if s is not None})


def _matrix_of_scorecards(cards: Mapping[str, Mapping[str, Any]]) -> Matrix:
    """The matrix from the scorecards of the stages, for a run that has no matrix.json yet."""
    benchmarks: dict[str, dict[str, Any]] = {}
    for stage, card in cards.items():
        for name, entry in _entries(card.get("benchmarks")).items():
            row = benchmarks.setdefault(name, {"headline": entry.get("headline"), "scores": {}, "modes": {}})
            modes = as_mapping(entry.get("modes"))
            row["modes"][stage] = modes
            row["scores"][stage] = as_mapping(modes.get(str(entry.get("headline")))).get("avg")
    return parse_matrix({"stages": list(cards), "benchmarks": benchmarks})


def _steps(rows: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps in order, the last line of a step wins."""
    steps = {}
    for row in rows:
        if row.get("kind") == "step" and isinstance(row.get("step"), int):
            raw = {name: number(value) for name, value in as_mapping(row.get("metrics")).items()}
            metrics = {name: math.nan if value is None else value for name, value in raw.items()}
            steps[row["step"]] = Step(row["step"], _text(row.get("phase")), metrics)
    return tuple(steps[step] for step in sorted(steps))


def _notes(rows: Iterable[Mapping[str, Any]]) -> tuple[Note, ...]:
    notes = [row for row in rows if row.get("kind") == "note"]
    return tuple(Note(int(number(row.get("step")) or 0), _text(row.get("text"))) for row in notes)


def _sums(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, float]:
    """The sum of each number under `key`, over all rows."""
    total: dict[str, float] = {}
    for row in rows:
        for name, raw in as_mapping(row.get(key)).items():
            total[name] = total.get(name, 0.0) + (number(raw) or 0.0)
    return total


def _sample(row: Mapping[str, Any]) -> Sample:
    tokens = number(row.get("tokens"))
    words = {key: _text(row.get(key)) for key in SAMPLE_WORDS}
    return Sample(
        step=int(number(row.get("step")) or 0),
        reward=number(row.get("reward")),
        tokens=None if tokens is None else int(tokens),
        **words,
    )


def _gate(raw: Mapping[str, Any]) -> Gate | None:
    if not raw:
        return None
    cells = tuple(
        GateCell(
            _text(cell.get("benchmark")),
            _text(cell.get("before")),
            number(cell.get("change")),
            number(cell.get("low")),
            number(cell.get("high")),
            _text(cell.get("verdict")),
            _text(cell.get("excuse")),
            _text(cell.get("waiver") or cell.get("waived")),
        )
        for cell in map(as_mapping, as_list(raw.get("cells")))
    )
    notes = [*as_list(raw.get("notes")), *as_list(raw.get("waivers"))]
    return Gate(
        raw["passed"] if isinstance(raw.get("passed"), bool) else None, cells, tuple(map(_text, notes))
    )


def _per_problem(card: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found = {}
    for name, entry in _entries(card.get("benchmarks")).items():
        mode = as_mapping(as_mapping(entry.get("modes")).get(str(entry.get("headline"))))
        scores = {key: number(value) for key, value in as_mapping(mode.get("per_problem")).items()}
        found[name] = {key: value for key, value in scores.items() if value is not None}
    return found


def _status(gate: Gate | None, ledger: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    if gate is not None and gate.passed is False and not ledger:
        return HELD
    return DONE if ledger or card else RUNNING


def _stage(
    reader: Reader, folder: str, name: str, ledger: Mapping[str, Any], card: Mapping[str, Any]
) -> Stage:
    here = f"stages/{folder}"
    journal = reader.lines(f"{here}/journal.jsonl")
    timings = reader.lines(f"{here}/timings.jsonl")
    gate = _gate(reader.mapping(f"{here}/gate.json"))
    return Stage(
        name=name,
        folder=folder,
        status=_status(gate, ledger, card),
        description=reader.mapping(f"{here}/stage.json"),
        ledger=ledger,
        preflight=reader.parsed(f"{here}/preflight.json", json.loads),
        steps=_steps(journal),
        notes=_notes(journal),
        seconds=_sums(timings, "seconds"),
        efforts=efforts(timings),
        machine=machine(timings),
        counts={name: int(count) for name, count in _sums(timings, "counts").items()},
        samples=tuple(map(_sample, reader.lines(f"{here}/samples.jsonl"))),
        gate=gate,
        per_problem=_per_problem(card),
    )


def _folders(run_dir: Path) -> list[tuple[str, str]]:
    """(folder, stage name) of the stages in order, without those set aside."""
    names = [p.name for p in (run_dir / "stages").glob("*") if p.is_dir() and not SET_ASIDE.search(p.name)]
    found = [(match, name) for name in names if (match := STAGE_FOLDER.match(name))]
    return [(name, match[2]) for match, name in sorted(found, key=lambda pair: (int(pair[0][1]), pair[1]))]


def _times(run_dir: Path) -> tuple[float | None, float | None]:
    """When the first and the last file were written, by the files' own times."""
    files = [*run_dir.glob("*.json"), *run_dir.glob("*.yaml"), *run_dir.glob("stages/*/*.json*")]
    times = [p.stat().st_mtime for p in files if p.exists() and not SET_ASIDE.search(p.parent.name)]
    return (min(times), max(times)) if times else (None, None)


def read_run(run_dir: Path) -> Run:
    """All records of a run; raises FileNotFoundError when there is no such directory."""
    if not run_dir.is_dir():
        raise FileNotFoundError(f"there is no run directory {run_dir}: `cascade run` makes one")
    reader = Reader(run_dir)
    recipe = as_mapping(reader.parsed("recipe.yaml", yaml.safe_load))
    ledger = reader.mapping("ledger.json")
    entries = _entries(ledger.get("stages", ledger))
    folders = _folders(run_dir)
    cards = {
        name: card for folder, name in folders if (card := reader.mapping(f"stages/{folder}/scorecard.json"))
    }
    stages = [
        _stage(reader, f, n, entries.get(n) or entries.get(f) or {}, cards.get(n, {})) for f, n in folders
    ]
    known = {name for _, name in folders}
    waiting = [Stage(name, "", WAITING) for name in _entries(recipe.get("stages")) if name not in known]
    matrix = parse_matrix(reader.mapping("matrix.json"))
    return Run(
        name=_text(recipe.get("name")) or run_dir.resolve().name,
        recipe=recipe,
        recipe_text=reader.text("recipe.yaml") or "",
        stages=(*stages, *waiting),
        matrix=matrix if matrix.rows else _matrix_of_scorecards(cards),
        started=_times(run_dir)[0],
        updated=_times(run_dir)[1],
        unread=tuple(dict.fromkeys(reader.unread)),
    )
