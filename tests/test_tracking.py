"""A follower against a run that is killed and goes on at any moment: each event once, in order, whatever falls."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import RECIPE

from cascade_rl.data.abilities import check_recipe
from cascade_rl.errors import InputError
from cascade_rl.run.book import Book
from cascade_rl.run.ledger import recipe_text
from cascade_rl.run.tracking import follower as module
from cascade_rl.run.tracking.events import Event, Reading, Rewound, Tail, recipe_of
from cascade_rl.run.tracking.follower import Follower
from cascade_rl.run.tracking.sent import read_sent
from cascade_rl.types import StepReport

STAGES = ("sft", "reward", "rlhf")
STEPS = 4


class Killed(BaseException):
    """SIGKILL of the follower."""


@dataclass
class Held:
    """What a tracker keeps of each of its runs, whatever becomes of the processes that tell it."""

    runs: dict[str, list[Event]] = field(default_factory=dict)
    counts: bool = True
    fall_after: int = 1000  # events until the follower falls, after it has sent and before it writes so down


class Fake:
    where = "nowhere"

    def __init__(self, held: Held, name: str) -> None:
        self._held, self._events = held, held.runs.setdefault(name, [])

    def held(self) -> int | None:
        return len(self._events) if self._held.counts else None

    def send(self, number: int, event: Event) -> None:
        self._events.append(event)
        self._held.fall_after -= 1
        if self._held.fall_after == 0:
            raise Killed

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Writer:
    """A run that writes as `run/book.py` does: samples before the line of their step, cut back on resume."""

    def __init__(self, run: Path, seed: int = 0, base: bool = False) -> None:
        self.run, self.seed, self.saved, self.stage, self.step = run, seed, 0, 0, 0
        recipe = {**RECIPE, "stages": [{**stage, "steps": STEPS} for stage in RECIPE["stages"]]}
        recipe |= {"score_base": True, "model": {"init": "smollm2-135m"}} if base else {}
        (run / "recipe.yaml").write_text(recipe_text(check_recipe(recipe)))

    @property
    def folder(self) -> Path:
        return self.run / "stages" / f"{self.stage + 1:02d}-{STAGES[self.stage]}"

    @property
    def ended(self) -> bool:
        return self.stage == len(STAGES)

    def go(self) -> None:
        """One step, or what comes after the last."""
        if self.ended:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stage.json").write_text(json.dumps({"key": f"{self.stage}-{self.seed}"}))
        if self.step == STEPS:
            score = {"mean": 0.5, "low": 0.25, "high": self.seed + 1}
            card = {"benchmarks": {"maths": {"headline": "thinking", "modes": {"thinking": {"avg": score}}}}}
            (self.folder / "scorecard.json").write_text(json.dumps(card))
            self.stage, self.step, self.saved = self.stage + 1, 0, 0
            return
        if self.step in (0, STEPS - 1):
            self._append("samples", {"step": self.step, "reply": f"{self.seed}"})
        metrics = {"loss": self.step + 100 * self.seed, "odd": "nan"}
        self._append("journal", {"kind": "step", "step": self.step, "metrics": metrics})
        if self.step == 1:
            self._append("journal", {"kind": "note", "step": 1, "text": "alarm: it burns"})
        self.step += 1

    def save(self) -> None:
        self.saved = self.step

    def killed(self) -> None:
        """The next process cuts the journals back to the last save."""
        if self.ended or not self.folder.exists():
            return
        for name in ("journal", "samples"):
            path = self.folder / f"{name}.jsonl"
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            path.write_text("".join(line for line in lines if json.loads(line)["step"] < self.saved))
        self.step = self.saved

    def finish(self) -> None:
        while not self.ended:
            self.go()

    def _append(self, name: str, record: dict[str, Any]) -> None:
        with (self.folder / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


def all_events(run: Path) -> list[str]:
    return [told.event.written() for told in Reading(run).new()]


@pytest.fixture
def held(monkeypatch) -> Held:
    kept = Held()
    monkeypatch.setattr(module, "open_tracker", lambda name, target: Fake(kept, target.name))
    return kept


def follow(run: Path, notes: list[str]) -> None:
    """One pass of a follower: what is there now."""
    ended = threading.Event()
    ended.set()
    Follower(run, "trackio", notes.append).follow(ended)


@settings(max_examples=150)
@given(
    moves=st.lists(st.sampled_from(["go", "go", "go", "save", "killed", "follow", "fall"]), max_size=40),
    falls=st.lists(st.integers(1, 6), min_size=40, max_size=40),
)
def test_each_event_is_sent_once_whatever_falls(moves, falls):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        kept, notes = Held(), []
        patch.setattr(module, "open_tracker", lambda name, target: Fake(kept, target.name))
        writer = Writer(Path(folder))
        for move, fall in zip(moves, falls, strict=False):
            if move in ("go", "save", "killed"):
                getattr(writer, move)()
                continue
            kept.fall_after = fall if move == "fall" else 1000
            try:
                follow(writer.run, notes)
            except Killed:
                pass
        writer.finish()
        kept.fall_after = 1000
        follow(writer.run, notes)
        [sent] = kept.runs.values()
        assert [event.written() for event in sent] == all_events(writer.run)
        assert read_sent(writer.run, "trackio").events == len(sent) == 3 * (STEPS + 3)


def test_a_follower_that_lives_on_sees_a_resume(held, tmp_path):
    writer, notes, ended = Writer(tmp_path), [], threading.Event()

    class Moments(threading.Event):
        """Instead of a second: what happens to the run between two looks at it."""

        moves = iter(["go", "go", "go", "killed", "go", "go", "save", "go", "killed", "go", "finish"])

        def wait(self, timeout=None):
            getattr(writer, next(self.moves, "save"))()
            if writer.ended:
                self.set()

    ended = Moments()
    Follower(tmp_path, "trackio", notes.append).follow(ended)
    [sent] = held.runs.values()
    assert [event.written() for event in sent] == all_events(tmp_path)


@pytest.mark.parametrize("moment", ["between followers", "while one lives"])
def test_a_stage_that_is_begun_anew_goes_to_another_run(held, tmp_path, moment):
    writer, notes = Writer(tmp_path), []
    for _ in range(STEPS + 3):  # two steps into the second stage
        writer.go()

    def anew() -> None:
        shutil.rmtree(writer.folder)
        writer.seed, writer.step, writer.saved = 1, 0, 0
        writer.finish()

    if moment == "between followers":
        follow(tmp_path, notes)
        anew()
        follow(tmp_path, notes)
    else:

        class Moments(threading.Event):
            def wait(self, timeout=None):
                anew()
                self.set()

        Follower(tmp_path, "trackio", notes.append).follow(Moments())
    first, second = held.runs.values()
    assert [event.written() for event in second] == all_events(tmp_path) and len(first) < len(second)
    assert sum("02-reward was begun anew" in note for note in notes) == 1


def test_steps_that_come_out_otherwise_go_to_another_run(held, tmp_path):
    """As on a GPU, where a resume does not give the same bits."""
    writer, notes = Writer(tmp_path), []
    writer.go()
    writer.save()
    writer.go()
    follow(tmp_path, notes)
    writer.killed()
    writer.seed = 0.5
    key = (writer.folder / "stage.json").read_text()
    writer.go()
    (writer.folder / "stage.json").write_text(key)
    follow(tmp_path, notes)
    assert list(map(len, held.runs.values())) == [3, 3]
    assert any("01-sft reads otherwise than before" in note for note in notes)


def test_a_benchmark_that_is_added_goes_to_another_run(held, tmp_path):
    writer, notes = Writer(tmp_path), []
    writer.finish()
    follow(tmp_path, notes)
    path = tmp_path / "stages" / "01-sft" / "scorecard.json"
    card = json.loads(path.read_text())
    card["benchmarks"]["coding"] = card["benchmarks"]["maths"]
    path.write_text(json.dumps(card))
    follow(tmp_path, notes)
    first, second = held.runs.values()
    assert len(first) == len(second)
    assert [e.numbers["benchmarks/coding"] for e in second if "benchmarks/coding" in e.numbers] == [0.5]


@pytest.mark.parametrize("counts", [True, False], ids=["it counts", "it can't count"])
def test_what_was_not_written_down(held, tmp_path, counts):
    """A tracker that can't say what it holds gets the last events twice, none not at all."""
    held.counts = counts
    writer, notes = Writer(tmp_path), []
    writer.go()
    writer.go()
    held.fall_after = 2
    with pytest.raises(Killed):
        follow(tmp_path, notes)
    follow(tmp_path, notes)
    [sent] = held.runs.values()
    events = all_events(tmp_path)
    assert [event.written() for event in sent] == (events if counts else events[:2] + events)


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(st.integers(0, 9), st.just("torn"), st.just("read"), st.just("cut")),
        min_size=1,
        max_size=30,
    )
)
def test_lines_of_a_growing_file(moves):
    """Each whole line once; a file that was cut back behind what was read says so."""
    with tempfile.TemporaryDirectory() as folder:
        path, lines, read = Path(folder) / "j.jsonl", [], []
        tail = Tail(path)
        for number, move in enumerate(moves):
            if isinstance(move, int):
                lines.append({"n": number, "x": move})
            elif move == "cut":
                lines = lines[: len(lines) // 2]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            path.write_text(text + ('{"n": 1' if move == "torn" else ""))
            if move in ("read", "torn"):
                try:
                    read += tail.lines()
                except Rewound:
                    assert lines[: len(read)] != read
                    tail, read = Tail(path), []
                    read += tail.lines()
                assert read == lines


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("recipe.yaml", "a: [", "recipe.yaml is no YAML"), ("recipe.yaml", "- 3", "is no recipe of a run"),
     ("recipe.yaml", "stages: [{steps: 3}]", r"is no recipe of a run: .* \(and \d more\)"),
     ("track/trackio.json", "{}", "it lacks id"), ("track/trackio.json", "[", "is no JSON"),
     ("track/trackio.json", '{"id": "a", "attempt": 1, "stages": {"x": 3}}', "is no record of a tracker"),
     ("stages/01-sft/journal.jsonl", "{]\n", "holds a line that is no JSON")],
)  # fmt: skip
def test_damaged_files_are_named(held, tmp_path, name, content, said):
    writer = Writer(tmp_path)
    writer.go()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        follow(tmp_path, [])


