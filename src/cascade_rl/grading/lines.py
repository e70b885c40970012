"""A line of the input of `cascade grade`: with one gold or several, or named by its place as a bad one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cascade_rl.domain import Domain
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.types import Message, Mode, Outcome, Problem, Verdict
from cascade_rl.verify.told import json_fault, quoted

FORM = '{"answer", "response", "id"?, "mode"?, "prompt"? or "messages"?}'
# what public files of replies call the two
CALLED: Mapping[str, tuple[str, ...]] = {
    "answer": ("gold", "target", "reference", "ground_truth", "label", "expected_answer"),
    "response": ("prediction", "completion", "output", "generation", "reply"),
}
MOST_BESIDE = 8  # golds that a note names beside the first


class LineError(InputError):
    """What is wrong with a line."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that can't be graded, with its id (its number if it has none) and what is wrong with it."""

    id: Any
    fault: str


@dataclass(frozen=True, slots=True)
class Case:
    """One line that can be graded: a problem for each gold that is accepted, and golds that can't be used."""

    number: int
    id: str | int
    problems: tuple[Problem, ...]
    response: str
    left_out: tuple[str, ...] = ()

    def verdict(self, verdicts: Sequence[Verdict]) -> Verdict:
        """The best of the verdicts by its golds; null only when all of them are."""
        judged = [v for v in verdicts if v.reward is not None]
        best = max(judged, key=_reward, default=verdicts[0])
        beside = list(self.left_out)
        for gold, verdict in zip((p.answer for p in self.problems), verdicts, strict=True):
            if verdict is best:
                continue
            if verdict.reward is None:
                beside.append(f"by another gold no verdict: {verdict.note}")
            elif best.outcome is not Outcome.RIGHT:
                # a person sees all that was asked: the best verdict's own note names one of them
                beside.append(f"nor is it {quoted(_text(gold))}")
        if not beside:
            return best
        return replace(best, note="; ".join(filter(None, [best.note, *beside[:MOST_BESIDE]])))


def _reward(verdict: Verdict) -> float:
    return verdict.reward or 0.0


def _text(answer: Any) -> str:
    return str(answer["answer"] if isinstance(answer, dict) else answer)


def parse(number: int, line: bytes, domain: Domain) -> Case | BadLine:
    """Line `number`, counted from 1, as a case, or what is wrong with it."""
    row: Any = None
    try:
        row = _object(line)
        ident = number if row.get("id") is None else row["id"]
        if not isinstance(ident, str | int):
            raise LineError(f"id must be a text or a whole number, not {_kind(ident)}")
        answer, response = _value(row, "answer"), _value(row, "response")
        if not isinstance(response, str):
            raise LineError(f"response must be a text, not {_kind(response)}")
        if "mode" in row and row["mode"] not in list(Mode):
            raise LineError(f"mode must be {' or '.join(Mode)}, not {row['mode']!r:.60}")
        golds, left_out = _golds(answer, domain)
        turns, mode = _turns(row), Mode(row.get("mode", Mode.INSTRUCT))
        problems = tuple(Problem(str(ident), domain.name, turns, gold, mode) for gold in golds)
        return Case(number, ident, problems, response, left_out)
    except ValueError as error:  # of ours, or of a record that does not take what stands there
        found = row.get("id") if isinstance(row, dict) else None
        ident = number if found is None and isinstance(row, dict) else found
        return BadLine(ident, f"line {number}: {error}")


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except RecursionError:
        raise LineError("not JSON: brackets nested too deep") from None
    except UnicodeDecodeError as error:
        raise LineError(f"not JSON: not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise LineError(f"not JSON: {json_fault(error)}") from None
    if not isinstance(row, dict):
        raise LineError(f"want an object {FORM} on each line, not {_kind(row)}")
    return row


def _value(row: Mapping[str, Any], key: str) -> Any:
    """What stands under a key or another name of it; LineError when nothing does, or two that differ."""
    names = [name for name in (key, *CALLED[key]) if name in row]
    if not names:
        raise LineError(f"no {key} (nor {', '.join(CALLED[key])}); want {FORM}")
    # a column that is null in this row says nothing
    told = [name for name in names if row[name] is not None] or names[:1]
    for other in told[1:]:
        if row[other] != row[told[0]] or isinstance(row[other], bool) != isinstance(row[told[0]], bool):
            raise LineError(f"{told[0]} and {other} both stand for {key}, and differ: leave one of them out")
    return row[told[0]]


def _golds(answer: Any, domain: Domain) -> tuple[list[Any], tuple[str, ...]]:
    """The golds that are accepted, and what is wrong with others of them; LineError when none can be used."""
    inner = answer.get("answer") if isinstance(answer, dict) else answer
    if not domain.alternatives or not isinstance(inner, list):
        if fault := _answer_fault(answer, domain):
            raise LineError(f"answer: {fault}")
        return [answer], ()
    if not inner:
        raise LineError("answer: the list of golds is empty")
    golds = [{**answer, "answer": one} for one in inner] if isinstance(answer, dict) else inner
    faults = [_answer_fault(gold, domain) for gold in golds]
    told = [f"gold {n} of {len(golds)} is left out: {fault}" for n, fault in enumerate(faults, 1) if fault]
    if all(faults):
        raise LineError(f"answer: none of {len(golds)} golds can be used; the first: {faults[0]}")
    return [gold for gold, fault in zip(golds, faults, strict=True) if not fault], tuple(told)


def _answer_fault(answer: Any, domain: Domain) -> str:
    try:
        domain.check_answer(answer)
    except AnswerError as error:
        return str(error)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # of a check that took a shape for granted
        return f"{type(error).__name__}: {error}"
    return ""


def _turns(row: Mapping[str, Any]) -> tuple[Message, ...]:
    messages, prompt = row.get("messages"), row.get("prompt", "")
    if messages is None:
        if not isinstance(prompt, str):
            raise LineError(f"prompt must be a text, not {_kind(prompt)}")
        return (Message("user", prompt),)
    if not isinstance(messages, list) or not all(_is_message(m) for m in messages):
        raise LineError('messages must be a list of {"role": text, "content": text}')
    return tuple(Message(m["role"], m["content"]) for m in messages)


def _is_message(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("role", "content"))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
