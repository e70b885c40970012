"""Published benchmarks on the screen: what each came to, in a table with the errors of chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from cascade_rl.cli.app import console, say
from cascade_rl.cli.held_out import bounds

if TYPE_CHECKING:
    from cascade_rl.evals.suite import Measured

FEW = 60  # problems, up to which the part of chance is told in words


def show(found: Sequence[Measured], folder: Path) -> None:
    """The table, what judges found beside, and where all of it lies."""
    from cascade_rl.scores.arena import arena_lines

    console.print(suite_table(found))
    for one in found:
        for mode, m in one.score.modes.items():
            if m.greedy:
                say(f"{one.name}, {mode}: {m.greedy.mean * 100:.1f} by one greedy reply a problem")
        for line in arena_lines(one.name, one.statistics.get("also", {})):
            say(line)
    say(f"replies, verdicts and statistics: {folder}")


def suite_table(found: Sequence[Measured]) -> Table:
    """A row for each benchmark and mode, in per cent; the errors of chance beside."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    # only a name may be folded, at 80 columns: a number that is cut is a wrong one
    table.add_column("benchmark", overflow="fold")
    table.add_column("mode", no_wrap=True)
    for name in ("n x k", "score", "95 %", "±", "pass", "cons", "leak", "cut", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        for mode, m in one.score.modes.items():
            told = one.statistics[str(mode)]
            k = m.average.k
            error = told["standard_error"][str(k)]["samples"]
            table.add_row(
                f"{one.name}*" if mode is one.score.headline and len(one.score.modes) > 1 else one.name,
                "think" if mode == "thinking" else "instr",
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
            few = f"; and {beside} from having {told['problems']} problems" if beside else ""
            lines.append(f"{one.name}: ± {sizes}{few}")
    return "\n".join(lines)