def test_all_that_a_stage_may_write_is_told(tmp_path):
    """By the writer itself: a kind of line that the trackers do not know would end their telling."""
    writer = Writer(tmp_path)
    writer.go()
    for path in writer.folder.glob("*.jsonl"):
        path.unlink()
    book = Book(writer.folder)
    book.heldout(0, {"loss": 1.5, "loss/own": 1.25})
    book.step(StepReport(0, {"loss": 2.0}, {}), "short")
    book.note(0, "a remark")
    book.probe(1, 0.5, {"maths": 0.25})
    book.close()
    written = {name for name in vars(Book) if not name.startswith("_")}
    others = {"times", "samples", "rollouts", "history", "heldouts", "offsets", "cut", "back_to", "close"}
    assert written - others == {"heldout", "step", "note", "probe"}, "a new kind of line: tell it"
    told = [told.event for told in Reading(tmp_path).new()]
    assert [(event.step, dict(event.numbers), dict(event.texts)) for event in told] == [
        (0, {"sft/heldout/loss": 1.5, "sft/heldout/loss/own": 1.25}, {}),
        (1, {"sft/loss": 2.0, "sft/step": 1.0}, {}),
        (1, {}, {"sft/notes": "a remark"}),
        (1, {"sft/probe": 0.5, "sft/probe/maths": 0.25}, {}),
    ]


