"""The trained tokenizer: bytes in, bytes out; digits apart; tags and markers whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import TEXTS, tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

MARKERS = (chat.TURN_START, chat.TURN_END, chat.END_OF_TEXT)


@pytest.mark.parametrize("size", [300, 321])
def test_vocabulary_has_exactly_the_asked_size(size):
    tok = train_tokenizer(TEXTS * 3, size)
    assert len(tok.inner) == size
    assert sorted(tok.inner.get_vocab().values()) == list(range(size))


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_comes_back(text):
    tok = tokenizer()
    if not any(marker in text for marker in MARKERS):
        assert tok.decode(tok.encode(text)) == text


def test_spaces_and_tags_come_back():
    tok, text = tokenizer(), "  a  b .c ,d 's \n\n <think>\n x </think>\t\n"
    assert tok.decode(tok.encode(text)) == text


@given(st.integers(min_value=0), st.sampled_from(["", "x", " ", "="]))
def test_digits_stand_singly(number, before):
    tok = tokenizer()
    pieces = [tok.decode([i]) for i in tok.encode(f"{before}{number}{before}")]
    assert [p for p in pieces if any(c.isdigit() for c in p)] == list(str(number))


def test_frequent_numbers_are_not_merged():
    tok = train_tokenizer(["12 12 12 1212 12=12"] * 50, 310)
    assert len(tok.encode("12")) == 2


def test_tags_and_markers_are_one_token_each():
    tok = tokenizer()
    for text in (*MARKERS, chat.THINK_START, chat.THINK_END):
        ids = tok.encode(text)
        assert len(ids) == 1, text
        assert tok.inner.convert_ids_to_tokens(ids[0]) == text
    assert len(tok.encode("a<think>b</think>c")) == 5


def test_think_tags_are_text_and_end_marks_are_not():
    tok = tokenizer()
    ids = tok.reply(chat.thinking_reply("a", "b"))
    assert tok.decode(ids) == "<think>\na\n</think>\n\nb"
    assert ids[-1] == tok.end_id == tok.inner.convert_tokens_to_ids("<|im_end|>")
    assert tok.end_id in tok.eos_ids
    assert tok.pad_id not in tok.eos_ids, "padding that ends a reply would hide the end in a reward model"


def test_nothing_is_put_before_the_text():
    tok = tokenizer()
    assert tok.encode("") == []
    assert tok.encode("<|im_start|>")[0] == tok.inner.convert_tokens_to_ids("<|im_start|>")


def test_training_is_deterministic():
    assert train_tokenizer(TEXTS, 300).inner.get_vocab() == train_tokenizer(TEXTS, 300).inner.get_vocab()


def test_saved_tokenizer_is_the_same_for_transformers_and_for_us(tmp_path):
    tok = tokenizer()
    tok.save(tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(str(tmp_path)), load_tokenizer(tmp_path)
    text = " <|im_start|>user\nWhat is 12 + 7? äöü /think<|im_end|>\n<think>\n"
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text) == tok.encode(text)
    assert ours.eos_ids == tok.eos_ids and ours.pad_id == tok.pad_id
    assert theirs.chat_template == chat.TEMPLATE


def test_a_tokenizer_without_the_end_mark_is_refused():
    from tokenizers import Tokenizer as Core
    from tokenizers import models

    inner = PreTrainedTokenizerFast(tokenizer_object=Core(models.BPE({"a": 0}, [])))
    with pytest.raises(ValueError, match=r"<\|im_end\|>"):
        Tokenizer(inner)


def test_all_end_ids_of_the_generation_config_end_a_reply_and_survive_a_save(tmp_path):
    """One id left out, and nearly every reply counts as truncated (TRL pull request 7039)."""
    tok = tokenizer()
    tok.inner.save_pretrained(str(tmp_path / "a"))
    (tmp_path / "a" / "config.json").write_text(json.dumps({"model_type": "qwen3", "eos_token_id": 9}))
    assert load_tokenizer(tmp_path / "a").eos_ids == tuple(sorted({9, tok.end_id}))
    (tmp_path / "a" / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8], "top_k": 5}))
    found = load_tokenizer(tmp_path / "a")
    assert found.eos_ids == tuple(sorted({7, 8, tok.end_id}))
    (tmp_path / "b").mkdir()
    found.save(tmp_path / "b")
    assert load_tokenizer(tmp_path / "b").eos_ids == found.eos_ids
    found.save(tmp_path / "a")
    kept = json.loads((tmp_path / "a" / "generation_config.json").read_text())
    assert kept == {"eos_token_id": list(found.eos_ids), "top_k": 5}


def test_a_damaged_generation_config_is_named(tmp_path):
    tokenizer().inner.save_pretrained(str(tmp_path))
    (tmp_path / "generation_config.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match=r"generation_config\.json is no JSON: "):
        load_tokenizer(tmp_path)
