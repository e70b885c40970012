"""What is trained on as ids: encoded together as one by one, cut or left out by length, counted, found by a resume."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizers_families import gemma, gpt2, llama2, phi3, qwen2
from tiny import Policy, stage_run, tokenizer, toy_domain
from tokenizers import AddedToken
from transformers import AutoTokenizer

from cascade_rl.errors import InputError, Interrupted, StageError
from cascade_rl.model.taught import batch_at, fitted
from cascade_rl.model.tokenizer import MARKERS, Tokenizer, load_tokenizer
from cascade_rl.recipe import RewardModelStage, SFTStage
from cascade_rl.run.store import Writer
from cascade_rl.testing import QuietScreen
from cascade_rl.train import reward_model, sft
from cascade_rl.train.learner import Learner
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Pair, Problem

WORDS = ["a", " blue", "sky ", "\n", "12 + 7", "ü", "<|im_end|>", "<think>", "日本", "  "]


def demonstration(asked: str, reply: str, number: int = 0, source: str = "toy") -> Demonstration:
    return Demonstration(Problem(f"p{number}", source, (Message("user", asked),), None, Mode.INSTRUCT), reply)


@pytest.mark.parametrize("family", [llama2, phi3, gemma, gpt2, qwen2])
def test_many_at_once_are_the_ids_of_each_alone(family, rng_texts):
    inner = family()
    inner.add_tokens([AddedToken(t, special=True, normalized=False) for t in MARKERS], special_tokens=True)
    found = Tokenizer(inner, lead="<s>" if family is llama2 else "")
    items = [demonstration(asked, reply) for asked, reply in rng_texts]
    assert found.taught_all(items) == [found.taught(item) for item in items]
    for item, (prompt, reply) in zip(items, found.taught_all(items), strict=True):
        if "<|im_end|>" not in item.reply + item.problem.prompt_text:
            # the way of before: each text by transformers
            text = found.template.prompt(item.problem.messages, item.problem.mode)
            assert prompt == inner.encode(text, add_special_tokens=False)
            assert found.decode([*reply]) == item.reply
    asked = [(item.problem.messages, item.reply) for item in items]
    assert found.answered_all(asked) == [found.answered(*one) for one in asked]


@pytest.fixture
def rng_texts():
    import random

    rng = random.Random(5)
    return [
        ("".join(rng.choices(WORDS, k=9)), "".join(rng.choices(WORDS[:6], k=7)).strip() + ".")
        for _ in range(40)
    ]


def test_a_truncation_that_a_tokenizer_brings_along_cuts_nothing(tmp_path):
    tokenizer().save(tmp_path)
    file = tmp_path / "tokenizer.json"
    settings = json.loads(file.read_text())
    settings["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    settings["padding"] = {"strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                           "pad_type_id": 0, "pad_token": "<|endoftext|>"}  # fmt: skip
    file.write_text(json.dumps(settings))
    assert AutoTokenizer.from_pretrained(str(tmp_path)).backend_tokenizer.truncation, (
        "it is read, and taken off"
    )
    item = demonstration("one two three four five six", "seven eight nine ten")
    assert load_tokenizer(tmp_path).taught_all([item, item]) == [tokenizer().taught(item)] * 2


@given(prompt=st.integers(1, 30), reply=st.integers(1, 30), limit=st.integers(1, 40), cut=st.booleans())
def test_a_sample_fits_is_cut_or_left_out(prompt, reply, limit, cut):
    ids = (list(range(prompt)), list(range(100, 100 + reply)))
    found, remark = fitted(ids, limit, "so many", cut)
    if prompt + reply <= limit:
        assert found == ids and not remark
    elif cut and prompt < limit:
        assert found[0] + found[1] == (ids[0] + ids[1])[:limit] and len(found[1]) >= 1
        assert remark == "samples longer than so many, cut to that"
    else:
        assert found is None and remark.endswith("so many, left out")


def lengths(items) -> list[int]:
    return [sum(map(len, tokenizer().taught(item))) for item in items]


ITEMS = [demonstration(f"Ask {n}", "word " * (n % 7), n, "own" if n % 2 else "toy") for n in range(30)] + [
    demonstration("word " * 60, "yes", 99)
]


def train(folder, items, monkeypatch, key: str = "", **more):
    """Train a few steps; the samples of each as (prompt ids, reply ids), and what was said."""
    stage = SFTStage(**{"name": "sft", "kind": "sft", "lr": 1e-3, "steps": 4, "batch_size": 8, "samples": len(items),
                        "data": [{"domain": "toy"}]} | more)  # fmt: skip
    seen: list[list[tuple[list[int], list[int]]]] = []
    step = Learner.policy_step

    def watched(self, rows, *rest):
        seen.append([(row.ids[: row.start].tolist(), row.ids[row.start :].tolist()) for row in rows])
        return step(self, rows, *rest)

    monkeypatch.setattr(Learner, "policy_step", watched)
    screen = QuietScreen()
    with stage_run(folder, stage, {"toy": toy_domain()}, Policy(scale=0.1), screen=screen, key=key) as run:
        trained = sft.train(run, Demonstrations(tuple(items)))
    monkeypatch.setattr(Learner, "policy_step", step)
    return seen, screen.notes, trained


@pytest.mark.parametrize("cut", [False, True])
def test_steps_train_on_what_fits_in_the_order_of_the_seed(tmp_path, monkeypatch, cut):
    limit = sorted(lengths(ITEMS))[20]
    kept, out, short = [], 0, 0
    for item in ITEMS:
        prompt, reply = tokenizer().taught(item)
        if len(prompt) + len(reply) <= limit:
            kept.append((prompt, reply))
        elif cut and len(prompt) < limit:
            kept.append((prompt, reply[: limit - len(prompt)]))
            short += 1
        else:
            out += 1
    assert out and (short or not cut)
    seen, notes, trained = train(
        tmp_path, ITEMS, monkeypatch, max_tokens=limit, too_long="cut" if cut else "drop"
    )
    # every number of the set, drawn without a store
    assert seen == [[kept[i] for i in batch_at(step, 8, len(kept), "0/sft")] for step in range(4)]
    told = [line for line in trained.lines if "left out" in line]
    assert sum(int(line.split(": ")[1].split()[0]) for line in told) == out
    assert [f"sft: {line}" for line in trained.lines] == [note for note in notes if "samples" in note]
    assert {line.split(":")[0] for line in trained.lines} == {"own", "toy"}
    if cut:
        assert (
            sum(int(line.split(": ")[1].split()[0]) for line in trained.lines if "cut to that" in line)
            == short
        )
    assert not (tmp_path / "tokens").exists()


def test_no_sample_goes_beyond_the_models_positions(tmp_path, monkeypatch):
    long = [demonstration("Ask", "word " * 600, 100), *ITEMS]
    seen, _, trained = train(tmp_path, long, monkeypatch, max_tokens=10_000)
    assert trained.lines == ("toy: 1 samples longer than the model's 512 positions, left out",)
    assert max(len(prompt) + len(reply) for batch in seen for prompt, reply in batch) <= 512
    with pytest.raises(StageError, match="nothing of it fits into 512 tokens"):
        train(tmp_path / "none", long[:1], monkeypatch, batch_size=1)


def test_an_interrupted_stage_finds_its_tokens_and_another_one_makes_them(tmp_path, monkeypatch):
    whole, _, _ = train(tmp_path / "whole", ITEMS, monkeypatch, "one")
    writes: list[int] = []
    add = Writer.add
    monkeypatch.setattr(Writer, "add", lambda self, record: (writes.append(1), add(self, record))[1])
    step, calls = Learner.policy_step, []

    def stopped(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted("now")
        return step(self, *arguments)

    monkeypatch.setattr(Learner, "policy_step", stopped)
    with pytest.raises(Interrupted):
        train(tmp_path / "run", ITEMS, monkeypatch, "one")
    monkeypatch.setattr(Learner, "policy_step", step)
    assert len(writes) == len(ITEMS) and (tmp_path / "run/tokens").exists()
    again, _, _ = train(tmp_path / "run", ITEMS, monkeypatch, "one")
    assert again == whole and len(writes) == len(ITEMS), "nothing is encoded again"
    with pytest.raises(Interrupted):
        calls.clear()
        monkeypatch.setattr(Learner, "policy_step", stopped)
        train(tmp_path / "run2", ITEMS, monkeypatch, "one")
    monkeypatch.setattr(Learner, "policy_step", step)
    train(tmp_path / "run2", ITEMS, monkeypatch, "two")
    assert len(writes) == 3 * len(ITEMS), "with another key they are"


def test_pairs_too_long_for_the_model_are_left_out_and_counted(tmp_path, monkeypatch):
    def pair(n: int, answer: str) -> Pair:
        return Pair(demonstration(f"Ask {n}", "").problem, answer, "no")

    pairs = [pair(n, f"yes {n}") for n in range(9)] + [pair(9, "word " * 600), pair(10, "w " * 90)]
    stage = RewardModelStage(
        name="rm", kind="reward_model", domain="toy", lr=1e-3, steps=2, batch_size=4, pairs=9
    )
    policy = Policy(scale=0.1)
    for limit, most, out in ((4096, "the model's 512 positions", 1), (100, "100 tokens", 2)):
        from tiny import random_flat

        from cascade_rl.train.learned_reward import head_shape

        extra = head_shape(policy.config)
        flat = random_flat(policy.config, 1, 0.1, extra)
        policy.replicas.add_model("reward", policy.config, flat, train=True, extra=extra)
        capped = stage.model_copy(update={"max_tokens": limit})
        with stage_run(tmp_path / str(limit), capped, {"toy": toy_domain()}, policy, model="reward") as run:
            trained = reward_model.fit(run, pairs)
        policy.replicas.drop_model("reward")
        assert trained.lines == (f"toy: {out} pairs longer than {most}, left out",)


def test_an_order_of_millions_is_made_once_and_is_the_same(monkeypatch):
    import random

    expected = list(range(1000))
    random.Random("0/sft/0").shuffle(expected)
    assert [i for step in range(10) for i in batch_at(step, 100, 1000, "0/sft")] == expected
    made: list[str] = []
    shuffle = random.Random.shuffle
    monkeypatch.setattr(
        random.Random, "shuffle", lambda self, order: (made.append(""), shuffle(self, order))[1]
    )
    for step in range(20):
        batch_at(step, 100, 1000, "7/sft")
    assert len(made) == 2


def test_a_conversation_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    taught = Tokenizer.taught_all

    def refusing(self, items):
        if any("7" in item.problem.prompt_text for item in items):
            raise InputError("the template has no word for it")
        return taught(self, items)

    monkeypatch.setattr(Tokenizer, "taught_all", refusing)
    with pytest.raises(StageError, match=r"^sft: own, 'Ask 7': the template has no word for it$"):
        train(tmp_path, ITEMS, monkeypatch)
    assert not list(tmp_path.glob("**/*tokens*"))
