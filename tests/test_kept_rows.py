"""Own rows on the disk: the same rows in the same order as a list in memory would give them, and few bytes of each."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.data import demonstrations, pairs, replies
from cascade_rl.data.disjoint import check_disjoint, mark, normal
from cascade_rl.data.own import check_rows
from cascade_rl.data.preferred import HELDOUT
from cascade_rl.data.shelf import Shelf
from cascade_rl.errors import InputError, Interrupted, StageError
from cascade_rl.recipe import OwnRows, RewardModelStage, SFTStage
from cascade_rl.sources import own_maps
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.types import StepReport


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def chat_row(number: int) -> dict:
    """Of one to three replies, some with a thought."""
    rng = random.Random(number)
    said = []
    for turn in range(rng.randint(1, 3)):
        thought = "<think>ah</think>" if rng.random() < 0.4 else ""
        said += [f"Ask {number}.{turn} {rng.random()}", f"{thought}Say {number}.{turn}"]
    return {"messages": turns(*said)}


def pair_row(number: int) -> dict:
    return {"prompt": f"Which {number % 17}?", "chosen": f"good {number % 23}", "rejected": "bad"}


def write(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sft(source: str, **more) -> SFTStage:
    entry = {"source": source, "map": "openai-chat"} | more.pop("entry", {})
    return SFTStage(
        **{"name": "sft", "kind": "sft", "lr": 1e-3, "steps": 1, "data": [entry], "samples": 5} | more
    )


def reward(source: str, **more) -> RewardModelStage:
    said = {
        "name": "rm",
        "kind": "reward_model",
        "lr": 1e-3,
        "steps": 1,
        "source": source,
        "map": "trl-preference",
    }
    return RewardModelStage(**said | more)


def provided(kind, stage, folder: Path, seed: int = 0):
    return kind.provide(stage, {}, seed, (), Shelf(folder))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), last=st.booleans(), share=st.floats(0.01, 1))
def test_replies_are_those_of_a_shuffled_list(tmp_path_factory, seed, last, share):
    folder = tmp_path_factory.getbasetemp() / "list"
    rows = [chat_row(n) for n in range(40)]
    source = f"jsonl:{folder}/rows.jsonl"
    if not folder.exists():
        write(folder / "rows.jsonl", rows)
    chats = [CHAT_MAPS["openai-chat"](row) for row in rows]
    random.Random(f"{seed}/sft/{source}").shuffle(chats)
    expected = [item for chat in chats for item in chat.demonstrations(source, last=last)]
    wanted = max(1, int(share * len(expected)))
    stage = sft(source, samples=wanted, entry={"targets": "last" if last else "all"})
    made = provided(demonstrations, stage, folder / "shelf", seed)
    assert list(made.items) == expected[:wanted] and len(made.items) == wanted
    (pool,) = made.pools()
    assert pool.marks.tolist() == [mark(item.problem.prompt_text) for item in expected[:wanted]]
    modes = Counter(item.problem.mode for item in expected[:wanted])
    told = [f"{source}, {mode}: {count} demonstrations" for mode, count in modes.items()]
    assert made.described()[:-1] == told
    used = len({id(chat) for chat in chats if chat.demonstrations(source, last=last)[0] in expected[:wanted]})
    assert made.tallies[0].used == used
    assert made.items[1:4] == expected[:wanted][1:4] and made.items[-1] == expected[wanted - 1]


def test_pairs_are_those_of_a_shuffled_list(tmp_path):
    rows = [pair_row(n) for n in range(400)] + [pair_row(n) for n in range(50)]
    write(tmp_path / "rows.jsonl", rows)
    source = f"jsonl:{tmp_path}/rows.jsonl"
    distinct = list(dict.fromkeys(PAIR_MAPS["trl-preference"](row) for row in rows))
    random.Random("3/rm").shuffle(distinct)
    expected = [preference.pair(source) for preference in distinct]
    held = [split_of(pair.problem.prompt_text) in HELDOUT for pair in expected]
    made = provided(pairs, reward(source, pairs=100, heldout_pairs=20), tmp_path / "shelf", 3)
    assert list(made.training) == [p for p, out in zip(expected, held, strict=True) if not out][:100]
    assert list(made.heldout) == [p for p, out in zip(expected, held, strict=True) if out][:20]
    assert made.tallies[0].repeated == 450 - len(distinct) and made.tallies[0].kept == len(distinct)
    (pool,) = made.pools()
    assert pool.marks.tolist() == [mark(pair.problem.prompt_text) for pair in made.training]


def test_every_field_of_a_conversation_comes_back(tmp_path):
    row = json.loads(
        (Path(__file__).parent.parent / "docs/chats.md").read_text().split("```json\n")[1].split("```")[0]
    )
    chat = CHAT_MAPS["openai-chat"](row)
    columns = {name: [] for name in replies.CHATS.columns}
    assert replies.chat_of(replies.CHATS.record(chat, columns)) == chat
    assert columns["replies"] == [2]


def test_files_in_other_forms_give_the_same_rows(tmp_path):
    rows = [chat_row(n) for n in range(60)]
    write(tmp_path / "plain.jsonl", rows)
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "packed").mkdir()
    for part in range(3):
        (tmp_path / "packed" / f"{part}.jsonl.gz").write_bytes(
            gzip.compress("".join(lines[part * 20 : part * 20 + 20]).encode())
        )
    (tmp_path / "array.json").write_text(json.dumps(rows))
    sources = ["jsonl:plain.jsonl", "jsonl:packed/*.gz", "json:array.json"]
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        pass
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=7)
        sources.append("parquet:rows.parquet")
    found = []
    for source in sources:
        scheme, _, name = source.partition(":")
        made = provided(demonstrations, sft(f"{scheme}:{tmp_path}/{name}"), tmp_path / "shelf")
        (part,) = made.parts
        found.append((part._kept.content, part.total))
    assert len(set(found)) == 1, "the content of a store is that of the rows alone"


class Counting:
    """How many rows a map was asked for."""

    def __init__(self, monkeypatch) -> None:
        self.rows, one = 0, CHAT_MAPS["openai-chat"]

        def counted(row):
            self.rows += 1
            return one(row)

        monkeypatch.setitem(own_maps.CHAT_MAPS, "openai-chat", counted)


def test_rows_are_mapped_once_for_all_stages_and_again_where_they_changed(tmp_path, monkeypatch):
    counting = Counting(monkeypatch)
    path, shelf = tmp_path / "rows.jsonl", tmp_path / "shelf"
    write(path, [chat_row(n) for n in range(10)])
    first = provided(demonstrations, sft(f"jsonl:{path}"), shelf)
    second = provided(demonstrations, sft(f"jsonl:{path}", name="sft-2"), shelf)
    assert counting.rows == 10 and first.content() != second.content(), "another stage, another order"
    path.touch()
    assert provided(demonstrations, sft(f"jsonl:{path}"), shelf) == first and counting.rows == 10
    write(path, [chat_row(n) for n in range(11)])
    (shelf / ".0123456789abcdef.tmp").mkdir()  # what a kill left of another pass
    changed = provided(demonstrations, sft(f"jsonl:{path}"), shelf)
    assert counting.rows == 21 and changed.content() != first.content()
    assert len(list(shelf.iterdir())) == 1, "what it takes the place of is gone"


def test_a_damaged_store_is_made_again_or_named(tmp_path, monkeypatch):
    path, shelf = tmp_path / "rows.jsonl", tmp_path / "shelf"
    write(path, [chat_row(n) for n in range(10)])
    first = list(provided(demonstrations, sft(f"jsonl:{path}"), shelf).items)
    (store,) = shelf.iterdir()
    (store / "marks.bin").unlink()
    assert list(provided(demonstrations, sft(f"jsonl:{path}"), shelf).items) == first
    (store / "records").write_bytes(bytes((store / "records").stat().st_size))
    with pytest.raises(StageError, match="is damaged"):
        list(provided(demonstrations, sft(f"jsonl:{path}"), shelf).items)


def test_bad_rows_leave_no_store_and_one_that_skipped_them_is_not_used_by_who_does_not(tmp_path):
    path, shelf = tmp_path / "rows.jsonl", tmp_path / "shelf"
    write(path, [*(chat_row(n) for n in range(10)), {}])
    with pytest.raises(InputError, match=r"(?s)sft: .*rows.jsonl:11: messages: want.*1 of 11 rows are bad"):
        provided(demonstrations, sft(f"jsonl:{path}"), shelf)
    assert not list(shelf.iterdir())
    skipping = {"entry": {"bad_rows": "skip"}}
    assert provided(demonstrations, sft(f"jsonl:{path}", **skipping), shelf).tallies[0].bad == 1
    with pytest.raises(InputError, match="1 of 11 rows are bad"):
        provided(demonstrations, sft(f"jsonl:{path}"), shelf)


def test_a_recipe_is_checked_on_the_first_rows_and_says_so(tmp_path):
    path = tmp_path / "rows.jsonl"
    write(path, [{}, *(chat_row(n) for n in range(10)), {}])
    asked = OwnRows("place", f"jsonl:{path}", "openai-chat", None, None, True)
    with pytest.raises(InputError, match=r"of the first rows: .*\n1 of 5 rows are bad"):
        check_rows(asked, 5)
    with pytest.raises(InputError, match="2 of 12 rows are bad"):
        check_rows(asked, 50)
    assert check_rows(asked._replace(bad_rows={"skip": 1.0}), 1).bad == 1, "those behind may be good"
    with pytest.raises(InputError, match="none of the rows can be used"):
        write(path, [{}])
        check_rows(asked._replace(bad_rows={"skip": 1.0}), 5)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    write(path, [chat_row(n) for n in range(5000)])

    def grow(what: str, share: float | None) -> None:
        if what.startswith("mapping"):
            with path.open("a") as file:
                file.write(json.dumps(chat_row(1)) + "\n")

    with pytest.raises(InputError, match="changed while it was read"):
        demonstrations.provide(sft(f"jsonl:{path}"), {}, 0, (), Shelf(tmp_path / "shelf", grow))


def test_reading_can_be_stopped_and_says_how_far_it_is(tmp_path):
    path = tmp_path / "rows.jsonl"
    write(path, [chat_row(n) for n in range(9000)])
    told: list[tuple[str, float | None]] = []
    shelf = Shelf(tmp_path / "shelf", lambda what, share: told.append((what, share)), lambda: len(told) == 3)
    with pytest.raises(Interrupted, match=r"stopped while mapping jsonl:.*: 8,192 rows"):
        demonstrations.provide(sft(f"jsonl:{path}"), {}, 0, (), shelf)
    assert [what.split(" ")[0] for what, _ in told] == ["looking", "mapping", "mapping"]
    assert [round(share, 2) for _, share in told] == [1.0, 0.46, 0.91]
    assert not list((tmp_path / "shelf").iterdir())


def test_the_screen_tells_the_time_that_is_left(monkeypatch):
    screen, now = ConsoleScreen(), [100.0]
    shown: list[str] = []
    monkeypatch.setattr("cascade_rl.cli.screen.time.monotonic", lambda: now[0])
    monkeypatch.setattr(screen, "_update", lambda text, last: shown.append(text))
    screen.waiting("mapping rows: 10 rows", 0.25)
    now[0] = 160.0
    screen.waiting("mapping rows: 20 rows", 0.5)
    screen.waiting("model")
    assert shown == [
        "mapping rows: 10 rows ... 25%", "mapping rows: 20 rows ... 50%, about 2 min left", "model ...",
    ]  # fmt: skip


def test_the_time_of_an_evaluation_counts_from_its_own_begin(monkeypatch):
    """The same words come after every stage; what lies between the two is no part of the wait."""
    screen, now = ConsoleScreen(), [0.0]
    shown: list[str] = []
    monkeypatch.setattr("cascade_rl.cli.screen.time.monotonic", lambda: now[0])
    monkeypatch.setattr(screen, "_update", lambda text, last: shown.append(text))
    for between in (
        lambda: screen.stage("sft", 0, 2),
        lambda: screen.step(StepReport(0, {}, {"update": 1.0}), 5, ""),
    ):
        screen.waiting("evaluation: one", 0.0)
        now[0] += 30.0
        screen.waiting("evaluation: two", 0.75)
        assert shown[-1].endswith("evaluation: two ... 75%, about 10 s left")
        now[0] += 1000.0
        between()


def test_prompts_are_compared_by_their_text_where_their_marks_agree(tmp_path, monkeypatch):
    rows = [chat_row(n) for n in range(20)]
    loud = [row["messages"][0]["content"].upper() for row in rows]
    # one that the hash does not hold out
    shared = next(text for text in loud if split_of(text) not in HELDOUT)
    write(tmp_path / "a.jsonl", rows)
    write(tmp_path / "b.jsonl", [pair_row(n) for n in range(60)])
    write(
        tmp_path / "c.jsonl", [{"prompt": shared, "chosen": "a", "rejected": "b"}, *map(pair_row, range(60))]
    )
    total = sum(len(row["messages"]) // 2 for row in rows)
    stages = [sft(f"jsonl:{tmp_path}/a.jsonl", samples=total), reward(f"jsonl:{tmp_path}/b.jsonl")]

    def checked(folder: Path) -> None:
        made = (provided(demonstrations, stages[0], folder), provided(pairs, stages[1], folder))
        check_disjoint(stages, {stage.name: data for stage, data in zip(stages, made, strict=True)}, [])

    checked(tmp_path / "shelf")
    # all prompts with one mark: the texts are read, and none is shared
    monkeypatch.setattr(replies, "mark", lambda text: 7)
    monkeypatch.setattr("cascade_rl.data.preferred.mark", lambda text: 7)
    checked(tmp_path / "alike")
    monkeypatch.undo()
    # the two may share, as a rule; here they stand for any two that may not
    monkeypatch.setattr(SFTStage, "may_share", lambda self, other: False)
    stages[1] = reward(f"jsonl:{tmp_path}/c.jsonl")
    with pytest.raises(StageError) as told:
        checked(tmp_path / "shelf")
    assert f"stage rm and stage sft share 1 prompts, such as {normal(shared)!r}" in str(told.value)


MEASURE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_kept_rows as t
from cascade_rl.recipe import digest

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

folder = Path({folder!r})
stage = t.sft(f"jsonl:{{folder}}/rows.jsonl", samples={count})
t.provided(t.demonstrations, t.sft(f"jsonl:{{folder}}/few.jsonl"), folder / "warm")
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
made = t.provided(t.demonstrations, stage, folder / "shelf")
t.check_disjoint([stage], {{"sft": made}}, [])
digest(made.content()), made.described()
read = sum(len(item.reply) for item in made.items)
print(read, resident("VmHWM") - before)
"""


def test_rows_are_not_held_in_memory(tmp_path):
    """60,000 rows of 1 KB: held as texts they would take 100 MB and more."""
    count, text = 60_000, "word " * 190
    write(tmp_path / "few.jsonl", [chat_row(n) for n in range(200)])
    write(tmp_path / "rows.jsonl", ({"messages": turns(f"Ask {n}", f"{n} {text}")} for n in range(count)))
    code = MEASURE.format(tests=str(Path(__file__).parent), folder=str(tmp_path), count=count)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read, grown = map(int, done.stdout.split())
    assert read > count * 950
    assert grown < 30e6, f"{grown / 1e6:.0f} MB"
