"""Which calls fit which wanted ones, in any order, and what a reply as a whole is worth.

Calls are assigned by a maximum matching (augmenting paths): one that would fit two wanted calls never takes
the place of another that fits only one. BFCL's checker takes the first that fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.verify.told import quoted
from cascade_rl.verify.tools.answer import Answer, Signature, Wanted
from cascade_rl.verify.tools.calls import Call, Malformed, calls_in
from cascade_rl.verify.tools.values import OMITTED, admitted, plain


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a reply is right, and why not; `share` is of the wanted calls those that were made.

    `readable` is false where the calls could not be read.
    """

    right: bool
    share: float
    note: str = ""
    readable: bool = True


def judge(text: str, answer: Answer, official: bool) -> Judged:
    """What an answer without its thought is worth; `official` as BFCL counts, see `values` and `_any`."""
    try:
        calls = calls_in(text)
    except Malformed as error:
        return Judged(False, 0.0, str(error), readable=False)
    if answer.calls is None:
        return _any(calls, answer, official)
    if not answer.calls:
        return _none(calls, text, answer)
    return _these(calls, answer.calls, official)


def _any(calls: Sequence[Call], answer: Answer, official: bool) -> Judged:
    """A call that could be made; BFCL asks for a call alone, of a function that there may not be."""
    if not calls:
        return Judged(False, 0.0, "no call, wanted one")
    faults = [] if official else list(filter(None, (_unfit(call, answer.offered) for call in calls)))
    return Judged(not faults, float(not faults), "; ".join(faults))


def _unfit(call: Call, offered: Mapping[str, Signature]) -> str:
    signature = offered.get(call.name)
    if signature is None:
        return f"no function {quoted(call.name)} is offered"
    return _names(call, signature, signature.parameters)


def _none(calls: Sequence[Call], text: str, answer: Answer) -> Judged:
    if calls:
        return Judged(False, 0.0, f"called {quoted(calls[0].name)}, wanted no call")
    said = plain(text)
    if answer.say and not any(plain(wanted) in said for wanted in answer.say):
        return Judged(False, 0.0, f"no call, as wanted, but it does not say {quoted(answer.say[0])}")
    return Judged(True, 1.0)


def _these(calls: Sequence[Call], wanted: Sequence[Wanted], official: bool) -> Judged:
    if len(calls) != len(wanted):
        return Judged(False, 0.0, f"{len(calls)} calls, wanted {len(wanted)}")
    faults = [[fault(call, want, official) for want in wanted] for call in calls]
    taken = matched([[not found for found in row] for row in faults])
    if len(taken) == len(wanted):
        return Judged(True, 1.0)
    missing = next(n for n in range(len(wanted)) if n not in taken)
    loose = next(n for n in range(len(calls)) if n not in taken.values())
    note = f"{len(taken)} of {len(wanted)} calls; " if len(wanted) > 1 else ""
    return Judged(False, len(taken) / len(wanted), note + faults[loose][missing])


def fault(call: Call, wanted: Wanted, official: bool) -> str:
    """Why a call is not the wanted one; empty if it is."""
    if call.name != wanted.name:
        return f"called {quoted(call.name)}, wanted {quoted(wanted.name)}"
    if found := _names(call, wanted.signature, wanted.arguments):
        return found
    for name, value in call.arguments.items():
        if not admitted(value, wanted.arguments[name], wanted.signature.parameters[name], official):
            return (
                f"{wanted.name}: {quoted(name)} is {_told(value)}, wanted {_one_of(wanted.arguments[name])}"
            )
    for name, values in wanted.arguments.items():
        if name not in call.arguments and OMITTED not in values:
            return f"{wanted.name}: {quoted(name)} is missing"
    return ""


def _names(call: Call, signature: Signature, known: Mapping[str, Any]) -> str:
    """What is wrong with the names of the arguments: one that must be given, one that there is not."""
    for name in signature.required:
        if name not in call.arguments:
            return f"{signature.name}: {quoted(name)} is missing, and it is required"
    for name in call.arguments:
        if name not in signature.parameters or name not in known:
            return f"{signature.name}: no argument {quoted(name)} is wanted"
    return ""


def _one_of(values: Sequence[Any]) -> str:
    return " or ".join("nothing" if value == OMITTED else _told(value) for value in values[:3])


def _told(value: Any) -> str:
    """A value for people; what holds others is counted, since it may be nested as deep as JSON is read."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def matched(fits: Sequence[Sequence[bool]]) -> dict[int, int]:
    """A maximum matching: from the number of a wanted call to that of the call that is it.

    `fits` has a row for each call and a column for each wanted one.
    """
    taken: dict[int, int] = {}

    def place(call: int, seen: set[int]) -> bool:
        for wanted, fit in enumerate(fits[call]):
            if fit and wanted not in seen:
                seen.add(wanted)
                if wanted not in taken or place(taken[wanted], seen):
                    taken[wanted] = call
                    return True
        return False

    for call in range(len(fits)):
        place(call, set())
    return taken
