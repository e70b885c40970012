"""Tables of own problems: what is read, what is refused, and that no row vanishes without a count."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import shutil
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cascade_rl.cascade.scoring import benchmark_key
from cascade_rl.cli.main import app
from cascade_rl.data import demonstrations, pools
from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.data.shelf import Shelf
from cascade_rl.data.trial import try_out
from cascade_rl.domain import HeldOut
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.recipe import BenchmarkSpec, RLStage, SFTStage, digest
from cascade_rl.recipe.tables import Reading, reading_of
from cascade_rl.run.ledger import recipe_text
from cascade_rl.sources import formats
from cascade_rl.types import Problem, Split, Tally

MATHS = load_domain("maths")
ROWS = [{"prompt": f"What is {n} + {n}?", "answer": str(2 * n), "id": f"q{n}"} for n in range(40)]


def write(path: Path, rows, scheme: str = "jsonl") -> str:
    """A table and the source that names it; written by other code than reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if scheme == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    elif scheme == "json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif scheme == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return f"{scheme}:{path}"


def drawn(source: str, split: Split = Split.RL, reading: Reading = Reading(split="all"), domain=MATHS):
    told: list[Tally] = []
    return list(domain.problems(source, split, 0, reading, told.append)), told


def content(problems: list[Problem]):
    return [(p.prompt_text, p.answer, p.mode) for p in problems]


@pytest.mark.parametrize("scheme", ["jsonl", "json", "csv", "parquet", "file"])
def test_every_format_holds_the_same_problems(scheme, tmp_path):
    problems, [tally] = drawn(write(tmp_path / f"rows.{scheme}", ROWS, scheme))
    plain, _ = drawn(write(tmp_path / "plain" / "rows.jsonl", ROWS))
    assert content(problems) == content(plain) and len(problems) == 40
    assert (tally.read, tally.bad, tally.kept) == (40, 0, 40)


# what CSV can hold: texts; a lone "\r" is written quoted and read back as it is
CELLS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)


@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_texts_come_back_from_every_format_as_they_were(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    rows = [{"prompt": a, "answer": b} for a, b in cells]
    for scheme in ("jsonl", "json", "csv"):
        write(folder / "rows", rows, scheme)
        assert [row.value for row in formats.rows(scheme, folder / "rows")] == rows, scheme


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=9), max_size=3)),
    size=st.integers(1, 7),
    indent=st.sampled_from([None, 2]),
)
def test_an_array_is_cut_anywhere_and_read_whole(rows, size, indent, tmp_path_factory):
    path = tmp_path_factory.mktemp("array") / "rows.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=indent), encoding="utf-8", errors="replace")
    want = json.loads(path.read_text(encoding="utf-8"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "CHUNK", size)
        assert [row.value for row in formats.rows("json", path)] == want


def test_compressed_files_a_mark_and_a_glob(tmp_path, monkeypatch):
    for name, part in (("b", ROWS[:10]), ("a", ROWS[10:20])):
        text = "\n".join(map(json.dumps, part)).encode()
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(text))
    # a byte order mark, as editors on Windows leave it; and a name that says nothing of the compression
    (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, ROWS[20:30])).encode())
    shutil.copy(tmp_path / "a.jsonl.gz", tmp_path / "d.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    problems, [tally] = drawn("jsonl:~/[abc].jsonl*")
    assert {p.id.split(":")[1] for p in problems} == {f"q{n}" for n in range(30)} and tally.read == 30
    assert formats.files("~/*.jsonl*") == sorted(tmp_path.iterdir())
    assert len(drawn("jsonl:~/d.jsonl")[0]) == 10
    with pytest.raises(InputError, match=r"no file matches ~/\*\.csv"):
        drawn("csv:~/*.csv")
    for nowhere in (
        "~nobody-of-that-name/a.csv",
        "~/**.csv",
        "~/\0",
        "x" * 300,
        "\ud800.csv",
        "?" + "x" * 300,
    ):
        with pytest.raises(InputError):
            drawn(f"csv:{nowhere}")


def test_what_needs_a_package_says_which(tmp_path):
    (tmp_path / "a.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd rest")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        for source in ("jsonl:a.jsonl.zst", "parquet:a.parquet"):
            scheme, _, name = source.partition(":")
            with pytest.raises(InputError, match=r"pip install cascade-rl\[data\]"):
                drawn(f"{scheme}:{tmp_path / name}")


def test_zstandard_and_parquet_where_the_package_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    text = "\n".join(map(json.dumps, ROWS)).encode()
    packed = pyarrow.compress(text, codec="zstd", asbytes=True)
    (tmp_path / "a.jsonl").write_bytes(packed)
    assert len(drawn(f"jsonl:{tmp_path / 'a.jsonl'}")[0]) == 40
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match=r"b\.parquet"):
        drawn(f"parquet:{tmp_path / 'b.parquet'}")


