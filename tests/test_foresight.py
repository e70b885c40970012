"""What can be known before the first step is said before it: by `cascade check`, and by `run`, which then writes nothing."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import yaml
from small_run import RECIPE, changed, go

from cascade_rl.data.abilities import check_recipe
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.domains import load_domain
from cascade_rl.errors import RecipeError
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.types import Split


def from_directory(folder: Path, **benchmark) -> dict:
    """The small recipe from a model directory (512 positions, width 32)."""
    recipe = changed()
    recipe["model"] = {"init": str(folder)}
    recipe["benchmarks"][0] |= benchmark
    return recipe


@pytest.fixture
def both(cascade, tmp_path):
    """What `check` and `run` say of a recipe; they agree, and nothing is left behind."""

    def say(recipe: dict) -> str:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        told = []
        for command in ("check", "run"):
            status, out, err = cascade(command, "r.yaml")
            assert status == 1 and err.startswith("error: ") and "Traceback" not in out + err
            told.append(err)
        # one names the file, the other the run
        assert told[0].split(": ", 2)[2] == told[1].split(": ", 2)[2] and not (tmp_path / "runs").exists()
        return told[0]

    return say


def test_a_missing_model(both):
    told = both(from_directory(Path("nowhere")))
    assert "1 problem" in told and "model.init: nowhere is no Hugging Face model directory" in told


@pytest.mark.parametrize(
    ("config", "text"),
    [({"model_type": "bert"}, "model type 'bert' is not supported"), ({"model_type": "qwen3"}, "config.json lacks"),
     ("{", "config.json is no JSON")],
)  # fmt: skip
def test_a_model_that_is_not_supported(both, tmp_path, config, text):
    make_tiny(tmp_path / "model")
    (tmp_path / "model/config.json").write_text(config if config == "{" else json.dumps(config))
    told = both(from_directory(tmp_path / "model"))
    assert "model.init: " in told and text in told


def test_a_model_without_weights(both, tmp_path):
    (make_tiny(tmp_path / "model") / "model.safetensors").unlink()
    assert "has no *.safetensors" in both(from_directory(tmp_path / "model"))


def test_sizes_that_the_model_does_not_have(both, tmp_path):
    recipe = from_directory(make_tiny(tmp_path / "model"), max_response_tokens=512)
    recipe["stages"][2] |= {"max_response_tokens": 600, "lora": {"rank": 33}}
    told = both(recipe)
    assert "3 problems" in told
    assert "benchmarks.alignment: replies of 512 tokens go beyond the model's 512 positions" in told
    assert "stages.rlhf: replies of 600 tokens" in told
    assert "stages.rlhf.lora.rank: 33 is above the model's width of 32" in told


def test_the_same_of_a_model_from_scratch_is_a_rule_of_the_recipe():
    recipe = changed(rlhf={"max_response_tokens": 512, "lora": {"rank": 33}})
    with pytest.raises(RecipeError) as told:
        check_recipe(recipe)
    assert [path for path, _ in told.value.problems] == ["stages.rlhf", "stages.rlhf.lora.rank"]
    check_recipe(changed(rlhf={"max_response_tokens": 511, "lora": {"rank": 32}}))


@pytest.mark.parametrize(
    ("stage", "keys", "path"),
    [
        ("sft", {"warmup_steps": 2}, "warmup_steps"), ("sft", {"batch_size": 17}, "batch_size"),
        ("reward", {"batch_size": 9}, "batch_size"), ("reward", {"warmup_steps": 9}, "warmup_steps"),
        ("rlhf", {"prompts_per_step": 9}, "prompts_per_step"), ("rlhf", {"warmup_steps": 3}, "warmup_steps"),
    ],
)  # fmt: skip
def test_lengths_that_miss_each_other(stage, keys, path):
    with pytest.raises(RecipeError) as told:
        check_recipe(changed(**{stage: keys}))
    assert [path for path, _ in told.value.problems] == [f"stages.{stage}.{path}"]
    (key, value) = next(iter(keys.items()))
    check_recipe(changed(**{stage: {key: 1}}))
    assert value > 1


def test_a_benchmark_that_can_not_ask_its_prompts(cascade, tmp_path):
    """`check` counts them in the tokens of the model; the longest is counted here by hand."""
    model = make_tiny(tmp_path / "model")
    recipe = from_directory(model, max_prompt_tokens=20)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    status, _, err = cascade("check", "r.yaml")
    assert status == 1 and "benchmarks.alignment.max_prompt_tokens: 2 of 2 prompts are longer" in err
    domain = load_domain("alignment")
    problems = list(islice(domain.problems("builtin", Split.HELDOUT, 0), 2))
    tokenizer = load_tokenizer(model)
    longest = max(len(tokenizer.prompt(p.in_mode(domain.headline))) for p in problems)
    assert f"the longest has {longest} tokens" in err
    # with as much as they need, but no room for a reply
    recipe["benchmarks"][0] |= {"max_prompt_tokens": longest, "max_response_tokens": 513 - longest}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    status, _, err = cascade("check", "r.yaml")
    assert (
        status == 1
        and f"the longest prompt has {longest} tokens, which with a reply of {513 - longest}" in err
    )
    recipe["benchmarks"][0]["max_response_tokens"] -= 1
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert cascade("check", "r.yaml")[0] == 0


def test_a_run_from_scratch_says_so_before_it_trains(tmp_path):
    recipe = changed()
    recipe["benchmarks"][0]["max_prompt_tokens"] = 5
    with pytest.raises(RecipeError, match="2 of 2 prompts are longer"):
        go(tmp_path / "run", recipe)
    assert not (tmp_path / "run/stages").exists()


def test_a_finished_base_needs_its_model_no_more(tmp_path):
    model = make_tiny(tmp_path / "model")
    recipe = from_directory(model)
    recipe["stages"] = recipe["stages"][:1]
    go(tmp_path / "run", recipe)
    model.rename(tmp_path / "elsewhere")
    assert "sft is done: kept" in go(tmp_path / "run", recipe)


def test_the_recipe_of_these_tests_has_none_of_these_faults():
    check_recipe(RECIPE)
