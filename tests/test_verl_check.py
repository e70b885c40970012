"""What verl says of a job is read in full: every trap is a line, all at once, and a broken environment is one message."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
import yaml
from test_verl_sft import task_of
from tiny import tokenizer

from cascade_rl.backends.verl.check import check_job
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.manifest import file_hash
from cascade_rl.backends.verl.sft import compile_sft
from cascade_rl.errors import InputError
from cascade_rl.recipe import Verl

# in the place of verl's Python: answers what it finds beside it, whatever it is asked to run
FAKE = """
import json, sys
from pathlib import Path
script, job, answer = sys.argv[1:]
said = json.loads((Path(job) / "said.json").read_text())
assert "import verl" in Path(script).read_text()
if said is None:
    sys.exit("ModuleNotFoundError: No module named 'json5'")
Path(answer).write_text(json.dumps(said))
"""
VERSIONS = {"verl": "0.9.1", "torch": "2.13.0"}


def nested(flat: dict) -> dict:
    """A configuration from its dotted keys."""
    found: dict = {}
    for path, value in flat.items():
        *folders, name = path.split(".")
        place = found
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return found


def asked(job: Job) -> dict:
    """The job's overrides, as verl holds them if all goes well."""
    lines = job.overrides.read_text().splitlines()
    pairs = (line.lstrip("+").split("=", 1) for line in lines)
    found = {name: yaml.safe_load(value) for name, value in pairs}
    return {n: float(v) if isinstance(v, str) and n.endswith(".lr") else v for n, v in found.items()}


def told(job: Job, answer: dict | None, tmp_path: Path) -> list[str]:
    """What is said of a job when verl answers so."""
    (job.folder / "said.json").write_text(json.dumps(answer))
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE)
    return check_job(job, Command((sys.executable, str(fake))))


@pytest.fixture
def sft(tmp_path):
    job = compile_sft(task_of(tmp_path, verl=Verl(gpus_per_node=4)), tmp_path / "job", tokenizer())
    flat = asked(job) | {"data.pad_mode": "no_padding", "engine.forward_only": False}
    return job, flat, {"rows": {"steps": 7, "agree": True, "without_prompt": 0}}


@pytest.fixture
def rl(tmp_path):
    """A job of RL as it must be, written by hand: 8 prompts x 4 replies on 4 GPUs."""
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    job = Job(tmp_path / "rl")
    job.folder.mkdir()
    set_by_us = {
        "algorithm.adv_estimator": "cascade_group", "data.train_batch_size": 8, f"{actor}.ppo_mini_batch_size": 8,
        f"{actor}.ppo_epochs": 1, f"{rollout}.n": 4, f"{actor}.loss_agg_mode": "token-mean", f"{actor}.optim.lr": 2e-06,
        "trainer.total_training_steps": 5, "trainer.default_local_dir": str(job.checkpoints),
        "trainer.resume_mode": "disable", "trainer.nnodes": 1, "trainer.n_gpus_per_node": 4, "trainer.test_freq": -1,
        "trainer.logger": ["console", "file"], "data.max_prompt_length": 100, "data.max_response_length": 300,
        f"{actor}.use_dynamic_bsz": True, f"{actor}.ppo_max_token_len_per_gpu": 400, f"{actor}.use_kl_loss": False,
        f"{rollout}.log_prob_max_token_len_per_gpu": 400, "data.shuffle": False, "trainer.val_before_train": False,
        "reward.reward_manager.source": "importlib", "reward.reward_manager.name": "Reward",
        "reward.reward_manager.module.path": "pkg://inside.reward",
    }  # fmt: skip
    lines = [f"{name}={json.dumps(value).strip(chr(34))}" for name, value in set_by_us.items()]
    job.overrides.write_text("\n".join(lines) + "\n")
    record = {
        "kind": "rl", "versions": {"verl": "0.9.1"}, "steps": 5, "nodes": 1, "gpus_per_node": 4, "strategy": "fsdp2",
        "environment": {},
        "files": {"overrides.txt": file_hash(job.overrides)}, "on_policy": True,
        "inside": {"advantage": "grpo", "shaping": "none", "aggregation": "token"},
    }  # fmt: skip
    job.manifest.write_text(json.dumps(record))
    flat = set_by_us | {
        "algorithm.use_kl_in_reward": False, "trainer.use_v1": True, "trainer.v1.trainer_mode": "sync",
        "reward.custom_reward_function.path": None, "reward.reward_model.enable": False,
        f"{actor}.entropy_coeff": 0, f"{rollout}.prompt_length": 100, f"{rollout}.response_length": 300,
        f"{actor}.fsdp_config.ulysses_sequence_parallel_size": 1, "custom_reward_function.path": None,
        "reward_model.reward_manager": None, "sandbox_fusion.url": None,
    }  # fmt: skip
    claim = {"row": 0, "what": "gold answer", "least": 1, "most": None, "given": 1.0, "facts": {"failed": 0}}
    empty = {"row": 0, "what": "empty answer", "least": None, "most": 0, "given": 0.0, "facts": {"failed": 0}}
    # (r - mean) / (std + 1e-6) with n - 1, by hand; alone, without verdict and all alike: nothing
    s = 0.5 / (3**-0.5 + 1e-6)
    t = 0.5 / (0.5**0.5 + 1e-6)
    more = {
        "critic": False, "reference": False, "rows": {"stored": 40, "kept": 40, "first": [0, 1], "drawn": [0, 1]},
        "rewards": [claim, empty], "advantages": [[s, -s, -s, s], [0.0], [0.0, t, -t], [0.0, 0.0]],
    }  # fmt: skip
    return job, flat, more