BROKEN = {
    "jsonl": b'{"prompt": "a", "answer": "1"}\n{"prompt": \n\xff\n[1]\nnull\n' + b"[" * 100_000 + b"\n"
    b'{"prompt": "b", "answer": NaN}\n{"prompt": "\\ud800", "answer": "1"}\n'
    b'{"prompt": "c", "answer": "1e999"}\n',
    "json": b'[{"prompt": "a", "answer": "1"}, 3, {"prompt": "b", "answer": NaN}, '
    b'{"prompt": "\xff", "answer": "1"}]',
    "csv": b'prompt,answer\na,1\nb\nc,2,3\n"d"x,4\n\xff,5\n"e\n',
}
PLACES = {
    "jsonl": [":2", ":3", ":4", ":5", ":6", ":7", ":8"],
    "json": [": row 2", ": row 3", ": row 4"],
    "csv": [":3", ":4", ":5", ":6", ":7"],
}


@pytest.mark.parametrize("scheme", BROKEN)
def test_broken_rows_are_named_by_their_place_and_the_rest_goes_on(scheme, tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(BROKEN[scheme])
    rows = list(formats.rows(scheme, path))
    assert [row.place for row in rows if row.fault] == [f"{path}{place}" for place in PLACES[scheme]]
    assert all(row.fault for row in rows if row.value is None)
    with pytest.raises(InputError) as caught:
        drawn(f"{scheme}:{path}")
    lines = str(caught.value).split("\n")
    assert [line.startswith(f"{path}{p}") for line, p in zip(lines[:3], PLACES[scheme], strict=False)] == [
        True
    ] * 3
    problems, [tally] = drawn(f"{scheme}:{path}", reading=Reading(split="all", bad_rows={"skip": 1}))
    assert tally.read == tally.bad + len(problems) and len(tally.places) == 3


FATAL = {
    "an array that is cut": ("json", b'[{"prompt": "a", "answer": "1"}, {"pro', "row 2"),
    "no comma": ("json", b'[{"a": 1} {"a": 2}]', "row 1"),
    "something after it": ("json", b'[{"a": 1}] {"a": 2}', "row 1"),
    "nested too deeply": ("json", b"[" * 100_000, "row 1: nested"),
    "a damaged archive": ("jsonl", gzip.compress(b'{"a": 1}' * 999)[:-20], "damaged|CRC|end-of-stream"),
    "a header that names one column twice": ("csv", b"a,a\n1,2\n", "twice"),
}


@pytest.mark.parametrize(("scheme", "data", "told"), FATAL.values(), ids=FATAL)
def test_a_file_that_breaks_off_is_an_error_whatever_may_be_skipped(scheme, data, told, tmp_path):
    (tmp_path / "rows").write_bytes(data)
    with pytest.raises(InputError, match=told):
        drawn(f"{scheme}:{tmp_path / 'rows'}", reading=Reading(bad_rows="skip"))


@given(data=st.binary(max_size=60), scheme=st.sampled_from(["jsonl", "json", "csv"]))
def test_no_bytes_make_a_traceback(data, scheme, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "rows"
    path.write_bytes(data)
    try:
        problems, [tally] = drawn(f"{scheme}:{path}", reading=Reading(bad_rows={"skip": 1}))
    except InputError:
        return
    assert tally.read == tally.bad + tally.repeated + tally.elsewhere + tally.kept
    assert tally.kept == len(problems)


def test_every_row_is_in_one_count(tmp_path):
    rows = [
        *({**row, "split": "rl"} for row in ROWS[:5]),
        *({**row, "split": "heldout"} for row in ROWS[5:8]),
        {**ROWS[0], "split": "rl", "answer": "7"},
        {"prompt": "no answer"},
        {"prompt": "x", "answer": "1", "split": "train"},
        {"prompt": "x", "answer": "1", "mode": "fast"},
        {"prompt": "x", "answer": None},
    ]
    source = write(tmp_path / "rows.jsonl", rows)
    problems, [tally] = drawn(source, reading=Reading(bad_rows="skip"))
    assert tally == Tally(source, 13, 4, tally.places, repeated=1, elsewhere=3, kept=5)
    assert [place.split(": ")[0].rpartition(":")[2] for place in tally.places] == ["10", "11", "12"]
    assert "split: hash" in tally.places[1], "the mend is named"
    # the first of two rows with one id is the one that stays
    assert {p.answer for p in problems if ":q0:" in p.id} == {"0"}
    line = replace(tally, used=2).line()
    assert "13 rows read, 9 mapped, 4 bad, 1 with an id" in line and "3 in another split, 2 of 5 used" in line


def test_splits_by_column_by_hash_and_for_all(tmp_path):
    rows = [{**row, "split": "rl", "part": "heldout" if n % 2 else "sft"} for n, row in enumerate(ROWS)]
    source = write(tmp_path / "rows.jsonl", rows)
    sizes = {
        said: [len(drawn(source, split, Reading(split=said))[0]) for split in Split]
        for said in (None, "part", "all", "hash")
    }
    assert sizes[None] == [0, 40, 0, 0] and sizes["part"] == [20, 0, 0, 20] and sizes["all"] == [40] * 4
    assert sum(sizes["hash"]) == 40 and sizes["hash"] != sizes[None]
    bare = write(tmp_path / "bare.jsonl", ROWS)
    assert [len(drawn(bare, split, Reading())[0]) for split in Split] == sizes["hash"]
    with pytest.raises(InputError, match="split: no column 'nowhere'"):
        drawn(source, reading=Reading(split="nowhere"))


def test_ids_stay_when_files_move_and_never_collide(tmp_path):
    here = {p.id for p in drawn(write(tmp_path / "a" / "rows.jsonl", ROWS))[0]}
    moved = {p.id for p in drawn(write(tmp_path / "b" / "rows.jsonl", ROWS))[0]}
    assert here == moved
    other = [{**row, "prompt": row["prompt"] + " Say it."} for row in ROWS]
    assert not here & {p.id for p in drawn(write(tmp_path / "c" / "rows.jsonl", other))[0]}
    assert not here & {p.id for p in drawn(write(tmp_path / "c" / "more.jsonl", ROWS))[0]}
    # two files of one name in one source
    both, [tally] = drawn(f"jsonl:{tmp_path}/[ab]/rows.jsonl")
    assert (
        len(both) == 80
        and tally.repeated == 0
        and {p.id.split(":")[0] for p in both} == {"a/rows.jsonl", "b/rows.jsonl"}
    )


def test_a_gold_that_no_reply_could_give_is_named_with_the_mend(tmp_path):
    solution = "She sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72"
    golds = [
        solution,
        "x" * 201,
        "We count them one by one. " * 8 + r"So it is \boxed{5}",
        "the sum of all primes less than ten is 17",
        " ",
        r"\frac{1",
    ]
    for gold in golds:
        source = write(tmp_path / "rows.jsonl", [{"prompt": "a", "answer": gold}])
        with pytest.raises(InputError, match=r"rows\.jsonl:1: answer: no reply could give .*map: gsm8k"):
            drawn(source)
    sound = [
        "72",
        r"\frac{1}{2}",
        r"\boxed{5}",
        r"so it is \boxed{5}",
        r"\text{Evelyn}",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        r"(-\infty, 3] \cup \{5\}",
        r"\left\{1, 2\right\}",
        "x^2 + 3x - 7",
        "12:30",
        "17 apples",
        3,
        0.5,
    ]
    for gold in sound:
        MATHS.check_answer(gold)


def rl_stage(source: str, **keys) -> RLStage:
    return RLStage(
        name="rl",
        kind="rl",
        steps=1,
        lr=1e-3,
        data=[{"domain": "maths", "source": source, "split": "all", **keys}],
    )


def test_a_changed_row_is_a_changed_run(tmp_path):
    domains = {"maths": MATHS}

    def of(rows):
        source = write(tmp_path / "rows.jsonl", rows)
        sft = SFTStage(
            name="s",
            kind="sft",
            steps=1,
            lr=1e-3,
            samples=3,
            batch_size=1,
            data=[{"domain": "maths", "source": source, "split": "all"}],
        )
        made = (pools.provide(rl_stage(source), domains, 0), demonstrations.provide(sft, domains, 0))
        return [digest(data.content()) for data in made]

    first = of(ROWS[:3])
    assert of(ROWS[:3]) == first
    answer = of([{**ROWS[0], "answer": "99"}, *ROWS[1:3]])
    system = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": ROWS[0]["prompt"]},
        ]
    }
    prompt = of([{"answer": "0", "id": "q0", **system}, *ROWS[1:3]])
    assert all(a != b for changed in (answer, prompt) for a, b in zip(first, changed, strict=True))


