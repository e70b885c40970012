"""What policy `best` looks at between the steps of a stage."""

from __future__ import annotations

from cascade_rl.cascade.run import Run
from cascade_rl.evals.benchmark import run_benchmark
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
