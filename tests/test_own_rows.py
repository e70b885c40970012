"""The recipe of docs/chats.md, run as a user would: own chats in both modes, then a reward model on own pairs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tiny import random_flat, raw_config, tokenizer
from typer.testing import CliRunner

from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cli import main as cli
from cascade_rl.data import demonstrations, pairs
from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError, Interrupted, RecipeError, StageError
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.recipe import Recipe
from cascade_rl.run.ledger import recipe_text
from cascade_rl.sources.chats import CHAT_MAPS
from cascade_rl.sources.own_rows import own_rows
from cascade_rl.sources.preferences import PAIR_MAPS
from cascade_rl.sources.splits import split_of
from cascade_rl.testing import QuietScreen
from cascade_rl.train.pair_scores import distinct
from cascade_rl.types import Mode, Pair, Split

PAGE = (Path(__file__).parent.parent / "docs" / "chats.md").read_text()
EXAMPLE = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL).group(1)
TOOL_ROW = json.loads(re.search(r"The row\n\n```json\n(.*?)```", PAGE, re.DOTALL).group(1))
SHELF = Shelf(Path("shelf"))  # below the folder that a test works in
SMALL = [
    "stages.sft.samples=31", "stages.sft.batch_size=8", "stages.sft.epochs=1", "stages.sft.max_tokens=500",
    "stages.reward-model.steps=2", "stages.reward-model.batch_size=8",
    "benchmarks.maths.problems=2", "benchmarks.maths.k=1", "benchmarks.maths.max_response_tokens=4",
    "workers=1", "precision=fp32",
]  # fmt: skip


def turns(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def chat(number: int) -> dict:
    thought = "<think>well</think>" if number % 2 else ""
    return {"messages": turns(f"Say {number}.", f"{thought}It is {number}.", "Again.", f"{number}.")}


def pair(number: int) -> dict:
    return {"prompt": f"Which is {number // 2}?", "chosen": f"{number} it is.", "rejected": "no"}


def write(path: Path, rows) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with all that the example names."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "chats" / "a.jsonl", [*map(chat, range(10)), TOOL_ROW])
    write(tmp_path / "chats" / "b.jsonl", [{"messages": turns("Write much.", "word " * 500)}])
    write(
        tmp_path / "old-chats.jsonl",
        [
            {"conversations": [{"from": "human", "value": f"Old {n}?"}, {"from": "gpt", "value": "Yes."}]}
            for n in range(8)
        ],
    )
    write(tmp_path / "pairs.jsonl", [*map(pair, range(60)), pair(3)])
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    export(tmp_path / "model", raw, config, random_flat(config, 0, 0.1), tokenizer())
    (tmp_path / "own-chats.yaml").write_text(EXAMPLE.replace("/path/to/model", "model"))
    return tmp_path


def cascade(*words: str) -> str:
    found = CliRunner().invoke(cli.app, words)
    assert found.exit_code == 0, found.output + repr(found.exception)
    return found.output


def stage_of(raw: str, name: str, **more):
    recipe = Recipe.model_validate(yaml.safe_load(raw))
    return recipe.stage(name).model_copy(update=more)


def test_the_example_of_the_guide_trains(here):
    shown = cascade("run", "own-chats.yaml", *SMALL, "--out", "run")
    counted = (
        "jsonl:chats/*.jsonl: 12 rows read, 12 mapped, 0 bad, 0 with an id that came before, 0 in another split, "
        "12 of 12 used, 23 replies in all, 23 trained on"
    )
    assert f"sft: {counted}" in shown
    told = json.loads((here / "run/stages/01-sft/stage.json").read_text())["data"]
    assert counted in told and "jsonl:chats/*.jsonl: no domain, so that no grader was tried on it" in told
    assert "jsonl:old-chats.jsonl, instruct: 8 demonstrations" in told
    long = [line for line in told if "longer than 500 tokens" in line]
    assert long == ["jsonl:chats/*.jsonl: 2 samples longer than 500 tokens, left out"]
    record = json.loads((here / "run/stages/02-reward-model/stage.json").read_text())
    assert "61 rows read, 61 mapped, 0 bad, 1 with an id that came before" in record["data"][1]
    held = int(re.search(r"(\d+) held out", record["data"][1]).group(1))
    assert f"held-out pairs: {held}," in record["data"][-1] and 0 <= record["heldout_pair_accuracy"] <= 1
    reports = json.loads((here / "run/stages/01-sft/preflight.json").read_text())["domains"]
    assert [report["tried"] for report in reports] == [0, 0], "a report a pool, and no grader asked"
    assert "sft is done: kept" in cascade("run", "own-chats.yaml", *SMALL, "--out", "run"), (
        "read again, the same"
    )


def test_a_run_that_was_stopped_goes_on_with_the_same_rows_and_refuses_others(here):
    recipe = load_recipe("own-chats.yaml", SMALL)
    whole = run_cascade(recipe, here / "whole", QuietScreen())
    steps = iter([False, True])  # after two steps; what is asked before the stage has begun does not count
    begun = here / "run/stages/01-sft/stage.json"
    with pytest.raises(Interrupted, match="stopped after step 2"):
        run_cascade(recipe, here / "run", QuietScreen(), stop_asked=lambda: begun.exists() and next(steps))
    kept = (here / "old-chats.jsonl").read_text()
    (here / "old-chats.jsonl").write_text(kept.replace("Yes.", "No."))
    with pytest.raises(StageError, match="was started with other data"):
        run_cascade(recipe, here / "run", QuietScreen())
    (here / "old-chats.jsonl").write_text(kept)
    found = run_cascade(recipe, here / "run", QuietScreen())
    assert found.matrix["benchmarks"] == whole.matrix["benchmarks"]
    ledgers = [json.loads((here / name / "ledger.json").read_text())["stages"] for name in ("run", "whole")]
    weights = [[entry["weights"] for entry in entries] for entries in ledgers]
    assert weights[0] == weights[1]


def test_changed_replies_are_other_data(here):
    made = demonstrations.provide(stage_of(EXAMPLE, "sft", samples=20), {}, 0, (), SHELF)
    same = demonstrations.provide(stage_of(EXAMPLE, "sft", samples=20), {}, 0, (), SHELF)
    assert made == same
    rows = [json.loads(line) for line in (here / "old-chats.jsonl").read_text().splitlines()]
    for row in rows:
        row["conversations"][1]["value"] = "No."
    write(here / "old-chats.jsonl", rows)
    assert (
        demonstrations.provide(stage_of(EXAMPLE, "sft", samples=20), {}, 0, (), SHELF).content()
        != made.content()
    )


def test_modes_and_targets_of_the_mixture(here):
    made = demonstrations.provide(stage_of(EXAMPLE, "sft", samples=28), {}, 0, (), SHELF)
    own = [item for item in made.items if item.problem.domain == "jsonl:chats/*.jsonl"]
    assert len(own) == 21 and {item.problem.mode for item in own} == set(Mode)
    last = [item.reply for item in made.items if item not in own]
    assert last == ["Yes."] * 7


def test_more_than_there_is_is_said(here):
    with pytest.raises(StageError, match="has only 23 replies, 75 are asked for; lower samples"):
        demonstrations.provide(stage_of(EXAMPLE, "sft", samples=100), {}, 0, (), SHELF)


def test_no_prompt_is_on_both_sides_and_no_pair_twice(here):
    made = pairs.provide(stage_of(EXAMPLE, "reward-model"), {}, 0, (), SHELF)
    training, heldout = ({p.problem.prompt_text for p in side} for side in (made.training, made.heldout))
    assert not training & heldout and training and heldout
    every = [(p.problem.id, p.chosen) for p in (*made.training, *made.heldout)]
    assert len(every) == len(set(every)) == 60
    assert {split_of(text) for text in heldout} <= {Split.VALIDATION, Split.HELDOUT}


def test_pairs_are_at_most_but_epochs_need_all(here):
    stage = stage_of(EXAMPLE, "reward-model", pairs=10, heldout_pairs=3)
    made = pairs.provide(stage, {}, 0, (), SHELF)
    assert (len(made.training), len(made.heldout)) == (10, 3)
    assert "13 of 60 used, 10 trained on, 3 held out" in made.tallies[0].line()
    with pytest.raises(StageError, match=r"set pairs: \d+, or steps instead of epochs"):
        pairs.provide(stage_of(EXAMPLE, "reward-model", epochs=1, steps=None), {}, 0, (), SHELF)
    write(here / "pairs.jsonl", [pair(0)])
    with pytest.raises(StageError, match="both are needed"):
        pairs.provide(stage, {}, 0, (), SHELF)


def test_bad_rows_are_refused_with_their_places_or_skipped_and_counted(here):
    rows = [
        chat(1),
        {"messages": turns("q")},
        chat(2),
        {},
        {"messages": turns("q")},
        {"messages": turns("q")},
    ]
    write(here / "chats" / "c.jsonl", rows)
    raw = yaml.safe_load(EXAMPLE)
    with pytest.raises(RecipeError) as found:
        check_recipe(raw)
    (problem,) = found.value.problems
    assert problem[0] == "stages.sft.data.0"
    assert "chats/c.jsonl:2: no assistant turn" in problem[1] and "4 of 18 rows are bad" in problem[1]
    assert "chats/c.jsonl:4: messages: want" in problem[1] and problem[1].count("c.jsonl") == 3
    raw["stages"][0]["data"][0]["bad_rows"] = "skip"
    recipe = check_recipe(raw)
    told = demonstrations.provide(
        recipe.stages[0].model_copy(update={"samples": 8}), {}, 0, (), SHELF
    ).tallies[0]
    assert (told.read, told.bad, told.kept) == (18, 4, 14) and told.used < 14
    assert "; bad: chats/c.jsonl:2: no assistant turn" in told.line()


@pytest.mark.parametrize(
    ("path", "value", "where", "why"),
    [
        (("data", 0, "map"), "openai", "stages.sft.data.0.map", "Input should be 'openai-chat'"),
        (("data", 0, "modes"), ["thinking"], "stages.sft.data.0.modes", "unknown key"),
        (("data", 0, "map"), None, "stages.sft.data.0.map", "Input should be"),
        (("data", 0, "source"), "jsonl:none.jsonl", "stages.sft.data.0", "none.jsonl"),
    ],
)
def test_what_a_recipe_says_wrongly_has_its_place(here, path, value, where, why):
    raw = yaml.safe_load(EXAMPLE)
    node = raw["stages"][0]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(RecipeError) as found:
        check_recipe(raw)
    assert found.value.problems[0][0] == where and why in found.value.problems[0][1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"domain": "alignment"}, "remove domain"),
        ({"pairs_from": "samples"}, "remove domain and pairs_from"),
        ({"source": "builtin"}, "the rows hold what is trained on"),
        ({"map": None, "bad_rows": "skip"}, "bad_rows has no effect without a map"),
    ],
)
def test_keys_of_a_reward_model_that_do_not_go_together(here, change, why):
    raw = yaml.safe_load(EXAMPLE)
    raw["stages"][1] |= change
    with pytest.raises(RecipeError, match=why):
        check_recipe(raw)


def test_the_resolved_recipe_reads_back_as_itself_and_older_ones_have_no_new_key(here):
    recipe = check_recipe(yaml.safe_load(EXAMPLE))
    assert Recipe.model_validate(yaml.safe_load(recipe_text(recipe))) == recipe
    older = {"name": "r", "kind": "reward_model", "steps": 1}
    raw = yaml.safe_load(EXAMPLE) | {"stages": [older]}
    found = Recipe.model_validate(raw).stages[0].model_dump(mode="json")
    assert found["domain"] == "alignment" and not {"map", "bad_rows"} & set(found)


def test_data_show_prints_what_is_trained_on(here):
    shown = cascade("data", "show", "jsonl:chats/*.jsonl", "--map", "openai-chat", "--rows", "2")
    assert (
        "Say 1. /think<|im_end|>\n<|im_start|>assistant\n[[<think>\nwell\n</think>\n\nIt is 1.<|im_end|>]]"
        in shown
    )
    assert "Again. /no_think<|im_end|>\n<|im_start|>assistant\n[[0.<|im_end|>]]" in shown
    assert "12 rows read, 12 mapped" in shown and shown.count("--- chats/a.jsonl:") == 2
    pairs_shown = cascade(
        "data", "show", "jsonl:pairs.jsonl", "--map", "trl-preference", "--rows", "1", "--json"
    )
    line = json.loads(pairs_shown.splitlines()[0])
    assert (line["messages"], line["chosen"], line["rejected"]) == (turns("Which is 0?"), "0 it is.", "no")
    lines = cascade("data", "show", "jsonl:chats/a.jsonl", "--map", "openai-chat", "--rows", "2", "--json")
    assert [json.loads(text)["mode"] for text in lines.splitlines()[:2]] == ["instruct", "instruct"]


def test_data_show_says_what_is_wrong(here):
    write(here / "bad.jsonl", [chat(0), {}])
    found = CliRunner().invoke(cli.app, ["data", "show", "jsonl:bad.jsonl", "--map", "openai-chat"])
    assert found.exit_code == 1 and "bad: messages: want a list of objects, got nothing" in found.output
    for words, why in (
        (["jsonl:bad.jsonl"], "give --domain, or a --map whose rows need none: openai-chat"),
        (["builtin", "--map", "openai-chat"], "source must be one of"),
        (["jsonl:bad.jsonl", "--map", "openai-chat", "--max-tokens", "9"], "no effect without --model"),
    ):
        fault = CliRunner().invoke(cli.app, ["data", "show", *words]).exception
        assert isinstance(fault, InputError) and why in str(fault)


def test_other_formats_hold_conversations_too(here):
    row = chat(1)
    (here / "rows.json").write_text(json.dumps([row, chat(2)]))
    text = json.dumps(row["messages"]).replace('"', '""')
    (here / "rows.csv").write_text(f'messages,mode\n"{text}",\n')
    for source, count in (("json:rows.json", 2), ("csv:rows.csv", 1)):
        found = [read.made for read in own_rows(source, CHAT_MAPS["openai-chat"])]
        assert len(found) == count and found[0] == CHAT_MAPS["openai-chat"](row)


def test_chats_that_ask_a_benchmarks_question_stop_the_run(here):
    question = next(load_domain("maths").problems("builtin", Split.HELDOUT, 0))
    write(
        here / "old-chats.jsonl",
        [
            {
                "conversations": [
                    {"from": "human", "value": question.prompt_text},
                    {"from": "gpt", "value": "I know it."},
                ]
            }
        ],
    )
    raw = yaml.safe_load(EXAMPLE)
    raw["benchmarks"][0]["max_response_tokens"] = 400  # of the 512 positions of a model from scratch
    raw["stages"][0] |= {"samples": 1, "batch_size": 1, "data": raw["stages"][0]["data"][1:]}
    with pytest.raises(StageError, match="benchmark maths and stage sft share 1 prompts, such as"):
        gather(check_recipe(raw), provide, SHELF)


def test_check_counts_the_rows(here):
    shown = " ".join(cascade("check", "own-chats.yaml", *SMALL).split())
    assert "sft: jsonl:chats/*.jsonl: 12 rows read, 12 mapped, 0 bad" in shown
    assert "reward-model: jsonl:pairs.jsonl: 61 rows read" in shown


def test_a_pair_that_stands_twice_is_measured_once():
    def made(prompt: str, chosen: str) -> Pair:
        return PAIR_MAPS["trl-preference"]({"prompt": prompt, "chosen": chosen, "rejected": "no"}).pair("own")

    one, other, third = made("a", "yes"), made("a", "well"), made("b", "yes")
    assert distinct([one, other, one, third, made("a", "yes")]) == [one, other, third]
