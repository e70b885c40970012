"""Maps: rows of public shapes (made here) and own mappings become problems, or one reason says why not."""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.columns import RowError
from cascade_rl.sources.maps import MAPS, map_of
from cascade_rl.sources.operations import PROBLEM, STARTS, STEPS
from cascade_rl.sources.repairs.packages import ASK
from cascade_rl.sources.tables import mapped_rows

BOX = "\nPut the final answer in \\boxed{}."
TASK = "\n\nRead standard input and write standard output. Reply with the whole program in a code block."
STARTER = "class Solution:\n    def add(self, a: int, b: int) -> int:\n"
COMPLETE = f"\n\nComplete this code; reply with the whole of it.\n\n```python\n{STARTER.rstrip()}\n```"
PRIVATE = [{"input": "3\n4", "output": "7", "testtype": "functional"}]
PACKED = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(PRIVATE)))).decode()
KWARGS = [{"num_words": None, "keywords": ["sea"]}, {"num_words": None, "keywords": None}]
IDS = ["keywords:existence", "punctuation:no_comma"]
GIVEN = {"instruction_id_list": IDS, "kwargs": [{"keywords": ["sea"]}, {}]}
USER = [{"role": "user", "content": "Hi."}]

AREA = "def area(w, h):\n    return w + h\n"
AREA_PATCH = """--- a/shapes.py
+++ b/shapes.py
@@ -1,2 +1,2 @@
 def area(w, h):
-    return w + h
+    return w * h
"""
CALLED = "from shapes import area\n\n\ndef test_area():\n    assert area(2, 3) == 6\n"
TEST_PATCH = "--- /dev/null\n+++ b/tests/test_shapes.py\n@@ -0,0 +1,5 @@\n" + "".join(
    f"+{line}\n" for line in CALLED.splitlines()
)
BENCH = {"instance_id": "lab__shapes-1", "repo": "lab/shapes", "base_commit": "abc", "patch": AREA_PATCH,
         "problem_statement": "The area is wrong.", "hints_text": ""}  # fmt: skip
QUOTED = (
    "<code>\n[start of README]\n1 Shapes.\n2 \n[end of README]\n[start of shapes.py]\n1 def area(w, h):\n"
)
QUOTED += "2     return w + h\n3 \n[end of shapes.py]\n</code>"
REPAIR = {"source": "lab", "instance_id": "lab__shapes-1", "prompt": "Mend area.", "golden_patch": AREA_PATCH,
          "original_prompt": "Mend."}  # fmt: skip

XLAM_TYPES = {"city": {"type": "str"}, "days": {"type": "int, optional", "default": 1},
              "how": {"type": "Dict", "default": {"unit": "mm"}},
              "at": {"type": "Optional[List[Dict[str, int]]]"}, "odd": {"type": "datetime, optional"}}  # fmt: skip
XLAM = {"id": 7, "query": "Rain in Oslo?",
        "tools": json.dumps([{"name": "rain", "description": "Rain.", "parameters": XLAM_TYPES}]),
        "answers": json.dumps([{"name": "rain", "arguments": {"city": "Oslo", "days": 1, "at": [{"h": 2}]}},
                               {"name": "rain", "arguments": {"city": "Rome"}}])}  # fmt: skip
OFFERED = [{"type": "function", "function": {"name": "rain", "description": "Rain.", "parameters": {
    "type": "object", "required": ["city"], "properties": {
        "city": {"type": "string"}, "days": {"type": "integer", "default": 1},
        "how": {"type": "object", "default": {"unit": "mm"}},
        "at": {"type": "array", "items": {"type": "object"}}, "odd": {"type": "any"},
    }}}}]  # fmt: skip

