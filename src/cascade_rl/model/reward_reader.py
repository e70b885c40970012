"""What a reward model with a tokenizer of its own reads: its own chat template, as transformers writes it.

So published ones are asked as their cards say, and those that a run exported read the very ids that they were
trained on, since their template renders these (see `reward_template`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cascade_rl.errors import InputError
from cascade_rl.model.marks import Marks
from cascade_rl.model.rendering import Renderer
from cascade_rl.model.tokenizer import opened
from cascade_rl.model.turns import Row
from cascade_rl.types import Message


class RewardReader:
    """The tokenizer and chat template of a reward model's directory; InputError where it has none.

    most  the most tokens of a text; the middle of a longer one is left out, so that its score is read off its
          last token all the same: no reply may leave a batch by its length
    """

    def __init__(self, folder: Path, most: int) -> None:
        inner = opened(folder)
        if not inner.chat_template:
            raise InputError(
                f"{folder} has no chat template, by which conversations become what the reward model reads"
            )
        self._render, self._most = Renderer(inner), most
        talk: list[Row] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        self._marks = Marks(inner, self._render(talk))

    def answered(self, messages: Sequence[Message], answer: str) -> list[int]:
        """Ids of a conversation with an answer; control tokens that are spelled in texts stay text."""
        rows: list[Row] = [{"role": m.role, "content": m.content} for m in messages]
        rows.append({"role": "assistant", "content": answer})
        ids = self._marks.encode(self._render(self._marks.protect(rows)))
        return ids if len(ids) <= self._most else [*ids[: self._most - 1], ids[-1]]

    def answered_all(self, asked: Sequence[tuple[Sequence[Message], str]]) -> list[list[int]]:
        """`answered` of many."""
        return [self.answered(messages, answer) for messages, answer in asked]