def test_a_run_without_benchmarks_goes_on_to_the_next_stage(tmp_path):
    writer = Writer(tmp_path)
    writer.finish()
    for path in tmp_path.glob("stages/*/scorecard.json"):
        path.write_text(json.dumps({"stage": "s", "benchmarks": {}}))
    events = [told.event for told in Reading(tmp_path).new()]
    assert len(events) == 3 * (STEPS + 1) and all(event.numbers or event.texts for event in events)
    assert max(event.step for event in events) == 3 * STEPS


def score(run: Path, place: str, mean: float) -> None:
    avg = {"mean": mean, "low": 0, "high": 1}
    card = {"benchmarks": {"maths": {"headline": "thinking", "modes": {"thinking": {"avg": avg}}}}}
    (run / place).mkdir(parents=True, exist_ok=True)
    (run / place / "scorecard.json").write_text(json.dumps(card))


def test_what_is_scored_before_the_first_stage_comes_first_of_all(tmp_path):
    writer = Writer(tmp_path, base=True)
    reading = Reading(tmp_path)
    assert not list(reading.new())  # nothing before it is scored
    score(tmp_path, "base", 0.125)
    first = list(reading.new())
    assert [told.stage for told in first] == ["base", "base"] and {told.event.step for told in first} == {0}
    assert first[0].event.numbers == {
        "benchmarks/maths": 0.125,
        "benchmarks/maths/low": 0,
        "benchmarks/maths/high": 1,
    }
    writer.finish()
    rest = list(reading.new())
    assert all_events(tmp_path) == [told.event.written() for told in (*first, *rest)]
    table = rest[-1].event.tables["matrix"]
    assert table.columns == ("benchmark", "base", *STAGES) and table.rows == (("maths", 12.5, 50, 50, 50),)
    assert rest[-1].event.step == len(STAGES) * STEPS


def test_a_base_that_scores_otherwise_goes_to_another_run(held, tmp_path):
    writer, notes = Writer(tmp_path, base=True), []
    score(tmp_path, "base", 0.125)
    writer.finish()
    follow(tmp_path, notes)
    score(tmp_path, "base", 0.25)
    follow(tmp_path, notes)
    before, after = held.runs.values()
    assert len(before) == len(after) and [e.written() for e in after] == all_events(tmp_path)
    assert before[0].numbers["benchmarks/maths"] == 0.125 and after[0].numbers["benchmarks/maths"] == 0.25


def test_a_directory_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(InputError, match="is no run directory"):
        recipe_of(tmp_path)


def test_a_recipe_on_file_reads_back_with_its_trackers():
    recipe = check_recipe({**RECIPE, "track": ["trackio", {"to": "wandb", "project": "theirs"}]})
    text = recipe_text(recipe)
    assert check_recipe(yaml.safe_load(text)) == recipe
    assert "track" not in yaml.safe_load(recipe_text(check_recipe(RECIPE)))
