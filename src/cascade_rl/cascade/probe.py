"""What policy `best` looks at between the steps of a stage."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.cascade.run import Run
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.recipe import Stage
from cascade_rl.run.journal import read_lines
from cascade_rl.train.stage_run import Probe


def probe_of(run: Run) -> Probe | None:
    """Policy `best`: all domains on validation problems, which no benchmark uses."""
    every = run.recipe.gate.probe_every
    if not run.materials.probes or every is None:
        return None

    def score(step: int) -> dict[str, float]:
        run.screen.waiting("probe")
        # The same seed at every step, so that steps differ by their weights and not by their draws; and
        # another one than the evaluation's.
        found = {
            probe.name: run_benchmark(probe, run.world.sampler, run.world.services, ("probe",))
            for probe in run.materials.probes
        }
        return {name: probed.score.score.mean for name, probed in found.items()}

    return Probe(every, score)


def probed_too_late(run: Run, stage: Stage, folder: Path) -> bool:
    """Whether policy `best` came into the recipe after a stage was done, which then has no step to choose.

    The policy is in no key: the weights of other steps are gone, and training anew is not what it asks for.
    """
    if run.recipe.gate.policy != "best" or stage.trains != "policy":
        return False
    return not any(line["kind"] == "probe" for line in read_lines(folder / "journal.jsonl"))
