"""A chat completion as it is asked for: read strictly, with all that is wrong at once.

A field that would change the reply and is not served is refused, however harmless it looks: a client that is
answered as if it had not asked would take the reply for another one. Fields that change nothing are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from cascade_rl.chat import FLAGS
from cascade_rl.errors import meant
from cascade_rl.protocols import SamplingRule
from cascade_rl.serve.refusals import Refused, refused_for
from cascade_rl.sources.chats import ROLES, text_of
from cascade_rl.types import Message, Mode

MOST_CHOICES, MOST_TOP, MOST_STOPS = 128, 20, 16

# Names of somebody's books: what stands in them changes no reply.
IGNORED = frozenset(
    (
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    )
)
# Served in one way only: these values ask for just that.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none",),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Turn(BaseModel):
    """A message as our rows have it: see `sources/chats` for roles and for what a content may be."""

    model_config = ConfigDict(strict=True, extra="allow")
    role: str
    content: Annotated[str, BeforeValidator(text_of)] = Field(default=None, validate_default=True)

    @field_validator("role")
    @classmethod
    def _known(cls, role: str) -> str:
        if role not in ROLES:
            raise ValueError(f"is none of {', '.join(ROLES)}")
        return ROLES[role]

    @model_validator(mode="after")
    def _served(self) -> _Turn:
        extra = {key for key, value in (self.model_extra or {}).items() if value not in (None, [], "")}
        # who speaks, and which call a tool answers: our template writes neither
        if unserved := sorted(extra - {"name", "tool_call_id"}):
            raise ValueError(f"{', '.join(unserved)}: not served here; write it into the content")
        return self


class _StreamOptions(_Strict):
    include_usage: bool = False
    # padding against eavesdroppers of a public network: none is sent
    include_obfuscation: bool = False


class _Template(_Strict):
    enable_thinking: bool | None = None


Count = Annotated[int, Field(ge=1)]


class ChatRequest(BaseModel):
    """The fields that are served, as OpenAI's reference has them; docs/served.md says what each does."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: str
    messages: Annotated[list[_Turn], Field(min_length=1)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=MOST_STOPS)]
        | None
    ) = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP)] | None = None
    chat_template_kwargs: _Template | None = None

    @property
    def limit(self) -> int | None:
        """The longest reply in tokens; None where it was not said."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def choices(self) -> int:
        """How many replies are wanted."""
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end a reply."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def top(self) -> int:
        """How many of the likeliest tokens are told beside each."""
        return self.top_logprobs or 0

    @property
    def rule(self) -> SamplingRule:
        """OpenAI's defaults, temperature 1 and no filter; `top_k` -1 is vLLM's word for none."""
        t, p = self.temperature, self.top_p
        k = max(0, self.top_k or 0)
        return SamplingRule(1.0 if t is None else t, 1.0 if p is None else p, k, self.min_p or 0.0)


def read_request(data: bytes) -> tuple[ChatRequest, tuple[Message, ...]]:
    """A request and its messages, as they were written; raises Refused with everything that is wrong."""
    try:
        raw = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is no JSON: {error}") from None
    if not isinstance(raw, dict):
        raise Refused(f"the body must be a JSON object, not {_kind(raw)}")
    raw = {key: value for key, value in raw.items() if value is not None}
    problems = [(name, text) for name, value in raw.items() if (text := _unserved(name, value))]
    try:
        found = ChatRequest.model_validate(raw)
    except ValidationError as error:
        problems += dict.fromkeys(_told(each) for each in error.errors())
        raise refused_for(problems) from None
    if problems := [*problems, *_contrary(found)]:
        raise refused_for(problems)
    return found, tuple(Message(turn.role, turn.content) for turn in found.messages)


def _told(error: ErrorDetails) -> tuple[str, str]:
    """The place and the text of what pydantic found."""
    text = error["msg"].removeprefix("Value error, ")
    missing = error["type"] == "missing"
    return _place(error["loc"]), text if missing else f"{text} (got {_shown(error['input'])})"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number or null")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(parts: tuple[int | str, ...]) -> str:
    """`messages.0.role`; what pydantic calls the members of a union is left out."""
    named = [str(p) for p in parts if not isinstance(p, str) or p.isidentifier()]
    return ".".join(named[:1] if "stop" in named[:1] else named)


def _unserved(name: str, value: object) -> str | None:
    """Why a field can't be ignored; None for one that is served or changes nothing."""
    if name in ChatRequest.model_fields or name in IGNORED:
        return None
    if name not in NEUTRAL:
        return f"{meant(name, ChatRequest.model_fields)}this server does not know it"
    # 0 is no False here
    if any(type(value) is type(v) and value == v for v in NEUTRAL[name]) or (
        type(value) in (int, float) and value in NEUTRAL[name]
    ):
        return None
    return "not served here; leave it out"


def _contrary(asked: ChatRequest) -> list[tuple[str, str]]:
    """Fields that are right alone, but not together."""
    found = []
    if (last := asked.messages[-1].role) not in ("user", "tool"):
        found.append(("messages", f"the last one must be the user's or a tool's, not the {last}'s"))
    if asked.max_tokens and asked.max_completion_tokens and asked.max_tokens != asked.max_completion_tokens:
        found.append(("max_tokens", "max_completion_tokens says another number; give one of them"))
    if asked.top_logprobs and not asked.logprobs:
        found.append(("top_logprobs", "has no effect without logprobs: true"))
    if asked.stream_options and not asked.stream:
        found.append(("stream_options", "has no effect without stream: true"))
    return found


def take_flag(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], Mode | None]:
    """The messages without the flag at the end of the last user's turn, and the mode that it asked for.

    The template takes it off in the same way, see `chat`.
    """
    places = [n for n, message in enumerate(messages) if message.role == "user"]
    for mode, flag in FLAGS.items():
        if places and messages[place := places[-1]].content.endswith(flag):
            bare = Message("user", messages[place].content.removesuffix(flag))
            return (*messages[:place], bare, *messages[place + 1 :]), mode
    return messages, None
