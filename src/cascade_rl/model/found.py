"""What was found of a model's own chat template, in words too, and what it has to refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cascade_rl.chat import TemplateError
from cascade_rl.model.turns import Row, Style
from cascade_rl.types import Mode

MEND = "leave the row out, or set model.template: cascade"


@dataclass(frozen=True, slots=True)
class Said:
    """How a template is told a mode, and what it makes of it.

    variables  what it is given
    flag       what is put behind the last user's text
    header     what it writes where a reply begins; a prompt in this mode ends so
    context    all that stands between a user's text and the reply
    opening    the think tag at the end of a prompt: the reply begins inside of the thought
    composed   whether replies are written behind the prompt by us, since the template does not write a last
               turn as its own prompt began it
    """

    variables: Mapping[str, bool] = field(default_factory=dict)
    flag: str = ""
    header: str = ""
    context: str = ""
    opening: str = ""
    composed: bool = False

    def words(self) -> str:
        """In words."""
        told = [f"{name}={str(value).lower()}" for name, value in self.variables.items()]
        return ", ".join(told + [f"`{self.flag}` behind the user's text"] * bool(self.flag)) or "always"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a template.

    said      the modes that it can ask for
    style     how it reads an assistant's turns
    end       the token that ends a turn, before it `gap`, behind it `tail`
    plain     a short talk as it writes it
    system    whether it writes system prompts; if not, whether it refuses them or drops them without a word
    tools, results  whether it writes the signatures of tools, and what they answer
    """

    said: Mapping[Mode, Said]
    style: Style
    end: str
    gap: str
    tail: str
    plain: str
    system: str
    tools: bool
    results: bool

    def refuse(self, row: Row) -> None:
        """Raise TemplateError where the template would refuse a row, or leave it out without a word."""
        if row["role"] == "system" and self.system != "written":
            raise TemplateError(
                f"the model's chat template has no place for a system prompt ({self.system}): put it at the "
                "beginning of the user's first text, or set model.template: cascade"
            )
        if row["role"] == "tool" and not self.results:
            raise TemplateError("the model's chat template writes no results of tools; " + MEND)
        if "tool_calls" in row and self.style.arguments is None:
            raise TemplateError("the model's chat template writes no tool calls; " + MEND)

    def refuse_tools(self, tools: Sequence[Row]) -> None:
        """The same for signatures of tools."""
        if tools and not self.tools:
            raise TemplateError("the model's chat template writes no tools; " + MEND)

    def words(self, name: str, *, dated: bool, spelled: Sequence[str]) -> list[str]:
        """For people: how modes are said, how a turn ends, what the template has no place for.

        `name` is the template's, `dated` whether it writes the day, `spelled` are marks of turns that it
        writes and the tokenizer has no token for.
        """
        modes = [f"{mode}: {said.words()}" for mode, said in self.said.items()]
        if len(modes) == 1:
            modes = [f"it says no mode, so that only {next(iter(self.said))} can be asked for"]
        told = [f"template: the model's own ({name})", *modes, f"a turn ends with `{self.end}`"]
        if self.style.thought and Mode.THINKING in self.said:
            told.append(f"thoughts are read from {self.style.thought}")
        missing = [] if self.system == "written" else ["system prompts"]
        missing += [] if self.tools and self.results else ["tools"]
        told += [f"it has no place for {' and '.join(missing)}"] if missing else []
        day = (
            "the template writes the day, which is 26 July 2024 in all of a run, so that it can be repeated; "
            "the exported one writes the day it is used on"
        )
        marks = ", ".join(f"`{mark}`" for mark in spelled)
        pieces = (
            f"the template writes {marks} in pieces, since the tokenizer has no such token: who spells one "
            "in a text writes the same"
        )
        return ["; ".join(told), *([day] if dated else []), *([pieces] if spelled else [])]
