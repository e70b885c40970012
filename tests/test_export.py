"""An exported stage, loaded by transformers alone and by our own engine, and what its card says and runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from fake_hub import fake_hub
from gguf import GGUFReader
from gguf_files import random_model
from huggingface_hub import ModelCard, constants
from safetensors.torch import load_file, save_file
from small_run import changed, go
from tiny import logits, tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from cascade_rl import chat
from cascade_rl.cascade.export import export_stage
from cascade_rl.cascade.export_wanted import Wanted
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import load_directory, weights_hash
from cascade_rl.model.pretrained import find_model
from cascade_rl.protocols import GREEDY, Sampling
from cascade_rl.rollout.world import Engine, open_world
from cascade_rl.types import Message, Mode, Problem

YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256}
TALKS = [
    (Message("user", "Tell me about rivers."),),
    (Message("system", "Be brief."), Message("user", "Say 12 + 7."), Message("assistant", "19"), Message("user", "5's?")),
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The last stage trains adapters. Its model has weights far from their start, so that replies differ."""
    folder = tmp_path_factory.mktemp("run")
    random_model("qwen3", tie_word_embeddings=True).save_pretrained(folder / "base")
    tokenizer().save(folder / "base")
    recipe = changed(rlhf={"lora": {"rank": 4}})
    recipe["model"] = {"init": str(folder / "base"), "rope_scaling": YARN}
    go(folder / "small", recipe)
    return folder / "small"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "model"
    export_stage(run, "rlhf", out, Wanted(gguf=True, licence="apache-2.0"))
    return out


def recorded(run: Path, index: int = -1) -> str:
    return json.loads((run / "ledger.json").read_text())["stages"][index]["weights"]


# ---------------------------------------------------------------- it loads elsewhere


def test_transformers_computes_and_says_what_our_engine_does(exported):
    theirs = AutoTokenizer.from_pretrained(exported)
    model = AutoModelForCausalLM.from_pretrained(exported, dtype="auto").eval()
    _, config, flat = load_directory(exported)
    asked = [Problem("p", "toy", talk, None, mode) for talk in TALKS for mode in Mode]
    with open_world(exported, Engine()) as world:
        ours = world.sampler.sample(asked, Sampling(1, 12, GREEDY))
    texts = set()
    for problem, (rollout,) in zip(asked, ours, strict=True):
        rows = chat.flagged(problem.messages, problem.mode)
        said = theirs.apply_chat_template(rows, add_generation_prompt=True, tokenize=False)
        assert said == chat.render_problem(problem)
        ids = theirs.apply_chat_template(
            rows, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            found = model.generate(**ids, do_sample=False, max_new_tokens=12)[0]
            wanted = model(found[None]).logits
        assert tuple(found[ids["input_ids"].shape[1] :].tolist()) == rollout.ids
        assert found.shape[0] > 0 and tuple(ids["input_ids"][0].tolist()) == rollout.prompt_ids
        torch.testing.assert_close(logits(config, flat, found[None]), wanted, rtol=0, atol=1e-4)
        texts.add(rollout.ids)
    assert len(texts) > 1, "replies that are all the same prove little"


def test_the_weights_are_those_of_the_ledger_adapters_merged(run, exported):
    _, _, flat = load_directory(find_model(str(exported)).folder)
    assert weights_hash(flat) == recorded(run) != recorded(run, 0)
    assert not list(exported.glob("adapter*")) and (run / "stages/03-rlhf/adapter").is_dir()


def test_the_cards_snippet_runs_as_it_stands(exported):
    [code] = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    code += '\nimport sys\nassert "cascade_rl" not in sys.modules\n'
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_settings_are_those_of_the_recipe(exported):
    config = json.loads((exported / "config.json").read_text())
    assert config["rope_scaling"] == YARN and config["rope_parameters"]["factor"] == 2.0
    found = GenerationConfig.from_pretrained(exported)
    assert (found.do_sample, found.temperature, found.top_p, found.top_k) == (True, 0.6, 0.95, 0)
    assert found.max_new_tokens == 4
    assert found.eos_token_id == tokenizer().inner.convert_tokens_to_ids("<|im_end|>")


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_other_precisions_are_rounded_once_and_said(dtype, run, tmp_path):
    made = export_stage(run, "last", tmp_path / "m", Wanted(dtype))
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    before = load_file(run / "stages/03-rlhf/checkpoint/model.safetensors")
    found = load_file(tmp_path / "m/model.safetensors")
    assert {name: (t.dtype, True) for name, t in found.items()} == {
        name: (kind, bool(torch.equal(found[name], t.to(kind)))) for name, t in before.items()
    }
    pairs = [(before[name].flatten(), found[name].float().flatten()) for name in before]
    old, new = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    worst = float(((old - new).abs() / old.abs())[old != 0].max())
    [line] = [line for line in made.lines if "rounded to" in line]
    assert f"by at most {worst:.2g} of their size" in line and line in (tmp_path / "m/README.md").read_text()
    assert f"{100 * float((old != new).float().mean()):.1f} % of the numbers" in line


def test_weights_that_have_no_place_in_fp16_are_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "stages/03-rlhf/checkpoint/model.safetensors"
    state = load_file(file)
    state["model.norm.weight"][0] = 1e6
    save_file(state, file, metadata={"format": "pt"})
    ledger = json.loads((copy / "ledger.json").read_text())
    ledger["stages"][2]["weights"] = weights_hash(load_directory(file.parent)[2])
    (copy / "ledger.json").write_text(json.dumps(ledger))
    with pytest.raises(
        InputError, match=r"1 weights are too large for fp16 \(up to 1e\+06.*take bf16 or fp32"
    ):
        export_stage(copy, "last", tmp_path / "m", Wanted("fp16"))
    assert not (tmp_path / "m").exists()


def test_large_weights_come_in_shards(run, exported, tmp_path):
    export_stage(run, "last", tmp_path / "m", Wanted(shard=20_000))
    index = json.loads((tmp_path / "m/model.safetensors.index.json").read_text())
    files = sorted(path.name for path in (tmp_path / "m").glob("*.safetensors"))
    assert len(files) > 2 and sorted(set(index["weight_map"].values())) == files
    assert torch.equal(load_directory(tmp_path / "m")[2], load_directory(exported)[2])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m").state_dict()
    whole = AutoModelForCausalLM.from_pretrained(exported).state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in whole.items())


