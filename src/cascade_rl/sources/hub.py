"""Sets of rows on a hub: `hub:ORG/NAME@REVISION#SPLIT`, or `#CONFIG/SPLIT`, read by the library `datasets`.

A revision that lies whole in the hub's cache is read there, without a network; any other is streamed from the
hub, anew for each check and each run. A revision is asked for, since a set that changes under a recipe is
another recipe.

What `datasets` itself caches (prepared Arrow files) is never used: it falls back to those of any revision.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from cascade_rl.errors import InputError
from cascade_rl.sources.formats import Row
from cascade_rl.sources.parquet import plain

_FORM = re.compile(
    r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)@(?P<revision>[^@#\s]+)#(?:(?P<config>[^#/\s]+)/)?(?P<split>[^#/\s]+)"
)

_SHARD = re.compile(r"(?P<name>.*)-\d{5}-of-(?P<count>\d{5})(?P<end>.*)")
_BESIDE = ("README.md", ".gitattributes", "LICENSE")  # what holds no row


@dataclass(frozen=True, slots=True)
class HubSet:
    """A split of a set of one revision; `source` is what the recipe says, for messages."""

    source: str
    repo: str
    revision: str
    config: str | None
    split: str

    @property
    def label(self) -> str:
        """`ORG/NAME#train`: without the revision, so that ids stay where rows do."""
        return f"{self.repo}#{self.config + '/' if self.config else ''}{self.split}"


def hub_set(source: str, rest: str) -> HubSet:
    """The set that a source names; InputError shows the form where it is another."""
    found = _FORM.fullmatch(rest)
    if found is None:
        missing = "" if "@" in rest else "; give a revision, best a commit, so that the rows stay as they are"
        raise InputError(f"{source}: want hub:ORG/NAME@REVISION#SPLIT, or #CONFIG/SPLIT{missing}")
    return HubSet(source, found["repo"], found["revision"], found["config"], found["split"])


def hub_rows(named: HubSet) -> Iterator[Row]:
    """The rows of a split in the order of its files; places are `ORG/NAME#train:17`, from 1.

    Raises InputError when the package is missing, the set is neither cached nor reached, there is no such
    set, revision, configuration or split, or a file can't be read to its end.
    """
    try:
        import datasets
        import httpx2
        from pyarrow import ArrowException
    except ModuleNotFoundError:
        raise InputError(f"{named.source} needs a package: pip install cascade-rl[hub]") from None
    # What the libraries raise of sets that are missing, private, broken or cut off. RuntimeError is a set
    # that is a program, which `datasets` no longer runs.
    known = (
        datasets.exceptions.DatasetsError,
        httpx2.HTTPError,
        ArrowException,
        ValueError,
        OSError,
        RuntimeError,
    )
    # it logs what it raises too: one message is enough
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    # an empty cache, so that nothing of another revision can be found in it
    with TemporaryDirectory() as nowhere:
        try:
            where = _place(named)
            rows = datasets.load_dataset(
                where.path,
                name=named.config,
                split=named.split,
                revision=where.commit,
                streaming=True,
                cache_dir=nowhere,
            )
            for number, value in enumerate(rows, 1):
                yield Row(f"{named.label}:{number}", {name: plain(part) for name, part in value.items()})
        except InputError:
            raise
        except known as error:
            raise InputError(f"can't read {named.source}: {_short(error)}") from None


class _Place(NamedTuple):
    """A folder with a whole revision, or a set on the hub with the commit that its revision is."""

    path: str
    commit: str | None = None


def _place(named: HubSet) -> _Place:
    """Where the revision is read; InputError when it is not cached and the hub can't be reached."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    cached, listed = _cached(named)
    if cached and listed:
        return _Place(cached)
    try:
        info = HfApi().dataset_info(named.repo, revision=named.revision)
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        if cached and _seems_whole(Path(cached)):
            return _Place(cached)
        raise InputError(
            f"{named.source} is not whole in the hub's cache, and the hub can't be reached "
            f"({type(error).__name__}); where there is a network: hf download --repo-type dataset "
            f"{named.repo} --revision {named.revision}"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{named.source}: {named.repo} has no revision {named.revision}") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{named.source}: the hub has no set {named.repo}, or not for this user: hf auth login, or "
            "HF_TOKEN"
        ) from None
    return _Place(named.repo, info.sha)


def _cached(named: HubSet) -> tuple[str | None, bool]:
    """The revision's folder in the hub's cache, and whether a list of its files says that none is missing.

    There is a list where a whole fetch was begun. Without one there may be a few files only: streaming leaves
    the set's card there.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

    try:
        # raises where a file of the list is missing
        folder = snapshot_download(
            named.repo, repo_type="dataset", revision=named.revision, local_files_only=True
        )
        get_cached_repo_tree(named.repo, repo_type="dataset", revision=named.revision)
    except LocalEntryNotFoundError:
        return None, False
    except CachedRepoTreeNotFoundError:
        return folder, False
    return folder, True


def _seems_whole(folder: Path) -> bool:
    """Whether a folder that nobody listed holds rows, and each shard of files that say how many they are."""
    names = [path.name for path in folder.rglob("*") if path.is_file() and path.name not in _BESIDE]
    shards = Counter((m["name"], int(m["count"]), m["end"]) for m in map(_SHARD.fullmatch, names) if m)
    return bool(names) and all(there == count for (_, count, _), there in shards.items())


def _short(error: Exception) -> str:
    """How a message begins, which may hold a page; the kind of the error where it has none."""
    words = " ".join(str(error).split())
    return f"{words:.300}" if words else type(error).__name__
