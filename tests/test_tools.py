"""Function calls: read from replies by their tags, held against the wanted ones by name and typed arguments.

The matching is held against all permutations, comparison of texts against BFCL's own pattern. About 5 s on one core.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from itertools import islice, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_slow_replies import grading, growth, is_slow

from cascade_rl.chat import compose_reply
from cascade_rl.domain import Services
from cascade_rl.domains import tools
from cascade_rl.sources.small_world.functions_to_call import SKILLS
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Split, Verdict
from cascade_rl.verify.tools.answer import answer_of
from cascade_rl.verify.tools.calls import MOST, Call, Malformed, calls_in, written
from cascade_rl.verify.tools.matching import judge, matched
from cascade_rl.verify.tools.values import admitted, plain

A, B = written("f", {"x": 1}), written("g", {})


def verdict(answer: object, reply: str, mode: Mode = Mode.INSTRUCT, official: bool = False) -> Verdict:
    problem = Problem("p", "tools", (Message("user", "?"),), answer, mode)
    grade = tools.score if official else tools.grade
    return asyncio.run(grade(problem, Rollout.of_text(reply), Services()))


def offer(name: str = "f", required: tuple[str, ...] = (), **types: object) -> dict:
    """A signature; a type is a name or a schema."""
    properties = {key: said if isinstance(said, dict) else {"type": said} for key, said in types.items()}
    return {
        "name": name,
        "parameters": {"type": "object", "properties": properties, "required": list(required)},
    }


# ---------------------------------------------------------------- which calls a reply makes


@pytest.mark.parametrize("text", [
    "", "no call", '{"name": "f", "arguments": {}}', "```json\n{}\n```", "<tools></tools>", "< tool_call>", "<tool_call",
    '<function_call>{"name": "f", "arguments": {}}</function_call>',
])  # fmt: skip
def test_without_tags_there_is_no_call(text):
    assert calls_in(text) == []


def test_calls_stand_anywhere_and_several():
    wanted = [Call("f", {"x": 1}), Call("g", {})]
    for text in (A + B, f"First {A}\nthen\n\n{B} done.", A.replace("\n", "") + B.replace("\n", " \t\r\n")):
        assert calls_in(text) == wanted
    more = '<tool_call>{"id": "1", "arguments": {"x": 1}, "name": "f"}</tool_call>'
    assert calls_in(more) == wanted[:1]


def test_a_tag_inside_of_an_argument_ends_nothing():
    for said in ("</tool_call>", "<tool_call>", A):
        assert calls_in(written("f", {"x": said})) == [Call("f", {"x": said})]


MALFORMED = {
    "nothing inside": "<tool_call></tool_call>",
    "no JSON": "<tool_call>\nf(x=1)\n</tool_call>",
    "single quotes": "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>",
    "cut": A[:-20],
    "never closed": A.removesuffix("</tool_call>"),
    "never opened": A.removeprefix("<tool_call>"),
    "closed twice": A + "</tool_call>",
    "nested": f"<tool_call>{A}</tool_call>",
    "opened twice": f"<tool_call>{A}",
    "two objects": A.replace("}\n<", "}\n{}<"),
    "a list": f"<tool_call>[{A[12:-13]}]</tool_call>",
    "a fence": A.replace("<tool_call>", "<tool_call>```json").replace("</tool", "```</tool"),
    "a key said twice": '<tool_call>{"name": "f", "arguments": {"x": 2, "x": 1}}</tool_call>',
    "a name said twice": '<tool_call>{"name": "g", "arguments": {"x": 1}, "name": "f"}</tool_call>',
    "arguments as a text": '<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>',
    "no arguments": '<tool_call>{"name": "f"}</tool_call>',
    "another word for them": '<tool_call>{"name": "f", "parameters": {"x": 1}}</tool_call>',
    "a name that is no text": '<tool_call>{"name": ["f"], "arguments": {"x": 1}}</tool_call>',
    "not a number": '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
    "infinity": '<tool_call>{"name": "f", "arguments": {"x": -Infinity}}</tool_call>',
    "too many digits": f'<tool_call>{{"name": "f", "arguments": {{"x": {"9" * 5000}}}}}</tool_call>',
    "nested too deeply": f'<tool_call>{{"name": "f", "arguments": {{"x": {"[" * 99_999}',
    "too many": A * (MOST + 1),
    "one of several": A + "<tool_call>{}</tool_call>",
}  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_one_call_that_cant_be_read_spoils_the_reply(text):
    with pytest.raises(Malformed):
        calls_in(text)
    one = {"tools": [offer(x="integer")], "calls": [{"f": {"x": [1]}}]}
    for answer in (one, {**one, "calls": []}, {**one, "calls": "any"}):
        for official in (True, False):
            found = verdict(answer, text, official=official)
            assert (found.reward, found.outcome) == (0.0, Outcome.UNPARSEABLE) and found.note


def test_calls_in_a_thought_do_not_count():
    one = {"tools": [offer(x="integer")], "calls": [{"f": {"x": [1]}}]}
    assert verdict(one, compose_reply(Mode.THINKING, A, "Done."), Mode.THINKING).reward == 0
    assert verdict(one, compose_reply(Mode.THINKING, B + B, A), Mode.THINKING).reward == 1
    assert verdict(one, f"<think>\n{A}", Mode.THINKING).reward == 0
    assert verdict({**one, "calls": []}, compose_reply(Mode.THINKING, A, "None."), Mode.THINKING).reward == 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), st.dictionaries(st.text(max_size=3), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5,
), max_size=3)), max_size=4), st.sampled_from(["", "\n", " and "]))  # fmt: skip
def test_what_the_template_writes_is_read_again(calls, between):
    text = between.join(written(name, arguments) for name, arguments in calls)
    assert calls_in(text) == [Call(name, arguments) for name, arguments in calls]


# ---------------------------------------------------------------- which values are admitted

# declared type, admitted values, value, by BFCL's rules, by RL's
VALUES = [
    ("integer", [5], 5, True, True), ("integer", [5], "5", False, False), ("integer", [5], 5.0, False, False),
    ("integer", [1], True, False, False), ("integer", [5, 6], 6, True, True), ("integer", [5], None, False, False),
    ("integer", [5], [5], False, False), ("number", [5.0], 5, True, True), ("number", [5], 5.0, True, True),
    ("float", [0.5], 0.5, True, True), ("number", [1.0], True, False, False), ("number", [5.0], "5.0", False, False),
    ("boolean", [True], True, True, True), ("boolean", [True], 1, False, False), ("boolean", [True], "true", False, False),
    ("boolean", [False], 0, False, False), ("string", ["5"], 5, False, False), ("string", ["5"], "5", True, True),
    ("string", ["April 1, 2024"], "april 1 2024", True, True), ("string", ["new-york_city"], "New York City", True, True),
    ("string", ["it's"], 'it"s', True, True), ("string", ["a"], "b", False, False), ("string", ["a:b"], "ab", False, False),
    ("string", ["", "x"], "", True, True), ("string", ["x"], "", False, False), ("string", ["x"], None, False, False),
    # the name of a variable in place of its value
    ("integer", ["days"], "days", True, True), ("integer", ["days"], "Days", False, True), ("string", [5], "5", False, False),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [1, 2], True, True),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [2, 1], False, False),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2], [2, 1]], [2, 1], True, True),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [1, 2.0], False, False),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2]], [1], False, False),
    ({"type": "array", "items": {"type": "integer"}}, [[0, 1]], [False, True], False, False),
    ({"type": "array", "items": {"type": "integer"}}, [[1]], 1, False, False),
    ({"type": "array", "items": {"type": "integer"}}, ["", [1]], [], True, True),
    # a whole number for a float: BFCL's checker takes it outside of lists only
    ({"type": "array", "items": {"type": "number"}}, [[1.0, 2.5]], [1, 2.5], False, True),
    ({"type": "array", "items": {"type": "number"}}, [[1.0]], [True], False, False),
    ({"type": "array", "items": {"type": "string"}}, [["New York"]], ["new york."], True, True),
    ({"type": "array"}, [[1, "a"]], [1, "A"], True, True),
    ({"type": "array", "items": {"type": "array"}}, [[["A"]]], [["a"]], False, True),
    ("object", [{"a": [1], "b": ["x", ""]}], {"a": 1}, True, True), ("object", [{"a": [1]}], {"a": 1, "c": 2}, False, False),
    ("object", [{"a": [1], "b": ["x", ""]}], {"a": 1, "b": "X"}, True, True), ("object", [{"a": [1]}], {}, False, False),
    ("object", [{"a": [1]}], {"a": True}, True, False), ("object", [{"a": [1]}], {"a": 1.0}, True, True),
    ("object", [{"a": [1]}, {"b": [2]}], {"b": 2}, True, True), ("object", [{"a": [1]}], [["a", 1]], False, False),
    ("object", [{}], {}, True, True), ("object", [""], {}, False, False),
    ({"type": "array", "items": {"type": "object"}}, [[{"a": [1]}, {"a": [2, 3]}]], [{"a": 1}, {"a": 3}], True, True),
    ({"type": "array", "items": {"type": "object"}}, [[{"a": [1]}, {"a": [2]}]], [{"a": 2}, {"a": 1}], False, False),
    ({"type": "array", "items": {"type": "object"}}, ["", [{"a": [1]}]], [3], False, False),
    # no type that is known: the values alone decide
    ({}, [5], 5, True, True), ({"type": ["integer", "null"]}, [None], None, True, True), ({}, ["Ab"], "ab", True, True),
    ("integer", [], 5, False, False), ("integer", [""], 5, False, False), ("integer", [5], 10**400, False, False),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "wants", "value", "official", "own"), VALUES)
def test_a_value_is_admitted_by_its_type(declared, wants, value, official, own):
    schema = declared if isinstance(declared, dict) else {"type": declared}
    assert admitted(value, wants, schema, True) is official
    assert admitted(value, wants, schema, False) is own


@given(
    st.text(alphabet=st.sampled_from("aB ,./-_*^'\"\u00e9\u0130\u00a0:;"), max_size=12) | st.text(max_size=9)
)
def test_texts_are_compared_as_bfcl_standardises_them(text):
    assert plain(text) == re.sub(r"[ \,\.\/\-\_\*\^]", "", text).lower().replace("'", '"')


# ---------------------------------------------------------------- calls as a whole

FIND = offer("find", ("what",), what="string", limit="integer")
WANT = {"find": {"what": ["tea"], "limit": ["", 5]}}
ONE = {"tools": [FIND, offer("other", x="string")], "calls": [WANT]}
CALLS = [
    ([("find", {"what": "tea"})], 1.0, ""), ([("find", {"what": "Tea", "limit": 5})], 1.0, ""),
    ([("find", {"what": "tea", "limit": 6})], 0.0, "'limit' is 6, wanted nothing or 5"),
    ([("find", {"limit": 5})], 0.0, "'what' is missing, and it is required"),
    ([("find", {"what": "tea", "colour": "red"})], 0.0, "no argument 'colour' is wanted"),
    ([("find", {"what": ["tea"]})], 0.0, "'what' is a list of 1, wanted 'tea'"),
    ([("other", {"x": "tea"})], 0.0, "called 'other', wanted 'find'"), ([("seek", {"what": "tea"})], 0.0, "called 'seek'"),
    ([("Find", {"what": "tea"})], 0.0, "called 'Find'"), ([], 0.0, "0 calls, wanted 1"),
    ([("find", {"what": "tea"})] * 2, 0.0, "2 calls, wanted 1"),
]  # fmt: skip


@pytest.mark.parametrize(("calls", "reward", "told"), CALLS)
def test_a_call_is_held_against_the_wanted_one(calls, reward, told):
    reply = "\n".join(["So:", *(written(*call) for call in calls)])
    for official in (True, False):
        found = verdict(ONE, reply, official=official)
        assert found.reward == reward and told in found.note, found.note


def test_what_is_wanted_must_be_given_though_it_is_not_required():
    answer = {"tools": [FIND], "calls": [{"find": {"what": ["tea"], "limit": [5]}}]}
    assert "'limit' is missing" in verdict(answer, written("find", {"what": "tea"})).note
    assert verdict(answer, written("find", {"what": "tea", "limit": 5})).reward == 1


def test_a_plain_call_admits_its_values_alone():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    signature = offer("f", o=schema, l={"type": "array", "items": schema}, x="integer")
    arguments = {"o": {"a": 1}, "l": [{"a": 2}], "x": 3}
    answer = {
        "tools": [{"type": "function", "function": signature}],
        "calls": [{"name": "f", "arguments": arguments}],
    }
    assert verdict(answer, written("f", arguments)).reward == 1
    for key, other in (("o", {"a": 2}), ("l", [{"a": 2}, {"a": 2}]), ("x", 4), ("o", {"a": 1, "b": 1})):
        assert verdict(answer, written("f", arguments | {key: other})).reward == 0
        assert verdict(answer, written("f", {k: v for k, v in arguments.items() if k != key})).reward == 0


def test_calls_come_in_any_order_and_each_is_needed():
    answer = {"tools": [FIND], "calls": [{"find": {"what": [w]}} for w in ("a", "b", "c")]}
    for order in permutations("abc"):
        assert verdict(answer, "".join(written("find", {"what": w}) for w in order)).reward == 1
    found = verdict(answer, "".join(written("find", {"what": w}) for w in "aab"))
    assert (
        found.reward == 0 and found.parts == {"calls": pytest.approx(2 / 3)} and "2 of 3 calls" in found.note
    )


def test_a_call_that_fits_two_leaves_room_for_one_that_fits_one():
    """BFCL's checker takes the first that fits; then the order of the calls would decide."""
    answer = {"tools": [FIND], "calls": [{"find": {"what": ["a", "b"]}}, {"find": {"what": ["a"]}}]}
    for order in ("ab", "ba"):
        assert verdict(answer, "".join(written("find", {"what": w}) for w in order)).reward == 1


