"""After a stage: its scorecard, what the gate says of it, and the model card of its checkpoint.

Before the first one likewise the scorecard of the base model, if the recipe asks for it: there is no gate
yet, and its files lie in the base model's own folder.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.cascade.cards import own_stages, write_cards
from cascade_rl.cascade.judging import PairJudge, reward_models, score_benchmark
from cascade_rl.cascade.run import Progress, Run, base_folder
from cascade_rl.domain import HeldOut
from cascade_rl.errors import Interrupted
from cascade_rl.recipe import BASE, Recipe, Stage, digest
from cascade_rl.run.answers import SHOWN, write_answers
from cascade_rl.run.files import read_record, write_json
from cascade_rl.run.folder import stage_folders
from cascade_rl.run.journal import Journal, read_lines
from cascade_rl.scores.as_json import from_json, gate_to_json, matrix_to_json, scorecard_to_json, to_json
from cascade_rl.scores.gate import GateResult, decide
from cascade_rl.scores.judged import Judged
from cascade_rl.scores.matrix import matrix
from cascade_rl.types import BenchmarkScore, Scorecard


@dataclass(frozen=True, slots=True)
class _One:
    """One benchmark's score and, of own pairs, who judged it; `seconds` that it took here, 0 if known."""

    score: BenchmarkScore
    judged: Judged | None
    seconds: float = 0.0


SCORED = ("key", "headline", "modes")  # what the file of a benchmark holds at least


@dataclass(frozen=True, slots=True)
class Scored:
    """What a stage scored, what the gate says, and how many seconds that took here."""

    card: Scorecard
    gate: GateResult
    seconds: float


def score_stage(
    run: Run,
    stage: Stage,
    folder: Path,
    weights: str,
    earlier: Sequence[Scorecard],
    exports: Mapping[str, str],
) -> Scored:
    """Run the benchmarks that are not done yet, judge, and write scorecard, gate and model card.

    `weights` are the hash of those that the workers hold; `earlier` the scorecards of the stages before;
    `exports` what this one exported beside its checkpoint.
    """
    begin = time.perf_counter()
    # One file a benchmark, written as soon as it is done: a kill costs one evaluation, not all.
    judges = reward_models(run, stage.name, exports)
    found = {
        b.name: _benchmark(run, b, folder, weights, judges, before)
        for b, before in shares_before(run.materials.benchmarks)
    }
    scored = {name: one for name, one in found.items() if one}
    judged = {name: one.judged for name, one in scored.items() if one.judged}
    card = Scorecard(stage.name, {name: one.score for name, one in scored.items()})
    cards = [*earlier, card]
    # Decided anew each time, also for kept stages: dips and waivers of the recipe may have changed.
    result = decide(cards, run.recipe.scored, run.recipe.gate)
    told = {"judged": {name: one.to_json() for name, one in judged.items()}} if judged else {}
    write_json(folder / "scorecard.json", scorecard_to_json(card) | told)
    write_json(folder / "gate.json", gate_to_json(result))
    if not result.passed:
        run.screen.note(f"gate after {stage.name}: {'; '.join(result.notes)}")
    write_cards(folder, run.recipe, cards, result, judged)
    return Scored(card, result, time.perf_counter() - begin)


def score_base(run: Run, progress: Progress) -> Progress:
    """`progress` before the first stage with the base model's scores, where the recipe asks for them.

    The workers must hold the base model. Only what has no file yet is measured. Own pairs are left out: their
    reward model is still to come.
    """
    if not run.recipe.score_base:
        return progress
    folder = base_folder(run.folder)
    kept = (folder / "scorecard.json").is_file()
    run.screen.note(
        f"{BASE} is done: kept" if kept else f"{BASE}: the model before the first stage is scored"
    )
    scores = {}
    for benchmark, before in shares_before(run.materials.benchmarks):
        one = _benchmark(run, benchmark, folder, progress.weights, {}, before)
        if one is None:
            continue
        scores[benchmark.name] = one.score
        if one.seconds:
            # at once: no ledger's line will say what earlier, interrupted processes spent
            _tell_seconds(folder, 0, one.seconds)
    card = Scorecard(BASE, scores)
    write_json(folder / "scorecard.json", scorecard_to_json(card))
    after = replace(progress, cards=(card,), seconds={BASE: _told_seconds(folder)})
    write_json(run.folder / "matrix.json", run_matrix(run.recipe, after))
    run.screen.scores(run_matrix(run.recipe, after), {})
    return after


