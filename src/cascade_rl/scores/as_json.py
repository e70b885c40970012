"""How scores stand in the files of a run: the only writer and the only reader of each format (docs/runs.md).

eval/NAME.json and scorecard.json, gate.json, matrix.json. A reader raises InputError, with what is wrong, for
whatever is no such file; it never fills in what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.scores.gate import Cell, GateResult
from cascade_rl.scores.matrix import Matrix, ModeCell, Row
from cascade_rl.scores.statistics import Direction
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Score, Scorecard


def score_to_json(found: Score) -> dict[str, Any]:
    """A score as it stands in every file of a run."""
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n, "k": found.k}


def mode_to_json(found: ModeScore | ModeCell) -> dict[str, Any]:
    """A mode's numbers without those per problem, as in matrix.json."""
    return {
        "avg": score_to_json(found.average),
        "greedy": score_to_json(found.greedy) if found.greedy else None,
        "leak": found.leak,
        "clipped": found.clipped,
        "mean_tokens": found.mean_tokens,
    }


def to_json(name: str, found: BenchmarkScore) -> dict[str, Any]:
    """The content of eval/NAME.json."""
    modes = {
        str(mode): mode_to_json(m) | {"per_problem": dict(m.per_problem)} for mode, m in found.modes.items()
    }
    return {"benchmark": name, "headline": str(found.headline), "modes": modes}


def from_json(data: Mapping[str, Any]) -> tuple[str, BenchmarkScore]:
    """The name and the score of an eval/NAME.json."""
    with _named("evaluation"):
        # Read apart and first, so that a fault further inside can be told with the name.
        name = data.get("benchmark", "")
    with _named(f"evaluation {name!r}"):
        modes = {Mode(mode): _mode_score(found) for mode, found in data["modes"].items()}
        found = BenchmarkScore(Mode(data["headline"]), modes)
        name = _text(data["benchmark"])
    if found.headline not in modes:
        raise InputError(f"evaluation {name!r}: headline {found.headline} is not among {', '.join(modes)}")
    return name, found


def scorecard_to_json(card: Scorecard) -> dict[str, Any]:
    """The content of scorecard.json."""
    return {
        "stage": card.stage,
        "benchmarks": {name: to_json(name, found) for name, found in card.benchmarks.items()},
    }


def scorecard_from_json(data: Mapping[str, Any]) -> Scorecard:
    """The scorecard of a scorecard.json."""
    with _named("scorecard"):
        missing = {"stage", "benchmarks"} - set(data)
        if missing:
            raise InputError(f"scorecard has no {', '.join(sorted(missing))}")
        return Scorecard(
            _text(data["stage"]), dict(from_json(found) for found in data["benchmarks"].values())
        )


def gate_to_json(result: GateResult) -> dict[str, Any]:
    """The content of gate.json."""
    cells = [
        {
            "benchmark": cell.benchmark,
            "before": cell.before,
            "change": cell.change,
            "low": cell.low,
            "high": cell.high,
            "verdict": str(cell.verdict),
            "excuse": cell.excuse,
        }
        for cell in result.cells
    ]
    return {"stage": result.stage, "passed": result.passed, "cells": cells, "notes": list(result.notes)}


def gate_from_json(data: Mapping[str, Any]) -> GateResult:
    """The result of a gate.json."""
    with _named("gate"):
        cells = tuple(_cell(cell) for cell in data["cells"])
        result = GateResult(_text(data["stage"]), cells, tuple(_text(note) for note in data["notes"]))
        # Written for people and scripts, decided by the cells: where they differ a hand was at the file.
        if data["passed"] is not result.passed:
            raise InputError(f"gate of {result.stage}: passed is {data['passed']}, its cells say otherwise")
        return result


def matrix_to_json(found: Matrix) -> dict[str, Any]:
    """The content of matrix.json."""
    benchmarks = {
        row.name: {
            "own_stage": row.own_stage,
            "headline": str(row.headline),
            "scores": {stage: score_to_json(score) for stage, score in row.scores.items()},
            "modes": {
                stage: {str(mode): mode_to_json(cell) for mode, cell in modes.items()}
                for stage, modes in row.modes.items()
            },
        }
        for row in found.rows
    }
    # seconds of a stage: training and evaluation, all processes that worked at it
    return {"stages": list(found.stages), "benchmarks": benchmarks, "seconds": dict(found.seconds)}


def matrix_from_json(data: Mapping[str, Any]) -> Matrix:
    """The matrix of a matrix.json."""
    with _named("matrix"):
        stages = tuple(_text(stage) for stage in data["stages"])
        rows = tuple(_row(name, row) for name, row in data["benchmarks"].items())
        return Matrix(stages, rows, {stage: _number(s) for stage, s in data["seconds"].items()})


def _row(name: str, data: Mapping[str, Any]) -> Row:
    own = data["own_stage"]
    return Row(
        name,
        None if own is None else _text(own),
        Mode(data["headline"]),
        {stage: _score(score) for stage, score in data["scores"].items()},
        {
            stage: {Mode(mode): _mode_cell(cell) for mode, cell in modes.items()}
            for stage, modes in data["modes"].items()
        },
    )


def _cell(data: Mapping[str, Any]) -> Cell:
    return Cell(
        _text(data["benchmark"]),
        _text(data["before"]),
        _number(data["change"]),
        _number(data["low"]),
        _number(data["high"]),
        Direction(data["verdict"]),
        _text(data["excuse"]),
    )


def _mode_score(data: Mapping[str, Any]) -> ModeScore:
    cell = _mode_cell(data)
    per_problem = {name: _number(value) for name, value in data["per_problem"].items()}
    return ModeScore(
        cell.average, cell.greedy, cell.leak, cell.clipped, cell.mean_tokens, per_problem=per_problem
    )


def _mode_cell(data: Mapping[str, Any]) -> ModeCell:
    leak, clipped = _number(data["leak"]), _number(data["clipped"])
    tokens = math.nan if data["mean_tokens"] == "nan" else _number(data["mean_tokens"])  # nan: nobody knows
    greedy = None if data["greedy"] is None else _score(data["greedy"])
    return ModeCell(_score(data["avg"]), greedy, leak, clipped, tokens)


def _score(data: Mapping[str, Any]) -> Score:
    mean, low, high = (_number(data[key]) for key in ("mean", "low", "high"))
    return Score(mean, low, high, int(_number(data["n"])), int(_number(data["k"])))


def _number(raw: object) -> float:
    """A finite number; a bool is none, and what is not finite was written as text."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise InputError(f"{raw!r} is no number")
    return float(raw)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise InputError(f"{raw!r} is no text")
    return raw


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Inside, a fault of the shape becomes an InputError that says where it is."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{what} has no key {error}") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{what} has another shape than its format: {error}") from None
