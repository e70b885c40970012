"""A run of a model by transformers' own modules that is killed ends as if it had not been, byte for byte."""

from __future__ import annotations

import signal
from pathlib import Path

from module_models import directory
from run_files import results
from test_resume import cascade

RECIPE = """
name: modules
seed: 3
workers: 2
precision: fp32
smoke: true
model: {{init: "{model}"}}
defaults:
  sft: {{optimizer: muon, muon_lr: 0.02, lr: 3.0e-3, batch_size: 4, max_tokens: 400, save_every: 2}}
  rl: {{lr: 1.0e-3, prompts_per_step: 2, rollouts_per_prompt: 2, max_prompt_tokens: 400, save_every: 1}}
stages:
  - {{name: sft, kind: sft, samples: 16, steps: 4, data: [{{domain: alignment}}]}}
  - {{name: reward, kind: reward_model, lr: 1.0e-3, pairs: 8, heldout_pairs: 4, steps: 2, batch_size: 4,
      max_tokens: 400, save_every: 1}}
  - {{name: rlhf, kind: rl, steps: 3, mode_mix: instruct, max_response_tokens: 6, kl_coefficient: 0.1,
      lora: {{rank: 2}}, data: [{{domain: alignment, problems: 8}}]}}
benchmarks:
  - {{name: alignment, domain: alignment, problems: 2, k: 1, both_modes: false, max_prompt_tokens: 400,
      max_response_tokens: 6}}
preflight: {{problems: 2}}
"""


def test_killed_again_and_again_ends_the_same(tmp_path):
    recipe = tmp_path / "modules.yaml"
    recipe.write_text(RECIPE.format(model=directory(tmp_path / "model", "gpt2")))
    whole, run = tmp_path / "whole", tmp_path / "run"
    for kill in (("update", 3), ("pair", 2), ("rollout", 2)):
        died = cascade("run", str(recipe), "--out", str(run), kill=kill)
        assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    for folder in (whole, run):
        done = cascade("run", str(recipe), "--out", str(folder))
        assert done.returncode == 0, done.stderr
        assert (
            "model: family gpt2, GPT2LMHeadModel; computed by transformers' own modules, slower"
            in done.stdout
        )
    expected, found = results(whole), results(run)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert len(expected) >= 12 and Path(whole, "stages/03-rlhf/adapter/adapter_config.json").exists()
    card = (whole / "stages/03-rlhf/checkpoint/README.md").read_text()
    assert "computed by transformers' own modules, slower" in card
