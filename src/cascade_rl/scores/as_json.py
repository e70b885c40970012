"""How scores stand in the files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Score, Scorecard


def score_to_json(found: Score) -> dict[str, Any]:
    """A score as it stands in every file of a run."""
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n, "k": found.k}


def mode_to_json(found: ModeScore) -> dict[str, Any]:
    """A mode's numbers without those per problem, as in matrix.json."""
    return {
        "avg": score_to_json(found.average),
        "greedy": score_to_json(found.greedy),
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
    """The name and the score of an eval/NAME.json; InputError naming the file's fault."""
    try:
        modes = {Mode(name): _mode_from_json(mode) for name, mode in data["modes"].items()}
        found = BenchmarkScore(Mode(data["headline"]), modes)
        name = data["benchmark"]
    except KeyError as error:
        raise InputError(f"evaluation {data.get('benchmark', '')!r} has no key {error}") from None
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
    missing = {"stage", "benchmarks"} - set(data)
    if missing:
        raise InputError(f"scorecard has no {', '.join(sorted(missing))}")
    return Scorecard(data["stage"], dict(from_json(found) for found in data["benchmarks"].values()))


def _mode_from_json(data: Mapping[str, Any]) -> ModeScore:
    numbers = {key: float(data[key]) for key in ("leak", "clipped", "mean_tokens")}
    per_problem = {name: float(value) for name, value in data["per_problem"].items()}
    average, greedy = _score_from_json(data["avg"]), _score_from_json(data["greedy"])
    return ModeScore(average, greedy, **numbers, per_problem=per_problem)


def _score_from_json(data: Mapping[str, Any]) -> Score:
    shares = (float(data[key]) for key in ("mean", "low", "high"))
    return Score(*shares, int(data["n"]), int(data["k"]))
