"""The commands on graders: grade, regrade."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cascade_rl.cli.app import OnRay, RunArgument, Unsafe, console, say
from cascade_rl.errors import InputError
from cascade_rl.verify.told import cut, quoted

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
        typer.Option(min=1, help="Processes that run programs and verifiers, a machine; its cores."),
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
    ray: OnRay = None,
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
    options = Options(reward, workers, limit_s, unsafe_exec, spec, ray)
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
    ray: OnRay = None,
) -> None:
    """Score a run's stored rollouts again with today's graders: which gains were faults of the verifier?"""
    from cascade_rl.evals.regrade import regrade_run

    found = regrade_run(run_dir, stage or [], unsafe_exec, ray)
    console.print(_regrade_table(found))
    for compared in found.stages:
        for text in _sentences(compared):
            _fold(text)
    for left_out in found.skipped:
        _fold(f"{left_out.stage}, {left_out.domain}: left out, {left_out.why}")
    replies, changed, repaid = (
        sum(getattr(row, name) for row in found.stages) for name in ("replies", "changed", "repaid")
    )
    _fold(f"of {replies:,} replies {repaid:,} earn another reward today, {changed:,} have another verdict")


def _fold(text: str) -> None:
    """Print a text folded to the width of the terminal, with what is folded as far in as its beginning."""
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    say("\n".join(wrap(text, console.width, subsequent_indent=indent, break_on_hyphens=False)))


def _regrade_table(found: Regrade) -> Table:
    """A row for each stage and domain, and a second one where today's verdicts are others."""
    table = Table(box=None)
    for name in ("stage", "domain", "replies", "changed", "verdicts", "start", "end", "gain"):
        is_text = name in ("stage", "domain", "verdicts")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for row in found.stages:
        for number, (name, rewards) in enumerate((("then", row.old), ("now", row.new))):
            place = (
                (row.stage, row.domain, f"{row.replies:,}", f"{row.repaid:,}") if not number else ("",) * 4
            )
            if not number or row.repaid:
                numbers = (f"{rewards.start:.3f}", f"{rewards.end:.3f}", f"{rewards.gain:+.3f}")
                table.add_row(*place, name, *numbers)
    return table


def _sentences(row: Comparison) -> Iterator[str]:
    """What a person should take from a row."""
    place = f"{row.stage}, {row.domain}"
    if not row.changed:
        yield f"{place}: every verdict is as it was"
        return
    gain, fault = row.old.gain, row.fault
    if not row.repaid:
        yield f"{place}: every reward is as it was, {row.changed:,} outcomes are others"
    elif gain > 0 and fault > 0:
        # a fault may be larger than the gain: then all of it was the verifier's
        part = f"{min(fault, gain):.3f} ({min(1.0, fault / gain):.0%})"
        yield f"{place}: of the gain of {gain:+.3f}, {part} was the verifier's fault"
    elif fault < 0:
        yield f"{place}: the gain was {-fault:.3f} larger than the verifier of that time saw"
    else:
        yield f"{place}: {row.repaid:,} rewards are others"
    yield from (f"  {len(m.rewards):,} x {m.told(0)} -> {m.told(1)}" for m in row.by_count[:8])
    once = {(e.problem, e.reply): e for e in row.examples}  # samples of one prompt are often alike
    for e in list(once.values())[:3]:
        # of tests, repositories and instructions the note tells what was not met
        wanted = f", wanted {quoted(e.answer)}" if isinstance(e.answer, str) else ""
        yield f"  step {e.step}, {e.problem}{wanted}"
        # the end of the reply is where its answer stands
        yield f"    {quoted('…' * (len(e.reply) > 160) + e.reply[-160:], 170)}"
        note = f": {cut(e.new.note, 160)}" if e.new.note else ""
        yield f"    {e.old.verdict} -> {e.new.verdict}{note}"
