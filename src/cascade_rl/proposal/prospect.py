"""A model that a recipe may start from: its shape, its positions and its template; no weights are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cascade_rl import chat
from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import read_config, scratch_config
from cascade_rl.model.choice import network_of
from cascade_rl.model.network import Network
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.template import CASCADE, MODEL
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer, train_tokenizer
from cascade_rl.recipe import Architecture, LoRA
from cascade_rl.types import Demonstration, Mode, Problem

SCRATCH = "scratch"
VOCABULARY = 1024  # tokens of a model from scratch, as in the tiny recipe
READ = 4000  # texts that its tokenizer is learnt from


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is known of a model.

    init       as the recipe names it
    tokenizer  with the template that the recipe says
    why        why that template
    commit     what a hub's name means today
    """

    init: str
    config: Network
    tokenizer: Tokenizer
    why: str = ""
    commit: str | None = None

    @property
    def scratch(self) -> bool:
        """Whether it has no weights yet."""
        return self.init == SCRATCH

    @property
    def adaptable(self) -> bool:
        """Whether low-rank adapters can be trained instead of its weights."""
        try:
            self.config.adapted(LoRA().targets)
        except InputError:
            return False
        return not self.scratch

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those that its template can ask for."""
        return self.tokenizer.template.modes

    @property
    def thinks(self) -> bool:
        """Whether think tags are tokens of its own: it was trained to think in them."""
        known = self.tokenizer.inner.get_vocab()
        return Mode.THINKING in self.modes and chat.THINK_START in known and chat.THINK_END in known

    def prompt(self, problem: Problem) -> int:
        """Tokens of a problem's prompt, in the longer of the modes that it can be asked in."""
        return max(len(self.tokenizer.prompt(problem.in_mode(mode))) for mode in self.modes)

    def taught(self, item: Demonstration) -> tuple[int, int]:
        """Tokens of a prompt and of its reply."""
        prompt, reply = self.tokenizer.taught(item)
        return len(prompt), len(reply)


def prospect(
    init: str, texts: Iterable[str], modes: frozenset[Mode], note: Callable[[str], None]
) -> Prospect:
    """The model of a name, with a template that can say these modes.

    One from scratch reads by a tokenizer that is learnt from `texts`. Its own template is kept where a model
    brings one along that can be trained with; else it is ours, with markers added where it lacks them.
    Raises InputError when there is no such model, or it can't be trained here.
    """
    if init == SCRATCH:
        return _from_scratch(list(texts)[:READ])
    found = find_model(init, weights=False, note=note)
    _, config = read_config(found.folder)
    tokenizer, why = _reading(found.folder, modes)
    check_vocabulary(tokenizer.size - len(tokenizer.added), config.vocab, found.folder)
    return Prospect(init, config, tokenizer, why, found.commit)


def _reading(folder: Path, modes: frozenset[Mode]) -> tuple[Tokenizer, str]:
    """The tokenizer with the template that suits, and why that one."""
    try:
        own = load_tokenizer(folder, template=MODEL)
    except InputError as error:
        return _ours(folder), f"its own can't be trained with: {str(error).removeprefix(f'{folder}: '):.150}"
    if modes <= set(own.template.modes):
        return own, "its own, as it was trained; cascade: the report's, with a flag for each mode"
    missing = " and ".join(sorted(modes - set(own.template.modes)))
    return _ours(folder), f"its own has no word for {missing} mode, which your rows are in"


def _ours(folder: Path) -> Tokenizer:
    try:
        return load_tokenizer(folder, template=CASCADE)
    except InputError as error:
        if "add_tokens" not in str(error):
            raise
    return load_tokenizer(folder, add=True, template=CASCADE)


def _from_scratch(texts: list[str]) -> Prospect:
    tokenizer = train_tokenizer(texts, VOCABULARY)
    raw = scratch_config(Architecture(), len(tokenizer.inner), tokenizer.end_id, tokenizer.pad_id)
    return Prospect(SCRATCH, network_of(raw), tokenizer)
