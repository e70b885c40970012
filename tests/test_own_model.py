"""An own model of another family through a run: markers added, RoPE scaled, exported in bf16, kept on a rerun."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_tokenizers_families import directory, llama3
from tiny import SHAPE, logits
from transformers import AutoModelForCausalLM, AutoTokenizer, Phi3Config, Phi3ForCausalLM

from cascade_rl import chat
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.errors import InputError
from cascade_rl.model.base import with_scaling
from cascade_rl.model.checkpoint import load_directory, save_directory, scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe.explain import explain
from cascade_rl.recipe.model import RopeScaling
from cascade_rl.recipe.reading import validate
from cascade_rl.testing import QuietScreen
from cascade_rl.types import Message, Mode

RECIPE = """
name: own
device: cpu
model:
  add_tokens: true
  export_dtype: bf16
  rope_scaling: {rope_type: yarn, factor: 2.0, original_max_position_embeddings: 256}
preflight: {problems: 2}
defaults: {sft: {steps: 2, samples: 8, batch_size: 4, max_tokens: 700, lr: 0.003, data: [{domain: maths}]}}
stages:
  - {name: one, kind: sft}
  - {name: two, kind: sft, lora: {rank: 2}}
benchmarks: [{name: maths, domain: maths, problems: 2, k: 1, max_prompt_tokens: 600, max_response_tokens: 4}]
"""


class Notes(QuietScreen):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_from_a_model_of_llama_3s_family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory(tmp_path / "own", llama3(), eos_token_id=[257, 256])
    raw = yaml.safe_load(RECIPE)
    raw["model"]["init"] = "own"
    screen = Notes()
    run_cascade(validate(raw), Path("run"), screen)
    said = "model.add_tokens: `<|im_start|>`, `<|im_end|>` added"
    assert any(note.startswith(said) for note in screen.notes)
    stage = Path("run/stages/02-two")
    card = (stage / "checkpoint/README.md").read_text()
    row = next(line for line in card.splitlines() if line.startswith("| base |"))
    assert len(row.replace("\\|", "").split("|")) == 4, "a bar in a cell would end it"
    assert (
        said in row.replace("\\|", "|")
        and "begins with `<\\|begin_of_text\\|>`" in row
        and "rope_type yarn, factor 2.0" in card
    )

    folder = stage / "checkpoint"
    settings = json.loads((folder / "config.json").read_text())
    assert settings["dtype"] == "bfloat16" and settings["vocab_size"] == 262
    assert settings["rope_scaling"] == {
        "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256
    }  # fmt: skip
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["temperature"] == 0.6 and {256, 257} < set(generation["eos_token_id"])

    theirs, tok = (
        AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        AutoTokenizer.from_pretrained(folder),
    )
    assert theirs.config.rope_parameters["rope_type"] == "yarn"
    _, config, flat = load_directory(folder)
    assert config.rope.kind == "yarn" and config.max_positions == 512
    asked = chat.flagged([Message("user", "What is 3 + 4? " * 30)], Mode.INSTRUCT)
    ids = tok.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    assert ids.shape[1] > 256 and ids[0, 0] == 256
    with torch.no_grad():
        torch.testing.assert_close(logits(config, flat, ids), theirs(ids).logits, rtol=0, atol=1e-4)
    assert load_tokenizer(folder).lead == "<|begin_of_text|>"

    stored = load_file(stage / "adapter/adapter_model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    adapter = json.loads((stage / "adapter/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(tmp_path / "run/stages/01-one/checkpoint")

    # the first stage is kept: its rounded weights are those that the ledger recorded, and trained on
    raw["stages"][1]["steps"] = 1
    again = Notes()
    run_cascade(validate(raw), Path("run"), again, accept_changes=True)
    assert "one is done: kept" in again.notes and said in "".join(again.notes)


def test_targets_that_a_family_has_not_are_refused_before_the_first_stage(tmp_path):
    inner = llama3()
    directory(tmp_path / "own", inner)
    shape = SHAPE.model_dump(exclude={"rope_theta", "head_dim"})
    theirs = Phi3ForCausalLM(
        Phi3Config(**shape, vocab_size=260, pad_token_id=None, bos_token_id=256, eos_token_id=257)
    )
    theirs.save_pretrained(tmp_path / "own")
    raw = yaml.safe_load(RECIPE)
    # Phi-3's own config takes the name yarn for longrope
    raw["model"] = {"init": str(tmp_path / "own"), "add_tokens": True}
    raw["stages"][1]["lora"]["targets"] = ["q_proj"]
    with pytest.raises(InputError, match=r"stages\.two\.lora: the model has no projection q_proj.*qkv_proj"):
        run_cascade(validate(raw), tmp_path / "run", Notes())
    assert not (tmp_path / "run/stages").exists()


def test_transformers_turns_heads_as_the_published_card_asks(tmp_path):
    """YaRN 2.0 over 32,768 (the evaluation of arXiv 2512.13607) on Qwen3's heads of 128 and base of a million."""
    spec = RopeScaling(rope_type="yarn", factor=2.0, original_max_position_embeddings=32768)
    shape = SHAPE.model_copy(update={"head_dim": 128, "rope_theta": 1e6, "max_position_embeddings": 40960})
    raw = with_scaling(scratch_config(shape, 300, 1, 2), spec.settings())
    config = DecoderConfig.from_hf(raw)
    save_directory(tmp_path, raw, config, scratch_weights(config, 0))
    written = json.loads((tmp_path / "config.json").read_text())
    asked = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32768}
    assert written["rope_scaling"] == asked and written["rope_theta"] == 1e6
    rotary = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32").model.rotary_emb
    rope = config.rope
    assert rotary.inv_freq.tolist() == list(rope.inverse) and rotary.attention_scaling == rope.scale
    assert config.max_positions == 65536
    # by the paper's own words: pairs that turn 32 times and more within 32,768 stay, once and less are halved
    plain = 1e6 ** (-torch.arange(0, 128, 2) / 128)
    turns, found = 32768 * plain / (2 * math.pi), torch.tensor(rope.inverse)
    fast, slow = turns > 40, turns < 0.8
    assert fast.any() and torch.allclose(found[fast], plain[fast])
    assert slow.any() and torch.allclose(found[slow], plain[slow] / 2)
    assert rope.scale == pytest.approx(0.1 * math.log(2) + 1)
    places = torch.tensor([0, 40000, 65535])
    cos, sin = rotary(torch.zeros(1, 3, 8), places[None])
    ours = rope.turns(128, places)
    torch.testing.assert_close(ours[0][:, 0], cos[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[1][:, 0, 64:], sin[0, :, 64:], rtol=0, atol=1e-5)


def test_check_tells_what_is_done_to_the_model():
    raw = yaml.safe_load(RECIPE)
    raw["model"]["init"] = "own"
    told = explain(validate(raw))
    assert "RoPE: rope_type yarn, factor 2.0" in told and "markers" in told and "rounded to bf16" in told


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "yarn needs original_max_position_embeddings"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 1.0}}, "greater than 1"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2, "beta_fast": 3}}, "beta_fast: no effect with rope_type l"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "'linear', 'yarn' or 'llama3'"),
        ({"init": "scratch", "add_tokens": True}, "add_tokens: no effect with init: scratch"),
        ({"export_dtype": "fp8"}, "'fp32' or 'bf16'"),
    ],
)  # fmt: skip
def test_keys_that_have_no_effect_or_lack_something_are_refused(model, message):
    raw = yaml.safe_load(RECIPE) | {"model": {"init": "own", **model}}
    with pytest.raises(ValueError, match=message):
        validate(raw)


def test_the_guide_names_every_key():
    guide = (Path(__file__).parents[1] / "docs/recipe.md").read_text()
    from cascade_rl.recipe.model import ModelSpec, RopeScaling

    assert not [key for key in (*ModelSpec.model_fields, *RopeScaling.model_fields) if key not in guide]
