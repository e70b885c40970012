"""The benchmark's own mechanics: a peer's route that does not end is given up, and told."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import engine  # beside this package, and not in it
from work import Case


def quick(case, steps: int) -> float:
    return 2.5


def endless(case, steps: int) -> float:
    time.sleep(600)
    return 0.0


def test_what_takes_too_long_is_ended():
    begin = time.perf_counter()
    with pytest.raises(TimeoutError, match="not over after 1 s"):
        engine.alone(endless, None, 1, within=1.0)
    assert time.perf_counter() - begin < 300
    assert engine.alone(quick, None, 1, within=300.0)[0] == 2.5


def test_a_peer_is_compared_by_its_routes_that_ended(monkeypatch, capsys):
    seconds = {"bf16": None, "fp32": 9.0, "fp32-onednn": 6.0}

    def alone(function, case, *rest, within=None):
        if function is engine.peer_step:
            if seconds[case.precision] is None:
                raise TimeoutError(f"not over after {within:.0f} s")
            return seconds[case.precision], 0
        if function is engine.our_step:
            return {"step_s": 1.0 if case.precision == "bf16" else 2.0}, 0
        return {engine.our_sft: 100.0, engine.peer_sft: 20.0}[function], 0

    monkeypatch.setattr(engine, "alone", alone)
    found = {row["name"]: row for row in engine.against_peer([Case("tiny")], 2)}
    assert "bf16: given up, not over after 300 s" in capsys.readouterr().out
    assert "RL step, tiny, bf16" not in found
    assert found["RL step, tiny, fp32 (TRL: the faster of two routes)"]["ratio"] == 3.0
    best = found["RL step, tiny, each at its best"]
    assert (best["ours"], best["peer"], best["ratio"]) == (1.0, 6.0, 6.0)
    assert found["SFT, tiny, bf16, packed"]["ratio"] == 5.0
