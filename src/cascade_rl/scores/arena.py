"""What the games of Arena-Hard say, from stored samples alone: no judge is asked and nothing is graded.

Each judged sample holds in its `parts` the two games of a reply against the baseline's answer, from -2
(significantly worse) to 2, and the styles of both. From these come the win rate as the public leaderboard has
it, what the order of the answers did to the judge, and the win rate at equal style.

Style control follows github.com/lmarena/arena-hard-auto (`show_result.py`): the difference in length over the
sum, and those of headers, list items and bold passages a character, (a - b) / (a + b + 1), each divided by
its standard deviation. There the features are centred as well, over the games of many models; with one model
that would move its own average style into its strength, and nothing would be controlled for. Here a feature
of 0 is equal style, and the win rate is told there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cascade_rl.scores.elo import (
    Estimate,
    Floats,
    Games,
    at_equality,
    elo,
    fitted,
    interval,
    resampled,
    win_rate,
)
from cascade_rl.scores.samples import Sample as Stored
from cascade_rl.scores.samples import to_line

AB, BA = "game_ab", "game_ba"  # the reply stands first, the reply stands second
OWN, OTHER = "own_", "baseline_"  # before the name of a style
STYLES = ("length", "headers", "lists", "bold")
# A game that was won or lost significantly counts as three: `weight=3` of the public `load_judgments`.
STRONG = 3
WORDS = {2: "much better", 1: "better", 0: "tie", -1: "worse", -2: "much worse"}

Sample = Mapping[str, Any]


def points(game: float) -> tuple[float, int]:
    """What a game is worth, 1, a half or 0, and how many games it counts as."""
    return (1.0 if game > 0 else 0.5 if game == 0 else 0.0), STRONG if abs(game) == 2 else 1


@dataclass(frozen=True, slots=True)
class Battles:
    """The judged games in the order of their prompts, two for each reply: it stands first, then second.

    place        [N] 1 where the reply stands first, -1 where it stands second
    differences  [N, styles] how the reply's style differs from the baseline's, on no common scale
    """

    games: Games
    strength: tuple[float, ...]
    place: Floats
    differences: Floats

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Battles:
        """From samples that all have a verdict."""
        parts = [(str(s["problem"]), s["parts"]) for s in sorted(samples, key=_place_in_file)]
        number = {name: at for at, name in enumerate(dict.fromkeys(name for name, _ in parts))}
        prompt = np.repeat([number[name] for name, _ in parts], 2)
        strength = tuple(float(each[key]) for _, each in parts for key in (AB, BA))
        won, weight = np.array([points(game) for game in strength]).T
        place = np.tile([1.0, -1.0], len(parts))
        differences = np.repeat(_differences([each for _, each in parts]), 2, axis=0)
        return cls(Games(prompt, won, weight), strength, place, differences)

    def equally(self, won: Floats | None = None) -> Games:
        """The games with one weight, perhaps with another result."""
        games = self.games
        return replace(games, won=games.won if won is None else won, weight=np.ones(len(games.won)))


def _place_in_file(sample: Sample) -> tuple[str, int]:
    return str(sample["problem"]), int(sample["sample"])


def style_difference(parts: Mapping[str, float]) -> list[float] | None:
    """The reply's style against the baseline's, each from -1 to 1; None where there was no answer."""
    if OWN + STYLES[0] not in parts:
        return None
    (own, *own_marks), (other, *other_marks) = (
        [float(parts[side + name]) for name in STYLES] for side in (OWN, OTHER)
    )
    # a user's baseline may be empty, a reply that was judged is not
    densities = [(a / own, b / max(other, 1)) for a, b in zip(own_marks, other_marks, strict=True)]
    return [(own - other) / (own + other), *((a - b) / (a + b + 1) for a, b in densities)]


def _differences(samples: Sequence[Mapping[str, float]]) -> Floats:
    """[N, styles] of each reply; one without an answer has those of the others on average.

    It has lost for want of an answer: as a short one it would be excused, as one of equal style it would make
    long ones look good. So it counts against the strength, whatever the style.
    """
    found = [style_difference(parts) for parts in samples]
    known = [each for each in found if each is not None]
    usual = np.mean(known, axis=0).tolist() if known else [0.0] * len(STYLES)
    return np.array([usual if each is None else each for each in found])


def arena_summary(
    samples: Sequence[Sample], groups: Mapping[str, str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """The statistics of stored samples of one mode, as JSON; the same for the same samples in any order.

    `groups` names the part of the benchmark that a problem belongs to, by its id; the leaderboard of
    Arena-Hard v2.0 has its hard prompts and its creative writing apart. Samples whose reward is null had no
    verdict: they are counted and stand in no number. All shares are from 0 to 1, with 95 % intervals.
    """
    judged = [sample for sample in samples if sample["reward"] is not None]
    counts = {
        "replies": len(samples),
        "judged": len(judged),
        "nulls": len(samples) - len(judged),
        "unanswered": sum(OWN + STYLES[0] not in sample["parts"] for sample in judged),
        "strong_weight": STRONG,
    }
    if not judged:
        return counts
    parts: dict[str, list[Sample]] = {}
    for sample in judged if groups else ():
        parts.setdefault((groups or {}).get(str(sample["problem"]), "other"), []).append(sample)
    whole = _described(judged, seed)
    # one group is the whole, said twice
    apart = {name: _described(parts[name], seed) for name in sorted(parts)} if len(parts) > 1 else {}
    return {**counts, **whole, **({"groups": apart} if apart else {})}


def arena_also(
    samples: Sequence[Stored], meta: Mapping[str, Mapping[str, Any]], seed: int = 0
) -> dict[str, Any]:
    """What `arena_summary` says of each mode of a benchmark's samples: `Benchmark.also` of Arena-Hard.

    `meta` of a problem, by its id, may name its `group`.
    """
    groups = {name: str(said["group"]) for name, said in meta.items() if "group" in said}
    lines: dict[str, list[Sample]] = {}
    for one in samples:
        if not one.greedy:
            lines.setdefault(str(one.mode), []).append(to_line(one))
    return {mode: arena_summary(lines[mode], groups, seed) for mode in sorted(lines)}


def arena_lines(name: str, also: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What `arena_also` found, for people; nothing where there is none, or no verdict."""

    def told(estimate: Mapping[str, float]) -> str:
        mean, low, high = (f"{estimate[key] * 100:.1f}" for key in ("mean", "low", "high"))
        return f"{mean} ({low} to {high})"

    lines = []
    for mode, found in also.items():
        if "win_rate" in found and "place" in found:
            place = found["place"]
            lines += [
                f"{name}, {mode}: wins {told(found['win_rate'])} with significant ones thrice, "
                f"{told(found['style']['win_rate'])} at equal style; standing first is worth "
                f"{told(place['advantage'])}, {place['disagree']['mean']:.0%} of the pairs of games disagree"
            ]
            lines += [f"{name}, {mode}: {found['nulls']} replies have no verdict"] if found["nulls"] else []
    return lines