def test_the_matching_is_as_large_as_the_best_permutation():
    rng = random.Random(0)
    for _ in range(1500):
        n = rng.randint(1, 6)
        fits = [[rng.random() < rng.choice((0.2, 0.4, 0.7)) for _ in range(n)] for _ in range(n)]
        found = matched(fits)
        assert all(fits[call][wanted] for wanted, call in found.items())
        assert len(set(found.values())) == len(found)
        assert len(found) == max(
            sum(fits[c][w] for w, c in enumerate(order)) for order in permutations(range(n))
        )


# ---------------------------------------------------------------- no call, any call


def test_where_nothing_fits_there_must_be_words_and_no_call():
    answer = {"tools": [FIND], "calls": []}
    assert verdict(answer, "I can't do that.").reward == 1
    for reply in ("", "  \n", written("find", {"what": "tea"}), "Sorry. " + written("nothing", {})):
        assert verdict(answer, reply).reward == 0
        assert verdict(answer, reply, official=True).reward == 0
    saying = answer | {"say": ["no function fits", "none of them"]}
    assert verdict(saying, "Alas, No function fits!").reward == verdict(saying, "None of them.").reward == 1
    assert verdict(saying, "Of course!").reward == 0


def test_where_a_call_must_be_made_it_is_one_that_could_be():
    answer = {"tools": [FIND], "calls": "any"}
    for reply, own, official in (
        (written("find", {"what": "x"}), 1, 1), (written("find", {"what": "x"}) * 2, 1, 1), ("find tea", 0, 0),
        # BFCL asks for a call alone
        (written("seek", {}), 0, 1), (written("find", {}), 0, 1), (written("find", {"what": "x", "y": 1}), 0, 1),
    ):  # fmt: skip
        assert verdict(answer, reply).reward == own
        assert verdict(answer, reply, official=True).reward == official


