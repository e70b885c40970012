"""How many bad rows may be left out: none, half, or the share that the recipe says; beyond it the table is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.data.abilities import check_recipe
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.recipe.tables import Reading, refusal
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_rows import counted, own_rows, refuse_bad
from cascade_rl.types import Split, Tally

GOOD = {"prompt": "1 + 1?", "answer": "2"}
CHAT = {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]}


def table(path: Path, good: int, bad: int, row=GOOD) -> str:
    rows = [{**row, "n": n, "id": str(n)} for n in range(good)] + [{"nothing": n} for n in range(bad)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return f"jsonl:{path}"


@given(read=st.integers(1, 300), bad=st.integers(0, 300), percent=st.integers(1, 100))
def test_a_share_is_a_share(read, bad, percent):
    bad = min(bad, read)
    assert (refusal(bad, read, {"skip": percent / 100}) is None) == (bad * 100 <= percent * read)
    assert (refusal(bad, read, "skip") is None) == (2 * bad <= read)
    assert (refusal(bad, read, "strict") is None) == (refusal(bad, read, None) is None) == (bad == 0)


@pytest.mark.parametrize(
    ("good", "bad", "said", "told"),
    [
        (9, 1, None, "1 of 10 rows are bad: mend them, or bad_rows: skip leaves them out"),
        (5, 5, "skip", None),
        (4, 6, "skip", "6 of 10 rows are bad, and bad_rows: skip leaves out 5 at most"),
        (9, 1, {"skip": 0.1}, None),
        (8, 2, {"skip": 0.1}, r"bad_rows: {skip: 0.1} leaves out 1 at most: mend them or the map, or raise"),
        (71, 29, {"skip": 0.29}, None),
        (1, 9, {"skip": 1}, None),
    ],
)
def test_problems_and_own_rows_alike(good, bad, said, told, tmp_path):
    source = table(tmp_path / "rows.jsonl", good, bad)
    chats = table(tmp_path / "chats.jsonl", good, bad, CHAT)

    def problems():
        tell: list[Tally] = []
        found = list(
            load_domain("maths").problems(source, Split.RL, 0, Reading(None, "all", said), tell.append)
        )
        assert [tally.bad for tally in tell] == [bad]
        return len(found)

    def own():
        tally = counted(chats, own_rows(chats, CHAT_MAPS["openai-chat"]))
        refuse_bad(tally, said)
        return tally.kept

    for read in (problems, own):
        if told is None:
            assert read() == good
            continue
        with pytest.raises(InputError) as caught:
            read()
        *places, counts = str(caught.value).split("\n")
        assert told in counts and len(places) == min(3, bad)
        assert all(f".jsonl:{good + n}: " in place for n, place in enumerate(places, 1))


def test_nothing_but_bad_rows_is_no_table(tmp_path):
    source = table(tmp_path / "chats.jsonl", 0, 2)
    with pytest.raises(InputError, match=r"none of the rows can be used: .*2 rows read, 0 mapped, 2 bad"):
        refuse_bad(counted(source, own_rows(source, CHAT_MAPS["openai-chat"])), {"skip": 1})


@pytest.mark.parametrize("said", ["skp", {"skip": 0}, {"skip": 1.5}, {"skip": "5%"}, {"skip": True}, {}, [], 0.1,
                                  {"skip": 0.1, "x": 1}, {"skip": float("nan")}])  # fmt: skip
def test_anything_else_is_one_message(said, tmp_path):
    entry = {"domain": "maths", "source": table(tmp_path / "rows.jsonl", 9, 0), "bad_rows": said}
    chat = {"source": table(tmp_path / "chats.jsonl", 9, 0, CHAT), "map": "openai-chat", "bad_rows": said}
    raw = {
        "name": "own",
        "model": {"architecture": {"max_position_embeddings": 65536}},
        "stages": [
            {"name": "sft", "kind": "sft", "lr": 1e-3, "steps": 1, "samples": 2, "batch_size": 2, "data": [entry, chat]},
            {"name": "rm", "kind": "reward_model", "steps": 1, "source": "jsonl:a", "map": "helpsteer", "bad_rows": said},
            {"name": "rl", "kind": "rl", "lr": 1e-3, "steps": 1, "data": [entry]},
        ],
        "benchmarks": [{"name": "own", "problems": 3, **entry}],
    }  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        check_recipe(raw)
    about = [text for path, text in caught.value.problems if path.endswith("bad_rows")]
    assert len(about) == 5 and all("want strict, skip, or {skip: 0.05}" in text for text in about)
