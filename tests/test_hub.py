"""Models from a hub: what is fetched, at which commit, what a run keeps of it, and what is said where it can't be.

The hub is one on this machine (`fake_hub`), or a cache laid by hand; the Hugging Face Hub itself was never asked.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_hub import FakeHub, fake_hub
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from small_run import RECIPE, go
from transformers import AutoModelForCausalLM

from cascade_rl.data.abilities import check_recipe
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.model.checkpoint import load_directory, weights_hash
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.recipe.hub_name import read_hub_name
from cascade_rl.types import Message, Mode, Problem

README = "---\nlicense: other\nlicense_name: lab-licence\nlicense_link: https://lab.example/l\n---\n# tiny\n"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with `lab/tiny`, as huggingface_hub of this process sees it, with an empty cache."""
    with fake_hub() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        model = make_tiny(tmp_path / "model")
        (model / "README.md").write_text(README)
        (model / "onnx").mkdir()
        (model / "onnx/model.safetensors").write_bytes(b"another kind")
        served.push("lab/tiny", model)
        monkeypatch.chdir(tmp_path)
        yield served


def small(init: str = "lab/tiny") -> dict:
    """SFT without and with an adapter, and a benchmark."""
    recipe = copy.deepcopy(RECIPE) | {"model": {"init": init}}
    sft = recipe["stages"][0]
    recipe["stages"] = [
        sft | {"name": "first", "lora": {"rank": 2}},
        sft | {"name": "second", "lora": {"rank": 2}},
    ]
    return recipe


def commit_of(hub: FakeHub) -> str:
    return hub.branches["lab/tiny"]["main"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("lab/tiny", "lab/tiny", None), ("lab/tiny@v1.0", "lab/tiny", "v1.0"), ("hub:gpt2", "gpt2", None),
        ("hub:lab/tiny@refs/pr/3", "lab/tiny", "refs/pr/3"), ("Qwen/Qwen3-0.6B@main", "Qwen/Qwen3-0.6B", "main"),
    ],
)  # fmt: skip
def test_names_on_a_hub(text, repo, revision):
    found = read_hub_name(text)
    assert found and (found.repo, found.revision) == (repo, revision)


@pytest.mark.parametrize(
    "text", ["scratch", "gpt2", "/lab/tiny", "./lab/tiny", "~/tiny", "a/b/c", "lab/tiny.gguf", "../x", "lab/"]
)
def test_names_that_are_paths(text):
    assert read_hub_name(text) is None


@pytest.mark.parametrize("text", ["hub:", "hub:a/b/c", "hub:lab/tiny@", "hub:lab/ti ny"])
def test_what_is_no_name_behind_the_prefix_is_a_problem_of_the_recipe(text):
    with pytest.raises(RecipeError, match="is no name on a hub: write hub:ORG/NAME"):
        check_recipe(small(text))


def test_a_commit_belongs_to_a_hub_name():
    for model, told in (
        ({"init": "own", "commit": "a" * 40}, "commit: no effect unless init is a name on a hub"),
        ({"init": f"lab/tiny@{'b' * 40}", "commit": "a" * 40}, "commit: init names another one"),
        ({"init": "lab/tiny", "commit": "main"}, "pattern"),
    ):
        with pytest.raises(RecipeError, match=told):
            check_recipe(small() | {"model": model})


# ---------------------------------------------------------------- what is fetched


def test_only_what_is_needed_is_fetched_and_the_same_model_comes(hub, tmp_path):
    said: list[str] = []
    found = find_model("lab/tiny@main", note=said.append)
    assert (found.name, found.commit) == ("lab/tiny", commit_of(hub))
    assert dict(found.licence)["license_name"] == "lab-licence"
    size = (tmp_path / "model/model.safetensors").stat().st_size
    assert said == [
        f"lab/tiny@main: commit {found.commit}",
        f"lab/tiny: {size / 1000:.1f} kB of weights to fetch",
    ]
    assert torch.equal(load_directory(found.folder)[2], load_directory(tmp_path / "model")[2])
    assert not (found.folder / "onnx").exists()
    assert "model.safetensors" in hub.fetched()
    # again: one question for the branch, none at all for a commit
    hub.asked.clear()
    find_model("lab/tiny@main")
    assert [a for a in hub.asked if "agent" not in a] == ["GET /api/models/lab/tiny/revision/main"]
    hub.asked.clear()
    find_model(f"lab/tiny@{found.commit}")
    find_model("lab/tiny", found.commit)
    assert not hub.asked


