"""A model's own chat template as transformers renders it, always on the same day.

Templates that write today's date would make another text of every day: a run that goes on tomorrow would
train on other prompts. So the date is fixed here, to the one that Llama's templates fall back to, and said;
the exported template is the model's own and writes the day on which it is used.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError as JinjaError

from cascade_rl.chat import TemplateError

DAY = datetime.datetime(2024, 7, 26)
_ASKS_DATE = re.compile(r"""strftime_now\s*\(\s*(?:"([^"]*)"|'([^']*)')\s*\)""")
# What a template may raise: its own refusal, or a value that it did not expect.
FAULTS = (JinjaError, ValueError, TypeError, LookupError, AttributeError)


class Renderer:
    """The template of a transformers tokenizer, which must have one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        text = inner.chat_template
        # some models bring several, by name: one is for conversations with tools
        self.texts = list(text.values()) if isinstance(text, Mapping) else [text]

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 over the template's text."""
        return hashlib.sha256("\0".join(self.texts).encode()).hexdigest()[:16]

    @property
    def dated(self) -> bool:
        """Whether it writes the day."""
        return any(map(_ASKS_DATE.search, self.texts))

    def __call__(
        self,
        rows: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        generate: bool = False,
        said: Mapping[str, bool] | None = None,
    ) -> str:
        """The text of a conversation, with `generate` up to where the reply begins.

        `said` are variables of the template. Raises TemplateError with the template's own words.
        """
        asked = list(tools) if tools else None
        try:
            text: str = self._inner.apply_chat_template(
                [dict(row) for row in rows],
                tools=asked,
                chat_template=self.text(asked),
                tokenize=False,
                add_generation_prompt=generate,
                **(said or {}),
            )
        except FAULTS as error:
            raise TemplateError(f"the model's chat template refuses it: {error}") from None
        return text

    def text(self, tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The template that is rendered, for conversations with or without tools."""
        return on_one_day(self._inner.get_chat_template(tools=list(tools) if tools else None))


@lru_cache(maxsize=16)
def on_one_day(template: str) -> str:
    """The template with a `strftime_now` of its own, which knows one day."""
    formats = dict.fromkeys(first or second for first, second in _ASKS_DATE.findall(template))
    if not formats:
        return template
    said = [f"{{%- if format == {f!r} -%}}{DAY.strftime(f)}{{%- endif -%}}" for f in formats]
    # behind a block jinja drops a line's end, behind an expression it does not
    return f"{{%- macro strftime_now(format) -%}}{''.join(said)}{{%- endmacro -%}}{{{{ '' }}}}{template}"
