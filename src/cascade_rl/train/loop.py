"""What every stage's loop shares: resume, journals, saves, faults, and the proof that something was learnt.

steps = Steps(run, ...)
for step, learner in steps:      # from the last saved step on
    ...
    steps.done(report)
return Trained(steps.finish())
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, Protocol

from safetensors.torch import load_file, save_file

from cascade_rl.errors import Interrupted, StageError
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.model.peaks import machine_name
from cascade_rl.run.alarms import lost, warnings
from cascade_rl.run.files import Saving
from cascade_rl.run.folder import STATE
from cascade_rl.train.heldout_loss import HeldoutLoss, Watch
from cascade_rl.train.learner import Learner
from cascade_rl.train.stage_run import S, StageRun
from cascade_rl.train.state import latest_state, read_state, save_state
from cascade_rl.types import StepReport

MAX_SKIPPED = 5  # updates in a row that were not finite: then it is no accident


class Resumable(Protocol):
    """What a kind of stage has to remember between steps, as JSON."""

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state."""
        ...


class Forgetful:
    """A stage whose steps depend on their number alone."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to take up."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best probed step so far, with the file that holds its weights."""

    step: int
    score: float
    file: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many steps had a gradient, were not finite, and were so in a row up to now; and the best probed."""

    signal: int = 0
    skipped: int = 0
    in_a_row: int = 0
    best: Best | None = None

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Tally:
        """From a saved state."""
        best = Best(**row["best"]) if row["best"] else None
        return cls(row["signal"], row["skipped"], row["in_a_row"], best)

    def after(self, metrics: Mapping[str, float]) -> Tally:
        """With one step more; metrics name no `signal` where every step has one."""
        skipped = bool(metrics.get("skipped", 0))
        signal = not skipped and metrics.get("signal", 1) > 0
        in_a_row = self.in_a_row + 1 if skipped else 0
        return replace(self, signal=self.signal + signal, skipped=self.skipped + skipped, in_a_row=in_a_row)


class Steps(Generic[S]):
    """The steps of a stage that are still to do, as (number, learner); each ends with `done(report)`.

    Around each step it writes journals, warns, probes and saves. Raises StageError when updates keep failing
    or the loss is far above its start for good, Interrupted after a request to stop, once the step is saved.
    `chance` is the loss of a model that knows nothing; None where the loss is no measure of the model.
    `heldout` is measured on the way, and `watch` tells what came of it.
    """

    def __init__(
        self,
        run: StageRun[S],
        memory: Resumable | None = None,
        phase: Callable[[int], str] = lambda step: "",
        *,
        chance: float | None = None,
        heldout: HeldoutLoss | None = None,
    ) -> None:
        self._run, self._phase, self._chance = run, phase, chance
        self._memory = memory or Forgetful()
        self.watch = Watch(run, heldout)
        self._total = run.stage.planned_steps
        # of the stage's first weights, also when a resume loads others below: `finish` compares with these
        self._incoming = weights_hash(run.world.replicas.flat(run.model))
        self._learner = Learner(run.world.replicas, run.model, run.stage, run.seed)
        self._tally = Tally()
        self._report: StepReport | None = None

    def __iter__(self) -> Iterator[tuple[int, Learner]]:
        run = self._run
        start, self._tally = _resume(run, self._learner, self._memory)
        if run.peaks:
            device = run.world.replicas.device
            machine = {"device": device.type, "name": machine_name(device)}
            run.book.times(start, {}, peaks=asdict(run.peaks), machine=machine)
        if start == 0:
            self.watch.begin()
            self._save(0)
        history = run.book.history()  # after the cut, so that alarms see what an uninterrupted run saw
        for step in range(start, self._total):
            run.world.replicas.worked.clear()  # of probes since the last step: no work of this one
            self._report = None
            yield step, self._learner
            report = self._reported(step)  # an update that nobody reported must not be saved
            history.append(report.metrics)
            self._write(report, history)
            self._refuse_lost(history)  # before the save: the last state is of a model that could be used
            if why := self.watch.after(step + 1):
                _refuse(run, why)
            self._tally = replace(self._tally, best=_probe(run, step + 1, self._learner, self._tally.best))
            stopping = run.stop_asked()
            # probe first: the state names the best step so far, whose file must lie there by then
            if stopping or (step + 1) % run.stage.save_every == 0 or step + 1 == self._total:
                self._save(step + 1)
            if stopping:
                raise Interrupted(f"stopped after step {step + 1} of {self._total} of {run.stage.name}")

    def done(self, report: StepReport) -> None:
        """End the step; its metrics hold `skipped` (1: not finite) and, where it may be 0, `signal`."""
        self._report = report

    def finish(self) -> int:
        """The step whose weights the model now holds; raises StageError when the stage trained nothing."""
        run, total, tally = self._run, self._total, self._tally
        self._refuse_lost(run.book.history(), ended=True)
        if tally.signal == 0:
            journal = run.book.folder / "journal.jsonl"
            _nothing(
                run,
                f"in {total} steps no group had mixed rewards ({tally.skipped} updates were skipped). Every "
                f"reply earned the same: see solved_all, solved_none, clipped and failed in {journal}; "
                "longer responses, easier problems or more SFT may help",
            )
        handed_over = _hand_over(run, tally.best, total)
        # a gradient alone proves nothing: steps below the rounding of fp32 move no weight
        if tally.signal and weights_hash(run.world.replicas.flat(run.model)) == self._incoming:
            _nothing(run, f"after {total} steps the weights are those it started from")
        if run.stage.lora and not tally.best:  # with probes the adapter of the best step lies there already
            self._learner.save_adapter(run.book.folder / "adapter", run.start, run.export_dtype)
        return handed_over

    def _refuse_lost(self, history: Sequence[Mapping[str, float]], *, ended: bool = False) -> None:
        if self._chance is None:
            return
        losses = [float(metrics["loss"]) for metrics in history]
        if not lost(losses, self._chance, ended=ended):
            return
        _refuse(
            self._run,
            f"{self._run.stage.name} diverged: its loss was {losses[0]:.3g} at the first step and is "
            f"{losses[-1]:.3g} after {len(losses)}, worse than knowing nothing ({self._chance:.3g}); lower "
            "the learning rate or raise warmup_steps, and go on with --accept-changes",
        )

    def _reported(self, step: int) -> StepReport:
        if self._report is None or self._report.step != step:
            raise RuntimeError(f"step {step} ended without done(report)")
        return self._report

    def _write(self, report: StepReport, history: list[Mapping[str, float]]) -> None:
        """Journals, tally, alarms and the screen, in this order: the journal's bytes depend on it."""
        run, step, phase = self._run, report.step, self._phase(report.step)
        run.book.step(report, phase)
        work = {
            name: asdict(done) | ({"bound_s": done.seconds(run.peaks)} if run.peaks else {})
            for name, done in run.world.replicas.worked.items()
        }
        run.book.times(step, report.seconds, counts=dict(report.counts), work=work)
        self._count(report)  # may end the stage; the step that did it stands in the journal by then
        for text in warnings(history):
            run.note(step, text)
        for text in self._learner.notes:  # decided by the free memory, so that they belong beside the timings
            run.book.times(step, {}, memory=text)
            run.screen.note(text)
        self._learner.notes.clear()
        run.screen.step(report, self._total, phase)

    def _count(self, report: StepReport) -> None:
        self._tally = self._tally.after(report.metrics)
        if self._tally.in_a_row:
            self._run.note(report.step, "loss or gradient was not finite: this update was skipped")
        if self._tally.in_a_row >= MAX_SKIPPED:
            raise StageError(
                f"{self._run.stage.name}: {MAX_SKIPPED} updates in a row were not finite; lower the learning "
                "rate"
            )

    def _save(self, step: int) -> None:
        """The journals are synced first: their offsets say how far back a resume has to cut them."""
        run, begin = self._run, time.perf_counter()
        offsets = run.book.offsets()
        loop = {"step": step, "offsets": offsets, "loop": self._memory.state(), "tally": asdict(self._tally)}
        flat = run.world.replicas.flat(run.model)
        save_state(run.book.folder / STATE, step, flat, self._learner.save, loop)
        run.book.times(step, {"save": time.perf_counter() - begin})


