"""Talk to a checkpoint on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cascade_rl.chat import THINK_START, Reply, split_reply
from cascade_rl.protocols import Sampling
from cascade_rl.types import Message, Mode, Problem, problem_id


def turn_mode(line: str, mode: Mode) -> tuple[str, Mode]:
    """Take a trailing /think or /no_think off a line; without one the mode stays as it was."""
    for flag, wanted in (("/no_think", Mode.INSTRUCT), ("/think", Mode.THINKING)):
        if line.endswith(flag):
            return line.removesuffix(flag).rstrip(), wanted
    return line, mode


def chat_loop(
    checkpoint: Path, console: Console, sampling: Sampling, seed: int, template: str | None = None
) -> None:
    """Read turns from the terminal until an empty line or the end of input; both modes, switched per turn.

    Replies are drawn as `sampling` says, each with a seed of its own from `seed` and its place.
    """
    from cascade_rl.rollout.world import Engine, open_world

    with open_world(checkpoint, Engine(template=template)) as world:
        modes = world.tokenizer.template.modes
        told = "End a turn with /think or /no_think to switch the mode. An empty line ends."
        console.print(
            told if len(modes) > 1 else f"Its template knows {modes[0]} mode only. An empty line ends."
        )
        history: list[Message] = []
        mode = modes[0]
        while line := _line(console, mode):
            text, mode = turn_mode(line, mode)
            if mode not in modes:
                mode = modes[0]
                console.print(f"Its template can't ask otherwise: {mode} mode.", markup=False)
            history.append(Message("user", text))
            # the id is a part of the sampler's seed: equal talks give equal replies
            name = problem_id("chat", [m.content for m in history])
            problem = Problem(name, "chat", tuple(history), None, mode)
            [[rollout]] = world.sampler.sample([problem], replace(sampling, seed=(seed, len(history))))
            reply = split_reply(rollout.text, mode)
            _show(console, reply, _why_none(reply, rollout.text, modes))
            # with its thinking, which the template drops once the next user turn follows
            history.append(Message("assistant", rollout.text))


def _line(console: Console, mode: Mode) -> str:
    try:
        return console.input(f"[{mode}] > ", markup=False).strip()
    except EOFError:
        return ""


def _why_none(reply: Reply, text: str, modes: Sequence[Mode]) -> str:
    """What is said where a reply has no answer."""
    if reply.answer is not None:
        return "(an empty answer)"
    if THINK_START in text or Mode.INSTRUCT not in modes:
        return "(no answer: the reasoning did not end)"
    return "(no think tags: it may know answers without them only; end a turn with /no_think)"


def _show(console: Console, reply: Reply, why: str) -> None:
    if reply.thought:
        console.print(reply.thought, style="dim italic", markup=False, highlight=False)
    console.print(reply.answer or why, markup=False, highlight=False)
