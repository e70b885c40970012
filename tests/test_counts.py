"""The counts of a table: each row is in one of them, those over the length too; and how long rows are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own_templates import OWN
from tiny import random_flat, raw_config, tokenizer
from transformers import AutoTokenizer
from typer.testing import CliRunner

from cascade_rl.cli.main import app
from cascade_rl.data import pools
from cascade_rl.data.settle import fitting
from cascade_rl.data.show_lengths import LengthCount
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.recipe import RLStage
from cascade_rl.types import Tally

MATHS = load_domain("maths")
SPLITS = ("sft", "rl", "validation", "heldout", None)


def stage(*sources: str) -> RLStage:
    data = [{"domain": "maths", "source": s, "bad_rows": {"skip": 1}, "problems": 6} for s in sources]
    return RLStage(name="rl", kind="rl", steps=1, lr=1e-3, data=data)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.integers(1, 12).map(lambda n: f"{n} + 1? " + "word " * n),
            "answer": st.sampled_from(["2", None]),
        },
        optional={"split": st.sampled_from(SPLITS), "id": st.sampled_from(["a", "b"])},
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60)
@given(first=ROWS, second=ROWS, limit=st.integers(3, 14))
def test_what_was_read_is_bad_or_mapped_and_what_was_mapped_is_somewhere(
    first, second, limit, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("rows")
    sources = []
    # one short prompt in each that no other table has: else a pool may be empty, which is an error
    first, second = ([{"prompt": f"{n} + 99?", "answer": "2", "split": "rl"}, *rows] for n, rows in
                     enumerate((first, second)))  # fmt: skip
    for name, rows in (("a", first), ("b", second)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        sources.append(f"jsonl:{folder / name}.jsonl")
    # a source without rows between two with them: tallies belong to entries, not to their order
    made = pools.provide(stage(sources[0], "builtin", sources[1]), {"maths": MATHS}, 0)
    words = {p.id: len(p.prompt_text.split()) for p in (*made.entries[0], *made.entries[2])}
    # six of a table are drawn: the short one need not be among them, and a pool of long ones is an error
    assume(all(any(words[p.id] <= limit for p in made.entries[entry]) for entry in (0, 2)))
    fit, notes = fitting("rl", [limit] * 3, made, lambda p: words.get(p.id, 0))
    assert [t.source for t in fit.tallies] == sources and [t.over for t in made.tallies] == [None, None]
    for tally, before, rows, entry in zip(fit.tallies, made.tallies, (first, second), (0, 2), strict=True):
        assert tally.read == len(rows) and tally.bad == sum(row["answer"] is None for row in rows)
        assert tally.read == tally.bad + tally.repeated + tally.elsewhere + tally.empty + tally.kept
        left = tally.kept - tally.used - tally.over
        assert left == before.kept - before.used >= 0
        assert tally.used == len(fit.entries[entry])
        assert tally.over == sum(words[p.id] > limit for p in made.entries[entry])
        assert f"{tally.over} over the length, {tally.used} of {tally.kept} used" in tally.line()
    assert len(notes) == sum(any(words.get(p.id, 0) > limit for p in pool) for pool in made.entries)


def test_without_a_limit_no_length_is_spoken_of(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2", "split": "rl"}')
    made = pools.provide(stage(f"jsonl:{tmp_path / 'a.jsonl'}"), {"maths": MATHS}, 0)
    fit, notes = fitting("rl", [], made, lambda p: 1)
    assert fit == made and not notes and "over the length" not in fit.tallies[0].line()
    # what a pre-flight takes out is not too long
    out = made.without([[made.entries[0][0].id]])
    assert out.tallies == made.tallies


@given(
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=200), limit=st.none() | st.integers(1, 3000)
)
def test_lengths_are_ranks_of_what_was_counted(lengths, limit):
    counted = LengthCount("prompts", limit)
    for length in lengths:
        counted.add(length)
    found = counted.lengths()
    want = [int(np.percentile(lengths, percent, method="inverted_cdf")) for percent in (50, 95)]
    assert [found.median, found.high, found.longest, found.count] == [*want, max(lengths), len(lengths)]
    assert found.over == (None if limit is None else sum(length > limit for length in lengths))
    assert ("over" in found.line()) == (limit is not None)


def test_nothing_has_no_lengths():
    assert LengthCount("prompts").lengths() is None


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    raw = raw_config()
    config = DecoderConfig.from_hf(raw)
    export(folder, raw, config, random_flat(config, 0, 0.1), tokenizer())
    return folder


def show(*words: object):
    return CliRunner().invoke(app, ["data", "show", *map(str, words)])


def numbers(line: str) -> list[int]:
    return [int(n.replace(",", "")) for n in re.findall(r"\b[\d,]*\d\b(?! %)", line)]


def test_show_counts_tokens_as_transformers_does(model, tmp_path):
    rows = [{"question": f"{n} + 1? " + "why " * n, "answer": f"#### {n + 1}"} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"question": "no"}])))
    source = f"jsonl:{tmp_path / 'rows.jsonl'}"
    shown = show(
        source, "--domain", "maths", "--map", "gsm8k", "--model", model, "--max-tokens", 60, "--rows", 1
    )
    assert shown.exit_code == 1, "one row is bad"
    inner = AutoTokenizer.from_pretrained(model)
    want = []
    for row in rows:
        asked = [
            {
                "role": "user",
                "content": row["question"].rstrip() + "\nPut the final answer in \\boxed{}. /think",
            }
        ]
        want.append(len(inner.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]))
    told = shown.output.splitlines()[-1]
    ranks = sorted(want)
    assert numbers(told) == [30, ranks[14], ranks[28], ranks[-1], sum(n > 60 for n in want), 60], told
    assert f"as the model reads it ({want[0]} tokens):" in shown.output
    lines = show(source, "--domain", "maths", "--map", "gsm8k", "--model", model, "--json", "--rows", 2)
    assert len(lines.stdout.splitlines()) == 2 and "tokens of 30 prompts" in lines.stderr


def test_show_counts_samples_of_chats_and_the_longer_answers_of_pairs(model, tmp_path):
    turns = [{"role": role, "content": text} for role, text in
             (("user", "Hi."), ("assistant", "Hello."), ("user", "And?"), ("assistant", "No more."))]  # fmt: skip
    (tmp_path / "chats.jsonl").write_text(json.dumps({"messages": turns}))
    shown = show(f"jsonl:{tmp_path / 'chats.jsonl'}", "--map", "openai-chat", "--model", model)
    inner = AutoTokenizer.from_pretrained(model)
    texts = re.findall(r"=> trained on in \[\[ \]\] \((\d+) tokens\):\n(.*?)\]\]\n", shown.output, re.DOTALL)
    counts = [len(inner.encode(text.replace("[[", ""), add_special_tokens=False)) for _, text in texts]
    assert [int(n) for n, _ in texts] == counts and len(counts) == 2
    assert numbers(shown.output.splitlines()[-1]) == [2, min(counts), max(counts), max(counts)]
    (tmp_path / "pairs.jsonl").write_text(
        json.dumps({"prompt": "Hi.", "chosen": "Hello there, you.", "rejected": "No."})
    )
    pair = show(
        f"jsonl:{tmp_path / 'pairs.jsonl'}", "--map", "trl-preference", "--model", model, "--max-tokens", 1
    )
    longer = max(int(n) for n in re.findall(r"\((\d+) tokens\)", pair.output))
    assert numbers(pair.output.splitlines()[-1]) == [1, longer, longer, longer, 1, 1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--template", "model"], "--template has no effect without --model"),
        (["--max-tokens", 9], "--max-tokens has no effect without --model"),
        (["--model", "nowhere"], "nowhere is no Hugging Face model directory"),
    ],
)
def test_what_can_not_be_counted_is_said(words, why, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}')
    fault = show(f"jsonl:{tmp_path / 'a.jsonl'}", "--domain", "maths", *words).exception
    assert isinstance(fault, InputError) and why in str(fault)


def test_show_reads_rows_as_the_models_own_template_writes_them(tmp_path):
    inner = OWN["gemma"].made()
    inner.save_pretrained(str(tmp_path / "model"))
    (tmp_path / "model" / "config.json").write_text("{}")
    good = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    twice = [good[0], *good]
    (tmp_path / "chats.jsonl").write_text(
        "\n".join(json.dumps({"messages": turns}) for turns in (good, twice))
    )
    words = f"jsonl:{tmp_path / 'chats.jsonl'}", "--map", "openai-chat", "--model", tmp_path / "model"
    shown = show(*words, "--template", "model")
    # the family refuses two turns of the user, which ours writes: here that is seen before a run is
    assert shown.exit_code == 1 and "bad: " in shown.output and "1 bad" in shown.output
    want = inner.apply_chat_template(good, tokenize=False)
    [(tokens, prompt, reply)] = re.findall(
        r"\((\d+) tokens\):\n(.*?)\[\[(.*?)\]\]\n", shown.output, re.DOTALL
    )
    assert want.startswith(prompt + reply) and "<|im_start|>" not in shown.output
    assert int(tokens) == len(inner.encode(prompt + reply, add_special_tokens=False))
    assert numbers(shown.output.splitlines()[-1])[:2] == [1, int(tokens)]
    (tmp_path / "pairs.jsonl").write_text(
        json.dumps({"prompt": "Hi.", "chosen": "Hello.", "rejected": "No."})
    )
    pair = show(
        f"jsonl:{tmp_path / 'pairs.jsonl'}", "--map", "trl-preference", *words[3:], "--template", "model"
    )
    assert pair.output.count("[[") == 4 and f"{prompt}[[{reply}" in pair.output


def test_a_line_says_every_count_that_there_is():
    tally = Tally("jsonl:a", 20, 2, ("a:1: b",), 3, 4, 9, used=5, beside=("and so on",), empty=2, over=1)
    assert tally.line() == (
        "jsonl:a: 20 rows read, 18 mapped, 2 bad, 3 with an id that came before, 4 in another split, 2 left out "
        "by the map, 1 over the length, 5 of 9 used, and so on; bad: a:1: b"
    )
