"""The arguments and options of the command eval, in the order of its help."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.app import Written
from cascade_rl.errors import InputError

# Those that mean something only for: a model of this machine, one behind a server, replies that a judge
# compares, a recipe's benchmarks, published ones. The names are those of `Given`.
HERE = ("workers", "sampler", "template", "yarn")
SERVED = ("key_variable", "mode_by", "parallel", "budget")
COMPARING = ("judge", "judge_key_variable", "reward_model")
OF_RECIPE = ("recipe", "benchmark")
OF_SUITE = ("out", "data", "regrade", "seed", "judge", "judge_key_variable")

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
KeyVariable = Annotated[
    str | None,
    typer.Option(help="Of a served model: the environment variable of its key, if not OPENAI_API_KEY."),
]
ModeBy = Annotated[
    str | None,
    typer.Option(help="Of a served model: how the mode is said, flag, kwargs or none (docs/served.md)."),
]
Parallel = Annotated[int | None, typer.Option(min=1, help="Of a served model: requests at a time; 16.")]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Of a served model: the most requests, retries among them.")
]
JudgeKey = Annotated[str | None, typer.Option(help="The environment variable that holds that server's key.")]


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed after `cascade eval`, by the names and defaults of its parameters."""

    model: str
    overrides: list[str] | None = None
    suite: str | None = None
    out: Path | None = None
    data: list[str] | None = None
    regrade: bool = False
    seed: int = 0
    workers: int = 1
    sampler: str = "torch"
    template: Written | None = None
    yarn: float | None = None
    recipe: str | None = None
    benchmark: list[str] | None = None
    reward_model: Path | None = None
    judge: str | None = None
    judge_key_variable: str | None = None
    key_variable: str | None = None
    mode_by: str | None = None
    parallel: int | None = None
    budget: int | None = None
    unsafe_exec: bool = False
    ray: str | None = None

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Raise InputError if one of these was given: an option that changes nothing misleads."""
        # a list that is not given is [] from typer
        given = [
            f
            for f in fields(self)
            if f.name in names and (getattr(self, f.name) or None) != (f.default or None)
        ]
        if given:
            raise InputError(f"{', '.join(_typed(f.name, getattr(self, f.name)) for f in given)}: {why}")


def _typed(name: str, value: object) -> str:
    """An option as it is typed; of the changes, themselves."""
    return (
        " ".join(map(str, value))
        if name == "overrides" and isinstance(value, list)
        else "--" + name.replace("_", "-")
    )
