"""Where a model is served and the key for it: `openai:URL#MODEL`, and the environment."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

import httpx2

from cascade_rl.errors import InputError

SCHEME = "openai:"
EXAMPLE = "openai:http://127.0.0.1:8000/v1#my-model"
DEFAULT_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Served:
    """A model behind an OpenAI-compatible server; `model` None: the only one that it lists."""

    url: str
    model: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.url}" + (f"#{self.model}" if self.model else "")


def parse_served(text: str) -> Served | None:
    """The served model that a text like `openai:http://127.0.0.1:8000/v1#my-model` means; else None.

    Raises InputError, which shows how it is written, when it begins so and can't be used.
    """
    if not text.startswith(SCHEME):
        return None
    url, hashed, model = text.removeprefix(SCHEME).partition("#")
    if hashed and not model.strip():
        raise InputError(
            f"{text!r} ends before the model's name: write it as in {EXAMPLE}, or leave # away where the "
            "server has one model only"
        )
    base_url(url, text)
    return Served(url.rstrip("/"), model.strip() or None)


def base_url(url: str, given: str | None = None) -> httpx2.URL:
    """The base address, without a slash at its end; InputError, which names what was `given`."""
    given = url if given is None else given
    try:
        found = httpx2.URL(url.rstrip("/"))
    except httpx2.InvalidURL:
        found = httpx2.URL("")
    # what no host has in its name, the library escapes
    if found.scheme not in ("http", "https") or not found.host or "%" in found.host:
        how = f"such as {EXAMPLE}" if given.startswith(SCHEME) else "like http://host:port/v1"
        raise InputError(f"the server's address {given!r} must be {how}")
    if found.userinfo:
        # and it is not shown: an address stands in records and on screens
        raise InputError(
            f"the address of {found.host} holds a name or a key: put the key into an environment variable "
            f"({DEFAULT_KEY}, or one that is named)"
        )
    if found.query or found.path.endswith("/completions"):
        raise InputError(
            f"the server's address {given!r} must be the one that all its paths begin with, like "
            "http://host:port/v1"
        )
    return found


def named_key(variable: str, whose: str) -> str:
    """The key that an environment variable holds; InputError when it is not set."""
    key = os.environ.get(variable)
    if not key:
        raise InputError(f"{whose} key is not set: environment variable {variable}")
    return key


def default_key(url: str) -> str | None:
    """OPENAI_API_KEY, for an address that it may go to unasked: over https, or on this machine."""
    return os.environ.get(DEFAULT_KEY) or None if _private(base_url(url)) else None


def held_back(url: str) -> bool:
    """Whether OPENAI_API_KEY is set and was not sent, since everybody on the way could read it."""
    return bool(os.environ.get(DEFAULT_KEY)) and not _private(base_url(url))


def _private(url: httpx2.URL) -> bool:
    if url.scheme == "https" or url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False  # a name: whoever answers to it
