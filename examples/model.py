"""A small Llama with a tokenizer and a chat template of its own, of random weights: `python examples/model.py FOLDER ROWS`.

It stands in for a model that a user brings along: markers and template are of Llama 3's kind, and know no
thinking mode. ROWS is a file that the tokenizer is learnt from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, HEAD, HEAD_END, TURN_END = "<|begin|>", "<|head|>", "<|head_end|>", "<|turn_end|>"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|head|>' + message['role'] + '<|head_end|>\n' + message['content'] + '<|turn_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|head|>assistant<|head_end|>\n' }}{% endif %}"
)


def tokenizer_of(rows: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 600 pieces with the markers of the template."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        rows.read_text().splitlines(),
        trainers.BpeTrainer(
            vocab_size=600, initial_alphabet=alphabet, special_tokens=[BEGIN, HEAD, HEAD_END, TURN_END]
        ),
    )
    found = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=BEGIN, eos_token=TURN_END)
    found.chat_template = TEMPLATE
    return found


def main(folder: Path, rows: Path) -> None:
    """Write the model's directory."""
    tokenizer = tokenizer_of(rows)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=6, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/model.py FOLDER ROWS")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