# map, domain, row, what must come out
RIGHT = {
    "nemotron-swe": (
        "nemotron-swe",
        "swe",
        {**REPAIR, "relevant_file_contents": json.dumps({"shapes.py": AREA})},
        {
            "messages": [{"role": "user", "content": "Mend area."}],
            "answer": {"files": {"shapes.py": AREA}, "patch": AREA_PATCH},
            "id": "lab__shapes-1",
        },
    ),
    "nemotron-swe with a list of files": (
        "nemotron-swe",
        "swe",
        {**REPAIR, "prompt": USER, "relevant_file_contents": [{"file_path": "shapes.py", "content": AREA}]},
        {
            "messages": USER,
            "answer": {"files": {"shapes.py": AREA}, "patch": AREA_PATCH},
            "id": "lab__shapes-1",
        },
    ),
    "swe-bench with its files": (
        "swe-bench",
        "swe",
        {
            **BENCH,
            "files": {"shapes.py": AREA, "README": "Shapes.\n", "other.py": None},
            "test_patch": TEST_PATCH,
            "FAIL_TO_PASS": '["tests/test_shapes.py::test_area"]',
            "PASS_TO_PASS": "[]",
        },
        {
            "prompt": ASK.format(issue="The area is wrong.", files=f"### shapes.py\n{AREA.rstrip()}"),
            "answer": {
                "files": {"shapes.py": AREA, "README": "Shapes.\n"},
                "patch": AREA_PATCH,
                "tests": {"fail_to_pass": ["tests/test_shapes.py::test_area"], "pass_to_pass": []},
                "test_files": {"tests/test_shapes.py": CALLED},
            },
            "id": "lab__shapes-1",
            "meta": {"issue": "The area is wrong.", "tests": "by pytest"},
        },
    ),
    "swe-bench with quoted files": (
        "swe-bench",
        "swe",
        {**BENCH, "text": QUOTED, "FAIL_TO_PASS": '["tests/test_shapes.py::test_area"]'},
        {
            "prompt": ASK.format(
                issue="The area is wrong.", files=f"### README\nShapes.\n\n### shapes.py\n{AREA.rstrip()}"
            ),
            "answer": {"files": {"README": "Shapes.\n", "shapes.py": AREA}, "patch": AREA_PATCH},
            "id": "lab__shapes-1",
            "meta": {"issue": "The area is wrong.", "tests": "only files that are quoted are there"},
        },
    ),
    "swe-bench with tests that pytest does not know": (
        "swe-bench",
        "swe",
        {**BENCH, "files": [{"path": "shapes.py", "text": AREA}], "FAIL_TO_PASS": ["test_a (tests.Case)"]},
        {
            "prompt": ASK.format(issue="The area is wrong.", files=f"### shapes.py\n{AREA.rstrip()}"),
            "answer": {"files": {"shapes.py": AREA}, "patch": AREA_PATCH},
            "id": "lab__shapes-1",
            "meta": {
                "issue": "The area is wrong.",
                "tests": "str 'test_a (tests.Case)' is no node id of pytest",
            },
        },
    ),
    "gsm8k": (
        "gsm8k",
        "maths",
        {"question": "How many?", "answer": "48/2=<<48/2=24>>24\n#### 1,024"},
        {"prompt": "How many?" + BOX, "answer": "1,024", "meta": {"thought": "48/2=24"}},
    ),
    "math": (
        "math",
        "maths",
        {
            "problem": "Find $x$.",
            "solution": r"First \boxed{1}. So \boxed{\frac{1}{2}}.",
            "level": "Level 5",
            "type": "Algebra",
        },
        {
            "prompt": "Find $x$." + BOX,
            "answer": r"\frac{1}{2}",
            "meta": {"thought": r"First \boxed{1}. So \boxed{\frac{1}{2}}."},
        },
    ),
    "math-500": (
        "math",
        "maths",
        {"problem": r"Put $x$ in \boxed{}.", "answer": "3", "unique_id": "test/7.json"},
        {"prompt": r"Put $x$ in \boxed{}.", "answer": "3", "meta": {}, "id": "test/7.json"},
    ),
    "nemotron-math": (
        "nemotron-math",
        "maths",
        {"problem": "Find it.", "answer": 12, "source": "aops"},
        {"prompt": "Find it." + BOX, "answer": "12"},
    ),
    "asdiv": (
        "asdiv",
        "maths",
        {"passage": "Ann has Twenty-one pens, 1,200 dots. ", "question": " How many?", "answer": "21 pens"},
        {
            "prompt": "Ann has Twenty-one pens, 1,200 dots. How many?" + BOX,
            "answer": "21",
            "meta": {"plain": True},
            "split_by": "ann has # pens, # dots.",
        },
    ),
    "asdiv of the hub": (
        "asdiv",
        "maths",
        {"body": "Two.", "question": "How many?", "answer": "2.5 (kg of tea)", "solution_type": "Sum"},
        {
            "prompt": "Two. How many?" + BOX,
            "answer": "2.5",
            "meta": {"group": "Sum", "plain": True},
            "split_by": "#.",
        },
    ),
    "livecodebench": (
        "livecodebench",
        "coding",
        {
            "question_content": "Add.",
            "question_id": "abc_a",
            "starter_code": "",
            "metadata": "{}",
            "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
            "private_test_cases": "[]",
        },
        {"prompt": "Add." + TASK, "answer": {"tests": [{"stdin": "1 2\n", "stdout": "3\n"}]}, "id": "abc_a"},
    ),
    "livecodebench, a function and packed tests": (
        "livecodebench",
        "coding",
        {
            "question_content": "Add.",
            "question_id": 3,
            "starter_code": STARTER,
            "metadata": json.dumps({"func_name": "add"}),
            "public_test_cases": json.dumps([{"input": "[1]\n2", "output": "[3]"}]),
            "private_test_cases": PACKED,
        },
        {
            "prompt": "Add." + COMPLETE,
            "id": "3",
            "answer": {
                "function": "Solution.add",
                "tests": [{"args": [[1], 2], "result": [3]}, {"args": [3, 4], "result": 7}],
            },
        },
    ),
    "apps": (
        "apps",
        "coding",
        {
            "problem_id": 5,
            "question": "Add.",
            "input_output": json.dumps({"inputs": ["1 2", ["3", "4"]], "outputs": ["3", ["7"]]}),
        },
        {
            "prompt": "Add." + TASK,
            "answer": {"tests": [{"stdin": "1 2", "stdout": "3"}, {"stdin": "3\n4", "stdout": "7"}]},
            "id": "5",
        },
    ),
    "TACO, a function": (
        "apps",
        "coding",
        {
            "question": "Add.",
            "starter_code": "def add(a, b):\n",
            "input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]},
        },
        {
            "prompt": "Add." + COMPLETE.replace(STARTER.rstrip(), "def add(a, b):"),
            "answer": {"function": "add", "tests": [{"args": [1, 2], "result": 3}]},
        },
    ),
    "ifeval": (
        "ifeval",
        "following",
        {"key": 1000, "prompt": "Write.", "instruction_id_list": IDS, "kwargs": KWARGS},
        {"prompt": "Write.", "answer": {"prompt": "Write.", **GIVEN}, "id": "1000"},
    ),
    "nemotron-if": (
        "nemotron-if",
        "following",
        {"prompt": USER, "instruction_id_list": IDS, "kwargs": KWARGS},
        {"messages": USER, "answer": GIVEN},
    ),
    "nemotron-if, texts of JSON": (
        "nemotron-if",
        "following",
        {
            "prompt": json.dumps(USER),
            "instruction_id_list": json.dumps(IDS),
            "kwargs": [json.dumps(k) for k in KWARGS],
        },
        {"messages": USER, "answer": GIVEN},
    ),
    "IF-RLVR": (
        "if-rlvr",
        "following",
        {
            "key": "a1",
            "messages": USER,
            "ground_truth": str([{"instruction_id": IDS, "kwargs": [{"keywords": ["sea"]}, None]}]),
        },
        {"messages": USER, "answer": GIVEN, "id": "a1"},
    ),
    "IF-RLVR, as JSON": (
        "if-rlvr",
        "following",
        {"messages": USER, "ground_truth": json.dumps({"instruction_id": IDS, "kwargs": KWARGS})},
        {"messages": USER, "answer": GIVEN},
    ),
    "xlam": (
        "xlam",
        "tools",
        XLAM,
        {
            "messages": [{"role": "user", "content": "Rain in Oslo?"}],
            "id": "7",
            "tools": OFFERED,
            "answer": {
                "tools": OFFERED,
                "calls": [
                    {
                        "rain": {
                            "city": ["Oslo"],
                            "days": [1, ""],
                            "how": ["", {"unit": ["mm"]}],
                            "at": [[{"h": [2]}]],
                        }
                    },
                    {"rain": {"city": ["Rome"], "days": ["", 1], "how": ["", {"unit": ["mm"]}]}},
                ],
            },
        },
    ),
    "verl": (
        "verl",
        "maths",
        {
            "data_source": "openai/gsm8k",
            "prompt": USER,
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "72"},
            "extra_info": {"split": "train", "index": 3},
        },
        {"messages": USER, "answer": "72", "id": "train-3"},
    ),
    "MMLU": (
        "multiple-choice",
        "multiple_choice",
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": 2, "subject": "x"},
        {
            "prompt": "Which?\nA) one\nB) two\nC) three",
            "answer": {"answer": "C", "choices": 3},
            "meta": {"right": "three"},
        },
    ),
    "ARC": (
        "multiple-choice",
        "multiple_choice",
        {
            "id": "Q1",
            "question": "Which?",
            "choices": {"text": ["one", "two"], "label": ["1", "2"]},
            "answerKey": "2",
        },
        {
            "prompt": "Which?\nA) one\nB) two",
            "answer": {"answer": "B", "choices": 2},
            "meta": {"right": "two"},
            "id": "Q1",
        },
    ),
    "MMLU-Pro": (
        "multiple-choice",
        "multiple_choice",
        {"question_id": 7, "question": "Which?", "options": ["one", "two"], "answer": "A", "answer_index": 0},
        {
            "prompt": "Which?\nA) one\nB) two",
            "answer": {"answer": "A", "choices": 2},
            "meta": {"right": "one"},
            "id": "7",
        },
    ),
    "MedQA": (
        "multiple-choice",
        "multiple_choice",
        {"question": "Which?", "options": {"A": "one", "B": "two"}, "answer": "two", "answer_idx": "B"},
        {
            "prompt": "Which?\nA) one\nB) two",
            "answer": {"answer": "B", "choices": 2},
            "meta": {"right": "two"},
        },
    ),
    "OpenBookQA, the options inside": (
        "multiple-choice",
        "multiple_choice",
        {
            "question": {
                "stem": "Which?",
                "choices": [{"text": "one", "label": "A"}, {"text": "two", "label": "B"}],
            },
            "answerKey": "B",
        },
        {
            "prompt": "Which?\nA) one\nB) two",
            "answer": {"answer": "B", "choices": 2},
            "meta": {"right": "two"},
        },
    ),
}


