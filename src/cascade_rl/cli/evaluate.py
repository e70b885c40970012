"""The command eval, which scores a model: on published benchmarks, or on those of a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cascade_rl.cli.app import Unsafe, WrittenBy, console, say
from cascade_rl.cli.held_out import bounds, score_on_recipe
from cascade_rl.cli.screen import ConsoleScreen
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.cascade.reach import Machine
    from cascade_rl.domain import HeldOut
    from cascade_rl.evals.suite import Measured

FEW = 60  # problems, up to which the part of chance is told in words

Model = Annotated[
    str,
    typer.Argument(
        help="What is scored: a checkpoint directory, such as runs/tiny/stages/04-rlhf/checkpoint; "
        "ORG/NAME@REVISION on a hub; a GGUF file; openai:URL#MODEL for one behind an OpenAI-compatible "
        "server, such as openai:http://127.0.0.1:8000/v1#my-model.",
    ),
]


Changes = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes to the protocol (k=8, aime25.k=64), or to the recipe (benchmarks.maths.k=8)."
    ),
]
Suite = Annotated[
    str | None,
    typer.Option(
        help="Published benchmarks: `report` for all of the report's table, or names such as "
        "ifeval,aime25,humaneval (see `cascade benchmarks`).",
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="The folder of results; evals/MODEL if not given. It can go on.")
]
Data = Annotated[
    list[str] | None,
    typer.Option(help="Rows of your own for a benchmark, such as aime25=jsonl:rows.jsonl; repeatable."),
]
Regrade = Annotated[bool, typer.Option("--regrade", help="Judge the stored replies anew; nothing is asked.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds give equal replies.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, one a core or a GPU each.")]
Sampling = Annotated[str, typer.Option(help="torch, or vllm on a GPU.")]
Yarn = Annotated[
    float | None, typer.Option(min=1, help="Stretch the model's positions by this factor; 1 never does.")
]
OfRecipe = Annotated[
    str | None,
    typer.Option(help="Instead of --suite: the recipe whose held-out problems are asked (tiny if none)."),
]
Only = Annotated[list[str] | None, typer.Option(help="Only this one of the recipe; repeatable.")]
PairJudge = Annotated[
    Path | None,
    typer.Option(
        help="What judges pairs, that of the run which the checkpoint lies in if not given; with --suite "
        "what compares replies, instead of --judge."
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        help="Who compares replies with a baseline's answers (arena_hard_v1, arena_hard_v2): "
        "openai:URL#MODEL."
    ),
]
JudgeKey = Annotated[str | None, typer.Option(help="The environment variable that holds that server's key.")]


def evaluate(
    model: Model,
    overrides: Changes = None,
    suite: Suite = None,
    out: Out = None,
    data: Data = None,
    regrade: Regrade = False,
    seed: Seed = 0,
    workers: Workers = 1,
    sampler: Sampling = "torch",
    template: WrittenBy = None,
    yarn: Yarn = None,
    recipe: OfRecipe = None,
    benchmark: Only = None,
    reward_model: PairJudge = None,
    judge: Judge = None,
    judge_key_variable: JudgeKey = None,
    unsafe_exec: Unsafe = False,
) -> None:
    """Score a model: on published benchmarks (--suite), or on the held-out problems of a recipe.

    \b
    cascade eval runs/tiny/stages/08-swe-rl/checkpoint
        the recipe tiny's own benchmarks, in both modes
    cascade eval ORG/NAME@REVISION --suite ifeval,aime25 aime25.k=8
        two published ones by the report's protocol, AIME with 8 samples
    cascade eval openai:http://127.0.0.1:8000/v1#my-model --suite report problems=100
        all of the report's, a hundred problems of each, on a served model
    cascade eval ORG/NAME@REVISION --suite ifeval --regrade
        its stored replies judged again by today's graders; nothing is asked

    With --suite every reply is stored as it is graded, and the same command goes on where it was stopped.
    What follows the model changes the protocol: k=8, problems=100, mode=instruct, temperature=1.0,
    max_response_tokens=4096, for all benchmarks or for one (aime25.k=64).
    """
    if suite is None:
        only_suite = {"--out": out, "--data": data, "--regrade": regrade, "--yarn": yarn, "--judge": judge}
        _refuse_without_suite(only_suite | {"--judge-key-variable": judge_key_variable})
        score_on_recipe(model, recipe or "tiny", overrides or [], benchmark or [], reward_model, unsafe_exec)
        return
    if recipe or benchmark:
        raise InputError("--recipe and --benchmark have no effect with --suite; give one or the other")
    folder = out or Path("evals") / _slug(model)
    if regrade:
        _again(suite, folder, unsafe_exec)
        return
    from cascade_rl.cascade.reach import Machine

    who = (judge, judge_key_variable, reward_model)
    machine = Machine(workers, sampler=sampler, template=template and template.value, yarn=yarn)
    _on_suite(model, suite, overrides or [], data or [], folder, machine, who, seed, unsafe_exec)


def _on_suite(
    model: str,
    suite: str,
    overrides: Sequence[str],
    data: Sequence[str],
    folder: Path,
    machine: Machine,
    who: tuple[str | None, str | None, Path | None],
    seed: int,
    unsafe_exec: bool,
) -> None:
    from cascade_rl.benchmarks import suite_names
    from cascade_rl.cascade.comparer import Comparer
    from cascade_rl.cascade.suite import Told, measure_suite
    from cascade_rl.data.suites import suite_specs

    comparer = Comparer.named(*who)
    specs = suite_specs(suite_names(suite), overrides, _sources(data))
    with ConsoleScreen(console) as screen:
        told = Told(screen, _say_begun)
        found = measure_suite(
            model, specs, folder, told, machine=machine, comparer=comparer, seed=seed, unsafe=unsafe_exec
        )
        _show(list(_heard(found)), folder)


def _again(suite: str, folder: Path, unsafe_exec: bool) -> None:
    from cascade_rl.benchmarks import suite_names
    from cascade_rl.cascade.suite import Told, regrade_suite

    with ConsoleScreen(console) as screen:
        told = Told(screen, _say_begun)
        found = list(_heard(regrade_suite(folder, suite_names(suite), told, unsafe=unsafe_exec)))
    for one in found:
        say(f"{one.name}: {one.changed} of {one.samples} verdicts are others than before")
    _show(found, folder)


def _heard(found: Iterable[Measured]) -> Iterator[Measured]:
    """The same, each told of when it is done."""
    for one in found:
        if one.failed:
            say(f"  {one.failed} of {one.samples} verdicts failed and count as wrong")
        yield one


def _show(found: Sequence[Measured], folder: Path) -> None:
    from cascade_rl.scores.arena import arena_lines

    console.print(_suite_table(found))
    for one in found:
        for line in arena_lines(one.name, one.statistics.get("also", {})):
            say(line)
    say(f"replies, verdicts and statistics: {folder}")


def _refuse_without_suite(given: Mapping[str, Any]) -> None:
    if useless := [option for option, value in given.items() if value]:
        raise InputError(f"{', '.join(useless)}: no effect without --suite; `cascade benchmarks` lists them")


def _sources(data: Sequence[str]) -> dict[str, str]:
    """`NAME=SOURCE`s; InputError for what is none."""
    found = {}
    for text in data:
        name, equals, source = text.partition("=")
        if not equals or ":" not in source:
            raise InputError(f"--data {text}: want NAME=SOURCE, such as aime25=jsonl:rows.jsonl")
        found[name] = source
    return found


def _slug(model: str) -> str:
    """A folder's name for a model: its own last parts."""
    parts = [part for part in re.split(r"[/\\#]+", model.rstrip("/")) if part not in ("", ".", "..")]
    if parts[-1:] == ["checkpoint"]:
        # RUN/stages/NN-NAME/checkpoint
        parts = [parts[-4], parts[-2]] if len(parts) >= 4 else parts[:-1]
    return re.sub(r"[^\w.@-]+", "-", "-".join(parts[-2:])).strip("-.") or "model"


