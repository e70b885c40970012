"""Own conversations and pairs out of columns of any name, and which of them a stage takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cascade_rl.cli.main import app
from cascade_rl.data import demonstrations, pairs
from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.shelf import Shelf
from cascade_rl.data.trial import try_out
from cascade_rl.errors import InputError, RecipeError, StageError
from cascade_rl.recipe import Recipe
from cascade_rl.run.ledger import recipe_text
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_maps import CHAT, PAIR, chat_map, pair_map
from cascade_rl.sources.own_rows import Elsewhere
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import Mode, Split

GUIDE = (Path(__file__).parent.parent / "docs" / "chats.md").read_text()


def write(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"jsonl:{path}"


def chat(*texts: str, **more):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)], **more}


def test_a_mapping_is_the_same_as_the_named_map_on_its_columns():
    turns = chat("Hi.", "<think>well</think>Hello.", "And?", "No.")["messages"]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    said = {
        "messages": {"column": "dialog.turns"},
        "tools": {"column": "api", "json": True},
        "mode": {"column": "thinks", "choice": {True: "thinking", False: "instruct"}},
    }
    row = {"dialog": json.dumps({"turns": turns}), "api": json.dumps(tools), "thinks": False}
    assert chat_map(said)(row) == CHAT_MAPS["openai-chat"](
        {"messages": turns, "tools": tools, "mode": "instruct"}
    )
    better = {
        "prompt": {"column": "q"},
        "chosen": {"column": "a", "strip": True},
        "rejected": {"constant": "no"},
    }
    made = pair_map(better)({"q": "Why?", "a": " So. "})
    assert made == PAIR_MAPS["trl-preference"]({"prompt": "Why?", "chosen": "So.", "rejected": "no"})
    whole = {"chosen": {"column": "a"}, "rejected": {"column": "b"}}
    assert pair_map(whole)({"a": chat("q", "x")["messages"], "b": chat("q", "y")["messages"]}).chosen == "x"


@pytest.mark.parametrize(
    ("row", "system", "reply"),
    [
        ({"q": "Hi.", "a": "Hello.", "s": "Be short.", "t": "well"}, "Be short.", "<think>\nwell\n</think>\n\nHello."),
        ({"q": "Hi.", "a": "Hello.", "s": "", "t": ""}, None, "Hello."),
        ({"q": "Hi.", "a": "Hello.", "s": None, "t": None}, None, "Hello."),
    ],
)  # fmt: skip
def test_an_exchange_in_columns_of_its_own(row, system, reply):
    fields = {"prompt": "q", "reply": "a", "system": "s", "thought": "t"}
    made = chat_map({field: {"column": name} for field, name in fields.items()})(row)
    roles = ["system", "user", "assistant"] if system else ["user", "assistant"]
    assert [m.role for m in made.messages] == roles and made.messages[-1].content == reply
    assert made.replies == ((len(roles) - 1, Mode.THINKING if "think" in reply else Mode.INSTRUCT),)
    assert not system or made.messages[0].content == system


def test_the_example_of_the_guide():
    part = GUIDE[GUIDE.index("### Columns of another name") :]
    [entry] = yaml.safe_load(re.search(r"```yaml\n(.*?)```", part, re.DOTALL).group(1))
    before, after = map(json.loads, re.search(r"```json\n(.*?)\n(.*?)\n```", part, re.DOTALL).groups())
    made = chat_map(entry["map"])(before)
    assert [{"role": m.role, "content": m.content} for m in made.messages] == after["messages"]
    assert made.replies[-1][1] == after["mode"]
    assert chat_map(entry["map"])({**before, "part": "test"}) is Elsewhere.ELSEWHERE
    assert all(f"`{name}`" in GUIDE for name in (*CHAT.names, *PAIR.names))


MISMADE = {
    "all at once": (
        {"messages": {"colum": "a"}, "reply": {"column": 1}, "x": {}, "mode": {"strip": True}},
        [
            "map: no field x; there are messages, prompt, reply, system, thought, tools, mode, split",
            "map: want one of messages and prompt with reply",
            "map.messages: no operation colum",
            "map.messages: begin with one of",
            "map.reply.column: want the name of a column",
            "map.mode: begin with one of",
        ],
    ),
    "half an exchange": ({"prompt": {"column": "a"}}, ["map: reply is missing"]),
    "a thought alone": (
        {"messages": {"column": "a"}, "thought": {"column": "b"}},
        ["map: want one of messages and prompt with reply"],
    ),
    "nothing": ({}, ["map: want one of messages and prompt with reply"]),
    "chains and steps": (
        {"prompt": {"template": "{a", "after": ""}, "reply": {"column": "b", "choice": {}}},
        ["map.prompt.template: ", "map.prompt.after: ", "map.reply.choice: "],
    ),
}


@pytest.mark.parametrize(("said", "told"), MISMADE.values(), ids=MISMADE)
def test_all_that_is_wrong_in_a_mapping_is_told_at_once(said, told):
    with pytest.raises(InputError) as caught:
        chat_map(said)
    lines = str(caught.value).split("\n")
    assert len(lines) == len(told)
    assert all(line.startswith(start) for line, start in zip(lines, told, strict=True)), lines


def test_a_pair_needs_both_answers():
    with pytest.raises(InputError, match=r"^map: rejected is missing$"):
        pair_map({"prompt": {"column": "q"}, "chosen": {"column": "a"}})
    with pytest.raises(InputError, match="map: no field messages; there are chosen, rejected, prompt, split"):
        pair_map({"chosen": {"column": "a"}, "rejected": {"column": "b"}, "messages": {"column": "m"}})
    with pytest.raises(InputError, match="no map 'trl'; there are trl-preference"):
        pair_map("trl")


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9))
def test_the_hash_of_a_conversation_is_that_of_its_question(text):
    for turns in ((text, "a"), (text, "a", "And then?", "b")):
        made = chat_map("openai-chat", "hash")(chat(*turns))
        assert (made is not Elsewhere.ELSEWHERE) == (split_of(text) is Split.SFT)
    assert pair_map("trl-preference")({"prompt": text, "chosen": "a", "rejected": "b"}).split is split_of(
        text
    )


def recipe(chats: dict, preferred: dict) -> Recipe:
    sft = {
        "name": "sft",
        "kind": "sft",
        "steps": 1,
        "batch_size": 1,
        "samples": 8,
        "max_tokens": 500,
        "data": [chats],
    }
    rm = {"name": "rm", "kind": "reward_model", "steps": 1, "batch_size": 1, "max_tokens": 500, **preferred}
    marks = [
        {
            "name": "maths",
            "domain": "maths",
            "problems": 2,
            "max_prompt_tokens": 100,
            "max_response_tokens": 100,
        }
    ]
    return check_recipe({"name": "own", "stages": [sft, rm], "benchmarks": marks})  # fmt: skip


def rows_of(tmp_path: Path):
    parts = ("sft", "rl", "heldout", "sft")
    chats = [chat(f"Say {n}.", f"{n}.", part=parts[n % 4]) for n in range(40)]
    preferred = [
        {"q": f"Which {n}?", "good": f"{n}", "bad": "no", "fold": "dev" if n % 5 == 0 else "fit"}
        for n in range(60)
    ]
    return write(tmp_path / "chats.jsonl", chats), write(tmp_path / "pairs.jsonl", preferred)


BETTER = {"prompt": {"column": "q"}, "chosen": {"column": "good"}, "rejected": {"column": "bad"}}
FOLD = {"split": {"column": "fold", "choice": {"fit": "rl", "dev": "heldout"}}}


def test_a_recipe_takes_the_rows_of_its_split(tmp_path):
    chats, preferred = rows_of(tmp_path)
    read = recipe(
        {"source": chats, "map": "openai-chat", "split": "part"},
        {"source": preferred, "map": {**BETTER, **FOLD}, "pairs": 30, "heldout_pairs": 5},
    )
    made = demonstrations.provide(read.stages[0], {}, 0, shelf=Shelf(tmp_path / "kept"))
    [tally] = made.tallies
    assert (tally.read, tally.elsewhere, tally.kept, tally.used) == (40, 20, 20, 8)
    assert {int(re.findall(r"\d+", item.reply)[0]) % 4 for item in made.items} <= {0, 3}
    found = pairs.provide(read.stages[1], {}, 0, shelf=Shelf(tmp_path / "kept"))
    assert (len(found.training), len(found.heldout)) == (30, 5)
    number = lambda pair: int(pair.chosen)  # noqa: E731
    assert all(number(p) % 5 for p in found.training) and not any(number(p) % 5 for p in found.heldout)
    assert Recipe.model_validate(yaml.safe_load(recipe_text(read))) == read
    notes = try_out(read, Shelf(tmp_path / "tried")).tallies()
    assert "20 in another split, 8 of 20 used" in notes[0] and "60 rows read" in notes[1]


def test_without_a_split_the_rows_and_the_recipe_are_as_before(tmp_path):
    chats, preferred = rows_of(tmp_path)
    read = recipe({"source": chats, "map": "openai-chat"}, {"source": preferred, "map": BETTER})
    assert demonstrations.provide(read.stages[0], {}, 0, shelf=Shelf(tmp_path / "kept")).tallies[0].kept == 40
    assert {"split"}.isdisjoint(read.stages[0].model_dump(mode="json")["data"][0])
    assert {"split"}.isdisjoint(read.stages[1].model_dump(mode="json"))
    sides = pairs.provide(read.stages[1], {}, 0, shelf=Shelf(tmp_path / "kept"))
    assert {split_of(p.problem.prompt_text) for p in sides.heldout} <= {Split.VALIDATION, Split.HELDOUT}


def test_a_prompt_on_both_sides_is_refused(tmp_path):
    rows = [
        {"q": f"Which {n // 2}?", "good": f"{n}", "bad": "no", "fold": "dev" if n % 2 else "fit"}
        for n in range(9)
    ]
    stage = recipe(
        {"source": rows_of(tmp_path)[0], "map": "openai-chat"},
        {"source": write(tmp_path / "pairs.jsonl", rows), "map": {**BETTER, **FOLD}},
    ).stages[1]
    with pytest.raises(StageError, match=r"puts 4 prompts on both sides, .* such as 'Which 0"):
        pairs.provide(stage, {}, 0, shelf=Shelf(tmp_path / "kept"))


@pytest.mark.parametrize(
    ("chats", "preferred", "where", "why"),
    [
        ({"split": "nowhere"}, {}, "stages.sft.data.0", "split: no column 'nowhere'"),
        ({"split": "messages"}, {}, "stages.sft.data.0", "split: list .* is none of sft, rl"),
        (
            {"map": {"messages": {"column": "m"}}},
            {},
            "stages.sft.data.0",
            "no column 'm'; there are messages",
        ),
        ({"map": {"messages": "m"}}, {}, "stages.sft.data.0", "map.messages: want operations"),
        ({}, {"split": "all"}, "stages.rm", "would hold no pair out"),
        ({}, {"map": None, "split": "fold"}, "stages.rm", "split has no effect without a map"),
        (
            {},
            {"map": {"prompt": {"column": "q"}}},
            "stages.rm.source",
            "chosen is missing\nmap: rejected is missing",
        ),
    ],
)
def test_what_a_recipe_says_wrongly_has_its_place(chats, preferred, where, why, tmp_path):
    sources = rows_of(tmp_path)
    with pytest.raises(RecipeError) as caught:
        recipe(
            {"source": sources[0], "map": "openai-chat", **chats},
            {"source": sources[1], "map": BETTER, **preferred},
        )
    assert any(path == where and re.search(why, text) for path, text in caught.value.problems)


def test_show_takes_a_mapping_and_a_split(tmp_path):
    chats, preferred = rows_of(tmp_path)
    shown = CliRunner().invoke(app, ["data", "show", chats, "--map", "{messages: {column: messages}}",
                                     "--split", "part", "--rows", "2"])  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert "[[0.<|im_end|>]]" in shown.output and "in another split\n" in shown.output
    assert "20 in another split, 20 to use" in shown.output
    lines = CliRunner().invoke(
        app, ["data", "show", preferred, "--map", json.dumps(BETTER), "--rows", "1", "--json"]
    )
    row = json.loads(lines.stdout.splitlines()[0])
    assert (row["messages"], row["chosen"], row["rejected"]) == (chat("Which 0?")["messages"], "0", "no")


def test_values_of_any_kind_may_be_chosen_by(tmp_path):
    rows = [{**chat(f"Say {n}.", f"{n}."), "part": ("yes", 2, True)[n % 3]} for n in range(9)]
    chosen = {"column": "part", "choice": {True: "sft", 1.5: "rl", "yes": "rl", None: "heldout", 2: "sft"}}
    said = {"messages": {"column": "messages"}, "split": chosen}
    preferred = rows_of(tmp_path)[1]
    read = recipe(
        {"source": write(tmp_path / "c.jsonl", rows), "map": said}, {"source": preferred, "map": BETTER}
    )
    stage = read.stages[0].model_copy(update={"samples": 5})
    made = demonstrations.provide(stage, {}, 0, shelf=Shelf(tmp_path / "kept"))
    assert made.tallies[0].elsewhere == 3 and made.tallies[0].kept == 6
    again = Recipe.model_validate(yaml.safe_load(recipe_text(read)))
    assert again.hash == read.hash


def test_operations_in_another_order_are_another_table_on_the_shelf(tmp_path):
    rows = [{"q": f"{n}?", "a": f"\\boxed{{x={n}}} y={n}"} for n in range(9)]
    source, preferred = write(tmp_path / "c.jsonl", rows), rows_of(tmp_path)[1]
    replies = []
    for chain in (
        {"after": "=", "strip": True},
        {"last_box": True, "after": "="},
        {"last_box": True, "strip": True},
    ):
        for steps in (chain, dict(reversed(chain.items()))):
            said = {"prompt": {"column": "q"}, "reply": {"column": "a", **steps}}
            try:
                read = recipe({"source": source, "map": said}, {"source": preferred, "map": BETTER})
            except RecipeError:
                # nothing is in a box any more behind the last mark
                replies.append(None)
                continue
            made = demonstrations.provide(read.stages[0], {}, 0, shelf=Shelf(tmp_path / "kept"))
            replies.append(min(item.reply for item in made.items))
    # which rows are drawn depends on where the file lies
    shapes = [reply and re.sub(r"\d", "0", reply[:2]) for reply in replies]
    assert shapes == ["0", "0", "0", None, "x=", "x="]