class Imports:
    """What a pickle may do to whoever loads it."""

    def __reduce__(self):
        return Path.touch, (Path("loaded"),)


HOSTILE = base64.b64encode(zlib.compress(pickle.dumps(Imports()))).decode()
ROW = {name: row for name, (_, _, row, _) in RIGHT.items()}
WRONG = {
    "no functions": ("xlam", {"query": "a", "answers": "[]"}, "tools: want a list"),
    "a function without a name": ("xlam", {**XLAM, "tools": [{}]}, "want functions with name and parameters"),
    "a parameter without a type": (
        "xlam",
        {**XLAM, "tools": [{"name": "f", "parameters": {"x": "int"}}]},
        "f: x: want a type",
    ),
    "another function": (
        "xlam",
        {**XLAM, "answers": [{"name": "snow", "arguments": {}}]},
        "want name, one of rain",
    ),
    "another parameter": (
        "xlam",
        {**XLAM, "answers": [{"name": "rain", "arguments": {"x": 1}}]},
        "rain has no parameter x",
    ),
    "a call without what it needs": (
        "xlam",
        {**XLAM, "answers": [{"name": "rain", "arguments": {}}]},
        "rain needs city",
    ),
    "no file": ("swe-bench", BENCH, "no file: rows of SWE-bench name a repository and a commit"),
    "another version": (
        "swe-bench",
        {**BENCH, "files": {"shapes.py": "def area(w, h):\n    return 0\n"}},
        "patch: it does not fit the files: NoMatch",
    ),
    "a file that is not there": (
        "swe-bench",
        {**BENCH, "files": {"other.py": AREA}},
        "UnknownFile: shapes.py",
    ),
    "nothing quoted": ("swe-bench", {**BENCH, "text": "<code>"}, "text: no [start of PATH]"),
    "tests for another version": (
        "swe-bench",
        {**BENCH, "files": {"shapes.py": AREA}, "FAIL_TO_PASS": ["a.py::b"], "test_patch": AREA_PATCH[:30]},
        "test_patch: it does not fit the files",
    ),
    "only a new file": (
        "swe-bench",
        {**BENCH, "files": {"shapes.py": AREA}, "patch": TEST_PATCH},
        "it changes none of the files that are there",
    ),
    "no contents": ("nemotron-swe", REPAIR, "no column 'relevant_file_contents'"),
    "contents that are none": (
        "nemotron-swe",
        {**REPAIR, "relevant_file_contents": '["shapes.py"]'},
        "relevant_file_contents: want {path: text}",
    ),
    "a patch that is none": (
        "nemotron-swe",
        {**REPAIR, "relevant_file_contents": {"shapes.py": AREA}, "golden_patch": "I would multiply."},
        "golden_patch: it does not fit the files: Unparseable",
    ),
    "a prompt of numbers": (
        "nemotron-swe",
        {**REPAIR, "relevant_file_contents": {"shapes.py": AREA}, "prompt": [1]},
        "prompt: want a text, or messages",
    ),
    "no mark": ("gsm8k", {"question": "a", "answer": "7"}, "answer: no '####'"),
    "no answer": ("gsm8k", {"question": "a"}, "no column 'answer'; there are question"),
    "a list": ("gsm8k", {"question": ["a"], "answer": "#### 7"}, "question: want a text, not list"),
    "no story": (
        "asdiv",
        {"question": "a", "answer": "7"},
        "no column 'passage'; there are question, answer",
    ),
    "a ratio": ("asdiv", {"passage": "a", "question": "b", "answer": "11:17"}, "'11:17' is not one number"),
    "no box": ("math", {"problem": "a", "solution": "it is 7"}, "solution: no \\boxed"),
    "null": ("nemotron-math", {"problem": "a", "answer": None}, "answer: want a text, not null"),
    "true": ("nemotron-math", {"problem": "a", "answer": True}, "answer: want a text, not bool"),
    "no JSON": ("apps", {"question": "a", "input_output": "{"}, "input_output: want JSON"),
    "no tests": (
        "apps",
        {"question": "a", "input_output": {"inputs": [], "outputs": []}},
        "0 inputs and 0 outputs",
    ),
    "other counts": (
        "apps",
        {"question": "a", "input_output": {"inputs": ["1"], "outputs": []}},
        "1 inputs and 0",
    ),
    "no arguments": (
        "apps",
        {"question": "a", "input_output": {"fn_name": "f", "inputs": ["1"], "outputs": [1]}},
        "list of arguments",
    ),
    "numbers": (
        "apps",
        {"question": "a", "input_output": {"inputs": [1], "outputs": [2]}},
        "want texts, not int",
    ),
    "no cases": ("livecodebench", ROW["livecodebench"] | {"public_test_cases": "[]"}, "not empty"),
    "no base64": (
        "livecodebench",
        ROW["livecodebench"] | {"private_test_cases": "x!"},
        "private_test_cases: want JSON",
    ),
    "a pickle that acts": (
        "livecodebench",
        ROW["livecodebench"] | {"private_test_cases": HOSTILE},
        "may not name",
    ),
    "no arguments as JSON": (
        "livecodebench",
        ROW["livecodebench, a function and packed tests"]
        | {"public_test_cases": [{"input": "x", "output": "1"}]},
        "test cases: want JSON",
    ),
    "no list": ("ifeval", ROW["ifeval"] | {"kwargs": 3}, "kwargs: want a list, not int"),
    "no objects": ("nemotron-if", ROW["nemotron-if"] | {"kwargs": [3, 4]}, "kwargs: want objects, not int"),
    "no messages": (
        "nemotron-if",
        ROW["nemotron-if"] | {"prompt": [{"content": "a"}]},
        "prompt: want messages",
    ),
    "no literal": (
        "if-rlvr",
        ROW["IF-RLVR"] | {"ground_truth": "os.getcwd()"},
        "want JSON or a Python literal",
    ),
    "two of them": (
        "if-rlvr",
        ROW["IF-RLVR"] | {"ground_truth": "[{}, {}]"},
        "want an object, or a list of one",
    ),
    "no kinds": ("if-rlvr", ROW["IF-RLVR"] | {"ground_truth": "{}"}, "no column 'instruction_id'"),
    "no ground truth": ("verl", {"prompt": USER, "reward_model": {}}, "no column 'ground_truth'"),
    "no options": ("multiple-choice", {"question": "a", "answer": "A"}, "choices or options"),
    "one option": ("multiple-choice", {"question": "a", "choices": ["b"], "answer": "A"}, "2 to 26 options"),
    "none of them": (
        "multiple-choice",
        {"question": "a", "choices": ["b", "c"], "answer": "D"},
        "none of the 2 options",
    ),
    "past the end": (
        "multiple-choice",
        {"question": "a", "choices": ["b", "c"], "answer": 2},
        "none of the 2 options",
    ),
    "a bool": (
        "multiple-choice",
        {"question": "a", "choices": ["b", "c"], "answer": True},
        "none of the 2 options",
    ),
}


