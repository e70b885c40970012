"""Published benchmarks on any model: each measured into a folder by the report's protocol, or as it is told.

Which model that is, `candidate` finds; what it can't do of the protocol is cut to what it can, see `reach`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.cascade.candidate import Nobody, candidate
from cascade_rl.cascade.comparer import Comparer, judged
from cascade_rl.cascade.reach import Machine
from cascade_rl.data.suites import suite_heldout
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError
from cascade_rl.evals.shelf import Shelf, settings_of
from cascade_rl.evals.suite import Asking, Measured, measure, measure_again
from cascade_rl.grading.services import open_services
from cascade_rl.protocols import Sampler, Screen
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.remote.address import parse_served
from cascade_rl.remote.sampler import ServedSettings
from cascade_rl.run.folder import RunLock


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of the work: the screen, and each benchmark before it is asked."""

    screen: Screen
    begun: Callable[[HeldOut, int], None] = lambda held, kept: None


def measure_suite(
    model: str,
    specs: Sequence[BenchmarkSpec],
    out: Path,
    told: Told,
    *,
    machine: Machine = Machine(),
    served: ServedSettings = ServedSettings(),
    comparer: Comparer = Comparer(),
    seed: int = 0,
    unsafe: bool = False,
    ray: str | None = None,
) -> Iterator[Measured]:
    """The benchmarks of these specs on a model, see `candidate`, each as it is done.

    Results go to `out`, and what is there already is not asked again. Raises InputError where data are
    missing or the folder holds replies that were drawn otherwise, GraderFailure where verdicts can't be
    given, ServerFailure where replies never came.
    """
    # data first: what is missing is told before a model is fetched
    held = _all_held(specs)
    comparer.check(held)
    if comparer.reward_model and parse_served(model):
        raise InputError("--reward-model runs beside a model of this machine: give --judge for a served one")
    who = candidate(model, held, machine, served, told.screen)
    needs = frozenset[str]().union(*(one.domain.needs for one in who.held)) - {"reward_model"}
    with ExitStack() as stack:
        stack.enter_context(RunLock(out))
        shelves = [
            Shelf(out, one, _settings(one, {**who.identity, **comparer.settings(one)}, seed))
            for one in who.held
        ]
        services = stack.enter_context(open_services(needs, unsafe=unsafe, ray=ray))
        # a folder in which nothing is missing needs no model
        sampler: Sampler = Nobody()
        world = None
        if any(shelf.share < 1 for shelf in shelves) or comparer.reward_model:
            sampler, world = who.opened(services, stack)
        comparing = comparer.serving(services, world)
        for one, shelf in zip(who.held, shelves, strict=True):
            told.begun(one, len(shelf.samples))
            asking, mine = _asking(one, seed), comparing if judged(one) else services
            # a reward model runs on the workers that sample
            asking = replace(asking, in_batch=mine.reward_model is not None, counts=who.counts)
            yield measure(one, sampler, mine, shelf, asking, told.screen.waiting)


def _all_held(specs: Sequence[BenchmarkSpec]) -> list[HeldOut]:
    """The problems of all; InputError names every benchmark without its data, and those that are here."""
    held, missing = [], []
    for spec in specs:
        try:
            held.append(suite_heldout(spec))
        except InputError as error:
            missing.append(str(error))
    if missing and held:
        missing.append(f"those with data here: --suite {','.join(one.name for one in held)}")
    if missing:
        raise InputError("\n".join(missing))
    return held


def _settings(held: HeldOut, identity: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """All that the replies rest on."""
    return {**held.spec.model_dump(mode="json"), **identity, "seed": list(_asking(held, seed).seed)}


def regrade_suite(
    out: Path, names: Sequence[str], told: Told, *, unsafe: bool = False, ray: str | None = None
) -> Iterator[Measured]:
    """The stored replies of a results folder judged anew, all or those of `names`; no reply is drawn.

    Raises InputError where there are none.
    """
    there = sorted(path.name.removesuffix(".settings.json") for path in out.glob("*.settings.json"))
    missing = [name for name in names if name not in there]
    if missing or not there:
        what = ", ".join(missing) or "any benchmark"
        raise InputError(f"{out} holds no replies to {what}; there are {', '.join(there) or 'none'}")
    with RunLock(out):
        yield from _again(out, names or there, told, unsafe, ray)


def _again(out: Path, names: Sequence[str], told: Told, unsafe: bool, ray: str | None) -> Iterator[Measured]:
    for name in names:
        settings = settings_of(out, name)
        spec = BenchmarkSpec.model_validate(
            {k: settings[k] for k in BenchmarkSpec.model_fields if k in settings}
        )
        held, comparer = suite_heldout(spec), Comparer.of_settings(settings)
        with open_services(held.domain.needs - {"reward_model"}, unsafe=unsafe, ray=ray) as opened:
            services = comparer.serving(opened, None)
            shelf = Shelf(out, held, settings)
            told.begun(held, len(shelf.samples))
            yield measure_again(held, services, shelf, _asking(held, 0))


def _asking(held: HeldOut, seed: int) -> Asking:
    benchmark = load_benchmark(held.spec.suite or held.name)
    # without a number it is that of a run's own benchmarks, so that both draw the same replies
    return Asking(("evaluation", seed) if seed else ("evaluation",), benchmark.answer, benchmark.also)
