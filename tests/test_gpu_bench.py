"""bench/gpu.py on the shadow device: it needs no model that is not there, and gets to its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from shadow_cuda import shadow_cuda

from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import scratch_config
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.recipe import Architecture

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import gpu  # beside this package, and not in it
import work


def test_every_model_is_random_and_there_to_the_end(tmp_path, monkeypatch, capsys):
    """In fp32 and small: the variable-length kernel of bf16 is not among a CPU's."""
    asked = []

    def small(model: str, **named: int) -> work.Case:
        asked.append(model)
        return work.Case(model, "fp32", prompts=2, rollouts=2, tokens=4, workers=1, microbatch=200)

    def absent(name: str) -> None:
        raise InputError(f"no package for {name}")

    tiny = (Architecture(num_hidden_layers=2), 1024)
    monkeypatch.setattr(work, "SHAPES", dict.fromkeys(work.SHAPES, tiny))
    monkeypatch.setattr(work, "find_model", absent)
    monkeypatch.setattr(work.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpu, "Case", small)
    monkeypatch.setattr(gpu, "OUT", tmp_path)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 10**9)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    torch.set_num_threads(1)
    with shadow_cuda():
        gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert asked == ["135m", "qwen3-0.6b"] and len(found) == 3 * len(asked)
    assert all(row["ratio"] > 0 for row in found if "bound" in row["name"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in asked)


@pytest.mark.parametrize(("name", "millions"), [("135m", 134.5), ("qwen3-0.6b", 596.0)])
def test_the_random_models_have_the_sizes_of_the_real_ones(name, millions):
    """As their makers count parameters; ours has a norm a head more than SmolLM2, which is nothing."""
    shape, vocab = work.SHAPES[name]
    config = DecoderConfig.from_hf(scratch_config(shape, vocab, 1, 0))
    count = sum(torch.Size(size).numel() for size in config.shapes().values()) / 1e6
    assert count == pytest.approx(millions, abs=0.06)
