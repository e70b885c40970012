"""The chat template that a model brings along, as training, sampling and scoring use it.

What it can say was found by `template_probe`; what it can't is refused with the mend, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.model.found import MEND, Said
from cascade_rl.model.marks import Marks, turn_mark
from cascade_rl.model.rendering import Renderer
from cascade_rl.model.reward_template import reward_template
from cascade_rl.model.template import MODEL
from cascade_rl.model.template_probe import examine
from cascade_rl.model.turns import Row, parted, rows_of
from cascade_rl.types import Demonstration, Message, Mode

# what published templates put around turns: <|user|>, [INST], <start_of_turn>
_MARK = re.compile(r"<\|[^|<>\s]+\|>|\[/?[A-Z_]{2,}\]|<(?:start|end)_of_\w+>")


class OwnTemplate:
    """The chat template that a model brings along, by transformers' own rendering, unchanged.

    Raises InputError where the tokenizer has none, or one that can't be trained with.
    """

    name = MODEL
    refuses = True

    def __init__(self, inner: Any) -> None:
        if not inner.chat_template:
            raise InputError(
                "the tokenizer has no chat template (chat_template.jinja, or chat_template in "
                "tokenizer_config.json): set model.template: cascade, or put the model's own there"
            )
        self._render = Renderer(inner)
        self.lead = inner.bos_token or ""
        added = sorted(map(str, inner.get_added_vocab()), key=len, reverse=True)
        self._tokens = [token for token in added if turn_mark(token)]
        self.found = examine(self._render, self._ends)
        if not self.found.plain.startswith(self.lead):
            self.lead = ""
        self.hash, self.end = f"model:{self._render.hash}", self.found.end
        self.marks = Marks(inner, self.found.plain)
        self.modes = tuple(mode for mode in Mode if mode in self.found.said)
        first = self.found.said[self.modes[0]]
        self.context, self.opening = first.context, first.opening

    def _ends(self, behind: str) -> tuple[str, str, str] | None:
        """What stands behind an answer, as (gap, the token that ends the turn, the rest)."""
        body = behind.lstrip()
        gap = behind[: len(behind) - len(body)]
        end = next((token for token in self._tokens if body.startswith(token)), None)
        return None if end is None else (gap, end, body.removeprefix(end))

    def prompt(self, messages: Sequence[Message], mode: Mode) -> str:
        """As `apply_chat_template` writes it with `add_generation_prompt`, told the mode."""
        return self._begun(messages, mode)[0]

    def _begun(self, messages: Sequence[Message], mode: Mode) -> tuple[str, list[Row], list[Row], Said]:
        said = self._said(mode)
        rows, tools = self._rows(messages, said)
        text = self._render(rows, tools, generate=True, said=said.variables)
        if not text.endswith(said.header):
            raise chat.TemplateError(
                f"the model's chat template does not ask for {mode} here, since a text of the conversation "
                "says another mode; take the flag out of it"
            )
        return text, rows, tools, said

    def reply(self, item: Demonstration) -> str:
        """As the template writes the turn behind its own prompt; if it does not, as the prompt begins it."""
        asked = item.problem
        prompt, rows, tools, said = self._begun(asked.messages, asked.mode)
        form = Message("assistant", item.reply, item.form)
        # with all that came before: calls are numbered by their places
        turn = self.marks.protect(rows_of((*asked.messages, form), self.found.style).rows[-1])
        self.found.refuse(turn)
        if said.composed:
            return self._composed(turn, said)
        closing = self.found.end + self.found.tail
        whole = self._render([*rows, turn], tools, said=said.variables)
        if not whole.startswith(prompt):
            # Mistral's puts a system prompt before the last user's turn only while no reply follows. The
            # reply is written as behind any other prompt.
            alone: Row = {"role": "user", "content": f"a{said.flag}"}
            prompt = self._render([alone], tools, generate=True, said=said.variables)
            whole = self._render([alone, turn], tools, said=said.variables)
        body = whole[len(prompt) :].removesuffix(closing)
        # nothing of it may be lost: its text, its thought, the names of its calls
        told = [parted(turn["content"])[1], turn.get("reasoning_content", "")]
        told += [call["function"]["name"] for call in turn.get("tool_calls", [])]
        kept = all(text.strip() in body for text in told)
        if not (kept and whole.startswith(prompt) and whole.endswith(closing)):
            raise chat.TemplateError(
                f"the model's chat template does not write this reply behind its own prompt; {MEND}"
            )
        return body

    def _composed(self, turn: Row, said: Said) -> str:
        if "tool_calls" in turn:
            raise chat.TemplateError(
                "the model's chat template does not write a last turn as its prompt begins it, so that tool "
                f"calls can't be trained on; {MEND}"
            )
        thought, answer = parted(turn["content"])
        if thought is None:
            return answer + self.found.gap
        # a prompt that ends with the bare tag wants thoughts without lines of their own
        line = "" if said.opening and not said.opening.endswith("\n") else "\n"
        begin = "" if said.opening else f"{chat.THINK_START}{line}"
        return f"{begin}{thought}{line}{chat.THINK_END}{line * 2}{answer}{self.found.gap}"

    def answered(self, messages: Sequence[Message], answer: str) -> str:
        """The answer as a last turn, in instruct mode where there is one."""
        said = self._answering
        rows, tools = self._rows(messages, said)
        turn = self.marks.protect({"role": "assistant", "content": answer})
        whole = self._render([*rows, turn], tools, said=said.variables)
        closing = self.found.end + self.found.tail
        if not whole.endswith(closing):
            raise chat.TemplateError("the model's chat template does not end this answer as it ends others")
        return whole.removesuffix(self.found.tail)

    @property
    def _answering(self) -> Said:
        return self.found.said.get(Mode.INSTRUCT) or self.found.said[self.modes[0]]

    def reward_text(self) -> str:
        """The model's own, on the day of a run, wrapped."""
        said = self._answering
        return reward_template(self._render.text(), said.flag, said.variables, self.found.tail)

    def request(self, messages: Sequence[Message], mode: Mode) -> tuple[list[Row], dict[str, Any]]:
        """The rows, the variables that say the mode, and the template as it is on the day of a run."""
        said = self._said(mode)
        rows, tools = self._rows(messages, said)
        return rows, {**said.variables, "tools": tools or None, "chat_template": self._render.text(tools)}

    def _said(self, mode: Mode) -> Said:
        said = self.found.said.get(mode)
        if said is None:
            raise chat.TemplateError(
                f"the model's chat template can't ask for {mode} mode, only for {self.modes[0]}; {MEND}"
            )
        return said

    def _rows(self, messages: Sequence[Message], said: Said) -> tuple[list[Row], list[Row]]:
        """The rows of a conversation, flagged, control tokens in their texts wrapped."""
        made = rows_of(messages, self.found.style)
        self.found.refuse_tools(made.tools)
        for row in made.rows:
            self.found.refuse(row)
        rows, tools = self.marks.protect((made.rows, made.tools))
        last = next((row for row in reversed(rows) if row["role"] == "user"), None)
        if last is not None and said.flag:
            last["content"] += said.flag
        return rows, tools

    def words(self) -> list[str]:
        """How modes are said, how a turn ends, what it has no place for."""
        found = dict.fromkeys(_MARK.findall(self.found.plain))
        spelled = [mark for mark in found if mark not in self._tokens]
        return self.found.words(self.hash, dated=self._render.dated, spelled=spelled)
