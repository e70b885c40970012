"""Named maps: rows of well-known public shapes as rows of our own form.

What each shape looks like stands in docs/data.md with one row in and one row out. A map reads the columns it
names and nothing else; what a row lacks is told as a `RowError`.

Not here: whether a data set is good, and its licence.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from string import ascii_uppercase
from typing import Any

from cascade_rl.errors import InputError
from cascade_rl.sources.code_tests import apps_answer, livecodebench_answer, task
from cascade_rl.sources.columns import LeftOut, RowError, column, listed, parsed, shown, some, text
from cascade_rl.sources.masked import masked
from cascade_rl.sources.operations import RowMap, own_map
from cascade_rl.sources.repair_rows import nemotron_swe, swe_bench
from cascade_rl.sources.tool_rows import xlam
from cascade_rl.verify.maths.extract import last_boxed

# as the problems of reasoning-gym ask, so that one run has one form of answer
BOXED = "\nPut the final answer in \\boxed{}."

# a number, then a unit in letters
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:/\d+)?)(?:\s*\(.*\)|\s+[^\d:;]*)?")

Row = Mapping[str, Any]


def in_a_box(question: str) -> str:
    """The question with the request for a box, unless it speaks of one."""
    question = question.rstrip()
    return question if "\\boxed" in question else question + BOXED


def _id(row: Row, *names: str) -> dict[str, Any]:
    """The row's own id from the first of these columns that has one."""
    name = some(row, *names)
    return {"id": text(row, name)} if name else {}


def gsm8k(row: Row) -> dict[str, Any]:
    """`question`, and `answer` with the solution and the number after `####`."""
    solution, mark, answer = text(row, "answer").rpartition("####")
    if not mark:
        raise RowError(f"answer: no '####' in {shown(row['answer'])}")
    # <<48/2=24>> is for a calculator that no model here has
    thought = re.sub(r"<<[^<>]*>>", "", solution).strip()
    prompt = in_a_box(text(row, "question"))
    return {"prompt": prompt, "answer": answer.strip(), "meta": {"thought": thought}, **_id(row, "id")}


def math(row: Row) -> dict[str, Any]:
    """`problem`, and `solution` whose last box is the answer, or `answer` itself (MATH-500)."""
    if some(row, "answer"):
        answer = text(row, "answer")
    else:
        found = last_boxed(text(row, "solution"))
        if found is None:
            raise RowError(f"solution: no \\boxed{{}} in {shown(row['solution'])}")
        answer = found.strip()
    meta = {"thought": text(row, "solution")} if some(row, "solution") else {}
    prompt = in_a_box(text(row, "problem"))
    return {"prompt": prompt, "answer": answer, "meta": meta, **_id(row, "unique_id", "id")}


def nemotron_math(row: Row) -> dict[str, Any]:
    """`problem`, `answer` and `source` (Nemotron-Cascade-RL-Math)."""
    prompt = in_a_box(text(row, "problem"))
    return {"prompt": prompt, "answer": text(row, "answer"), **_id(row, "id")}


def asdiv(row: Row) -> dict[str, Any]:
    """`passage` or `body`, `question`, and `answer` with its unit (ASDiv).

    Raises LeftOut for an answer that is not one number: times of day, ratios, names, lists.
    """
    found = NUMBER.fullmatch(text(row, "answer").strip())
    if found is None:
        raise LeftOut(f"answer: {shown(row['answer'])} is not one number")
    story = text(row, some(row, "passage", "body") or "passage")
    meta: dict[str, Any] = {"group": text(row, "solution_type")} if some(row, "solution_type") else {}
    # a sum of the story's numbers would be right by its value
    meta["plain"] = True
    prompt = in_a_box(f"{story.strip()} {text(row, 'question').strip()}")
    # a story comes back with other numbers, or with another question: all of these in one split
    return {"prompt": prompt, "answer": found[1], "meta": meta, "split_by": masked(story)}