def _resume(run: StageRun[S], learner: Learner, memory: Resumable) -> tuple[int, Tally]:
    """The first step to do, with model, learner, memory and journals as they were before it."""
    state, damaged = latest_state(run.book.folder / STATE)
    for path in damaged:
        run.screen.note(f"{path.name} is damaged (checksum): falling back to the state before it")
    if state is None:
        run.book.cut({})  # lines of steps before a kill: they are made again
        return 0, Tally()
    flat, loop = read_state(state)
    run.world.replicas.load(run.model, flat)
    learner.load(state)
    memory.restore(loop["loop"])
    run.book.cut(loop["offsets"])
    step = int(loop["step"])
    if step:
        run.screen.note(f"resuming {run.stage.name} at step {step} of {run.stage.planned_steps}")
    return step, Tally.of_json(loop["tally"])


def _probe(run: StageRun[S], done: int, learner: Learner, best: Best | None) -> Best | None:
    """Policy `best`: score the weights after `done` steps; the best so far, which a file keeps."""
    if run.probe is None or (done % run.probe.every and done < run.stage.planned_steps):
        return best
    scores = run.probe.score(done)
    mean = sum(scores.values()) / len(scores)
    run.book.probe(done, mean, scores)
    if best is not None and mean <= best.score:
        return best
    name = f"best-{done:06d}.safetensors"
    flat = run.world.replicas.flat(run.model)
    with Saving(run.book.folder / name):
        save_file({"weights": flat.detach().cpu().clone()}, run.book.folder / name)
    if run.stage.lora:
        learner.save_adapter(run.book.folder / "adapter", run.start, run.export_dtype)
    return Best(done, mean, name)


def _hand_over(run: StageRun[S], best: Best | None, total: int) -> int:
    """Load the best step's weights if it was not the last; the step that the model now holds."""
    if best and best.step != total:
        run.world.replicas.load(run.model, load_file(run.book.folder / best.file)["weights"])
        run.screen.note(
            f"{run.stage.name}: handing over step {best.step} ({best.score:.3f} on validation), not the last"
        )
    # only now: until the end a resume may go back to a state that names an older best
    for old in run.book.folder.glob("best-*.safetensors"):
        if not best or old.name != best.file:
            old.unlink()
    return best.step if best else total


def _nothing(run: StageRun[S], why: str) -> None:
    """A stage that trained nothing is an error, never "completed"; only a smoke test goes on."""
    _refuse(run, f"{run.stage.name} trained nothing: {why}")


def _refuse(run: StageRun[S], text: str) -> None:
    """End the stage; a smoke test, which shows the path and not the result, only notes it."""
    if not run.smoke:
        raise StageError(text)
    run.screen.note(f"{text} (goes on, since this is a smoke test)")
