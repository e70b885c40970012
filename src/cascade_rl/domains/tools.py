"""Tool use: functions are offered in the system prompt, and a reply calls those that the request needs.

Calls stand in the report's tags (arXiv 2512.13607, section 3.1): a JSON object of `name` and `arguments`
inside `<tool_call></tool_call>`. They are held against the wanted calls by name and by typed arguments,
several in any order; where none fits, there must be none. A conversation goes on after a function has
answered: the messages end with its answer, and what is wanted is the next turn's calls. RL's reward and the
benchmark's differ where BFCL's checker is odd, see `verify/tools/values`. Built-in requests are of a small
household.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from cascade_rl.chat import SYSTEM_PROMPT, compose_reply, split_reply, thinking_reply
from cascade_rl.domain import Domain, Example, Services
from cascade_rl.errors import AnswerError
from cascade_rl.sources.chats import conversation
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.small_world.functions_to_call import NOTHING_FITS, Request, request
from cascade_rl.sources.splits import drawn
from cascade_rl.types import Mode, Outcome, Problem, Rollout, Verdict, problem_id
from cascade_rl.verify.tools.answer import FORM, Answer, Wanted, answer_of, first
from cascade_rl.verify.tools.calls import Call, written
from cascade_rl.verify.tools.matching import judge
from cascade_rl.verify.tools.values import OMITTED

NO_CALL = f"{SYSTEM_PROMPT} Call functions for what is asked. If none of them fits, say: {NOTHING_FITS}"
TRIES = 20  # draws of a fault, some of which may be right after all


def make(rng: random.Random) -> Problem:
    """A request of the small world."""
    return _problem(request(rng))


def _problem(asked: Request) -> Problem:
    answer: dict[str, Any] = {"tools": list(asked.tools), "calls": list(asked.calls)}
    if not asked.calls:
        answer["say"] = [NOTHING_FITS]
    rows = [{"role": "system", "content": NO_CALL}, *asked.messages]
    messages = conversation(rows, list(asked.tools)).messages
    # by the user's text alone: all else follows from it
    identity = problem_id("tools", asked.messages[0]["content"])
    return Problem(identity, "tools", messages, answer)


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """RL's reward: full for exactly the wanted calls, else none."""
    return _judged(problem, rollout, official=False)


