"""Launch, watch and resume of a verl job, driven by a fake verl that fails in every way that verl does."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_verl
import psutil
import pytest

from cascade_rl.backends.verl import by_hand, launch, processes, watch
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.launch import Pace, quoted, run_job
from cascade_rl.backends.verl.metrics import mapped
from cascade_rl.backends.verl.planned import read_plan
from cascade_rl.backends.verl.reasons import reason
from cascade_rl.backends.verl.replies import Replies, summary
from cascade_rl.backends.verl.watch import Follower, Told
from cascade_rl.errors import InputError, Interrupted, StageError
from cascade_rl.run.book import Book
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.testing import QuietScreen
from cascade_rl.train.advantage import group_advantage
from cascade_rl.train.diagnostics import describe
from cascade_rl.types import Message, Problem

FAKE = str(Path(fake_verl.__file__))
PACE = Pace(poll_s=0.01, grace_s=0.3, quiet_s=30.0)
STEPS, SAVE, WORLD, FIRST = 6, 2, 2, 10  # the job's steps are 10 to 15 of its stage


@pytest.fixture(autouse=True)
def nulls(monkeypatch) -> None:
    """Half of what the fake grades has no verdict, on purpose."""
    monkeypatch.setattr(watch, "MAX_FAILED", 0.5)


class Screen(QuietScreen):
    """A screen that keeps the steps it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def step(self, report, total, phase):
        """Keep its number."""
        self.steps.append(report.step)


def make(folder: Path, faults: dict | None = None, kind: str = "rl", **manifest) -> Job:
    """A compiled job for the fake."""
    job = Job(folder / "verl" / "00")
    job.folder.mkdir(parents=True)
    keys = {
        "trainer.total_training_steps": STEPS, "trainer.save_freq": SAVE, "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": WORLD, "trainer.default_local_dir": "checkpoints",
    }  # fmt: skip
    job.overrides.write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
    starts = {
        n: row | {"kind": kind} for n, row in ({str(n): {} for n in range(1, 9)} | (faults or {})).items()
    }
    (job.folder / "fake.json").write_text(json.dumps(starts))
    record = {
        "kind": kind, "steps": STEPS, "policy": "start", "strategy": "fsdp2", "nodes": 1, "gpus_per_node": WORLD,
        "attempts": 3, "entry": [FAKE], "environment": {"VERL_USE_EXTERNAL_MODULES": "hooks"}, "on_policy": True,
        "prompts": 2, "replies": 0 if kind == "sft" else 2, "first_rate": fake_verl.RATE,
    } | manifest  # fmt: skip
    job.manifest.write_text(json.dumps(record))
    return job


def problems() -> list[Problem]:
    """The job's prompts: two a step."""
    return [Problem(f"p{n}", "maths", (Message("user", f"what is {n}?"),), str(n)) for n in range(2 * STEPS)]


def told(folder: Path, **more) -> Told:
    """The stage's journals."""
    return Told(
        Book(folder), Screen(), first_step=FIRST, total=16, phase="24 tokens", problems=problems(), **more
    )


def go(job: Job, tell: Told, pace: Pace = PACE) -> None:
    """Run it by the fake."""
    run_job(job, Command((sys.executable,)), tell, pace)


def steps(folder: Path) -> list[int]:
    """The steps that the journal holds."""
    return [line["step"] for line in read_lines(folder / "journal.jsonl") if line["kind"] == "step"]


def lines(folder: Path, kind: str) -> list[dict]:
    """Of the journal."""
    return [line for line in read_lines(folder / "journal.jsonl") if line["kind"] == kind]


def whole(folder: Path) -> None:
    """Every step once and in order, in the journal, in the timings and in the replies."""
    wanted = list(range(FIRST, FIRST + STEPS))
    assert steps(folder) == wanted
    timings = [line["step"] for line in read_lines(folder / "timings.jsonl")]
    assert timings == wanted
    groups = list(read_groups(read_lines(folder / "rollouts.jsonl")))
    assert [step for step, _ in groups] == [step for step in wanted for _ in range(2)]
    assert [group.problem.id for _, group in groups] == [f"p{n}" for n in range(2 * STEPS)]


