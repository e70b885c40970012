"""Names of models on a hub: `ORG/NAME@REVISION`, and how they are told from directories."""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "hub:"
# As the Hugging Face Hub allows them. One part alone (`gpt2`) is a name only behind `hub:`.
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[^@\s]+))?")
_TOLD = re.compile(rf"(?P<repo>{_PART}(?:/{_PART})?)(?:@(?P<revision>[^@\s]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubName:
    """A model on a hub: `repo` is ORG/NAME, `revision` a branch, a tag or a commit; None is the main branch.

    `told` means that it was written with `hub:`, so that no directory can be meant.
    """

    repo: str
    revision: str | None
    told: bool

    @property
    def commit(self) -> str | None:
        """The revision where it is a whole commit, which never changes."""
        return self.revision if self.revision and COMMIT.fullmatch(self.revision) else None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def named_model(text: str) -> str:
    """The name of a model that is a directory, a file or on a hub; ValueError for one that can be none."""
    if text == "scratch":
        raise ValueError("scratch is no model that could be read: name a directory, or ORG/NAME@REVISION")
    read_hub_name(text)
    return text


def read_hub_name(text: str) -> HubName | None:
    """The hub name that a text may be; None where it can be none. A directory may have the same name.

    Raises ValueError for a text that begins with `hub:` and is none.
    """
    told = text.startswith(PREFIX)
    found = (_TOLD if told else _NAME).fullmatch(text.removeprefix(PREFIX))
    if found is None:
        if told:
            raise ValueError(f"{text!r} is no name on a hub: write hub:ORG/NAME or hub:ORG/NAME@REVISION")
        return None
    # a file, not a model: `models/mine.gguf`
    if not told and found["repo"].endswith(".gguf"):
        return None
    return HubName(found["repo"], found["revision"], told)