# ---------------------------------------------------------------- answers that can't be used

BAD_ANSWERS = [
    (None, "is no object"), ([], "is no object"), ({}, "tools: want a list"), ({"tools": [], "calls": None}, "calls: want"),
    ({"tools": ["f"], "calls": []}, "tools: number 1: want a function"), ({"tools": [{}], "calls": []}, "with a name"),
    ({"tools": [{"name": "f", "parameters": {"properties": [1]}}], "calls": []}, "want properties"),
    ({"tools": [{"name": "f", "parameters": {"required": "x"}}], "calls": []}, "required: want names"),
    ({"tools": [], "calls": "any"}, '"any" call needs tools'), ({"tools": [FIND], "calls": ["find"]}, "want a call"),
    ({"tools": [FIND], "calls": [{"find": {}, "g": {}}]}, "want one function"),
    ({"tools": [FIND], "calls": [{"find": {"what": "tea"}}]}, "want a list of the values"),
    ({"tools": [FIND], "calls": [{"find": {"what": [{"a": 1}]}}]}, "of an object each key"),
    ({"tools": [FIND], "calls": [{"name": "find", "arguments": "x"}]}, "want arguments as an object"),
    ({"tools": [FIND], "calls": [{"seek": {}}]}, "'seek' is none of the tools"),
    ({"tools": [FIND], "calls": [WANT], "say": ["x"]}, "say has no effect"),
    ({"tools": [], "calls": [], "say": "x"}, "say: want"),
    ({"tools": [FIND], "calls": [WANT] * (MOST + 1)}, "no reply may have more"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "told"), BAD_ANSWERS)