def starts(job: Job) -> list[str]:
    """Why each start ended."""
    return [json.loads(p.read_text())["reason"] for p in sorted(job.folder.glob("attempts/*/ended.json"))]


def test_a_job_runs_to_its_last_step_and_is_done_for_good(tmp_path):
    job, tell = make(tmp_path), told(tmp_path)
    go(job, tell)
    whole(tmp_path)
    assert tell.screen.steps == list(range(FIRST, FIRST + STEPS)) and starts(job) == ["done"]
    before = (tmp_path / "journal.jsonl").read_bytes()
    go(job, tell)  # nothing to do: no second start, no second line
    assert starts(job) == ["done"] and (tmp_path / "journal.jsonl").read_bytes() == before


def test_what_a_step_says_stands_under_our_names(tmp_path):
    job = make(tmp_path)
    go(job, told(tmp_path))
    first = lines(tmp_path, "step")[0]
    metrics = first["metrics"]
    assert first["phase"] == "24 tokens"
    # from the graders: one reply of two was right, the other could not be judged and is no zero
    assert (metrics["reward"], metrics["failed"], metrics["failed/maths"]) == (1.0, 0.5, 0.5)
    # verl's clip ratio is 0.25 whatever was cut, since it compares with the longest reply
    assert metrics["clipped"] == 0.5 and metrics["verl/response_length/clip_ratio"] == 0.25
    assert (metrics["length"], metrics["grad_norm"], metrics["entropy"], metrics["loss"]) == (
        10.5,
        0.5,
        0.7,
        0.01,
    )
    assert metrics["ratio"] == pytest.approx(1.0001) and metrics["mismatch_kl"] == 0.0005
    assert not any(key.startswith(("verl/timing", "verl/perf")) for key in metrics)  # the clock's
    timing = next(read_lines(tmp_path / "timings.jsonl"))
    assert timing["seconds"] == {"rollout": 3.0, "update": 2.0, "other": 1.5}
    assert timing["verl"]["perf/throughput"] == 812.0


def test_a_steps_replies_are_told_by_the_rules_of_our_own_engine(tmp_path):
    """Against `train/diagnostics` on the same groups, with masked, null and foreign replies among them."""
    draw = random.Random(0)
    asked, rows = problems(), []
    texts = ["a", "b", "c", "<think>\n\n</think>\n\nd", "<think>\ne\n</think>\n\nf"]
    for index in range(8):
        for _ in range(4):
            reward = draw.choice([0.0, 0.5, 1.0, None])
            stop = draw.choice(["end", "length"])
            rows.append(
                {"step": 1, "index": index, "text": draw.choice(texts), "tokens": draw.randint(1, 9), "stop": stop,
                 "reward": reward, "outcome": "grader_error" if reward is None else "partial", "parts": {"p": 0.5},
                 "earned": None if stop == "length" else reward, "below": int(draw.random() < 0.1)}
            )  # fmt: skip
    (tmp_path / "replies").mkdir()
    (tmp_path / "replies" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::2]))
    (tmp_path / "replies" / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[1::2]))
    graded = Replies(tmp_path, asked).of_step(1)
    assert sum(map(len, graded.earned)) == 32 and any(None in row for row in graded.earned)
    assert min(r for row in graded.earned for r in row if r is not None) == -10.0
    advantages = [group_advantage(row, "none", "grpo") for row in graded.earned]
    wanted = describe(graded.groups, graded.earned, advantages)
    found = summary(graded)
    assert 0 < found["leak"] < 1
    assert found == {name: pytest.approx(wanted[name]) for name in found}


