"""The prompts of a job as Parquet, in one fixed schema for every domain.

verl concatenates files whose columns have the same types only, so what differs between domains stands in JSON
texts. `index` is the prompt's place in the link, by which replies find their problem again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.recipe import FullPhase, Problems
from cascade_rl.run.files import dumps
from cascade_rl.types import Problem

SOURCE = "cascade/"  # before the domain's name: verl has scorers of its own for names that it knows
LOOP = "cascade"  # the agent loop of loop.yaml


@dataclass(frozen=True, slots=True)
class RowRules:
    """What a reply earns beside its verdict, by problem id.

    code_switch  for foreign script; off if it is not named
    scored       problems that a reward model's score is added for
    """

    code_switch: Mapping[str, str | float]
    scored: Collection[str]


def rl_row(problem: Problem, index: int, split: str, rules: RowRules, tokenizer: Tokenizer) -> dict[str, Any]:
    """The row of a problem in its mode.

    prompt   for people, and for whatever of verl looks at messages: with the mode as our template asks for it
    payload  JSON: the ids that are sampled on, and what the grading server makes the problem from again

    Raises InputError where the template can't write the prompt.
    """
    asked, _ = tokenizer.template.request(problem.messages, problem.mode)
    payload = {
        "problem": {
            "id": problem.id,
            "domain": problem.domain,
            "messages": [[m.role, m.content] for m in problem.messages],
            "answer": problem.answer,
            "mode": str(problem.mode),
            "meta": dict(problem.meta),
        },
        "code_switch": rules.code_switch.get(problem.id, "off"),
        "scored": problem.id in rules.scored,
        "prompt_ids": tokenizer.prompt(problem),
    }
    return {
        "data_source": SOURCE + problem.domain,
        "prompt": [{"role": str(row["role"]), "content": _text(row.get("content"))} for row in asked],
        "ability": problem.domain,
        "reward_model": {"style": "rule", "ground_truth": dumps(problem.answer)},
        "extra_info": {"index": index, "split": split, "payload": dumps(payload)},
        "agent_name": LOOP,
    }


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "" if content is None else dumps(content)


def rl_rows(
    asked: Sequence[Problem], split: str, rules: RowRules, tokenizer: Tokenizer
) -> list[dict[str, Any]]:
    """The rows of a link's prompts, in order."""
    return [rl_row(problem, index, split, rules, tokenizer) for index, problem in enumerate(asked)]


def too_long(asked: Sequence[Problem], rule: FullPhase, path: str, tokenizer: Tokenizer) -> Problems:
    """Prompts over the limit, which verl would drop, and then train fewer steps, or cut from the left."""
    lengths = [len(tokenizer.prompt(problem)) for problem in asked]
    over = [length for length in lengths if length > rule.max_prompt_tokens]
    if not over:
        return []
    text = f"{len(over)} of {len(lengths)} prompts are longer, the longest has {max(over)} tokens; raise it"
    return [(f"{path}.max_prompt_tokens", text)]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of `rl_row` as Parquet; the same rows give the same bytes."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise InputError("a job of verl needs a package: pip install cascade-rl[data]") from None
    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    schema = pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(message)),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", pa.int64()), ("split", text), ("payload", text)])),
            ("agent_name", text),
        ]
    )
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
