"""Train or load a tokenizer, give it the chat template, and encode prompts and replies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import AddedToken

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.model.marks import unwrapped
from cascade_rl.model.own_template import OwnTemplate
from cascade_rl.model.template import CASCADE, FOUND, MODEL, CascadeTemplate, Template
from cascade_rl.recipe import digest
from cascade_rl.run.files import read_json
from cascade_rl.types import Demonstration, Message, Problem

MARKERS = (chat.TURN_START, chat.TURN_END)
# What a tokenizer is read from: any of these, whatever its family (transformers' own names).
FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


class Tokenizer:
    """A transformers tokenizer with a template; encodes without adding any token of its own.

    `eos_ids` are all ids that end a reply: the end of a turn, the tokenizer's own end mark, and `ends`, which
    are those of the model's generation config. A model that ends with an id left out here seems never to end.
    `lead` is the text of the mark that every conversation begins with (BOS), empty where there is none;
    `added` are the chat markers that `load_tokenizer` added. Without a
    `template` it is ours, and InputError is raised where one of its markers is missing.
    """

    def __init__(
        self,
        inner: Any,
        ends: Iterable[int] = (),
        lead: str = "",
        added: Sequence[str] = (),
        template: Template | None = None,
    ) -> None:
        if template is None and (missing := missing_markers(inner)):
            raise InputError(
                f"the tokenizer has no {' and no '.join(missing)} token; set model.add_tokens: true in the "
                "recipe, which adds it, with rows of the embedding and the head, or model.template: model "
                "where the model has a chat template of its own"
            )
        self.inner, self.lead, self.added = inner, lead, tuple(added)
        self.template: Template = template or CascadeTemplate(inner, lead)
        self.end_id = inner.convert_tokens_to_ids(self.template.end)
        own = [] if inner.eos_token_id is None else [inner.eos_token_id]
        self.eos_ids = tuple(sorted({self.end_id, *own, *ends}))
        self.pad_id = inner.pad_token_id if inner.pad_token_id is not None else self.end_id
        # Llama 2's and Mistral's families put a blank before a text that stands alone: their replies are
        # encoded and decoded behind the header that they follow, others' as they are.
        header = self.encode(self.template.context)
        alone = [*header, *self.encode("a")] == self.encode(f"{self.template.context}a")
        self._header = [] if alone else header

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return int(max(self.inner.get_vocab().values())) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of a text that may hold chat markers."""
        ids: list[int] = self.inner.encode(text, add_special_tokens=False)
        return ids

    def prompt(self, problem: Problem) -> list[int]:
        """Ids of a problem's prompt, up to and including the assistant header.

        Raises InputError where the template can't write it.
        """
        return self._written(self.template.prompt(problem.messages, problem.mode))

    def taught(self, item: Demonstration) -> tuple[list[int], list[int]]:
        """Ids of the prompt, and of the reply with its end mark, which alone have loss.

        Raises InputError where the template can't write them.
        """
        return self.taught_all([item])[0]

    def taught_all(self, items: Sequence[Demonstration]) -> list[tuple[list[int], list[int]]]:
        """`taught` of many, which a fast tokenizer spreads over the processor's cores."""
        asked = [self.template.prompt(item.problem.messages, item.problem.mode) for item in items]
        prompts = self.template.marks.encode_all(asked)
        replies = self._replies([self.template.reply(item) for item in items])
        return list(zip(prompts, replies, strict=True))

    def shown(self, item: Demonstration) -> tuple[str, str]:
        """The texts of `taught`: what is read, and what is trained on, its end mark included."""
        return self.asked(item.problem), unwrapped(self.template.reply(item)) + self.template.end

    def asked(self, problem: Problem) -> str:
        """The text of `prompt`."""
        return unwrapped(self.template.prompt(problem.messages, problem.mode))

    def scored(self, messages: Sequence[Message], answer: str) -> str:
        """The text of `answered`."""
        return unwrapped(self.template.answered(messages, answer))

    def answered(self, messages: Sequence[Message], answer: str) -> list[int]:
        """Ids of a conversation with an answer and its end mark: what a reward model reads."""
        return self.answered_all([(messages, answer)])[0]

    def answered_all(self, asked: Sequence[tuple[Sequence[Message], str]]) -> list[list[int]]:
        """`answered` of many."""
        texts = [self.template.answered(messages, answer) for messages, answer in asked]
        return self.template.marks.encode_all(texts)

    def reply(self, text: str) -> list[int]:
        """Ids of a reply with its end mark; control tokens that are spelled in it stay text."""
        return self._replies([self.template.marks.protect(text)])[0]

    def _replies(self, texts: Sequence[str]) -> list[list[int]]:
        start, before = len(self._header), self.template.context if self._header else ""
        wholes = self.template.marks.encode_all([f"{before}{text}" for text in texts])
        return [
            [*(whole[start:] if whole[:start] == self._header else self._written(text)), self.end_id]
            for text, whole in zip(texts, wholes, strict=True)
        ]

    def _written(self, text: str) -> list[int]:
        """Ids of a text that the template made."""
        return self.template.marks.encode(text)

    def hash(self) -> str:
        """16 hex digits of all that decides which ids a conversation becomes."""
        core = getattr(self.inner, "backend_tokenizer", None)
        told = core.to_str() if core is not None else sorted(self.inner.get_vocab().items())
        return digest([told, self.lead, self.template.hash])

    def decode(self, ids: Iterable[int], prompt: Sequence[int] = ()) -> str:
        """The text of sampled ids, end marks dropped; nothing else is hidden or cleaned up.

        Behind a `prompt` that ends with an open think tag the text begins with it, as that of any thought.
        """
        kept = [i for i in ids if i not in self.eos_ids]
        opening = self.template.opening if prompt else ""
        # its last ids alone: no tag has more of them than signs
        if opening and not self._text(list(prompt[-len(opening) :])).endswith(opening):
            opening = ""
        if not self._header:
            return opening + self._text(kept)
        return opening + self._text([*self._header, *kept])[len(self._text(self._header)) :]

    def _text(self, ids: list[int]) -> str:
        text: str = self.inner.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def save(self, path: Path) -> None:
        """Write it with the template and all ids that end a reply: transformers alone then does the same."""
        self.inner.save_pretrained(str(path))
        file = path / "generation_config.json"
        settings = json.loads(file.read_text()) if file.is_file() else {}
        settings["eos_token_id"] = self.eos_ids[0] if len(self.eos_ids) == 1 else list(self.eos_ids)
        file.write_text(json.dumps(settings, indent=2) + "\n")


