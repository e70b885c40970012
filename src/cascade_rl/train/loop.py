"""What every stage's loop shares: resume, journals, saves, faults, and the proof that something was learnt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from cascade_rl.domain import Domain, Services
from cascade_rl.errors import Interrupted, StageError
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.model.cost import Peaks
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import Stage
from cascade_rl.run.alarms import warnings
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.run.rollouts import problem_key, stored_group, stored_problem
from cascade_rl.train.learner import Learner
from cascade_rl.train.state import latest_state, read_state, save_state
from cascade_rl.types import Group, StepReport

MAX_SKIPPED = 5
JOURNALS = ("journal", "timings", "samples", "rollouts")


@dataclass(frozen=True, slots=True)
class Probe:
    """Policy `best`: every so many steps, `score(step)` looks at all domains on validation problems (0 to 1 each)."""

    every: int
    score: Callable[[int], dict[str, float]]


@dataclass
class StageRun:
    """The surroundings of one stage: where it writes, with what it works, whom it tells.

    `on_step(report, total, phase)` shows progress; `stop_asked()` turns true after Ctrl-C or SIGTERM; `peaks` are what the
    machine can do, for the bounds beside the times.
    """

    folder: Path
    stage: Stage
    seed: int
    replicas: Replicas
    tokenizer: Tokenizer
    domains: Mapping[str, Domain]
    services: Services
    sampler: Sampler
    model: str = "policy"
    on_step: Callable[[StepReport, int, str], None] = lambda report, total, phase: None
    on_note: Callable[[str], None] = lambda text: None
    stop_asked: Callable[[], bool] = lambda: False
    probe: Probe | None = None
    smoke: bool = False
    peaks: Peaks | None = None
    base: str = ""  # the model that the stage starts from, for the adapter's config
    journals: dict[str, Journal] = field(init=False)
    _stored: set[tuple[str, str]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.journals = {name: Journal(self.folder / f"{name}.jsonl") for name in JOURNALS}

    def note(self, step: int, text: str) -> None:
        """Say something in the journal and on the screen."""
        self.journals["journal"].write({"kind": "note", "step": step, "text": text})
        self.on_note(text)

    def write_times(self, report: StepReport) -> None:
        """What a step took, what it had to do, and how long that takes at least: everything that depends on the clock."""
        work = {
            phase: asdict(done) | ({"bound_s": done.seconds(self.peaks)} if self.peaks else {})
            for phase, done in self.replicas.worked.items()
        }
        extra = {"counts": dict(report.counts), "work": work}
        line = {"step": report.step, "seconds": dict(report.seconds)} | {k: v for k, v in extra.items() if v}
        self.journals["timings"].write(line)

    def note_memory(self, step: int, learner: Learner) -> None:
        """Say what the learner decided by the free memory: beside the timings, since the journal depends on no machine."""
        for text in learner.notes:
            self.journals["timings"].write({"step": step, "seconds": {}, "memory": text})
            self.on_note(text)
        learner.notes.clear()

    def write_samples(self, step: int, groups: list[Group], problems: int = 3, rollouts: int = 2) -> None:
        """Keep a few rollouts for people to read."""
        for group in groups[:problems]:
            for rollout, verdict in list(zip(group.rollouts, group.verdicts, strict=True))[:rollouts]:
                p = group.problem
                self.journals["samples"].write(
                    {"step": step, "problem": p.id, "domain": p.domain, "mode": str(p.mode), "prompt": p.prompt_text,
                     "reply": rollout.text, "reward": verdict.reward, "outcome": str(verdict.outcome),
                     "note": verdict.note, "tokens": rollout.tokens, "stop": str(rollout.stop)}
                )  # fmt: skip

    def write_rollouts(self, step: int, groups: list[Group]) -> None:
        """Keep every reply with its verdict, so that a mended grader can judge it again; each problem is written once."""
        journal = self.journals["rollouts"]
        if self._stored is None:  # after a resume, what the journal still holds
            self._stored = {
                problem_key(line) for line in read_lines(journal.path) if line["kind"] == "problem"
            }
        for group in groups:
            record = stored_problem(group.problem)
            if problem_key(record) not in self._stored:
                self._stored.add(problem_key(record))
                journal.write(record)
            journal.write(stored_group(step, group))

    def close(self) -> None:
        """Close the journals."""
        for journal in self.journals.values():
            journal.close()


@dataclass(frozen=True, slots=True)
class Steps:
    """What a kind of stage brings: one step, and the loop's own state (JSON) to save and restore.

    `step(n, learner)` returns the report; its metrics hold `skipped` (1 when loss or gradient was not finite) and
    `signal` (0 when no row had a gradient).
    """

    step: Callable[[int, Learner], StepReport]
    phase: Callable[[int], str] = lambda step: ""
    state: Callable[[], dict[str, Any]] = dict
    restore: Callable[[dict[str, Any]], None] = lambda state: None


def run_steps(run: StageRun, steps: Steps) -> int:
    """Run a stage to its end, from the last saved step; returns the step whose weights the model now holds.

    Raises StageError when the stage trained nothing or keeps failing, Interrupted after a request to stop.
    """
    total, incoming = run.stage.planned_steps, weights_hash(run.replicas.flat(run.model))
    learner = Learner(run.replicas, run.model, run.stage, run.seed)
    tally = {"signal": 0, "skipped": 0, "in_a_row": 0, "best": None}
    start = _resume(run, learner, steps, tally)
    if run.peaks:
        run.journals["timings"].write({"step": start, "seconds": {}, "peaks": asdict(run.peaks)})
    if start == 0:
        _save(run, 0, learner, steps, tally)
    history = [line["metrics"] for line in read_lines(run.folder / "journal.jsonl") if line["kind"] == "step"]
    for step in range(start, total):
        run.replicas.worked.clear()
        report = steps.step(step, learner)
        run.journals["journal"].write(
            {"kind": "step", "step": step, "phase": steps.phase(step), "metrics": dict(report.metrics)}
        )
        run.write_times(report)
        _count(run, step, report, tally)
        history.append(report.metrics)
        for text in warnings(history):
            run.note(step, text)
        run.note_memory(step, learner)
        run.on_step(report, total, steps.phase(step))
        _probe(run, step, total, learner, tally)
        stopping = run.stop_asked()
        if stopping or (step + 1) % run.stage.save_every == 0 or step + 1 == total:
            _save(run, step + 1, learner, steps, tally)
        if stopping:
            raise Interrupted(f"stopped after step {step + 1} of {total} of {run.stage.name}")
    handed_over = _finish(run, incoming, tally, total)
    if run.stage.lora and not tally["best"]:
        learner.save_adapter(run.folder / "adapter", run.base)
    return handed_over


def _resume(run: StageRun, learner: Learner, steps: Steps, tally: dict[str, Any]) -> int:
    state, damaged = latest_state(run.folder / "state")
    for path in damaged:
        run.on_note(f"{path.name} is damaged (checksum): falling back to the state before it")
    if state is None:
        for journal in run.journals.values():
            journal.cut(0)
        return 0
    flat, loop = read_state(state)
    run.replicas.load(run.model, flat)
    learner.load(state)
    steps.restore(loop["loop"])
    tally.update(loop["tally"])
    for name, journal in run.journals.items():
        journal.cut(loop["offsets"].get(name, 0))  # a state of an older version knows fewer journals
    if loop["step"]:
        run.on_note(f"resuming {run.stage.name} at step {loop['step']} of {run.stage.planned_steps}")
    return loop["step"]


def _save(run: StageRun, step: int, learner: Learner, steps: Steps, tally: dict[str, Any]) -> None:
    begin = time.perf_counter()
    offsets = {name: journal.sync() for name, journal in run.journals.items()}
    loop = {"step": step, "offsets": offsets, "loop": steps.state(), "tally": tally}
    save_state(run.folder / "state", step, run.replicas.flat(run.model), learner.save, loop)
    run.journals["timings"].write({"step": step, "seconds": {"save": time.perf_counter() - begin}})


def _count(run: StageRun, step: int, report: StepReport, tally: dict[str, Any]) -> None:
    skipped = bool(report.metrics.get("skipped", 0))
    tally["skipped"] += skipped
    tally["in_a_row"] = tally["in_a_row"] + 1 if skipped else 0
    tally["signal"] += not skipped and report.metrics.get("signal", 1) > 0
    if skipped:
        run.note(step, "loss or gradient was not finite: this update was skipped")
    if tally["in_a_row"] >= MAX_SKIPPED:
        raise StageError(
            f"{run.stage.name}: {MAX_SKIPPED} updates in a row were not finite; lower the learning rate"
        )


def _probe(run: StageRun, step: int, total: int, learner: Learner, tally: dict[str, Any]) -> None:
    """Policy `best`: score this step on validation problems and keep weights and adapter of the best one."""
    if run.probe is None or ((step + 1) % run.probe.every and step + 1 < total):
        return
    scores = run.probe.score(step + 1)
    mean = sum(scores.values()) / len(scores)
    run.journals["journal"].write({"kind": "probe", "step": step + 1, "score": mean, "benchmarks": scores})
    if tally["best"] is None or mean > tally["best"]["score"]:
        name = f"best-{step + 1:06d}.safetensors"
        flat = run.replicas.flat(run.model)
        save_file({"weights": flat.detach().cpu().clone()}, run.folder / name)
        if run.stage.lora:
            learner.save_adapter(run.folder / "adapter", run.base)
        tally["best"] = {"step": step + 1, "score": mean, "file": name}


def _finish(run: StageRun, incoming: str, tally: dict[str, Any], total: int) -> int:
    if tally["signal"] == 0:
        _nothing(
            run,
            f"in {total} steps no group had mixed rewards ({tally['skipped']} updates were skipped). Every reply earned "
            f"the same: see solved_all, solved_none, clipped and failed in {run.folder / 'journal.jsonl'}; longer "
            "responses, easier problems or more SFT may help",
        )
    best = tally["best"]
    if best and best["step"] != total:
        run.replicas.load(run.model, load_file(run.folder / best["file"])["weights"])
        run.on_note(
            f"{run.stage.name}: handing over step {best['step']} ({best['score']:.3f} on validation), not the last"
        )
    for old in run.folder.glob("best-*.safetensors"):
        if not best or old.name != best["file"]:
            old.unlink()
    if tally["signal"] and weights_hash(run.replicas.flat(run.model)) == incoming:
        _nothing(run, f"after {total} steps the weights are those it started from")
    return best["step"] if best else total


def _nothing(run: StageRun, why: str) -> None:
    """A stage that trained nothing is an error, never "completed"; only a smoke test goes on."""
    text = f"{run.stage.name} trained nothing: {why}"
    if not run.smoke:
        raise StageError(text)
    run.on_note(f"{text} (goes on, since this is a smoke test)")
