"""Whatever a row holds, it is mapped or bad with one reason: five thousand mutants of good rows of every map.

The whole path is gone: a file that other code wrote, read, mapped, held against the domain, rendered, counted.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from mutation import chosen
from test_maps import RIGHT, documented

from cascade_rl.chat import render_problem
from cascade_rl.data.show import as_json
from cascade_rl.data.show_model import Reader
from cascade_rl.data.show_own import own_json, own_texts
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.maps import MAPS, map_of
from cascade_rl.sources.own_maps import chat_map, pair_map
from cascade_rl.sources.own_rows import Counts, own_rows
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.tables import mapped_rows, tally_of
from cascade_rl.types import Split, Tally

COUNT = 250  # mutants of each base, of which there are more than twenty

DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
VALUES = [
    None, True, False, 0, -1, 1, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", " ", "x", "null", "[", "[1]", "{}",
    '{"a": 1}', "\ud800", "a\ud800b", "\0", "<|im_end|>", "</think>", "####", "\\boxed{", "1" * 5000, [], [1], [[]], [{}],
    {}, {"a": 1}, [None], ["a", "a"], {"": None}, {"role": "user"}, [{"role": "user", "content": None}],
    [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}], [{"role": ["user"], "content": "Hi."}], DEEP,
]  # fmt: skip
WHOLE = [None, [], [1], "text", 3, True, [{}], {}]  # what may stand on a line in the place of an object
KEYS = [
    "prompt",
    "messages",
    "answer",
    "id",
    "mode",
    "split",
    "meta",
    "content",
    "role",
    "tools",
    "weight",
    "",
]
TURNS = [
    {"role": "user", "content": "Hi."},
    {"role": "assistant", "content": "Hello.", "reasoning_content": "well"},
]
CALL = {"function": {"name": "f", "arguments": '{"a": 1}'}, "type": "function"}

# map, domain, row
PROBLEMS = {name: (said, domain, row) for name, (said, domain, row, _) in RIGHT.items()}
PROBLEMS["as it is"] = (
    None,
    "maths",
    {"messages": [{"role": "system", "content": "Be short."}, TURNS[0]], "answer": "2", "id": "q1", "mode": "instruct",
     "split": "rl", "meta": {"level": 3}},
)  # fmt: skip
OWN_MAP = {
    "prompt": {"template": "{a} and {b.c}"},
    "answer": {"column": "d", "after": "=", "strip": True},
    "mode": {"column": "e", "choice": {True: "thinking", False: "instruct"}},
    "meta": {"m": {"column": "b", "json": True}},
}
PROBLEMS["own map"] = (OWN_MAP, "maths", {"a": "1 + 1?", "b": '{"c": 2}', "d": "x = 2", "e": True})
CHATS = {
    "openai-chat": {
        "messages": [*TURNS, TURNS[0], {"role": "assistant", "content": "", "tool_calls": [CALL]},
                     {"role": "tool", "content": "-4"}, {"role": "assistant", "content": "Cold."}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "mode": "instruct",
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}],
                 "system": "Be short.", "tools": "[]"},
    "nemotron-sft": {"messages": TURNS, "thinking": True, "category": "chat"},
}  # fmt: skip
OWN_CHAT = {
    "prompt": {"column": "messages"}, "reply": {"column": "a"}, "thought": {"column": "b"}, "system": {"column": "c"},
    "split": {"column": "s", "choice": {"train": "sft", "test": "heldout"}},
}  # fmt: skip
OWN_PAIR = {"prompt": {"column": "q"}, "chosen": {"column": "a"}, "rejected": {"column": "b"}}
PREFERRED = {
    "trl-preference": {"prompt": [TURNS[0]], "chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No."}]},
    "hh-preference": {"chosen": "\n\nHuman: Hi.\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi.\n\nAssistant: No."},
    "helpsteer": {"context": [TURNS[0]], "response1": "a", "response2": "b", "overall_preference": -2},
}  # fmt: skip
# map, made, row
OWN = {
    **{name: (chat_map(name), row) for name, row in CHATS.items()},
    **{name: (pair_map(name), row) for name, row in PREFERRED.items()},
    "helpsteer of old": (
        pair_map("helpsteer"),
        {"prompt": "Hi.", "response_1": "a", "response_2": "b", "preference_strength": 1},
    ),
    "chats by a column": (chat_map("openai-chat", "part"), {**CHATS["openai-chat"], "part": "sft"}),
    "own chats": (
        chat_map(OWN_CHAT),
        {"messages": "Hi.", "a": "Hello.", "b": "well", "c": "Be short.", "s": "train"},
    ),
    "own pairs": (
        pair_map(OWN_PAIR),
        {"q": "Hi.", "a": "Hello.", "b": "No."},
    ),
}


def mutant(row: dict, rng: random.Random) -> Any:
    """A row with one to three places changed: another value, none, twice, shorter, as JSON; rarely no row at all."""
    if rng.random() < 0.03:
        return copy.deepcopy(rng.choice(WHOLE))
    made = copy.deepcopy(row)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = chosen(made, rng)
        if found is None:
            break
        node, last = found
        what, value = rng.random(), copy.deepcopy(rng.choice(VALUES))
        if what < 0.55:
            node[last] = value
        elif what < 0.7:
            del node[last]
        elif what < 0.8 and isinstance(node[last], list | str):
            node[last] = node[last][:-1]
        elif what < 0.85 and isinstance(node[last], list | dict):
            node[last] = json.dumps(node[last])
        elif what < 0.9 and isinstance(node, list):
            node.append(copy.deepcopy(node[last]))
        elif isinstance(node, dict):
            node[rng.choice(KEYS)] = value
        else:
            node[last] = [node[last]]
    return made


def table(path: Path, name: str, row: dict) -> tuple[str, int]:
    """A file with the row itself and its mutants, and how many lines it has."""
    rows = [row, *(mutant(row, random.Random(f"{name}/{seed}")) for seed in range(COUNT))]
    # NaN, infinities and halves of surrogate pairs as a careless writer leaves them
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return f"jsonl:{path}", len(rows)


def adds_up(tally: Tally, read: int) -> None:
    assert tally.read == read == tally.bad + tally.elsewhere + tally.empty + tally.repeated + tally.kept
    assert tally.line().startswith(
        f"{tally.source}: {read} rows read, {read - tally.bad} mapped, {tally.bad} bad, "
    )
    assert len(tally.places) == min(3, tally.bad)
    assert all("\n" not in place for place in tally.places)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_row_becomes_a_problem_or_is_bad(name, tmp_path):
    said, domain_name, row = PROBLEMS[name]
    domain = load_domain(domain_name)
    source, count = table(tmp_path / "rows.jsonl", name, row)
    found = list(mapped_rows(source, domain, Reading(said)))
    assert len(found) == count and found[0].problem is not None, found[0].fault
    for mapped in found:
        assert (mapped.problem is None) == bool(mapped.fault) and "\n" not in mapped.fault
        if mapped.problem is not None:
            assert render_problem(mapped.problem)
            json.dumps(as_json(mapped.problem), allow_nan=False, ensure_ascii=False).encode()
            assert domain.gold(mapped.problem) is None or domain.gold(mapped.problem).encode()
    adds_up(tally_of(source, found), count)
    assert not any("Error(" in mapped.fault for mapped in found), "a reason, not a piece of Python"
    bad = sum(mapped.problem is None for mapped in found)
    assert 0.1 * count < bad, "most changes do harm"
    told: list[Tally] = []
    drawn = [
        domain.problems(source, split, 0, Reading(said, None, {"skip": 1}), told.append) for split in Split
    ]
    sizes = [len(list(problems)) for problems in drawn]
    assert [tally.kept for tally in told] == sizes
    for tally in told:
        adds_up(tally, count)


@pytest.mark.parametrize("name", OWN)
def test_a_row_becomes_a_sample_or_is_bad(name, tmp_path):
    one, row = OWN[name]
    source, count = table(tmp_path / "rows.jsonl", name, row)
    counts: Counts = Counts()
    for number, read in enumerate(own_rows(source, one)):
        made = counts.add(read)
        assert not read.fault or "\n" not in read.fault
        assert number or made is not None, read.fault
        if made is not None:
            json.dumps(own_json(made), allow_nan=False, ensure_ascii=False).encode()
            assert all(read.text.encode() for read in own_texts(made, Reader()))
    adds_up(counts.tally(source), count)
    assert counts.bad > 0.1 * count


def test_every_named_map_has_mutants_and_there_are_five_thousand():
    assert {said for said, _, _ in PROBLEMS.values() if isinstance(said, str)} == set(MAPS)
    assert set(CHAT_MAPS) | set(PAIR_MAPS) <= set(OWN) and documented()
    assert COUNT * (len(PROBLEMS) + len(OWN)) >= 5000


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([1], "the line holds list, not an object"),
        ("text", "the line holds str"),
        (None, "the line holds NoneType"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "answer": "1"},
            "content: want a text, not ",
        ),
        ({"messages": [{"role": "user", "content": None}], "answer": "1"}, "content: want a text, not "),
        ({"messages": [{"role": "user"}], "answer": "1"}, "content"),
        ({"messages": ["Hi."], "answer": "1"}, "message 1: want role and content, not str"),
        ({"messages": [TURNS[0], {"role": "robot", "content": "a"}, TURNS[0]], "answer": "1"}, "robot"),
        ({"prompt": "a", "answer": "1", "meta": 7}, "meta: want an object"),
        ({"prompt": "a", "answer": "1", "id": {"x": [1]}}, "id: want a text or a number, not dict"),
    ],
)
def test_shapes_that_users_wrote(row, told, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError) as caught:
        next(
            load_domain("maths").problems(
                f"jsonl:{tmp_path / 'rows.jsonl'}", Split.RL, 0, Reading(None, "all")
            )
        )
    first = str(caught.value).split("\n")[0]
    assert first.startswith(f"{tmp_path}/rows.jsonl:1: ") and told in first


def test_a_meta_of_null_is_none(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2", "meta": null}')
    [made] = load_domain("maths").problems(
        f"jsonl:{tmp_path / 'rows.jsonl'}", Split.RL, 0, Reading(None, "all")
    )
    assert made.meta == {}


@pytest.mark.parametrize(
    ("made", "said", "row"),
    [
        (map_of, OWN_MAP, PROBLEMS["own map"][2]),
        (chat_map, OWN_CHAT, OWN["own chats"][1]),
        (pair_map, OWN_PAIR, OWN["own pairs"][1]),
    ],
)
def test_a_mapping_makes_a_map_or_is_refused_whatever_it_holds(made, said, row):
    refused = 0
    for seed in range(1000):
        rng = random.Random(f"map/{seed}")
        changed = mutant(said, rng)
        if not isinstance(changed, dict):
            continue
        # YAML has keys that JSON has not
        if rng.random() < 0.2:
            changed[rng.choice((1, None, True, 1.5))] = copy.deepcopy(rng.choice(VALUES))
        try:
            one = made(changed)
        except InputError as error:
            refused += 1
            assert all(line.startswith("map") for line in str(error).split("\n"))
            continue
        try:
            one(row)
        except InputError as error:
            assert "\n" not in str(error)
    assert 400 < refused < 1000
