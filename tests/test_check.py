"""`cascade check`: what can be known before training is told there, all of it in one message; one example of each stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_run import RECIPE, changed
from test_init import chats, pairs, sums, write
from tiny import tokenizer

from cascade_rl import chat
from cascade_rl.data.least import least_tokens
from cascade_rl.doctor.subject import make_tiny
from cascade_rl.domains import domain_names, load_domain
from cascade_rl.errors import AnswerError
from cascade_rl.model.tokenizer import load_tokenizer, train_tokenizer
from cascade_rl.sources import formats


def rl(name: str, source: str, problems: int = 1024) -> dict:
    data = [{"domain": "maths", "source": source, "map": "gsm8k", "problems": problems}]
    return {"name": name, "kind": "rl", "steps": 2, "prompts_per_step": 2, "rollouts_per_prompt": 2, "data": data,
            "max_response_tokens": 8, "max_prompt_tokens": 400, "mode_mix": "instruct"}  # fmt: skip


def mark(name: str, **keys) -> dict:
    return {
        "name": name,
        "domain": "maths",
        "problems": 4,
        "k": 1,
        "both_modes": False,
        "max_response_tokens": 8,
    } | keys


@pytest.fixture
def check(cascade, tmp_path):
    """What check says of a recipe: its status, and standard output or the error."""

    def say(recipe: dict, *more: str) -> tuple[int, str]:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        status, out, err = cascade("check", "r.yaml", *more)
        assert "Traceback" not in out + err
        return status, err if status else out

    write(tmp_path / "sums.jsonl", sums())
    write(tmp_path / "chats.jsonl", chats())
    write(tmp_path / "pairs.jsonl", pairs())
    return say


OWN = {
    "name": "own",
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 20, "batch_size": 4, "steps": 2,
         "data": [{"source": "jsonl:chats.jsonl", "map": "openai-chat"}]},
        {"name": "reward", "kind": "reward_model", "source": "jsonl:pairs.jsonl", "map": "trl-preference", "pairs": 20,
         "heldout_pairs": 5, "batch_size": 4, "steps": 2},
        rl("rl", "jsonl:sums.jsonl"),
    ],
    "benchmarks": [mark("maths", source="jsonl:sums.jsonl", map="gsm8k")],
}  # fmt: skip


def test_one_example_of_each_stage_within_80_columns(check, tmp_path):
    recipe = OWN | {"model": {"init": str(make_tiny(tmp_path / "model"))}}
    status, out = check(recipe)
    assert status == 0
    shown = out.split("as it is trained:\n")[1]
    assert max(map(len, shown.splitlines())) <= 80
    sft, reward, rl_ = re.split(r"^\d\. ", shown, flags=re.M)[1:]
    # the text with what has loss in brackets, and its tokens counted by transformers
    text = "\n".join(
        line.removeprefix("   |").removeprefix(" ") for line in sft.splitlines() if line.startswith("   |")
    )
    prompt, trained = re.fullmatch(r"(.*)\[\[(.*)\]\]", text, flags=re.S).groups()
    inner = load_tokenizer(tmp_path / "model").inner
    counts = [len(inner.encode(part, add_special_tokens=False)) for part in (prompt, trained)]
    assert f"{sum(counts)} tokens, {counts[1]} of them trained on" in " ".join(sft.split())
    assert trained.startswith("It is ") and trained.endswith(chat.TURN_END)
    assert "scored higher:" in reward and "| Gladly" in reward and "scored lower:\n   | no\n" in reward
    assert "the reward is its grader's" in " ".join(rl_.split()) and re.search(
        r"graded against:\n   \| \d+\n", rl_
    )


def test_a_model_from_scratch_shows_texts_without_counts(check):
    status, out = check(RECIPE)
    assert status == 0
    shown = out.split("as it is trained:\n")[1]
    assert (
        "tokens" not in shown
        and "[[" in shown
        and "the reward is the score of reward" in " ".join(shown.split())
    )


def test_each_use_of_a_table_is_read_once(check, monkeypatch):
    opened = []
    once = formats.FORMATS["jsonl"]
    monkeypatch.setitem(formats.FORMATS, "jsonl", lambda path: opened.append(Path(path).name) or once(path))
    assert check(OWN)[0] == 0
    assert sorted(opened) == [
        "chats.jsonl",
        "pairs.jsonl",
        "sums.jsonl",
        "sums.jsonl",
    ]  # training and benchmark


def test_all_faults_are_one_message(check):
    recipe = json.loads(json.dumps(OWN))
    recipe["stages"][0]["samples"] = 9000
    recipe["stages"][1]["pairs"] = 4000
    recipe["stages"][1] |= {"epochs": 1, "steps": None}
    recipe["stages"][2]["data"][0]["source"] = "jsonl:nowhere.jsonl"
    recipe["benchmarks"][0]["map"] = "math"
    status, err = check(recipe)
    assert status == 1 and err.count("error:") == 1
    assert "stages.sft: jsonl:chats.jsonl has only 60 replies, 9000 are asked for" in err
    assert "stages.reward: jsonl:pairs.jsonl has" in err and "set pairs: " in err
    assert "stages.rl.data.maths: maths: can't read nowhere.jsonl" in err
    assert "benchmarks.maths: " in err and "are bad" in err


# ---------------------------------------------------------------- F33: the same problems twice


def test_two_rl_stages_on_one_file_are_told_with_the_mend(check):
    recipe = OWN | {"stages": [rl("one", "jsonl:sums.jsonl"), rl("two", "jsonl:sums.jsonl")]}
    status, err = check(recipe)
    assert status == 1 and "1 problem" in err
    count = int(re.search(r"all (\d+) of jsonl:sums.jsonl are taken", err)[1])
    assert f"lower problems of the earlier stage to {count // 2}" in err
    # and the mend mends it
    recipe["stages"][0] = rl("one", "jsonl:sums.jsonl", count // 2)
    assert check(recipe)[0] == 0


def test_two_benchmarks_may_ask_the_same_problems(check):
    both = [mark("short", source="jsonl:sums.jsonl", map="gsm8k"),
            mark("long", source="jsonl:sums.jsonl", map="gsm8k", max_response_tokens=16)]  # fmt: skip
    assert check(OWN | {"benchmarks": both})[0] == 0


def test_a_benchmark_never_asks_what_is_trained_on(check):
    asked = [
        mark(name, source="jsonl:sums.jsonl", map="gsm8k", split="all", problems=500) for name in ("a", "b")
    ]
    status, err = check(OWN | {"benchmarks": asked})
    assert status == 1 and "benchmark a and stage rl share" in err and "benchmark b and stage rl share" in err


# ---------------------------------------------------------------- F13: benchmarks that can't score


def test_a_benchmark_that_can_not_score_own_rows(check, tmp_path):
    write(
        tmp_path / "own.jsonl",
        [{"prompt": f"Say {n}.", "answer": None, "split": "heldout"} for n in range(5)],
    )
    status, err = check(
        changed() | {"benchmarks": [mark("mine", domain="alignment", source="jsonl:own.jsonl")]}
    )
    assert status == 1 and "benchmarks.mine: alignment can't score these problems" in err


def test_prompts_over_the_limit_of_a_model_from_scratch(check):
    """Without a tokenizer a bound below is enough to refuse, and never refuses what would fit."""
    recipe = changed()
    recipe["benchmarks"][0]["max_prompt_tokens"] = 8
    status, err = check(recipe)
    assert status == 1 and "2 of 2 prompts are longer, the longest has at least" in err
    recipe = changed(rlhf={"max_prompt_tokens": 8})
    status, err = check(recipe)
    assert (
        status == 1
        and "stages.rlhf.max_prompt_tokens: every prompt is longer, the shortest has at least" in err
    )


TOKENIZERS = [tokenizer(), train_tokenizer(["1.5 + 2 = 3.5!? aaa bbb  ccc\n\n"] * 9, 400)]


@given(st.text() | st.text("ab 1.\n<>|_٣²é\t", max_size=40))
def test_no_tokenizer_needs_fewer_tokens_than_the_bound(text):
    for found in TOKENIZERS:
        for whole in (text, chat.TURN_START + text + chat.THINK_END + text + chat.TURN_END):
            assert least_tokens(whole) <= len(found.encode(whole))


def test_the_bound_is_near():
    text = "What is 12 plus 305? Put the final answer in a box."
    # words of a hundred merges and more are tokens; here they are counted by hand: 10 words, 5 digits, 2 signs
    assert least_tokens(text) == 17


def test_an_rl_stage_with_fewer_prompts_than_a_step_is_a_note(check):
    recipe = OWN | {"stages": [rl("rl", "jsonl:sums.jsonl") | {"prompts_per_step": 500}]}
    status, out = check(recipe)
    assert status == 0 and re.search(r"rl: prompts_per_step is 500, but there are \d+ prompts", out)


def test_samples_over_their_limit_are_counted(check, tmp_path):
    folder = make_tiny(tmp_path / "model")
    write(tmp_path / "chats.jsonl", [*chats(30), *[
        {"messages": [{"role": "user", "content": "Long?"}, {"role": "assistant", "content": "word " * 60}]}
    ]])  # fmt: skip
    recipe = json.loads(json.dumps(OWN)) | {"model": {"init": str(folder)}}
    recipe["stages"] = recipe["stages"][:1]
    recipe["stages"][0] |= {"samples": 31, "max_tokens": 200}
    status, out = check(recipe)
    assert status == 0 and "sft: 1 of the first 31 samples have more than 200 tokens and are left out" in out
    recipe["stages"][0]["max_tokens"] = 8
    status, err = check(recipe)
    assert status == 1 and "stages.sft.max_tokens: the first 31 samples have more than 8 tokens" in err


# ---------------------------------------------------------------- F26: answers without what a grader needs

WANTING = {
    "coding": [
        ({"inputs": ["1\n"], "outputs": ["2\n"]}, "tests is missing, there is inputs, outputs"),
        ({"fn_name": "f", "inputs": [[1]], "outputs": [2]}, "map: apps makes tests"),
        ({"tests": []}, "want {"), ({"tests": [{"stdin": "1"}]}, "test 1 of 1: no stdout"),
        ({"tests": [{"stdin": ["1"], "stdout": "1"}]}, "stdin: want a text"),
        ({"function": "", "tests": [{"args": [1], "result": 1}]}, "function: want the name"),
        ({"function": "f", "tests": [{"args": 1, "result": 1}]}, "args: want a list"),
        ({"tests": [{"stdin": "", "stdout": ""}], "timeout_s": 0}, "timeout_s"),
        ({"tests": [{"stdin": "", "stdout": ""}], "timeout_s": float("nan")}, "timeout_s"),
        ({"tests": [{"stdin": "", "stdout": ""}], "language": "cobol"}, "no language 'cobol'"),
        ([], "not list"), (None, "not NoneType"),
    ],
    "following": [
        ({"instruction_id_list": ["no:such"], "kwargs": [{}]}, "unknown instruction 'no:such'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"words": ["a"]}]}, "takes ['keywords']"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": ['{"keywords": ["a"]}']}, "are no mapping"),
        ({"instruction_id_list": [], "kwargs": []}, "not empty"), (None, "lists of one length"),
    ],
    "swe": [
        ({"files": {"a.py": "x\n"}, "patch": "no patch"}, "can't be applied"),
        ({"files": {"a.py": "x\n"}}, "want {"),
    ],
    "maths": [("so it is\nand then\n#### 42", "no reply could give"), (None, "want the gold answer")],
    "multiple_choice": [({"answer": "E", "choices": 4}, "none of the choices"), ({}, "want a letter")],
    "tools": [
        ({"tools": [{"name": "f"}], "calls": [{"g": {}}]}, "none of the tools"), (None, "want {"),
        ({"tools": [], "calls": "all"}, "calls: want a list"),
        ({"tools": [{"name": "f"}], "calls": [{"f": {"x": 3}}]}, "want a list of the values"),
    ],
    "alignment": [({"chosen": "a"}, 'both of "chosen" and "rejected"')],
}  # fmt: skip


@pytest.mark.parametrize("name", domain_names())
def test_answers_that_no_grader_can_use_are_refused_where_they_are_read(name):
    domain = load_domain(name)
    for answer, told in WANTING[name]:
        with pytest.raises(AnswerError) as error:
            domain.check_answer(answer)
        assert told in str(error.value), str(error.value)


# ---------------------------------------------------------------- a missing key is told once


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"weight": 2}, "stages.sft.data.0.domain"),
        ({"source": "jsonl:chats.jsonl"}, "stages.sft.data.0.map"),
    ],
)
def test_a_missing_key_of_a_data_entry_is_told_once(check, entry, path):
    recipe = json.loads(json.dumps(OWN))
    recipe["stages"][0]["data"] = [entry]
    status, err = check(recipe)
    assert status == 1 and f"1 problem\n  {path}: missing; it has no default" in err