def test_an_answer_that_cant_be_used_says_why_and_is_null_whatever_the_reply(answer, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        answer_of(answer)
    for reply in ("", A, "x"):
        assert verdict(answer, reply).reward is None


# ---------------------------------------------------------------- the small world


def test_every_skill_is_asked_alone_and_beside_others_and_left_out():
    problems = list(islice(tools.DOMAIN.problems("builtin", Split.RL, 0), 400))
    names = {name: skill.names for skill in SKILLS for name in skill.names}
    for count, least in ((0, 20), (1, 150), (2, 40), (3, 10)):
        assert sum(len(p.answer["calls"]) == count for p in problems) >= least
    called = {names[name] for p in problems for call in p.answer["calls"] for name in call}
    assert called == {skill.names for skill in SKILLS}
    later = [p for p in problems if p.messages[-1].role == "tool"]
    assert len(later) > 15 and all(p.messages[-2].content.startswith("<tool_call>") for p in later)
    for p in problems:
        offered = [tool["function"]["name"] for tool in p.answer["tools"]]
        assert len(set(offered)) == len(offered) and all(
            f'"name": "{name}"' in p.messages[0].content for name in offered
        )


def test_the_same_text_is_the_same_problem_under_every_seed():
    found: dict[str, Problem] = {}
    for seed in range(3):
        for problem in islice(tools.DOMAIN.problems("builtin", Split.RL, seed), 400):
            assert found.setdefault(problem.prompt_text, problem) == problem
    assert len(found) < 3 * 400


def test_the_prompt_is_as_the_report_writes_tools():
    problem = next(tools.DOMAIN.problems("builtin", Split.RL, 0))
    said = problem.messages[0].content
    lines = said.partition("<tools>\n")[2].partition("\n</tools>")[0].splitlines()
    assert "\n# Tools\n" in said and [json.loads(line) for line in lines] == problem.answer["tools"]
    assert '<tool_call>\n{"name": <function-name>, "arguments": <arguments-object>}\n</tool_call>' in said
    # a model of another template writes them its own way
    assert json.loads(problem.messages[0].form)["tools"] == problem.answer["tools"]


def test_each_fault_of_the_teacher_is_seen_by_both_graders():
    rng = random.Random(0)
    for problem in islice(tools.DOMAIN.problems("builtin", Split.SFT, 0), 300):
        wanted = answer_of(problem.answer)
        reply = tools.demonstrate(problem.in_mode(Mode.INSTRUCT), rng, 1.0)
        assert not any(judge(reply, wanted, official).right for official in (True, False))


def test_the_teacher_has_a_right_and_a_wrong_reply_to_every_kind_of_answer():
    for answer in (
        ONE,
        {"tools": [], "calls": []},
        {"tools": [FIND], "calls": []},
        {"tools": [FIND], "calls": "any"},
    ):
        problem = Problem("p", "tools", (Message("user", "?"),), answer, Mode.INSTRUCT)
        for seed in range(20):
            right, wrong = (tools.demonstrate(problem, random.Random(seed), rate) for rate in (0.0, 1.0))
            for official in (True, False):
                assert verdict(answer, right, official=official).reward == 1
                assert verdict(answer, wrong, official=official).reward == 0


def test_work_on_long_replies_grows_with_their_length():
    run = grading("tools", Problem("p", "tools", (Message("user", "?"),), ONE, Mode.INSTRUCT))
    text = '<tool_call>{"name": "f", "arguments": {"x": "'
    for opening in ("", "<tool_call>", text):
        for piece in ("<tool_call>", "</tool_call>", "<tool_call>{", "<", '{"a":', "[", A, " \n", "9", "x"):
            assert not all(is_slow(growth(run, opening, piece, "")) for _ in range(3)), (opening, piece)


# ---------------------------------------------------------------- the page


def test_the_row_and_the_code_of_the_page_do_what_it_says(tmp_path):
    page = (Path(__file__).parent.parent / "docs/tools.md").read_text()
    [code], [row] = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "json"))
    exec(compile(code, "docs/tools.md", "exec"), {})
    (tmp_path / "own.jsonl").write_text(row)
    [problem] = tools.DOMAIN.problems(f"file:{tmp_path / 'own.jsonl'}", Split.RL, 0)
    assert [m.role for m in problem.messages] == ["system", "user"] and "<tools>" in problem.messages[
        0
    ].content
    for arguments, reward in (
        ({"minutes": 4}, 1),
        ({"minutes": 4, "label": "Tea"}, 1),
        ({"label": "tea"}, 0),
    ):
        reply = compose_reply(Mode.THINKING, "", written("set_timer", arguments))
        assert verdict(problem.answer, reply, Mode.THINKING).reward == reward
