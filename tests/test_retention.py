"""Retention: one rule, told alike by the model card and by the page, and checked against brute force."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from score_cards import OWN, cards, measured

from cascade_rl.report.card_tables import retention_markdown
from cascade_rl.report.read import read_run
from cascade_rl.report.retention import matrix_retentions, run_retentions
from cascade_rl.run.files import write_json
from cascade_rl.scores.as_json import matrix_to_json, scorecard_to_json
from cascade_rl.scores.gate import FINAL_BAND
from cascade_rl.scores.matrix import matrix
from cascade_rl.scores.retention import Retention, Since, retentions
from cascade_rl.scores.statistics import Direction, compare, published_score, score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard

STAGES = ("sft", "rlhf", "if-rl", "math-rl", "code-rl")


def test_retention_against_own_stage_and_best() -> None:
    maths, following = retentions(cards(), OWN)
    assert (maths.own_stage, maths.final) == ("math-rl", "swe-rl")
    assert maths.since_own is not None and maths.since_best is not None
    assert (maths.since_own.stage, maths.since_best.stage) == ("math-rl", "math-rl")
    assert maths.since_own.change.change == pytest.approx(0.005)
    assert maths.since_own.change.verdict is Direction.SAME
    assert following.since_best is not None and following.since_best.stage == "if-rl"
    assert following.since_best.change.change == pytest.approx(-0.19)
    assert following.since_best.fell and following.since_best.lost


def test_nothing_is_retained_before_there_is_a_past() -> None:
    for own in (OWN, {}):
        (only,) = retentions([Scorecard("sft", {"maths": measured(3)})], own)
        assert (only.final, only.since_own, only.since_best) == ("sft", None, None)


def test_a_benchmark_whose_own_stage_is_to_come_or_has_just_been_is_held_against_its_best_alone() -> None:
    early = retentions(cards()[:2], OWN)
    assert [(k.own_stage, k.since_own) for k in early] == [("math-rl", None), ("if-rl", None)]
    assert [k.since_best.stage for k in early] == ["sft", "sft"]


def test_a_certain_fall_within_the_band_is_not_lost() -> None:
    def card(stage: str, mean: float) -> Scorecard:
        average = published_score(mean, 100_000)
        mode = ModeScore(average, average, 0.0, 0.0, 1.0, {})
        return Scorecard(stage, {"x": BenchmarkScore(Mode.THINKING, {Mode.THINKING: mode})})

    for fall, lost in ((0.02, False), (FINAL_BAND, False), (0.031, True)):
        (kept,) = retentions([card("sft", 0.8), card("rlhf", 0.8 - fall)], {})
        assert kept.since_own.fell and kept.since_own.lost is lost


# --- both uses against brute force


def random_cards(rng: random.Random) -> tuple[list[Scorecard], dict[str, str]]:
    """Two to five scorecards; a benchmark may come late, know no problems, or have other ones once."""
    stages = STAGES[: rng.randint(2, 5)]
    found: dict[str, dict[str, BenchmarkScore]] = {stage: {} for stage in stages}
    own = {}
    for j in range(rng.randint(1, 4)):
        name, n, k = f"b{j}", rng.choice([1, 7, 40]), rng.choice([1, 2])
        if rng.random() < 0.7:
            own[name] = rng.choice(STAGES)
        odd, start = rng.choice([None, *stages]), rng.randint(0, len(stages) - 1) if rng.random() < 0.3 else 0
        for stage in stages[start:]:
            prefix = "q" if stage == odd else "p"
            level = rng.random()
            samples = {f"{prefix}{i}": [float(rng.random() < level) for _ in range(k)] for i in range(n)}
            average = score(samples)
            means = {key: sum(row) / k for key, row in samples.items()}
            other = ModeScore(average, average, 0.0, 0.0, 1.0, means if rng.random() < 0.8 else {})
            found[stage][name] = BenchmarkScore(Mode.INSTRUCT, {Mode.THINKING: other, Mode.INSTRUCT: other})
    return [Scorecard(stage, benchmarks) for stage, benchmarks in found.items()], own


def brute(cards: list[Scorecard], name: str, own: str | None) -> tuple:
    """Final, own and best stage with their changes, spelt out; None where there is nothing to compare."""
    rows = [
        (card.stage, card.benchmarks[name].modes[Mode.INSTRUCT]) for card in cards if name in card.benchmarks
    ]
    final, last = rows[-1]
    wanted = rows[0][0] if own is None else own

    def against(stage: str, before: ModeScore) -> tuple:
        same = set(before.per_problem) == set(last.per_problem) and before.per_problem
        bare = ModeScore(before.average, before.greedy, 0.0, 0.0, 1.0, {})
        change = compare(before if same else bare, last)
        return stage, change.change, change.low, change.high

    since_own = [against(stage, found) for stage, found in rows[:-1] if stage == wanted]
    best = None
    for stage, found in rows[:-1]:
        if best is None or found.average.mean > best[1].average.mean:
            best = (stage, found)
    return final, since_own[0] if since_own else None, against(*best) if best else None


def plain(kept: Retention) -> tuple:
    def numbers(since: Since | None) -> tuple | None:
        return since and (since.stage, since.change.change, since.change.low, since.change.high)

    return kept.final, numbers(kept.since_own), numbers(kept.since_best)


@pytest.mark.parametrize("seed", range(40))
def test_card_and_page_give_the_same_numbers_as_brute_force(seed: int, tmp_path: Path) -> None:
    cards, own = random_cards(random.Random(seed))
    cards = [card for card in cards if card.benchmarks]
    wanted = {
        name: brute(cards, name, own.get(name)) for name in {n for card in cards for n in card.benchmarks}
    }
    found = matrix(cards, own, {})
    for i, card in enumerate(cards):
        write_json(
            tmp_path / "stages" / f"{i + 1:02d}-{card.stage}" / "scorecard.json", scorecard_to_json(card)
        )
    write_json(tmp_path / "matrix.json", matrix_to_json(found))
    of_card, of_page = retentions(cards, own), run_retentions(read_run(tmp_path))
    assert {kept.benchmark: plain(kept) for kept in of_card} == wanted
    assert of_page == of_card
    assert retention_markdown(of_page) == retention_markdown(of_card)
    alone = {kept.benchmark: plain(kept) for kept in matrix_retentions(found)}
    assert {name: (row[0], row[1] and row[1][0], row[2] and row[2][0]) for name, row in alone.items()} == {
        name: (row[0], row[1] and row[1][0], row[2] and row[2][0]) for name, row in wanted.items()
    }
