"""The one owner of what a model reads: our template, or the model's own, behind one face.

Whoever needs the text of a prompt, of a reply or of an answer to be scored asks the tokenizer, and that asks
the template it was loaded with. Texts that a template returns may be wrapped where somebody spelled a control
token in them, see `marks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from cascade_rl import chat
from cascade_rl.model.marks import Marks
from cascade_rl.model.reward_template import reward_template
from cascade_rl.model.turns import Row
from cascade_rl.types import Demonstration, Message, Mode

CASCADE, MODEL = "cascade", "model"  # `model.template` of a recipe
FOUND = "found"  # whichever a directory is known by: what a published model is measured with


class Template(Protocol):
    """How a conversation is written.

    name     `cascade` or `model`
    hash     of its text, as keys of stages hold it
    lead     the mark that every conversation begins with (BOS), empty where there is none
    end      the token that ends a turn
    context  what stands right before a reply
    opening  the think tag that a prompt in thinking mode ends with, so that no reply has it; else empty
    modes    those that it can ask for
    refuses  whether there are conversations that it does not write
    marks    the control tokens of its tokenizer
    """

    name: str
    hash: str
    lead: str
    end: str
    context: str
    opening: str
    modes: tuple[Mode, ...]
    refuses: bool
    marks: Marks

    def prompt(self, messages: Sequence[Message], mode: Mode) -> str:
        """A conversation up to where the reply begins; raises InputError when it can't be written."""
        ...

    def reply(self, item: Demonstration) -> str:
        """What stands behind the prompt, up to the token that ends the turn."""
        ...

    def answered(self, messages: Sequence[Message], answer: str) -> str:
        """A conversation with an answer without thoughts and its end: what a reward model reads."""
        ...

    def reward_text(self) -> str:
        """A chat template for transformers that writes what `answered` does, see `reward_template`."""
        ...

    def request(self, messages: Sequence[Message], mode: Mode) -> tuple[list[Row], dict[str, Any]]:
        """Rows and further arguments with which `apply_chat_template` writes the same prompt."""
        ...

    def words(self) -> list[str]:
        """What was found of it and can't be seen from here, for people."""
        ...


class CascadeTemplate:
    """ChatML with flags of the mode, see `chat`; `lead` is the mark that every conversation begins with."""

    name = CASCADE
    end = chat.TURN_END
    context = f"{chat.TURN_START}assistant\n"
    opening = ""
    modes = tuple(Mode)
    refuses = False

    def __init__(self, inner: Any, lead: str) -> None:
        self.lead, self.hash = lead, chat.template_hash()
        self.marks = Marks(inner, f"{chat.TURN_START}{chat.TURN_END}")

    def prompt(self, messages: Sequence[Message], mode: Mode) -> str:
        """The lead and the conversation in its mode."""
        return self.lead + chat.render(self._protected(messages), mode)

    def reply(self, item: Demonstration) -> str:
        """The reply itself: it is kept as the template writes it."""
        return self.marks.protect(item.reply)

    def answered(self, messages: Sequence[Message], answer: str) -> str:
        """The answer in instruct mode."""
        answer = self.marks.protect(answer)
        return self.lead + chat.render(self._protected(messages), Mode.INSTRUCT, reply=answer)

    def reward_text(self) -> str:
        """Ours, in instruct mode."""
        text = ("{{- bos_token -}}" if self.lead else "") + chat.TEMPLATE
        return reward_template(text, chat.FLAGS[Mode.INSTRUCT], {}, "\n")

    def request(self, messages: Sequence[Message], mode: Mode) -> tuple[list[Row], dict[str, Any]]:
        """The flagged rows."""
        rows: list[Row] = [dict(row) for row in chat.flagged(messages, mode)]
        return rows, {}

    def words(self) -> list[str]:
        """Nothing: it is in the documentation."""
        return []

    def _protected(self, messages: Sequence[Message]) -> list[Message]:
        texts = [self.marks.protect(message.content) for message in messages]
        return [m if m.content is t else replace(m, content=t) for m, t in zip(messages, texts, strict=True)]
