"""What policy `best` looks at between the steps of a stage."""

from __future__ import annotations

from pathlib import Path

from cascade_rl.cascade.judging import reward_models, score_benchmark
from cascade_rl.cascade.run import Run
from cascade_rl.recipe import Stage
from cascade_rl.run.journal import read_lines
from cascade_rl.train.stage_run import Probe


def probe_of(run: Run, stage: Stage) -> Probe | None:
    """Policy `best`: all domains on validation problems, which no benchmark uses.

    Own pairs only once an earlier stage has made the reward model that judges them.
    """
    every, judges = run.recipe.gate.probe_every, reward_models(run, stage.name)
    wanted = {probe.name: run.recipe.judge_of(probe.spec) for probe in run.materials.probes}
    probes = [p for p in run.materials.probes if (judge := wanted[p.name]) is None or judge in judges]
    if not probes or every is None:
        return None

    def score(step: int) -> dict[str, float]:
        run.screen.waiting("probe")
        # The same seed at every step, so that steps differ by their weights and not by their draws; and
        # another one than the evaluation's.
        found = {
            probe.name: score_benchmark(run.world, probe, ("probe",), judges.get(wanted[probe.name] or ""))[0]
            for probe in probes
        }
        return {name: probed.score.score.mean for name, probed in found.items()}

    return Probe(every, score)


def probed_too_late(run: Run, stage: Stage, folder: Path) -> bool:
    """Whether policy `best` came into the recipe after a stage was done, which then has no step to choose.

    The policy is in no key: the weights of other steps are gone, and training anew is not what it asks for.
    """
    if run.recipe.gate.policy != "best" or stage.trains != "policy" or probe_of(run, stage) is None:
        return False
    return not any(line["kind"] == "probe" for line in read_lines(folder / "journal.jsonl"))
