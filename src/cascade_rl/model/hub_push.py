"""An exported model to a hub, by huggingface_hub: a new commit with all of its files, private unless told."""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from cascade_rl.errors import InputError
from cascade_rl.model.hub import amount

# Weights of an earlier upload: a file that is left beside a new index would be a second model.
STALE = ("*.safetensors", "*.safetensors.index.json", "*.gguf")


def check_push(repo: str) -> None:
    """Raise InputError for what is no ORG/NAME."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"--push {repo!r} is no name on a hub: {str(error).partition(chr(10))[0]}") from None
    if repo.count("/") != 1:
        raise InputError(f"--push {repo!r} is no name on a hub: write ORG/NAME")


def listed(folder: Path) -> list[str]:
    """The files that an upload holds, with their sizes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{amount(path.stat().st_size):>9}  {path.relative_to(folder)}" for path in files]


def push_folder(folder: Path, repo: str, *, private: bool, message: str) -> str:
    """Upload a folder as one commit; the address of the commit.

    Raises InputError where the hub refuses, and where a model that should be private is public already.
    """
    again = f"it is whole in {folder}, and `hf upload {repo} {folder}` uploads it later"
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        seen = private and not api.model_info(repo).private
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        raise InputError(_refused(repo, error, again)) from None
    if seen:
        raise InputError(
            f"{repo} is there and public: push with --public, or to another name; nothing was uploaded, "
            f"{again}"
        )
    try:
        found = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, delete_patterns=list(STALE)
        )
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        raise InputError(_refused(repo, error, again)) from None
    # the hub looks at a card's front matter before it takes a commit
    except ValueError as error:
        text = " ".join(str(error).split())
        raise InputError(f"{constants.ENDPOINT} does not take the card: {text}; {again}") from None
    return str(found.commit_url)


def _refused(repo: str, error: Exception, again: str) -> str:
    reason = getattr(error, "server_message", None) or str(error.__cause__ or error)
    login = ""
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        login = "; a token that may write opens it (`hf auth login`, or HF_TOKEN)"
    first = reason.strip().partition("\n")[0]
    return f"{repo} could not be uploaded to {constants.ENDPOINT} ({first}){login}; {again}"
