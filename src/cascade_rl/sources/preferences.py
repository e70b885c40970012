"""Pairs of answers from rows: which of two replies to one prompt somebody preferred.

A pair holds answers without reasoning, since a reward model reads no more: a thought that stands in a row is
taken off. Rows are refused with InputError, which says why; who reads them says where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cascade_rl.errors import InputError
from cascade_rl.sources.chats import Row, conversation, listed, reply_of, text_of
from cascade_rl.types import Message, Mode, Pair, Problem, Split, problem_id

# the marks of the HH-RLHF files, which have a blank after the colon where a text follows
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_SAID_BY = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to the messages of a prompt; `split` is the one that its row names."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    # of the same pair twice the first decides, whatever the other says
    split: Split | None = field(default=None, compare=False)

    def pair(self, source: str) -> Pair:
        """The pair for training; `source` is told of it."""
        # by content alone, as of chats; instruct mode is what a reward model is asked in
        identity = problem_id("chat", [[m.role, m.content] for m in self.messages])
        problem = Problem(identity, source, self.messages, None, Mode.INSTRUCT)
        return Pair(problem, self.chosen, self.rejected)


def trl_preference(row: Row) -> Preference:
    """TRL's: `prompt`, `chosen`, `rejected`, texts or lists of messages; the prompt may stand in both."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _pair(_asked(row.get("prompt")), _spoken(chosen), _spoken(rejected))
    before, good = _last(row.get("prompt"), chosen, "chosen")
    other, bad = _last(row.get("prompt"), rejected, "rejected")
    return _pair(_same(before, other), good, bad)


def hh_preference(row: Row) -> Preference:
    r"""HH-RLHF's: `chosen` and `rejected`, `\n\nHuman: ...\n\nAssistant: ...`, alike until the last turn."""
    before, good = _last(None, _dialogue(row.get("chosen"), "chosen"), "chosen")
    other, bad = _last(None, _dialogue(row.get("rejected"), "rejected"), "rejected")
    return _pair(_same(before, other), good, bad)


def helpsteer(row: Row) -> Preference | None:
    """HelpSteer's: a prompt, two responses, a number below 0 where the first is better; 0 is no pair.

    HelpSteer2 writes `prompt`, `response_1`, `response_2`, `preference_strength`; HelpSteer3 `context` (a
    list of messages), `response1`, `response2`, `overall_preference`.
    """
    third = "context" in row
    strength = row.get("overall_preference" if third else "preference_strength")
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise InputError(f"the preference is no number: {strength!r}")
    asked = _asked(row.get("context" if third else "prompt"))
    names = ("response1", "response2") if third else ("response_1", "response_2")
    first, second = (_spoken(text_of(row.get(name))) for name in names)
    if strength == 0:
        return None
    return _pair(asked, first, second) if strength < 0 else _pair(asked, second, first)


PAIR_MAPS: Mapping[str, Callable[[Row], Preference | None]] = {
    "trl-preference": trl_preference,
    "hh-preference": hh_preference,
    "helpsteer": helpsteer,
}


def _pair(asked: Sequence[Row], chosen: Row, rejected: Row) -> Preference:
    before = conversation(asked).messages
    if before[-1].role not in ("user", "tool"):
        raise InputError(f"the prompt ends with a turn of {before[-1].role}")
    good, bad = _answer(chosen, "chosen"), _answer(rejected, "rejected")
    if good == bad:
        raise InputError("both answers are the same")
    return Preference(before, good, bad)


def _answer(turn: Row, key: str) -> str:
    try:
        return reply_of(turn)[1]
    except InputError as error:
        raise InputError(f"{key}: {error}") from None


def _asked(prompt: object) -> Sequence[Row]:
    """The messages of a prompt that is a text or a list of them."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else listed(prompt, "prompt")


def _spoken(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _last(prompt: object, turns: object, key: str) -> tuple[Sequence[Row], Row]:
    """What was said before, and the last turn, of a conversation that may leave its prompt to `prompt`."""
    *before, answer = listed(turns, key)
    if answer.get("role") != "assistant":
        raise InputError(f"{key} ends with a turn of {answer.get('role')!r}")
    if not before:
        return _asked(prompt), answer
    if isinstance(prompt, str):
        # A prompt as text beside whole conversations is there for people: it is what the user said.
        if prompt not in [turn.get("content") for turn in before]:
            raise InputError(f"the prompt is not in {key}")
        return before, answer
    asked = list(_asked(prompt)) if prompt else []
    return (before if before[: len(asked)] == asked else [*asked, *before]), answer


def _same(one: Sequence[Row], other: Sequence[Row]) -> Sequence[Row]:
    if list(one) != list(other):
        raise InputError("chosen and rejected differ before the last answer")
    return one


def _dialogue(text: object, key: str) -> Sequence[Row]:
    """The turns of a text of HH-RLHF's."""
    if not isinstance(text, str):
        raise InputError(f"{key}: want a text, got {text!r:.60}")
    head, *parts = _SPEAKER.split(text)
    if head.strip() or not parts:
        raise InputError(f"{key}: does not begin with a turn of Human")
    turns = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": _SAID_BY[speaker], "content": said.strip()} for speaker, said in turns]
