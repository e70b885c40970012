"""Every command in a terminal that writes ASCII, latin-1 or cp1252: no traceback, nothing lost, JSON stays JSON."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_run import RECIPE, go

from cascade_rl.cli import app
from cascade_rl.cli import main as cli
from cascade_rl.run.tracking import beside

ENCODINGS = ("ascii", "latin-1", "cp1252", "utf-8")
ASKED = "Qui a écrit « Cœur » — 心? 🙂"  # in latin-1 partly, in cp1252 a bit more, in ASCII hardly
SUM = {"prompt": f"{ASKED} Compute 2 + 3.", "answer": "5"}
TALK = {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "Édouard ≈ 42 ☕"}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a finished run, rows, cases and a recipe, all with letters from everywhere in them."""
    folder = tmp_path_factory.mktemp("où")
    (folder / "r.yaml").write_text(yaml.safe_dump({**RECIPE, "name": "small"}))
    go(folder / "run")
    # what a model says, in the pages and tables of the run
    path = folder / "run" / "stages" / "03-rlhf" / "samples.jsonl"
    path.write_text(path.read_text().replace('"note": ""', f'"note": {json.dumps(ASKED)}'))
    (folder / "sums.jsonl").write_text(
        "".join(json.dumps({**SUM, "prompt": f"{SUM['prompt']} {n}"}) + "\n" for n in range(9))
    )
    (folder / "talk.jsonl").write_text(json.dumps(TALK, ensure_ascii=False) + "\n", encoding="utf-8")
    case = {"id": ASKED, "answer": "5", "response": f"<think>{ASKED}</think> \\boxed{{五}}"}
    (folder / "cases.jsonl").write_text(json.dumps(case) + "\n")
    return folder


@pytest.fixture
def said(place, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command with streams of an encoding: (exit status, output, standard error)."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(app.console, "width", 100)

    def call(encoding: str, *arguments: str, read: str = "") -> tuple[int, str, str]:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            for name, stream in (("stdout", out), ("stderr", err), ("stdin", io.StringIO(read))):
                patch.setattr(sys, name, stream)
            patch.setattr(sys, "argv", ["cascade", *arguments])
            try:
                cli.main()
                status = 0
            except SystemExit as end:
                status = int(end.code or 0)
            for stream in (out, err):
                stream.flush()
        return status, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err))

    return call


CHECKPOINT = "run/stages/03-rlhf/checkpoint"
COMMANDS = {
    "init": ("init", "new.yaml", "--model", "scratch", "--data", "talk.jsonl", "--train", "sft", "--force"),
    "run": ("run", "r.yaml", "--out", "run"),
    "status": ("status", "run"),
    "report": ("report", "run"),
    "track": ("track", "run", "--to", "tensorboard"),
    "eval": ("eval", CHECKPOINT, "--recipe", "r.yaml"),
    "export": ("export", "run", "rlhf", "exported"),
    "compare": ("compare", "run:sft", "run:rlhf"),
    "chat": ("chat", CHECKPOINT, "--max-new-tokens", "3"),
    "domains": ("domains",),
    "benchmarks": ("benchmarks",),
    "grade": ("grade", "maths", "--input", "cases.jsonl"),
    "regrade": ("regrade", "run"),
    "check": ("check", "r.yaml"),
    "plan": ("plan", "r.yaml", "--hardware", "2xh100"),
    "doctor": ("doctor",),
    "data": ("data", "show", "jsonl:sums.jsonl", "--domain", "maths"),
    "data, chats": ("data", "show", "jsonl:talk.jsonl", "--map", "openai-chat"),
}


def test_no_command_is_left_out():
    # what `serve` says in its life is tested with it
    assert {words[0] for words in COMMANDS.values()} == {*cli.COMMANDS, "data"} - {"serve"}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_says_the_same_in_every_encoding(name, said, monkeypatch):
    # of trackers what they are told is tested elsewhere; here it is what they say
    monkeypatch.setattr(beside, "_Beside", Talkative)
    told = {}
    for code in ENCODINGS:
        # an export never writes over one
        shutil.rmtree("exported", ignore_errors=True)
        told[code] = said(code, *COMMANDS[name], read=f"{ASKED}\n")
    status, whole, _ = told["utf-8"]
    assert status == 0 and whole.strip(), told["utf-8"]
    for code, (ended, out, err) in told.items():
        assert ended == 0 and "Traceback" not in err, (code, err)
        # the same text, but for numbers (times), rules and the letters that there are not
        assert letters(out, code) == letters(whole, code), code


class Talkative:
    """In the place of a follower's process: it has to say what no terminal of one byte can."""

    def __init__(self, run, name, note, patient):
        self.status = 0
        note(f"{name}: {ASKED}")

    def end(self):
        pass

    def join(self, limit):
        pass


def letters(text: str, encoding: str) -> list[str]:
    """The words that the encoding has, without numbers: clocks and speeds are no two times the same."""
    written = text.encode(encoding, errors="replace").decode(encoding)
    return [word for word in re.split(r"[\W\d_]+", written) if word.isascii() and len(word) > 1]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_of_json_are_read_back_whole(encoding, said):
    """For programs: a question mark in the place of a letter would be another row."""
    _, out, _ = said(encoding, *COMMANDS["grade"])
    assert json.loads(out)["id"] == ASKED
    _, out, _ = said(encoding, *COMMANDS["data, chats"], "--json")
    assert json.loads(out)["messages"][0]["content"] == ASKED
    _, out, _ = said(encoding, *COMMANDS["data"], "--json")
    assert [json.loads(line)["messages"][0]["content"][: len(ASKED)] for line in out.splitlines()] == [
        ASKED
    ] * 3


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["status", "report", "track", "check", "grade"])
def test_errors_are_told_in_it_too(encoding, command, said):
    words = {"grade": ("grade", "maths", "--input", ASKED)}.get(command, (command, ASKED))
    status, out, err = said(encoding, *words)
    assert status == 1 and "Traceback" not in err and out == ""
    assert "error: " in err and "Qui a " in err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("name", [*cli.COMMANDS, "data show"])
def test_help_can_be_read(encoding, name, said):
    status, out, err = said(encoding, *name.split(), "--help")
    assert status == 0 and "Usage" in out and err == ""


def test_pages_are_utf_8_whatever_the_terminal(said, place):
    assert said("ascii", "report", "run")[0] == 0
    assert "心" in (place / "run" / "report.html").read_text(encoding="utf-8")