def livecodebench(row: Row) -> dict[str, Any]:
    """`question_content`, `starter_code`, test cases, `metadata` with a function's name."""
    prompt = task(text(row, "question_content"), row.get("starter_code"))
    return {"prompt": prompt, "answer": livecodebench_answer(row), **_id(row, "question_id")}


def apps(row: Row) -> dict[str, Any]:
    """`question`, `starter_code` and `input_output` (APPS, TACO)."""
    prompt = task(text(row, "question"), row.get("starter_code"))
    return {"prompt": prompt, "answer": apps_answer(row), **_id(row, "problem_id", "id")}


def _instructions(row: Row) -> dict[str, Any]:
    given = []
    for kwargs in listed(column(row, "kwargs"), "kwargs"):
        arguments = parsed(kwargs, "kwargs")
        if not isinstance(arguments or {}, Mapping):
            raise RowError(f"kwargs: want objects, not {shown(kwargs)}")
        # rows are padded with nulls for the arguments of all other instructions
        given.append({name: value for name, value in (arguments or {}).items() if value is not None})
    ids = listed(column(row, "instruction_id_list"), "instruction_id_list")
    return {"instruction_id_list": ids, "kwargs": given}


def ifeval(row: Row) -> dict[str, Any]:
    """`prompt` as a text, `instruction_id_list`, `kwargs` and `key` (IFEval, IFBench)."""
    prompt = text(row, "prompt")
    return {"prompt": prompt, "answer": {"prompt": prompt, **_instructions(row)}, **_id(row, "key", "id")}


def nemotron_if(row: Row) -> dict[str, Any]:
    """`prompt` as messages, `instruction_id_list`, `kwargs` (Nemotron-Cascade-RL-Instruction-Following)."""
    return {"messages": _messages(row), "answer": _instructions(row), **_id(row, "id", "key")}


def if_rlvr(row: Row) -> dict[str, Any]:
    """`messages`, `ground_truth` with `instruction_id` and `kwargs`, `key` (IF_multi_constraints_upto5)."""
    said = _literal(column(row, "ground_truth"), "ground_truth")
    # a list of one, as its authors' verifiers take it
    one = said[0] if isinstance(said, list) and len(said) == 1 else said
    if not isinstance(one, Mapping):
        raise RowError(f"ground_truth: want an object, or a list of one, not {shown(row['ground_truth'])}")
    asked = {"instruction_id_list": column(one, "instruction_id"), "kwargs": column(one, "kwargs")}
    return {"messages": _messages(row, "messages"), "answer": _instructions(asked), **_id(row, "key", "id")}


def _literal(value: Any, name: str) -> Any:
    """What a text holds as JSON, or as Python writes it (single quotes, None); other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return parsed(value, name)
    except RowError:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise RowError(f"{name}: want JSON or a Python literal, not {shown(value)}") from None


def _messages(row: Row, name: str = "prompt") -> Any:
    """The prompt's messages; a prompt that is a text is one of the user's."""
    prompt = column(row, name)
    if isinstance(prompt, str) and prompt.lstrip()[:1] != "[":
        return [{"role": "user", "content": text(row, name)}]
    found = listed(prompt, name)
    if not found or not all(isinstance(m, Mapping) and {"role", "content"} <= set(m) for m in found):
        raise RowError(f"{name}: want messages with role and content, not {shown(prompt)}")
    return [{"role": m["role"], "content": m["content"]} for m in found]


def verl(row: Row) -> dict[str, Any]:
    """`prompt` as messages, `reward_model.ground_truth`, `extra_info.index` and `.split`, as verl's are."""
    made = {"messages": _messages(row), "answer": column(row, "reward_model.ground_truth")}
    extra = parsed(row.get("extra_info"), "extra_info")
    if isinstance(extra, Mapping) and extra.get("index") is not None:
        # rows of the splits of one set are counted alike
        made["id"] = "-".join(str(extra[key]) for key in ("split", "index") if extra.get(key) is not None)
    return made