def run_matrix(recipe: Recipe, progress: Progress) -> dict[str, Any]:
    """The content of matrix.json after some stages."""
    return matrix_to_json(matrix(progress.cards, own_stages(recipe), progress.seconds))


def all_seconds(stage: Stage, folder: Path, training: float, evaluation: float) -> float:
    """Write the evaluation's time, and count what earlier, interrupted processes spent on the stage."""
    _tell_seconds(folder, stage.planned_steps, evaluation)
    # The arguments are of this process alone; the lines are of all, but know no pre-flight or export.
    return max(training + evaluation, _told_seconds(folder))


def _tell_seconds(folder: Path, step: int, evaluation: float) -> None:
    journal = Journal(folder / "timings.jsonl")
    journal.write({"step": step, "seconds": {"evaluation": evaluation}})
    journal.close()


def _told_seconds(folder: Path) -> float:
    return sum(sum(line["seconds"].values()) for line in read_lines(folder / "timings.jsonl"))


def benchmark_key(benchmark: HeldOut, weights: str, judge: str | None = None) -> str:
    """What makes a score this one: how it was drawn, by which weights, and the problems with their answers.

    With `judge`, the weights of the reward model that judges own pairs. The grader's code is no part of it:
    after mending one, the score on file stays.
    """
    # content, not ids alone: a corrected answer under the same id is another benchmark
    content = [[problem.asked(), problem.answer] for problem in benchmark.problems]
    made = [benchmark.spec.model_dump(mode="json"), weights, content]
    return digest([*made, judge] if judge else made)


def shares_before(benchmarks: Sequence[HeldOut]) -> list[tuple[HeldOut, float]]:
    """Each benchmark with the share (0 to 1) of an evaluation before it, by the most tokens of replies."""
    most = [len(b.problems) * b.spec.replies * b.spec.max_response_tokens for b in benchmarks]
    return [(b, sum(most[:place]) / sum(most)) for place, b in enumerate(benchmarks)]


def _benchmark(
    run: Run, benchmark: HeldOut, folder: Path, weights: str, judges: Mapping[str, PairJudge], before: float
) -> _One | None:
    """The score of one benchmark; read where it is known for these weights, this spec and these problems.

    None of own pairs whose reward model is still to come. `before` is the share of the evaluation that
    lies behind.
    """
    name = run.recipe.judge_of(benchmark.spec)
    judge = judges.get(name) if name else None
    if name and judge is None:
        return None
    key = benchmark_key(benchmark, weights, judge.exported.weights if judge else None)
    path = folder / "eval" / f"{benchmark.name}.json"
    found = read_record(path, *SCORED) or _same_weights(run.folder, benchmark.name, key)
    if found and found["key"] == key:
        if not path.exists():
            write_json(path, found)
        return _One(from_json(found)[1], Judged.of_json(found.get("judged", {})) if judge else None)
    # between benchmarks only: one that has begun is finished or lost
    if run.stop_asked():
        raise Interrupted(f"stopped before the benchmark {benchmark.name} of {folder.name}")
    begin = time.perf_counter()
    run.screen.waiting(f"evaluation: {benchmark.name}", before)
    scored, judged = score_benchmark(run.world, benchmark, ("evaluation",), judge)
    if scored.failed:
        run.screen.note(
            f"{benchmark.name}: {scored.failed} of {scored.verdicts} verdicts failed and count as wrong"
        )
    told = {"judged": judged.to_json()} if judged else {}
    # before the score, which says that all is there
    write_answers(path, scored.answers(benchmark.problems[:SHOWN]))
    write_json(path, to_json(benchmark.name, scored.score) | {"key": key, "failed": scored.failed} | told)
    if judged:
        run.screen.note(judged.line(benchmark.name))
    return _One(scored.score, judged, time.perf_counter() - begin)


def _same_weights(run: Path, name: str, key: str) -> Mapping[str, Any] | None:
    """A result of the same weights: a reward model leaves the policy as it is."""
    for folder in (base_folder(run), *(stage.path for stage in stage_folders(run))):
        found = read_record(folder / "eval" / f"{name}.json", *SCORED)
        if found and found["key"] == key:
            return found
    return None
