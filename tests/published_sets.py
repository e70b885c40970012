"""Rows in the shape of each hub set that the shipped recipes name, made here: none of them is published.

`rows(named)` stands in for the hub's reader inside of a process; `put_all(hub)` lays the same rows as files on a hub
of this machine (fake_data_hub), for a process that reads it by the library.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fake_data_hub import Hub

from cascade_rl.benchmarks import benchmark_names, load_benchmark
from cascade_rl.recipe.reading import shipped_recipes
from cascade_rl.sources.formats import Row
from cascade_rl.sources.hub import HubSet, hub_set

THOUGHT = "<think>\nI look at {0}.\n</think>\n\nIt is {0}."
AREA = "def area(w, h):\n    return w + h\n"
PATCH = "--- a/shapes.py\n+++ b/shapes.py\n@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n+    return w * h\n"
COUNT = 24  # rows of a set


def _chat(asked: str, reply: str, thinking: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "thinking": thinking, "category": "x", "generator": "y"}


def _taught(label: str, n: int) -> dict[str, Any]:
    """Thinking, but every other general row, which has the same prompt in the other mode."""
    if label.endswith(("general/train", "instruction-following/train")) and n % 2:
        return _chat(f"{label}: what is {n - 1}?", f"It is {n - 1}.", False)
    return _chat(f"{label}: what is {n}?", THOUGHT.format(n), True)


def _followed(label: str, n: int, *, asked: str = "punctuation:no_comma") -> dict[str, Any]:
    return {"instruction_id_list": [asked], "kwargs": [{"num_words": None}], "prompt": _asked(label, n)}


def _asked(label: str, n: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{label}: write of {n}."}]


def _rlvr(label: str, n: int) -> dict[str, Any]:
    """Every fourth has a kind that IFEval has, the others one of IFBench-train's."""
    asked = "punctuation:no_comma" if n % 4 == 0 else "keywords:word_once"
    truth = [{"instruction_id": [asked], "kwargs": [None if n % 4 == 0 else {"keyword": "sea"}]}]
    return {"key": f"k{n}", "messages": _asked(label, n), "ground_truth": str(truth), "dataset": "ifeval"}


def _gym(label: str, n: int) -> dict[str, Any]:
    """The rows of the second report: three environments in one file."""
    made = {"responses_create_params": {"input": _asked(label, n)}, "instruction_id_list": None, "kwargs": None,
            "expected_answer": None}  # fmt: skip
    if "IF-RL" in label:
        return made | {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]}
    return made | {"expected_answer": "B" if n % 2 == 0 else None}


def _repair(label: str, n: int) -> dict[str, Any]:
    files = [{"path": "shapes.py", "content": AREA}]
    return {"source": "lab", "instance_id": f"lab__shapes-{n}", "prompt": f"Mend the area, {n}.", "golden_patch": PATCH,
            "relevant_file_contents": files, "original_prompt": "Mend."}  # fmt: skip


def _program(label: str, n: int) -> dict[str, Any]:
    given = {"inputs": ["1 2\n"], "outputs": [f"{n}\n"]}
    return {
        "question": f"Print {n}.",
        "starter_code": "",
        "input_output": json.dumps(given),
        "difficulty": "EASY",
    }


def _preferred(label: str, n: int) -> dict[str, Any]:
    return {"context": _asked(label, n), "response1": "Good.", "response2": "Bad.", "overall_preference": -2}


ROWS = {
    "nvidia/Nemotron-Cascade-SFT-Stage-1": _taught,
    "nvidia/Nemotron-Cascade-SFT-Stage-2": _taught,
    "nvidia/Nemotron-Cascade-2-SFT-Data": _taught,
    "open-r1/Mixture-of-Thoughts": lambda label, n: {k: v for k, v in _taught(label, n).items() if k == "messages"},
    "nvidia/Nemotron-Cascade-RL-RLHF": lambda label, n: {"prompt": _asked(label, n), "data_source": "x", "category": "y"},
    "nvidia/Nemotron-Cascade-RM-Training": lambda label, n: {"prompt": f"{n}?", "chosen": "Good.", "rejected": "Bad."},
    "nvidia/HelpSteer3": _preferred,
    "nvidia/Nemotron-Cascade-RL-Instruction-Following": _followed,
    "allenai/IF_multi_constraints_upto5": _rlvr,
    "nvidia/Nemotron-Cascade-RL-Math": lambda label, n: {"problem": f"{n} + 1?", "answer": f"{n + 1}", "source": "aops"},
    "openai/gsm8k": lambda label, n: {"question": f"{n} + 1?", "answer": f"so\n#### {n + 1}"},
    "likaixin/TACO-verified": _program,
    "nvidia/Nemotron-Cascade-RL-SWE": _repair,
    "nvidia/Nemotron-Cascade-2-RL-data": _gym,
}  # fmt: skip


def _benchmarks() -> dict[str, dict[str, Any]]:
    """The example of each published benchmark, by the set on the hub that has its rows."""
    found: dict[str, dict[str, Any]] = {}
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        for source in benchmark.sources:
            if source.startswith("hub:"):
                repo = hub_set(source, source.removeprefix("hub:")).repo
                # hard ones are not asked, and their archives not fetched
                found[repo] = {**benchmark.example, **({"difficulty": "hard"} if "Pro" in repo else {})}
    found["princeton-nlp/SWE-bench_oracle"] = {"instance_id": "lab__shapes-1", "text": ""}
    return found


def _rows(named: HubSet) -> list[dict[str, Any]]:
    make = ROWS.get(named.repo)
    if make is None:
        return [_benchmarks()[named.repo]]
    return [make(named.label, n) for n in range(COUNT)]


def rows(named: HubSet) -> Iterator[Row]:
    """The rows of a set as the hub's reader gives them."""
    for number, value in enumerate(_rows(named), 1):
        yield Row(f"{named.label}:{number}", value)


def named_sets(name: str) -> list[HubSet]:
    """The hub sets that a shipped recipe names, each once, and those of its benchmarks."""
    import re

    text = shipped_recipes()[name].read_text()
    # what stands in a comment is named, too
    sources = re.findall(r'"(hub:[^"]+)"', text)
    for suite in re.findall(r"suite: (\w+)", text):
        sources += [source for source in load_benchmark(suite).sources if source.startswith("hub:")]
    if "swe_bench_verified" in text:
        sources.append("hub:princeton-nlp/SWE-bench_oracle@main#test")
    return [hub_set(source, source.removeprefix("hub:")) for source in dict.fromkeys(sources)]


def put_all(hub: Hub, name: str) -> None:
    """All sets of a recipe as files on a hub, with the card that names their parts."""
    parts: dict[tuple[str, str], list[HubSet]] = defaultdict(list)
    for named in named_sets(name):
        parts[named.repo, named.revision].append(named)
    for (repo, revision), sets in parts.items():
        card, files = ["---", "configs:"], {}
        for named in sets:
            path = f"{named.config or 'data'}/{named.split}.jsonl"
            card.append(f"- config_name: {named.config or 'default'}")
            card.append(f"  data_files: [{{split: {named.split}, path: {path}}}]")
            files[path] = "".join(json.dumps(row) + "\n" for row in _rows(named)).encode()
        hub.put(repo, revision, {"README.md": "\n".join([*card, "---", ""]).encode(), **files})
