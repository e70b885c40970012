"""The chat template of an exported reward model: transformers alone then renders what training scored.

A language model's template asks for thinking, keeps a thought and may write a line after the end of a turn,
so that the score would be read off another token of another text. Here the last user turn asks for a direct
answer, the last answer comes without its thought, and the text ends with the end mark of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cascade_rl.chat import THINK_END

# `rows` are the messages as `Template.answered` renders them; what the wrapped template makes of them is kept
# as `text`. Loops of Jinja change outer values in a namespace only.
_BEFORE = """\
{%- set seen = namespace(rows=[], user=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}\
{%- set seen.user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- set said = m.content or '' -%}
{%- if loop.index0 == seen.user and not said.endswith(@FLAG@) -%}
{%- set said = said + @FLAG@ -%}
{%- elif loop.last and m.role == 'assistant' and @END@ in said -%}
{%- set said = said.split(@END@)[-1].strip() -%}
{%- endif -%}
{%- set seen.rows = seen.rows + [dict(m, content=said)] -%}
{%- endfor -%}
{%- set messages = seen.rows -%}
{%- set text -%}{{- '' -}}"""
_AFTER = "{%- endset -%}\n{{- text.removesuffix(@TAIL@) -}}\n"


def reward_template(template: str, flag: str, variables: Mapping[str, bool], tail: str) -> str:
    """A chat template wrapped, so that a conversation with its answer is what a reward model reads.

    `flag` behind the last user's text and `variables` say the mode; `tail` is what the template writes behind
    the token that ends a turn.
    """
    said = "".join(f"{{%- set {name} = {str(value).lower()} -%}}" for name, value in variables.items())
    before = _BEFORE.replace("@FLAG@", json.dumps(flag)).replace("@END@", json.dumps(THINK_END))
    return said + before + template + _AFTER.replace("@TAIL@", json.dumps(tail))
