"""All that `cascade compare` shows as one record: numbers, what each thing took, where two differ most."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.report.compare_samples import Stored, read_prompts, read_stored
from cascade_rl.report.compare_things import Thing
from cascade_rl.report.records import Effort, Run, Sample
from cascade_rl.scores.compare import Compared, Farthest, compare_things, farthest, measured, mode_of
from cascade_rl.types import Mode

Key = tuple[str, str]  # a benchmark and the label of a thing


@dataclass(frozen=True, slots=True)
class Took:
    """What a thing's replies and its making took; None where no file says it.

    tokens, leak, clipped  means over the benchmarks that all things have, in the shown mode
    evaluation_s           seconds of the evaluation, of all its benchmarks and modes
    evaluation_rate        tokens of all stored replies over these seconds
    training_s             of a stage, or of all stages of a run, evaluation included
    sampled, trained       tokens a second of RL's rollouts and of updates
    """

    tokens: float | None
    leak: float | None
    clipped: float | None
    evaluation_s: float | None
    evaluation_rate: float | None
    training_s: float | None
    sampled: float | None
    trained: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison with all that stands beside it.

    shared    benchmarks that all things have in the shown mode
    took      by label
    farthest  (benchmark, label) -> the problems on which that thing and the reference differ most
    replies   (benchmark, label) -> problem id -> a typical reply of that thing
    """

    things: tuple[Thing, ...]
    compared: Compared
    shared: tuple[str, ...]
    took: Mapping[str, Took]
    farthest: Mapping[Key, Farthest]
    replies: Mapping[Key, Mapping[str, Sample]]

    def thing(self, label: str) -> Thing:
        """The thing of that label."""
        return next(thing for thing in self.things if thing.label == label)

    @property
    def runs(self) -> dict[str, Run]:
        """Label -> records, of whole runs."""
        return {thing.label: thing.run for thing in self.things if thing.run and thing.place.whole}


def compare(
    things: Sequence[Thing], mode: Mode | None = None, across: Collection[str] = (), problems: int = 5
) -> Shown:
    """Compare, and read replies to the `problems` that fell and rose most; InputError as `compare_things`."""
    compared = compare_things({thing.label: thing.results for thing in things}, mode, across)
    shared = tuple(
        name
        for name in compared.benchmarks
        if all(measured(thing.results.get(name), mode) is not None for thing in things)
    )
    far = _farthest(things, compared, problems)
    stored = _stored(things, compared, far)
    return Shown(
        tuple(things),
        compared,
        shared,
        {thing.label: _took(thing, shared, mode, stored) for thing in things},
        far,
        {key: found.replies for key, found in stored.items()},
    )


def _farthest(things: Sequence[Thing], compared: Compared, most: int) -> dict[Key, Farthest]:
    found = {}
    reference = things[0].results
    for thing in things[1:]:
        for name in compared.benchmarks:
            one, two = (measured(r.get(name), compared.mode) for r in (reference, thing.results))
            if one is not None and two is not None:
                found[name, thing.label] = farthest(one, two, most)
    return found


def _stored(things: Sequence[Thing], compared: Compared, far: Mapping[Key, Farthest]) -> dict[Key, Stored]:
    """(benchmark, label) -> what the stored replies of that thing say."""
    found = {}
    for thing in things:
        for name, measure in thing.measures.items():
            if measure.samples is None:
                continue
            others = [key for key in far if key[0] == name and thing.label in (key[1], compared.reference)]
            rows = [row for key in others for row in (*far[key].better, *far[key].worse)]
            mine = measured(measure.result, compared.mode)
            wanted = {row[0]: mine.per_problem[row[0]] for row in rows} if mine else {}
            prompts = read_prompts(measure.problems, wanted) if measure.problems else {}
            mode = mode_of(measure.result, compared.mode)
            found[name, thing.label] = read_stored(measure.samples, wanted, mode, prompts)
    return found


def _took(thing: Thing, shared: Sequence[str], mode: Mode | None, stored: Mapping[Key, Stored]) -> Took:
    cells = [cell for name in shared if (cell := measured(thing.results[name], mode))]
    stages = thing.run.scored if thing.run and thing.place.whole else [s for s in (thing.stage,) if s]
    efforts = [stage.efforts for stage in stages]
    sampled = _sum(each["rollout"] for each in efforts if "rollout" in each)
    trained = _sum(each["update"] for each in efforts if "update" in each)
    seconds = thing.run.matrix.seconds if thing.run else {}
    spent = [seconds[stage.name] for stage in stages if stage.name in seconds]
    evaluation = _evaluation_s(thing)
    tokens = [s.tokens for name in thing.measures if (s := stored.get((name, thing.label)))]
    # of some benchmarks alone it would be the tokens of these over the seconds of all
    told = math.fsum(t for t in tokens if t is not None) if len(tokens) == len(thing.measures) else None
    rate = told / evaluation if told and evaluation and None not in tokens else None
    return Took(
        _mean([cell.mean_tokens for cell in cells]),
        _mean([cell.leak for cell in cells]),
        _mean([cell.clipped for cell in cells]),
        evaluation,
        rate,
        math.fsum(spent) if spent else None,
        sampled.tokens_per_s,
        trained.tokens_per_s,
    )


def _evaluation_s(thing: Thing) -> float | None:
    if thing.run is not None:
        # of the stage that is compared, also where the whole run was named
        return thing.stage.seconds.get("evaluation") if thing.stage else None
    told = [measure.seconds for measure in thing.measures.values()]
    return None if None in told else math.fsum(s for s in told if s is not None)


def _sum(efforts: Iterable[Effort]) -> Effort:
    return sum(efforts, Effort())


def _mean(values: Sequence[float]) -> float | None:
    """None of nothing, and where one is not known (NaN)."""
    mean = math.fsum(values) / len(values) if values else math.nan
    return None if math.isnan(mean) else mean
