"""What a user's terminal, hands and disk do to the command line: one message each, and never a traceback."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fake_run import build_run
from small_run import RECIPE, go

from cascade_rl.data import abilities
from cascade_rl.errors import InputError
from cascade_rl.run.journal import Journal


def in_a_process(*arguments: str, folder: Path, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cascade_rl", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=200
    )


def test_a_run_from_first_to_last_in_ascii(tmp_path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    for encoding, command in (
        ("ascii", "run r.yaml --out run"),
        ("ascii", "status run"),
        ("latin-1", "report run"),
    ):
        done = in_a_process(*command.split(), folder=tmp_path, encoding=encoding)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        assert done.stdout.isascii() and len(done.stdout) > 50


def test_the_package_is_the_command(tmp_path):
    done = in_a_process("--help", folder=tmp_path)
    assert done.returncode == 0 and "smollm2" not in done.stderr and "  doctor " in done.stdout


@pytest.fixture
def handlers():
    """Puts back who hears of signals: a run takes them over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_before_the_run_began(cascade, tmp_path, monkeypatch, handlers, times):
    """At the first import, as far as the program is concerned: while the recipe is read. Twice is at once."""
    name = "my recipe.yaml"
    (tmp_path / name).write_text(yaml.safe_dump(RECIPE))
    load = abilities.load_recipe

    def interrupted(*arguments, **options):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        return load(*arguments, **options)

    monkeypatch.setattr(abilities, "load_recipe", interrupted)
    status, out, err = cascade("run", name, "seed=4", "--out", "a b")
    assert status == 130 and "Traceback" not in out + err and "stopping after this step" in err
    said, command = out.strip().split("; go on with: ")
    assert said == ("stopped before the run began" if times == 1 else "stopped")
    assert shlex.split(command) == ["cascade", "run", name, "seed=4", "--out", "a b"]
    assert not (tmp_path / "a b").exists()


def test_ctrl_c_while_data_are_made(cascade, tmp_path, monkeypatch, handlers):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    once = iter([signal.SIGINT])
    monkeypatch.setattr(
        "cascade_rl.cli.screen.ConsoleScreen.waiting", lambda *_: [signal.raise_signal(n) for n in once]
    )
    status, out, _ = cascade("run", "r.yaml")
    assert status == 130 and "stopped before the first stage; go on with: cascade run r.yaml" in out


def test_a_page_is_written_of_runs_only(cascade, tmp_path):
    (tmp_path / "photos").mkdir()
    status, _, err = cascade("report", "photos")
    assert status == 1 and err.startswith("error: photos is no run directory: it has no recipe.yaml")
    assert not list((tmp_path / "photos").iterdir())
    build_run(tmp_path / "run")
    assert cascade("report", "run")[0] == 0 and (tmp_path / "run/report.html").exists()


SENSELESS = [
    ("--temperature", "-1"), ("--temperature", "nan"), ("--temperature", "inf"), ("--top-p", "0"), ("--top-p", "1.1"),
    ("--top-p", "nan"), ("--min-p", "-0.1"), ("--min-p", "2"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), SENSELESS)
def test_chat_refuses_what_no_sampling_can_follow(cascade, option, value):
    status, _, err = cascade("chat", "nowhere", f"{option}={value}")
    assert status == 1 and err.startswith(f"error: {option} must be ") and "(got " in err


def test_chat_takes_the_ends_of_what_is_possible(cascade):
    status, _, err = cascade(
        "chat", "nowhere", "--temperature=0", "--top-p=1", "--min-p=1", "--max-new-tokens=1"
    )
    assert status == 1 and "nowhere is no Hugging Face model directory" in err


def test_a_short_journal_comes_with_its_remedy(tmp_path):
    journal = Journal(tmp_path / "03-rlhf" / "journal.jsonl")
    journal.write({"step": 0})
    with pytest.raises(
        InputError,
        match=r"lines are lost; restore it, or move .*03-rlhf away: its stage is then trained anew",
    ):
        journal.cut(1000)
    journal.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    go(run)
    return run


FILES = ["ledger.json", "stages/01-sft/eval/alignment.json", "stages/03-rlhf/stage.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_broken_file_of_a_run_is_named(whole, tmp_path, file, content):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / file).write_text(content)
    with pytest.raises(InputError) as told:
        go(run)
    assert str(run / file) in str(told.value)


def test_the_remedy_of_a_short_journal_works(whole, tmp_path):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    (run / "stages/03-rlhf").rename(tmp_path / "away")
    go(run)
    name = "checkpoint/model.safetensors"
    assert (run / "stages/03-rlhf" / name).read_bytes() == (tmp_path / "away" / name).read_bytes()
