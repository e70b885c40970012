"""A disk without room, at every kind of save: one message that names the path, nothing lost, and the run goes on.

Writers are tried one by one under a limit on the size of files, whose error comes from the system as that of a full
disk does; a whole run is tried on a small file system that is enlarged little by little.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from run_files import results
from safetensors import SafetensorError
from small_run import RECIPE, changed, go
from tiny import Policy

from cascade_rl.errors import NoRoom, WorkerError
from cascade_rl.model.export import export, write_adapter
from cascade_rl.recipe import LoRA
from cascade_rl.run.files import Saving, write_json
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.run.ledger import Ledger
from cascade_rl.train.state import latest_state, read_state, save_state

FLAT = torch.arange(50_000, dtype=torch.float32)


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def refused(path: Path, size: int = 4096) -> Iterator[None]:
    """What is written inside does not fit, and the message names the path, the reason and the way on."""
    with pytest.raises(NoRoom) as told, no_file_over(size):
        yield
    text = str(told.value)
    assert text.startswith(f"{path} could not be written: ") and text.count("\n") == 0
    assert "give the same command again: nothing that was saved is lost" in text


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_record_stays_as_it_was(tmp_path):
    path = tmp_path / "ledger.json"
    write_json(path, {"stages": []})
    with refused(path):
        write_json(path, {"stages": ["x" * 5000]})
    assert json.loads(path.read_text()) == {"stages": []} and left(tmp_path) == {"ledger.json"}


def test_a_journal_holds_what_was_synced_and_goes_on(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write({"step": 0})
    size = journal.sync()
    with refused(journal.path, 100):
        journal.write({"step": 1, "text": "x" * 500})
    journal.close()  # must not try again, and fail again
    assert journal.path.stat().st_size == 100, "the disk took a part"
    assert list(read_lines(journal.path)) == [{"step": 0}]
    again = Journal(journal.path)
    again.cut(size)
    again.write({"step": 1})
    again.close()
    assert list(read_lines(journal.path)) == [{"step": 0}, {"step": 1}]


def test_a_state_before_it_stays(tmp_path):
    def small(folder: Path) -> None:
        torch.save({"moments": FLAT[:10]}, folder / "optimizer-0.pt")

    def large(folder: Path) -> None:
        torch.save({"moments": FLAT}, folder / "optimizer-0.pt")

    def in_a_worker(folder: Path) -> None:
        try:
            large(folder)
        except RuntimeError as error:  # as a worker hands it over: its traceback as a text
            raise WorkerError(f"worker 1 failed:\n{error}") from None

    save_state(tmp_path, 2, FLAT, small, {"step": 2})
    with refused(tmp_path / "step-000004"):  # safetensors' own error
        save_state(tmp_path, 4, FLAT, small, {"step": 4})
    for save in (large, in_a_worker):  # torch's
        with refused(tmp_path / "step-000004"):
            save_state(tmp_path, 4, FLAT[:100], save, {"step": 4})
    with refused(tmp_path / "step-000004"):
        save_state(tmp_path, 4, FLAT[:100], small, {"step": 4, "order": ["x" * 5000]})
    assert left(tmp_path) == {"step-000002"}, "what was half written gives its room back"
    state, damaged = latest_state(tmp_path)
    assert state is not None and not damaged and torch.equal(read_state(state)[0], FLAT)


def test_an_export_before_it_stays(tmp_path):
    policy = Policy(train=False)
    arguments = (policy.raw, policy.config, policy.replicas.flat("policy"), policy.tokenizer)
    path = tmp_path / "checkpoint"
    export(path, *arguments)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for size in (100, 8000):  # config.json; the weights
        with refused(path, size):
            export(path, *arguments)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before and left(tmp_path) == {
        "checkpoint"
    }


def test_an_adapter(tmp_path):
    with refused(tmp_path / "adapter"):
        write_adapter(tmp_path / "adapter", {"a.lora_A.weight": FLAT}, LoRA(), Path("base"), ["a"], False)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
     SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
     RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
     RuntimeError("basic_ios::clear: iostream error")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_how_a_full_disk_says_it(error, tmp_path):
    temporary = tmp_path / ".file.tmp"
    temporary.write_text("half")
    said = r"file could not be written: .*(No space left|quota)"
    with pytest.raises(NoRoom, match=said), Saving(tmp_path / "file", temporary):
        raise error
    assert not temporary.exists()


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), ValueError("wrong"), KeyboardInterrupt()]
)
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)), Saving(tmp_path):
        raise error


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


ADAPTED = {"lora": {"rank": 2, "alpha": 4}}
# all that a run may write: adapters, and the weights of the best probed step
RICH = {
    **changed(sft=ADAPTED, rlhf=ADAPTED | {"save_every": 1}),
    "gate": {"policy": "best", "probe_every": 1, "probe_problems": 2},
}


@pytest.mark.parametrize("recipe", [RECIPE, RICH], ids=["plain", "adapters and best steps"])
def test_a_run_on_a_disk_that_is_enlarged_again_and_again(small_disk, tmp_path, recipe):
    told, size = [], 256
    while True:
        assert len(told) < 40, told[-1]
        try:
            go(small_disk / "run", recipe)
            break
        except NoRoom as error:
            told.append(str(error))
            size += 192
            subprocess.run(["mount", "-o", f"remount,size={size}k", small_disk], check=True)
    assert len(told) >= 4 and len({text.partition(" could")[0] for text in told}) >= 3, told
    go(tmp_path / "run", recipe)
    assert results(small_disk / "run") == results(tmp_path / "run")
    assert [e.key for e in Ledger(small_disk / "run").entries] == [
        e.key for e in Ledger(tmp_path / "run").entries
    ]


@contextmanager
def no_room(disk: Path) -> Iterator[None]:
    """While it lasts nothing more can be written there."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    yield
    filler.unlink()


def test_commands_that_write_into_a_finished_run(small_disk, tmp_path, cascade):
    """A page, a regrade, a tracker: one message, and what was there before stays."""
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"id": 1, "answer": "5", "response": "5"}\n')
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    run = small_disk / "run"
    go(run)
    assert cascade("report", str(run))[0] == 0
    page = (run / "report.html").read_bytes()
    with no_room(small_disk):
        for name, command in {
            "report.html": ("report", str(run)),
            "regrade.json": ("regrade", str(run)),
            "scores.jsonl": (
                "grade",
                "maths",
                "--input",
                str(cases),
                "--output",
                str(small_disk / "scores.jsonl"),
            ),
        }.items():
            status, _, err = cascade(*command)
            assert status == 1 and "Traceback" not in err and err.count("error: ") == 1, (command, err)
            assert "No space left on device" in err and name in err, err
        status, out, err = cascade("track", str(run), "--to", "tensorboard")
        assert status == 1 and "Traceback" not in out + err and "tensorboard" in out + err, out + err
        assert "No space left on device" in out + err
        assert cascade("status", str(run))[0] == 0
    assert (run / "report.html").read_bytes() == page and not (run / "regrade.json").exists()
    for command in (("report", str(run)), ("track", str(run), "--to", "tensorboard"), ("status", str(run))):
        assert cascade(*command)[0] == 0, command


def test_a_tracker_on_a_full_disk_ends_no_run(small_disk, tmp_path):
    """The run lies elsewhere; of what the tracker keeps only the first part finds room."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "track").symlink_to(small_disk, target_is_directory=True)
    with no_room(small_disk):
        notes = go(run, {**RECIPE, "track": ["tensorboard"]})
        assert sum("tensorboard" in note for note in notes) == 1, notes
    go(tmp_path / "plain")
    assert results(run) == results(tmp_path / "plain")
