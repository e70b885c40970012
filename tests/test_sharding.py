"""A model sharded over two processes (FSDP2 over gloo, the path of several GPUs) beside the same in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from sharded_cases import ADAPTERS, CASES, MUON, SPEC, Case, difference, learning, make_rows, step, trained
from tiny import logits, random_flat, raw_config, stage_run, tokenizer, toy_domain, toy_problem

from cascade_rl.data.demonstrations import provide
from cascade_rl.errors import Interrupted
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import SFTStage
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.testing import QuietScreen
from cascade_rl.train import sft
from cascade_rl.train.batch import Row, microbatches, shares
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective

POLICY = Objective(ON_POLICY)


@pytest.fixture(scope="module")
def sharded():
    with Replicas(2, sharded=True) as replicas:
        yield replicas


@pytest.fixture(scope="module")
def shared():
    with Replicas(2) as replicas:
        yield replicas


@pytest.mark.parametrize("name", CASES)
def test_training_is_that_of_one_process(name, sharded):
    case = CASES[name]
    one = trained(case, Replicas(1, precision=case.precision))
    metrics, weights = difference(case, one, trained(case, sharded))
    assert metrics < case.rounding and weights < case.rounding
    assert not torch.equal(one[1], random_flat(case.config, 4, 0.1, case.extra)), "nothing was trained"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.precision == "bf16"])
def test_bf16_rounds_where_two_processes_over_shared_memory_round(name, sharded, shared):
    """They see the same rows, so that only the order of fp32 sums is left to differ: a hundredth of bf16's rounding."""
    case = CASES[name]
    metrics, weights = difference(case, trained(case, shared), trained(case, sharded))
    assert metrics < 2e-4 and weights < 5e-4


def test_the_cases_hold_unlike_shares():
    rows = make_rows(9, 0)
    counts = [len(microbatches([rows[i] for i in s], SPEC.tokens_per_microbatch)) for s in shares(rows, 2)]
    assert counts[0] != counts[1] and min(counts) > 0
    assert [len(s) for s in shares(make_rows(1, 0), 2)] == [1, 0]


