"""A compiled job from its start to its last planned step, through crashes, kills and restarts.

What is covered: a start that dies, hangs or does nothing, whose reason is told, is begun again from the last
whole checkpoint, at most `verl.attempts` times; a driver of ours that is killed leaves the job running, and
the next one finds it: running (and follows it), dead (and goes on from its checkpoint) or done. What is not:
machines of a cluster that are lost are Ray's and the cluster's to replace.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.backends.verl import processes, reasons
from cascade_rl.backends.verl.checkpoints import Saved, last_whole
from cascade_rl.backends.verl.job import Command, Job
from cascade_rl.backends.verl.planned import Planned, read_overrides, read_plan
from cascade_rl.backends.verl.processes import MARK, Started
from cascade_rl.backends.verl.watch import METRICS, Follower, Told
from cascade_rl.errors import Interrupted, StageError
from cascade_rl.run.files import read_record, write_json

LEFT_S = 5.0  # seconds for what an ended start left behind
STARTED, ENDED, CONSOLE = "started.json", "ended.json", "console.log"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a job is looked at, how long it may take to end, and how long it may stand still; seconds."""

    poll_s: float = 1.0
    # a driver of Ray that is asked to end tells its workers first; vLLM frees its memory
    grace_s: float = 30.0
    # Neither a step, nor a graded reply, nor a word on the console: the longest steps that are known take
    # twenty minutes, and NCCL ends what hangs after ten.
    quiet_s: float = 3600.0


def run_job(job: Job, command: Command, told: Told, pace: Pace | None = None) -> None:
    """Train a job to its last planned step, beginning or going on; nothing to do if that is reached.

    Raises StageError with the reason of every failed start, Interrupted after a request to stop: then nothing
    of the job runs any more.
    """
    plan = read_plan(job)
    if job.exported.exists():
        return  # its checkpoints may be gone by now
    launch = Launch(job, command, told, plan, pace or Pace())
    launch.settle_last()
    while not launch.is_done():
        launch.start_again()


class Launch:
    """The starts of one job in this process; `failures` says why those before did not reach the end."""

    def __init__(self, job: Job, command: Command, told: Told, plan: Planned, pace: Pace) -> None:
        self._job, self._command, self._told = job, command, told
        self._plan, self._pace = plan, pace
        self._follower = Follower(job, plan, told)
        self._failures: list[str] = []

    def settle_last(self) -> None:
        """Find what an earlier process of ours left behind: follow it while it runs, and see how it ended."""
        number = self._number()
        attempt = self._job.attempt(number)
        if number == 0 or (attempt / ENDED).exists():
            return
        started = Started.read(attempt / STARTED)
        self._follower.take_up(number)
        process = started.process(attempt / STARTED) if started else None
        hung = False
        if process:
            self._told.screen.note(f"verl is still at work (process {process.pid}): following it")
            hung = self._follow(attempt, process.is_running)
        # Not one of this process' starts: it counts for nothing, and is only told.
        self._conclude(number, None, hung)

    def is_done(self) -> bool:
        """Whether the weights of the last planned step lie there, whole."""
        found = last_whole(self._job, self._plan)
        if found is None or found.step != self._plan.steps:
            return False
        if self._follower.step < found.step:
            self._follower.skip_to(found.step)
        return True

    def start_again(self) -> None:
        """One start, from the last whole checkpoint or from the beginning, up to its end."""
        plan, found = self._plan, last_whole(self._job, self._plan)
        if len(self._failures) >= plan.attempts:
            raise StageError(self._refusal())
        number = self._number() + 1
        attempt = self._job.attempt(number)
        attempt.mkdir(parents=True)
        self._follower.begin(number, found.step if found else 0)
        if found:
            self._told.screen.note(f"verl goes on from step {found.step} of {plan.steps}")
        words, environment = start_words(self._job, plan, self._command, attempt, found)
        write_json(attempt / "words.json", {"words": words, "environment": environment})
        process, started = processes.start(words, attempt, environment, self._job.folder)
        started.write(attempt / STARTED, resumed=found.step if found else 0)
        hung = self._follow(attempt, lambda: process.poll() is None)
        why = self._conclude(number, process, hung)
        if why:
            self._failures.append(why)
        if why and reasons.is_final(attempt / CONSOLE):
            raise StageError(self._refusal())

    def _follow(self, attempt: Path, runs: Callable[[], bool]) -> bool:
        """Read on until the attempt ends or is asked to stop; true if it stood still and was ended."""
        pace, last, seen = self._pace, time.monotonic(), -1
        begun = self._follower.step
        while runs():
            try:
                self._follower.read()
            except StageError:
                processes.stop(attempt, pace.grace_s, pace.poll_s)
                raise
            if self._told.stop_asked():
                self._stop(attempt)
            if (size := _size(attempt)) != seen:
                last, seen = time.monotonic(), size
            elif time.monotonic() - last > pace.quiet_s:
                processes.stop(attempt, pace.grace_s, pace.poll_s)
                return True
            if self._follower.step == begun:
                self._told.screen.waiting("verl starts: Ray, the sampler, the weights")
            time.sleep(pace.poll_s)
        return False

    def _stop(self, attempt: Path) -> None:
        processes.stop(attempt, self._pace.grace_s, self._pace.poll_s)
        self._follower.read()
        write_json(
            attempt / ENDED, {"code": None, "reason": "stopped on request", "step": self._follower.step}
        )
        found = last_whole(self._job, self._plan)
        raise Interrupted(
            f"stopped after step {self._follower.step} of {self._plan.steps} of {self._job.folder.name}; "
            "the next "
            f"start goes on from the checkpoint of step {found.step if found else 0}"
        )

    def _conclude(self, number: int, process: subprocess.Popen[bytes] | None, hung: bool) -> str | None:
        """Read the attempt's last lines, end what it left running; why it ended, None where it is done."""
        attempt, pace = self._job.attempt(number), self._pace
        # of one that ended by itself Ray's own processes are about to follow
        processes.stop(attempt, min(pace.grace_s, LEFT_S), pace.poll_s)
        self._follower.read()
        code = process.wait() if process else None
        found, step = last_whole(self._job, self._plan), self._follower.step
        done = found is not None and found.step == self._plan.steps
        why = "done" if done else self._why(attempt, code, hung)
        write_json(attempt / ENDED, {"code": code, "reason": why, "step": step})
        if done:
            return None
        self._follower.note(f"verl ended after step {step} of {self._plan.steps}: {why}")
        return f"start {number}, after step {step}: {why}"

    def _why(self, attempt: Path, code: int | None, hung: bool) -> str:
        if hung:
            return f"it stood still for {self._pace.quiet_s / 60:.0f} minutes and was ended"
        if code == 0:
            record = read_record(attempt / STARTED, "resumed")
            steps = self._follower.step - (record["resumed"] if record else 0)
            return (
                f"exit code 0 after {steps} steps, without a whole checkpoint of step {self._plan.steps}: "
                "verl calls "
                "that a success (total_epochs too few, save_freq, or prompts too few?)"
            )
        return reasons.reason(attempt / CONSOLE, code)

    def _refusal(self) -> str:
        attempt = self._job.attempt(self._number())
        lines = [f"  {line}" for line in self._failures]
        lines += ["  the console's last lines:", *(f"    {line}" for line in reasons.tail(attempt / CONSOLE))]
        starts = "1 start" if len(self._failures) == 1 else f"{len(self._failures)} starts"
        return (
            f"verl did not reach step {self._plan.steps} of {self._job.folder} in {starts}:\n"
            + "\n".join(lines)
            + f"\n  all of it: {attempt / CONSOLE}. Give the same command again to go on from the last "
            "checkpoint"
        )

    def _number(self) -> int:
        """Of the last start; 0 if there was none."""
        folder = self._job.attempt(0).parent
        return max((int(p.name) for p in folder.glob("[0-9]*") if p.name.isdecimal()), default=0)


