"""`cascade init`: rows are recognised, and the recipe that is written for them is one that `check` accepts and `run` runs."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
import typer.main
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from test_maps import RIGHT
from typer.testing import CliRunner

from cascade_rl.cli import main as cli
from cascade_rl.data.abilities import load_recipe
from cascade_rl.data.shapes import shape_of
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.commented import Line, commented
from cascade_rl.recipe.reading import validate
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.sniff import source_of
from cascade_rl.types import Split


def chats(count: int = 60) -> list[dict]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}."},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in range(count)
    ]


def sums(count: int = 120) -> list[dict]:
    rng = random.Random(0)
    drawn = [(rng.randint(1, 999), rng.randint(1, 999)) for _ in range(count)]
    return [
        {"question": f"What is {a} plus {b}?", "answer": f"{a}+{b}={a + b}\n#### {a + b}"} for a, b in drawn
    ]


def pairs(count: int = 80) -> list[dict]:
    return [
        {"prompt": f"Name colour {n}.", "chosen": f"Gladly: {n}.", "rejected": "no"} for n in range(count)
    ]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file of each kind and a small model."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "chats.jsonl", chats())
    write(tmp_path / "sums.jsonl", sums())
    write(tmp_path / "pairs.jsonl", pairs())
    make_tiny(tmp_path / "model")
    return tmp_path


# ---------------------------------------------------------------- what rows are


# rows of these say nothing of their names: the map that comes first does the same with them
SAME = {"nemotron-math": ("math", "maths"), "nemotron-if, texts of JSON": ("ifeval", "following")}


@pytest.mark.parametrize("name", RIGHT)
def test_rows_of_each_public_shape_are_recognised(tmp_path, name):
    said, domain, row, _ = RIGHT[name]
    best = shape_of(f"jsonl:{write(tmp_path / 'rows.jsonl', [row])}").best()
    assert (best.map, best.domain) == SAME.get(name, (said, domain))


@pytest.mark.parametrize(
    ("rows", "kind", "name"),
    [
        (chats(), "chats", "openai-chat"),
        ([row | {"thinking": False} for row in chats()], "chats", "nemotron-sft"),
        ([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}], "chats", "sharegpt"),
        (pairs(), "pairs", "trl-preference"),
        ([{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}], "pairs", "hh-preference"),
        ([{"prompt": "a", "response_1": "b", "response_2": "c", "preference_strength": 1}], "pairs", "helpsteer"),
        ([{"prompt": "1 + 1?", "answer": "2"}], "problems", None),
    ],
)  # fmt: skip
def test_rows_of_other_kinds(tmp_path, rows, kind, name):
    best = shape_of(f"jsonl:{write(tmp_path / 'rows.jsonl', rows)}").best()
    assert (best.kind, best.map, best.rows) == (kind, name, len(rows))


def test_the_counts_are_those_of_the_rows(tmp_path):
    rows = [*sums(998), {"question": "?", "answer": "none"}, {"other": 1}, *sums(50)]
    shape = shape_of(f"jsonl:{write(tmp_path / 'rows.jsonl', rows)}")
    assert shape.looked == 1000 and (shape.best().rows, shape.best().of) == (998, 1000)
    assert "'####'" in shape.best().fault
    assert shape_of(f"jsonl:{tmp_path / 'rows.jsonl'}", "coding").best() is None


@pytest.mark.parametrize(
    ("answer", "operation"),
    [
        ("so it is 7. Answer: 7", {"after": "Answer:"}),
        ("7", {"strip": True}),
        ("well \\boxed{7}", {"last_box": True}),
        ("so\n#### 7", {"after": "####"}),
    ],
)
def test_an_own_map_is_proposed_from_the_names_of_columns(tmp_path, answer, operation):
    rows = [{"id": n, "Problem_Text": f"What is {n}?", "Solution": answer} for n in range(9)]
    source = f"jsonl:{write(tmp_path / 'rows.jsonl', rows)}"
    best = shape_of(source).best()
    assert best.map["answer"] == {"column": "Solution", **operation} and best.domain == "maths"
    found = list(load_domain("maths").problems(source, Split.RL, 0, Reading(best.map, "all")))
    assert len(found) == 9 and all(p.answer == "7" and "\\boxed{}" in p.prompt_text for p in found)


@pytest.mark.parametrize(
    "names", [("good_reply", "bad_reply"), ("bad_reply", "good_reply"), ("Worse", "Better")]
)
def test_pairs_in_columns_of_other_names(here, cascade, names):
    better, worse = sorted(names, key=lambda name: "bad" in name or "Worse" in name)
    rows = [{"query": f"Colour {n}?"} | {name: f"{name} {n}" for name in names} for n in range(60)]
    found = shape_of(f"jsonl:{write(here / 'rows.jsonl', rows)}")
    assert found.best().kind == "pairs"
    wanted = {"prompt": "query", "chosen": better, "rejected": worse}
    assert found.best().map == {field: {"column": name} for field, name in wanted.items()}
    # the worse answer is never one to imitate
    assert not [fit for fit in found.fits if fit.kind == "chats" and fit.map["reply"] == {"column": worse}]
    out = cascade("init", "--model", "model", "--data", "rows.jsonl", "--train", "sft")[1]
    assert f"own map: prompt from 'query', chosen from '{better}', rejected from '{worse}'" in out


def test_rlhf_asks_the_prompts_of_pairs_in_columns_of_other_names(here, cascade):
    rows = [{"query": f"Colour {n}?", "better": f"Gladly {n}.", "worse": "no"} for n in range(80)]
    write(here / "rows.jsonl", rows)
    init(cascade, "rlhf", "model", ("rows.jsonl",))
    [entry] = yaml.safe_load((here / "my.yaml").read_text())["stages"][1]["data"]
    assert entry["source"] == "jsonl:rows.jsonl" and entry["map"]["prompt"] == {"column": "query"}
    assert cascade("check", "my.yaml")[0] == 0


def test_rows_that_nothing_fits(here, cascade):
    write(here / "odd.jsonl", [{"colour": "red", "size": 3}])
    status, out, err = cascade("init", "--model", "model", "--data", "odd.jsonl", "--train", "sft")
    assert status == 1 and "columns: colour, size" in out
    assert "no map fits its rows (columns colour, size)" in err and '{"messages": [...]}' in err
    assert not (here / "recipe.yaml").exists()


# ---------------------------------------------------------------- a bare path


def test_the_kind_of_a_file_is_told_by_what_it_holds(tmp_path):
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    # names that say nothing or something wrong
    write(tmp_path / "lines.csv", rows)
    (tmp_path / "array.jsonl").write_text(json.dumps(rows, indent=1))
    with (tmp_path / "table").open("w", newline="") as file:
        table = csv.DictWriter(file, ["a", "b"])
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "packed.txt").write_bytes(gzip.compress((tmp_path / "lines.csv").read_bytes()))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "columns.json")
    want = {
        "lines.csv": "jsonl",
        "array.jsonl": "json",
        "table": "csv",
        "packed.txt": "jsonl",
        "columns.json": "parquet",
    }
    for name, scheme in want.items():
        assert source_of(str(tmp_path / name)) == f"{scheme}:{tmp_path / name}"
    assert source_of(f"{tmp_path}/l*.csv") == f"jsonl:{tmp_path}/l*.csv"
    assert source_of("csv:whatever") == "csv:whatever"
    (tmp_path / "prose").write_text("It was a dark night.\nIt rained.\n")
    for wrong, told in {
        "prose": "no rows that can be read",
        ".": "is a folder",
        "absent": "can't read",
    }.items():
        with pytest.raises(InputError, match=told):
            source_of(str(tmp_path / wrong))


# ---------------------------------------------------------------- the recipe


GOALS = {
    "sft": ("chats.jsonl",),
    "rl": ("sums.jsonl",),
    "rlhf": ("pairs.jsonl",),
    "sft-rl": ("chats.jsonl", "sums.jsonl"),
    "cascade": ("sums.jsonl", "pairs.jsonl", "chats.jsonl"),
}


def init(cascade, goal: str, model: str, files: tuple[str, ...] = ()) -> str:
    data = [word for name in files or GOALS[goal] for word in ("--data", name)]
    status, out, err = cascade("init", "my.yaml", "--model", model, "--train", goal, *data)
    assert status == 0, err
    return out


@pytest.mark.parametrize("goal", GOALS)
def test_check_accepts_what_init_writes_as_it_stands(here, cascade, goal):
    assert "cascade check my.yaml" in init(cascade, goal, "model")
    status, out, err = cascade("check", "my.yaml")
    assert status == 0, err
    assert (
        "One example of each stage" in out
        and len([*filter(lambda line: len(line) > 80, out.split("trained:")[-1].splitlines())]) == 0
    )


@pytest.mark.parametrize("goal", ["sft", "sft-rl", "cascade"])
def test_also_for_a_model_from_scratch(here, cascade, goal):
    init(cascade, goal, "scratch")
    assert cascade("check", "my.yaml")[0] == 0


def test_a_written_recipe_runs(here, cascade):
    init(cascade, "sft-rl", "model")
    status, out, err = cascade("run", "my.yaml", "--smoke")
    assert status == 0, (out, err)
    assert (here / "runs/my-smoke/stages/02-maths-rl/checkpoint/config.json").is_file()


def test_what_is_trained_on_is_never_measured(here, cascade):
    """Own problems are split by their prompts: three quarters and more for RL, a fifth for the benchmark, none in both."""
    init(cascade, "rl", "model")
    recipe = load_recipe("my.yaml")
    [entry], [mark] = recipe.stages[0].data, recipe.benchmarks
    maths, reading = load_domain("maths"), Reading("gsm8k", entry.split)
    trained = {p.prompt_text for p in maths.problems(entry.source, Split.RL, 0, reading)}
    asked = {p.prompt_text for p in maths.problems(mark.source, Split.HELDOUT, 0, reading)}
    assert entry.problems == len(trained) and mark.problems == len(asked) and not trained & asked
    assert len(trained) + len(asked) > 0.9 * len({row["question"] for row in sums()})


def test_lengths_are_those_of_the_rows(here, cascade):
    """The longest sample of each stage fits its limit, counted by transformers' own reading of the tokenizer."""
    from transformers import AutoTokenizer

    init(cascade, "sft", "model")
    tokenizer = AutoTokenizer.from_pretrained(here / "model")
    lengths = sorted(
        len(tokenizer.apply_chat_template(
            [{"role": "user", "content": c["messages"][0]["content"] + " /no_think"}, c["messages"][1]], return_dict=False))
        for c in chats()
    )  # fmt: skip
    recipe = load_recipe("my.yaml")
    # the template ends a turn with a line, which is not trained on
    assert lengths[-1] - 1 <= recipe.stages[0].max_tokens < lengths[-1] + 64
    assert recipe.stages[0].samples == 60


