"""How the replies of RL are kept in rollouts.jsonl: what a grader needs to grade again, and what it said.

A problem is one line, written before the first group of it; a group is one line a step, its replies in the
order in which they were drawn. Ids and log-probabilities are left out: no grader sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.types import Group, Message, Mode, Outcome, Problem, Rollout, Stop, Verdict


def problem_key(record: Mapping[str, Any]) -> tuple[str, str]:
    """What tells problems apart: domain and id (ids of files may repeat between domains)."""
    return record["domain"], record["problem"]


def stored_problem(problem: Problem) -> dict[str, Any]:
    """The line of a problem; its mode stands with each group."""
    messages = [[m.role, m.content] for m in problem.messages]
    return {
        "kind": "problem",
        "domain": problem.domain,
        "problem": problem.id,
        "messages": messages,
        "answer": problem.answer,
        "meta": dict(problem.meta),
    }


def stored_group(step: int, group: Group) -> dict[str, Any]:
    """The line of a group."""
    replies = [_stored_reply(r, v) for r, v in zip(group.rollouts, group.verdicts, strict=True)]
    problem = group.problem
    return {
        "kind": "group",
        "step": step,
        "domain": problem.domain,
        "problem": problem.id,
        "mode": str(problem.mode),
        "replies": replies,
    }


def _stored_reply(rollout: Rollout, verdict: Verdict) -> dict[str, Any]:
    """A reply; what is as usual (it ended by itself, no note, no parts) is left out."""
    record: dict[str, Any] = {"text": rollout.text, "reward": verdict.reward, "outcome": str(verdict.outcome)}
    # most replies of a run are of the usual kind, and there are hundreds of thousands
    if rollout.stop is not Stop.END:
        record["stop"] = str(rollout.stop)
    if verdict.note:
        record["note"] = verdict.note
    if verdict.parts:
        record["parts"] = dict(verdict.parts)
    return record


def read_groups(
    lines: Iterable[Mapping[str, Any]], source: str = "rollouts.jsonl"
) -> Iterator[tuple[int, Group]]:
    """(step, group) of a stored stage; its rollouts carry text and stop reason only.

    Raises InputError, which names `source`, for a line that is no record of ours.
    """
    # grows to the stage's problems, not to its replies, which pass one group at a time
    problems: dict[tuple[str, str], Problem] = {}
    for number, line in enumerate(lines, 1):
        try:
            if line["kind"] == "problem":
                problems[problem_key(line)] = _problem(line)
                continue
            step, group = line["step"], _group(line, problems[problem_key(line)])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}:{number}: no stored problem or group: {error!r}") from None
        yield step, group


def _problem(line: Mapping[str, Any]) -> Problem:
    messages = tuple(Message(role, content) for role, content in line["messages"])
    return Problem(line["problem"], line["domain"], messages, line["answer"], meta=line["meta"])


def _group(line: Mapping[str, Any], problem: Problem) -> Group:
    replies = line["replies"]
    rollouts = tuple(Rollout.of_text(r["text"], Stop(r.get("stop", Stop.END))) for r in replies)
    verdicts = tuple(
        Verdict(_number(r["reward"]), Outcome(r["outcome"]), r.get("parts", {}), r.get("note", ""))
        for r in replies
    )
    # a problem may be asked in either mode, so the mode is the group's
    return Group(problem.in_mode(Mode(line["mode"])), rollouts, verdicts)


def _number(stored: Any) -> float | None:
    """A reward; the journal writes what is not finite as text."""
    return None if stored is None else float(stored)
