"""The script that a GPU is checked with, walked through without one: on the CPU, and on the shadow device."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from shadow_cuda import shadow_cuda

from cascade_rl.data.abilities import load_recipe

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import gpu_check  # noqa: E402  # beside this package, and not in it
import gpu_decoding  # noqa: E402
import gpu_engine  # noqa: E402
import gpu_run  # noqa: E402

CPU = torch.device("cpu")
SCRIPT = str(ROOT / "bench/gpu_check.py")


def found_of(out: Path) -> dict[str, dict]:
    return {entry["item"]: entry for entry in json.loads(out.read_text())}


def test_every_item_runs_and_is_written_as_it_ends(tmp_path):
    """But TRL's, whose import alone takes longer than the others together."""
    out = tmp_path / "found" / "check.json"
    items = [name for name in gpu_check.ITEMS if name != "peer"]
    script = [sys.executable, SCRIPT, "--device", "cpu", "--small", "--out", str(out), "--only", *items]
    ended = subprocess.run(script, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = found_of(out)
    assert list(told) == items and len(ended.stdout.splitlines()) == len(told)
    assert not [entry for entry in told.values() if entry["ok"] is False or "fault" in entry["found"]]
    # on the CPU both sides are the same
    assert told["equality"]["found"]["same_replies"] == 24
    assert told["repeated"]["found"]["weights that differ"] == 0
    # a step stands beside its bound, and cannot be faster
    step = told["rl_step"]["found"]
    assert all(
        step[f"135m, {phase} s"] > step[f"135m, {phase} bound s"] > 0 for phase in ("sampling", "update")
    )
    # a run says how far it came and what it scored
    run = told["cascade_run"]
    assert run["ok"] and run["found"]["stages"] == 2
    assert (
        set(run["found"]) == {"seconds", "stages", "sft-1", "if-rl"} and "following" in run["found"]["if-rl"]
    )


def main_of(monkeypatch, *arguments: str) -> int:
    """The exit status of the script."""
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", *arguments])
    try:
        gpu_check.main()
    except SystemExit as ended:
        return ended.code
    return 0


def test_a_fault_stops_nothing_and_what_there_is_no_time_for_is_told(tmp_path, monkeypatch, capsys):
    def broken(setting):
        """0. Raises."""
        raise RuntimeError("no such kernel")

    def endless(setting):
        """0. Never ends, whatever it hides."""
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    items = {"broken": broken, "endless": endless, "versions": gpu_check._load("versions")}
    monkeypatch.setattr(gpu_check, "ITEMS", dict.fromkeys(items, gpu_check.Item("here", 20)))
    monkeypatch.setattr(gpu_check, "_load", items.__getitem__)
    out = tmp_path / "check.json"
    # small, so that no item has to have the time that it takes on a GPU
    assert (
        main_of(monkeypatch, "--small", "--out", str(out), "--minutes", "0.05", "--only", "broken", "endless")
        == 1
    )
    told = found_of(out)
    assert told["broken"]["ok"] is False and "no such kernel" in told["broken"]["found"]["fault"]
    assert told["endless"]["ok"] is None and "cut off after" in told["endless"]["expected"]
    assert main_of(monkeypatch, "--out", str(out), "--only", "broken", "versions", "--minutes", "0.3") == 0
    told = found_of(out)
    assert [entry["expected"] for entry in told.values()] == [
        "not begun: takes about 20 s, and 18 s were left"
    ] * 2
    assert main_of(monkeypatch, "--small", "--out", str(out), "--only", "versions") == 0
    assert found_of(out)["versions"]["found"]["torch"] == torch.__version__
    assert "FAIL" in capsys.readouterr().out


def test_what_takes_its_time_on_a_gpu_fits_into_the_minutes():
    """But the peer, for which there is time where the others took less."""
    assert sum(item.seconds for name, item in gpu_check.ITEMS.items() if name != "peer") <= 8 * 60


BARE = """
import runpy, sys
sys.modules |= dict.fromkeys({missing!r})  # None there is a package that can't be found
sys.argv[1:] = {arguments!r}
runpy.run_path({script!r}, run_name="__main__")
"""


def test_a_machine_without_pydantic_is_told_what_to_bring_and_does_the_rest(tmp_path):
    out = tmp_path / "check.json"
    arguments = ["--device", "cpu", "--small", "--out", str(out)]
    bare = BARE.format(missing=["pydantic", "trl", "yaml"], arguments=arguments, script=SCRIPT)
    ended = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, *lines = ended.stdout.splitlines()
    assert first.startswith("missing: pydantic; left out without: equality, graphs, parity, decoding")
    assert "pip install pydantic" in first and "PYTHONPATH" in first
    assert len(lines) == len(gpu_check.ITEMS)
    told = found_of(out)
    done = [name for name, entry in told.items() if "missing" not in entry["found"]]
    assert done == ["versions", "kernels", "varlen", "head", "cascade_run", "peer"]
    assert told["cascade_run"]["found"] == {"absent": "yaml"} and told["peer"]["found"] == {"absent": "trl"}


# ---- the items that are programs of their own


def test_a_run_that_is_not_over_in_time_tells_the_stages_that_are(tmp_path, monkeypatch):
    ended = []

    def program(s, arguments, limit, place):
        card = {
            "stage": "sft-1",
            "benchmarks": {"maths": {"headline": "x", "modes": {"x": {"avg": {"mean": 0.456}}}}},
        }
        (place / "run/stages/01-sft-1").mkdir(parents=True)
        (place / "run/stages/01-sft-1/scorecard.json").write_text(json.dumps(card))
        ended.append(limit)
        return None, ""

    monkeypatch.setattr(gpu_run, "_program", program)
    found = gpu_run.cascade_run(gpu_check.Setting(CPU, False, time.perf_counter() + 100))
    assert found.ok is None and "cut off" in found.figures and 80 < ended[0] < 100
    assert found.figures["stages"] == 1 and found.figures["sft-1"] == {"maths": 45.6}


def test_where_nothing_isolates_programs_the_rest_is_run(monkeypatch, tmp_path):
    recipes = []

    def program(s, arguments, limit, place):
        recipes.append(load_recipe(str(place / "recipe.yaml")))
        return (gpu_run.REFUSED if len(recipes) == 1 else 0), ""

    monkeypatch.setattr(gpu_run, "_program", program)
    found = gpu_run.cascade_run(gpu_check.Setting(torch.device("cuda"), False))
    whole, rest = recipes
    assert found.ok and "no sandbox" in found.figures["left out"]
    tiny = load_recipe("tiny")
    assert [stage.steps for stage in whole.stages] == [stage.steps // 2 for stage in tiny.stages]
    assert whole.device == "cuda" and whole.workers == 1
    assert [s.name for s in rest.stages] == ["sft-1", "sft-2", "reward-model", "rlhf", "if-rl", "math-rl"]
    assert [b.name for b in rest.benchmarks] == ["alignment", "following", "maths"]
    assert not {"coding", "swe"} & {d.domain for s in rest.stages if s.kind != "reward_model" for d in s.data}


def test_a_program_is_ended_with_its_children_when_its_time_is_over(tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']); time.sleep(99)"
    setting = gpu_check.Setting(CPU, True)
    # the pipe would stay open while a grandchild holds it: that this returns says that it is gone
    assert gpu_run._program(setting, ["-c", code], 0.5, tmp_path) == (None, "")
    assert gpu_run._program(setting, ["-c", "print('said'); raise SystemExit(4)"], 30, tmp_path) == (
        4,
        "said\n",
    )


def test_the_peer_has_a_time_limit_and_its_faults_are_its_own(monkeypatch):
    monkeypatch.setattr(gpu_run.importlib.util, "find_spec", lambda name: object())
    limits = []
    answers = {"slow": (None, ""), "broken": (1, "no such trainer"), "fine": (0, "warning: old\n12.5\n")}
    found = {}
    for name, answer in answers.items():
        monkeypatch.setattr(
            gpu_run, "_program", lambda s, a, limit, p, answer=answer: limits.append(limit) or answer
        )
        found[name] = gpu_run.peer(gpu_check.Setting(CPU, False, time.perf_counter() + 400))
    assert limits == [gpu_run.PEER_S] * 3 and all(each.ok is None for each in found.values())
    assert found["fine"].figures == {"qwen3-0.6b, step s": 12.5}
    assert "cut off" in found["slow"].figures and "no such trainer" in found["broken"].figures["fault"]


# ---- on the shadow device


@pytest.mark.parametrize("item", ["equality", "graphs", "head", "decoding", "slots", "rl_step"])
def test_items_mix_no_devices(item, monkeypatch):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 10**9)
    # a shadow computes in the CPU's kernels, and the variable-length one is not among them
    for items in (gpu_engine, gpu_decoding):
        monkeypatch.setattr(items, "replicas", fp32(items.replicas))
    torch.set_num_threads(1)
    with shadow_cuda():
        run = getattr(importlib.import_module(gpu_check.ITEMS[item].module), item)
        found = run(gpu_check.Setting(torch.device("cuda"), small=True))
    assert found.ok is not False and found.figures


def fp32(make):
    def made(s, config, precision="fp32", train=True):
        found = make(s, config, "fp32", train)
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        return found

    return made