def multiple_choice(row: Row) -> dict[str, Any]:
    """A question with options, as MMLU, MMLU-Pro, ARC, CommonsenseQA, OpenBookQA and MedQA have them."""
    asked = some(row, "question", "question_stem", "problem")
    if asked is None:
        raise RowError("want a column question, question_stem or problem")
    question = (
        parsed(row[asked], asked) if isinstance(row[asked], str) and row[asked][:1] == "{" else row[asked]
    )
    # CommonsenseQA of old: the options stand inside of the question
    inner = {**row, **question, "question": question.get("stem")} if isinstance(question, Mapping) else row
    options, labels = _options(inner)
    letter = ascii_uppercase[_right(inner, options, labels)]
    stem = text(inner, "question" if isinstance(question, Mapping) else asked)
    listed_options = "\n".join(f"{ascii_uppercase[n]}) {option}" for n, option in enumerate(options))
    return {
        "prompt": f"{stem.rstrip()}\n{listed_options}",
        "answer": {"answer": letter, "choices": len(options)},
        "meta": {"right": options[ascii_uppercase.index(letter)]},
        **_id(row, "id", "question_id"),
    }


def _options(row: Row) -> tuple[list[str], list[str]]:
    """The texts of the options, and how the row calls them."""
    name = some(row, "choices", "options")
    if name is None:
        raise RowError("want a column choices or options")
    found = parsed(row[name], name)
    if isinstance(found, Mapping) and {"text", "label"} <= set(found):
        texts, labels = listed(found["text"], name), listed(found["label"], name)
    elif isinstance(found, Mapping):
        labels, texts = list(found), list(found.values())
    elif isinstance(found, list) and found and all(isinstance(o, Mapping) for o in found):
        texts, labels = [o.get("text") for o in found], [o.get("label") for o in found]
    else:
        texts = listed(found, name)
        labels = list(ascii_uppercase[: len(texts)])
    if not 2 <= len(texts) <= len(ascii_uppercase) or len(labels) != len(texts):
        raise RowError(f"{name}: want 2 to {len(ascii_uppercase)} options, not {shown(row[name])}")
    if not all(isinstance(o, str | int | float) and str(o).strip() for o in texts):
        raise RowError(f"{name}: want texts, not {shown(row[name])}")
    return [str(option).strip() for option in texts], [str(label) for label in labels]


def _right(row: Row, options: list[str], labels: list[str]) -> int:
    """The number of the right option: by its place, its label or its text."""
    name = some(row, "answerKey", "answer_idx", "answer", "answer_index")
    if name is None:
        raise RowError("want a column answer, answerKey, answer_idx or answer_index")
    said = row[name]
    if isinstance(said, int) and not isinstance(said, bool):
        if str(said) in labels:
            return labels.index(str(said))
        if 0 <= said < len(options):
            return said
    elif isinstance(said, str):
        found = said.strip()
        # ARC calls some options 1 to 4, so labels go before places
        for known in (labels, [label.upper() for label in labels], options):
            if known.count(found) == 1:
                return known.index(found)
        if re.fullmatch("[0-9]{1,2}", found) and int(found) < len(options):
            return int(found)
    raise RowError(f"{name}: {shown(said)} is none of the {len(options)} options")


MAPS: Mapping[str, RowMap] = {
    "apps": apps,
    "asdiv": asdiv,
    "gsm8k": gsm8k,
    "if-rlvr": if_rlvr,
    "ifeval": ifeval,
    "livecodebench": livecodebench,
    "math": math,
    "multiple-choice": multiple_choice,
    "nemotron-if": nemotron_if,
    "nemotron-math": nemotron_math,
    "nemotron-swe": nemotron_swe,
    "swe-bench": swe_bench,
    "verl": verl,
    "xlam": xlam,
}


def map_of(said: str | Mapping[str, Any] | None) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """The map of a name, or of a mapping of fields; None takes rows as they are.

    Raises InputError for an unknown name and a mapping that is none.
    """
    if said is None:
        return lambda row: row
    if isinstance(said, Mapping):
        return own_map(said)
    if said not in MAPS:
        raise InputError(
            f"no map {said!r}; there are {', '.join(MAPS)}, or a mapping of fields (docs/data.md)"
        )
    return MAPS[said]
