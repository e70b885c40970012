"""The sets that a shipped recipe names, read whole from a hub on this machine by the hub's own library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_data_hub import served
from published_sets import COUNT, named_sets, put_all
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from cascade_rl.doctor.subject import make_tiny

pytest.importorskip("datasets")
ROOT = Path(__file__).parent.parent
NAME = "nemotron-cascade-8b"
# What makes a recipe of millions of rows one of a few: numbers, and a suite that asks neither for a log-in nor for archives.
FEW = [
    "stages.sft-1.samples=16", "stages.sft-1.batch_size=4", "stages.sft-1.steps=2",
    "stages.sft-2.samples=40", "stages.sft-2.batch_size=4", "stages.sft-2.steps=2",
    "stages.swe-rl.data.up-to-16k.problems=4", "stages.swe-rl.data.up-to-24k.problems=4", "stages.swe-rl.prompts_per_step=4",
    "benchmarks=[{suite: mmlu_pro, k: 1, max_prompt_tokens: 4096, max_response_tokens: 61440}, {suite: ifeval, k: 8}]",
]  # fmt: skip


def check(*words: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """`cascade check NAME` in a process of its own: the hub's library reads its settings as it is imported."""
    env = os.environ | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "cascade_rl", "check", NAME, *words]
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=300)


def longer(folder: Path) -> None:
    """Give a tiny model the positions of the recipe's own."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 32768}))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A policy, a causal model whose first logit is a score, and what the guide makes of that."""
    here = tmp_path_factory.mktemp("models")
    make_tiny(here / "policy")
    longer(here / "policy")
    config = Qwen2Config(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32768, tie_word_embeddings=False, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(here / "published")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (here / "policy" / file).exists():
            (here / "published" / file).write_bytes((here / "policy" / file).read_bytes())
    code = re.search(r"```python\n(import torch\n.*?)```", (ROOT / "docs/scale.md").read_text(), re.DOTALL)
    assert code
    names: dict = {}
    exec(code.group(1), names)
    names["as_classifier"](str(here / "published"), str(here / "reward-model"))
    return here


def test_what_the_guide_makes_of_the_published_reward_model_scores_as_its_card_says(models):
    ids = torch.tensor([[5, 9, 200, 17, 3, 44]])
    with torch.inference_mode():
        card = AutoModelForCausalLM.from_pretrained(models / "published")(ids).logits[0, -1, 0]
        made = AutoModelForSequenceClassification.from_pretrained(models / "reward-model")(ids).logits
    # a product of one row and one of 300 may be rounded otherwise
    assert made.shape == (1, 1) and torch.allclose(made[0, 0], card, atol=1e-6)


def test_every_row_of_every_set_is_read_as_the_recipe_says(models, tmp_path):
    """Named parts of sets at their revisions, all maps, the reward model, the model's own tokens."""
    with served() as hub:
        put_all(hub, NAME)
        given = [
            f"model.init={models / 'policy'}",
            f"stages.rlhf.reward_model_from={models / 'reward-model'}",
        ]
        done = check(*given, *FEW, endpoint=hub.endpoint, home=tmp_path)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    told = " ".join(done.stdout.split())
    for named in named_sets(NAME):
        if named.repo in told:
            bad = COUNT * 3 // 4 if "IF_multi" in named.repo else 0
            assert f"{named.source}: {COUNT} rows read, {COUNT - bad} mapped, {bad} bad" in told
    assert told.count("rows read") == 4 + 16 + 1 + 2 + 1 + 1 + 2 + 2, (
        "each entry of each stage, and the benchmarks"
    )
    assert "swe: the reward is the probability of moonshotai/Kimi-Dev-72B's YES" in told


def test_without_a_hub_each_place_is_told_with_the_mend(tmp_path):
    done = check(endpoint="http://127.0.0.1:9", home=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    for named in named_sets(NAME)[:4]:
        assert f"{named.source} is not whole in the hub's cache, and the hub can't be reached" in told
        assert f"hf download --repo-type dataset {named.repo} --revision {named.revision}" in told