def test_ratio_and_ess_follow_from_what_verl_tells():
    """Against the formulas of verl's rollout_corr_helper on drawn log-probabilities."""
    import numpy as np

    d = np.random.default_rng(0).normal(0, 0.3, 500)  # log p_trainer - log p_sampler
    data = {"rollout_corr/k3_kl": (np.exp(d) - d - 1).mean(), "rollout_corr/kl": -d.mean(),
            "rollout_corr/chi2_token": (np.exp(d) ** 2).mean() - 1}  # fmt: skip
    found = mapped(1, {k: float(v) for k, v in data.items()}, on_policy=True).metrics
    assert found["ratio"] == pytest.approx(np.exp(d).mean())
    assert found["ess"] == pytest.approx(np.exp(d).sum() ** 2 / (500 * (np.exp(d) ** 2).sum()))


def test_null_is_what_verl_writes_for_a_number_that_is_none():
    found = mapped(3, {"actor/grad_norm": None, "critic/score/mean": 0.5}, on_policy=True).metrics
    assert found["skipped"] == 1 and str(found["grad_norm"]) == "nan"


def test_a_crash_goes_on_from_the_last_checkpoint_and_no_step_stands_twice(tmp_path):
    job, tell = make(tmp_path, {"1": {"crash_after": 5}}), told(tmp_path)
    go(job, tell)
    whole(tmp_path)
    assert "the crash that was asked for" in starts(job)[0] and "exit code 1" in starts(job)[0]
    words = json.loads((job.attempt(2) / "words.json").read_text())["words"]
    assert f"trainer.resume_from_path={quoted(str((job.checkpoints / 'global_step_4').resolve()))}" in words
    # step 5 was told by both starts: what stands is of the one whose weights go on
    lengths = [group.rollouts[0].text for _, group in read_groups(read_lines(tmp_path / "rollouts.jsonl"))]
    assert ["start 1" in text for text in lengths] == [True] * 8 + [False] * 4
    notes = [line["text"] for line in lines(tmp_path, "note")]
    assert any("step 5 of the job: trained again" in text for text in notes)
    assert any("verl ended after step 5 of 6" in text for text in tell.screen.notes)


def test_attempts_are_bounded_and_every_reason_is_told(tmp_path):
    faults = {"1": {"crash_after": 1}, "2": {"oom_after": 1}, "3": {"empty": True}}
    job = make(tmp_path, faults)
    with pytest.raises(StageError) as caught:
        go(job, told(tmp_path))
    text = str(caught.value)
    assert "start 1, after step 1: exit code 1; RuntimeError" in text
    assert "a GPU's memory is full: lower verl.memory" in text
    assert "exit code 0 after 0 steps" in text and "console.log" in text
    assert len(starts(job)) == 3
    go(job, told(tmp_path))  # the same command again has its own tries
    whole(tmp_path)


def test_what_can_only_fail_again_is_not_tried_again(tmp_path):
    said = "hydra.errors.ConfigCompositionException: Could not override 'actor.nothing'"
    job = make(tmp_path, {"1": {"dies_with": said}})
    with pytest.raises(StageError, match="verl refused the configuration"):
        go(job, told(tmp_path))
    assert len(starts(job)) == 1


@pytest.mark.parametrize("fault", [{"empty": True}, {"until": 3}], ids=["empty job", "too few steps"])
def test_exit_code_0_is_no_success(tmp_path, fault):
    job = make(tmp_path, {str(n): fault for n in range(1, 4)})
    with pytest.raises(StageError, match="exit code 0 after"):
        go(job, told(tmp_path))


def test_a_checkpoint_past_the_end_is_refused_before_verl_exits_0_with_it(tmp_path):
    job = make(tmp_path)
    fake_verl.checkpoint(job.checkpoints, STEPS + 2, WORLD)
    with pytest.raises(StageError, match="train nothing and exit without an error"):
        go(job, told(tmp_path))
    assert not (job.folder / "attempts").exists()