def test_bad_rows_are_skipped_and_said(here, cascade):
    write(here / "chats.jsonl", [*chats(), {"messages": []}])
    out = init(cascade, "sft", "model")
    assert "60 of 61 fit openai-chat" in out
    text = (here / "my.yaml").read_text()
    assert "bad_rows: skip" in text and "1 of 61 rows can't be used" in text
    assert cascade("check", "my.yaml")[0] == 0


def test_chat_markers_are_added_where_the_tokenizer_lacks_them(here, cascade):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>").save_pretrained(here / "model")
    init(cascade, "sft", "model")
    assert load_recipe("my.yaml").model.add_tokens is True
    assert cascade("check", "my.yaml")[0] == 0


def test_on_a_terminal_it_asks_and_proposes_what_the_rows_are_for(here, monkeypatch):
    monkeypatch.setattr("cascade_rl.cli.init._terminal", lambda: True)
    found = CliRunner().invoke(cli.app, ["init", "my.yaml"], input="sums.jsonl chats.jsonl\n\nmodel\n")
    assert found.exit_code == 0, found.output
    asked = ("Files with your rows", "What to train [sft-rl]", "Model (a directory")
    assert [found.output.index(text) for text in asked] == sorted(found.output.index(text) for text in asked)
    assert [stage.name for stage in load_recipe("my.yaml").stages] == ["sft", "maths-rl"]


