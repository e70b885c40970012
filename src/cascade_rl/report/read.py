"""A run directory, read into frozen records; docs/runs.md says what each file holds.

Only reads. A run in progress is as good as a finished one: a file that is not there yet leaves its field
empty, a torn last line of a journal is skipped. What is there but can't be understood is named in
`Run.unread` and otherwise left out, so that one bad file never costs the page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from cascade_rl.errors import InputError
from cascade_rl.recipe import BASE
from cascade_rl.report.records import DONE, HELD, RUNNING, WAITING, Answer, Note, Run, Sample, Stage, Step
from cascade_rl.report.speed import efforts, machine
from cascade_rl.report.values import as_list, as_mapping, number, text
from cascade_rl.run.folder import StageFolder, stage_folders
from cascade_rl.scores.as_json import gate_from_json, matrix_from_json, scorecard_from_json
from cascade_rl.scores.gate import GateResult
from cascade_rl.scores.judged import Judged
from cascade_rl.scores.matrix import Matrix, matrix
from cascade_rl.scores.samples import of_line
from cascade_rl.types import Scorecard

SAMPLE_WORDS = ("problem", "domain", "mode", "prompt", "reply", "outcome", "note", "stop")
T = TypeVar("T")


class Reader:
    """Reads the files below one folder and collects what could not be understood."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unread: list[str] = []

    def text(self, name: str) -> str | None:
        """The file's text, or None if there is no such file; bytes that are not UTF-8 are replaced."""
        try:
            # replaced, not refused: a sampled byte may be half a character, and one such line must not cost
            # the page
            return (self.root / name).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.unread.append(f"{name}: {error.strerror or error}")
            return None

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        """The file's content through `parse`, or None."""
        content = self.text(name)
        if content is None:
            return None
        try:
            return parse(content)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            self.unread.append(f"{name}: {str(error).splitlines()[0]}")
            return None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A JSON object, empty when absent."""
        return as_mapping(self.parsed(name, json.loads))

    def record(self, name: str, read: Callable[[Mapping[str, Any]], T]) -> T | None:
        """What `read` makes of a JSON file, or None."""
        return self.parsed(name, lambda content: read(json.loads(content)))

    def lines(self, name: str) -> list[Mapping[str, Any]]:
        """The objects of a JSONL file; a torn last line is expected of a run in progress."""
        rows = []
        # not splitlines: it also breaks at characters that may stand inside a JSON text
        lines = (self.text(name) or "").split("\n")
        for place, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                rows.append(as_mapping(json.loads(line)))
            except (ValueError, RecursionError):
                # without a line feed after it, it is being written
                if place < len(lines):
                    self.unread.append(f"{name}: line {place} is not JSON")
        return rows


def _steps(rows: Iterable[Mapping[str, Any]], kind: str = "step") -> tuple[Step, ...]:
    """The lines of a kind in order; the last line of a step wins, since a resumed run writes it again."""
    steps = {}
    for row in rows:
        if row.get("kind") == kind and isinstance(row.get("step"), int):
            raw = {name: number(value) for name, value in as_mapping(row.get("metrics")).items()}
            # NaN keeps its place in the curve and shows as a gap
            metrics = {name: math.nan if value is None else value for name, value in raw.items()}
            steps[row["step"]] = Step(row["step"], text(row.get("phase")), metrics)
    return tuple(steps[step] for step in sorted(steps))


def _notes(rows: Iterable[Mapping[str, Any]]) -> tuple[Note, ...]:
    notes = [row for row in rows if row.get("kind") == "note"]
    return tuple(Note(int(number(row.get("step")) or 0), text(row.get("text"))) for row in notes)


def _sums(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, float]:
    """The sum of each number under `key`, over all rows."""
    total: dict[str, float] = {}
    for row in rows:
        for name, raw in as_mapping(row.get(key)).items():
            total[name] = total.get(name, 0.0) + (number(raw) or 0.0)
    return total


def _sample(row: Mapping[str, Any]) -> Sample:
    tokens = number(row.get("tokens"))
    words = {key: text(row.get(key)) for key in SAMPLE_WORDS}
    return Sample(
        step=int(number(row.get("step")) or 0),
        reward=number(row.get("reward")),
        tokens=None if tokens is None else int(tokens),
        **words,
    )


def _status(gate: GateResult | None, ledger: Mapping[str, Any], card: Scorecard | None, policy: str) -> str:
    # The ledger has the stage by the time its gate stops the run: a waiver then goes on without training.
    # Without an entry the run was killed in between, and under `stop` it would not have gone on either.
    if gate is not None and not gate.passed and (policy == "stop" or not (ledger or policy)):
        return HELD
    return DONE if ledger or card else RUNNING


def _card(reader: Reader, here: str, stage: str) -> Scorecard | None:
    """The scorecard of a stage; one that names another stage is no use here."""
    name = f"{here}/scorecard.json"
    card = reader.record(name, scorecard_from_json)
    if card is not None and card.stage != stage:
        reader.unread.append(f"{name}: it is the scorecard of {card.stage}")
        return None
    return card


def _judged(reader: Reader, name: str) -> Mapping[str, Judged]:
    """Who judged the benchmarks of own pairs."""

    def read(row: Mapping[str, Any]) -> dict[str, Judged]:
        return {key: Judged.of_json(as_mapping(one)) for key, one in as_mapping(row.get("judged")).items()}

    return reader.record(name, read) or {}


def _answers(reader: Reader, here: str, card: Scorecard | None) -> tuple[Answer, ...]:
    """The answers that are kept of each benchmark; a line that is none is told and left out."""
    found = []
    for benchmark in card.benchmarks if card else ():
        name = f"{here}/eval/{benchmark}.answers.jsonl"
        for line in reader.lines(name):
            try:
                found.append(Answer(benchmark, text(line.get("prompt")), of_line(line, name)))
            except InputError as error:
                reader.unread.append(str(error))
    return tuple(found)


def _stage(reader: Reader, folder: StageFolder, ledger: Mapping[str, Any], policy: str) -> Stage:
    here = f"stages/{folder.path.name}"
    journal = reader.lines(f"{here}/journal.jsonl")
    timings = reader.lines(f"{here}/timings.jsonl")
    gate, card = reader.record(f"{here}/gate.json", gate_from_json), _card(reader, here, folder.name)
    return Stage(
        name=folder.name,
        folder=folder.path.name,
        status=_status(gate, ledger, card, policy),
        description=reader.mapping(f"{here}/stage.json"),
        ledger=ledger,
        preflight=reader.mapping(f"{here}/preflight.json"),
        steps=_steps(journal),
        heldout=_steps(journal, "heldout"),
        notes=_notes(journal),
        seconds=_sums(timings, "seconds"),
        efforts=efforts(timings),
        machine=machine(timings),
        counts={name: int(count) for name, count in _sums(timings, "counts").items()},
        samples=tuple(map(_sample, reader.lines(f"{here}/samples.jsonl"))),
        answers=_answers(reader, here, card),
        gate=gate,
        card=card,
        judged=_judged(reader, f"{here}/scorecard.json") if card else {},
    )


def _base(reader: Reader) -> Stage:
    """The model before the first stage: nothing is trained, so there is what was scored alone."""
    card = _card(reader, BASE, BASE)
    begun = card is not None or any((reader.root / BASE / "eval").glob("*.json"))
    return Stage(
        name=BASE,
        folder=BASE,
        status=DONE if card else RUNNING if begun else WAITING,
        seconds=_sums(reader.lines(f"{BASE}/timings.jsonl"), "seconds"),
        answers=_answers(reader, BASE, card),
        card=card,
    )


def _by_name(entries: Any, key: str) -> dict[str, Mapping[str, Any]]:
    """Name -> entry of a list of objects that carry their name under `key`."""
    rows = map(as_mapping, as_list(entries))
    return {text(row.get(key)): row for row in rows if text(row.get(key))}


def _times(run_dir: Path) -> tuple[float | None, float | None]:
    """When the first and the last file were written, by the files' own times."""
    files = [*run_dir.glob("*.json"), *run_dir.glob("*.yaml")]
    files += [file for folder in stage_folders(run_dir) for file in folder.path.glob("*.json*")]
    # a file may go between listing and looking: the run works on
    times = [path.stat().st_mtime for path in files if path.exists()]
    return (min(times), max(times)) if times else (None, None)