def test_the_gguf_file_holds_the_same_model(exported):
    [file] = exported.glob("*.gguf")
    fields = {key: field.contents() for key, field in GGUFReader(file).fields.items()}
    assert file.name == "small-rlhf-F32.gguf" and fields["general.name"] == "small-rlhf"
    assert fields["general.sampling.temp"] == pytest.approx(0.6)
    assert fields["qwen3.rope.scaling.type"] == "yarn" and fields["qwen3.rope.scaling.factor"] == 2.0
    assert fields["qwen3.rope.scaling.original_context_length"] == 256
    found = load_directory(find_model(str(file)).folder)[2]
    assert torch.equal(found, load_directory(exported)[2])


# ---------------------------------------------------------------- the card


def test_the_front_matter_is_what_a_hub_reads(run, exported):
    """By huggingface_hub's own reader. Its `validate` asks the hub over the network, which no test does."""
    card = ModelCard.load(exported / "README.md")
    data = card.data
    assert (data.license, data.language, data.library_name, data.pipeline_tag) == (
        "apache-2.0", ["en"], "transformers", "text-generation"
    )  # fmt: skip
    assert "gguf" in data.tags and data.base_model is None
    scores = json.loads((exported / "scorecard.json").read_text())["benchmarks"]
    wanted = {
        (name, mode): round(100 * found["avg"]["mean"], 1)
        for name, score in scores.items()
        for mode, found in score["modes"].items()
    }
    found = {(r.dataset_type, r.metric_config): r.metric_value for r in data.eval_results}
    assert found == wanted and data.model_name == "small-rlhf"
    # what was read is written as the same again: nothing in it is lost on the hub's own way
    assert ModelCard(str(card)).data.to_dict() == data.to_dict()
    assert scores == json.loads((run / "stages/03-rlhf/scorecard.json").read_text())["benchmarks"]