def test_a_corrected_benchmark_is_scored_again(tmp_path):
    def key(rows, weights="w"):
        source = write(tmp_path / "rows.jsonl", rows)
        spec = BenchmarkSpec(name="own", domain="maths", source=source, split="all")
        problems = tuple(MATHS.problems(source, Split.HELDOUT, 0, reading_of(spec)))
        return benchmark_key(HeldOut(spec, MATHS, problems), weights)

    first = key(ROWS[:3])
    assert key(ROWS[:3]) == first != key(ROWS[:3], "v")
    assert first != key([{**ROWS[0], "answer": "99"}, *ROWS[1:3]])


GSM = [{"question": f"{n} + 1?", "answer": f"so\n#### {n + 1}"} for n in range(60)]


def recipe(source: str, **keys):
    entry = {"domain": "maths", "source": source, **keys}
    return {
        "name": "own",
        "model": {"architecture": {"max_position_embeddings": 65536}},
        "stages": [
            {
                "name": "sft",
                "kind": "sft",
                "lr": 1e-3,
                "steps": 1,
                "samples": 2,
                "batch_size": 2,
                "data": [entry],
            },
            {"name": "rl", "kind": "rl", "lr": 1e-3, "steps": 1, "data": [entry]},
        ],
        "benchmarks": [{"name": "own", "problems": 3, **entry}],
    }


