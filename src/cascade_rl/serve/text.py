"""The text of a reply while its tokens come: whole characters only, and cut before a stop text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.rollout.streaming import Token

BYTE = re.compile("<0x[0-9A-F]{2}>")
HALF = "\ufffd"  # what a decoder writes for bytes that are no character, or none yet


class Spelling:
    """New text as tokens come; all of it together is `Tokenizer.decode` of all ids.

    Decoding everything at each token would take quadratic time: text is read off from the last tokens that
    were spelled out, behind which the next ones stand as they will in the whole.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self.tokenizer, self.prompt = tokenizer, prompt
        self.ids: list[int] = []
        self.told = ""
        self._from = self._to = 0  # told is the text up to `_to`; decoding begins at `_from`

    def add(self, token: int) -> str:
        """The text that is settled by one more token."""
        self.ids.append(token)
        now = self._decode(len(self.ids))
        # half a character may go on with the next token; and a run of SentencePiece's byte tokens is text or,
        # if one byte of it is wrong, none at all
        if now.endswith(HALF) or BYTE.fullmatch(str(self.tokenizer.inner.convert_ids_to_tokens(token))):
            return ""
        new = now[len(self._decode(self._to)) :]
        if new:
            self._from, self._to = self._to, len(self.ids)
        self.told += new
        return new

    def rest(self) -> str:
        """What is left of the text when no token follows."""
        whole = self.tokenizer.decode(self.ids, self.prompt)
        if not whole.startswith(self.told):
            raise RuntimeError(
                f"the tokenizer spells {len(self.ids)} tokens otherwise than one after the other: "
                f"{whole[-40:]!r} after {self.told[-40:]!r} was sent"
            )
        new = whole[len(self.told) :]
        self.told = whole
        return new

    def _decode(self, end: int) -> str:
        # what a prompt opens, such as a think tag, stands before the first token
        prompt = self.prompt if self._from == 0 else ()
        return self.tokenizer.decode(self.ids[self._from : end], prompt) if end else ""


class Stops:
    """Text passed on up to where one of the stop texts begins.

    The one that is complete first counts; of those that end at the same sign the longest. That rests on the
    text alone, and not on how it is cut into tokens.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops, self.met = tuple(stops), False
        self._held = ""  # the end of the text, which may begin a stop text

    def add(self, new: str) -> str:
        """What can be passed on now; nothing more comes once one was `met`."""
        text = self._held + new
        ends = [(place + len(stop), place) for stop in self.stops if (place := text.find(stop)) >= 0]
        if ends:
            self.met, self._held = True, ""
            return text[: min(ends)[1]]
        start = next(
            (i for i in range(max(0, len(text) - self._longest), len(text)) if self._begins(text[i:])), None
        )
        self._held = "" if start is None else text[start:]
        return text if start is None else text[:start]

    def rest(self) -> str:
        """What was held, when no text follows."""
        held, self._held = self._held, ""
        return held

    @property
    def _longest(self) -> int:
        return max((len(stop) - 1 for stop in self.stops), default=0)

    def _begins(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self.stops)


class Choice:
    """One reply: fed with tokens, it gives text; `finish` is None until it is `stop` or `length`."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], limit: int, stops: Sequence[str]) -> None:
        self.tokens: list[Token] = []
        self.finish: str | None = None
        self._spelling, self._stops = Spelling(tokenizer, prompt), Stops(stops)
        self._ends, self._limit = frozenset(tokenizer.eos_ids), limit

    def add(self, token: Token) -> str:
        """The text that can be passed on after one more token."""
        self.tokens.append(token)
        text = self._stops.add(self._spelling.add(token.id))
        ended = token.id in self._ends
        if not self._stops.met and (ended or len(self.tokens) >= self._limit):
            self.finish = "stop" if ended else "length"
            text += self._stops.add(self._spelling.rest())
        if self._stops.met:
            self.finish = "stop"
        return text + self._stops.rest() if self.finish else text
