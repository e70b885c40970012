"""The command line: run, status, report, eval, chat, domains, check, grade, regrade, doctor."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    help="Post-train a language model one domain after another: SFT, reward model, then RL domain by domain, with a "
    "benchmark matrix after every stage (arXiv 2512.13607).",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
console = Console()

RecipeArgument = Annotated[
    str, typer.Argument(help="A shipped recipe (tiny, smollm2-135m) or the path of a YAML file.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as stages.math-rl.steps=20 or seed=1.")
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Two steps a stage and a few held-out problems: shows the path, not the result."
    ),
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe-exec",
        help="Run a model's programs even where no sandbox isolates them. Not on your machine.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(help="A run directory, such as runs/tiny.")]


@app.command()
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run directory; runs/NAME if not given.")] = None,
    smoke: Smoke = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="With a changed recipe: keep the stages before the first changed one, redo the rest.",
        ),
    ] = False,
    unsafe_exec: Unsafe = False,
) -> None:
    """Run a recipe to its end, or go on where an interrupted run stopped."""
    from cascade_rl.cascade.cascade import run_cascade
    from cascade_rl.cli.screen import ConsoleScreen
    from cascade_rl.data.abilities import load_recipe
    from cascade_rl.report import summary_line, write_report
    from cascade_rl.report.numbers import duration

    resolved = load_recipe(recipe, overrides or [], smoke_test=smoke)
    folder = out or Path("runs") / (resolved.name + ("-smoke" if smoke else ""))
    command = f"cascade run {' '.join([recipe, *(overrides or [])])}{' --smoke' if smoke else ''}{f' --out {out}' if out else ''}"
    stop = _StopRequest()
    with ConsoleScreen(console) as screen:
        try:
            found = run_cascade(
                resolved,
                folder,
                screen,
                stop_asked=stop.asked,
                accept_changes=accept_changes,
                unsafe_exec=unsafe_exec,
            )
        except KeyboardInterrupt as interrupt:
            write_report(folder)
            screen.note(f"{interrupt or 'stopped'}; go on with: {command}")
            raise typer.Exit(stop.exit_code) from None
    screen.table(found.matrix, found.verdicts)
    page = write_report(folder)
    console.print(summary_line(folder), soft_wrap=True)
    console.print(f"{duration(sum(found.matrix['seconds'].values()))} in all. Report: {page}", soft_wrap=True)


class _StopRequest:
    """The first Ctrl-C or SIGTERM asks to stop after the step; the second stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after this step (once more: at once) ...", file=sys.stderr, flush=True)

    def asked(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        return 128 + (self.signal or signal.SIGINT)


@app.command()
def status(run_dir: RunArgument) -> None:
    """Show how far a run is, what each stage scored, and the gate's verdicts."""
    from cascade_rl.report.status import run_status
    from cascade_rl.report.terminal import status_table

    console.print(status_table(run_status(run_dir)))


@app.command()
def report(run_dir: RunArgument) -> None:
    """Write RUN/report.html, one self-contained page, and show where the time went; works while the run goes on."""
    from cascade_rl.report import write_report
    from cascade_rl.report.read import read_run
    from cascade_rl.report.terminal import speed_table

    if not run_dir.is_dir():
        raise ValueError(f"there is no run directory {run_dir}")
    if (table := speed_table(read_run(run_dir))).row_count:
        console.print(table)
    console.print(f"Report: {write_report(run_dir)}", soft_wrap=True)


@app.command(name="eval")
def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint directory, such as runs/tiny/stages/04-rlhf/checkpoint.")
    ],
    recipe: Annotated[str, typer.Option(help="The recipe whose benchmarks are run.")] = "tiny",
    overrides: Overrides = None,
    benchmark: Annotated[list[str] | None, typer.Option(help="Only this benchmark; may be repeated.")] = None,
    unsafe_exec: Unsafe = False,
) -> None:
    """Score a checkpoint on the held-out problems of a recipe's benchmarks, in both modes."""
    from cascade_rl.cascade.evaluate import evaluate_checkpoint
    from cascade_rl.data.abilities import load_recipe

    resolved = load_recipe(recipe, overrides or [])
    console.print(evaluate_checkpoint(checkpoint, resolved, benchmark or [], console, unsafe_exec))