def test_of_shards_those_of_the_index_of_two_formats_the_safe_one(hub, tmp_path):
    model = tmp_path / "model"
    whole = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(whole)
    parts = {"model-00001-of-00002.safetensors": names[:7], "model-00002-of-00002.safetensors": names[7:]}
    for file, held in parts.items():
        save_file({name: whole[name] for name in held}, model / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    (model / "consolidated.safetensors").write_bytes(b"the same again")
    (model / "pytorch_model.bin").write_bytes(b"the same again")
    hub.push("lab/tiny", model)
    found = find_model("lab/tiny")
    assert (
        set(parts) <= hub.fetched() and not {"consolidated.safetensors", "pytorch_model.bin"} & hub.fetched()
    )
    assert torch.equal(load_directory(found.folder)[2], load_directory(model)[2])


def test_bin_files_where_there_is_nothing_else(hub, tmp_path):
    model = tmp_path / "model"
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    wanted = load_directory(model)[2]
    (model / "model.safetensors").unlink()
    hub.push("lab/tiny", model)
    assert torch.equal(load_directory(find_model("lab/tiny").folder)[2], wanted)


def test_a_directory_of_the_name_comes_first_and_is_said(hub, tmp_path):
    shutil.copytree(tmp_path / "model", tmp_path / "lab/tiny")
    said: list[str] = []
    assert find_model("lab/tiny", note=said.append).folder == Path("lab/tiny")
    assert said == ["lab/tiny is the directory of that name here; hub:lab/tiny would be the hub's"]
    assert find_model("hub:lab/tiny").commit == commit_of(hub)
    # a commit can only be meant of the hub: a run that began there stays there
    assert find_model("lab/tiny", commit_of(hub)).folder.name == commit_of(hub)


# ---------------------------------------------------------------- check, run, and runs that go on


def test_check_fetches_no_weights_and_says_so(hub, cascade, tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(small("lab/tiny@main")))
    status, out, _ = cascade("check", "r.yaml")
    assert status == 0 and not any("safetensors" in file for file in hub.fetched())
    assert f"lab/tiny@main: commit {commit_of(hub)}" in out
    assert "config and tokenizer are fetched" in out and "of weights are not yet" in out
    shown = yaml.safe_load(out[out.index("name: small") : out.index("\nsmall: ")])
    assert shown["model"]["commit"] == commit_of(hub)


def test_a_run_keeps_its_commit_when_the_hub_moves_on(hub, tmp_path):
    before, run = commit_of(hub), tmp_path / "run"
    notes = go(run, small())
    assert f"lab/tiny: commit {before}" in notes
    resolved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert resolved["model"]["commit"] == before
    record = json.loads((run / "stages/01-first/stage.json").read_text())
    assert (record["origin"]["name"], record["origin"]["commit"]) == ("lab/tiny", before)
    base = load_file(run / "base/model.safetensors")

    shutil.rmtree(tmp_path / "model")
    make_tiny(tmp_path / "model", seed=1)
    after = hub.push("lab/tiny", tmp_path / "model")
    assert after != before
    hub.asked.clear()
    again = go(run, small())
    assert "second is done: kept" in again and not hub.asked, "nothing is asked of a model that is there"
    # another seed begins anew, from the same model as before
    go(run, small() | {"seed": 1}, accept_changes=True)
    same = load_file(run / "base/model.safetensors")
    assert (run / "base.old-1").exists() and all(torch.equal(base[name], same[name]) for name in base)
    # a new directory takes what the name means now
    go(tmp_path / "new", small())
    assert yaml.safe_load((tmp_path / "new/recipe.yaml").read_text())["model"]["commit"] == after


def test_another_revision_is_another_recipe(hub, tmp_path):
    go(tmp_path / "run", small("lab/tiny@main"))
    make_tiny(tmp_path / "model", seed=1)
    commit = hub.push("lab/tiny", tmp_path / "model", branch="v2")
    with pytest.raises(RuntimeError, match="was started with another recipe"):
        go(tmp_path / "run", small("lab/tiny@v2"))
    go(tmp_path / "run", small("lab/tiny@v2"), accept_changes=True)
    assert json.loads((tmp_path / "run/base/origin.json").read_text())["commit"] == commit


def test_the_adapter_of_the_first_stage_names_the_hubs_model_and_peft_loads_it(hub, tmp_path):
    from peft import AutoPeftModelForCausalLM

    go(tmp_path / "run", small())
    first, second = tmp_path / "run/stages/01-first", tmp_path / "run/stages/02-second"
    config = json.loads((first / "adapter/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("lab/tiny", commit_of(hub))
    config = json.loads((second / "adapter/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (str(first / "checkpoint"), None)
    ids = torch.tensor([[5, 6, 7, 8]])
    for stage in (first, second):
        with_adapter = AutoPeftModelForCausalLM.from_pretrained(stage / "adapter", dtype=torch.float32)
        merged = AutoModelForCausalLM.from_pretrained(stage / "checkpoint", dtype=torch.float32)
        with torch.no_grad():
            torch.testing.assert_close(with_adapter(ids).logits, merged(ids).logits, rtol=0, atol=1e-5)


def test_an_adapter_on_a_changed_base_names_the_directory(hub, tmp_path):
    recipe = small()
    recipe["model"]["rope_scaling"] = {"rope_type": "linear", "factor": 2.0}
    go(tmp_path / "run", recipe)
    config = json.loads((tmp_path / "run/stages/01-first/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "run/base")


def test_the_card_says_where_the_model_came_from_and_its_snippet_runs(hub, tmp_path, monkeypatch):
    go(tmp_path / "run", small())
    checkpoint = tmp_path / "run/stages/02-second/checkpoint"
    card = (checkpoint / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "lab/tiny" and front["license"] == "other"
    assert front["license_name"] == "lab-licence" and front["library_name"] == "transformers"
    origin = json.loads((tmp_path / "run/base/origin.json").read_text())
    assert origin["weights"] == weights_hash(load_directory(tmp_path / "model")[2])
    wanted = (
        f"began with `lab/tiny` at commit `{commit_of(hub)}`; checksum of its weights: `{origin['weights']}`"
    )
    assert wanted in card and "licence of that model: other, lab-licence" in card
    assert "family `qwen3`, weights in float32, made for 512 positions" in card
    assert "temperature=0.6, top_p=0.95" in card and "| alignment | 2 | 1 | 0.6 | 0.95 | 400, 4 |" in card
    snippet = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(checkpoint)
    names: dict[str, Any] = {}
    exec(snippet, names)
    # the prompt is what training has, and the reply no longer than the benchmarks allow
    problem = Problem("p", "toy", (Message("user", "What is 3 + 4?"),), None, Mode.THINKING)
    prompt = load_tokenizer(checkpoint).prompt(problem)
    assert names["inputs"]["input_ids"][0].tolist() == prompt
    assert 0 < names["ids"].shape[1] - len(prompt) <= 4


# ---------------------------------------------------------------- what can't be fetched


def refused(recipe: dict, folder: Path) -> str:
    """What `run` says, in one line below the recipe's name; nothing was written."""
    with pytest.raises(RecipeError) as told:
        go(folder, recipe)
    assert not folder.exists(), "refused before anything is written"
    [(path, text)] = told.value.problems
    assert path == "model.init" and "\n" not in text
    return text


def test_what_is_not_there_or_not_allowed(hub, tmp_path):
    run = tmp_path / "run"
    assert "there is no directory lab/none" in refused(small("lab/none"), run)
    assert "has no revision v9" in refused(small("lab/tiny@v9"), run)
    assert "has no revision" in refused(small(f"lab/tiny@{'a' * 40}"), run)
    hub.gated.add("lab/tiny")
    told = refused(small(), run)
    assert "is gated: accept its conditions at http" in told and "HF_TOKEN" in told


@pytest.mark.parametrize(
    ("lost", "told"),
    [("config.json", "has no config.json"), ("tokenizer.json", "has no tokenizer files"),
     ("model.safetensors", "has no *.safetensors")],
)  # fmt: skip
def test_a_repository_that_lacks_something(hub, tmp_path, lost, told):
    (tmp_path / "model" / lost).unlink()
    hub.push("lab/tiny", tmp_path / "model")
    assert told in refused(small(), tmp_path / "run")


def test_a_download_that_breaks_off_goes_on_later(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.broken.add("model.safetensors")
    told = refused(small(), tmp_path / "run")
    assert "could not be fetched" in told and "goes on where it stopped" in told
    hub.broken.clear()
    assert load_directory(find_model("lab/tiny").folder)


def test_without_a_network_the_cache_is_enough_and_its_lack_is_told(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    told = refused(small(), tmp_path / "run")
    assert "HF_HUB_OFFLINE forbids to fetch it" in told and "hf download lab/tiny" in told
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    find_model("lab/tiny", weights=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "not whole" in refused(small(), tmp_path / "run"), "the weights are not in the cache"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    find_model("lab/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    go(tmp_path / "run", small())
    assert not hub.asked


def test_a_hub_that_does_not_answer(hub, tmp_path, monkeypatch):
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        value = getattr(constants, name).replace(hub.url, "http://127.0.0.1:9")
        monkeypatch.setattr(constants, name, value)
    told = refused(small(), tmp_path / "run")
    assert "could not be fetched from http://127.0.0.1:9" in told and "name a local directory" in told


def test_a_cache_laid_by_hand_is_read_offline(tmp_path, monkeypatch):
    """As another machine's `hf download` or an older huggingface_hub left it: refs, and a snapshot."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo, commit = tmp_path / "cache/models--lab--tiny", "c" * 40
    make_tiny(repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    for name in ("lab/tiny", "lab/tiny@main", f"lab/tiny@{commit}"):
        found = find_model(name)
        assert found.commit == commit and load_directory(found.folder)
    with pytest.raises(InputError, match="is not, or not whole, in the cache"):
        find_model("lab/tiny@v2")


# ---------------------------------------------------------------- the command line, as a user has it


def test_chat_eval_and_doctor_take_a_hub_name(tmp_path):
    make_tiny(tmp_path / "model")
    with fake_hub() as hub:
        commit = hub.push("lab/tiny", tmp_path / "model")
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "COLUMNS": "200"}
        recipe = small() | {"stages": small()["stages"][:1]}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))

        def cascade(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "cascade_rl", *arguments]
            return subprocess.run(command, env=env, cwd=tmp_path, input=said, capture_output=True, text=True)

        told = cascade("eval", "lab/tiny", "--recipe", "r.yaml", "--benchmark", "chess")
        assert told.returncode == 1 and "no benchmark chess" in told.stderr and not hub.fetched()
        told = cascade("chat", "lab/tiny@main", "--max-new-tokens", "2", said="hi\n\n")
        assert told.returncode == 0, told.stderr
        assert f"lab/tiny@main: commit {commit}" in told.stdout and "of weights to fetch" in told.stdout
        told = cascade("eval", "lab/tiny", "--recipe", "r.yaml")
        assert told.returncode == 0 and "alignment" in told.stdout, told.stderr
        told = cascade("doctor", "--model", "lab/nothing")
        assert "error: there is no directory lab/nothing" in told.stderr and "Traceback" not in told.stderr