def answer(flat: dict, more: dict, **changes) -> dict:
    return {"versions": VERSIONS, "problems": [], "config": nested(flat), **copy.deepcopy(more), **changes}


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_a_job_that_is_as_it_must_be_has_no_problem(kind, tmp_path, request):
    job, flat, more = request.getfixturevalue(kind)
    assert told(job, answer(flat, more), tmp_path) == []
    assert yaml.safe_load(job.composed.read_text()) == nested(flat)
    assert not list(job.folder.glob("check-*")), "what was asked is gone again"


def with_reward_model(job, flat: dict) -> dict:
    record = json.loads(job.manifest.read_text())
    record["inside"]["reward_model"] = "/models/reward"
    job.manifest.write_text(json.dumps(record))
    return flat | {
        "reward.custom_reward_function.path": "pkg://inside.reward", "reward.reward_model.enable": True,
        "reward.reward_model.enable_resource_pool": True, "reward.reward_model.model_path": "/models/reward",
    }  # fmt: skip


def test_a_job_whose_rewards_ask_a_model_is_as_it_must_be(rl, tmp_path):
    job, flat, more = rl
    asked = with_reward_model(job, flat)
    assert told(job, answer(asked, more), tmp_path) == []
    for path, value in (
        ("reward.custom_reward_function.path", None), ("reward.reward_model.enable", False),
        ("reward.reward_model.enable_resource_pool", False), ("reward.reward_model.model_path", "/another"),
    ):  # fmt: skip
        (found,) = told(job, answer(asked | {path: value}, more), tmp_path)
        assert path in found


ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
TRAPS = {
    "sft": {
        "trainer.total_training_steps": 9, "trainer.default_local_dir": "/elsewhere", "trainer.resume_mode": "auto",
        "trainer.nnodes": 2, "trainer.n_gpus_per_node": 8, "trainer.test_freq": 5, "trainer.logger": ["console"],
        "trainer.total_epochs": 2, "data.use_dynamic_bsz": False, "data.pad_mode": "left_right",
        "data.truncation": "right", "data.custom_cls.name": None, "data.val_files": "x", "engine.forward_only": True,
        "data.train_batch_size": 6, "data.max_token_len_per_gpu": 100, "optim.lr": 1e-3, "optim.betas": [0.9, 0.999],
        "optim.num_cycles": 0.5001, "optim.zero_indexed_step": True,
    },
    "rl": {
        "algorithm.adv_estimator": "gae", "data.train_batch_size": 16, f"{ACTOR}.ppo_mini_batch_size": 256,
        f"{ACTOR}.ppo_epochs": 2, f"{ROLLOUT}.n": 1, f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
        "algorithm.use_kl_in_reward": True, f"{ACTOR}.use_kl_loss": True, "trainer.use_v1": False,
        "trainer.v1.trainer_mode": "separate_async", "data.shuffle": True,
        "reward.reward_manager.source": "register", "reward.custom_reward_function.path": "/a.py",
        "reward.reward_model.enable": True, f"{ACTOR}.entropy_coeff": 0.01, f"{ROLLOUT}.prompt_length": 512,
        f"{ROLLOUT}.response_length": 512, f"{ACTOR}.ppo_max_token_len_per_gpu": 399,
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu": 399, "custom_reward_function.path": "/a.py",
        "reward_model.reward_manager": "dapo", "sandbox_fusion.url": "http://x", "trainer.val_before_train": True,
        "trainer.total_training_steps": 6, "trainer.default_local_dir": "/elsewhere", "trainer.logger": ["wandb"],
    },
}  # fmt: skip


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, traps in TRAPS.items() for path in traps])
def test_each_trap_is_named(kind, path, tmp_path, request):
    job, flat, more = request.getfixturevalue(kind)
    # also where the override itself asks for it: what must hold does not rest on what was asked
    lines = job.overrides.read_text().splitlines()
    job.overrides.write_text("\n".join(line for line in lines if not line.startswith(f"{path}=")) + "\n")
    record = json.loads(job.manifest.read_text())
    record["files"]["overrides.txt"] = file_hash(job.overrides)
    job.manifest.write_text(json.dumps(record))
    found = told(job, answer(flat | {path: TRAPS[kind][path]}, more), tmp_path)
    of_recipe = ("optim.", f"{ACTOR}.loss_agg_mode", f"{ACTOR}.use_kl_loss")
    if path.startswith(of_recipe):
        assert found == [], "a value of the recipe is what was asked, see the next test"
    else:
        short = {f"{ROLLOUT}.n": "a reply alone", "data.train_batch_size": "several updates a batch"}
        if kind == "sft":
            short = {}
        assert any(path in line or short.get(path, path) in line for line in found), found


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_what_verl_has_otherwise_than_it_was_asked_is_named_all_at_once(kind, tmp_path, request):
    job, flat, more = request.getfixturevalue(kind)
    overrides = asked(job)
    wrong = {path: value for path, value in TRAPS[kind].items() if path in overrides}
    found = told(job, answer(flat | wrong, more), tmp_path)
    assert len(wrong) > 8
    for path in wrong:
        assert any(line.startswith(f"{path}=") and "was asked, and verl has" in line for line in found), path


