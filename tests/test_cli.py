"""The command line: help names every option, errors say what to do and never show a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cascade_rl.cli import main as cli
from cascade_rl.data.abilities import load_recipe
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import SandboxUnavailable
from cascade_rl.recipe import Recipe
from cascade_rl.run.journal import Journal
from cascade_rl.run.rollouts import stored_group, stored_problem
from cascade_rl.sandbox.levels import refusal
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.types import Group, Rollout, Verdict

COMMANDS = typer.main.get_command(cli.app).commands


def test_the_commands_are_those_of_the_readme():
    names = {
        "run",
        "status",
        "report",
        "track",
        "eval",
        "compare",
        "chat",
        "domains",
        "benchmarks",
        "check",
        "grade",
        "regrade",
        "doctor",
        "export",
        "data",
        "init",
        "serve",
        "plan",
        "verl",
    }
    assert set(COMMANDS) == names


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name):
    found = CliRunner().invoke(cli.app, [name, "--help"])
    assert found.exit_code == 0
    for parameter in COMMANDS[name].params:
        shown = parameter.opts if parameter.param_type_name == "option" else [parameter.name]
        assert all(option in found.output.lower() for option in shown), shown
    assert COMMANDS[name].help.split("\n")[0].split(",")[0][:40] in " ".join(found.output.split())


def test_help_of_the_whole_lists_the_commands():
    found = CliRunner().invoke(cli.app, ["--help"])
    assert found.exit_code == 0
    assert all(f"  {name} " in found.output for name in COMMANDS)


MISTAKES = {
    ("run", "tinny"): "no such recipe or file; shipped recipes:",
    ("check", "tinny"): "tiny",
    ("run", "tiny", "stages.mathrl.steps=3"): "no 'mathrl' here; there are sft-1",
    ("check", "tiny", "seed"): "path.to.key=value",
    ("check", "tiny", "seed=-1"): "seed: Input should be greater than or equal to 0 (got -1)",
    ("check", "tiny", "stages.math-rl.banana=1"): "stages.math-rl.banana: unknown key",
    ("status", "runs/nowhere"): "runs/nowhere is no run directory",
    ("report", "runs/nowhere"): "no run directory runs/nowhere",
    ("plan", "tinny"): "no such recipe or file; shipped recipes:",
    ("plan", "tiny", "--hardware", "tpu"): "no such hardware: tpu; known: here, rtx3090",
    ("plan", "tiny", "--hardware", "8xh100", "--gpus", "4"): "says 8 GPUs, and --gpus 4; give one of the two",
    ("plan", "tiny", "--hardware", "8xhere"): "write here, and --gpus N",
    (
        "plan",
        "tiny",
        "model.init=nowhere/else",
        "model.architecture=null",
        "model.tokenizer=null",
    ): "nowhere/else",
    ("run", "tiny", "--hardware", "h100", "--within", "0"): "--within 0: the plan takes ",
    ("eval", "nowhere"): "nowhere is no Hugging Face model directory: it has no config.json",
    ("eval", "nowhere", "--benchmark", "chess"): "no benchmark chess in tiny; there are",
    ("chat", "nowhere"): "nowhere is no Hugging Face model directory: it has no config.json",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_mistakes_are_one_message_that_names_the_mend(cascade, tmp_path, arguments):
    status, out, err = cascade(*arguments)
    assert status == 1
    assert err.startswith("error: ") and MISTAKES[arguments] in err
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "cascade_rl.cli", "check", "tiny", "stages.math-rl.lr=fast"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert (
        done.stderr.startswith("error: ")
        and "stages.math-rl.lr" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_unknown_options_are_usage_errors(cascade):
    status, _, err = cascade("run", "tiny", "--bananas")
    assert status == 2 and "--bananas" in err


def test_check_prints_the_resolved_recipe_and_what_it_does(cascade):
    status, out, _ = cascade("check", "tiny", "stages.math-rl.steps=20", "seed=5")
    assert status == 0
    text, explanation = out[: out.index("\ntiny: ")], out[out.index("\ntiny: ") :]
    wanted = load_recipe("tiny", ["stages.math-rl.steps=20", "seed=5"])
    assert Recipe.model_validate(yaml.safe_load(text)) == wanted
    assert [f"{i}. {s.name} ({s.kind})" in explanation for i, s in enumerate(wanted.stages, 1)] == [
        True
    ] * len(wanted.stages)
    assert "seed 5" in explanation and "20 steps: 32 prompts x 8 rollouts = 256 replies" in explanation


def test_check_of_a_smoke_test(cascade):
    status, out, _ = cascade("check", "tiny", "--smoke")
    assert status == 0 and "smoke: true" in out and "2 updates of 8 demonstrations" in out


def test_domains_lists_them_all(cascade):
    status, out, _ = cascade("domains")
    assert status == 0
    assert {"alignment", "coding", "following", "maths", "multiple_choice", "swe", "tools"} == set(
        domain_names()
    )
    assert all(name in out for name in domain_names())


# ---------------------------------------------------------------- what is given can't be used


def _without_config(model: Path) -> str:
    (model / "config.json").write_text("{")
    return "config.json is no JSON"


def _another_family(model: Path) -> str:
    (model / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return "model type 'bert' is not supported; supported:"


def _without_weights(model: Path) -> str:
    (model / "model.safetensors").unlink()
    return "has no *.safetensors"


def _half_the_weights(model: Path) -> str:
    weights = load_file(model / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layers.1" not in k}, model / "model.safetensors")
    return "the weights lack"


def _without_tokenizer(model: Path) -> str:
    for file in model.glob("*token*"):
        file.unlink()
    return "model has no tokenizer files"


def _half_a_tokenizer(model: Path) -> str:
    (model / "tokenizer.json").write_text("{")
    return "model: its tokenizer can't be loaded"


@pytest.mark.parametrize(
    "harm",
    [
        _without_config,
        _another_family,
        _without_weights,
        _half_the_weights,
        _without_tokenizer,
        _half_a_tokenizer,
    ],
)
def test_a_model_that_can_not_be_used_is_named(cascade, tmp_path, harm):
    told = harm(make_tiny(tmp_path / "model"))
    for command in (("chat", "model"), ("doctor", "--model", "model")):
        status, out, err = cascade(*command)
        assert status == 1 and err.startswith("error: ") and told in err and "Traceback" not in out + err


@pytest.mark.parametrize(
    ("file", "text"),
    [("recipe.yaml", "name: x\n"), ("recipe.yaml", "a: ["), ("recipe.yaml", "\ud800")],
)
def test_a_damaged_file_of_a_run_is_named(cascade, tmp_path, file, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(yaml.safe_dump(load_recipe("tiny").model_dump(mode="json")))
    (tmp_path / "run" / file).write_bytes(text.encode(errors="surrogatepass"))
    status, out, err = cascade("status", "run")
    assert status == 1 and err.startswith(f"error: run/{file} is no ") and "Traceback" not in out + err


def test_a_damaged_record_of_a_stage_is_named(cascade, tmp_path):
    _stored_run(tmp_path / "run")
    stage = tmp_path / "run/stages/00-code"
    with (stage / "rollouts.jsonl").open("a") as file:
        file.write("{\n")
    status, _, err = cascade("regrade", "run")
    assert status == 1 and "run/stages/00-code/rollouts.jsonl holds a line that is no JSON" in err
    (stage / "stage.json").write_text("{")
    status, _, err = cascade("regrade", "run")
    assert status == 1 and err.startswith("error: run/stages/00-code/stage.json is no JSON")


def test_a_fault_of_the_program_is_no_message_but_a_traceback(cascade, monkeypatch):
    def load(*_, **__):
        raise ValueError("a record of ours is wrong")

    monkeypatch.setattr("cascade_rl.cascade.look.look", load)
    with pytest.raises(ValueError, match="a record of ours"):
        cascade("check", "tiny")


# ---------------------------------------------------------------- a sandbox that is refused


@pytest.fixture
def nothing_isolates(monkeypatch):
    def start(self):
        raise refusal({"full": "unshare: no", "lockdown": "landlock: no"})

    monkeypatch.setattr(ZygoteSandbox, "start", start)


def _stored_run(folder: Path) -> None:
    """A run whose stage has one stored reply of the coding domain."""
    stage = folder / "stages/00-code"
    stage.mkdir(parents=True)
    (stage / "stage.json").write_text(json.dumps({"settings": {"data": [{"domain": "coding"}]}}))
    example = next(iter(load_domain("coding").examples()))
    group = Group(example.problem, (Rollout.of_text(example.reply),), (Verdict.binary(True),))
    journal = Journal(stage / "rollouts.jsonl")
    journal.write(stored_problem(group.problem))
    journal.write(stored_group(0, group))
    journal.close()


REFUSED = [
    ("run", "tiny", "--smoke"),
    ("eval", "model", "--benchmark", "coding"),
    ("grade", "coding", "--input", "cases.jsonl"),
    ("regrade", "run"),
    ("doctor",),
    ("doctor", "--model", "model"),
]


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_a_refused_sandbox_has_an_exit_status_of_its_own(cascade, tmp_path, nothing_isolates, command):
    _stored_run(tmp_path / "run")
    (tmp_path / "cases.jsonl").touch()
    if "model" in command:
        make_tiny(tmp_path / "model")
    status, out, err = cascade(*command)
    assert status == SandboxUnavailable.status == 3
    assert "lockdown: landlock" in out + err and "--unsafe-exec" in out + err and "Traceback" not in out + err


def test_the_exit_status_is_told():
    page = (Path(__file__).parent.parent / "docs/sandbox.md").read_text()
    assert "exits with status 3" in page
    assert "3, nothing here keeps" in " ".join(CliRunner().invoke(cli.app, ["--help"]).output.split())


# ---------------------------------------------------------------- talking


def test_min_p_keeps_only_what_is_likely(cascade, tmp_path):
    """With `--min-p 1` only the likeliest token is left, whatever the temperature: the greedy reply."""
    make_tiny(tmp_path / "model")

    def said(*options: str) -> str:
        status, out, err = cascade(
            "chat", "model", "--max-new-tokens", "12", *options, said="hello /no_think\n\n"
        )
        assert status == 0, err
        return out

    wide = ("--temperature", "3", "--top-p", "1")
    assert said(*wide, "--min-p", "1") == said("--temperature", "0")
    assert said(*wide) != said("--temperature", "0")


# ---------------------------------------------------------------- torch stays where it is not needed

LIGHT = """
import atexit, sys
heavy = {"torch", "transformers", "safetensors", "tokenizers"}
atexit.register(lambda: print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr))
from cascade_rl.cli.main import main
main()
"""


@pytest.mark.parametrize(
    "command", [("--help",), ("check", "tiny"), ("grade", "maths", "--input", "-"), ("doctor",)], ids=" ".join
)
def test_torch_is_not_loaded_by(command):
    done = subprocess.run([sys.executable, "-c", LIGHT, *command], input="", capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    assert done.stderr.splitlines()[-1].strip() == "loaded:"
