"""Use a checkpoint: score it, or talk to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascade_rl.beginning import choose_device
from cascade_rl.chat import split_reply
from cascade_rl.evals.benchmark import run_benchmark
from cascade_rl.materials import gather_benchmarks
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import load_tokenizer
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.choice import open_sampler
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.services import open_services
from cascade_rl.types import Message, Mode, Problem, problem_id


def evaluate_checkpoint(
    checkpoint: Path, recipe: Recipe, only: Sequence[str], console: Console, unsafe_exec: bool = False
) -> Table:
    """Run a recipe's benchmarks on a checkpoint; a table with a row for each benchmark and mode."""
    known = [b.name for b in recipe.benchmarks]
    if unknown := [name for name in only if name not in known]:
        raise ValueError(f"no benchmark {', '.join(unknown)} in {recipe.name}; there are {', '.join(known)}")
    _, config, flat = load_directory(checkpoint)
    table = Table("benchmark", "mode", "avg@k", "95 %", "greedy", "leak", "clipped", "tokens", box=None)
    chosen = [b for b in gather_benchmarks(recipe) if not only or b.name in only]
    needs = frozenset().union(*(b.domain.needs for b in chosen))
    with (
        open_services(needs, unsafe=unsafe_exec) as services,
        Replicas(recipe.workers, *choose_device(recipe)) as replicas,
    ):
        replicas.add_model("policy", config, flat, train=False)
        sampler = open_sampler(recipe, replicas, load_tokenizer(checkpoint), checkpoint)
        for benchmark in chosen:
            console.print(f"{benchmark.name}: {len(benchmark.problems)} problems, k = {benchmark.k} ...")
            found = run_benchmark(benchmark, sampler, services, ("evaluation",)).score
            for mode, m in found.modes.items():
                star = "*" if mode is found.headline else ""
                table.add_row(
                    benchmark.name + star, str(mode), f"{m.average.mean * 100:.1f}",
                    f"{m.average.low * 100:.1f}-{m.average.high * 100:.1f}", f"{m.greedy.mean * 100:.1f}",
                    f"{m.leak:.1%}", f"{m.clipped:.1%}", f"{m.mean_tokens:.0f}",
                )  # fmt: skip
    table.caption = "* the headline mode"
    return table


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
        problem = Problem(problem_id("chat", [m.content for m in history]), "chat", tuple(history), None, mode)
        sampling = Sampling(1, max_new_tokens, temperature, top_p, seed=(seed, len(history)))
        rollout = sampler.sample([problem], sampling)[0][0]
        reply = split_reply(rollout.text, mode)
        if reply.thought:
            console.print(reply.thought, style="dim italic", markup=False, highlight=False)
        console.print(reply.answer or "(no answer: the reasoning did not end)", markup=False, highlight=False)
        history.append(Message("assistant", rollout.text))
