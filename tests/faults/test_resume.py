"""A run that is killed ends as if it had not been: same weights, same journals, same scores, byte for byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_files import results

from cascade_rl.report.read import read_run

HERE = Path(__file__).parent
RECIPE = str(HERE / "small.yaml")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
KILLS = [
    ("update", 6), ("saved", 2), ("evaluation", 1), ("evaluation", 1), ("pair", 3), ("saving", 2), ("export", 2),
    ("rollout", 2), ("saving", 2), ("update", 2), ("evaluation", 1),
]  # fmt: skip


def cascade(*arguments: str, kill: tuple[str, int] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, armed to die if asked."""
    program = [str(HERE / "killed_run.py"), kill[0], str(kill[1])] if kill else ["-m", "cascade_rl.cli"]
    return subprocess.run(
        [sys.executable, *program, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = cascade("run", RECIPE, "--out", str(run))
    assert done.returncode == 0, done.stderr
    return run


def test_killed_again_and_again_ends_the_same(whole, tmp_path):
    run = tmp_path / "run"
    for number, kill in enumerate(KILLS):
        died = cascade("run", RECIPE, "--out", str(run), kill=kill)
        assert died.returncode == -signal.SIGKILL, (
            f"kill {number} {kill} did not fall:\n{died.stdout}\n{died.stderr}"
        )
    done = cascade("run", RECIPE, "--out", str(run))
    assert done.returncode == 0, done.stderr
    expected, found = results(whole), results(run)
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert len(expected) >= 20


def test_killed_in_bf16_with_adapters_ends_the_same(tmp_path):
    """The tiny recipe computes in bf16 where the processor can; masters and factors are fp32, so a resume is as exact."""
    change = [f"stages.{name}.lora={{rank: 4, alpha: 8}}" for name in ("reward-model", "rlhf")] + [
        "precision=bf16"
    ]
    whole, run = tmp_path / "whole", tmp_path / "run"
    for kill in (("update", 5), ("pair", 3), ("rollout", 2), ("saving", 1), ("export", 1)):
        died = cascade("run", RECIPE, *change, "--out", str(run), kill=kill)
        assert died.returncode == -signal.SIGKILL, died.stderr
    for folder in (whole, run):
        done = cascade("run", RECIPE, *change, "--out", str(folder))
        assert done.returncode == 0, done.stderr
    expected, found = results(whole), results(run)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    adapters = [sorted(folder.glob("stages/*/adapter/adapter_model.safetensors")) for folder in (whole, run)]
    assert [path.parts[-3] for path in adapters[0]] == ["02-reward-model", "03-rlhf"]
    assert [path.read_bytes() for path in adapters[0]] == [path.read_bytes() for path in adapters[1]]


def test_finished_run_is_not_done_again(whole):
    before, stamp = results(whole), (whole / "ledger.json").stat().st_mtime_ns
    again = cascade("run", RECIPE, "--out", str(whole))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is done: kept") == 3
    assert " step " not in again.stdout
    assert results(whole) == before
    assert (whole / "ledger.json").stat().st_mtime_ns == stamp


def test_two_processes_on_one_directory(whole, tmp_path):
    run = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-m", "cascade_rl.cli", "run", RECIPE, "--out", str(run), "stages.sft-1.steps=100000"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        wait_for(run / "stages/01-sft-1/journal.jsonl", first)
        second = cascade("run", RECIPE, "--out", str(run))
        assert second.returncode == 1
        assert f"in use by process {first.pid}" in second.stderr
        first.send_signal(signal.SIGINT)
        output, _ = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 130
    assert "go on with: cascade run" in output
    steps = [json.loads(line) for line in (run / "stages/01-sft-1/journal.jsonl").read_text().splitlines()]
    state = sorted((run / "stages/01-sft-1/state").glob("step-*"))[-1]
    assert int(state.name.removeprefix("step-")) == len(steps), "Ctrl-C saves the step it stops after"


def wait_for(path: Path, process: subprocess.Popen, limit_s: float = 60) -> None:
    """Until a file has content."""
    end = time.monotonic() + limit_s
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.05)


def test_changed_recipe_is_refused_then_redone_from_the_change(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    change = "stages.rlhf.lr=0.002"
    refused = cascade("run", RECIPE, change, "--out", str(run))
    assert refused.returncode == 1
    assert (
        re.search(r"-\s+lr: 0.001\n\+\s+lr: 0.002", refused.stderr) and "--accept-changes" in refused.stderr
    )
    assert results(run) == results(whole), "a refusal changes nothing"
    redone = cascade("run", RECIPE, change, "--out", str(run), "--accept-changes")
    assert redone.returncode == 0, redone.stderr
    assert redone.stdout.count("is done: kept") == 2
    old, new = results(whole), results(run)
    changed = {name for name in old if new[name] != old[name]}
    assert changed and all(name.startswith("stages/03-rlhf/") for name in changed)
    kept = run / "stages/03-rlhf.old-1/checkpoint/model.safetensors"
    assert kept.read_bytes() == (whole / "stages/03-rlhf/checkpoint/model.safetensors").read_bytes()


def test_damaged_state_falls_back_to_the_one_before(whole, tmp_path):
    run = tmp_path / "run"
    died = cascade("run", RECIPE, "--out", str(run), kill=("saved", 4))
    assert died.returncode == -signal.SIGKILL
    newest = sorted((run / "stages/01-sft-1/state").glob("step-*"))[-1]
    weights = newest / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    done = cascade("run", RECIPE, "--out", str(run))
    assert done.returncode == 0, done.stderr
    assert f"{newest.name} is damaged" in done.stdout
    assert results(run) == results(whole)


def test_damaged_checkpoint_of_a_finished_stage_is_told(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    weights = run / "stages/01-sft-1/checkpoint/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 64
    weights.write_bytes(bytes(data))
    told = cascade("run", RECIPE, "--out", str(run))
    assert told.returncode == 1 and "is not what the ledger recorded" in told.stderr


def test_stage_without_signal_is_an_error(tmp_path):
    """An untrained model never solves maths: the stage must not end as if it had trained."""
    run = tmp_path / "run"
    change = ["stages.rlhf.data=[{domain: maths, problems: 10}]", "stages.rlhf.mode_mix=thinking"]
    failed = cascade("run", RECIPE, *change, "--out", str(run))
    assert failed.returncode == 1
    assert "rlhf trained nothing: in 5 steps no group had mixed rewards" in failed.stderr
    assert [s["stage"] for s in json.loads((run / "ledger.json").read_text())["stages"]] == [
        "sft-1",
        "reward-model",
    ]


def test_what_a_run_leaves(whole):
    matrix = json.loads((whole / "matrix.json").read_text())
    assert matrix["stages"] == ["sft-1", "reward-model", "rlhf"]
    assert set(matrix["benchmarks"]) == {"alignment", "maths"}
    assert matrix["benchmarks"]["alignment"]["own_stage"] == "rlhf"
    for row in matrix["benchmarks"].values():
        assert list(row["scores"]) == matrix["stages"]
        assert all(
            set(s) == {"mean", "low", "high", "n", "k"} and s["n"] == 10 for s in row["scores"].values()
        )
    scores = matrix["benchmarks"]["alignment"]["scores"]
    assert scores["sft-1"] == scores["reward-model"], "the reward model leaves the policy as it is"
    assert not list(whole.glob("stages/*/state")), "a stage that is done keeps its checkpoint alone"
    assert set(matrix["seconds"]) == set(matrix["stages"]) and all(s > 0 for s in matrix["seconds"].values())
    assert (whole / "report.html").stat().st_size > 10_000
    card = (whole / "stages/03-rlhf/checkpoint/README.md").read_text()
    assert "| alignment |" in card and "reward-model" in card and "lr: 0.001" in card


def test_checkpoints_load_with_transformers_alone(whole):
    code = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
for stage in ("01-sft-1", "02-reward-model", "03-rlhf"):
    path = f"{sys.argv[1]}/stages/{stage}/checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hello /no_think"}], add_generation_prompt=True,
                                        return_tensors="pt", return_dict=True)
    out = AutoModelForCausalLM.from_pretrained(path).generate(**ids, max_new_tokens=3, do_sample=False)
    assert out.shape[1] > ids["input_ids"].shape[1]