async def score(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The benchmark's: the same by BFCL's own rules."""
    return _judged(problem, rollout, official=True)


def _judged(problem: Problem, rollout: Rollout, official: bool) -> Verdict:
    try:
        wanted = answer_of(problem.answer)
    except ValueError as error:
        return Verdict.failed(str(error))
    # after the answer: a problem that can't be graded is a null, whatever the reply
    reply = split_reply(rollout.text, problem.mode).answer
    # silence is no answer, also where no call is wanted: a model that says nothing at all would be right
    if not reply:
        note = "an empty answer" if reply == "" else "no answer after the think block"
        return Verdict(0.0, Outcome.UNPARSEABLE, note=note)
    found = judge(reply, wanted, official)
    if not found.readable:
        return Verdict(0.0, Outcome.UNPARSEABLE, {"calls": 0.0}, found.note)
    return Verdict.binary(found.right, found.note, calls=found.share)


def gold(problem: Problem) -> str | None:
    """The wanted calls with the first value admitted for each argument; None where any call will do."""
    wanted = answer_of(problem.answer)
    if wanted.calls is None:
        return None
    calls = [_call(want) for want in wanted.calls]
    reply = _written(calls) if calls else (wanted.say[0] if wanted.say else NOTHING_FITS)
    # an answer may ask for what no call can give, such as an argument that its function does not have
    return _reply(problem, calls, reply) if judge(reply, wanted, official=True).right else None


def _call(wanted: Wanted) -> Call:
    signature, said = wanted.signature, dict[str, Any]()
    for name, values in wanted.arguments.items():
        needed = name in signature.required
        if any(value != OMITTED for value in values) and (needed or OMITTED not in values):
            said[name] = first(values, signature.parameters.get(name, {}))
        elif needed and values:
            said[name] = OMITTED  # required, and nothing else is admitted: the empty text itself
    return Call(wanted.name, said)


def _written(calls: list[Call]) -> str:
    return "\n".join(written(call.name, call.arguments) for call in calls)


def _reply(problem: Problem, calls: list[Call], reply: str) -> str:
    names = ", ".join(dict.fromkeys(call.name for call in calls))
    return compose_reply(problem.mode, f"This needs {names}." if calls else "None of them fits.", reply)


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """The gold reply, or with probability `fault_rate` one with a call that is wrong, missing or too many."""
    wanted = answer_of(problem.answer)
    calls = [_call(want) for want in wanted.calls or ()]
    if wanted.calls is None:
        # any call: the first function, each of its arguments a word
        offered = next(iter(wanted.offered.values()))
        calls = [Call(offered.name, dict.fromkeys(offered.required, "this"))]
    reply = _written(calls) or (wanted.say[0] if wanted.say else NOTHING_FITS)
    if rng.random() >= fault_rate:
        return _reply(problem, calls, reply)
    for _ in range(TRIES):
        broken = _broken(calls, wanted, rng)
        if not judge(broken, wanted, official=False).right and not judge(broken, wanted, official=True).right:
            return _reply(problem, calls, broken)
    return _reply(problem, calls, "Of course!" if calls else written("help", {}))


def _broken(calls: list[Call], wanted: Answer, rng: random.Random) -> str:
    """The calls with one fault, or at least tried: the caller checks."""
    if not calls:
        if not wanted.offered:
            return written("help", {})
        offered = rng.choice(list(wanted.offered.values()))
        return written(offered.name, dict.fromkeys(offered.required, "this"))
    at = rng.randrange(len(calls))
    call = calls[at]
    others = [name for name in wanted.offered if name != call.name]
    kind = rng.randrange(5)
    if kind == 0 and others:
        changed = [Call(rng.choice(others), call.arguments)]
    elif kind == 1 and len(calls) > 1:
        changed = []
    elif kind == 2:
        changed = [call, Call(call.name, {})]
    elif kind == 3 and call.arguments:
        left_out = rng.choice(list(call.arguments))
        changed = [Call(call.name, {k: v for k, v in call.arguments.items() if k != left_out})]
    else:
        changed = [Call(call.name, {k: _other(v) for k, v in call.arguments.items()})]
    return _written([*calls[:at], *changed, *calls[at + 1 :]])


def _other(value: Any) -> Any:
    """Another value of the same type, or a number as a text."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return str(value)
    return value[:-1] if isinstance(value, str | list) else value


def examples() -> Iterator[Example]:
    """Vectors of the grader."""
    timer = {"type": "integer"}, {"type": "string", "default": ""}
    properties = dict(zip(("minutes", "label"), timer, strict=True))
    parameters = {"type": "object", "properties": properties, "required": ["minutes"]}
    tool = {"type": "function", "function": {"name": "set_timer", "parameters": parameters}}
    call = {"set_timer": {"minutes": [12], "label": ["", "tea"]}}
    user = {"role": "user", "content": "Set a timer for 12 minutes."}
    one = _problem(Request((user,), (tool,), (call,)))
    right = written("set_timer", {"minutes": 12})
    yield Example(one, gold(one) or "", 1.0)
    yield Example(one, thinking_reply("", f"Of course.\n{right}"), 1.0)
    yield Example(one, thinking_reply("", written("set_timer", {"minutes": 12, "label": "Tea"})), 1.0)
    yield Example(one, thinking_reply(right, "Done."), 0.0)
    yield Example(one, thinking_reply("", right + right), 0.0)
    yield Example(one, thinking_reply("", right.replace("12", '"12"')), 0.0)
    yield Example(one, thinking_reply("", right.removesuffix("</tool_call>")), 0.0)
    user = {"role": "user", "content": "Set timers for 12 and for 5 minutes."}
    two = _problem(Request((user,), (tool,), (call, {"set_timer": {"minutes": [5]}})))
    other = written("set_timer", {"minutes": 5})
    yield Example(two, thinking_reply("", f"{other}\n{right}"), 1.0)
    yield Example(two, thinking_reply("", right), 0.0)
    none = _problem(Request(({"role": "user", "content": "What is the weather?"},), (tool,), ()))
    yield Example(none, thinking_reply("", "I am sorry: no function fits."), 1.0)
    yield Example(none, thinking_reply("", right), 0.0)
    yield Example(none.in_mode(Mode.INSTRUCT), "", 0.0)


def check_answer(answer: Any) -> None:
    """Functions that are offered, and calls of them."""
    try:
        answer_of(answer)
    except ValueError as error:
        raise AnswerError(f"want {FORM}: {error}") from None


DOMAIN = Domain(
    name="tools",
    summary="functions to call: which, with what arguments, or none of them",
    sources={"builtin": drawn(make), **SHARED},
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    score=score,
    check_answer=check_answer,
)
