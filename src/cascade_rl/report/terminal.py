"""Tables for the terminal: the matrix, how far a run is, where the time went.

They are readable in plain text and without colours, the matrix and the times at 80 columns. In the matrix `*`
stands before the score after a benchmark's own stage (bold as well), an arrow after it tells what the gate
says against the stage before. Numbers are percent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cascade_rl.report.numbers import ARROWS, DASH, percent
from cascade_rl.report.records import Run
from cascade_rl.report.speed import has_figures, machine_line, speed_rows
from cascade_rl.report.status import PASSED, UNMEASURED, RunStatus, StageStatus
from cascade_rl.scores.matrix import Matrix, Row

Verdicts = Mapping[tuple[str, str], str]
STYLES = {"gain": "blue", "loss": "yellow"}
QUIET = ("", PASSED, UNMEASURED)  # words of a gate that ask for no line of their own
CELL, NAME = 6, 12  # characters: nine stages fit into 80 columns
APART = 10  # where a table holds scores alone: most parts of a benchmark's name are not broken
CAPTION = (
    "percent solved in the named mode, ± half of the 95 % interval;\n"
    "* after its own stage; ▲ gain, ▼ loss since the stage before; other mode: page"
)
TIMES = ("roll-\nout", "grad-\ning", "up-\ndate", "eval", "other")
SPEED = ("samp\ntok/s", "train\ntok/s", "MFU", "MBU", "roll.\nlimit", "upd.\nlimit")


def short_header(name: str, width: int = CELL) -> str:
    """A stage's name in lines of at most `width`, broken before hyphens where that is possible."""
    lines = [""]
    for part in re.findall(r"[-_ .]?[^-_ .]+", name) or [name]:
        if lines[-1] and len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines += [part[i : i + width] for i in range(0, len(part), width)]
    return "\n".join(lines[1:])


def _number(share: float) -> str:
    text = percent(share)
    # four digits and an arrow would not fit into CELL
    return "100" if text == "100.0" else text


def _cell(row: Row, stage: str, verdict: str) -> Text:
    """The score, and below it how far its 95 % interval reaches to either side on average."""
    score = row.scores.get(stage)
    if score is None:
        return Text(f"{DASH} ")
    own = stage == row.own_stage
    text = f"{'*' if own else ''}{_number(score.mean)}{ARROWS.get(verdict, ' ')}"
    cell = Text(text, style=f"{'bold ' if own else ''}{STYLES.get(verdict, '')}".strip())
    return Text.assemble(cell, Text(f"\n±{percent((score.high - score.low) / 2)} ", style="dim"))


def _plain_table(title: str, caption: str) -> Table:
    return Table(
        title=title,
        caption=caption,
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="",
    )


