"""Trackers that raise, hang, die or miss what they need: the run is the same, and says it once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_files import results
from small_run import RECIPE, go

from cascade_rl.report.status import run_status
from cascade_rl.run.journal import read_lines
from cascade_rl.run.tracking import beside, follower
from cascade_rl.run.tracking.sent import read_sent

HERE = Path(__file__).parent
TRACKED = {**RECIPE, "track": ["trackio"]}
# What stands for the package: found before the real one by every process that is started.
FAKE = """
import os, time
class Markdown(str): pass
class Table:
    def __init__(self, columns, data): pass
class AlertLevel: WARN = None
class Run:
    name = id = "fake"
    def log(self, values, step):
        if step >= 3: {fault}
    def alert(self, *_, **__): pass
    def finish(self): pass
def init(**_): {init}
"""
NO_COUNT = 'def get_storage_mode(): return "jsonl"'


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    go(run)
    return run


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a package in trackio's place: what it does at the third update, and as it begins."""

    def make(fault: str, init: str = "return Run()") -> None:
        package = tmp_path / "fake" / "trackio"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(FAKE.format(fault=fault, init=init))
        (package / "utils.py").write_text(NO_COUNT)
        (package / "sqlite_storage.py").write_text("class SQLiteStorage: pass")
        path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        monkeypatch.setenv("PYTHONPATH", path)

    return make


def told_once(notes: list[str], *words: str) -> None:
    [said] = [note for note in notes if words[0] in note]
    assert all(word in said for word in words), said
    assert "cascade track" in said and "sends the rest" in said


@pytest.mark.parametrize(
    ("fault", "init", "why"),
    [
        ("raise ConnectionError('no route to host\\n  at line 3')", "return Run()", "ConnectionError: no route to host"),
        ("pass", "raise PermissionError('not logged in')", "PermissionError: not logged in"),
        ("open('/dev/full', 'w').write('x' * 9999)", "return Run()", "No space left on device"),
    ],
    ids=["while it is told", "as it begins", "a full disk"],
)  # fmt: skip
def test_one_that_raises(fake, whole, tmp_path, fault, init, why):
    fake(fault, init)
    notes = go(tmp_path / "run", TRACKED)
    told_once(notes, "trackio failed", why)
    assert results(tmp_path / "run") == results(whole)
    assert why in run_status(tmp_path / "run").untold["trackio"]
    assert "Traceback" in (tmp_path / "run" / "track" / "trackio.log").read_text()


@pytest.mark.parametrize(
    "fault", ["time.sleep(3600)", "os.kill(os.getpid(), 19)"], ids=["hangs", "is stopped"]
)
def test_one_that_hangs(fake, whole, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(beside, "GRACE_S", 1.0)
    fake(fault)
    notes = go(tmp_path / "run", TRACKED)
    told_once(notes, "trackio has not taken all of the run within")
    assert "has not taken" in run_status(tmp_path / "run").untold["trackio"]
    assert results(tmp_path / "run") == results(whole)


def test_one_that_dies(fake, whole, tmp_path):
    fake("os.kill(os.getpid(), 9)")
    run = tmp_path / "my run"
    notes = go(run, TRACKED)
    told_once(notes, "trackio lost its process (-9", "trackio.log", f"`cascade track '{run}'`")
    assert "lost its process" in read_sent(run, "trackio").fault
    assert results(run) == results(whole)


def test_what_one_that_failed_missed_is_sent_later(fake, whole, tmp_path, monkeypatch, cascade):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with monkeypatch.context() as broken:
        fake("raise ConnectionError('no route to host')")
        status, out, err = cascade("track", str(run), "--to", "trackio")
        assert status == 1 and "not all was sent to trackio" in err and out.count("no route to host") == 1
        broken.undo()
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(follower.__file__).parents[3]))
    assert cascade("track", str(run), "--to", "trackio")[0] == 0
    assert not run_status(run).untold
    assert updates(tmp_path / "trackio", run) == [1, 2, 3, 4, 5, 6]


def test_a_process_that_can_not_be_started(whole, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    # of this module alone: workers are started otherwise
    monkeypatch.setattr(beside.subprocess, "Popen", full)
    notes: list[str] = []
    with beside.followed(tmp_path, ["trackio"], notes.append) as failed:
        pass
    assert notes == ["trackio could not be started: [Errno 11] Resource temporarily unavailable"]
    assert failed == ["trackio"]


def updates(folder: Path, run: Path) -> list[int]:
    """The update of each record of trackio that holds a step of training, in the order in which they came."""
    with sqlite3.connect(folder / "small.db") as base:
        rows = base.execute(
            "select step, metrics from metrics where run_name = ? order by id",
            [read_sent(run, "trackio").name(run)],
        )
        return [step for step, text in rows if any(key.endswith("/step") for key in json.loads(text))]


def test_runs_that_are_killed_are_told_once(tmp_path):
    """Kill -9 of the run alone, of both, and of its tracker: each step is there once, with the journal's number."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRACKIO_DIR": str(tmp_path / "trackio")}
    run = tmp_path / "run"
    command = ["run", str(HERE / "small.yaml"), "track=[trackio]", "--out", str(run)]
    for kill in (["update", "6"], ["saving", "2"], ["pair", "3"], ["rollout", "2"]):
        program = [sys.executable, str(HERE / "killed_run.py"), *kill, *command]
        died = subprocess.run(program, env=environment, capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        if kill[0] == "pair":
            for number in followers(run):
                os.kill(number, signal.SIGKILL)
    done = subprocess.run(
        [sys.executable, "-m", "cascade_rl.cli", *command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr
    assert read_sent(run, "trackio").attempt == 1, "one run of the tracker, whatever fell"
    planned = [10, 6, 5]
    assert updates(tmp_path / "trackio", run) == list(range(1, sum(planned) + 1))
    with sqlite3.connect(tmp_path / "trackio" / "small.db") as base:
        rows = [json.loads(text) for (text,) in base.execute("select metrics from metrics order by id")]
    found = [row["sft-1/loss"] for row in rows if "sft-1/loss" in row]
    lines = read_lines(run / "stages" / "01-sft-1" / "journal.jsonl")
    assert found == [line["metrics"]["loss"] for line in lines if line["kind"] == "step"]


def test_a_follower_ends_with_the_run_that_started_it(fake, whole, tmp_path):
    """Also when its tracker hangs, and the run was killed: nothing is left behind for ever."""
    fake("time.sleep(3600)")
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    code = (
        "import sys, time; from pathlib import Path; from cascade_rl.run.tracking.beside import followed\n"
        "with followed(Path(sys.argv[1]), ['trackio'], print): print('begun', flush=True); time.sleep(3600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait()
    limit = time.monotonic() + 60
    while followers(run):
        assert time.monotonic() < limit, "a follower outlives its run"
        time.sleep(0.2)


def followers(run: Path) -> list[int]:
    """The processes that follow this run, by their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"cascade_rl.run.tracking.follower" in words and os.fsencode(run) in words:
            found.append(int(path.parent.name))
    return found