def test_a_recipe_says_what_became_of_its_rows(tmp_path):
    rows = [{**row, "part": ("sft", "rl", "heldout", "validation")[n % 4]} for n, row in enumerate(ROWS)]
    source = write(tmp_path / "rows.jsonl", [*rows, {"part": "rl", "prompt": "no answer"}])
    read = check_recipe(recipe(source, split="part", bad_rows="skip"))
    notes = try_out(read, Shelf(tmp_path / "kept")).tallies()
    assert [note.partition(": ")[0] for note in notes] == ["sft", "rl", "own"]
    assert all("41 rows read, 40 mapped, 1 bad" in note and "30 in another split" in note for note in notes)
    assert [note.partition("split, ")[2].partition(";")[0] for note in notes] == [
        "2 of 10 used",
        "10 of 10 used",
        "3 of 10 used",
    ]
    domains = {"maths": MATHS}
    provided = {
        "sft": demonstrations.provide(read.stages[0], domains, 0),
        "rl": pools.provide(read.stages[1], domains, 0),
    }
    made = gather(read, lambda stage, *_: provided[stage.name])
    assert [t.used for t in provided["sft"].tallies + provided["rl"].tallies] == [2, 10]
    assert "10 of 10 used" in provided["rl"].described()[1]
    [benchmark] = made.benchmarks
    assert [t.used for t in benchmark.tallies] == [3]
    assert gather_benchmarks(read)[0].problems == benchmark.problems


def test_keys_of_a_table_have_no_effect_elsewhere(tmp_path):
    with pytest.raises(RecipeError) as caught:
        check_recipe(recipe("builtin", map="gsm8k", bad_rows="skip"))
    assert str(caught.value).count("map, bad_rows: no effect on source builtin") == 3
    source = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(RecipeError, match="no map 'gms8k'; there are apps, asdiv, gsm8k"):
        check_recipe(recipe(source, map="gms8k"))
    with pytest.raises(RecipeError, match=r"no problems in the rl split .*40 rows read"):
        check_recipe(recipe(write(tmp_path / "sft.jsonl", [{**row, "split": "sft"} for row in ROWS])))


def test_an_own_map_is_the_same_after_the_recipe_was_written(tmp_path):
    rows = [{"q": f"{n} + 1?", "gold": f"x = {n + 1}", "think": n % 2 == 0} for n in range(30)]
    own = {
        "prompt": {"template": "{q} {{}}"},
        # the order counts, and YAML has keys that JSON has not
        "answer": {"column": "gold", "after": "=", "strip": True},
        "mode": {"column": "think", "choice": {True: "thinking", False: "instruct"}},
    }
    read = check_recipe(recipe(write(tmp_path / "rows.jsonl", rows), map=own))
    again = check_recipe(yaml.safe_load(recipe_text(read)))
    assert again.hash == read.hash
    asked = [[p.asked() for p in gather_benchmarks(r)[0].problems] for r in (read, again)]
    assert asked[0] == asked[1] and asked[0][0][1][0][1].endswith("? {}")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe(write(tmp_path / "gsm.jsonl", GSM))))
    told = "stages.sft.data.maths.map=gsm8k", "stages.rl.data.maths.map=gsm8k", "benchmarks.own.map=gsm8k"
    assert len(gather_benchmarks(load_recipe(str(tmp_path / "own.yaml"), told))[0].problems) == 3