def test_sampling_uses_the_weights_after_the_update(sharded):
    """Both workers', to the last bit: their copies are the fp32 weights that the driver gathers."""
    case = CASES["rl"]
    with learning(case, sharded) as learner:
        before = sharded.flat("policy")
        step(case, learner, 0)
        flat, copies = sharded.flat("policy"), sharded.all(_copies, "policy")
        groups = TorchSampler(sharded, tokenizer()).sample(
            [toy_problem(i) for i in range(6)], Sampling(2, 8, seed=(1,))
        )
    assert (flat - before).abs().max() > 1e-3
    for found in copies:
        assert torch.equal(found, flat)
    for rollout in (r for group in groups for r in group):
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
        found = logits(case.config, flat, ids)[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        wanted = found.gather(-1, torch.tensor(rollout.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(rollout.logprobs), wanted, rtol=0, atol=1e-4)


def _copies(worker, name):
    return torch.cat([weight.flatten() for weight in worker.models[name].weights.values()])


@pytest.mark.parametrize("spec", [SPEC, MUON, ADAPTERS], ids=["adamw", "muon", "lora"])
def test_a_saved_optimiser_goes_on_bit_for_bit(spec, sharded, tmp_path):
    case = Case(POLICY, spec)
    whole = trained(case, sharded, 4)
    with learning(case, sharded) as learner:
        first = [step(case, learner, number) for number in range(2)]
        flat = sharded.flat("policy")
        learner.save(tmp_path)
    with learning(case, sharded) as learner:
        sharded.load("policy", flat)
        learner.load(tmp_path)
        second = [step(case, learner, number) for number in (2, 3)]
        assert torch.equal(sharded.flat("policy"), whole[1]) and first + second == whole[0]
    with (
        learning(case, Replicas(1)) as learner,
        pytest.raises(ValueError, match=r"saved by 2 workers.*set workers: 2"),
    ):
        learner.load(tmp_path)


def test_a_stopped_stage_ends_as_if_it_had_not_been(sharded, tmp_path):
    stage = SFTStage(name="sft", kind="sft", samples=20, batch_size=4, data=[{"domain": "toy"}], steps=6, lr=1e-3,
                     tokens_per_microbatch=200)  # fmt: skip
    ends = []
    with learning(CASES["sft"], sharded):
        start = sharded.flat("policy")
        for folder, stop_at in (("whole", None), ("cut", 2), ("cut", None)):
            told = []
            policy = SimpleNamespace(
                replicas=sharded, tokenizer=tokenizer(), raw={}, config=DecoderConfig.from_hf(raw_config())
            )
            sharded.load("policy", start)
            screen, domains = QuietScreen(), {"toy": toy_domain()}
            screen.step = lambda report, total, phase, told=told: told.append(report.step)
            rest = {"screen": screen, "stop_asked": lambda told=told, at=stop_at: told[-1] == at}
            with stage_run(tmp_path / folder, stage, domains, policy, **rest) as run:
                with pytest.raises(Interrupted) if stop_at else nullcontext():
                    sft.train(run, provide(stage, domains, 0))
            ends.append(sharded.flat("policy"))
    assert told == [3, 4, 5]
    assert torch.equal(ends[0], ends[2]) and not torch.equal(ends[0], ends[1])


def test_an_update_that_is_not_finite_is_skipped_by_all(sharded):
    """Only one worker has the row that is not; the next update is that of a worker that never saw it."""
    case, poison = CASES["rl"], Row.of([1, 2, 3], [4, 5], 1.0, float("nan"))
    with learning(case, sharded) as learner:
        before = sharded.flat("policy")
        assert learner.policy_step([*make_rows(3, 0), poison], POLICY, 1.0)["skipped"] == 1
        assert torch.equal(sharded.flat("policy"), before)
        step(case, learner, 0)
        after = sharded.flat("policy")
    assert torch.equal(after, trained(case, sharded, 1)[1])


def test_no_rows_at_all_is_an_update_with_gradient_zero(sharded):
    with learning(CASES["rl"], sharded) as learner:
        found = learner.policy_step([], POLICY, 1.0)
    assert found["grad_norm"] == 0 and found["skipped"] == 0


def test_more_workers_than_gpus_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(
        ValueError, match=r"workers: 4 with device: cuda, but there are 3 GPUs here.*set workers: 3"
    ):
        Replicas(4, "cuda")


def _meet_again(worker):
    group = dist.new_group()
    one = torch.ones(1)
    dist.all_reduce(one, group=group)
    return float(one)


def test_workers_can_form_groups_long_after_they_met(sharded):
    # over NCCL, and in FSDP's own groups, communicators are made late: each asks the store of the first meeting
    assert sharded.all(_meet_again) == [2.0, 2.0]


ON_A_GPU_MACHINE = """
import torch
from sharded_cases import CASES, difference, trained
from test_sharding import _meet_again
from cascade_rl.model.replicas import Replicas
if __name__ == "__main__":  # workers import this again
    assert torch.cuda.is_available()
    case = CASES["muon"]
    with Replicas(2, sharded=True) as sharded:
        gaps = difference(case, trained(case, Replicas(1), 2), trained(case, sharded, 2))
        assert max(gaps) < case.rounding and sharded.all(_meet_again) == [2.0, 2.0]
    print("met")
"""


def test_where_there_is_a_gpu_workers_on_the_cpu_meet_as_well(tmp_path):
    """FSDP forms groups of its own then, late: without the file of the first meeting they waited for ten minutes."""
    # read by Python as it starts, so that the workers have the GPU as well
    (tmp_path / "sitecustomize.py").write_text(
        "import torch\ntorch.cuda.is_available = lambda: True\ntorch.cuda.device_count = lambda: 1\n"
    )
    (tmp_path / "script.py").write_text(ON_A_GPU_MACHINE)
    here = Path(__file__).parent
    path = os.pathsep.join([str(tmp_path), str(here), str(here.parent / "src")])
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,  # of a machine that does much else; it takes seconds
    )
    assert ended.returncode == 0 and ended.stdout.strip() == "met", ended.stderr
