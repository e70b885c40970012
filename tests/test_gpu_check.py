"""The script that a GPU is checked with, walked through without one: on the CPU, and on the shadow device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shadow_cuda import shadow_cuda

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import gpu_check  # noqa: E402  # beside this package, and not in it
import gpu_decoding  # noqa: E402
import gpu_engine  # noqa: E402


def test_every_item_runs_and_is_written_as_it_ends(tmp_path):
    out = tmp_path / "found" / "check.json"
    script = [
        sys.executable,
        str(ROOT / "bench/gpu_check.py"),
        "--device",
        "cpu",
        "--small",
        "--out",
        str(out),
    ]
    ended = subprocess.run(script, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(out.read_text())
    assert [entry["item"] for entry in told] == [item.__name__ for item in gpu_check.ITEMS]
    assert not [entry for entry in told if entry["ok"] is False or "fault" in entry["found"]]
    assert len(ended.stdout.splitlines()) == len(told)
    found = {entry["item"]: entry["found"] for entry in told}
    # on the CPU both sides are the same
    assert found["equality"]["same_replies"] == 24 and found["repeated"]["weights that differ"] == 0


def test_what_there_is_no_time_for_is_told_and_a_fault_stops_nothing(tmp_path, monkeypatch, capsys):
    def broken(setting):
        """0. Raises."""
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu_check, "ITEMS", (broken, gpu_check.versions))
    out = tmp_path / "check.json"
    arguments = ["gpu_check", "--device", "cpu", "--out", str(out), "--only", "broken", "versions"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code == 1
    first, second = json.loads(out.read_text())
    assert first["ok"] is False and "no such kernel" in first["found"]["fault"]
    assert second["found"]["torch"] == torch.__version__
    monkeypatch.setattr(sys, "argv", [*arguments, "--minutes", "0"])
    gpu_check.main()
    assert [entry["expected"] for entry in json.loads(out.read_text())] == ["not begun: no time was left"] * 2
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize("item", ["equality", "graphs", "head", "decoding", "slots", "rl_step"])
def test_items_mix_no_devices(item, monkeypatch):
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 10**9)
    # a shadow computes in the CPU's kernels, and the variable-length one is not among them
    for items in (gpu_engine, gpu_decoding):
        monkeypatch.setattr(items, "replicas", fp32(items.replicas))
    with shadow_cuda():
        found = getattr(gpu_check, item)(gpu_check.Setting(torch.device("cuda"), small=True))
    assert found.ok is not False and found.figures


def fp32(make):
    def made(s, config, precision="fp32", train=True):
        found = make(s, config, "fp32", train)
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        return found

    return made
