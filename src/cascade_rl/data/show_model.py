"""Rows as a model reads them: their text, by our template or the model's own, and how many tokens it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cascade_rl import chat
from cascade_rl.types import Demonstration, Message, Mode, Pair, Problem

if TYPE_CHECKING:
    from cascade_rl.model.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Read:
    """A text, and its tokens where a tokenizer counts them; what has loss, or is scored, is in [[ ]]."""

    text: str
    tokens: int | None = None


class Reader:
    """Reads by a model's tokenizer and template; without one by our template, and counts nothing.

    Raises InputError where the template can't write a conversation.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer

    @property
    def counts(self) -> bool:
        """Whether it knows of tokens."""
        return self._tokenizer is not None

    def prompt(self, problem: Problem) -> Read:
        """A prompt up to where the reply begins."""
        if self._tokenizer is None:
            return Read(chat.render_problem(problem))
        return Read(self._tokenizer.asked(problem), len(self._tokenizer.prompt(problem)))

    def sample(self, item: Demonstration) -> Read:
        """A reply behind its prompt, as SFT trains on it."""
        if self._tokenizer is None:
            return Read(f"{chat.render_problem(item.problem)}[[{item.reply}{chat.TURN_END}]]")
        prompt, reply = self._tokenizer.shown(item)
        return Read(f"{prompt}[[{reply}]]", sum(map(len, self._tokenizer.taught(item))))

    def answers(self, pair: Pair) -> tuple[Read, Read]:
        """Both answers of a pair behind their prompt, as a reward model reads them."""
        messages = pair.problem.messages
        return self._answered(messages, pair.chosen), self._answered(messages, pair.rejected)

    def _answered(self, messages: Sequence[Message], answer: str) -> Read:
        if self._tokenizer is None:
            return Read(f"{chat.render(messages, Mode.INSTRUCT)}[[{answer}{chat.TURN_END}]]")
        whole = self._tokenizer.scored(messages, answer)
        # it ends with the answer and the mark of its end
        start = whole.rfind(answer.strip())
        return Read(f"{whole[:start]}[[{whole[start:]}]]", len(self._tokenizer.answered(messages, answer)))
