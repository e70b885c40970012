"""Control tokens that somebody spells in a text stay text: only those that the template writes are tokens.

A control token is one that the tokenizer calls special, or an added one that the template puts around turns.
Tags such as `<think>` are none: a reply's reasoning is read from them.

Contents without any go the way of every text, so that their ids are transformers' own. Only where one holds
a mark is it wrapped before rendering and spelled in pieces afterwards, by transformers' functions for it
(`apply_chat_template(sanitize_control_tokens=True)` does the same).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from cascade_rl.chat import THINK_END, THINK_START
from cascade_rl.errors import InputError

T = TypeVar("T")
NEVER = "(?!)"  # matches nothing


class Marks:
    """The control tokens of a transformers tokenizer; `plain` is a short talk as its template writes it."""

    def __init__(self, inner: Any, plain: str) -> None:
        self._inner = inner
        added = inner.added_tokens_decoder.values()
        names = [t.content for t in added if t.special or (turn_mark(t.content) and t.content in plain)]
        longest = sorted(names, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest)) or NEVER)

    def protect(self, value: T) -> T:
        """A text, or rows of them, with the marks in it wrapped; the very same where there is none.

        Raises InputError where the installed transformers can't do it.
        """
        if not self._holds(value):
            return value
        try:
            from transformers.utils.chat_template_utils import mark_control_tokens
        except ImportError:
            raise InputError(
                "a text holds a control token, which this version of transformers can't spell as text: "
                "install transformers 5.23 or newer, or leave such texts out"
            ) from None
        wrapped: T = mark_control_tokens(value, self.pattern)
        return wrapped

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered text; raises InputError when the tokenizer can't spell what is wrapped in it."""
        if not is_wrapped(text):
            ids: list[int] = self._inner.encode(text, add_special_tokens=False)
            return ids
        from transformers.utils.chat_template_utils import encode_marked_chat

        try:
            # a vocabulary without the letters of a mark would put one sign for all of them
            for mark in set(_WRAPPED.findall(text)):
                if self._inner.unk_token_id in encode_marked_chat(self._inner, mark):
                    raise ValueError(f"{unwrapped(mark)} has letters that the vocabulary lacks")
            found: list[int] = encode_marked_chat(self._inner, text)
        except ValueError as error:
            raise InputError(f"a control token in a text can't be spelled as text: {error}") from None
        return found

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many; those without anything wrapped at once."""
        core = getattr(self._inner, "backend_tokenizer", None)
        if core is None or len(texts) == 1:
            return [self.encode(text) for text in texts]
        # Twice as fast as through transformers, which took truncation and padding off when the tokenizer was
        # loaded: its first text was encoded then.
        plain = [text for text in texts if not is_wrapped(text)]
        found = iter(core.encode_batch_fast(plain, add_special_tokens=False))
        return [self.encode(text) if is_wrapped(text) else next(found).ids for text in texts]

    def _holds(self, value: object) -> bool:
        if isinstance(value, str):
            return self.pattern.search(value) is not None or is_wrapped(value)
        if isinstance(value, dict):
            return any(map(self._holds, value.values()))
        return isinstance(value, list | tuple) and any(map(self._holds, value))


# What transformers wraps a control token in; somebody else's are taken out of a text.
WRAP = ("\U000f0000", "\U000f0001")
_WRAPPED = re.compile(f"{WRAP[0]}[^{''.join(WRAP)}]+{WRAP[1]}")


def is_wrapped(text: str) -> bool:
    """Whether a control token in it is to be spelled."""
    return WRAP[0] in text or WRAP[1] in text


def unwrapped(text: str) -> str:
    """As people read it."""
    return text.replace(WRAP[0], "").replace(WRAP[1], "")


def turn_mark(token: str) -> bool:
    """Whether an added token may belong to a turn: tags of thoughts and white space are text."""
    return token not in (THINK_START, THINK_END) and not token.isspace()
