"""A model that a recipe may start from: its shape, its positions and how it counts, before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import scratch_config
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.tokenizer import check_vocabulary, load_tokenizer, train_tokenizer
from cascade_rl.recipe import Architecture
from cascade_rl.run.files import read_json
from cascade_rl.types import Problem

SCRATCH = "scratch"
VOCABULARY = 1024  # tokens of a model from scratch, as in the tiny recipe
READ = 4000  # texts that its tokenizer is learnt from


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is known of a model.

    init     as the recipe names it
    count    tokens of a rendered text
    lead     tokens that every conversation begins with
    added    chat markers that its tokenizer lacks, so that the recipe must add them
    thinks   whether think tags are tokens of its own: it was trained to think in them
    """

    init: str
    config: DecoderConfig
    count: Callable[[str], int]
    lead: int = 0
    added: tuple[str, ...] = ()
    thinks: bool = False

    @property
    def scratch(self) -> bool:
        """Whether it has no weights yet."""
        return self.init == SCRATCH

    def prompt(self, problem: Problem) -> int:
        """Tokens of a problem's prompt in its mode."""
        return self.lead + self.count(chat.render_problem(problem))


def prospect(init: str, texts: Iterable[str]) -> Prospect:
    """The model of a name; one from scratch counts as a tokenizer does that is learnt from these texts.

    Raises InputError when there is no such model, or it can't be trained here.
    """
    if init == SCRATCH:
        return _from_scratch(list(texts)[:READ])
    folder = find_model(init)
    config = DecoderConfig.from_hf(read_json(folder / "config.json"))
    try:
        tokenizer = load_tokenizer(folder)
    except InputError as error:
        if "add_tokens" not in str(error):
            raise
        tokenizer = load_tokenizer(folder, add=True)
    check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, folder)
    known = tokenizer.inner.get_vocab()
    return Prospect(
        init,
        config,
        lambda text: len(tokenizer.encode(text)),
        len(tokenizer.encode(tokenizer.lead)),
        tuple(tokenizer.added),
        chat.THINK_START in known and chat.THINK_END in known,
    )


def _from_scratch(texts: list[str]) -> Prospect:
    tokenizer = train_tokenizer(texts, VOCABULARY)
    raw = scratch_config(Architecture(), len(tokenizer.inner), tokenizer.end_id, tokenizer.pad_id)
    return Prospect(SCRATCH, DecoderConfig.from_hf(raw), lambda text: len(tokenizer.encode(text)))
