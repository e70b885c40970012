"""The things to be compared, read from their files: scores, settings, what was asked, what it took.

Damage is an error that names the file, and all of it is told at once: a comparison with what is left would
look like one of the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.recipe import BASE
from cascade_rl.report.compare_places import HOW, Place, is_run, labels, locate
from cascade_rl.report.read import read_run
from cascade_rl.report.records import Run, Stage
from cascade_rl.report.values import as_list, as_mapping, number, text
from cascade_rl.run.files import read_json, read_record
from cascade_rl.run.folder import STAGE_FOLDER
from cascade_rl.scores.as_json import from_json, scorecard_from_json
from cascade_rl.scores.compare import Result
from cascade_rl.types import BenchmarkScore

# What the score itself says (mode, k, problems), or what says nothing of how it came about.
NO_SETTINGS = (
    "name", "benchmark", "suite", "own_stage", "problems", "k", "k_other_mode", "mode", "both_modes",
    "greedy", "bad_rows", "reward_model", "model", "commit", "weights", "compared_by",
    "compared_by_reward_model", "compared_by_weights",
)  # fmt: skip
# Settings of a recipe that all its benchmarks share; told where they differ, none decides a score.
SHARED = ("precision", "device", "sampler")


@dataclass(frozen=True, slots=True)
class Measure:
    """A benchmark of a thing: its result, how many verdicts `failed`, seconds, and where its replies lie.

    `failed` and `seconds` are None where no file says it.
    """

    result: Result
    failed: int | None = None
    seconds: float | None = None
    samples: Path | None = None
    problems: Path | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One of the things; `run` is the whole run of a stage, `model` as its files call it.

    `unread` is what is left out, and why: files of a run that can't be read, benchmarks not finished.
    """

    label: str
    place: Place
    model: str
    measures: Mapping[str, Measure]
    run: Run | None = None
    unread: tuple[str, ...] = field(default=())

    @property
    def results(self) -> dict[str, Result]:
        """Benchmark -> result."""
        return {name: measure.result for name, measure in self.measures.items()}

    @property
    def stage(self) -> Stage | None:
        """The records of its stage; None of results, and of what was set aside."""
        stages = self.run.scored if self.run else ()
        return next((stage for stage in stages if stage.folder == self.place.folder.name), None)


def read_things(given: Sequence[str], names: Sequence[str] = ()) -> tuple[Thing, ...]:
    """All that is named, in its order; InputError with everything that is wrong."""
    places, faults = [], []
    for name in given:
        try:
            places.append(locate(name))
        except InputError as error:
            faults.append(str(error))
    _refuse(faults)
    called = labels(places, names)
    runs: dict[Path, Run] = {}
    found = []
    for label, place in zip(called, places, strict=True):
        try:
            found.append(_thing(label, place, runs))
        except InputError as error:
            faults.append(str(error))
    _refuse(faults)
    return tuple(found)


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise InputError("\n".join(faults))


def _thing(label: str, place: Place, runs: dict[Path, Run]) -> Thing:
    if place.run is None:
        files = _result_files(place)
        measures = dict(_measure(path) for path in files)
        models = dict.fromkeys(_model(as_mapping(read_json(path))) for path in files)
        begun = [] if place.only else sorted(place.folder.glob("*.settings.json"))
        names = [path.name.removesuffix(".settings.json") for path in begun]
        open_ones = tuple(f"{name}, which is not finished" for name in names if name not in measures)
        return Thing(label, place, ", ".join(filter(None, models)), measures, unread=open_ones)
    run = runs.setdefault(place.run, read_run(place.run))
    # what was set aside was made by an older recipe, which nobody knows any more
    current = place.folder.name == BASE or STAGE_FOLDER.fullmatch(place.folder.name) is not None
    measures = _stage_measures(place, run.recipe if current else {}, place.run)
    if place.only and place.only not in measures:
        raise InputError(f"{place.given}: the scorecard of {place.stage} has no {place.only}")
    kept = {name: found for name, found in measures.items() if place.only in ("", name)}
    return Thing(label, place, "", kept, run, run.unread)


def _model(data: Mapping[str, Any]) -> str:
    settings = as_mapping(data.get("settings"))
    return text(data.get("model")) or text(settings.get("model"))


