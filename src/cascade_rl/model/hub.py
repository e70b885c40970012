"""Models from a hub, by huggingface_hub: into its cache, at one commit, and no file that is not needed.

First the small files (config.json, tokenizer), which are enough to check a recipe; the weights when they are
asked for. What is in the cache is not fetched again, and without a network (or with HF_HUB_OFFLINE=1) the
cache alone is used. HF_ENDPOINT, HF_HUB_CACHE, HF_HOME and HF_TOKEN mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import FILES
from cascade_rl.model.weight_files import INDEXES, OTHERS, PATTERNS, indexed
from cascade_rl.recipe.hub_name import HubName

SMALL = (
    "config.json",
    "generation_config.json",
    "README.md",  # its licence
    *FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    *INDEXES,
)


def fetch_small(name: HubName, commit: str | None, waiting: Callable[[str], None]) -> Path:
    """The folder of a hub's model at `commit`, or at what its revision means now, without its weights.

    The folder is called as the commit is. Raises InputError with the mend for what can't be fetched.
    """
    folder = _fetch(name, commit or name.revision, SMALL, waiting)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{name} has no config.json: it is no model that transformers reads; of GGUF files fetch one "
            f"with `hf download {name.repo} FILE` and name its path"
        )
    return folder


def fetch_weights(
    name: HubName, folder: Path, note: Callable[[str], None], waiting: Callable[[str], None]
) -> None:
    """Add the weights to a folder of `fetch_small`; says how much there is to fetch.

    Raises InputError with the mend for what can't be fetched.
    """
    for files in _choices(folder):
        if size := _size(name, folder.name, files):
            note(f"{name.repo}: {amount(size)} of weights to fetch")
        _fetch(name, folder.name, files, waiting)
        if any(True for file in files for _ in folder.glob(file)):
            return


def weights_size(name: HubName, folder: Path) -> int:
    """The bytes of weights that a folder of `fetch_small` lacks; 0 where nobody can say."""
    return next((size for files in _choices(folder) if (size := _size(name, folder.name, files))), 0)


def _choices(folder: Path) -> list[Sequence[str]]:
    """The files that may hold the weights, by the rules of `weight_files`: what is fetched is read."""
    named = indexed(folder)
    return [[pattern] for pattern in PATTERNS] if named is None else [named]


def _fetch(name: HubName, revision: str | None, files: Sequence[str], waiting: Callable[[str], None]) -> Path:
    waiting(f"model {name.repo}")
    try:
        found = snapshot_download(
            name.repo,
            revision=revision,
            allow_patterns=list(files),
            # patterns match through folders, too
            ignore_patterns=["*/*", *OTHERS],
            tqdm_class=_bars(waiting),
        )
    except (HfHubHTTPError, httpx2.HTTPError, LocalEntryNotFoundError, HFValidationError) as error:
        raise InputError(_told(name, revision, error)) from None
    return Path(found)


def _size(name: HubName, commit: str, files: Sequence[str]) -> int:
    """The bytes that would come over the network; 0 where nobody can say, which `_fetch` then tells."""
    try:
        found = snapshot_download(
            name.repo,
            revision=commit,
            allow_patterns=list(files),
            ignore_patterns=["*/*", *OTHERS],
            tqdm_class=_bars(lambda text: None),
            dry_run=True,
        )
    except (DryRunError, HfHubHTTPError, httpx2.HTTPError, LocalEntryNotFoundError):
        return 0
    return sum(file.file_size or 0 for file in found if file.will_download)


def _told(name: HubName, revision: str | None, error: Exception) -> str:
    """What went wrong and how to mend it."""
    place = f"{constants.ENDPOINT}/{name.repo}"
    at = f" at {revision}" if revision else ""
    # the gated one first: it is a kind of the other
    if isinstance(error, GatedRepoError):
        return (
            f"{name} is gated: accept its conditions at {place}, then give your token (`hf auth login`, or "
            "HF_TOKEN)"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no directory {name.repo}, and {place} is no model either, or a private one: look at "
            "the spelling, or give your token (`hf auth login`, or HF_TOKEN)"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{place} has no revision {revision}: name a branch, a tag or a commit of it"
    if isinstance(error, HFValidationError):
        return f"{name.repo!r} is no name on a hub: {str(error).partition(chr(10))[0]}"
    if isinstance(error, LocalEntryNotFoundError) and constants.is_offline_mode():
        return (
            f"{name}{at} is not, or not whole, in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE "
            f"forbids to fetch it: unset it, or fetch it before with `hf download {name.repo}`"
        )
    reason = str(error.__cause__ or error).strip().partition("\n")[0]
    return (
        f"{name}{at} could not be fetched from {constants.ENDPOINT} ({reason}): with a network the same "
        "command goes on where it stopped; without, name a local directory"
    )


def _bars(waiting: Callable[[str], None]) -> type[Any]:
    """A progress bar for huggingface_hub that tells how far the bytes are, and draws nothing itself."""

    class Told(tqdm):  # type: ignore[misc]  # tqdm gives it no types
        def __init__(self, *arguments: Any, **named: Any) -> None:
            named.pop("name", None)
            super().__init__(*arguments, **{**named, "file": io.StringIO(), "leave": False})

        def display(self, *_: Any, **__: Any) -> None:
            if self.unit == "B" and self.total and self.n:
                waiting(f"fetched {amount(self.n)} of {amount(self.total)}")

    return Told


def amount(size: float) -> str:
    """Such as 16.1 GB."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
