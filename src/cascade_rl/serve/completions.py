"""A request from its text to its reply: checked against the model, decoded, written as OpenAI writes it."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampling
from cascade_rl.rollout.streaming import Ask, Token
from cascade_rl.serve.batches import Batches, Job
from cascade_rl.serve.refusals import Refused
from cascade_rl.serve.request import ChatRequest, read_request, take_flag
from cascade_rl.serve.text import HALF, Choice
from cascade_rl.types import Message, Mode, Problem, problem_id

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """The model that is served: its name, who decodes it, and the most tokens of a prompt with its reply."""

    name: str
    tokenizer: Tokenizer
    batches: Batches
    longest: int


class Completion:
    """One request at work: its choices, and what the client is told of them."""

    def __init__(self, served: Served, data: bytes) -> None:
        """Raises Refused for what can't be answered."""
        self.served = served
        self.asked, written = read_request(data)
        if self.asked.model != served.name:
            raise Refused(
                f"the model {self.asked.model!r} is not served here; there is {served.name!r}",
                404,
                "model_not_found",
                "model",
            )
        problem = asked_problem(self.asked, written, served.tokenizer)
        self.prompt = _prompt(served.tokenizer, problem)
        limit = _limit(self.asked, len(self.prompt), served.longest)
        # a seed that is not given is new for each request, and told: replies drawn in several requests, also
        # after a new start, must not be the same ones again
        self.seed = secrets.randbits(53) if self.asked.seed is None else self.asked.seed
        sampling = Sampling(self.asked.choices, limit, self.asked.rule, seed=(self.seed,))
        self.ask = Ask(problem, sampling, tuple(self.prompt), self.asked.top)
        self.choices = [
            Choice(served.tokenizer, self.prompt, limit, self.asked.stops) for _ in range(sampling.n)
        ]
        self.head: Event = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": served.name,
            "seed": self.seed,
        }

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the prompt and of all replies, the ones that end them among them."""
        drawn = sum(len(choice.tokens) for choice in self.choices)
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": drawn,
            "total_tokens": len(self.prompt) + drawn,
        }

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Job]:
        """Its place in the line of requests, left whatever happens."""
        job = self.served.batches.begin(self.ask)
        try:
            yield job
        finally:
            self.served.batches.leave(job)

    async def texts(self, job: Job) -> AsyncGenerator[tuple[int, str]]:
        """(choice, new text) after each token, which may be empty."""
        async for index, token in job.tokens():
            choice = self.choices[index]
            text = choice.add(token)
            if choice.finish:
                job.end(index)
            yield index, text

    async def whole(self) -> Event:
        """The reply, once it is complete."""
        texts = [""] * len(self.choices)
        async with self.at_work() as job:
            async for index, text in self.texts(job):
                texts[index] += text
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": text},
                "finish_reason": choice.finish,
                "logprobs": self.logprobs(choice.tokens),
            }
            for i, (text, choice) in enumerate(zip(texts, self.choices, strict=True))
        ]
        return {**self.head, "object": "chat.completion", "choices": choices, "usage": self.usage}

    async def events(self, job: Job) -> AsyncGenerator[str]:
        """The reply as it comes, as server-sent events."""
        told = [0] * len(self.choices)  # tokens whose log-probabilities were sent
        for index in range(len(told)):
            yield self._event([_delta(index, {"role": "assistant", "content": ""})])
        try:
            async for index, text in self.texts(job):
                choice = self.choices[index]
                if not text and not choice.finish:  # tokens of half a character go with its end
                    continue
                logprobs = self.logprobs(choice.tokens[told[index] :])
                told[index] = len(choice.tokens)
                yield self._event([_delta(index, {"content": text} if text else {}, choice.finish, logprobs)])
        except Refused as refused:  # the status was sent long ago
            yield event_of(refused.body())
            return
        if self.asked.stream_options and self.asked.stream_options.include_usage:
            yield self._event([], self.usage)
        yield "data: [DONE]\n\n"

    def _event(self, choices: Sequence[Event], usage: Mapping[str, int] | None = None) -> str:
        told = (
            {"usage": usage} if self.asked.stream_options and self.asked.stream_options.include_usage else {}
        )
        return event_of({**self.head, "object": "chat.completion.chunk", "choices": choices, **told})

    def logprobs(self, tokens: Sequence[Token]) -> Event | None:
        """Log-probabilities in OpenAI's form, if asked for; `streaming.Token` says what they are."""
        if not self.asked.logprobs:
            return None
        return {"content": [self._logprob(token) for token in tokens], "refusal": None}

    def _logprob(self, token: Token) -> Event:
        top = [self._spelled(i, logprob) for i, logprob in token.top]
        return {**self._spelled(token.id, token.logprob), "top_logprobs": top}

    def _spelled(self, token: int, logprob: float) -> Event:
        inner = self.served.tokenizer.inner
        text: str = inner.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # part of a character: OpenAI's word for a token without a text of its own
        return {"token": text, "logprob": logprob, "bytes": None if HALF in text else list(text.encode())}


def asked_problem(asked: ChatRequest, written: tuple[Message, ...], tokenizer: Tokenizer) -> Problem:
    """What a sampler is asked: the messages without the flag of the last user's turn, in the mode it means.

    The flag comes before `enable_thinking`, and without both the first mode of the template counts: thinking,
    where it has one. Raises Refused for a mode that the template can't ask for.
    """
    messages, mode = take_flag(written)
    said = asked.chat_template_kwargs.enable_thinking if asked.chat_template_kwargs else None
    if mode is None and said is not None:
        mode = Mode.THINKING if said else Mode.INSTRUCT
    modes = tokenizer.template.modes
    if mode is not None and mode not in modes:
        raise Refused(f"the model's chat template can't ask for {mode} mode, only for {' or '.join(modes)}")
    # by content alone: equal talks with equal seeds have equal replies
    identity = problem_id("chat", [[m.role, m.content] for m in messages])
    return Problem(identity, "chat", messages, None, mode or modes[0])


def _prompt(tokenizer: Tokenizer, problem: Problem) -> list[int]:
    try:
        return tokenizer.prompt(problem)
    except InputError as error:
        raise Refused(str(error), param="messages") from None


def _limit(asked: ChatRequest, prompt: int, longest: int) -> int:
    """The longest reply; raises Refused where the model has no room for it."""
    room = longest - prompt
    if room < 1 or (asked.limit or 1) > room:
        beside = f" and {asked.limit} of the reply" if asked.limit else " and one of a reply"
        raise Refused(
            f"this model's context is {longest} tokens, and {prompt} of the prompt{beside} are more; "
            "shorten the messages or lower max_tokens",
            code="context_length_exceeded",
            param="messages" if room < 1 else "max_tokens",
        )
    return asked.limit or room


def _delta(index: int, delta: Event, finish: str | None = None, logprobs: Event | None = None) -> Event:
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}


def event_of(event: Event) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n"
