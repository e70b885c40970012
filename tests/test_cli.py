"""The command line: help names every option, errors say what to do and never show a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
import yaml
from typer.testing import CliRunner

from cascade_rl.cli import main as cli
from cascade_rl.data.abilities import load_recipe
from cascade_rl.domains import domain_names
from cascade_rl.recipe import Recipe

COMMANDS = typer.main.get_command(cli.app).commands


@pytest.fixture
def cascade(monkeypatch, capsys, tmp_path):
    """Run the command line in this process and in an empty folder: (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cascade", *arguments])
        monkeypatch.setattr(cli, "console", cli.Console(width=200))
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_the_commands_are_those_of_the_readme():
    names = {"run", "status", "report", "eval", "chat", "domains", "check", "grade", "regrade", "doctor"}
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
    assert {"alignment", "coding", "following", "maths", "multiple_choice", "swe"} == set(domain_names())
    assert all(name in out for name in domain_names())
