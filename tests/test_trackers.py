"""Trackers for real, without a network: what each holds of a run is read back and compared with the journals."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_files import results
from small_run import RECIPE, changed, go

from cascade_rl.data.abilities import check_recipe
from cascade_rl.run.journal import read_lines
from cascade_rl.run.ledger import Ledger
from cascade_rl.run.tracking.sent import read_sent

ALL = ["trackio", "wandb", "tensorboard"]
STEPS = (("sft", 0), ("reward", 2), ("rlhf", 4))  # each stage, with the steps that are planned before it


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory) -> Iterator[Path]:
    """No tracker asks anybody; trackio's files lie here."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("trackio")
        patch.setenv("TRACKIO_DIR", str(folder))
        patch.setenv("WANDB_MODE", "offline")
        yield folder


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> Path:
    """A run that all three were told of while it went."""
    run = tmp_path_factory.mktemp("tracked") / "run"
    notes = go(run, {**RECIPE, "track": ALL})
    assert not [note for note in notes if "fail" in note or "not taken" in note], notes
    assert sum(note.startswith(tuple(f"{name}: run-" for name in ALL)) for note in notes) == 3, (
        "each says where"
    )
    return run


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The same run without."""
    run = tmp_path_factory.mktemp("plain") / "run"
    go(run)
    return run


@pytest.fixture
def copy(plain, tmp_path) -> Path:
    """A finished run of which no tracker knows."""
    return Path(shutil.copytree(plain, tmp_path / "copy"))


Series = dict[str, list[tuple[int, float]]]


def told(run: Path) -> Series:
    """What the files of a run say, read here and by nobody else: metric -> (update of the run, value)."""
    found: Series = defaultdict(list)
    for (name, before), folder in zip(STEPS, sorted((run / "stages").glob("*")), strict=True):
        for line in read_lines(folder / "journal.jsonl"):
            if line["kind"] == "step":
                for key, value in line["metrics"].items():
                    found[f"{name}/{key}"].append((before + line["step"] + 1, float(value)))
                found[f"{name}/step"].append((before + line["step"] + 1, line["step"] + 1))
        score = json.loads((run / "matrix.json").read_text())["benchmarks"]["alignment"]["scores"][name]
        for end, key in (("", "mean"), ("/low", "low"), ("/high", "high")):
            found[f"benchmarks/alignment{end}"].append((before + 2, score[key]))
    return dict(found)


def trackio_rows(offline: Path, run: Path) -> list[tuple[int, dict[str, Any]]]:
    """Each record of a run in trackio's own database, in the order in which they came."""
    with sqlite3.connect(offline / "small.db") as base:
        rows = base.execute(
            "select step, metrics from metrics where run_name = ? order by id",
            [read_sent(run, "trackio").name(run)],
        )
        return [(step, json.loads(text)) for step, text in rows]


def trackio_series(offline: Path, run: Path) -> Series:
    found: Series = defaultdict(list)
    for step, values in trackio_rows(offline, run):
        for name, value in values.items():
            if not isinstance(value, dict):
                found[name].append((step, float(value)))
    return dict(found)


def wandb_records(run: Path) -> Iterator[dict[str, Any]]:
    """What wandb's offline files hold of the history: records in blocks of 32 KiB, as LevelDB's logs are."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted((run / "track" / "wandb").glob("offline-run-*/*.wandb")):
        data, place, whole = path.read_bytes(), 7, b""  # past the file's own head
        while place + 7 <= len(data):
            left = 32768 - place % 32768
            if left < 7:
                place += left
                continue
            size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
            whole += data[place + 7 : place + 7 + size]
            place += 7 + size
            if kind in (1, 4):  # whole, or its last part
                record, whole = Record.FromString(whole), b""
                if record.WhichOneof("record_type") == "history":
                    yield wandb_values(record.history.item)


def wandb_values(items: Any) -> dict[str, Any]:
    """The values of a record by name; a table's parts stand apart, under its name."""
    found: dict[str, Any] = {}
    for item in items:
        name, *part = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if part:
            found.setdefault(name, {})[part[0]] = value
        else:
            found[name] = value
    return found


def wandb_series(run: Path) -> Series:
    found: Series = defaultdict(list)
    for record in wandb_records(run):
        for name, value in record.items():
            if isinstance(value, int | float) and not name.startswith("_") and name != "update":
                found[name].append((record["update"], float(value)))
    return dict(found)


def tensorboard_folder(run: Path) -> Path:
    return run / "track" / "tensorboard" / read_sent(run, "tensorboard").name(run)