def run(*words: str):
    return CliRunner().invoke(app, ["data", "show", *words])


def test_show_tells_rows_before_and_after(tmp_path):
    source = write(
        tmp_path / "rows.jsonl", [{"question": "1 + 1?", "answer": "1+1=2 #### 2"}, {"question": "2"}]
    )
    shown = run(source, "--domain", "maths", "--map", "gsm8k")
    assert shown.exit_code == 1, "a bad row"
    for told in (
        "question: 1 + 1?",
        "<|im_start|>user\n1 + 1?",
        "bad: no column 'answer'",
        "2 rows read, 1 mapped, 1 bad",
    ):
        assert told in shown.output
    own = "{prompt: {column: question}, answer: {constant: '2'}, mode: {constant: instruct}}"
    lines = run(source, "--domain", "maths", "--map", own, "--json")
    assert lines.exit_code == 0
    rows = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [list(row) for row in rows] == [["id", "messages", "answer", "mode"]] * 2
    assert rows[0]["messages"] == [{"role": "user", "content": "1 + 1?"}] and rows[0]["mode"] == "instruct"
    assert "2 rows read" in lines.stderr
    refused = run("builtin", "--domain", "maths").exception
    assert isinstance(refused, InputError) and "builtin is no table of rows; those are jsonl:PATH" in str(
        refused
    )


class FakeParquet:
    """What is asked of pyarrow, as its documentation has it: the package is not needed to test what we do."""

    class ArrowException(Exception):
        pass

    def __init__(self, batches, packed: bytes = b"") -> None:
        self.batches, self.packed = batches, packed
        self.parquet = SimpleNamespace(ParquetFile=lambda path: self)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def iter_batches(self, batch_size: int):
        for batch in self.batches:
            if batch is None:
                raise self.ArrowException("corrupt")
            yield SimpleNamespace(to_pylist=lambda batch=batch: batch)

    def input_stream(self, path: str, compression: str):
        assert compression == "zstd"
        return io.BytesIO(self.packed)


def with_parquet(monkeypatch, fake: FakeParquet) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", fake)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", fake.parquet)


def test_values_of_arrow_become_json(tmp_path, monkeypatch):
    value = {
        "day": date(2024, 1, 2),
        "price": Decimal("1.50"),
        "gap": math.nan,
        "deep": [{"x": (1, math.inf)}],
    }
    with_parquet(monkeypatch, FakeParquet([[value], [{"prompt": None}]]))
    rows = list(formats.rows("parquet", tmp_path / "a.parquet"))
    plain = {"day": "2024-01-02", "price": "1.50", "gap": None, "deep": [{"x": [1, None]}]}
    assert [row.value for row in rows] == [plain, {"prompt": None}]
    assert rows[1].place == f"{tmp_path}/a.parquet: row 2"
    # what is no JSON is no answer: a run's files could not hold it
    with_parquet(
        monkeypatch, FakeParquet([[{"prompt": "a", "answer": b"1"}, {"prompt": "b", "answer": "1"}]])
    )
    problems, [tally] = drawn(f"parquet:{tmp_path}/a.parquet", reading=Reading(split="all", bad_rows="skip"))
    assert len(problems) == 1 and "bytes" in tally.places[0]
    with_parquet(monkeypatch, FakeParquet([[value], None]))
    with pytest.raises(InputError, match=r"can't read .*a\.parquet: corrupt"):
        drawn(f"parquet:{tmp_path}/a.parquet", reading=Reading(bad_rows="skip"))


def test_a_stream_of_arrow_is_cut_into_lines(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_bytes(b"\x28\xb5\x2f\xfd and what follows")
    with_parquet(monkeypatch, FakeParquet([], "\n".join(map(json.dumps, ROWS)).encode()))
    assert len(drawn(f"jsonl:{tmp_path}/a.jsonl")[0]) == 40
