"""Who judged a benchmark of own pairs, and how far that reward model can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.scores.points import in_points
from cascade_rl.scores.statistics import score
from cascade_rl.types import Score


@dataclass(frozen=True, slots=True)
class Judged:
    """The stage whose reward model judged, and the share of the benchmark's pairs that it ranks right."""

    reward_model: str
    accuracy: Score

    @classmethod
    def by(cls, reward_model: str, wins: list[float]) -> Judged:
        """From whether it is right on each pair: 1, 0, or a half for a tie."""
        return cls(reward_model, score({str(place): [win] for place, win in enumerate(wins)}))

    def to_json(self) -> dict[str, Any]:
        """As it stands in eval/NAME.json and scorecard.json."""
        a = self.accuracy
        return {
            "reward_model": self.reward_model,
            "accuracy": a.mean,
            "low": a.low,
            "high": a.high,
            "pairs": a.n,
        }

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Judged:
        """From what `to_json` gives; InputError for anything else."""
        try:
            mean, low, high = (float(row[key]) for key in ("accuracy", "low", "high"))
            return cls(str(row["reward_model"]), Score(mean, low, high, int(row["pairs"]), 1))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"what is said of the reward model that judged is no record of it: {error!r}"
            ) from None

    def line(self, benchmark: str) -> str:
        """For people, wherever the benchmark is shown."""
        a = self.accuracy
        inside = f"{in_points(a.low)} to {in_points(a.high)}"
        return (
            f"{benchmark}: wins against the chosen answers of own pairs (a tie is half), judged by the "
            f"reward model of {self.reward_model}, which ranks {in_points(a.mean)} % of these {a.n} pairs "
            f"right (95 % interval {inside})"
        )
