"""Verifiable instructions: an id with its arguments becomes a checker of a reply and a sentence for it.

The ids and argument names are those of IFEval (arXiv 2311.07911) and IFBench (arXiv 2507.02833), so a row of
their data, {"instruction_id_list", "kwargs"}, is judged as it stands; `cascade:*` are ours. Two scorings: by
default as the public reference implementations score, quirks included, so that a benchmark's number can be
compared; `strict` closes the holes that reinforcement learning would find. An id or an argument that isn't
known, and a checker that fails, raise InstructionError: never a pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cascade_rl.errors import meant
from cascade_rl.verify.instructions import (
    ifbench_forms,
    ifbench_tasks,
    ifbench_words,
    ifeval,
    ifeval_forms,
    small_world,
)
from cascade_rl.verify.instructions.small_world import MARK_NAMES, PREFIX
from cascade_rl.verify.instructions.table import Instruction, InstructionError

__all__ = [
    "IFBENCH",
    "IFEVAL",
    "INSTRUCTIONS",
    "MARK_NAMES",
    "PREFIX",
    "Instruction",
    "InstructionError",
    "arguments",
    "check",
    "check_all",
    "describe",
]

IFEVAL: Mapping[str, Instruction] = {**ifeval.INSTRUCTIONS, **ifeval_forms.INSTRUCTIONS}
# the order is that of the sources' draws: a moved row would give other prompts for the same seed
IFBENCH: Mapping[str, Instruction] = {
    **ifbench_words.INSTRUCTIONS,
    **ifbench_forms.INSTRUCTIONS,
    **ifbench_tasks.INSTRUCTIONS,
}
INSTRUCTIONS: Mapping[str, Instruction] = {**IFEVAL, **IFBENCH, **small_world.INSTRUCTIONS}


KNOWN = f"docs/following.md lists the {len(INSTRUCTIONS)} that are known"


def _near(instruction_id: str) -> str:
    """The ids that may be meant: also by their second half alone, as `existence` or `keyword:existence`."""
    halves = {name.partition(":")[2]: name for name in sorted(INSTRUCTIONS)}
    return meant(instruction_id, INSTRUCTIONS) or meant(instruction_id.partition(":")[2], (), halves)


def _bound(instruction_id: str, kwargs: Mapping[str, Any] | None) -> tuple[Instruction, dict[str, Any]]:
    instruction = INSTRUCTIONS.get(instruction_id)
    # never a pass: a checker that is skipped would raise the score of whoever asks for it
    if instruction is None:
        raise InstructionError(f"unknown instruction {instruction_id[:60]!r}; {_near(instruction_id)}{KNOWN}")
    return instruction, instruction.bound(instruction_id, kwargs)


def check(instruction_id: str, kwargs: Mapping[str, Any] | None, reply: str, *, strict: bool = False) -> bool:
    """Whether the reply follows one instruction; an empty reply follows none.

    Raises InstructionError for an unknown id, arguments that don't fit, a reply that is no text (a message
    without content), and a checker that fails on the reply.
    """
    instruction, given = _bound(instruction_id, kwargs)
    if not isinstance(reply, str):
        raise InstructionError(f"{instruction_id}: the reply is no text but {type(reply).__name__}")
    try:
        return instruction.holds(reply, given, strict)
    except (
        ArithmeticError,
        LookupError,
        RecursionError,
        TimeoutError,
        TypeError,
        re.error,
    ) as fault:  # nltk has deadlines
        raise InstructionError(f"{instruction_id}: its checker failed: {fault!r}") from fault


def arguments(instruction_id: str, kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The checked arguments of an instruction, without the nulls that rows are padded with."""
    return _bound(instruction_id, kwargs)[1]


def describe(instruction_id: str, kwargs: Mapping[str, Any] | None) -> str:
    """The sentence that asks for it in a prompt."""
    instruction, given = _bound(instruction_id, kwargs)
    return instruction.prompt.format(
        **{k: ", ".join(v) if isinstance(v, list) else v for k, v in given.items()}
    )


def check_all(answer: Any, reply: str, strict: bool = False) -> dict[str, bool]:
    """Each instruction of a row {"instruction_id_list", "kwargs"}; a repeated id gets a suffix `#2`.

    Raises InstructionError when the row is malformed, empty, or names an unknown instruction.
    """
    ids = answer.get("instruction_id_list") if isinstance(answer, Mapping) else None
    kwargs = answer.get("kwargs") if isinstance(answer, Mapping) else None
    if not isinstance(ids, list) or not isinstance(kwargs, list) or not ids or len(ids) != len(kwargs):
        raise InstructionError(
            "an answer needs `instruction_id_list` and `kwargs`, lists of one length and not empty"
        )
    if not all(isinstance(i, str) for i in ids):
        raise InstructionError("every instruction id must be a string")
    parts: dict[str, bool] = {}
    for instruction_id, given in zip(ids, kwargs, strict=True):
        # a row may ask twice for one instruction with other arguments; a dictionary by id would lose one
        count = sum(1 for key in parts if key.split("#")[0] == instruction_id)
        name = f"{instruction_id}#{count + 1}" if count else instruction_id
        parts[name] = check(instruction_id, given, reply, strict=strict)
    return parts