@app.command()
def chat(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint directory.")],
    max_new_tokens: Annotated[int, typer.Option(help="The longest reply, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal replies.")] = 0,
) -> None:
    """Talk to a checkpoint. End a turn with /think or /no_think to switch the mode; an empty line ends."""
    from cascade_rl.cli.talk import chat_loop

    chat_loop(checkpoint, console, max_new_tokens, temperature, top_p, seed)


@app.command()
def domains() -> None:
    """List the domains that the package ships, with their sources."""
    from cascade_rl.domains import domain_names, load_domain

    table = Table("domain", "what it asks", "headline mode", "sources", box=None)
    for name in domain_names():
        domain = load_domain(name)
        table.add_row(name, domain.summary, str(domain.headline), ", ".join(domain.sources))
    console.print(table)


class Reward(StrEnum):
    """Which of a domain's two graders is asked."""

    benchmark = "benchmark"
    rl = "rl"


@app.command()
def grade(
    domain: Annotated[
        str, typer.Argument(help="A shipped domain, such as maths, or a dotted path: my_lab.chemistry.")
    ],
    input: Annotated[
        str, typer.Option(help="JSONL with id, answer and response in each line; - is standard input.")
    ],
    output: Annotated[str, typer.Option(help="Where the verdicts go, a line each, in the same order.")] = "-",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that run programs and verifiers; the machine's cores."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Seconds that one program or judge's call may take, where the problem allows more."
        ),
    ] = None,
    reward: Annotated[
        Reward, typer.Option(help="The benchmark's verdict or RL's reward.")
    ] = Reward.benchmark,
    unsafe_exec: Unsafe = False,
    judge: Annotated[
        str | None,
        typer.Option(help="swe with --reward rl: an OpenAI-compatible address, http://host:port/v1."),
    ] = None,
    judge_model: Annotated[
        str, typer.Option(help="The name by which that server knows the judge.")
    ] = "judge",
) -> None:
    """Grade replies from a file, without a model: a verdict for each line, null where the grader failed.

    The exit status is 0 unless the input can't be read; a bad line is named and the rest goes on.
    """
    from cascade_rl.domains import load_domain
    from cascade_rl.grading.file import grade_file
    from cascade_rl.recipe import JudgeSpec

    spec = JudgeSpec(url=judge, model=judge_model) if judge else None
    grade_file(load_domain(domain), input, output, reward, workers, timeout, unsafe_exec, spec)


@app.command()
def regrade(
    run_dir: RunArgument,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    unsafe_exec: Unsafe = False,
) -> None:
    """Score the stored rollouts of a run again with today's graders: which gains were faults of the verifier?"""
    from cascade_rl.evals.regrade import regrade_run

    regrade_run(run_dir, stage or [], console, unsafe_exec)


@app.command()
def check(recipe: RecipeArgument, overrides: Overrides = None, smoke: Smoke = False) -> None:
    """Validate a recipe, print it with every key filled in, and explain what each stage will do."""
    from cascade_rl.data.abilities import load_recipe
    from cascade_rl.recipe.explain import explain
    from cascade_rl.run.ledger import recipe_text

    resolved = load_recipe(recipe, overrides or [], smoke_test=smoke)
    console.print(recipe_text(resolved), markup=False, highlight=False, soft_wrap=True)
    console.print(explain(resolved), markup=False, highlight=False, soft_wrap=True)


@app.command()
def doctor(
    model: Annotated[
        Path | None,
        typer.Option(help="A local Hugging Face directory: run the conformance checks on it as well."),
    ] = None,
) -> None:
    """Show how strongly programs are kept in here, and check a model's sampler and trainer against known failures."""
    from cascade_rl.doctor.machine import sandbox_section

    lines, well = sandbox_section()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for row in _model_rows(model):
        well = well and row.passed
        mark = "ok    " if row.passed else "FAILED"
        console.print(f"{mark}  {row.failure}: {row.detail}", markup=False, highlight=False, soft_wrap=True)
    if not well:
        raise typer.Exit(1)


def _model_rows(model: Path | None):
    """The conformance checks of a model, each as soon as it is done; none without one."""
    if model is None:
        return ()
    from cascade_rl.doctor import model_report

    return model_report(model)


def main() -> None:
    """Run the command line; expected errors become one message and exit status 1."""
    from cascade_rl.errors import Mendable

    sys.path.append(str(Path.cwd()))  # a domain by dotted path may lie where the command is given
    try:
        app()
    except (Mendable, ValueError, OSError) as error:
        Console(stderr=True).print(
            f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
