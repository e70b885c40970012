"""Tests of public sets of programming problems in the form of the domain `coding`.

LiveCodeBench keeps its private tests as a pickled text, compressed, in base64. A pickle can run anything, so
only texts are read out of it: one that names a class or a function is refused.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from cascade_rl.sources.columns import RowError, column, listed, parsed, shown, text

COMPLETE = "Complete this code; reply with the whole of it."
PROGRAM = "Read standard input and write standard output. Reply with the whole program in a code block."
MOST_UNPACKED = 1 << 28  # bytes of one row's tests; the largest of LiveCodeBench have some 10 MB

Row = Mapping[str, Any]


def task(question: str, starter: Any) -> str:
    """A problem with what is to be replied: a whole program, or the given code completed."""
    question = question.rstrip()
    if isinstance(starter, str) and starter.strip():
        return f"{question}\n\n{COMPLETE}\n\n```python\n{starter.rstrip()}\n```"
    return f"{question}\n\n{PROGRAM}"


def _function(name: str, starter: Any) -> str:
    """As `coding` calls it: LeetCode's functions are methods of a class."""
    return f"Solution.{name}" if isinstance(starter, str) and "class Solution" in starter else name


def completing(code: str) -> str:
    """What HumanEval is asked with, and all that trains for its form: a head and a docstring to complete."""
    return f"Complete this function; reply with the whole of it.\n\n```python\n{code.rstrip()}\n```"


def humaneval(row: Row) -> dict[str, Any]:
    """A row of HumanEval: a function to complete, and the call that its own harness appends to the test."""
    code, name = text(row, "prompt"), text(row, "entry_point")
    answer = {
        # `coding` takes the name off again
        "check": f"{text(row, 'test')}\ncheck({name})\n",
        # imports and given functions
        "before": code.rpartition(f"def {name}")[0],
    }
    prompt = completing(code)
    meta = {"family": "humaneval", "code": code + text(row, "canonical_solution")}
    return {"prompt": prompt, "answer": answer, "meta": meta}


def apps_answer(row: Row) -> dict[str, Any]:
    """The answer of a row with `input_output`: inputs, outputs and perhaps `fn_name`."""
    said = parsed(column(row, "input_output"), "input_output")
    if not isinstance(said, Mapping):
        raise RowError(f"input_output: want an object with inputs and outputs, not {shown(said)}")
    inputs = listed(column(said, "inputs"), "inputs")
    outputs = listed(column(said, "outputs"), "outputs")
    if not inputs or len(inputs) != len(outputs):
        raise RowError(f"input_output: {len(inputs)} inputs and {len(outputs)} outputs")
    name = said.get("fn_name")
    if not name:
        tests = [{"stdin": _lines(i), "stdout": _lines(o)} for i, o in zip(inputs, outputs, strict=True)]
        return {"tests": tests}
    if not isinstance(name, str) or not all(isinstance(arguments, list) for arguments in inputs):
        raise RowError("input_output: with fn_name each of inputs is a list of arguments")
    # both sets wrap what is returned in a list of one
    wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
    results = [output[0] for output in outputs] if wrapped else outputs
    calls = [{"args": a, "result": r} for a, r in zip(inputs, results, strict=True)]
    return {"function": _function(name, row.get("starter_code")), "tests": calls}


def _lines(value: Any) -> str:
    """What a program reads or prints: a text, or its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise RowError(f"input_output: want texts, not {shown(value)}")


def livecodebench_answer(row: Row) -> dict[str, Any]:
    """The answer of a row of LiveCodeBench: public tests, then private ones."""
    tests = listed(column(row, "public_test_cases"), "public_test_cases")
    tests = tests + _private(row.get("private_test_cases"))
    keys = {"input", "output"}
    if not tests or not all(
        isinstance(t, Mapping) and keys <= set(t) and all(isinstance(t[key], str) for key in keys)
        for t in tests
    ):
        raise RowError("test cases: want a list of objects with input and output as texts, not empty")
    metadata = parsed(row.get("metadata") or {}, "metadata")
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    if not name:
        return {"tests": [{"stdin": t["input"], "stdout": t["output"]} for t in tests]}
    calls = [
        {
            "args": [_value(line) for line in t["input"].split("\n") if line.strip()],
            "result": _value(t["output"]),
        }
        for t in tests
    ]
    return {"function": _function(str(name), row.get("starter_code")), "tests": calls}


def _value(line: str) -> Any:
    return parsed(line, "test cases")


def _private(said: Any) -> list[Any]:
    """Tests as JSON, or packed as LiveCodeBench packs them."""
    if said is None or said == "":
        return []
    if not isinstance(said, str) or said.lstrip()[:1] == "[":
        return listed(said, "private_test_cases")
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(said, validate=True), MOST_UNPACKED)
        found = _TextsOnly(io.BytesIO(unpacked)).load()
        return listed(json.loads(found) if isinstance(found, str | bytes) else found, "private_test_cases")
    # a pickle that is cut or made up fails in any of these ways
    except (binascii.Error, zlib.error, pickle.UnpicklingError, ValueError, EOFError, TypeError) as error:
        raise RowError(
            f"private_test_cases: want JSON, or it pickled, compressed, in base64: {error}"
        ) from None
    except (AttributeError, IndexError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise RowError(f"private_test_cases: a pickle that can't be read: {error!r}") from None


class _TextsOnly(pickle.Unpickler):
    """Reads plain values; whatever would import something is refused before it does."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a pickle may not name {module}.{name}")