def require_run(run_dir: Path) -> None:
    """Raise InputError when a directory is no run: `run` writes the recipe before all else."""
    if not (run_dir / "recipe.yaml").is_file():
        raise InputError(
            f"{run_dir} is no run directory: it has no recipe.yaml; runs are made by `cascade run`"
        )


def read_run(run_dir: Path) -> Run:
    """All records of a run; raises FileNotFoundError when there is no such directory."""
    if not run_dir.is_dir():
        raise FileNotFoundError(f"there is no run directory {run_dir}: `cascade run` makes one")
    reader = Reader(run_dir)
    recipe = as_mapping(reader.parsed("recipe.yaml", yaml.safe_load))
    # By name, as the page says it; the run itself goes by place and key.
    done = _by_name(reader.mapping("ledger.json").get("stages"), "stage")
    policy = text(as_mapping(recipe.get("gate")).get("policy"))
    stages = [_stage(reader, folder, done.get(folder.name, {}), policy) for folder in stage_folders(run_dir)]
    known = {stage.name for stage in stages}
    to_come = [name for name in _by_name(recipe.get("stages"), "name") if name not in known]
    base = _base(reader) if recipe.get("score_base") is True else None
    scored = [*([base] if base else []), *stages]
    cards = list({stage.name: stage.card for stage in scored if stage.card}.values())
    # A run that was killed in its first evaluation has scorecards and no matrix.json yet.
    found = reader.record("matrix.json", matrix_from_json) or (matrix(cards, {}, {}) if cards else Matrix())
    started, updated = _times(run_dir)
    return Run(
        name=text(recipe.get("name")) or run_dir.resolve().name,
        recipe=recipe,
        recipe_text=reader.text("recipe.yaml") or "",
        stages=(*stages, *(Stage(name, "", WAITING) for name in to_come)),
        matrix=found,
        started=started,
        updated=updated,
        unread=tuple(dict.fromkeys(reader.unread)),
        base=base,
    )