def _described(samples: Sequence[Sample], seed: int) -> dict[str, Any]:
    battles = Battles.of(samples)
    drawn = resampled(battles.games.prompts, ("arena", seed))
    rate = win_rate(battles.games, drawn)
    seen = Counter(battles.strength)
    points_above = elo(rate.mean)
    return {
        "prompts": battles.games.prompts,
        "win_rate": rate.to_json(),
        "elo": None if points_above is None else round(points_above, 2),
        "unweighted_win_rate": win_rate(battles.equally(), drawn).to_json(),
        "labels": {word: seen[strength] for strength, word in WORDS.items()},
        "place": _place(battles, drawn),
        "style": _style(battles, drawn),
    }


def _place(battles: Battles, drawn: Floats) -> dict[str, Any]:
    """What standing first was worth, and the win rate without it.

    disagree   the share of replies of whose two games one has another winner, or none, than the other
    opposite   of whose two games each has another winner: the judge took the first twice, or the second
    advantage  the share of games that the first answer won less the share that it lost
    win_rate   Bradley-Terry with the place as a covariate: averages over both orders draw a biased judge's
               win rate towards a half, this does not
    """
    first = np.where(battles.place > 0, battles.games.won, 1 - battles.games.won)
    share = win_rate(battles.equally(first), drawn)
    won_ab, won_ba = battles.games.won[::2], battles.games.won[1::2]
    once = replace(battles.equally(), prompt=battles.games.prompt[::2], weight=np.ones(len(won_ab)))
    design = np.stack([np.ones(len(first)), battles.place], axis=1)
    return {
        "disagree": win_rate(replace(once, won=(won_ab != won_ba).astype(float)), drawn).to_json(),
        "opposite": win_rate(replace(once, won=(abs(won_ab - won_ba) == 1).astype(float)), drawn).to_json(),
        "advantage": Estimate(*(2 * x - 1 for x in (share.mean, share.low, share.high))).to_json(),
        "win_rate": at_equality(*fitted(battles.games, design, drawn)).to_json(),
    }


def _style(battles: Battles, drawn: Floats) -> dict[str, Any]:
    """The win rate at equal style, and what a standard deviation of each style is worth in logits.

    A style that differs by the same amount in all games can't be told from strength: it is left out, by name.
    """
    spread = battles.differences.std(axis=0)
    told = [at for at in range(len(STYLES)) if spread[at] > 1e-9]
    scaled = battles.differences[:, told] / spread[told]
    design = np.column_stack([np.ones(len(scaled)), scaled])
    best, each = fitted(battles.games, design, drawn)
    estimates = [interval(float(best[at + 1]), each[:, at + 1]).to_json() for at in range(len(told))]
    return {
        "win_rate": at_equality(best, each).to_json(),
        "coefficients": dict(zip([STYLES[at] for at in told], estimates, strict=True)),
        "mean_differences": dict(
            zip(STYLES, battles.differences.mean(axis=0).round(6).tolist(), strict=True)
        ),
        "left_out": [name for at, name in enumerate(STYLES) if at not in told],
    }
