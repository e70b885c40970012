"""Published benchmarks on any model: each measured into a folder by the report's protocol, or as it is told.

What a model can't do of the protocol is cut to what it can, see `reach`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.cascade.comparer import Comparer, judged
from cascade_rl.cascade.reach import Machine, fitted_to
from cascade_rl.data.suites import suite_heldout
from cascade_rl.domain import HeldOut
from cascade_rl.errors import InputError
from cascade_rl.evals.shelf import Shelf, settings_of
from cascade_rl.evals.suite import Asking, Measured, measure, measure_again
from cascade_rl.grading.services import open_services
from cascade_rl.model.pretrained import find_model
from cascade_rl.protocols import Finished, Sampler, Sampling, Screen
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.rollout.world import world_with
from cascade_rl.types import Problem, Rollout


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
    machine: Machine | None = None,
    comparer: Comparer = Comparer(),
    seed: int = 0,
    unsafe: bool = False,
) -> Iterator[Measured]:
    """The benchmarks of these specs on a model of this machine or a hub, each as it is done.

    Results go to `out`, and what is there already is not asked again. Raises InputError where data are
    missing or the folder holds replies that were drawn otherwise, GraderFailure where verdicts can't be
    given.
    """
    # data first: what is missing is told before a model is fetched
    held = [suite_heldout(spec) for spec in specs]
    comparer.check(held)
    screen = told.screen
    found = find_model(model, note=screen.note, waiting=screen.waiting)
    engine, fitted = fitted_to(held, found.folder, machine or Machine(), screen.note)
    needs = frozenset[str]().union(*(one.domain.needs for one in fitted)) - {"reward_model"}
    screen.waiting("model")
    identity: dict[str, Any] = {"model": found.name, "commit": found.commit, "weights": _digest(found.folder)}
    identity |= {key: getattr(engine, key) for key in ("precision", "sampler", "template", "yarn")}
    shelves = [Shelf(out, one, _settings(one, identity | comparer.settings(one), seed)) for one in fitted]
    with ExitStack() as stack:
        services = stack.enter_context(open_services(needs, unsafe=unsafe))
        # a folder in which nothing is missing needs no model
        sampler: Sampler = Nobody()
        world = None
        if any(shelf.share < 1 for shelf in shelves) or comparer.reward_model:
            world = stack.enter_context(world_with(services, found.folder, engine))
            sampler = world.sampler
        comparing = comparer.serving(services, world)
        for one, shelf in zip(fitted, shelves, strict=True):
            told.begun(one, len(shelf.samples))
            asking, mine = _asking(one, seed), comparing if judged(one) else services
            # a reward model runs on the workers that sample
            asking = replace(asking, in_batch=mine.reward_model is not None)
            yield measure(one, sampler, mine, shelf, asking, told.screen.waiting)


class Nobody:
    """The sampler where no reply is missing."""

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """Is not asked."""
        raise AssertionError(f"{len(problems)} problems are asked of nobody")

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """Is not asked."""
        return [self.sample(*each) for each in asked]


def _settings(held: HeldOut, identity: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """All that the replies rest on."""
    return {**held.spec.model_dump(mode="json"), **identity, "seed": list(_asking(held, seed).seed)}


def regrade_suite(out: Path, names: Sequence[str], told: Told, *, unsafe: bool = False) -> Iterator[Measured]:
    """The stored replies of a results folder judged anew, all or those of `names`; no reply is drawn.

    Raises InputError where there are none.
    """
    there = sorted(path.name.removesuffix(".settings.json") for path in out.glob("*.settings.json"))
    if missing := [name for name in names or there[:1] if name not in there] or not there:
        what = ", ".join(missing) if isinstance(missing, list) else "any benchmark"
        raise InputError(f"{out} holds no replies to {what}; there are {', '.join(there) or 'none'}")
    for name in names or there:
        settings = settings_of(out, name)
        spec = BenchmarkSpec.model_validate(
            {k: settings[k] for k in BenchmarkSpec.model_fields if k in settings}
        )
        held, comparer = suite_heldout(spec), Comparer.of_settings(settings)
        with open_services(held.domain.needs - {"reward_model"}, unsafe=unsafe) as opened:
            services = comparer.serving(opened, None)
            shelf = Shelf(out, held, settings)
            told.begun(held, len(shelf.samples))
            yield measure_again(held, services, shelf, _asking(held, 0))


def _asking(held: HeldOut, seed: int) -> Asking:
    benchmark = load_benchmark(held.spec.suite or held.name)
    # without a number it is that of a run's own benchmarks, so that both draw the same replies
    return Asking(("evaluation", seed) if seed else ("evaluation",), benchmark.answer, benchmark.also)


def _digest(folder: Path) -> str:
    """16 hex digits over the files of weights: another model under the same path is another model."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:16]
