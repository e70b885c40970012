"""A model behind `cascade serve` is measured as the same model here: bit for bit, and whatever fails on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from scripted_server import Reply, Server, cut_short, drop, hang, send, status
from test_serve import NAME, Running, make_model, running
from typer.testing import CliRunner

from cascade_rl.cascade.reach import Machine
from cascade_rl.cascade.suite import Told, measure_suite, regrade_suite
from cascade_rl.cli.eval_options import Given
from cascade_rl.cli.evaluate import evaluate
from cascade_rl.cli.main import app
from cascade_rl.data.suites import suite_specs
from cascade_rl.errors import InputError, ServerFailure
from cascade_rl.evals.suite import Measured
from cascade_rl.remote.client import Terms
from cascade_rl.remote.sampler import ServedSettings
from cascade_rl.testing import QuietScreen

SIZE = 6  # problems of each
SUITE = ("aime25", "commonsense_qa", "ifeval")
ROWS = {
    "aime25": [{"id": f"own-{n}", "question": f"What is {n} + 7?", "expected_answer": str(n + 7)} for n in range(SIZE)],
    "commonsense_qa": [
        {"question": f"Which is number {n}?", "options": "\nA. a\nB. b\nC. c\nD. d\nE. e", "answer": "B. b"}
        for n in range(SIZE)
    ],
    "ifeval": [
        {
            "key": n,
            "prompt": f"Write {n} things without commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        }
        for n in range(SIZE)
    ],
}  # fmt: skip
CHANGES = ["k=1", "temperature=0", "max_response_tokens=32"]
GROUPS = 18  # problems, each in one mode and asked once
TERMS = Terms(timeout_s=1.0, attempts=8, backoff_s=0.01, parallel=4)
SERVED = ServedSettings(TERMS)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def server(model) -> Iterator[Running]:
    with running(model, precision="fp32") as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: f"jsonl:{folder / name}.jsonl" for name in ROWS}


@pytest.fixture(scope="module")
def local(model, data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    measured(str(model), data, folder)
    return folder


def measured(
    model: str, data, folder: Path, served: ServedSettings = SERVED, notes=None, precision="fp32"
) -> list[Measured]:
    screen = QuietScreen()
    if notes is not None:
        screen.note = notes.append
    specs = suite_specs(SUITE, CHANGES, data)
    # in bf16 a batch of other rows may round otherwise
    machine = Machine(precision=precision)
    return list(measure_suite(model, specs, folder, Told(screen), machine=machine, served=served))


def address(url: str) -> str:
    return f"openai:{url}#{NAME}"


def lines(folder: Path, name: str) -> list[dict]:
    """The replies without the times that they took."""
    found = [json.loads(line) for line in (folder / f"{name}.samples.jsonl").read_text().splitlines()]
    return [{key: value for key, value in one.items() if key != "seconds"} for one in found]


def result(folder: Path, name: str, *without: str) -> dict:
    found = json.loads((folder / f"{name}.json").read_text())
    return {key: value for key, value in found.items() if key not in ("seconds", "requests", *without)}


def same(folder: Path, other: Path, *without: str) -> None:
    for name in SUITE:
        assert lines(folder, name) == lines(other, name)
        assert result(folder, name, *without) == result(other, name, *without)
        asked = f"{name}.problems.jsonl"
        assert (folder / asked).read_bytes() == (other / asked).read_bytes()


def requests(folder: Path) -> dict[str, dict[str, int]]:
    return {name: json.loads((folder / f"{name}.json").read_text())["requests"] for name in SUITE}


def forward(server: Running) -> Reply:
    """What the server behind says to the same body."""

    def make(body):
        data = json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{server.url}/chat/completions", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as found:
            return json.load(found)

    return Reply(make)


def listed(server: Running) -> dict:
    with urllib.request.urlopen(f"{server.url}/models") as found:
        return json.load(found)


def test_served_is_as_local_bit_for_bit(server, local, data, tmp_path):
    notes: list[str] = []
    measured(address(server.url), data, tmp_path, notes=notes)
    same(tmp_path, local, "settings")
    for name in SUITE:
        found = lines(tmp_path, name)
        assert len(found) == SIZE and all(one["tokens"] for one in found)
        assert {one["mode"] for one in found} == {"instruct" if name == "ifeval" else "thinking"}
        told = requests(tmp_path)[name]
        assert told["requests"] == SIZE and not told.get("retries") and not told.get("faults")
        assert told["completion_tokens"] == sum(one["tokens"] for one in found)
        assert told["prompt_tokens"] > 0
    # `cascade serve` says that it is ours, and is told the mode unasked
    assert not any("mode" in note for note in notes)
    # different ends and texts, or equality would show nothing
    texts = {one["text"] for name in SUITE for one in lines(local, name)}
    assert len(texts) > GROUPS // 2
    assert {one["stop"] for name in SUITE for one in lines(local, name)} == {"end", "length"}


def test_faults_on_the_way_lose_nothing_and_count_nothing_twice(server, local, data, tmp_path):
    def slow(handler):
        # whole in the end, but after the deadline: the reply must not count beside the second one
        hang(handler)

    def wrong(handler):
        send(handler, 200, b'{"choices": "no"}')

    good = forward(server)
    bad = [status(429), status(500), cut_short, drop, wrong, slow, status(503)]
    script = [step for pair in zip([good] * len(bad), bad, strict=True) for step in pair]
    with Server(*script, good, models=listed(server)) as between:
        measured(address(between.url), data, tmp_path)
        seen = len(between.requests)
    same(tmp_path, local, "settings")
    told = requests(tmp_path)
    assert sum(one["requests"] for one in told.values()) == seen == GROUPS + len(bad)
    assert sum(one.get("faults", 0) for one in told.values()) == len(bad)
    assert sum(one.get("retries", 0) for one in told.values()) == len(bad)
    whole = sum(one["tokens"] for name in SUITE for one in lines(tmp_path, name))
    assert sum(one["completion_tokens"] for one in told.values()) == whole


@pytest.mark.parametrize("alive", [3, 10])
def test_a_server_that_dies_is_asked_for_the_rest_only(server, local, data, tmp_path, alive):
    good = forward(server)
    terms = ServedSettings(Terms(timeout_s=5.0, attempts=2, backoff_s=0.01, parallel=1))
    dying = Server(*[good] * alive, drop, models=listed(server))
    with dying, pytest.raises(ServerFailure) as told:
        measured(address(dying.url), data, tmp_path, terms)
    done = [(one["problem"], one["mode"]) for name in SUITE if (tmp_path / f"{name}.samples.jsonl").exists()
            for one in lines(tmp_path, name)]  # fmt: skip
    groups = len(set(done))
    assert groups == len(done) == alive
    # of the benchmark at which it died
    assert f"no reply to {SIZE - alive % SIZE} of {SIZE} prompts" in str(told.value)
    assert "the same command asks for the rest only" in str(told.value)
    port = int(dying.url.rpartition(":")[2].partition("/")[0])
    with Server(good, models=listed(server), port=port) as again:
        measured(address(again.url), data, tmp_path, terms)
        assert len(again.requests) == GROUPS - groups
    same(tmp_path, local, "settings")


def test_regrading_needs_no_server(server, data, tmp_path):
    measured(address(server.url), data, tmp_path)
    before = {name: lines(tmp_path, name) for name in SUITE}
    asked = requests(tmp_path)
    path = tmp_path / "ifeval.samples.jsonl"
    spoilt = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**one, "reward": 1.0 - one["reward"]}) + "\n" for one in spoilt))
    found = {one.name: one for one in regrade_suite(tmp_path, [], Told(QuietScreen()))}
    assert {name: one.changed for name, one in found.items()} == {
        "aime25": 0,
        "commonsense_qa": 0,
        "ifeval": SIZE,
    }
    assert {name: lines(tmp_path, name) for name in SUITE} == before
    assert requests(tmp_path) == asked


def cascade(*arguments: str) -> tuple[int, str]:
    """Exit status, and all that was told on one line; an error that main() would print is status 1."""
    found = CliRunner().invoke(app, list(arguments))
    if isinstance(found.exception, InputError | ServerFailure):
        return 1, " ".join(str(found.exception).split())
    return found.exit_code, " ".join(found.output.split())


def test_compare_takes_served_and_local_as_the_same_settings(server, local, data, tmp_path):
    measured(address(server.url), data, tmp_path / "served")
    status, told = cascade("compare", str(local), str(tmp_path / "served"), "--json")
    assert status == 0 and "not comparable" not in told
    compared = json.loads(told)["comparisons"]
    assert [one["benchmark"] for one in compared] == list(SUITE)
    for one in compared:
        assert not one["differing"] and one["common"] == SIZE and one["change"]["mean"] == 0, one


@pytest.fixture
def command(data) -> list[str]:
    given = [text for name, source in data.items() for text in ("--data", f"{name}={source}")]
    return ["--suite", ",".join(SUITE), *CHANGES, *given]


@pytest.fixture(scope="module")
def unbroken(model, data, tmp_path_factory) -> Path:
    """By the settings of the command."""
    folder = tmp_path_factory.mktemp("unbroken")
    measured(str(model), data, folder, precision="auto")
    return folder


@pytest.mark.parametrize("after", [1, 6, 15])
def test_a_run_that_is_killed_goes_on_to_the_same_files(model, unbroken, command, tmp_path, after):
    call = [sys.executable, "-m", "cascade_rl.cli", "eval", str(model), *command, "--out", str(tmp_path)]
    # each stored group waits a little, so that there is a middle to be killed in
    slow = (
        "import runpy, sys, time; from cascade_rl.evals.shelf import Shelf; add = Shelf.add; "
        "Shelf.add = lambda *a: (add(*a), time.sleep(0.3))[0]; sys.argv = ['cascade', *sys.argv[1:]]; "
        "runpy.run_module('cascade_rl.cli', run_name='__main__')"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", slow, *call[3:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    stored = 0
    while stored < after:
        assert killed.poll() is None, killed.stdout.read().decode()
        time.sleep(0.01)
        stored = sum(path.read_text().count("\n") for path in tmp_path.glob("*.samples.jsonl"))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = {path.name for path in tmp_path.glob("*.json") if path.name.count(".") == 1}
    assert len(done) < len(SUITE)
    # as a kill within a write leaves it
    begun = max(tmp_path.glob("*.samples.jsonl"), key=lambda path: path.stat().st_mtime)
    with begun.open("a") as file:
        file.write('{"problem": "cut of')
    status, told = cascade(*call[3:])
    assert status == 0, told
    assert "replies are stored already" in told
    same(tmp_path, unbroken)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["here", "--parallel", "2"], "--parallel: no effect without --suite"),
        (["here", "--suite", "aime25", "--budget", "3"], "--budget: no effect on a model of this machine"),
        (["here", "--suite", "aime25", "--mode-by", "flag", "--key-variable", "X"],
         "--key-variable, --mode-by: no effect on a model of this machine"),
        (["openai:http://127.0.0.1:9/v1#m", "--suite", "aime25", "--workers", "2", "--yarn", "1"],
         "--workers, --yarn: no effect on a served model"),
        (["openai:http://127.0.0.1:9/v1#m", "--suite", "aime25", "--mode-by", "flg"], "did you mean flag?"),
        (["openai:http://127.0.0.1:9/v1#m", "--suite", "aime25", "--key-variable", "NO_SUCH_KEY"],
         "key is not set: environment variable NO_SUCH_KEY"),
        (["openai:http://127.0.0.1:9/v1#", "--suite", "aime25"], "ends before the model's name"),
        (["openai:ftp://a/v1#m", "--suite", "aime25"], "must be such as openai:http://127.0.0.1:8000/v1#my-model"),
        (["openai:http://a/v1?x=1#m", "--suite", "aime25"], "the one that all its paths begin with"),
        (["here", "--suite", "aime25", "--regrade", "k=3", "--parallel", "2"],
         "k=3, --parallel: no effect with --regrade"),
        (["here", "--suite", "aime25", "--recipe", "tiny"], "--recipe: no effect with --suite"),
    ],
)  # fmt: skip
def test_what_has_no_effect_or_no_address_is_refused(given, told, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["--data", f"aime25={data['aime25']}"] if "--suite" in given and "--regrade" not in given else []
    status, said = cascade("eval", *given, *rows)
    assert status == 1 and told in said
    assert not list(tmp_path.iterdir())


def test_options_are_compared_with_the_defaults_of_the_command():
    default = {name: one.default for name, one in signature(evaluate).parameters.items() if name != "model"}
    assert default == {one.name: one.default for one in fields(Given) if one.name != "model"}


def test_a_server_that_is_not_told_the_mode_is_said_so(server, local, data, tmp_path):
    notes: list[str] = []
    measured(address(server.url), data, tmp_path, ServedSettings(TERMS, mode_by="none"), notes)
    assert any("not told the mode" in note and "--mode-by" in note for note in notes)
    said = json.loads((tmp_path / "aime25.json").read_text())["settings"]
    assert said["mode_by"] == "none"
    with pytest.raises(InputError, match="mode_by none, now flag"):
        measured(address(server.url), data, tmp_path)


def test_the_command_tells_requests_and_a_spent_budget(server, command, tmp_path):
    model, out = address(server.url), ["--out", str(tmp_path)]
    status, told = cascade("eval", model, *command, *out, "--budget", "11", "--parallel", "1")
    assert status == 1 and "the budget of 11 requests is spent" in told and "asks for the rest only" in told
    status, told = cascade("eval", model, *command, *out)
    assert status == 0 and "aime25" in told and "the server: " in told and "completion tokens" in told