def test_the_name_is_one_that_a_recipe_may_have(here, cascade):
    status, out, _ = cascade(
        "init", "_My Run.2.yaml", "--model", "model", "--data", "chats.jsonl", "--train", "sft"
    )
    assert status == 0 and "cascade status runs/my-run-2" in out
    assert load_recipe("_My Run.2.yaml").name == "my-run-2"


def test_files_without_a_use_are_told(here, cascade):
    out = init(cascade, "rl", "model", ("sums.jsonl", "pairs.jsonl"))
    assert "jsonl:pairs.jsonl: pairs, which rl has no use for" in out
    assert "pairs" not in (here / "my.yaml").read_text()


# ---------------------------------------------------------------- what is refused


def test_a_recipe_is_never_written_over(here, cascade):
    init(cascade, "sft", "model")
    before = (here / "my.yaml").read_bytes()
    status, _, err = cascade("init", "my.yaml", "--model", "model", "--data", "sums.jsonl", "--train", "rl")
    assert status == 1 and "my.yaml is there already; --force" in err
    assert (here / "my.yaml").read_bytes() == before
    assert (
        cascade("init", "my.yaml", "--model", "model", "--data", "sums.jsonl", "--train", "rl", "--force")[0]
        == 0
    )
    assert (here / "my.yaml").read_bytes() != before