def through(rows, tmp_path: Path, domain: str, said):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return list(mapped_rows(f"jsonl:{path}", load_domain(domain), Reading(said, "all")))


@pytest.mark.parametrize(("said", "domain", "row", "want"), RIGHT.values(), ids=RIGHT)
def test_a_row_of_a_public_shape(said, domain, row, want, tmp_path):
    assert map_of(said)(row) == want
    [mapped] = through([row], tmp_path, domain, said)
    assert mapped.problem is not None, mapped.fault
    assert mapped.problem.answer == want["answer"] and mapped.problem.domain == domain


@pytest.mark.parametrize(("said", "row", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_row_says_what_it_wants(said, row, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RowError, match=re.escape(told)):
        map_of(said)(row)
    assert not (tmp_path / "loaded").exists()


def test_every_named_map_is_tried_right_and_wrong_and_documented():
    guide = (Path(__file__).parent.parent / "docs/data.md").read_text()
    assert {said for said, *_ in RIGHT.values()} == {said for said, *_ in WRONG.values()} == set(MAPS)
    assert all(f"| `{name}` |" in guide for name in MAPS)
    assert all(f"`{name}" in guide for name in (*STARTS, *STEPS, *PROBLEM.names))


def documented():
    """(map, row in, row out) of each example of the guide."""
    guide = (Path(__file__).parent.parent / "docs/data.md").read_text()
    return re.findall(r"^### `([a-z0-9-]+)`.*?```json\n(.*?)\n(.*?)\n```", guide, re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_guide_are_what_the_maps_do():
    assert {name for name, _, _ in documented()} == set(MAPS)
    for name, before, after in documented():
        assert map_of(name)(json.loads(before)) == json.loads(after), name


OWN = {
    "column": ({"column": "a"}, {"a": [1]}, [1]),
    "a part of a column": ({"column": "a.b.c"}, {"a": {"b": {"c": 2}}}, 2),
    "a column with a dot": ({"column": "a.b"}, {"a.b": 1, "a": {"b": 2}}, 1),
    "a part of JSON": ({"column": "a.b"}, {"a": '{"b": 3}'}, 3),
    "constant": ({"constant": {"x": None}}, {}, {"x": None}),
    "template": (
        {"template": r"{a} of {b.c} in \boxed{{}}"},
        {"a": 1, "b": {"c": [2]}},
        r"1 of [2] in \boxed{}",
    ),
    "after": ({"column": "a", "after": "####"}, {"a": "1 #### 2 ####  3 \n"}, "3"),
    "last box": ({"column": "a", "last_box": True}, {"a": r"\boxed{1} \boxed{ {2} }"}, "{2}"),
    "strip": ({"column": "a", "strip": True}, {"a": " x\n"}, "x"),
    "JSON": ({"column": "a", "json": True}, {"a": '[1, "2"]'}, [1, "2"]),
    "choice": ({"column": "a", "choice": {"yes": "A", "no": "B"}}, {"a": "no"}, "B"),
    "choice by a bool": (
        {"column": "a", "choice": {True: "thinking", False: "instruct"}},
        {"a": "False"},
        "instruct",
    ),
    "choice by a number": ({"column": "a", "choice": {0: "A", 1: "B"}}, {"a": "1"}, "B"),
    "in the order written": (
        {"column": "a", "after": "=", "json": True, "choice": {"[1]": "x"}},
        {"a": "b = [1]"},
        "x",
    ),
    "and the other order": ({"column": "a", "last_box": True, "after": "="}, {"a": r"c=5, \boxed{x=7}"}, "7"),
    "an object": (
        {"answer": {"column": "a"}, "choices": {"constant": 4}},
        {"a": "B"},
        {"answer": "B", "choices": 4},
    ),
}


@pytest.mark.parametrize(("chain", "row", "want"), OWN.values(), ids=OWN)
def test_operations(chain, row, want):
    made = map_of({"prompt": {"constant": "q"}, "answer": chain})(row)
    assert made == {"prompt": "q", "answer": want}


MISMADE = {
    "unknown field": ({"question": {"column": "a"}}, "map: no field question"),
    "no prompt": ({"answer": {"column": "a"}}, "one of prompt and messages"),
    "no answer": ({"prompt": {"column": "a"}}, "answer is missing"),
    "a bare name": (
        {"prompt": "question", "answer": {"column": "a"}},
        r"map.prompt: want operations, such as \{column: question\}",
    ),
    "unknown operation": (
        {"prompt": {"column": "a", "upper": True}, "answer": {"column": "a"}},
        "map.prompt: no operation upper",
    ),
    "no start": (
        {"prompt": {"strip": True}, "answer": {"column": "a"}},
        "map.prompt: begin with one of column",
    ),
    "two starts": ({"prompt": {"column": "a", "constant": 1}, "answer": {"column": "a"}}, "only one of them"),
    "a step first": (
        {"prompt": {"strip": True, "column": "a"}, "answer": {"column": "a"}},
        "begin with one of",
    ),
    "not true": (
        {"prompt": {"column": "a", "strip": 1}, "answer": {"column": "a"}},
        "map.prompt.strip: want true",
    ),
    "no mark": ({"prompt": {"column": "a", "after": ""}, "answer": {"column": "a"}}, "map.prompt.after"),
    "an open brace": ({"prompt": {"template": "{a"}, "answer": {"column": "a"}}, "map.prompt.template"),
    "no name": ({"prompt": {"template": r"\boxed{}"}, "answer": {"column": "a"}}, r"write \{\{\}\} for \{\}"),
    "a conversion": ({"prompt": {"template": "{a!r:>9}"}, "answer": {"column": "a"}}, "and nothing else"),
    "an empty choice": (
        {"prompt": {"column": "a", "choice": {}}, "answer": {"column": "a"}},
        "map.prompt.choice",
    ),
    "inside an object": (
        {"prompt": {"column": "a"}, "answer": {"x": {"y": {"colum": "a"}}}},
        "map.answer.x.y.colum",
    ),
}


@pytest.mark.parametrize(("said", "told"), MISMADE.values(), ids=MISMADE)
def test_a_mapping_that_is_none_is_told_by_its_place(said, told):
    with pytest.raises(InputError, match=told):
        map_of(said)


def test_all_fields_of_an_own_map_reach_the_problem(tmp_path):
    said = {
        "messages": {"column": "chat"},
        "answer": {"column": "gold"},
        "id": {"template": "{set}-{n}"},
        "mode": {"column": "think", "choice": {True: "thinking", False: "instruct"}},
        "split": {"column": "set", "choice": {"train": "rl", "test": "heldout"}},
        "meta": {"level": {"column": "n"}},
    }
    rows = [{"chat": USER, "gold": "7", "set": "test", "n": 3, "think": False}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows[0]))
    [mapped] = mapped_rows(f"jsonl:{path}", load_domain("maths"), Reading(said))
    problem = mapped.problem
    assert (problem.mode, mapped.split, dict(problem.meta)) == ("instruct", "heldout", {"level": 3})
    assert problem.id.startswith("rows.jsonl:test-3:")


SCALARS = st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=6)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["#### 3", r"\boxed{1}", "[", "{}", "[1]", PACKED, "A", "rl", '{"stem": 1}']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "label", "input", "output", "ground_truth", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
COLUMNS = sorted(
    {name for row in ROW.values() for name in row} | {"messages", "mode", "split", "meta", "id", "a.b"}
)
STEPS_OF_ALL = {"after": "#", "last_box": True, "strip": True, "json": True}
CHAIN = st.builds(
    lambda name, steps: {"column": name} | {step: STEPS_OF_ALL[step] for step in steps},
    st.sampled_from(COLUMNS),
    st.lists(st.sampled_from(sorted(STEPS_OF_ALL)), unique=True, max_size=2),
)
OWN_MAPS = st.fixed_dictionaries(
    {"prompt": CHAIN, "answer": CHAIN},
    optional={"id": CHAIN, "mode": CHAIN, "split": CHAIN, "meta": st.just({"m": {"column": "a"}})},
)


@settings(max_examples=100)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=7), min_size=1, max_size=4),
    start=st.sampled_from(sorted(ROW)),
    said=st.sampled_from([None, *MAPS]) | OWN_MAPS,
    domain=st.sampled_from(domain_names()),
    split=st.sampled_from([None, "all", "hash"]),
)
def test_any_row_through_any_map_is_a_problem_or_one_reason(
    rows, start, said, domain, split, tmp_path_factory
):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    # half of them: a row of a public shape with some of its columns spoilt
    rows = [*rows, *({**ROW[start], **row} for row in rows)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = list(mapped_rows(f"jsonl:{path}", load_domain(domain), Reading(said, split)))
    assert len(found) == len(rows)
    assert all(
        (mapped.problem is None) == bool(mapped.fault) and "\n" not in mapped.fault for mapped in found
    )