def tensorboard_series(run: Path) -> tuple[Series, dict[str, list[str]]]:
    """Numbers and texts, by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    read = EventAccumulator(str(tensorboard_folder(run)), size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    numbers: Series = defaultdict(list)
    texts: dict[str, list[str]] = defaultdict(list)
    for tag in read.Tags()["tensors"]:
        for event in read.Tensors(tag):
            value = make_ndarray(event.tensor_proto)
            if value.ndim:
                texts[tag].append(value[0].decode())
            else:
                numbers[tag].append((event.step, float(value)))
    for tag in read.Tags()["scalars"]:
        numbers[tag] = [(event.step, event.value) for event in read.Scalars(tag)]
    return dict(numbers), dict(texts)


def same(found: Series, expected: Series, precision: float = 0.0) -> None:
    assert set(found) == set(expected)
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        for (_, value), (_, right) in zip(found[name], points, strict=True):
            assert value == right or math.isclose(value, right, rel_tol=precision) or math.isnan(right), name


def samples(run: Path) -> list[dict[str, Any]]:
    return list(read_lines(run / "stages" / "03-rlhf" / "samples.jsonl"))


def test_trackio_has_what_the_journals_have(tracked, offline):
    same(trackio_series(offline, tracked), told(tracked))
    rows = trackio_rows(offline, tracked)
    tables = [value["_value"] for _, values in rows for key, value in values.items() if key == "rlhf/samples"]
    assert [row for table in tables for row in table] == samples(tracked)
    matrix = [values["matrix"]["_value"] for _, values in rows if "matrix" in values]
    assert [sorted(table[0]) for table in matrix] == [
        ["benchmark", "sft"], ["benchmark", "reward", "sft"],
        ["benchmark", "reward", "rlhf", "sft"],
    ]  # fmt: skip


def test_wandb_has_what_the_journals_have(tracked):
    same(wandb_series(tracked), told(tracked))
    tables = [record["rlhf/samples"] for record in wandb_records(tracked) if "rlhf/samples" in record]
    assert [table["nrows"] for table in tables] == [4, 4]
    files = sorted((tracked / "track" / "wandb").glob("offline-run-*/files/media/table/rlhf/*.json"))
    rows = [row for file in files for row in json.loads(file.read_text())["data"]]
    assert sorted(row[5] for row in rows) == sorted(sample["reply"] for sample in samples(tracked))


def test_tensorboard_has_what_the_journals_have(tracked):
    numbers, texts = tensorboard_series(tracked)
    same(numbers, told(tracked), precision=1e-6)  # it keeps single precision
    assert sum(text.count("\n") - 1 for text in texts["rlhf/samples"]) == len(samples(tracked))
    assert json.loads(texts["recipe"][0].strip("`\n"))["name"] == "small"
    assert len(texts["matrix"]) == 3 and texts["matrix"][-1].startswith("| benchmark | sft | reward | rlhf |")


def test_warnings_reach_the_trackers(tracked, offline):
    notes = [
        line["text"]
        for path in sorted(tracked.glob("stages/*/journal.jsonl"))
        for line in read_lines(path)
        if line["kind"] == "note"
    ]
    assert notes
    with sqlite3.connect(offline / "small.db") as base:
        name = read_sent(tracked, "trackio").name(tracked)
        assert [
            row[0] for row in base.execute("select title from alerts where run_name = ?", [name])
        ] == notes
    assert tensorboard_series(tracked)[1]["rlhf/notes"] == notes
    assert [record["rlhf/notes"] for record in wandb_records(tracked) if "rlhf/notes" in record] == notes


def test_nothing_of_the_run_depends_on_them(tracked, plain):
    assert results(tracked) == results(plain)
    assert [e.key for e in Ledger(tracked).entries] == [e.key for e in Ledger(plain).entries]
    for name in ("01-sft", "02-reward", "03-rlhf"):
        record = f"stages/{name}/stage.json"
        assert (tracked / record).read_bytes() == (plain / record).read_bytes()


def test_a_finished_run_is_not_told_twice(tracked, offline):
    before = {name: read_sent(tracked, name) for name in ALL}
    rows, series = trackio_rows(offline, tracked), tensorboard_series(tracked)
    go(tracked, {**RECIPE, "track": ALL})
    assert {name: read_sent(tracked, name) for name in ALL} == before
    assert trackio_rows(offline, tracked) == rows
    assert tensorboard_series(tracked) == series
    same(wandb_series(tracked), told(tracked))


def test_trackers_may_come_and_go_in_a_run(copy, offline):
    keys = [entry.key for entry in Ledger(copy).entries]
    notes = go(copy, {**RECIPE, "track": ["trackio"]})
    assert "rlhf is done: kept" in notes and yaml.safe_load((copy / "recipe.yaml").read_text())["track"]
    same(trackio_series(offline, copy), told(copy))
    go(copy)
    assert "track" not in yaml.safe_load((copy / "recipe.yaml").read_text())
    assert [entry.key for entry in Ledger(copy).entries] == keys


def test_they_are_told_later(copy, offline, cascade):
    status, out, err = cascade("track", str(copy), "--to", "trackio", "--to", "tensorboard")
    assert status == 0 and "trackio show --project small" in out, err
    same(trackio_series(offline, copy), told(copy))
    same(tensorboard_series(copy)[0], told(copy), precision=1e-6)
    again = cascade("track", str(copy), "--to", "trackio")
    assert again[0] == 0 and len(trackio_rows(offline, copy)) == read_sent(copy, "trackio").events


def test_a_stage_that_is_trained_anew_is_told_to_another_run(copy, offline, cascade):
    assert cascade("track", str(copy), "--to", "trackio")[0] == 0
    first = trackio_rows(offline, copy)
    notes = go(copy, {**changed(rlhf={"lr": 2e-3}), "track": ["trackio"]}, accept_changes=True)
    assert any("03-rlhf" in note and "sent anew, to another run" in note for note in notes), notes
    assert read_sent(copy, "trackio").name(copy).endswith("-2")
    same(trackio_series(offline, copy), told(copy_of_now(copy)))
    assert trackio_rows(offline, copy) != first


def copy_of_now(run: Path) -> Path:
    """The run without what was set aside."""
    now = run.parent / "now"
    return Path(shutil.copytree(run, now, ignore=shutil.ignore_patterns("*.old-*")))


def test_a_run_that_the_tracker_has_lost_is_told_anew(copy, cascade):
    assert cascade("track", str(copy), "--to", "tensorboard")[0] == 0
    shutil.rmtree(tensorboard_folder(copy))
    status, out, _ = cascade("track", str(copy), "--to", "tensorboard")
    assert status == 0 and "no longer has all of" in out
    same(tensorboard_series(copy)[0], told(copy), precision=1e-6)


def test_events_that_only_the_tracker_knows_are_not_sent_twice(copy, offline, cascade):
    """As after a process that died between sending and writing down that it has."""
    assert cascade("track", str(copy), "--to", "trackio")[0] == 0
    rows = trackio_rows(offline, copy)
    path = copy / "track" / "trackio.json"
    record = json.loads(path.read_text())
    del record["stages"]["03-rlhf"]
    path.write_text(json.dumps(record))
    assert cascade("track", str(copy), "--to", "trackio")[0] == 0
    assert trackio_rows(offline, copy) == rows


@pytest.mark.parametrize(
    ("track", "said"),
    [(["mlflow"], "'trackio', 'wandb' or 'tensorboard'"), (["trackio", "trackio"], "the name stands twice"),
     ([{"to": "tensorboard", "project": "p"}], "tensorboard has no projects"),
     ([{"to": "wandb", "project": " "}], "project is empty"), ("trackio", "valid list"), ([3], "track")],
)  # fmt: skip
def test_what_a_recipe_may_not_ask(track, said):
    with pytest.raises(ValueError, match="track") as wrong:
        check_recipe({**RECIPE, "track": track})
    assert said in str(wrong.value)


def test_a_project_of_ones_own(copy, offline, cascade):
    go(copy, {**RECIPE, "track": [{"to": "trackio", "project": "theirs"}]})
    with sqlite3.connect(offline / "theirs.db") as base:
        assert base.execute("select count(*) from metrics").fetchone()[0] == read_sent(copy, "trackio").events


def test_trackers_are_no_part_of_what_a_recipe_is():
    without, some = check_recipe(RECIPE), check_recipe({**RECIPE, "track": ALL})
    assert some.hash == without.hash and some.track and not without.track


def test_a_missing_package_is_told_before_anything_is_made(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "track": ["trackio"]}))
    # without site-packages of its own: a finder that has no such package
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'trackio' else find(name, *more)\n"
        "from cascade_rl.cli.main import main; sys.argv = ['cascade', *sys.argv[1:]]; main()"
    )
    for command in (["check", str(recipe)], ["run", str(recipe), "--out", str(tmp_path / "run")]):
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert (
            "track.trackio: trackio is not installed here: pip install 'cascade-rl[trackio]'" in done.stderr
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["nowhere"], "no recipe.yaml"), (["RUN"], "names no tracker; say which: --to trackio"),
     (["RUN", "--to", "mlflow"], "no tracker mlflow; there are trackio, wandb, tensorboard")],
)  # fmt: skip
def test_what_track_says_of_mistakes(copy, cascade, arguments, said):
    status, _, err = cascade("track", *(str(copy) if word == "RUN" else word for word in arguments))
    assert status == 1 and said in err and "Traceback" not in err