def test_the_card_tells_results_modes_and_history(run, exported):
    text = (exported / "README.md").read_text()
    assert "| benchmark | sft | reward | rlhf |" in text
    for flag in (" /think", " /no_think"):
        assert f"What is 3 + 4?{flag}<|im_end|>" in text
    for stage in json.loads((run / "ledger.json").read_text())["stages"]:
        assert f"`{stage['weights']}`" in text and f"`{stage['recipe']}`" in text
    assert "| `alignment: builtin` | sft, reward, rlhf, benchmark alignment |" in text
    assert "given under `apache-2.0`" in text and "smoke run" in text
    assert (exported / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()
    assert not re.search(r"(?m)^> \*\*The gate", text)


def test_a_gate_that_did_not_pass_is_said_first(run, tmp_path, cascade):
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "stages/03-rlhf/gate.json"
    gate = json.loads(file.read_text())
    cell = {"benchmark": "alignment", "before": "sft", "change": -0.4, "low": -0.5, "high": -0.3, "verdict": "loss",
            "excuse": ""}  # fmt: skip
    file.write_text(
        json.dumps(gate | {"passed": False, "cells": [cell], "notes": ["alignment fell by 40.0 points"]})
    )
    status, out, err = cascade("export", "run", "rlhf", "m")
    assert status == 0, err
    assert "the gate DID NOT PASS: alignment fell by 40.0 points" in out
    text = (tmp_path / "m/README.md").read_text()
    body = text.partition("\n---\n")[2]
    assert body.index("**The gate did not pass") < body.index("## Use")
    assert "**did not pass**" in text


# ---------------------------------------------------------------- which stage, where to, and what is refused


def test_a_stage_has_several_names(run, tmp_path):
    for place, word in enumerate(("rlhf", "03-rlhf", "3", "last")):
        assert export_stage(run, word, tmp_path / str(place), Wanted()).stage.name == "rlhf"
    assert len({(tmp_path / str(place) / "model.safetensors").read_bytes() for place in range(4)}) == 1


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("rlfh", r"called rlfh; did you mean rlhf\? done are 01-sft, 02-reward, 03-rlhf \(by name, number, or `last`\)"),
        ("0", "called 0; done are"), ("4", "called 4; done are"), ("02-rlhf", "called 02-rlhf; "),
    ],
)  # fmt: skip
def test_what_is_no_stage_to_export_is_said(word, told, run, tmp_path):
    with pytest.raises(InputError, match=told):
        export_stage(run, word, tmp_path / "m", Wanted())
    assert not list(tmp_path.iterdir())


def test_a_reward_model_is_exported_as_one(run, tmp_path, monkeypatch, capsys):
    """A score read with transformers by the card's code is that of the run's own folder, whose card is tested."""
    made = export_stage(run, "reward", tmp_path / "m", Wanted(licence="mit"))
    assert "reward model" in made.lines[0]
    card = (tmp_path / "m/README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert (
        ModelCard(card).data.license == "mit" and ModelCard(card).data.pipeline_tag == "text-classification"
    )
    places = [tmp_path / "m", run / "stages/02-reward/reward_model"]
    said = []
    for place in places:
        monkeypatch.chdir(place)
        exec(code, {})
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and len(said[0].split()) == 2
    assert (
        load_file(places[0] / "model.safetensors").keys() == load_file(places[1] / "model.safetensors").keys()
    )
    with pytest.raises(InputError, match="--gguf: reward trained a reward model, of which there is no GGUF"):
        export_stage(run, "reward", tmp_path / "n", Wanted(gguf=True))
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "stages/02-reward/reward_model/model.safetensors"
    state = load_file(file)
    state["score.weight"][0, 0] += 1
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"reward_model is not what the ledger recorded"):
        export_stage(copy, "2", tmp_path / "n", Wanted())


def test_a_stage_that_is_not_done_is_none(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    ledger = json.loads((copy / "ledger.json").read_text())
    (copy / "ledger.json").write_text(json.dumps({"stages": ledger["stages"][:1]}))
    assert export_stage(copy, "last", tmp_path / "m", Wanted()).stage.name == "sft"
    with pytest.raises(InputError, match="done are 01-sft "):
        export_stage(copy, "rlhf", tmp_path / "n", Wanted())
    (copy / "ledger.json").unlink()
    with pytest.raises(InputError, match=r"no stage of .* is done yet"):
        export_stage(copy, "last", tmp_path / "n", Wanted())
    with pytest.raises(InputError, match=r"is no run directory: it has no recipe\.yaml"):
        export_stage(tmp_path, "last", tmp_path / "n", Wanted())


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight"])
def test_a_checkpoint_with_one_bit_changed_is_refused(name, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "stages/03-rlhf/checkpoint/model.safetensors"
    state = load_file(file)
    state[name].view(torch.int32).flatten()[-1] ^= 1
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=rf"not what the ledger recorded \(checksum .*, and there {recorded(run)}\)"
    ):
        export_stage(copy, "rlhf", tmp_path / "m", Wanted())
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match="its copy may be cut off"):
        export_stage(copy, "rlhf", tmp_path / "m", Wanted())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_is_written_over_and_nothing_half_is_left(run, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(InputError, match=f"{name} is there already"):
            export_stage(run, "last", tmp_path / name, Wanted())
    (tmp_path / "empty").mkdir()
    assert (export_stage(run, "last", tmp_path / "empty", Wanted()).folder / "config.json").is_file()
    (run / "stages/03-rlhf/gate.json").rename(tmp_path / "gate.json")
    try:
        with pytest.raises(InputError, match=r"gate\.json is gone"):
            export_stage(run, "last", tmp_path / "new", Wanted())
    finally:
        (tmp_path / "gate.json").rename(run / "stages/03-rlhf/gate.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--licence", "my licence!"), "is no name of a licence"),
        (("--public",), "have no effect without --push"),
        (("--push", "tiny"), "write ORG/NAME"), (("--push", "a//b"), "is no name on a hub"),
    ],
)  # fmt: skip
def test_options_that_can_not_be_are_one_line(arguments, told, run, cascade, tmp_path):
    status, _, err = cascade("export", str(run), "last", "m", *arguments)
    assert status == 1 and told in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_a_licence_of_ones_own_is_other(run, tmp_path):
    export_stage(run, "last", tmp_path / "m", Wanted(licence="lab-licence"))
    data = ModelCard.load(tmp_path / "m/README.md").data
    assert (data.license, data.license_name) == ("other", "lab-licence")


