"""Which of llama.cpp's cuts is chosen: for tokenizers that are built as published ones are, and for ours."""

from __future__ import annotations

import json

import pytest
from tiny import TEXTS, tokenizer
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Core
from transformers import PreTrainedTokenizerFast

from cascade_rl.errors import InputError
from cascade_rl.model.pre_tokenizers import CUTS, ORDINARY, RARE, choose_cut

LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
NEWER = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PUBLISHED = {  # as their tokenizer.json has them
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ],
    "qwen2": [pre_tokenizers.Split(Regex(NEWER.replace("DIGITS", r"\p{N}")), "isolated"), LEVEL],
    "llama-bpe": [pre_tokenizers.Split(Regex(NEWER.replace("DIGITS", r"\p{N}{1,3}")), "isolated"), LEVEL],
}


def built(cuts, normalizer=None, **model) -> PreTrainedTokenizerFast:
    """Trained on texts in which each cut leaves its marks: runs of blanks, lines, digits, signs, apostrophes."""
    core = Core(models.BPE(**model))
    core.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    core.decoder = decoders.ByteLevel()
    texts = [
        *TEXTS,
        *ORDINARY,
        *RARE,
        "x = 'text'\n\n\n    y  =  1234567  \n\n12 ;;;\n\n))))\n 'max 'sun'",
    ] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    core.train_from_iterator(texts, trainer)
    if normalizer:
        core.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=core)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_cut_of_published_tokenizers_is_found(name):
    found = choose_cut(built(PUBLISHED[name]))
    same = {"llama-bpe": ("llama-bpe", "dbrx")}.get(name, (name,))
    assert found.name in same and not found.other and f"all {found.tried} texts" in found.line()
    assert found.tried == len(ORDINARY) + len(RARE)


def test_whole_words_before_merges_are_told_apart():
    """A token that no merge makes is reached where whole words go first alone (Llama 3)."""
    core = json.loads(built(PUBLISHED["llama-bpe"]).backend_tokenizer.to_str())
    number = len(core["model"]["vocab"])
    core["model"]["vocab"]["ĠCamelCase"] = number
    core["model"]["ignore_merges"] = True
    inner = PreTrainedTokenizerFast(tokenizer_object=Core.from_str(json.dumps(core)))
    assert number in inner.encode("a CamelCase")
    assert choose_cut(inner, ["a CamelCase"]).name == "llama-bpe"


def test_ours_is_told_where_it_differs():
    found = choose_cut(tokenizer(1000).inner, ["'text"])
    assert found.name == "gpt-2" and set(found.other) <= {*RARE, "'text"}
    assert "all but" in found.line() or not found.other


def test_what_is_normalised_is_told():
    found = choose_cut(built(PUBLISHED["qwen2"], normalizers.NFC()))
    assert found.name == "qwen2" and found.other == (next(text for text in RARE if "e\u0301" in text),)


def test_a_mark_that_takes_blanks_into_it_is_refused():
    inner = built(PUBLISHED["gpt-2"])
    core = json.loads(inner.backend_tokenizer.to_str())
    for token in core["added_tokens"]:
        token["rstrip"] = True
    inner = PreTrainedTokenizerFast(tokenizer_object=Core.from_str(json.dumps(core)))
    prompt = "<|im_start|>user\nhi<|im_end|>\n"
    with pytest.raises(
        InputError, match=r"none of llama.cpp's pre-tokenizers .* does not cut '<|im_start|>user"
    ):
        choose_cut(inner, (), [prompt])


def test_a_cut_that_nobody_knows_is_refused():
    inner = built([pre_tokenizers.Split(Regex(r"[aeiou]"), "isolated"), LEVEL])
    with pytest.raises(InputError, match=f"none of llama.cpp's .*{', '.join(CUTS)}.* leave --gguf out"):
        choose_cut(inner)


def test_other_kinds_of_tokenizers_are_refused():
    core = Core(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(InputError, match=r"no byte-level BPE \(WordLevel\)"):
        choose_cut(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]"))
