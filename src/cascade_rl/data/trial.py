"""A recipe tried: its data made as a run makes them, and all told that is known before the first step.

Each use of a table is read once. What a model says of it, such as how many tokens a prompt has, is asked by
`cascade/foresight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cascade_rl.chat import THINK_END
from cascade_rl.data.abilities import domain_problems
from cascade_rl.data.disjoint import may_share, overlaps, stage_prompts
from cascade_rl.data.heldout import gather_benchmarks, gather_probes
from cascade_rl.data.kinds import provide
from cascade_rl.data.measured import check_measured
from cascade_rl.data.shelf import Shelf
from cascade_rl.domain import Domain, HeldOut, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import SandboxUnavailable, StageError
from cascade_rl.grading.proof import preflight
from cascade_rl.grading.services import open_services
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.recipe import Problems, Recipe
from cascade_rl.types import Problem, Rollout, StageData

TRIED = 4  # problems of each pool and benchmark whose graders are asked: enough to see that none can be


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run would train on by its stages' names, and ask; what is wrong; what else there is to say.

    Parts that can't be made are missing, and `problems` says why.
    """

    data: Mapping[str, StageData]
    benchmarks: tuple[HeldOut, ...]
    problems: Problems
    notes: tuple[str, ...]

    def tallies(self) -> list[str]:
        """What became of the rows of each table, a line for each use."""
        used = [(name, data.tallies) for name, data in self.data.items()]
        used += [(benchmark.name, benchmark.tallies) for benchmark in self.benchmarks]
        return [f"{name}: {tally.line()}" for name, tallies in used for tally in tallies]


def try_out(recipe: Recipe, shelf: Shelf, whole: bool = True) -> Trial:
    """The trial of a recipe that is valid by its own rules; only its domains and rows if it is not `whole`.

    Own rows are kept on the shelf, as long as the trial is looked at. Raises nothing that a user can mend of
    recipe and rows: all of it stands in `problems`.
    """
    domains, problems = _domains(recipe)
    if problems or not whole:
        return Trial({}, (), domain_problems(recipe, whole), ())
    for stage in recipe.stages:
        named = {name: domains[name] for name in stage.domains()}
        problems += stage.lacking(named, recipe.before(stage.name))
    if problems:
        return Trial({}, (), problems + domain_problems(recipe, False), ())
    data, benchmarks, failed = _made(recipe, domains, shelf)
    if failed:
        # by the entry, where a file can't be read or has bad rows: the stage itself said only the first
        told = domain_problems(recipe, whole)
        failed = told + [
            one for one in failed if not any(f"{path}.".startswith(f"{one[0]}.") for path, _ in told)
        ]
    problems = failed + [("", text) for text in overlaps(recipe.stages, data, benchmarks)]
    if not problems:
        problems += _measured(recipe, data, benchmarks)
    notes: tuple[str, ...] = ()
    if not problems:
        problems, notes = _graded(recipe, domains, data, benchmarks)
    return Trial(data, benchmarks, problems, (*_short(recipe, data), *notes))


def _domains(recipe: Recipe) -> tuple[dict[str, Domain], Problems]:
    """The domains of all entries by the names that the recipe has for them."""
    found: dict[str, Domain] = {}
    problems: Problems = []
    for entry in recipe.entries():
        try:
            found[entry.domain] = load_domain(entry.domain)
        except ValueError as error:
            problems.append((entry.path, str(error)))
    return found, problems


