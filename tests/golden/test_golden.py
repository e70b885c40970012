"""Thirty steps with fixed seeds: ten of SFT, ten of a reward model, ten of RL; their numbers are kept in golden.json.

A change of these numbers means that training itself has changed: the template, the tokenizer, the order of the data,
a random stream, an objective, the optimiser, the sampler. That is right only when it was meant. Then look at which
stage changed first, say why in the commit, and write the new numbers:

    python tests/golden/test_golden.py --regenerate

A refactoring, a speed-up or another micro-batch size must leave them as they are. The model is tiny and random, in fp32
with one worker; the problems are a toy domain of the tests, so that work on the real domains changes nothing here.
Numbers are held to 1e-4 relative: other processors round differently, but no sampled token should flip.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import Policy, random_flat, stage_run, toy_domain

from cascade_rl.data import demonstrations
from cascade_rl.data.pairs import preference_pairs
from cascade_rl.recipe import RewardModelStage, RLStage, SFTStage
from cascade_rl.run.journal import read_lines
from cascade_rl.train import reward_model, rl, sft
from cascade_rl.types import Pools, Split

FILE = Path(__file__).with_name("golden.json")
KEPT = ("loss", "grad_norm", "reward", "entropy", "length", "accuracy", "margin", "tokens")
SHARED = {"lr": 3e-3, "schedule": "cosine", "warmup_steps": 2, "steps": 10, "tokens_per_microbatch": 200}
SFT = SFTStage(
    name="sft",
    kind="sft",
    samples=60,
    batch_size=8,
    data=[{"domain": "toy", "modes": ["thinking", "instruct"]}],
    **SHARED,
)
REWARD = RewardModelStage(name="reward", kind="reward_model", domain="toy", pairs=40, batch_size=8, **SHARED)
RL = RLStage(
    name="rl", kind="rl", data=[{"domain": "toy"}], prompts_per_step=4, rollouts_per_prompt=4, mode_mix="half",
    max_response_tokens=16, temperature=0.9, top_p=0.95, filter={"kind": "epoch"}, **SHARED,
)  # fmt: skip


def run_all(folder: Path, policy: Policy | None = None) -> dict[str, list[dict[str, float]]]:
    """The numbers of every step of the three stages, as their journals hold them."""
    policy = policy or Policy(seed=0, scale=0.1)
    domain = toy_domain()
    extra = {"score": (1, policy.config.hidden)}
    flat = random_flat(policy.config, 1, 0.1, extra)
    policy.replicas.add_model("reward", policy.config, flat, train=True, extra=extra)

    domains = {"toy": domain}

    def begin(stage, model="policy"):
        return stage_run(folder / stage.name, stage, domains, policy, model=model)

    with begin(SFT) as run:
        sft.train(run, demonstrations.provide(SFT, domains, 0))
    with begin(REWARD, "reward") as run:
        reward_model.fit(run, preference_pairs(REWARD, domain, Split.RL, REWARD.pairs, 0))
    with begin(RL) as run:
        rl.train(run, Pools((tuple(islice(domain.problems("builtin", Split.RL, 0), 13)),)))
    return {stage.name: numbers(folder / stage.name) for stage in (SFT, REWARD, RL)}


def numbers(folder: Path) -> list[dict[str, float]]:
    lines = [line for line in read_lines(folder / "journal.jsonl") if line["kind"] == "step"]
    return [{key: line["metrics"][key] for key in KEPT if key in line["metrics"]} for line in lines]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_all(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("stage", ["sft", "reward", "rl"])
def test_training_gives_the_numbers_it_gave_before(found, stage):
    wanted = json.loads(FILE.read_text())[stage]
    assert len(found[stage]) == len(wanted) == 10
    for step, (mine, theirs) in enumerate(zip(found[stage], wanted, strict=True)):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6), (
            f"{stage}, step {step}; see the docstring of this file"
        )


def test_two_sharded_workers_give_these_numbers_too(tmp_path):
    policy = Policy(2, seed=0, scale=0.1, sharded=True)
    with policy.replicas:
        found, wanted = run_all(tmp_path, policy), json.loads(FILE.read_text())
    for stage, steps in wanted.items():
        for step, (mine, theirs) in enumerate(zip(found[stage], steps, strict=True)):
            assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-5), f"{stage}, step {step}"


def test_the_golden_run_learns():
    """Numbers that are kept should be those of something that works."""
    wanted = json.loads(FILE.read_text())
    assert wanted["sft"][-1]["loss"] < wanted["sft"][0]["loss"] - 0.5
    assert wanted["reward"][-1]["loss"] < wanted["reward"][0]["loss"]
    assert all(0 < step["grad_norm"] < 100 for steps in wanted.values() for step in steps)
    assert any(0 < step["reward"] < 1 for step in wanted["rl"])


if __name__ == "__main__":
    if sys.argv[1:] != ["--regenerate"]:
        sys.exit("python tests/golden/test_golden.py --regenerate")
    with tempfile.TemporaryDirectory() as place:
        FILE.write_text(json.dumps(run_all(Path(place)), indent=1) + "\n")
    print(f"wrote {FILE}")