reward = AutoModelForSequenceClassification.from_pretrained(f"{sys.argv[1]}/stages/02-reward-model/reward_model")
assert reward(**ids).logits.shape == (1, 1)
assert "cascade_rl" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(whole)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_snippet_of_the_readme_runs(whole):
    text = (HERE.parents[1] / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path, fitting = "runs/tiny/stages/08-swe-rl/checkpoint", str(whole / "stages/03-rlhf/checkpoint")
    assert path in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace(path, fitting)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "<|im_start|>assistant" in done.stdout, done.stderr


def test_status_report_and_eval_read_it(whole):
    status = cascade("status", str(whole))
    assert status.returncode == 0 and status.stdout.count("done") == 3 and "5/5" in status.stdout
    assert cascade("report", str(whole)).returncode == 0
    scored = cascade(
        "eval", str(whole / "stages/03-rlhf/checkpoint"), "--recipe", RECIPE, "--benchmark", "alignment"
    )
    assert scored.returncode == 0, scored.stderr
    mean = json.loads((whole / "matrix.json").read_text())["benchmarks"]["alignment"]["scores"]["rlhf"][
        "mean"
    ]
    assert f"{mean * 100:.1f}" in scored.stdout


def test_the_speed_of_a_run_agrees_with_its_journal(whole):
    """What was sampled and trained on is what the metrics say, and no figure passes what the machine could do."""
    for folder in sorted((whole / "stages").iterdir()):
        lines, times = ([json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
                        for name in ("journal", "timings"))  # fmt: skip
        metrics = {line["step"]: line["metrics"] for line in lines if line["kind"] == "step"}
        work = {line["step"]: line["work"] for line in times if "work" in line}
        assert set(work) == set(metrics)
        for step, done in work.items():
            if "rlhf" in folder.name:
                assert done["decode"]["tokens"] == metrics[step]["tokens"]
            if "sft" in folder.name:
                assert metrics[step]["tokens"] / 2 < done["update"]["tokens"] <= metrics[step]["tokens"] - 1
            assert all(part["bound_s"] > 0 for part in done.values())
            assert 0 < metrics[step]["update_ratio"] < 0.5
        assert [line["peaks"]["workers"] for line in times if "peaks" in line] == [2]
    stages = {stage.name: stage.efforts for stage in read_run(whole).stages}
    assert {name: set(found) for name, found in stages.items()} == {
        "sft-1": {"update"}, "reward-model": {"update"}, "rlhf": {"rollout", "update"},
    }  # fmt: skip
    found = [effort for efforts in stages.values() for effort in efforts.values()]
    assert all(0 < share < 1.2 for effort in found for share in (effort.limit, effort.utilisation))
    shown = cascade("report", str(whole)).stdout
    row = next(line for line in shown.splitlines() if line.startswith("rlhf")).split()
    assert row[6:8] == [f"{stages['rlhf'][phase].tokens_per_s:,.0f}" for phase in ("rollout", "update")]


def test_policy_best_hands_over_the_best_probed_step(whole, tmp_path):
    run = tmp_path / "run"
    gate = "gate={policy: best, probe_every: 2, probe_problems: 4}"
    died = cascade("run", RECIPE, gate, "--out", str(run), kill=("rollout", 4))
    assert died.returncode == -signal.SIGKILL
    done = cascade("run", RECIPE, gate, "--out", str(run))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "stages/01-sft-1/journal.jsonl").read_text().splitlines()]
    probes = {line["step"]: line["score"] for line in lines if line["kind"] == "probe"}
    assert sorted(probes) == [2, 4, 6, 8, 10]
    entry = json.loads((run / "ledger.json").read_text())["stages"][0]
    assert entry["step"] == min(step for step, score in probes.items() if score == max(probes.values()))


def test_policy_stop_ends_the_run_when_the_gate_closes(whole, tmp_path):
    """The scores of the stage before are made better than they were: the next stage must then look like a fall."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    gate = "gate={policy: stop}"
    path = run / "stages/01-sft-1/eval/alignment.json"
    found = json.loads(path.read_text())
    for mode in found["modes"].values():
        mode["avg"] |= {"mean": 1.0, "low": 0.9, "high": 1.0}
        mode["per_problem"] = dict.fromkeys(mode["per_problem"], 1.0)
    path.write_text(json.dumps(found))
    stopped = cascade("run", RECIPE, gate, "--out", str(run), "--accept-changes")
    assert stopped.returncode == 1 and "the gate is closed after" in stopped.stderr
    assert "declare a dip or a waiver" in stopped.stderr