def test_without_a_terminal_all_that_is_missing_is_one_message(here, cascade):
    status, _, err = cascade("init", "--data", "sums.jsonl")
    assert status == 1 and err.startswith("error: --model, --train: not given, and there is no terminal")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--model", "model", "--train", "sft", "--data", "sums.jsonl"), "sft needs conversations"),
        (("--model", "model", "--train", "sft-rl", "--data", "pairs.jsonl"), "needs conversations (openai-chat, sharegpt, "
         "nemotron-sft) and problems"),
        (("--model", "scratch", "--train", "rl", "--data", "sums.jsonl"), "a model from scratch can't answer yet"),
        (("--model", "nowhere", "--train", "rl", "--data", "sums.jsonl"), "nowhere is no Hugging Face model directory"),
        (("--model", "model", "--train", "rl", "--data", "nothing.jsonl"), "can't read nothing.jsonl"),
        (("--model", "model", "--train", "all", "--data", "sums.jsonl"), "--train all: there are sft, rl"),
        (("--model", "model", "--train", "rl", "--data", "sums.jsonl", "--domain", "chess"), "no domain 'chess'"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_one_message(here, cascade, arguments, told):
    status, out, err = cascade("init", *arguments)
    assert status == 1 and told in " ".join(err.split()) and "Traceback" not in out + err
    assert not (here / "recipe.yaml").exists()


# ---------------------------------------------------------------- the text


PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)
KEYS = st.from_regex(r"k_[a-z]{0,8}", fullmatch=True)  # not `on`, which YAML takes for true


def blocks(inner):
    return st.dictionaries(KEYS, inner, min_size=1, max_size=4)


TREES = st.recursive(
    PLAIN, lambda inner: blocks(inner) | st.lists(blocks(inner), min_size=1, max_size=3), max_leaves=12
)


def lines(tree: dict, why: str) -> tuple:
    def value(node):
        if isinstance(node, dict):
            return lines(node, why) if node else node
        if isinstance(node, list) and node and all(isinstance(item, dict) for item in node):
            return [lines(item, why) for item in node]
        return node

    return tuple(Line(key, value(node), why) for key, node in tree.items())


@given(blocks(TREES), st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=200))
def test_a_commented_recipe_reads_back_as_what_was_said(tree, why):
    """Whatever the reasons are, and wherever they stand, they change no value."""
    assert yaml.safe_load(commented(lines(tree, why), ["A head.", why])) == tree


# ---------------------------------------------------------------- the page

PAGE = (Path(__file__).parent.parent / "docs" / "getting-started.md").read_text()


def test_the_page_shows_what_is_true():
    """Its commands are taken, and its recipe is valid by its own rules (rows and model are its author's)."""
    command = typer.main.get_command(cli.app)
    lines = [line.partition("#")[0] for line in re.findall(r"^(?:\$ )?cascade (.*)$", PAGE, re.MULTILINE)]
    assert {"init", "check", "run", "chat"} <= {line.split()[0] for line in lines}
    for line in lines:
        first, *rest = shlex.split(line)
        command.commands[first].make_context(first, rest)
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert validate(yaml.safe_load(text)).stages[0].name == "sft"