@dataclass(frozen=True, slots=True)
class MatrixTable:
    """Benchmarks x stages, in percent; stages that have no room beside the others have a table below."""

    matrix: Matrix
    verdicts: Verdicts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Names as wide as there is room for, but folded before a stage is moved."""
        stages = self.matrix.stages
        # neither title nor caption of the table, which are no wider than it is
        yield Text("benchmark matrix", style="bold")
        while True:
            shown, table = self._widest(stages, console, options)
            stages = stages[len(shown) :]
            yield table
            if not stages:
                yield Text(CAPTION)
                return
            yield Text("")

    def _widest(
        self, stages: Sequence[str], console: Console, options: ConsoleOptions
    ) -> tuple[Sequence[str], Table]:
        """As many of the stages as fit, at least one, and their table."""
        longest = max([NAME, *(len(row.name) for row in self.matrix.rows)])
        for count in range(max(1, len(stages)), 0, -1):
            for name in range(longest, NAME - 1, -1):
                table = self._table(stages[:count], name)
                if _fits(table, console, options) or (count == 1 and name == NAME):
                    return stages[: max(1, count)], table
        raise AssertionError("a single stage is always taken")

    def _table(self, stages: Sequence[str], name: int) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        heads = ["benchmark", *map(short_header, stages)]
        # heads stand at the bottom and cells at the top, which one column of rich can't have
        lines = max(head.count("\n") for head in heads)
        for place, head in enumerate(heads):
            filled = "\n" * (lines - head.count("\n")) + head
            table.add_column(filled, justify="right" if place else "left", no_wrap=True)
        for row in self.matrix.rows:
            cells = [_cell(row, stage, self.verdicts.get((stage, row.name), "")) for stage in stages]
            mode = Text(f"\n{row.headline}", style="dim")
            table.add_row(Text.assemble(short_header(row.name, name), mode), *cells)
        return table


def matrix_table(matrix: Matrix, verdicts: Verdicts | None = None) -> MatrixTable:
    """Benchmarks x stages, in percent; `verdicts` is (stage, benchmark) -> gain, loss or same."""
    return MatrixTable(matrix, verdicts or {})


def _shares(row: StageStatus) -> list[str]:
    return ["" if share is None else percent(share) for share in row.scores]


def _progress(row: StageStatus) -> list[str]:
    return [row.stage, row.state, f"{row.steps}/{row.planned}" if row.planned else ""]


def _word(row: StageStatus) -> str:
    """Whether the gate let the stage pass; what else it says is too long for a cell."""
    return row.gate if row.gate in QUIET else "failed"


def _table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns; cells are never wrapped, heads are before hyphens."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*row)
    return table


def _fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    # asked as if there were room for all: rich measures no wider than what it is given
    return Measurement.get(console, options.update(max_width=10_000), table).maximum <= options.max_width


@dataclass(frozen=True, slots=True)
class StatusTable:
    """A row a stage: state, steps, scores, gate; on a narrow terminal what the gate says stands below.

    Where even the scores don't fit beside the steps, they have a table of their own, or several.
    """

    found: RunStatus

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The widest form that fits."""
        names, stages = self.found.benchmarks, self.found.stages
        heads, short = ("stage", "state", "steps"), tuple(map(short_header, names))
        all_rows = [[*_progress(r), *_shares(r), r.gate] for r in stages]
        rows = [[*_progress(r), *_shares(r), _word(r)] for r in stages]
        forms = [_table_of((*heads, *marks, "gate"), rows) for marks in (names, short)]
        forms = [_table_of((*heads, *names, "gate"), all_rows), *forms]
        place = next((n for n, form in enumerate(forms) if _fits(form, console, options)), None)
        if place is not None:
            yield forms[place]
        else:
            # cut is neither name nor number: long names take two lines
            width = max(NAME, options.max_width // 3)
            folded = [replace(r, stage=short_header(r.stage, width)) for r in stages]
            yield _table_of((*heads, "gate"), [[*_progress(r), _word(r)] for r in folded])
            wide = tuple(short_header(name, APART) for name in names)
            for table in _score_tables(wide, folded, console, options):
                yield Text("")
                yield table
        for row in stages:
            if place != 0 and row.gate not in QUIET:  # the widest form, 0, says all
                yield Text(f"gate after {row.stage}: {row.gate}")
        for tracker, why in self.found.untold.items():
            yield Text(f"{tracker}: {why}; `cascade track` sends the rest")


def _score_tables(
    heads: Sequence[str], rows: Sequence[StageStatus], console: Console, options: ConsoleOptions
) -> Iterator[Table]:
    """The scores, as many benchmarks in a table as fit beside the stage's name, but at least one."""
    begin = 0
    while begin < len(heads):
        for end in range(len(heads), begin, -1):
            cells = [[row.stage, *_shares(row)[begin:end]] for row in rows]
            table = _table_of(("stage", *heads[begin:end]), cells)
            if _fits(table, console, options) or end == begin + 1:
                yield table
                begin = end
                break


def speed_table(run: Run) -> Table:
    """Where the time of a run went, and how near rollout and update came to the limit, where it is known."""
    rows, told = speed_rows(run), has_figures(run)
    caption = "percent of the time"
    if told:
        caption += (
            "; tokens/s sampled and trained; percent of the peak: MFU of updates, MBU of decoding; limit: "
            f"the least time by the cost model over the time taken, in percent.\n{machine_line(run)}"
        )
    table = _plain_table("where the time went", caption)
    table.add_column("stage", overflow="fold", max_width=NAME)
    for name in (*TIMES, *(SPEED if told else ())):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*(row if told else row[: 1 + len(TIMES)]))
    return table
