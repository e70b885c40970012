"""The one place that turns messages into text and replies back into thinking and answer.

ChatML with a mode flag at the end of each user turn, ` /think` or ` /no_think` (arXiv 2512.13607, section 3.1
and the model cards): earlier user turns are rewritten to ` /no_think`, the thinking of earlier assistant
turns is dropped, and the generation prompt is the plain assistant header. The template is saved with the
tokenizer, so that transformers alone renders it; this module renders the very same string with jinja2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from cascade_rl.errors import InputError
from cascade_rl.types import Message, Mode, Problem

SYSTEM_PROMPT = "You are a helpful and harmless assistant."
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
THINK_START, THINK_END = "<think>", "</think>"
FLAGS = {Mode.THINKING: " /think", Mode.INSTRUCT: " /no_think"}

# Its bytes are hashed and recorded: a backslash at the end of a line only divides a long one.
# A last user turn without a flag asks for thinking, as in the models that the report starts from.
TEMPLATE = """\
{%- set ns = namespace(last_user=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}\
{%- set ns.last_user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- if messages and messages[0].role == 'system' -%}
{%- set system = messages[0].content -%}
{%- else -%}
{%- set system = '@SYSTEM@' -%}
{%- endif -%}
{{- '<|im_start|>system\\n' + system -}}
{%- if tools -%}
{{- '\\n\\n# Tools\\n\\nThese functions may be called. Their signatures:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '\\n</tools>\\n\\nAnswer each call with a JSON object that holds name and arguments:\\n<tool_call>\\n' -}}
{{- '{"name": <function-name>, "arguments": <arguments-object>}\\n</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- for m in messages -%}
{%- if m.role == 'user' -%}
{%- set text = m.content -%}
{%- set flag = ' /think' -%}
{%- if text.endswith(' /no_think') -%}
{%- set flag = ' /no_think' -%}{%- set text = text[:-10] -%}
{%- elif text.endswith(' /think') -%}
{%- set text = text[:-7] -%}
{%- endif -%}
{%- if loop.index0 != ns.last_user -%}{%- set flag = ' /no_think' -%}{%- endif -%}
{{- '<|im_start|>user\\n' + text + flag + '<|im_end|>\\n' -}}
{%- elif m.role == 'assistant' -%}
{%- set text = m.content or '' -%}
{%- if loop.index0 < ns.last_user and '</think>' in text -%}
{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>assistant\\n' + text -}}
{%- for call in m.tool_calls or [] -%}
{%- set function = call.function or call -%}
{{- '\\n' if text or not loop.first else '' -}}
{{- '<tool_call>\\n{"name": ' + (function.name | tojson) + ', "arguments": ' -}}
{{- (function.arguments if function.arguments is string \
else function.arguments | tojson) + '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- elif m.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' -}}
{%- elif m.role != 'system' or loop.index0 > 0 -%}
{{- raise_exception('role ' + m.role + ' can not stand here: \
a system message comes first, then user and assistant') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
""".replace("@SYSTEM@", SYSTEM_PROMPT)


def template_hash() -> str:
    """The first 16 hex digits of the template's SHA-256: recorded by each stage, so that drift is seen."""
    return hashlib.sha256(TEMPLATE.encode()).hexdigest()[:16]


class TemplateError(InputError):
    """The messages can't be rendered."""


def _raise(message: str) -> None:
    raise TemplateError(message)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    # As transformers compiles it, with the same filter and function: both must render the same bytes.
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    env.globals["raise_exception"] = _raise
    return env.from_string(TEMPLATE)


def flagged(messages: Sequence[Message], mode: Mode) -> list[dict[str, str]]:
    """The messages as dictionaries, with the mode's flag on the last user turn."""
    rows = [{"role": m.role, "content": m.content} for m in messages]
    last = max((i for i, row in enumerate(rows) if row["role"] == "user"), default=None)
    if last is not None:
        # the last user turn, also where a tool's result follows it; the template rewrites all earlier ones
        rows[last]["content"] += FLAGS[mode]
    return rows


def render(messages: Sequence[Message], mode: Mode, *, reply: str | None = None) -> str:
    """The prompt up to and including the assistant header, followed by `reply` and its end mark if given."""
    rows = flagged(messages, mode)
    # tools=None: no domain has tools; the template serves those who load the checkpoint elsewhere
    text: str = _compiled().render(messages=rows, tools=None, add_generation_prompt=True)
    return text if reply is None else text + reply + TURN_END


def written_tools(system: str | None, tools: Sequence[Any]) -> str:
    """The system prompt (the default one if None) with the tools as the template writes them behind it."""
    rows = [] if system is None else [{"role": "system", "content": system}]
    text: str = _compiled().render(messages=rows, tools=tools)
    return text.removeprefix(f"{TURN_START}system\n").removesuffix(f"{TURN_END}\n")


def written_calls(text: str, calls: Sequence[Any]) -> str:
    """An assistant's text with its tool calls as the template writes them behind it."""
    turn = {"role": "assistant", "content": text, "tool_calls": calls}
    # of no turns it renders the default system prompt, which stands before this one, too
    before = f"{_compiled().render(messages=[], tools=None)}{TURN_START}assistant\n"
    written: str = _compiled().render(messages=[turn], tools=None)
    return written.removeprefix(before).removesuffix(f"{TURN_END}\n")


def render_problem(problem: Problem) -> str:
    """The prompt text of a problem in its mode."""
    return render(problem.messages, problem.mode)


def thinking_reply(thought: str, answer: str) -> str:
    """A reply of thinking mode, exactly as the template expects it."""
    return f"{THINK_START}\n{thought}\n{THINK_END}\n\n{answer}"


def compose_reply(mode: Mode, thought: str, answer: str) -> str:
    """A reply in either mode: the answer alone in instruct mode."""
    return thinking_reply(thought, answer) if mode is Mode.THINKING else answer


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply taken apart; no `answer` when a think block never closed or, in thinking mode, never came."""

    thought: str | None
    answer: str | None


def split_reply(text: str, mode: Mode) -> Reply:
    """Take the think block off a reply, by the one rule that every grader uses.

    The answer is what follows the last closing tag. Without a closing tag there is no answer in thinking
    mode, nor in instruct mode if a think block was opened.
    """
    # the last: a reply that quotes the tag in its reasoning must not end it early
    head, tag, tail = text.rpartition(THINK_END)
    if tag:
        return Reply(head.replace(THINK_START, "", 1).strip(), tail.strip())
    # No answer rather than a guess: else a reply could be rewarded for an answer inside endless reasoning.
    if mode is Mode.THINKING or THINK_START in text:
        return Reply(text.replace(THINK_START, "", 1).strip(), None)
    return Reply(None, text.strip())


def leaks(text: str, mode: Mode) -> bool:
    """Whether the reply breaks its mode: a think tag in instruct mode, not one leading block in thinking."""
    if mode is Mode.INSTRUCT:
        return THINK_START in text or THINK_END in text
    body = text.lstrip()
    # blanks before the block are no leak, a second block is
    return not (body.startswith(THINK_START) and text.count(THINK_START) == 1 and text.count(THINK_END) == 1)