def test_another_number_of_gpus_is_refused(tmp_path):
    job = make(tmp_path)
    fake_verl.checkpoint(job.checkpoints, 2, 4)
    with pytest.raises(StageError, match=r"written by 4 GPUs, the job now has 2"):
        go(job, told(tmp_path))


def test_a_torn_checkpoint_is_passed_over(tmp_path):
    job = make(tmp_path, {"1": {"torn_checkpoint": 4, "crash_after": 4}})
    go(job, told(tmp_path))
    whole(tmp_path)
    words = json.loads((job.attempt(2) / "words.json").read_text())["words"]
    assert any(word.endswith("global_step_2") for word in words)


def test_verls_own_tracker_is_never_asked(tmp_path):
    job = make(tmp_path, {"1": {"crash_after": 2}})
    job.checkpoints.mkdir()
    (job.checkpoints / "latest_checkpointed_iteration.txt").write_text("")  # emptied, then killed
    go(job, told(tmp_path))
    whole(tmp_path)


def test_a_torn_line_is_left_out(tmp_path):
    job = make(tmp_path, {"1": {"torn_line": 3, "crash_after": 3}})
    go(job, told(tmp_path))
    whole(tmp_path)


def test_a_metrics_file_begun_anew_repeats_nothing(tmp_path):
    job = make(tmp_path, {"1": {"reopens": 4, "waits_at": 4}})

    def looked() -> bool:
        if len(steps(tmp_path)) == 3:
            (job.folder / "go").touch()
        return False

    go(job, told(tmp_path, stop_asked=looked))
    assert steps(tmp_path) == list(range(FIRST, FIRST + STEPS))


def test_a_step_that_was_saved_and_never_told_is_said(tmp_path):
    job = make(tmp_path, {"1": {"crash_before_telling": 4}})
    go(job, told(tmp_path))
    assert steps(tmp_path) == [10, 11, 12, 14, 15]  # 13 is trained: its numbers died with the process
    assert any("step 4 of the job: trained, but" in line["text"] for line in lines(tmp_path, "note"))
    assert "ended by SIGKILL" in starts(job)[0]


def test_the_replies_of_a_step_that_was_never_told_are_kept(tmp_path):
    job = make(tmp_path, {"1": {"crash_before_telling": 2}, "2": {"crash_before_telling": STEPS}})
    go(job, told(tmp_path))
    groups = list(read_groups(read_lines(tmp_path / "rollouts.jsonl")))
    assert [step for step, _ in groups] == [step for step in range(FIRST, FIRST + STEPS) for _ in range(2)]