def _say_begun(held: HeldOut, kept: int) -> None:
    spec, count = held.spec, len(held.problems)
    beside = [text for tally in held.tallies for text in tally.beside]
    modes = " and ".join(map(str, held.modes))
    there = f"; {kept} replies are there" if kept else ""
    drawn = f"temperature {spec.temperature:g}, at most {spec.max_response_tokens} tokens"
    say("; ".join([f"{held.name}: {count} problems, k = {spec.k}, {modes}, {drawn}{there}", *beside]))


def _suite_table(found: Sequence[Measured]) -> Table:
    """A row for each benchmark and mode, in per cent; the errors of chance beside."""
    table = Table("benchmark", "mode", box=None, pad_edge=False)
    for name in ("n x k", "score", "95 %", "±", "pass", "cons", "leak", "cut", "tokens"):
        table.add_column(name, justify="right")
    for one in found:
        for mode, m in one.score.modes.items():
            told = one.statistics[str(mode)]
            k = m.average.k
            error = told["standard_error"][str(k)]["samples"]
            table.add_row(
                f"{one.name}*" if mode is one.score.headline and len(one.score.modes) > 1 else one.name,
                "think" if mode == "thinking" else str(mode),
                f"{m.average.n} x {k}",
                f"{m.average.mean * 100:.1f}",
                bounds(m),
                f"{error * 100:.1f}",
                f"{told['pass'][str(k)] * 100:.1f}" if "pass" in told else "",
                f"{told['cons']['mean'] * 100:.1f}" if "cons" in told else "",
                f"{m.leak:.0%}",
                f"{m.clipped:.0%}",
                f"{m.mean_tokens:.0f}",
            )
    table.caption = _chance(found)
    table.caption_justify = "left"
    return table


def _chance(found: Sequence[Measured]) -> str:
    """What the columns mean, and how far chance alone moves the small benchmarks."""
    lines = ["±: the standard error of the samples alone; 95 %: with the choice of problems"]
    for one in found:
        told = one.statistics[str(one.score.headline)]
        error = told["standard_error"][str(told["k"])]["samples"]
        # of replies that are all right or all wrong the spread is 0, which says nothing: the interval does
        if told["problems"] <= FEW and error:
            errors = {size: round(each["samples"] * 100, 1) for size, each in told["standard_error"].items()}
            sizes = ", ".join(f"{error} at k = {size}" for size, error in errors.items())
            beside = round(told["standard_error"][str(told["k"])]["problems"] * 100, 1)
            lines.append(f"{one.name}: ± {sizes}; and {beside} from having {told['problems']} problems")
    return "\n".join(lines)