def test_an_override_that_verl_lost_or_that_stands_twice_is_named(rl, tmp_path):
    job, flat, more = rl
    lost = {path: value for path, value in flat.items() if path != f"{ACTOR}.optim.lr"}
    assert any("verl has nothing there" in line for line in told(job, answer(lost, more), tmp_path))
    job.overrides.write_text(job.overrides.read_text() + "data.shuffle=False\n")
    found = told(job, answer(flat, more), tmp_path)
    assert found == [
        "overrides.txt is no longer what was compiled; compile the job anew",
        "data.shuffle is set twice: the second hides the first",
    ]


def test_what_verls_classes_made_of_the_rows_is_read(sft, rl, tmp_path):
    job, flat, more = sft
    rows = {"steps": 6, "agree": False, "without_prompt": 2}
    assert len(told(job, answer(flat, more, rows=rows), tmp_path)) == 3
    job, flat, more = rl
    assert told(job, answer(flat, more, critic=True), tmp_path) == ["verl would train a critic"]
    rows = {"stored": 40, "kept": 38, "first": [1, 0], "drawn": [0, 1]}
    assert len(told(job, answer(flat, more, rows=rows), tmp_path)) == 2
    gold, empty = more["rewards"]
    low, high = gold | {"given": 0.2}, empty | {"given": 0.1}
    failed = gold | {"facts": {"failed": 1}, "given": 0.0}
    found = told(job, answer(flat, more, rewards=[low, high, failed]), tmp_path)
    assert found == [
        "the gold answer to row 0 earns 0.2", "the empty answer to row 0 earns 0.1",
        "the gold answer to row 0 gets no verdict",
    ]  # fmt: skip
    assert told(job, answer(flat, more, problems=["verl's validation: ValueError: no"]), tmp_path) == [
        "verl's validation: ValueError: no"
    ]


def test_a_reward_model_is_asked_where_the_job_has_one_and_only_there(rl, tmp_path):
    job, flat, more = rl
    own, served = "reward.custom_reward_function.path", "reward.reward_model"
    asked = flat | {
        own: "pkg://inside.reward", f"{served}.enable": True, f"{served}.enable_resource_pool": True,
        f"{served}.model_path": "/rm",
    }  # fmt: skip
    assert len(told(job, answer(asked, more), tmp_path)) == 2, "this one grades by verifiers alone"
    record = json.loads(job.manifest.read_text())
    record["inside"]["reward_model"] = "/rm"
    job.manifest.write_text(json.dumps(record))
    assert told(job, answer(asked, more), tmp_path) == []
    for path, value in ((own, None), (f"{served}.enable", False), (f"{served}.model_path", "/other"),
                        (f"{served}.enable_resource_pool", False)):  # fmt: skip
        (line,) = told(job, answer(asked | {path: value}, more), tmp_path)
        assert line.startswith(f"{path} is {value!r} and must be")


def test_advantages_otherwise_than_ours_are_named(rl, tmp_path):
    """verl's own estimator gives a reply alone its bare reward, and counts what has no verdict as zero."""
    job, flat, more = rl
    wrong = copy.deepcopy(more["advantages"])
    wrong[1] = [0.99999]
    assert [line for line in told(job, answer(flat, more, advantages=wrong), tmp_path) if "advantage" in line]
    wrong = copy.deepcopy(more["advantages"])
    wrong[2] = [-0.57, 1.15, -0.57]
    assert [line for line in told(job, answer(flat, more, advantages=wrong), tmp_path) if "advantage" in line]


def test_a_broken_environment_is_one_message_with_the_mend(sft, tmp_path):
    job, flat, more = sft
    for python in ("/no/such/python", str(tmp_path)):
        (said,) = check_job(job, Command((python,)))
        assert python in said and "--verl-python" in said
    (said,) = told(job, None, tmp_path)
    assert "no answer" in said and "No module named 'json5'" in said
    for found, words in (("0.8.0", "has verl 0.8.0"), (None, "has no verl")):
        bad = answer(flat, more, versions={"verl": found}, problems=["a", "b"])
        (said,) = told(job, bad, tmp_path)
        assert words in said and "install verl==0.9.1" in said
    with pytest.raises(InputError, match="compile it first"):
        check_job(Job(tmp_path / "nothing"), Command((sys.executable,)))