def start_words(
    job: Job, plan: Planned, command: Command, attempt: Path, found: Saved | None
) -> tuple[list[str], dict[str, str]]:
    """The command line of a start, and the variables that it needs beside ours."""
    environment = dict(plan.environment) | {
        "VERL_FILE_LOGGER_PATH": str((attempt / METRICS).resolve()),
        MARK: str(attempt.resolve()),
    }
    own = [
        f"trainer.default_local_dir={quoted(str(job.checkpoints.resolve()))}",
        # never `auto`: see `checkpoints`
        *(
            [
                "trainer.resume_mode=resume_path",
                f"trainer.resume_from_path={quoted(str(found.folder.resolve()))}",
            ]
            if found
            else ["trainer.resume_mode=disable"]
        ),
    ]
    if plan.kind == "rl":
        # The process that writes the metrics is a worker of Ray: on a cluster that runs already it has that
        # cluster's variables and not those of the program that asked for it.
        own += [f"++ray_kwargs.ray_init.runtime_env.env_vars.{k}={quoted(v)}" for k, v in environment.items()]
    # unnamed, Ray would join the cluster that was started last on this machine, whoever's it is
    environment["RAY_ADDRESS"] = command.ray_address or "local"
    taken = {_key(line) for line in own}  # these take the place of the job's own: hydra takes no `+` twice
    given = [line for line in read_overrides(job) if _key(line) not in taken]
    words = [*command.python, *plan.entry, *given, *own]
    return words, environment


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def quoted(value: str) -> str:
    """A value of a hydra override, as its grammar wants text that holds more than names and slashes."""
    if re.fullmatch(r"[\w./:@-]+", value) and not re.fullmatch(
        r"[\d.e-]+|null|true|false", value, re.IGNORECASE
    ):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _size(attempt: Path) -> int:
    """Bytes of all that an attempt has said so far."""
    paths: Sequence[Path] = [attempt / METRICS, attempt / CONSOLE, *(attempt / "replies").glob("*.jsonl")]
    return sum(path.stat().st_size for path in paths if path.is_file())
