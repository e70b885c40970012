"""The gate, on the report's own matrix and on small cascades made for each rule."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cascade_rl.recipe.scoring import Dip, Gate, Waiver
from cascade_rl.scores.as_json import gate_from_json, gate_to_json
from cascade_rl.scores.gate import check_names, decide
from cascade_rl.scores.statistics import Direction, ProblemMismatchError, published_score, score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore, Scorecard

REPORT_STAGES = ("sft", "rlhf", "if-rl", "math-rl", "code-rl", "swe-rl")
REPORT = {  # arXiv 2512.13607, 8B unified: items, samples, and the score after each stage
    "MMLU": (14_079, 1, (83.0, 83.1, 83.4, 83.4, 83.7, 83.7)),
    "MMLU-Pro": (12_000, 1, (74.4, 77.8, 74.5, 75.0, 75.3, 75.7)),
    "GPQA-D": (198, 8, (63.5, 66.8, 66.1, 65.7, 67.4, 66.5)),
    "ArenaHard": (500, 1, (70.0, 90.1, 88.0, 87.0, 87.8, 87.9)),
    "IFEval": (541, 8, (70.8, 50.1, 90.4, 92.1, 90.7, 90.2)),
    "IFBench": (294, 8, (21.2, 24.5, 40.5, 40.4, 38.1, 40.8)),
    "AIME24": (30, 64, (83.6, 86.1, 86.2, 90.2, 89.1, 89.5)),
    "AIME25": (30, 64, (72.8, 75.0, 75.2, 81.9, 80.5, 80.1)),
    "LCB v5": (279, 8, (59.2, 70.2, 70.2, 70.6, 75.3, 74.3)),
    "LCB v6": (454, 8, (56.7, 67.2, 66.7, 67.4, 71.5, 71.1)),
    "SWE-V": (500, 4, (26.1, 28.2, 28.3, 30.6, 31.6, 37.2)),
}
IFEVAL_DIP = Dip(benchmark="IFEval", at="rlhf", until="if-rl", most=0.25)


def report_cards(**changed: tuple[float, ...]) -> list[Scorecard]:
    """The published matrix, as scorecards that know no problems; `changed` replaces rows."""
    cards = []
    for i, stage in enumerate(REPORT_STAGES):
        found = {}
        for name, (n, k, row) in REPORT.items():
            average = published_score(changed.get(name, row)[i] / 100, n, k)
            mode = ModeScore(average, average, 0.0, 0.0, 0.0, {})
            found[name] = BenchmarkScore(Mode.THINKING, {Mode.THINKING: mode})
        cards.append(Scorecard(stage, found))
    return cards


def run(cards: list[Scorecard], stages: tuple[str, ...], gate: Gate) -> dict[str, bool]:
    """Whether each stage passes."""
    return {card.stage: decide(cards[: i + 1], stages, gate).passed for i, card in enumerate(cards)}


def failing(result) -> list[tuple[str, str]]:
    return [(cell.benchmark, cell.before) for cell in result.cells if cell.fails]


# --- the report's own matrix


def test_the_report_passes_at_every_stage_with_its_one_dip_declared() -> None:
    passed = run(report_cards(), REPORT_STAGES, Gate(dips=[IFEVAL_DIP]))
    assert passed == dict.fromkeys(REPORT_STAGES, True)


def test_without_the_dip_the_report_is_flagged_at_rlhf_and_only_there() -> None:
    passed = run(report_cards(), REPORT_STAGES, Gate())
    assert [stage for stage, ok in passed.items() if not ok] == ["rlhf"]
    assert failing(decide(report_cards()[:2], REPORT_STAGES, Gate())) == [("IFEval", "sft")]


def test_mmlu_pro_falls_beyond_noise_and_says_why_it_passes() -> None:
    result = decide(report_cards()[:3], REPORT_STAGES, Gate(dips=[IFEVAL_DIP]))
    cell = next(c for c in result.cells if c.benchmark == "MMLU-Pro")
    assert (cell.before, cell.verdict, cell.excuse) == (
        "rlhf",
        Direction.LOSS,
        "within the band of 4.0 points",
    )


def test_the_default_band_is_the_smallest_in_whole_points_that_the_report_passes() -> None:
    passed = run(report_cards(), REPORT_STAGES, Gate(band=0.03, dips=[IFEVAL_DIP]))
    assert [stage for stage, ok in passed.items() if not ok] == ["if-rl"]


def test_the_last_stage_is_looked_at_more_strictly() -> None:
    cards = report_cards(**{"MMLU-Pro": (74.4, 77.8, 77.8, 77.8, 77.8, 74.3)})
    settings = Gate(dips=[IFEVAL_DIP])
    assert failing(decide(cards, REPORT_STAGES, settings)) == [("MMLU-Pro", "code-rl")]
    assert decide(cards, (*REPORT_STAGES, "more-rl"), settings).passed


def test_a_dip_that_was_not_recovered_is_flagged_where_it_should_have_been() -> None:
    cards = report_cards(IFEval=(70.8, 50.1, 52.0, 70.0, 70.0, 70.0))
    passed = run(cards, REPORT_STAGES, Gate(dips=[IFEVAL_DIP]))
    assert [stage for stage, ok in passed.items() if not ok] == ["if-rl"]


# --- small cascades with problems


STAGES = ("sft", "rlhf", "if-rl", "math-rl")


def measured(right: int, n: int = 400, mode: Mode = Mode.THINKING, ids: str = "p") -> BenchmarkScore:
    samples = {f"{ids}{i}": [float(i < right)] for i in range(n)}
    average = score(samples)
    per_problem = {name: row[0] for name, row in samples.items()}
    return BenchmarkScore(mode, {mode: ModeScore(average, average, 0.0, 0.0, 1.0, per_problem)})


def cascade(stages: tuple[str, ...] = STAGES, **rows: tuple[int, ...]) -> list[Scorecard]:
    """Scorecards over 400 problems a benchmark; each row has the number right after each stage."""
    length = len(next(iter(rows.values())))
    return [
        Scorecard(stages[i], {name: measured(row[i]) for name, row in rows.items()}) for i in range(length)
    ]


def test_the_first_stage_has_nothing_to_lose() -> None:
    result = decide(cascade(maths=(200,)), STAGES, Gate())
    assert result.passed and result.cells == ()
    assert result.notes == ("maths is measured for the first time",)


def test_a_loss_fails_and_says_so_in_points() -> None:
    result = decide(cascade(maths=(200, 160)), STAGES, Gate())
    assert not result.passed
    assert result.notes[0].startswith("maths fell by 10.0 points from sft to rlhf (95 % interval ")


def test_domains_whose_stage_is_still_to_come_are_guarded_too() -> None:
    result = decide(cascade(alignment=(100, 200), swe=(200, 150)), STAGES, Gate())
    assert failing(result) == [("swe", "sft")]


def test_a_thousand_cuts() -> None:
    """Three falls of 3 points each stay within the band; their sum does not."""
    stages = ("a", "b", "c", "d", "e")
    passed = run(cascade(stages, maths=(240, 228, 216, 204)), stages, Gate())
    assert passed == {"a": True, "b": True, "c": False, "d": False}
    result = decide(cascade(stages, maths=(240, 228, 216)), stages, Gate())
    assert failing(result) == [("maths", "a")]
    assert [c.before for c in result.cells] == ["b", "a"]


def test_cuts_that_each_hide_in_the_noise_of_a_small_benchmark() -> None:
    stages = ("a", "b", "c", "d", "e")

    def card(stage: str, right: int) -> Scorecard:
        return Scorecard(stage, {"aime": measured(right, n=60)})

    cards = [card("a", 50), card("b", 47), card("c", 45), card("d", 41)]
    steps = [decide(cards[: i + 1], stages, Gate()) for i in range(4)]
    assert all(step.cells[0].verdict is Direction.SAME for step in steps[1:])
    assert [step.passed for step in steps] == [True, True, True, False]


def test_noise_of_a_small_benchmark_is_no_loss() -> None:
    cards = [Scorecard("sft", {"aime": measured(20, n=30)}), Scorecard("rlhf", {"aime": measured(17, n=30)})]
    result = decide(cards, STAGES, Gate())
    assert result.passed and result.cells[0].change == pytest.approx(-0.1)
    assert result.cells[0].verdict is Direction.SAME


def test_many_comparisons_ask_for_more_evidence() -> None:
    """Six of 60 problems lost and none gained has p = 1/32: a loss on its own, likely among 40 benchmarks."""

    def cards(others: int) -> list[Scorecard]:
        quiet = {f"other-{i}": measured(30, n=60) for i in range(others)}
        return [
            Scorecard("sft", {"aime": measured(40, n=60), **quiet}),
            Scorecard("rlhf", {"aime": measured(34, n=60), **quiet}),
        ]

    assert failing(decide(cards(0), STAGES, Gate())) == [("aime", "sft")]
    crowded = decide(cards(39), STAGES, Gate())
    assert crowded.passed
    assert crowded.cells[0].excuse == "within the noise of 40 comparisons (p = 0.031)"


def test_a_fall_of_exactly_the_band_is_within_it() -> None:
    cards = report_cards(**{"MMLU-Pro": (90.0, 86.0, 86.0, 86.0, 86.0, 86.0)})
    cell = next(c for c in decide(cards[:2], REPORT_STAGES, Gate()).cells if c.benchmark == "MMLU-Pro")
    assert -cell.change > 0.04  # in the last bit
    assert cell.excuse == "within the band of 4.0 points"


def test_a_run_that_forgets_nothing_is_seldom_stopped() -> None:
    """Six benchmarks of 60 problems over seven equal stages; without rule 3 three runs in four would fail."""
    rng = np.random.default_rng(1)
    stages, failed = tuple("abcdefg"), 0

    def card(stage: str, abilities: list[np.ndarray]) -> Scorecard:
        found = {}
        for j, ability in enumerate(abilities):
            samples = {
                f"p{i}": list(row) for i, row in enumerate(rng.binomial(1, ability, (4, 60)).T.astype(float))
            }
            average = score(samples)
            per_problem = {name: sum(row) / 4 for name, row in samples.items()}
            mode = ModeScore(average, average, 0.0, 0.0, 1.0, per_problem)
            found[f"b{j}"] = BenchmarkScore(Mode.THINKING, {Mode.THINKING: mode})
        return Scorecard(stage, found)

    for _ in range(30):
        abilities = [rng.beta(0.6, 0.6, 60) for _ in range(6)]
        cards = [card(stage, abilities) for stage in stages]
        failed += not all(run(cards, stages, Gate()).values())
    assert failed <= 7


# --- declared dips


DIP = Dip(benchmark="following", at="rlhf", until="if-rl", most=0.2)
DIPPED = Gate(dips=[DIP])


def test_a_declared_dip_passes_and_is_recovered() -> None:
    cards = cascade(following=(200, 150, 198, 200))
    assert all(run(cards, STAGES, DIPPED).values())
    during, after = decide(cards[:2], STAGES, DIPPED), decide(cards[:3], STAGES, DIPPED)
    assert during.cells[0].excuse == "declared dip, to be recovered by if-rl"
    assert during.notes == ("following is 12.5 points below sft: declared dip, open until if-rl",)
    assert after.notes == ("following has recovered from its declared dip at rlhf: -0.5 points against sft",)


def test_a_dip_deeper_than_declared_fails() -> None:
    result = decide(cascade(following=(200, 100)), STAGES, DIPPED)
    assert failing(result) == [("following", "sft")]
    assert any("deeper than the 20.0 declared" in note for note in result.notes)


def test_a_dip_that_deepens_over_several_stages_is_measured_from_its_start() -> None:
    settings = Gate(dips=[Dip(benchmark="following", at="rlhf", until="math-rl", most=0.2)])
    passed = run(cascade(following=(200, 150, 110)), STAGES, settings)
    assert passed == {"sft": True, "rlhf": True, "if-rl": False}


def test_the_depth_of_a_dip_counts_from_the_stage_before_it_not_from_the_best() -> None:
    stages = ("sft-1", *STAGES)
    cards = cascade(stages, following=(240, 226, 150))
    settings = Gate(dips=[Dip(benchmark="following", at="if-rl", until="math-rl", most=0.2)])
    dipped = [
        Scorecard(stage, card.benchmarks)
        for stage, card in zip(("sft-1", "sft", "if-rl"), cards, strict=True)
    ]
    result = decide(dipped, stages, settings)
    assert result.passed and min(cell.change for cell in result.cells) == pytest.approx(-0.225)


def test_a_dip_that_is_not_recovered_fails_at_its_stage_of_recovery() -> None:
    result = decide(cascade(following=(200, 150, 160)), STAGES, DIPPED)
    assert failing(result) == [("following", "sft")]
    assert any("has not recovered" in note for note in result.notes)


def test_the_value_before_the_dip_is_asked_for_even_where_an_older_one_was_better() -> None:
    stages = ("sft-1", *STAGES)
    result = decide(cascade(stages, following=(206, 200, 150, 160)), stages, DIPPED)
    assert {cell.before for cell in result.cells} == {"rlhf", "sft-1", "sft"}
    assert ("following", "sft") in failing(result)


def test_a_dip_excuses_its_own_benchmark_only_and_only_while_open() -> None:
    assert failing(decide(cascade(following=(200, 200), maths=(200, 150)), STAGES, DIPPED)) == [
        ("maths", "sft")
    ]
    late = decide(cascade(following=(200, 200, 150)), STAGES, DIPPED)
    assert failing(late) == [("following", "rlhf"), ("following", "sft")]


@pytest.mark.parametrize(
    ("dip", "message"),
    [
        (
            Dip(benchmark="folowing", at="rlhf", until="if-rl", most=0.2),
            "benchmark 'folowing' is unknown; known: following, maths",
        ),
        (
            Dip(benchmark="following", at="rhlf", until="if-rl", most=0.2),
            "'rhlf' is unknown; known: rlhf, if-rl, math-rl",
        ),
        (Dip(benchmark="following", at="sft", until="if-rl", most=0.2), "one before it.* 'sft' is unknown"),
        (
            Dip(benchmark="following", at="if-rl", until="rlhf", most=0.2),
            "a stage after if-rl.* 'rlhf' is unknown; known: math-rl",
        ),
    ],
)
def test_dips_must_name_what_exists(dip: Dip, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_names(Gate(dips=[dip]), STAGES, {"maths", "following"})
    with pytest.raises(ValueError, match=message):
        decide(cascade(maths=(1,), following=(1,)), STAGES, Gate(dips=[dip]))


# --- waivers


def test_a_waiver_excuses_its_stage_and_later_stages_start_from_there() -> None:
    waiver = Waiver(benchmark="following", stage="rlhf", reason="we ship without it")
    settings = Gate(waivers=[waiver])
    cards = cascade(following=(200, 120, 120, 122), maths=(200, 200, 200, 200))
    assert all(run(cards, STAGES, settings).values())
    waived = decide(cards[:2], STAGES, settings)
    assert waived.cells[0].excuse == "waived: we ship without it"
    assert waived.notes == ("waiver of following: 20.0 points from sft; we ship without it",)
    assert not decide(cascade(following=(200, 120, 90)), STAGES, settings).passed


def test_a_waiver_without_a_loss_says_so() -> None:
    settings = Gate(waivers=[Waiver(benchmark="maths", stage="rlhf", reason="just in case")])
    assert decide(cascade(maths=(200, 200)), STAGES, settings).notes == (
        "waiver of maths: no loss to waive; just in case",
    )


def test_a_waiver_needs_a_reason_and_a_place() -> None:
    with pytest.raises(ValueError, match="say why"):
        Waiver(benchmark="maths", stage="rlhf", reason=" " * 12)
    with pytest.raises(ValueError, match="known: rlhf, if-rl, math-rl"):
        check_names(
            Gate(waivers=[Waiver(benchmark="maths", stage="nope", reason="because we say so")]),
            STAGES,
            {"maths"},
        )


# --- records, errors


def test_only_the_policy_stop_stops() -> None:
    lost = decide(cascade(maths=(200, 100)), STAGES, Gate())
    assert [lost.stops(Gate(policy=p)) for p in ("warn", "stop", "best")] == [False, True, False]
    assert not decide(cascade(maths=(200, 200)), STAGES, Gate()).stops(Gate(policy="stop"))


def test_the_record_is_the_documented_one() -> None:
    data = json.loads(json.dumps(gate_to_json(decide(cascade(following=(200, 150)), STAGES, DIPPED))))
    assert list(data) == ["stage", "passed", "cells", "notes"]
    assert list(data["cells"][0]) == ["benchmark", "before", "change", "low", "high", "verdict", "excuse"]
    assert (data["stage"], data["passed"], data["cells"][0]["verdict"]) == ("rlhf", True, "loss")


def test_the_record_comes_back_from_its_file() -> None:
    result = decide(cascade(following=(200, 150), maths=(200, 120)), STAGES, DIPPED)
    data = json.loads(json.dumps(gate_to_json(result)))
    assert gate_from_json(data) == result and not result.passed
    with pytest.raises(ValueError, match="gate of rlhf: passed is True, its cells say otherwise"):
        gate_from_json(data | {"passed": True})
    with pytest.raises(ValueError, match="gate has no key 'cells'"):
        gate_from_json({"stage": "rlhf", "passed": True, "notes": []})
    for other in ([], None, {"cells": 3}, {"cells": [1], "stage": "rlhf", "notes": [], "passed": True}):
        with pytest.raises(ValueError, match="gate has another shape"):
            gate_from_json(other)


def test_a_stage_that_changed_no_weights_passes() -> None:
    cards = cascade(maths=(200,))
    repeated = Scorecard("rlhf", cards[0].benchmarks)
    assert decide([*cards, repeated], STAGES, Gate()).passed


def test_a_loss_in_the_other_mode_is_noted_not_judged() -> None:
    def both(thinking: int, instruct: int) -> BenchmarkScore:
        modes = measured(thinking).modes | measured(instruct, mode=Mode.INSTRUCT).modes
        return BenchmarkScore(Mode.THINKING, modes)

    cards = [Scorecard("sft", {"maths": both(200, 200)}), Scorecard("rlhf", {"maths": both(200, 100)})]
    result = decide(cards, STAGES, Gate())
    assert result.passed
    assert result.notes == ("maths in instruct mode fell by 25.0 points from sft; not judged",)


def test_errors_say_what_is_wrong_with_the_cards() -> None:
    cards = cascade(maths=(200, 200))
    with pytest.raises(ValueError, match="no scorecards"):
        decide([], STAGES, Gate())
    with pytest.raises(ValueError, match="out of order: rlhf, sft"):
        decide(cards[::-1], STAGES, Gate())
    with pytest.raises(ValueError, match="'rlhf' is unknown; known: sft"):
        decide(cards, ("sft",), Gate())
    with pytest.raises(ValueError, match="rlhf lacks benchmarks measured before: maths"):
        decide([cards[0], Scorecard("rlhf", {})], STAGES, Gate())
    with pytest.raises(ProblemMismatchError, match="400 of 400 are missing after"):
        decide([cards[0], Scorecard("rlhf", {"maths": measured(5, ids="q")})], STAGES, Gate())
    with pytest.raises(ValueError, match="was not measured in instruct mode after sft"):
        decide([cards[0], Scorecard("rlhf", {"maths": measured(5, mode=Mode.INSTRUCT)})], STAGES, Gate())


@pytest.mark.parametrize("wrong", [{"policy": "shrug"}, {"band": 4}, {"band": -0.1}, {"final_band": 0.1}])
def test_settings_refuse_what_makes_no_sense(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"policy|band"):
        Gate(**wrong)


def test_a_dip_has_a_depth() -> None:
    with pytest.raises(ValueError, match=r"most\n.*less than or equal to 1"):
        Dip(benchmark="maths", at="rlhf", until="if-rl", most=20)
