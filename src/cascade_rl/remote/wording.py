"""A problem as the body of a chat completion, and a choice of its answer as a rollout.

Three ways to say the mode: `flag` writes ` /think` or ` /no_think` behind the last user turn, as `chat` does
(our template writes ` /no_think` behind the earlier ones); `kwargs` sends the argument `enable_thinking` of
the server's template; `none` says nothing, so that both modes ask the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from cascade_rl.chat import THINK_END, THINK_START, flagged, written_calls
from cascade_rl.protocols import Sampling
from cascade_rl.remote.answers import Completion, ServerError, tokens
from cascade_rl.types import Message, Mode, Problem, Rollout, Stop

ModeBy = Literal["flag", "kwargs", "none"]
WAYS: tuple[ModeBy, ...] = get_args(ModeBy)

# What servers call an end; the last three are text-generation-inference's, and Anthropic's bridge's.
ENDS = {"stop": Stop.END, "length": Stop.LENGTH, "tool_calls": Stop.END, "function_call": Stop.END,
        "eos_token": Stop.END, "stop_sequence": Stop.END, "max_tokens": Stop.LENGTH}  # fmt: skip


def chat_messages(problem: Problem, by: ModeBy) -> list[dict[str, str]]:
    """The messages of a problem in its mode, each as OpenAI's schema has it."""
    if by == "flag":
        rows = flagged(problem.messages, problem.mode)
        # an id is obligatory; of templates that write one none is ours
        return [
            row | ({"tool_call_id": f"call-{i}"} if row["role"] == "tool" else {})
            for i, row in enumerate(rows)
        ]
    return [_spoken(message) for message in problem.messages]


def _spoken(message: Message) -> dict[str, str]:
    if message.role != "tool":
        return {"role": message.role, "content": message.content}
    # Calls of our domains are text, and servers refuse a tool's turn that answers no call of theirs: it is
    # said as our own template renders it.
    return {"role": "user", "content": f"<tool_response>\n{message.content}\n</tool_response>"}


def options(problem: Problem, sampling: Sampling, by: ModeBy, index: int, count: int) -> dict[str, Any]:
    """What is asked beside model and messages, for `count` samples from number `index` on.

    What a server is not told it takes from defaults of its own, so temperature and top-p are always said.
    """
    rule = sampling.rule
    said: dict[str, Any] = {
        "max_tokens": sampling.max_new_tokens,
        "temperature": rule.temperature,
        "seed": row_seed(problem, sampling, index),
    }
    extra: dict[str, Any] = {}
    # as our own sampler, where temperature 0 looks at no filter
    if rule.temperature > 0:
        said["top_p"] = rule.top_p
        # neither is OpenAI's: a server that knows no better refuses them
        extra |= {"top_k": rule.top_k} if rule.top_k else {}
        extra |= {"min_p": rule.min_p} if rule.min_p else {}
    if by == "kwargs":
        extra["chat_template_kwargs"] = {"enable_thinking": problem.mode is Mode.THINKING}
    said |= {"n": count} if count > 1 else {}
    return said | ({"extra_body": extra} if extra else {})


def row_seed(problem: Problem, sampling: Sampling, index: int) -> int:
    """31 bits, which every server takes, that belong to one sample of a problem in its mode."""
    key = "/".join(map(str, (*sampling.seed, problem.id, problem.mode, index)))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 33


class Dialect:
    """What of OpenAI's schema a server refused so far, and is not said to it again.

    None of it changes what a reply is drawn from: another name of the limit, a seed, several samples at once.
    """

    INSTEAD: Mapping[str, str | None] = {"max_tokens": "max_completion_tokens", "seed": None, "n": None}

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def said(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The options in words that the server has not refused."""
        named = {
            name: self.INSTEAD[name] if name in self.refused else name
            for name in wanted
            if name in self.INSTEAD
        }
        return {new: value for name, value in wanted.items() if (new := named.get(name, name)) is not None}

    def learn(self, text: str, status: int | None, said: Mapping[str, Any]) -> bool:
        """Whether a word is refused that can be left out or said otherwise: asking again may help."""
        if status not in (400, 422):
            return False
        word = next(
            (w for w, pattern in REFUSED.items() if w in said and re.search(pattern, text, re.IGNORECASE)),
            None,
        )
        self.refused |= {word} if word else set()
        return word is not None


# How servers refuse them. `max_tokens` only where the other name is asked for: that a limit is too large is
# no reason to send it under a name that a server may not know, and then would write without end.
UNKNOWN = r"unsupported|not supported|unknown|unrecogni|unexpected|not permitted|not allowed|forbidden|extra"
REFUSED = {
    "max_tokens": r"\buse\W+max_completion_tokens",
    "seed": rf"(?s)(?=.*\bseed\b).*({UNKNOWN})",
    "n": r"\bn\b|\bchoices?\b|\bcompletions\b",
}


def rollouts(completion: Completion) -> list[Rollout]:
    """The replies of an answer, one at least; raises ServerError when a choice is no whole reply.

    How long they were is told of all together: with more than one, nobody knows of each.
    """
    count = tokens(completion.usage, "completion_tokens") if len(completion.choices) == 1 else None
    return [_rollout(choice, count) for choice in completion.choices]


def _rollout(choice: Mapping[str, Any], count: int | None) -> Rollout:
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise ServerError("the server's filter withheld the reply", final=True)
    # a reply that broke off is not one that ended
    if not isinstance(reason, str) or reason not in ENDS:
        raise ServerError(f"finish_reason {reason!r} does not say that the reply ended")
    return Rollout.of_text(_text(choice["message"]), ENDS[reason], count)


def _text(message: Mapping[str, Any]) -> str:
    """The reply as the model wrote it, before a server's parsers took it apart."""
    content = message.get("content")
    # vLLM and SGLang call it reasoning_content or, of late, reasoning, as OpenRouter does
    thought = next(
        (t for name in ("reasoning_content", "reasoning") if isinstance(t := message.get(name), str) and t),
        "",
    )
    calls = message.get("tool_calls")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    if content is None and not thought and not calls:
        content = message.get("refusal")
    if isinstance(calls, Sequence) and calls and all(isinstance(call, Mapping) for call in calls):
        content = written_calls(content if isinstance(content, str) else "", calls)
    if thought and content is None:
        # the parser met no closing tag
        return THINK_START + thought
    # never an empty reply for one that did not come: it would count as wrong
    if not isinstance(content, str):
        raise ServerError("the answer holds no text")
    return f"{THINK_START}{thought}{THINK_END}{content}" if thought else content
