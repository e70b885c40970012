"""A judge model behind an OpenAI-compatible address: the probability that it answers YES, or what it writes.

With log-probabilities, the probability is that of the tokens that spell yes among those that spell yes or no,
at the first token of the answer; without, the share of YES among samples. A judge that can't be reached, is
too slow, or answers something else has no verdict, and that is never a zero (peers' graders score a server's
error as a wrong answer).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_rl.protocols import Judgement
from cascade_rl.remote.answers import Completion, ServerError
from cascade_rl.remote.client import ChatClient, Terms
from cascade_rl.types import Message

LEAST_MASS = 0.01  # yes and no together, below which the first token is no answer


class JudgeError(Exception):
    """An answer that says neither yes nor no."""


class HttpJudge:
    """A `Judge` that asks `{url}/chat/completions`.

    terms        how it is asked
    max_tokens   room for the answer; a judge that reasons first needs more
    samples      how many answers to draw when the server gives no log-probabilities

    Raises InputError when the address or the key can't be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str | None = None,
        terms: Terms | None = None,
        max_tokens: int = 8,
        samples: int = 8,
    ) -> None:
        self._client = ChatClient(url, model, api_key=api_key, terms=terms)
        self._max_tokens, self._samples = max_tokens, samples

    async def probability(self, messages: Sequence[Message]) -> Judgement:
        """The probability of YES, in [0, 1]; a Judgement with a fault when the judge gives none."""
        chat = [{"role": m.role, "content": m.content} for m in messages]
        try:
            # 20: the most that OpenAI's interface gives; some servers answer fewer, some none
            choices = await self._ask(chat, temperature=0, logprobs=True, top_logprobs=20)
            value = yes_from_logprobs(choices[0])
            return Judgement(await self._from_samples(chat) if value is None else value)
        except (JudgeError, ServerError, TimeoutError) as error:
            return self._fault(error)

    async def answer(self, messages: Sequence[Message], max_tokens: int) -> Judgement:
        """What the judge writes at temperature 0; a Judgement with a fault when there is no whole text."""
        chat = [{"role": m.role, "content": m.content} for m in messages]
        try:
            choice = (await self._client.complete(chat, _choices, max_tokens=max_tokens, temperature=0))[0]
        except (ServerError, TimeoutError) as error:
            return self._fault(error)
        # a text without its end may hold a verdict that was only thought of
        if choice.get("finish_reason") == "length":
            return Judgement(fault="crash", note=f"the judge's text was cut at {max_tokens} tokens")
        return Judgement(_text(choice))

    def _fault(self, error: Exception) -> Judgement:
        if not isinstance(error, TimeoutError):
            return Judgement(fault="crash", note=str(error))
        terms = self._client.terms
        note = f"no answer within {terms.timeout_s} s, {terms.attempts} times"
        return Judgement(fault="timeout", note=note)

    async def _ask(self, chat: list[dict[str, str]], **options: Any) -> list[Mapping[str, Any]]:
        return await self._client.complete(chat, _choices, max_tokens=self._max_tokens, **options)

    async def _from_samples(self, chat: list[dict[str, str]]) -> float:
        """The share of YES; servers that ignore `n` are asked again until there are enough."""
        texts: list[str] = []
        # a round brings one sample at least, so that as many rounds are enough
        for _ in range(self._samples):
            wanted = self._samples - len(texts)
            if wanted > 0:
                texts += [_text(choice) for choice in await self._ask(chat, temperature=1, n=wanted)][:wanted]
        return yes_from_texts(texts)


def _choices(completion: Completion) -> list[Mapping[str, Any]]:
    return completion.choices


def _text(choice: Mapping[str, Any]) -> str:
    content = choice["message"].get("content")
    return content if isinstance(content, str) else ""


def _spelt(token: Any) -> str:
    """`yes` or `no` when the token is one of them or how one begins; else nothing."""
    # Ġ and ▁ stand for a blank in the tokens of byte-level BPE and of SentencePiece.
    text = re.sub(r"^[\s\"'*`_(\[Ġ▁]+|[\s\"'*`_)\].,:;!]+$", "", str(token)).casefold()
    return next((word for word in ("yes", "no") if text and word.startswith(text)), "")


def yes_from_logprobs(choice: Mapping[str, Any]) -> float | None:
    """The probability of yes against no at the first token of the answer; None without log-probabilities.

    Raises JudgeError when that token answers neither way.
    """
    content = (
        (choice.get("logprobs") or {}).get("content") if isinstance(choice.get("logprobs"), dict) else None
    )
    if not content or not content[0].get("top_logprobs"):
        return None
    mass = {"yes": 0.0, "no": 0.0, "": 0.0}
    try:
        for entry in _answer_token(content)["top_logprobs"]:
            # min: a log-probability above 0 is a rounding of the server
            mass[_spelt(entry["token"])] += math.exp(min(0.0, float(entry["logprob"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise JudgeError("the log-probabilities are malformed") from None
    both = mass["yes"] + mass["no"]
    # not `<`: so NaN is refused, too
    if not both >= LEAST_MASS:
        raise JudgeError(f"the judge's first word is neither yes nor no, but begins {_text(choice)[:80]!r}")
    return mass["yes"] / both


def _answer_token(content: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first token after the reasoning that holds more than blanks and signs."""
    said, start = "", 0
    for place, token in enumerate(content, 1):
        said += token["token"]
        # of the whole text so far: the tag is one token or several, by the tokenizer
        if said.rstrip().endswith("</think>"):
            start = place
    if said.lstrip().startswith("<think>") and not start:
        raise JudgeError("the judge's reasoning does not end; give it more max_tokens")
    for token in content[start:]:
        if re.search(r"\w", token["token"]):
            return token
    raise JudgeError("the judge said nothing")


def yes_from_texts(texts: Sequence[str]) -> float:
    """The share of yes among answers whose last line is one word, yes or no; JudgeError when most are not."""
    words = []
    for text in texts:
        lines = text.rpartition("</think>")[2].strip().splitlines() or [""]
        word = re.sub(r"[\s\"'*`_().,:;!\[\]]", "", lines[-1]).casefold()
        words += [word] if word in ("yes", "no") else []
    # Half at least must be of one word, or the share would be that of a few.
    if not words or len(words) * 2 < len(texts):
        raise JudgeError(f"{len(words)} of {len(texts)} answers are yes or no")
    return words.count("yes") / len(words)
