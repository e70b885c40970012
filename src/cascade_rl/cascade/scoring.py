"""After a stage: its scorecard, what the gate says of it, and the model card of its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.cascade.run import Progress, Run
from cascade_rl.domain import Benchmark
from cascade_rl.errors import Interrupted
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.recipe import Recipe, Stage, digest
from cascade_rl.report.card import Card, write_card
from cascade_rl.run.files import read_record, write_json
from cascade_rl.run.folder import stage_folders
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.scores.as_json import from_json, gate_to_json, matrix_to_json, scorecard_to_json, to_json
from cascade_rl.scores.gate import GateResult, decide
from cascade_rl.scores.matrix import matrix
from cascade_rl.types import BenchmarkScore, Scorecard

SCORED = ("key", "headline", "modes")  # what the file of a benchmark holds at least


@dataclass(frozen=True, slots=True)
class Scored:
    """What a stage scored, what the gate says, and how many seconds that took here."""

    card: Scorecard
    gate: GateResult
    seconds: float


def score_stage(run: Run, stage: Stage, folder: Path, weights: str, earlier: Sequence[Scorecard]) -> Scored:
    """Run the benchmarks that are not done yet, judge, and write scorecard, gate and model card.

    `weights` are the hash of those that the workers hold; `earlier` the scorecards of the stages before.
    """
    begin = time.perf_counter()
    # One file a benchmark, written as soon as it is done: a kill costs one evaluation, not all.
    scores = {b.name: _benchmark(run, b, folder, weights) for b in run.materials.benchmarks}
    card = Scorecard(stage.name, scores)
    cards = [*earlier, card]
    # Decided anew each time, also for kept stages: dips and waivers of the recipe may have changed.
    result = decide(cards, [s.name for s in run.recipe.stages], run.recipe.gate)
    write_json(folder / "scorecard.json", scorecard_to_json(card))
    write_json(folder / "gate.json", gate_to_json(result))
    if not result.passed:
        run.screen.note(f"gate after {stage.name}: {'; '.join(result.notes)}")
    # from the disk: of a kept stage nothing else is at hand
    facts = read_record(folder / "stage.json", "stage", "settings", "data", "lineage") or {}
    write_card(folder / "checkpoint", Card(facts, cards, own_stages(run.recipe), result))
    return Scored(card, result, time.perf_counter() - begin)


def own_stages(recipe: Recipe) -> dict[str, str]:
    """Each benchmark with the stage that trains for it."""
    return {benchmark.name: recipe.own_stage(benchmark) for benchmark in recipe.benchmarks}


def run_matrix(recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """The content of matrix.json after some stages."""
    return matrix_to_json(matrix(progress.cards, own_stages(recipe), progress.seconds))


def all_seconds(stage: Stage, folder: Path, training: float, evaluation: float) -> float:
    """Write the evaluation's time, and count what earlier, interrupted processes spent on the stage."""
    journal = Journal(folder / "timings.jsonl")
    journal.write({"step": stage.planned_steps, "seconds": {"evaluation": evaluation}})
    journal.close()
    # The arguments are of this process alone; the lines are of all, but know no pre-flight or export.
    total = sum(sum(line["seconds"].values()) for line in read_lines(folder / "timings.jsonl"))
    return max(training + evaluation, total)


def benchmark_key(benchmark: Benchmark, weights: str) -> str:
    """What makes a score this one: how it was drawn, by which weights, and the problems with their answers.

    The grader's code is no part of it: after mending one, the score on file stays.
    """
    # content, not ids alone: a corrected answer under the same id is another benchmark
    content = [[problem.asked(), problem.answer] for problem in benchmark.problems]
    return digest([benchmark.spec.model_dump(mode="json"), weights, content])


def _benchmark(run: Run, benchmark: Benchmark, folder: Path, weights: str) -> BenchmarkScore:
    """The score of one benchmark; read where it is known for these weights, this spec and these problems."""
    key = benchmark_key(benchmark, weights)
    path = folder / "eval" / f"{benchmark.name}.json"
    found = read_record(path, *SCORED) or _same_weights(run.folder, benchmark.name, key)
    if found and found["key"] == key:
        if not path.exists():
            write_json(path, found)
        return from_json(found)[1]
    # between benchmarks only: one that has begun is finished or lost
    if run.stop_asked():
        raise Interrupted(f"stopped before the benchmark {benchmark.name} of {folder.name}")
    run.screen.waiting(f"evaluation: {benchmark.name}")
    scored = run_benchmark(benchmark, run.world.sampler, run.world.services, ("evaluation",))
    if scored.failed:
        run.screen.note(
            f"{benchmark.name}: {scored.failed} of {scored.verdicts} verdicts failed and count as wrong"
        )
    write_json(path, to_json(benchmark.name, scored.score) | {"key": key, "failed": scored.failed})
    return scored.score


def _same_weights(run: Path, name: str, key: str) -> Mapping[str, Any] | None:
    """The result of an earlier stage with the same weights: a reward model leaves the policy as it is."""
    for folder in stage_folders(run):
        found = read_record(folder.path / "eval" / f"{name}.json", *SCORED)
        if found and found["key"] == key:
            return found
    return None