def _made(
    recipe: Recipe, domains: Mapping[str, Domain], shelf: Shelf
) -> tuple[dict[str, StageData], tuple[HeldOut, ...], Problems]:
    """Data and benchmarks as `gather` makes them, but all faults are found, not the first alone."""
    data: dict[str, StageData] = {}
    benchmarks: list[HeldOut] = []
    problems: Problems = []
    taken: set[str] = set()
    for stage in recipe.stages:
        try:
            data[stage.name] = provide(stage, domains, recipe.seed, taken, shelf)
        except (StageError, ValueError) as error:
            problems.append((f"stages.{stage.name}", str(error).removeprefix(f"{stage.name}: ")))
            continue
        if not may_share(stage, stage):
            taken = taken | stage_prompts(data[stage.name])
    for spec in recipe.benchmarks:
        try:
            benchmarks += gather_benchmarks(recipe.model_copy(update={"benchmarks": [spec]}))
        except ValueError as error:
            problems.append((f"benchmarks.{spec.name}", str(error)))
    return data, tuple(benchmarks), problems


def _measured(recipe: Recipe, data: Mapping[str, StageData], benchmarks: Sequence[HeldOut]) -> Problems:
    """What measures a stage on its way and is not kept apart."""
    try:
        check_measured(data, benchmarks, gather_probes(recipe))
    except StageError as error:
        return [("", str(error))]
    except ValueError as error:
        return [("gate.probe_problems", str(error))]
    return []


def _short(recipe: Recipe, data: Mapping[str, StageData]) -> Iterator[str]:
    """Stages that have fewer prompts than a step asks for."""
    for stage in recipe.stages:
        key, size, _ = stage.batch()
        if stage.prompt_limit() is not None and stage.name in data:
            drawn = stage.fewest([len(pool) for pool in data[stage.name].pools()])
            if drawn < size:
                yield f"{stage.name}: {key} is {size}, but there are {drawn} prompts: a step has no more"


def _graded(
    recipe: Recipe,
    domains: Mapping[str, Domain],
    data: Mapping[str, StageData],
    benchmarks: Sequence[HeldOut],
) -> tuple[Problems, tuple[str, ...]]:
    """Graders that can't judge the problems at hand: a run would find it out in the stage itself."""
    named = {domain.name: domain for domain in domains.values()}
    needs = frozenset[str]().union(*(domain.needs for domain in named.values())) - {"reward_model"}
    problems: Problems = []
    try:
        with open_services(needs, workers=1) as services:
            for stage in recipe.stages:
                own = {rows.source for rows in stage.own_rows()}
                pools = [pool for pool in data[stage.name].pools() if pool[0].domain not in own]
                for pool in pools:
                    problems += _unproven(f"stages.{stage.name}", named[pool[0].domain], pool, services)
            # own pairs are judged by a reward model that a stage is still to train
            for benchmark in [found for found in benchmarks if found.spec.domain is not None]:
                problems += _unscored(benchmark, services)
    except SandboxUnavailable as error:
        return [], (f"graders were not tried: {str(error).splitlines()[0]}",)
    return problems, ()


def _unproven(path: str, domain: Domain, pool: Sequence[Problem], services: Services) -> Problems:
    """The pre-flight of a few problems; one alone may be left out by a run, all of them may not."""
    found = preflight(domain, pool[:TRIED], services)
    if len(found.quarantined) < found.tried:
        return []
    name, why = next(iter(found.quarantined.items()))
    return [(path, f"no grader of {domain.name} can tell its problems; the first is {name}: {why}")]


def _unscored(benchmark: HeldOut, services: Services) -> Problems:
    """A benchmark whose grader gives no verdict on any answer to any of its first problems."""
    asked = benchmark.problems[:TRIED]
    # an answer in words: on an empty one most graders have nothing to judge
    replies = [(problem, Rollout.of_text(f"{THINK_END}\n\nYes.")) for problem in asked]
    verdicts = grade_all(benchmark.domain.benchmark_grade, replies, services)
    notes = [verdict.note for verdict in verdicts if verdict.reward is None]
    if len(notes) < len(asked):
        return []
    text = f"{benchmark.domain.name} can't score these problems: {notes[0]}; take rows with what it judges by"
    return [(f"benchmarks.{benchmark.name}", f"{text}, or another benchmark")]
