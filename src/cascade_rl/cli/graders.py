"""The commands on graders: grade, regrade."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import RunArgument, Unsafe, console, say
from cascade_rl.errors import InputError

if TYPE_CHECKING:
    from cascade_rl.evals.regrade import Comparison, Regrade
    from cascade_rl.grading.summary import Summary

CLEAR = "\r\x1b[K"  # back to the start of the terminal's line, which is emptied
STRICT = 4  # the exit status of `--strict`; main.py's epilog lists all
EVERY_S = 0.2  # between two counts: a file of short answers would spend its time on drawing


class Reward(StrEnum):
    """Which of a domain's two graders is asked."""

    benchmark = "benchmark"
    rl = "rl"


def grade(
    domain: Annotated[
        str, typer.Argument(help="A shipped domain, such as maths, or a dotted path: my_lab.chemistry.")
    ],
    input: Annotated[
        str, typer.Option(help="JSONL with answer and response in each line; - is standard input.")
    ],
    output: Annotated[str, typer.Option(help="Where the verdicts go, a line each, in the same order.")] = "-",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that run programs and verifiers; the machine's cores."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Seconds that one program or verifier's call may take, where the problem allows more.",
        ),
    ] = None,
    reward: Annotated[
        Reward, typer.Option(help="The benchmark's verdict or RL's reward.")
    ] = Reward.benchmark,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 4 when a verdict is null or a line is bad.")
    ] = False,
    unsafe_exec: Unsafe = False,
    judge: Annotated[
        str | None,
        typer.Option(help="swe with --reward rl: an OpenAI-compatible address, http://host:port/v1."),
    ] = None,
    judge_model: Annotated[
        str, typer.Option(help="The name by which that server knows the judge.")
    ] = "judge",
    judge_key_variable: Annotated[
        str | None, typer.Option(help="The environment variable that holds the key for that server.")
    ] = None,
) -> None:
    """Grade replies from a file, without a model: a verdict for each line, null where the grader failed.

    A bad line is named and the rest goes on; the last line of standard error counts all of it. The exit
    status is 0 unless the input can't be read, or --strict is given.
    """
    from cascade_rl.domains import load_domain
    from cascade_rl.grading.file import Options, grade_file
    from cascade_rl.grading.services import judge_spec

    if judge_key_variable and not judge:
        raise InputError("--judge-key-variable has no effect without --judge")
    asked = {"url": judge, "model": judge_model, "api_key_variable": judge_key_variable}
    spec = judge_spec(asked, "--judge") if judge else None
    # no limit of the caller's: the problem's own holds
    limit_s = math.inf if timeout is None else timeout
    progress = _Progress(sys.stderr.isatty())
    options = Options(reward, workers, limit_s, unsafe_exec, spec)
    summary = grade_file(load_domain(domain), input, output, options, progress.say, progress.count)
    progress.end(summary)
    if strict and summary.nulls:
        raise typer.Exit(STRICT)


class _Progress:
    """What standard error hears: bad lines, a running count on a terminal, and a summary at the end."""

    def __init__(self, terminal: bool) -> None:
        # standard error only: standard output may be the verdicts themselves
        self.terminal, self._begun = terminal, time.monotonic()
        self._shown = self._begun

    def say(self, text: str) -> None:
        print(f"{CLEAR if self.terminal else ''}{text}", file=sys.stderr, flush=True)

    def count(self, summary: Summary) -> None:
        now = time.monotonic()
        if self.terminal and now - self._shown > EVERY_S:
            self._shown = now
            print(f"{CLEAR}{summary.line(now - self._begun)}", end="", file=sys.stderr, flush=True)

    def end(self, summary: Summary) -> None:
        # the counts last: they are looked for at the end
        for text in (*summary.why(), summary.line(time.monotonic() - self._begun)):
            self.say(text)


def regrade(
    run_dir: RunArgument,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    unsafe_exec: Unsafe = False,
) -> None:
    """Score a run's stored rollouts again with today's graders: which gains were faults of the verifier?"""
    from cascade_rl.evals.regrade import regrade_run

    found = regrade_run(run_dir, stage or [], unsafe_exec)
    console.print(_regrade_table(found))
    for compared in found.stages:
        for text in _sentences(compared):
            say(text)
    for left_out in found.skipped:
        text = f"{left_out.stage}, {left_out.domain}: left out, {left_out.why}"
        console.print(text, markup=False, highlight=False)


def _regrade_table(found: Regrade) -> Table:
    names = ("stage", "domain", "replies", "changed", "reward then", "reward now", "gain then", "gain now")
    table = Table(*names, box=None)
    for row in found.stages:
        old, new = row.old, row.new
        table.add_row(
            row.stage,
            row.domain,
            f"{row.replies:,}",
            f"{row.changed:,}",
            f"{old.start:.3f} to {old.end:.3f}",
            f"{new.start:.3f} to {new.end:.3f}",
            f"{old.gain:+.3f}",
            f"{new.gain:+.3f}",
        )
    return table


def _sentences(row: Comparison) -> Iterator[str]:
    """What a person should take from a row."""
    place = f"{row.stage}, {row.domain}"
    if not row.changed:
        yield f"{place}: every verdict is as it was"
        return
    gain, fault = row.old.gain, row.fault
    if gain > 0 and fault > 0:
        # a fault may be larger than the gain: then all of it was the verifier's
        part = f"{min(fault, gain):.3f} ({min(1.0, fault / gain):.0%})"
        yield f"{place}: of the gain of {gain:+.3f}, {part} was the verifier's fault"
    elif fault < 0:
        yield f"{place}: the gain was {-fault:.3f} larger than the verifier of that time saw"
    yield from (f"  {count:,} x {old} -> {new}" for (old, new), count in row.moves.most_common(8))
    # the end of the reply is where its answer stands
    for e in row.examples[:3]:
        answer, reply = str(e.answer)[:60], e.reply[-160:]
        yield f"  step {e.step}, {e.problem}, wanted {answer!r}: ...{reply!r}"
        yield f"    {e.old.verdict} -> {e.new.verdict}: {e.new.note[:160]}"
