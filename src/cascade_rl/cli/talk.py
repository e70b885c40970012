"""Use a checkpoint: score it, or talk to it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cascade_rl.chat import split_reply
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.types import Message, Mode, Problem, problem_id


def turn_mode(line: str, mode: Mode) -> tuple[str, Mode]:
    """Take a trailing /think or /no_think off a line; without one the mode stays as it was."""
    for flag, wanted in (("/no_think", Mode.INSTRUCT), ("/think", Mode.THINKING)):
        if line.endswith(flag):
            return line.removesuffix(flag).rstrip(), wanted
    return line, mode


def chat_loop(
    checkpoint: Path, console: Console, max_new_tokens: int, temperature: float, top_p: float, seed: int
) -> None:
    """Read turns from the terminal until an empty line or the end of input; both modes, switched per turn."""
    from cascade_rl.model.checkpoint import load_directory
    from cascade_rl.model.replicas import Replicas
    from cascade_rl.model.tokenizer import load_tokenizer
    from cascade_rl.rollout.torch_sampler import TorchSampler

    _, config, flat = load_directory(checkpoint)
    replicas = Replicas(1)
    replicas.add_model("policy", config, flat, train=False)
    sampler = TorchSampler(replicas, load_tokenizer(checkpoint))
    console.print("End a turn with /think or /no_think to switch the mode. An empty line ends.")
    history: list[Message] = []
    mode = Mode.THINKING
    while True:
        try:
            line = console.input(f"[{mode}] > ", markup=False).strip()
        except EOFError:
            return
        if not line:
            return
        text, mode = turn_mode(line, mode)
        history.append(Message("user", text))
        problem = Problem(
            problem_id("chat", [m.content for m in history]), "chat", tuple(history), None, mode
        )
        sampling = Sampling(1, max_new_tokens, SamplingRule(temperature, top_p), seed=(seed, len(history)))
        rollout = sampler.sample([problem], sampling)[0][0]
        reply = split_reply(rollout.text, mode)
        if reply.thought:
            console.print(reply.thought, style="dim italic", markup=False, highlight=False)
        console.print(reply.answer or "(no answer: the reasoning did not end)", markup=False, highlight=False)
        history.append(Message("assistant", rollout.text))