def test_a_grader_that_fails_on_a_fifth_ends_the_job(tmp_path, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(StageError, match="graders failed on 50% of the replies of step 1;"):
        go(make(tmp_path), told(tmp_path))


def test_a_job_that_is_launched_by_hand_leaves_the_journals_of_its_run_alone(tmp_path, monkeypatch):
    job = make(tmp_path, {"1": {"crash_after": 4}}, attempts=1)
    with pytest.raises(StageError):
        go(job, told(tmp_path))
    before = (tmp_path / "journal.jsonl").read_bytes()
    monkeypatch.setattr(by_hand, "_problems", lambda job, kind: tuple(problems()))
    monkeypatch.setattr(launch, "Pace", lambda: PACE)
    by_hand.train_by_hand(job, Command((sys.executable,)), Screen(), lambda: False)
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    # and the run, which finds it done, says what it never heard of
    go(job, told(tmp_path))
    assert steps(tmp_path) == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    assert any("trained, but verl never told" in line["text"] for line in lines(tmp_path, "note"))


def test_nothing_is_launched_when_only_the_last_numbers_are_missing(tmp_path):
    job = make(tmp_path, {"1": {"crash_before_telling": STEPS}})
    go(job, told(tmp_path))
    assert starts(job) == ["done"] and steps(tmp_path) == [10, 11, 12, 13, 14]
    assert any("step 6 of the job: trained, but" in line["text"] for line in lines(tmp_path, "note"))


def test_updates_that_are_not_finite_end_the_job(tmp_path):
    job = make(tmp_path, {"1": {"bad": "nan", "hangs_after": 5, "children": True}})
    with pytest.raises(StageError, match="5 updates in a row were not finite"):
        go(job, told(tmp_path))
    assert processes.carriers(job.attempt(1)) == []


def test_two_passes_that_differ_on_policy_are_alarmed_at(tmp_path):
    tell = told(tmp_path)
    go(make(tmp_path, {"1": {"bad": "clips"}}), tell)
    assert any(note.startswith("alarm:") and "passes_clipped" in note for note in tell.screen.notes)
    other = tmp_path / "other"
    tell = told(other)
    go(make(other, {"1": {"bad": "clips"}}, on_policy=False), tell)  # several updates: clipping is meant
    assert not any("passes_clipped" in note for note in tell.screen.notes)
    assert lines(other, "step")[0]["metrics"]["clip_fraction"] == 0.02


def test_one_that_stands_still_is_ended_and_begun_again(tmp_path):
    fault = {"hangs_after": 3, "ignores_sigterm": True, "children": True}
    # many attempts: on a slow machine another start may be too quiet, too
    job = make(tmp_path, {"1": fault}, attempts=99)
    go(job, told(tmp_path), Pace(poll_s=0.01, grace_s=0.1, quiet_s=1.0))
    whole(tmp_path)
    assert "stood still" in starts(job)[0] and processes.carriers(job.attempt(1)) == []


@pytest.mark.parametrize("stubborn", [False, True], ids=["asked", "killed"])
def test_a_request_to_stop_leaves_nothing_running(tmp_path, stubborn):
    job = make(tmp_path, {"1": {"hangs_after": 3, "children": True, "ignores_sigterm": stubborn}})
    asked = told(tmp_path, stop_asked=lambda: len(steps(tmp_path)) == 3)
    with pytest.raises(Interrupted, match="goes on from the checkpoint of step 2"):
        go(job, asked)
    assert processes.carriers(job.attempt(1)) == []
    go(job, told(tmp_path))
    whole(tmp_path)


DRIVER = """
import sys
from pathlib import Path
from test_verl_launch import go, told, watch, Job
watch.MAX_FAILED = 0.5
go(Job(Path(sys.argv[1]) / "verl" / "00"), told(Path(sys.argv[1])))
"""


def killed_driver(folder: Path, after: int) -> None:
    """A process of ours that is killed once the journal holds some steps."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], cwd=Path(FAKE).parent)
    while len(steps(folder)) < after and driver.poll() is None:
        time.sleep(0.01)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()


def test_a_killed_driver_leaves_a_job_that_the_next_one_follows(tmp_path):
    job = make(tmp_path, {"1": {"waits_at": 3}})
    killed_driver(tmp_path, 2)
    [running] = [p for p in processes.carriers(job.attempt(1)) if "fake_verl.py" in " ".join(p.cmdline())]
    # asked while it is followed: only then does the fake go on
    tell = told(tmp_path, stop_asked=lambda: (job.folder / "go").touch() is not None)
    go(job, tell)
    whole(tmp_path)
    assert tell.screen.notes == [f"verl is still at work (process {running.pid}): following it"]
    assert starts(job) == ["done"]


def test_a_killed_driver_and_a_job_that_died_go_on_from_the_checkpoint(tmp_path):
    job = make(tmp_path, {"1": {"waits_at": 4}})
    killed_driver(tmp_path, 3)
    processes.stop(job.attempt(1), 0.0, 0.01)
    go(job, told(tmp_path))
    whole(tmp_path)
    assert starts(job) == ["ended unseen; its console names no error", "done"]


def test_another_process_with_the_number_is_not_taken_for_the_job(tmp_path):
    record = processes.Started("elsewhere", os.getpid(), psutil.Process().create_time())
    path = tmp_path / "started.json"
    with pytest.raises(StageError, match="was started on elsewhere"):
        record.process(path)
    here = processes.Started(__import__("socket").gethostname(), os.getpid(), psutil.Process().create_time())
    assert here.process(path) is not None
    later = processes.Started(here.host, here.pid, here.created - 100)
    assert later.process(path) is None


def test_a_start_has_its_own_environment(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "/ours")
    job = make(tmp_path, entry=["-c", "import json, os; json.dump(dict(os.environ), open('seen.json', 'w'))"])
    with pytest.raises(StageError):
        go(job, told(tmp_path))
    seen = json.loads((job.folder / "seen.json").read_text())
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(seen)
    # ours names a cluster, which is joined only where the command does; unset, Ray would join one that it finds
    assert seen["RAY_ADDRESS"] == "local"
    assert seen["VERL_USE_EXTERNAL_MODULES"] == "hooks"
    assert seen["VERL_FILE_LOGGER_PATH"].endswith("attempts/03/metrics.jsonl")  # a path of its own a start


def test_workers_of_a_cluster_get_the_variables_through_ray(tmp_path):
    job = make(tmp_path)
    run_job(job, Command((sys.executable,), "ray://head:10001"), told(tmp_path), PACE)
    start = json.loads((job.attempt(1) / "words.json").read_text())
    assert start["environment"]["RAY_ADDRESS"] == "ray://head:10001"
    prefix = "++ray_kwargs.ray_init.runtime_env.env_vars."
    assert not any("RAY_ADDRESS" in word for word in start["words"])  # workers are in it already
    assert any(w.startswith(f"{prefix}VERL_FILE_LOGGER_PATH=") for w in start["words"])
    assert f"{prefix}VERL_USE_EXTERNAL_MODULES=hooks" in start["words"]


def test_replies_that_are_not_stored_are_missed(tmp_path):
    tell = told(tmp_path)
    go(make(tmp_path, replies=3), tell)  # the fake writes two to a prompt
    notes = [note for note in tell.screen.notes if not note.startswith("alarm")]
    assert notes == ["of 6 replies of this step 4 were stored with their verdicts"] * STEPS


def test_an_exported_job_is_not_trained_again(tmp_path):
    job = make(tmp_path)
    job.exported.mkdir()  # renamed into place once it was proved; its checkpoints may have been removed
    go(job, told(tmp_path))
    assert not (job.folder / "attempts").exists()


class Killed(BaseException):
    """Nothing of ours catches it."""


def test_wherever_the_driver_is_killed_every_line_stands_once(tmp_path, monkeypatch):
    """The journals of a driver killed at its n-th write, and of the one after it, are those of an unharmed one."""
    job = make(tmp_path)
    attempt = job.attempt(1)
    attempt.mkdir(parents=True)
    for step in range(1, 4):
        fake_verl.reply(attempt, step, 1)
        with (attempt / "metrics.jsonl").open("ab") as file:
            file.write(fake_verl.line(step, fake_verl.numbers(step, 1, "rl", "")))
    plan, write = read_plan(job), Book._write

    def follow(folder: Path, most: float, begin: bool) -> bool:
        """Whether it got to the end; at most so many lines are written."""
        left = [most]

        def counted(self: Book, journal: str, record: dict) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            write(self, journal, record)

        monkeypatch.setattr(Book, "_write", counted)
        tell = told(folder)
        follower = Follower(Job(job.folder), plan, tell)
        try:
            follower.begin(1, 0) if begin else follower.take_up(1)
            follower.read()
        except Killed:
            return False
        finally:
            tell.book.close()
        return True

    def results(folder: Path) -> dict[str, bytes]:
        return {
            name: (folder / f"{name}.jsonl").read_bytes()
            for name in ("journal", "timings", "rollouts", "samples")
        }

    assert follow(tmp_path / "unharmed", math.inf, True)
    wanted = results(tmp_path / "unharmed")
    count = sum(text.count(b"\n") for text in wanted.values())
    assert count > 20
    for n in range(count):
        (job.folder / "followed.jsonl").unlink()
        folder = tmp_path / f"killed-{n}"
        assert not follow(folder, n, True) and follow(folder, math.inf, False)
        assert results(folder) == wanted, n


def test_sft_is_followed_alike(tmp_path):
    job = make(tmp_path, {"1": {"crash_after": 3}}, kind="sft")
    go(job, told(tmp_path))
    assert steps(tmp_path) == list(range(FIRST, FIRST + STEPS))
    assert lines(tmp_path, "step")[1]["metrics"]["loss"] == 1.0
    assert [(line["step"], line["metrics"]) for line in lines(tmp_path, "heldout")] == [(16, {"loss": 1.25})]
    words = json.loads((job.attempt(2) / "words.json").read_text())["words"]
    assert not any("ray_kwargs" in word for word in words)  # SFT's configuration has no such key


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_the_rate_of_a_step_is_the_one_that_it_was_taken_with(kind, tmp_path):
    """verl tells that of the next; step n of the fake is taken with n times the first, also after a crash."""
    go(make(tmp_path, {"1": {"crash_after": 5}, "2": {"crash_after": 5}}, kind), told(tmp_path))
    rates = [line["metrics"]["lr"] for line in lines(tmp_path, "step")]
    assert rates == pytest.approx([fake_verl.RATE * (n + 1) for n in range(STEPS)])


def test_a_rate_that_nobody_told_is_none(tmp_path):
    go(make(tmp_path, {"1": {"crash_before_telling": 4}}, first_rate=None), told(tmp_path))
    rates = {line["step"] - FIRST + 1: line["metrics"].get("lr") for line in lines(tmp_path, "step")}
    assert rates == {1: None, 2: 2e-6, 3: 3e-6, 5: None, 6: 6e-6}


CONSOLE = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/x/reader.py", line 6, in read
[rank0]:     return known["ValueError: a"]
[rank0]: KeyError: 'ValueError: a'

[rank0]: During handling of the above exception, another exception occurred:

[rank0]: Traceback (most recent call last):
[rank0]:   File "/x/reader.py", line 8, in read
[rank0]:     return open(path)
[rank0]: FileNotFoundError: [Errno 2] No such file or directory: '/x/train.parquet'
[rank1]: Traceback (most recent call last):
[rank1]:     work.wait()
[rank1]: RuntimeError: [gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:42730.
E1127 09:16:13.824000 24577 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1)
Traceback (most recent call last):
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
Root Cause (first observed failure):
"""


def test_the_reason_is_the_exception_of_the_rank_that_failed_first(tmp_path):
    """As torchrun of torch 2.13 shows two ranks, of which the second lost the first."""
    console = tmp_path / "console.log"
    console.write_text(CONSOLE)
    missing = "FileNotFoundError: [Errno 2] No such file or directory: '/x/train.parquet'"
    assert reason(console, 1) == f"exit code 1; {missing}"
    console.write_text(CONSOLE[CONSOLE.index("E1127") :])
    assert "ChildFailedError" in reason(console, 1)  # better than nothing


def test_a_folder_without_a_compiled_job_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no compiled job"):
        go(Job(tmp_path), told(tmp_path))


@pytest.mark.parametrize("value", ["/a/b-1.txt", "a b", "it's", "x=1,{y}", "null", "12", "back\\slash"])
def test_values_survive_hydras_grammar(value):
    """Against the grammar's rules for quoted text (hydra 1.3, OverrideLexer.g4): only ' and \\ are escaped."""
    text = quoted(value)
    back = text[1:-1].replace("\\'", "'").replace("\\\\", "\\") if text[0] == "'" else text
    assert back == value and (text[0] == "'" or value == "/a/b-1.txt")