# Under this name tokenizer_config.json says that a checkpoint was trained with the model's own template.
TRAINED_WITH = "cascade_template"


def load_tokenizer(path: Path, *, add: bool = False, template: str | None = None) -> Tokenizer:
    """The tokenizer of a local Hugging Face directory, with our template put on it or with its own.

    `template` is `cascade` or `model`; None takes what the directory was trained with, which is ours where it
    does not say; `found` takes its own where it has another one than ours. With `add` the chat markers that
    it lacks are added. Raises InputError where files, markers or the template are missing, and with `add`
    where no marker is.
    """
    inner = opened(path)
    if template == FOUND:
        ours = not inner.chat_template or str(inner.chat_template).endswith(chat.TEMPLATE)
        template = None if ours else MODEL
    try:
        if (template or inner.init_kwargs.get(TRAINED_WITH, CASCADE)) == MODEL:
            return _with_own_template(inner, path)
        return _with_our_template(inner, path, add)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _with_own_template(inner: Any, path: Path) -> Tokenizer:
    template = OwnTemplate(inner)
    inner.init_kwargs[TRAINED_WITH] = MODEL
    return Tokenizer(inner, end_ids(path), template.lead, template=template)


def _with_our_template(inner: Any, path: Path, add: bool) -> Tokenizer:
    added = missing_markers(inner) if add else []
    if add:
        if not added:
            raise InputError(f"model.add_tokens: no effect, it has {' and '.join(MARKERS)}; remove it")
        inner.add_tokens([AddedToken(t, special=True, normalized=False) for t in added], special_tokens=True)
    lead = _lead(inner)
    inner.chat_template = ("{{- bos_token -}}" if lead else "") + chat.TEMPLATE
    inner.init_kwargs.pop(TRAINED_WITH, None)
    return Tokenizer(inner, end_ids(path), lead, added)


def opened(path: Path) -> Any:
    """A transformers tokenizer that can encode; InputError for files that are missing or damaged."""
    from transformers import AutoTokenizer

    if not any((path / name).is_file() for name in FILES):
        # transformers would make an empty one
        raise InputError(
            f"{path} has no tokenizer files: copy tokenizer.json and tokenizer_config.json there "
            f"(any of {', '.join(FILES)} will do)"
        )
    try:
        inner = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        # what no vocabulary of letters has, too: an unknown token that is missing shows only there
        inner.encode(f"a {chat.TURN_START}\u20ac\U0001f600\n")
    # the library beneath raises plain Exceptions for what it can't read
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: its tokenizer can't be loaded: {text}; copy its files again") from error
    return inner


def missing_markers(inner: Any) -> list[str]:
    """The chat markers that are no token of a transformers tokenizer."""
    ids = {marker: inner.convert_tokens_to_ids(marker) for marker in MARKERS}
    return [marker for marker, found in ids.items() if found is None or found == inner.unk_token_id]


def _lead(inner: Any) -> str:
    """BOS, if the tokenizer's own template begins with it; without a template, if it begins every text."""
    bos: str | None = inner.bos_token
    # a ChatML model may call the start of a turn so: it stands there anyway
    if bos is None or bos == chat.TURN_START:
        return ""
    if inner.chat_template:
        asked = [{"role": "user", "content": "a"}]
        try:
            text: str = inner.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        except (TemplateError, ValueError):  # it wants another conversation
            pass
        else:
            return bos if text.startswith(bos) else ""
    return bos if inner.encode("a")[:1] == [inner.bos_token_id] else ""


def check_vocabulary(tokens: int, rows: int, path: Path) -> None:
    """Raise InputError when a tokenizer of so many tokens has ids beyond an embedding's rows."""
    if tokens > rows:
        raise InputError(
            f"{path}: the tokenizer has {tokens} tokens and the model's embedding {rows} rows (vocab_size in "
            "config.json): it belongs to another model, or the embedding was not resized"
        )


def end_ids(path: Path) -> list[int]:
    """`eos_token_id`, one or many, of a model directory's generation_config.json, else of its config.json."""
    for name in ("generation_config.json", "config.json"):
        whole = read_json(path / name)
        found = whole.get("eos_token_id") if isinstance(whole, dict) else None
        if found is None:
            continue
        ids: list[int] = found if isinstance(found, list) else [found]
        if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in ids):
            raise InputError(f"{path / name}: eos_token_id must be an id or a list of ids; mend it")
        return ids
    return []


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE with digits split singly, trained on rendered conversations.

    Its vocabulary has exactly `vocab_size` ids; every byte is one of them, so that any text comes back.
    """
    from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
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
