"""What a user names to be compared: a run, a stage of it, results of `cascade eval`, one NAME.json.

runs/tiny                        the last stage that was scored
runs/tiny:rlhf  runs/tiny:4      a stage, by its name, its number or both (04-rlhf)
runs/tiny:base  runs/tiny/base   the model before the first stage, where the recipe scores it
runs/tiny/stages/04-rlhf         the same; what lies in it (checkpoint, eval, eval/maths.json) as well
evals/NAME  evals/NAME/aime.json results of `cascade eval`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade_rl.errors import InputError, meant
from cascade_rl.recipe import BASE
from cascade_rl.run.folder import STAGE_FOLDER, StageFolder, stage_folders

HOW = (
    "name a run (runs/tiny), a stage of it (runs/tiny:rlhf, runs/tiny:4), a folder of `cascade eval` "
    "(evals/NAME) or one NAME.json in it"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a thing lie.

    folder  of a stage, or of results
    run     the run directory; None of results
    stage   the stage's name; empty of results
    whole   whether a whole run was named, of which this is the last scored stage
    only    the one benchmark that was named; empty for all
    """

    given: str
    folder: Path
    run: Path | None = None
    stage: str = ""
    whole: bool = False
    only: str = ""

    @property
    def kind(self) -> str:
        """In a word, for people."""
        return "run" if self.whole else "stage" if self.run else "results"


def is_run(path: Path) -> bool:
    """Whether a directory is that of a run."""
    return (path / "recipe.yaml").is_file() and ((path / "stages").is_dir() or _scored(path / BASE))


def locate(given: str) -> Place:
    """Where that is; InputError, which says what could be meant, where it is nothing."""
    path = Path(given)
    if path.is_file():
        return _file(given, path)
    if path.is_dir():
        return _folder(given, path)
    run, colon, stage = given.rpartition(":")
    if colon and Path(run).is_dir():
        if not is_run(Path(run)):
            raise InputError(f"{given}: {run} is no run directory, so it has no stage {stage!r}; {HOW}")
        if stage == BASE and _scored(Path(run) / BASE):
            return Place(given, Path(run) / BASE, Path(run), BASE)
        found = _stage(given, Path(run), stage)
        return Place(given, found.path, Path(run), found.name)
    raise InputError(f"there is no {given}; {_near(Path(run if colon else given))}{HOW}")


def _file(given: str, path: Path) -> Place:
    if path.suffix != ".json":
        raise InputError(f"{given} is no result of a benchmark (NAME.json); {HOW}")
    within = _of_stage(path.parent)
    if within:
        return Place(given, within, _run_of(within), _stage_name(within), only=path.stem)
    return Place(given, path.parent, only=path.stem)


def _folder(given: str, path: Path) -> Place:
    if is_run(path):
        folders = [path / BASE, *(found.path for found in stage_folders(path))]
        scored = [folder for folder in folders if _scored(folder)]
        if not scored:
            raise InputError(f"{given}: no stage of this run has been scored yet")
        return Place(given, scored[-1], path, _stage_name(scored[-1]), whole=True)
    within = _of_stage(path)
    if within:
        return Place(given, within, _run_of(within), _stage_name(within))
    return Place(given, path)


def _of_stage(path: Path) -> Path | None:
    """The stage's folder that this is, or that it lies in; one that was set aside as well."""
    path = path.resolve()
    for folder in (path, path.parent):
        if folder.parent.name == "stages" and is_run(folder.parent.parent):
            return folder
        if folder.name == BASE and is_run(folder.parent) and _scored(folder):
            return folder
    return None


def _run_of(folder: Path) -> Path:
    """The run directory of a stage's folder, or of the base model's."""
    return folder.parent if folder.name == BASE else folder.parent.parent


def _scored(folder: Path) -> bool:
    return (folder / "scorecard.json").is_file()


def _stage_name(folder: Path) -> str:
    match = STAGE_FOLDER.fullmatch(folder.name)
    # of what was set aside (04-rlhf.old-1) the whole name: its run may have a stage of the same name
    return match[2] if match else folder.name


def _stage(given: str, run: Path, wanted: str) -> StageFolder:
    folders = stage_folders(run)
    for found in folders:
        called = (found.name, found.path.name, str(found.index + 1), f"{found.index + 1:02d}")
        if wanted in called:
            return found
    names = [found.name for found in folders]
    known = ", ".join(found.path.name for found in folders) or "none yet"
    raise InputError(f"{given}: {run} has no stage {wanted!r}; {meant(wanted, names)}its stages: {known}")


def _near(path: Path) -> str:
    """What stands beside a path that is not there and is called alike."""
    if not path.parent.is_dir():
        return ""
    return meant(path.name, [other.name for other in path.parent.iterdir()])


def labels(places: Sequence[Place], names: Sequence[str] = ()) -> tuple[str, ...]:
    """A short name for each, no two alike; `names` are the user's own.

    Raises InputError where a thing is named twice, or where `names` are too few, too many or alike.
    """
    if names:
        return _own(places, names)
    one_run = len({place.run and place.run.resolve() for place in places}) == 1 and bool(places[0].run)
    chains = [_chain(place, one_run) for place in places]
    while True:
        found = [chain[0] for chain in chains]
        alike = [n for n, label in enumerate(found) if found.count(label) > 1]
        if not alike:
            return tuple(found)
        for n in alike:
            if len(chains[n]) == 1:
                raise InputError(f"{places[n].given} is named twice")
            chains[n] = chains[n][1:]


def _own(places: Sequence[Place], names: Sequence[str]) -> tuple[str, ...]:
    clean = tuple(name.strip() for name in names)
    if len(clean) != len(places) or len(set(clean)) < len(clean) or not all(clean):
        raise InputError(
            f"--names needs {len(places)} different names, one for each (got {', '.join(clean)})"
        )
    return clean


def _chain(place: Place, one_run: bool) -> list[str]:
    """Names from the shortest on; the last one says all, and is alike only for the same thing."""
    root = (place.run or place.folder).resolve()
    stage = f":{place.stage}" if place.run and not place.whole else ""
    parts = ["/".join(root.parts[-n:]) for n in range(1, len(root.parts))]
    chain = [part + stage for part in parts] + [f"{root}{stage}"]
    short = [place.stage] if one_run and stage else []
    if not place.only:
        return short + chain
    return [*short, *chain[:1], *(f"{name}/{place.only}" for name in chain)]