# ---------------------------------------------------------------- a hub


@pytest.fixture
def hub(monkeypatch):
    with fake_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        # Xet speaks to servers of its own
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield served


def test_a_push_is_private_and_holds_what_was_exported(run, cascade, tmp_path, hub):
    status, out, err = cascade("export", str(run), "last", "m", "--push", "lab/tiny", "--dry-run")
    assert status == 0 and not hub.asked, err
    assert "would be uploaded to lab/tiny, private:" in out and "model.safetensors" in out
    assert 'checkpoint = "lab/tiny"' in (tmp_path / "m/README.md").read_text()
    hub.commit("lab/old", {"model-00001-of-00002.safetensors": b"old", "NOTES.md": b"kept"})
    hub.private.add("lab/old")
    for name, out_name in (("lab/tiny", "n"), ("lab/old", "o")):
        status, out, err = cascade("export", str(run), "last", out_name, "--push", name)
        assert status == 0, err
        assert f"uploaded: {hub.url}/{name}/commit/" in out and name in hub.private
        files = hub.commits[name][hub.branches[name]["main"]]
        wanted = {path.name: path.read_bytes() for path in (tmp_path / out_name).iterdir()}
        assert {key: files[key] for key in wanted} == wanted
        assert "model-00001-of-00002.safetensors" not in files, "old shards would be a second model"
    assert files["NOTES.md"] == b"kept"
    assert hub.messages == ["rlhf of small"] * 2
    shown = [(tmp_path / name / "README.md").read_text() for name in ("n", "o")]
    assert set(hub.cards) == set(shown), "the hub was asked whether it takes the card"


def test_a_public_model_is_not_pushed_to_unasked(run, cascade, tmp_path, hub):
    before = hub.commit("lab/tiny", {"README.md": b"seen by all"})
    status, _, err = cascade("export", str(run), "last", "m", "--push", "lab/tiny")
    assert status == 1 and "lab/tiny is there and public" in err and "hf upload lab/tiny m" in err
    assert hub.branches["lab/tiny"]["main"] == before and (tmp_path / "m/config.json").is_file()
    status, out, err = cascade("export", str(run), "last", "n", "--push", "lab/tiny", "--public")
    assert status == 0 and "uploading to lab/tiny, public:" in out, err


def test_a_hub_that_refuses_leaves_the_export(run, cascade, tmp_path, hub):
    hub.refuses = True
    status, _, err = cascade("export", str(run), "last", "m", "--push", "lab/tiny")
    assert status == 1 and "lab/tiny could not be uploaded" in err and "you may not write here" in err
    assert (tmp_path / "m/config.json").is_file()
    hub.refuses, hub.card_fault = False, '"license" must be one of the known'
    status, _, err = cascade("export", str(run), "last", "n", "--push", "lab/tiny")
    assert status == 1 and 'does not take the card: Invalid metadata in README.md. - "license" must' in err
    assert list(hub.commits["lab/tiny"][hub.branches["lab/tiny"]["main"]]) == [".gitattributes"]


def test_sources_on_a_hub_are_data_sets_of_the_card():
    from cascade_rl.cascade.export_told import hub_sets, languages_of

    names = [
        "maths: builtin",
        "hub:org/set@abc#train",
        "jsonl:x.jsonl",
        "hub:org/set@abc#test",
        "hub:other/set",
    ]
    assert hub_sets(names) == ["org/set", "other/set"]
    assert languages_of(names) == [] and languages_of(names[:1]) == ["en"]


def test_the_recipe_beside_it_is_one(exported):
    from cascade_rl.recipe.reading import stored

    assert stored(yaml.safe_load((exported / "recipe.yaml").read_text()), "recipe.yaml").name == "small"
