"""The loss on what a stage does not train on: measured on the way, told, and a reason to stop.

SFT measures the likelihood of replies that were held out (`likelihood`), a reward model Bradley-Terry's loss
on its held-out pairs (`pair_scores`). The same rows every time, so that two figures differ by the weights
alone: they need no ten steps to be believed, as the loss of batches does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cascade_rl.run.alarms import drifted, overfits
from cascade_rl.train.stage_run import S, StageRun


@dataclass(frozen=True, slots=True)
class HeldoutLoss:
    """What is measured every so many steps: `measure()` gives `loss`, and what else there is to tell.

    what  is measured, in words
    """

    every: int
    what: str
    measure: Callable[[], dict[str, float]]


class Watch:
    """Measures at the beginning, every so many steps and at the end of a stage; knows nothing between steps.

    What was measured stands in the journal, which a resume cuts back to its state: nothing has to be saved.
    """

    def __init__(self, run: StageRun[S], heldout: HeldoutLoss | None) -> None:
        self._run, self._heldout = run, heldout

    def begin(self) -> None:
        """Before the first step, unless the journal has it."""
        if self._heldout and not self._run.book.heldouts():
            self._measure(self._heldout, 0)

    def after(self, done: int) -> str | None:
        """After `done` steps; why the stage has to stop, if it has to."""
        run, heldout = self._run, self._heldout
        ended = done == run.stage.planned_steps
        if heldout is None or (done % heldout.every and not ended):
            return None
        self._measure(heldout, done)
        losses = [metrics["loss"] for _, metrics in run.book.heldouts()]
        if overfits(losses) and not overfits(losses[:-1]):
            risen = f"{losses[-1]:.3g} after {min(losses):.3g}"
            text = (
                f"alarm: held-out loss above its lowest ({risen}): the stage overfits; train for fewer epochs"
            )
            run.note(done - 1, text)
        if not drifted(losses, ended=ended):
            return None
        return (
            f"{run.stage.name} drifted away: its loss on {heldout.what} was {losses[0]:.3g} before the first "
            f"step and is {losses[-1]:.3g} after {done}; lower the learning rate or train for fewer epochs, "
            "and go on with --accept-changes"
        )

    def facts(self) -> dict[str, Any]:
        """What a stage's record says of it, once it has ended; nothing where nothing was held out."""
        if not (self._heldout and (found := self._run.book.heldouts())):
            return {}
        step, lowest = min(found, key=lambda pair: pair[1]["loss"])
        return {
            "heldout_loss": {
                "what": self._heldout.what,
                "start": found[0][1]["loss"],
                "end": found[-1][1]["loss"],
                "lowest": lowest["loss"],
                "lowest_step": step,
                "last": dict(found[-1][1]),
            }
        }

    def lines(self) -> tuple[str, ...]:
        """The same for people."""
        facts = self.facts().get("heldout_loss")
        if not facts:
            return ()
        return (
            f"held-out loss on {facts['what']}: {facts['start']:.4g} before the first step, "
            f"{facts['end']:.4g} after the last (lowest {facts['lowest']:.4g}, after {facts['lowest_step']})",
        )

    def _measure(self, heldout: HeldoutLoss, done: int) -> None:
        run, begin = self._run, time.perf_counter()
        run.screen.waiting("held-out loss")
        metrics = heldout.measure()
        run.book.heldout(done, metrics)
        run.book.times(done, {"heldout": time.perf_counter() - begin})
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        run.screen.note(f"{run.stage.name}: held out, after {done} steps: {told}")
