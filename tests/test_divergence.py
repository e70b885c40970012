"""SFT and reward models that fly apart: told while it happens, and no stage that ends well."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tiny import Policy, random_flat, stage_run, toy_domain

from cascade_rl.data import demonstrations
from cascade_rl.data.pairs import preference_pairs
from cascade_rl.errors import StageError
from cascade_rl.recipe import RewardModelStage, SFTStage
from cascade_rl.run.alarms import lost, warnings
from cascade_rl.run.journal import read_lines
from cascade_rl.testing import QuietScreen
from cascade_rl.train import reward_model, sft
from cascade_rl.types import Split

GOLDEN = json.loads((Path(__file__).parent / "golden" / "golden.json").read_text())


def sft_stage(**keys) -> SFTStage:
    data = [{"domain": "toy", "modes": ["instruct"]}]
    return SFTStage(name="sft", kind="sft", samples=30, batch_size=4, data=data, **keys)


def train_sft(folder: Path, stage: SFTStage, **rest) -> QuietScreen:
    screen, domain = QuietScreen(), {"toy": toy_domain()}
    with stage_run(folder, stage, domain, Policy(scale=0.1), screen=screen, **rest) as run:
        sft.train(run, demonstrations.provide(stage, domain, 0))
    return screen


def losses(folder: Path) -> list[float]:
    lines = read_lines(folder / "journal.jsonl")
    return [float(line["metrics"]["loss"]) for line in lines if line["kind"] == "step"]


def test_a_diverging_sft_stage_stops_with_a_reason(tmp_path):
    with pytest.raises(StageError, match=r"sft diverged: its loss was .* lower the learning rate") as told:
        train_sft(tmp_path, sft_stage(steps=60, lr=3.0))
    found = losses(tmp_path)
    assert 13 <= len(found) < 60, "long before its end"
    # by hand, apart from the rule's own code: worse than 3 times the start and than guessing among 300 tokens
    assert sum(found[-10:]) / 10 > max(3 * min(found[:3]), math.log(300))
    assert f"{found[0]:.3g} at the first step" in str(told.value)
    notes = [line["text"] for line in read_lines(tmp_path / "journal.jsonl") if line["kind"] == "note"]
    assert any("Loss above 3 × its start" in text for text in notes)


def test_a_stage_of_few_steps_that_diverged_does_not_end_well(tmp_path):
    with pytest.raises(StageError, match="after 6, worse than knowing nothing"):
        train_sft(tmp_path, sft_stage(steps=6, lr=3.0))


def test_a_smoke_test_notes_it_and_goes_on(tmp_path):
    screen = train_sft(tmp_path, sft_stage(steps=6, lr=3.0), smoke=True)
    assert [note for note in screen.notes if "diverged" in note and "goes on" in note]


def test_a_diverging_reward_model_stops(tmp_path):
    keys = {"steps": 40, "lr": 3.0, "batch_size": 4, "pairs": 20}
    stage, domain = RewardModelStage(name="rm", kind="reward_model", domain="toy", **keys), toy_domain()
    # pairs of both orders: nothing can be learnt, so a large step only adds to the loss
    pairs = preference_pairs(stage, domain, Split.RL, stage.pairs, 0)
    policy = Policy(scale=0.1)
    extra = {"score": (1, policy.config.hidden)}
    flat = random_flat(policy.config, 1, 0.1, extra)
    policy.replicas.add_model("reward", policy.config, flat, train=True, extra=extra)
    mixed = [type(p)(p.problem, *((p.rejected, p.chosen) if i % 2 else (p.chosen, p.rejected)))
             for i, p in enumerate(pairs)]  # fmt: skip
    with (
        stage_run(tmp_path, stage, {"toy": domain}, policy, model="reward") as run,
        pytest.raises(StageError, match="rm diverged"),
    ):
        reward_model.fit(run, mixed)


@pytest.mark.parametrize(("stage", "chance"), [("sft", math.log(300)), ("reward", math.log(2))])
def test_the_golden_runs_are_far_from_it(stage, chance):
    steps = GOLDEN[stage]
    found = [step["loss"] for step in steps]
    assert not any(lost(found[:n], chance / 2, ended=True) for n in range(len(found) + 1))
    assert not any(warnings(steps[:n]) for n in range(1, len(steps) + 1))


@pytest.mark.parametrize(
    ("found", "is_lost"),
    [
        ([1.0] * 3 + [6.1] * 10, True), ([1.0] * 3 + [5.9] * 10, False),  # chance is 6, three times the start 3
        ([4.0] * 3 + [11.9] * 10, False), ([4.0] * 3 + [12.1] * 10, True),
        ([1.0] * 3 + [50.0] * 9, False),  # nine steps are no ten
        ([1.0] * 3 + [50.0] * 10 + [1.0] * 10, False),  # it came back
        ([1.0] * 3 + [100.0] + [1.0] * 20, False), ([], False), ([math.nan] * 20, False),
        ([1.0] + [50.0] * 12, True),  # from the first update on: the steps after it are no start
        ([1.0] * 3 + [math.inf] * 3 + [9.0] * 7, False),
    ],
)  # fmt: skip
def test_the_rule_at_its_threshold(found, is_lost):
    assert lost(found, 6.0) is is_lost


def test_rl_hears_no_alarm_of_its_loss():
    """Its loss swings about zero: three times the start says nothing there."""
    history = [{"reward": 0.5, "loss": loss, "grad_norm": 1.0} for loss in (0.001, 0.001, 0.001, 0.1)]
    assert not warnings(history)
    assert len(warnings([{"loss": m["loss"]} for m in history])) == 1


@pytest.mark.parametrize(("last", "count"), [(9.9, 0), (10.1, 1)])
def test_a_gradient_that_explodes_is_told(last, count):
    history = [{"loss": 1.0, "grad_norm": norm} for norm in (1.0, 1.0, 2.0, 0.5, 1.0, last)]
    assert len(warnings(history)) == count
