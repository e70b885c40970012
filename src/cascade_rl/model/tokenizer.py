"""Train or load a tokenizer, give it the chat template, and encode prompts and replies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.types import Problem


class Tokenizer:
    """A transformers tokenizer with our template; encodes without adding any token of its own.

    `eos_ids` are all ids that end a reply: the end of a turn, the tokenizer's own end mark, and `ends`, which
    are those of the model's generation config. A model that ends with an id left out here seems never to end.
    """

    def __init__(self, inner: Any, ends: Iterable[int] = ()) -> None:
        self.inner = inner
        self.end_id = inner.convert_tokens_to_ids(chat.TURN_END)
        if self.end_id is None or self.end_id == inner.unk_token_id:
            raise InputError(
                f"the tokenizer has no {chat.TURN_END} token; "
                f"add it (and {chat.TURN_START}) to the vocabulary"
            )
        own = [] if inner.eos_token_id is None else [inner.eos_token_id]
        self.eos_ids = tuple(sorted({self.end_id, *own, *ends}))
        self.pad_id = inner.pad_token_id if inner.pad_token_id is not None else self.end_id

    def encode(self, text: str) -> list[int]:
        """Ids of a text that may hold chat markers."""
        ids: list[int] = self.inner.encode(text, add_special_tokens=False)
        return ids

    def prompt(self, problem: Problem) -> list[int]:
        """Ids of a problem's prompt, up to and including the assistant header."""
        return self.encode(chat.render_problem(problem))

    def reply(self, text: str) -> list[int]:
        """Ids of a reply with its end mark."""
        return [*self.encode(text), self.end_id]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of sampled ids, end marks dropped; nothing else is hidden or cleaned up."""
        kept = [i for i in ids if i not in self.eos_ids]
        text: str = self.inner.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def save(self, path: Path) -> None:
        """Write it with the template and all ids that end a reply: transformers alone then does the same."""
        self.inner.save_pretrained(str(path))
        file = path / "generation_config.json"
        settings = json.loads(file.read_text()) if file.is_file() else {}
        settings["eos_token_id"] = self.eos_ids[0] if len(self.eos_ids) == 1 else list(self.eos_ids)
        file.write_text(json.dumps(settings, indent=2) + "\n")


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a local Hugging Face directory, with our template put on it."""
    from transformers import AutoTokenizer

    try:
        inner = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: its tokenizer can't be loaded: {error}") from None
    inner.chat_template = chat.TEMPLATE
    return Tokenizer(inner, end_ids(path))


def end_ids(path: Path) -> list[int]:
    """`eos_token_id`, one or many, of a model directory's generation_config.json, else of its config.json."""
    for name in ("generation_config.json", "config.json"):
        file = path / name
        try:
            found = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
        except ValueError as error:
            raise InputError(f"{file} is no JSON: {error}") from None
        if found is not None:
            return found if isinstance(found, list) else [found]
    return []


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE with digits split singly, trained on rendered conversations.

    Its vocabulary has exactly `vocab_size` ids; every byte is one of them, so that any text comes back.
    """
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Core
    from transformers import PreTrainedTokenizerFast

    core = Core(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # a digit, a word or a run of signs with the space before it, spaces up to the last before a word
            pre_tokenizers.Split(Regex(r"\d| ?\p{L}+| ?[^\s\p{L}\d]+|\s+(?!\S)|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    # Marks are no text. Tags are: a reply's reasoning is read from its decoded text.
    special = [AddedToken(t, special=True) for t in (chat.END_OF_TEXT, chat.TURN_START, chat.TURN_END)]
    tags = [AddedToken(t, special=False, normalized=False) for t in (chat.THINK_START, chat.THINK_END)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(tags),
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    # pieces must not be learnt from what is one token anyway
    markers = (chat.TURN_START, chat.TURN_END, chat.THINK_START, chat.THINK_END)
    core.train_from_iterator((_without(text, markers) for text in texts), trainer)
    core.add_tokens(tags)
    inner = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers gives it no types
        tokenizer_object=core,
        eos_token=chat.TURN_END,
        pad_token=chat.END_OF_TEXT,  # not the end mark: transformers would take ends for padding
        clean_up_tokenization_spaces=False,
    )
    inner.chat_template = chat.TEMPLATE
    return Tokenizer(inner)


def _without(text: str, markers: Iterable[str]) -> str:
    for marker in markers:
        text = text.replace(marker, "\n")
    return text