def _result_files(place: Place) -> list[Path]:
    """The NAME.json of a folder of results."""
    if place.only:
        return [place.folder / f"{place.only}.json"]
    files = [
        path
        for path in sorted(place.folder.glob("*.json"), key=lambda p: p.stem)
        if _is_result(read_json(path))
    ]
    if files:
        return files
    inside = [
        p for p in sorted(place.folder.iterdir()) if p.is_dir() and (is_run(p) or any(p.glob("*.json")))
    ]
    hint = f"did you mean {' or '.join(str(p) for p in inside[:3])}? " if inside else ""
    raise InputError(f"{place.given} holds neither a run nor results of benchmarks; {hint}{HOW}")


def _is_result(data: Any) -> bool:
    return isinstance(data, Mapping) and "benchmark" in data and "modes" in data


def _measure(path: Path) -> tuple[str, Measure]:
    """A NAME.json of `cascade eval` with what lies beside it."""
    name, score, data = _scored(path)
    source = text(data.get("source"))
    stated = as_mapping(data.get("settings"))
    settings = ({"source": source} if source else {}) | _settings(stated) | _comparer(stated)
    return name, _beside(path, score, settings, data)


def _scored(path: Path) -> tuple[str, BenchmarkScore, Mapping[str, Any]]:
    data = read_record(path, "benchmark", "modes", "headline")
    if data is None:
        raise InputError(f"there is no {path}")
    try:
        name, score = from_json(data)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if name != path.stem:
        raise InputError(f"{path} says that it is of {name!r}: a file was renamed or overwritten")
    return name, score, data


def _beside(
    path: Path, score: BenchmarkScore, settings: Mapping[str, Any], data: Mapping[str, Any]
) -> Measure:
    """A measure with the files beside its NAME.json, as far as they are there."""
    samples, problems = (path.with_name(f"{path.stem}.{kind}.jsonl") for kind in ("samples", "problems"))
    asked = dict(_prompts(problems)) if problems.is_file() else {}
    failed = number(data.get("failed"))
    return Measure(
        Result(score, settings, asked),
        None if failed is None else int(failed),
        number(data.get("seconds")),
        samples if samples.is_file() else None,
        problems if asked else None,
    )


def _stage_measures(place: Place, recipe: Mapping[str, Any], run: Path) -> dict[str, Measure]:
    path = place.folder / "scorecard.json"
    data = read_record(path, "stage", "benchmarks")
    if data is None:
        raise InputError(f"{place.given}: {place.stage} has not been scored yet: there is no {path}")
    try:
        card = scorecard_from_json(data)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    specs = {text(row.get("name")): row for row in map(as_mapping, as_list(recipe.get("benchmarks")))}
    shared = {key: recipe[key] for key in SHARED if key in recipe}
    found = {}
    for name, score in card.benchmarks.items():
        file = place.folder / "eval" / f"{name}.json"
        beside = as_mapping(read_json(file))
        stated = _settings(specs.get(name, {})) | _settings(as_mapping(beside.get("settings")))
        judge = _judge(run, text(as_mapping(beside.get("judged")).get("reward_model")))
        found[name] = _beside(file, score, shared | stated | judge, beside)
    return found


def _settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in NO_SETTINGS}


def _comparer(stated: Mapping[str, Any]) -> dict[str, str]:
    """Who compared replies with a baseline's: a judge model, wherever it is served, or weights."""
    model = text(as_mapping(stated.get("compared_by")).get("model"))
    found = model or text(stated.get("compared_by_weights")) or text(stated.get("compared_by_reward_model"))
    return {"judge": found} if found else {}


def _judge(run: Path, stage: str) -> dict[str, str]:
    """Which reward model judged, by its weights: equal names in two runs are two reward models."""
    if not stage:
        return {}
    entries = map(as_mapping, as_list(as_mapping(read_json(run / "ledger.json")).get("stages")))
    exported = next((as_mapping(row.get("exports")) for row in entries if row.get("stage") == stage), {})
    return {"judge": text(exported.get("reward_model")) or f"{stage} of {run}"}


def json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSONL file, one at a time; InputError, which names the line, for anything else."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for place, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError:
                    raise InputError(f"{path}: line {place} is no JSON") from None
                if not isinstance(row, dict):
                    raise InputError(f"{path}: line {place} is no object")
                yield row


def _prompts(path: Path) -> Iterator[tuple[str, str]]:
    """Problem id -> digest of its messages."""
    for row in json_lines(path):
        asked = json.dumps(row.get("messages"), sort_keys=True)
        yield text(row.get("id")), hashlib.sha256(asked.encode()).hexdigest()
