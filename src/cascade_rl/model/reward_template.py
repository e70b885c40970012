"""The chat template of an exported reward model: transformers alone then renders what training scored.

A language model's template asks for thinking, keeps a thought and ends with a line feed, so that the score
would be read off another token of another text. Here the last user turn asks for a direct answer, the last
answer comes without its thought, and the text ends with the end mark of the answer.
"""

from __future__ import annotations

from cascade_rl.chat import FLAGS, THINK_END
from cascade_rl.types import Mode

# `rows` are the messages as `learned_reward.reward_row` renders them; what the wrapped template makes of them
# is kept as `text`. Loops of Jinja change outer values in a namespace only.
_BEFORE = """\
{%- set seen = namespace(rows=[], user=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}\
{%- set seen.user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- set said = m.content or '' -%}
{%- if loop.index0 == seen.user and not said.endswith('@FLAG@') -%}
{%- set said = said + '@FLAG@' -%}
{%- elif loop.last and m.role == 'assistant' and '@END@' in said -%}
{%- set said = said.split('@END@')[-1].strip() -%}
{%- endif -%}
{%- set seen.rows = seen.rows + [dict(m, content=said)] -%}
{%- endfor -%}
{%- set messages = seen.rows -%}
{%- set text -%}
""".replace("@FLAG@", FLAGS[Mode.INSTRUCT]).replace("@END@", THINK_END)
_AFTER = """\
{%- endset -%}
{{- text[:-1] if text.endswith('\\n') else text -}}
"""


def reward_template(template: str) -> str:
    """A chat template wrapped, so that a conversation with its answer is what a reward model reads."""
    return _BEFORE + template + _AFTER
