"""Curves of runs as SVG files that stand alone: light and dark by the reader's own setting, no script, no font."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from evening_runs import Told

from cascade_rl.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    Chart,
    Scale,
    Series,
    line_chart,
    nice_ticks,
    path,
    short,
)
from cascade_rl.report.curves import (
    ACCURACY,
    ENTROPY,
    LENGTH,
    REWARD,
    REWARD_MODEL,
    RM_LOSS,
    SFT,
    SFT_LOSS,
    Curve,
    kind,
    lines,
)
from cascade_rl.report.markup import esc
from cascade_rl.report.records import Stage
from cascade_rl.report.style import CSS
from cascade_rl.scores.matrix import Row
from cascade_rl.types import Score

MOST_BYTES = 60_000
ACROSS, GAP, HEAD = 3, 14, 26  # panels beside each other; units between them, and above each for its title
FOOT = 30  # for the legend
LABELS = 32  # below a panel whose x axis names stages
SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif'


def _colours(block: str) -> dict[str, str]:
    """The page's own colours: name to value, of a block of its style sheet."""
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", block))


LIGHT, DARK = (_colours(part) for part in CSS.split("@media (prefers-color-scheme: dark)", 1))


def _rules(colours: dict[str, str]) -> str:
    ink, quiet, faint = colours["ink"], colours["quiet"], colours["faint"]
    series = "".join(f".c{i}{{color:{colours[f'c{i}']}}}" for i in range(8))
    return (
        f".ground{{fill:{colours['ground']}}}text{{fill:{quiet}}}text.title{{fill:{ink}}}.grid{{stroke:{faint}}}"
        f".axis,.notch{{stroke:{quiet}}}.phase line{{stroke:{quiet}}}.mark path{{fill:{colours['mark']}}}{series}"
    )


# literal colours and not the page's variables: programs that draw SVG outside of a browser know none
STYLE = (
    f"text{{font-family:{SANS};font-size:12.5px}}text.title{{font-size:15px;font-weight:600}}"
    ".series path,.key{fill:none;stroke:currentColor;stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}"
    ".series path.raw{stroke-width:1;opacity:.32}.series .band{fill:currentColor;opacity:.14}.series circle{fill:currentColor}"
    ".series circle.own{fill:none;stroke:currentColor;stroke-width:1.6}.c1 .line,.key.c1{stroke-dasharray:6 4}"
    ".c2 .line,.key.c2{stroke-dasharray:2 4}.whisker{stroke:currentColor;stroke-width:1.3;opacity:.55}"
    ".phase line{stroke-dasharray:3 3;opacity:.65}"
    f"{_rules(LIGHT)}@media (prefers-color-scheme:dark){{{_rules(DARK)}}}"
)


def _placed(svg: str, x: float, y: float, height: float) -> str:
    """A chart's own element at a place inside of a larger one."""
    return svg.replace("<svg ", f'<svg x="{x:g}" y="{y:g}" width="{WIDTH}" height="{height:g}" ', 1)


def picture(
    title: str, panels: Sequence[tuple[str, str]], names: Sequence[str], height: float = HEIGHT
) -> str:
    """Panels, each with its title, in rows; below them which line is which, where there are several."""
    across, row = min(ACROSS, len(panels)), HEAD + height + GAP
    wide = across * WIDTH + (across + 1) * GAP
    legend = len(names) > 1
    tall = math.ceil(len(panels) / across) * row + GAP + (FOOT if legend else 0)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {tall:g}" width="{wide:g}" height="{tall:g}" role="img">',
        f'<title>{esc(title)}</title><style>{STYLE}</style><rect class="ground" width="100%" height="100%" rx="8"/>',
    ]
    for place, (name, svg) in enumerate(panels):
        x, y = GAP + place % across * (WIDTH + GAP), GAP + place // across * row
        out.append(f'<text class="title" x="{x + 4:g}" y="{y + 14:g}">{esc(name)}</text>')
        out.append(_placed(svg, x, y + HEAD, height))
    for place, name in enumerate(names if legend else ()):
        x, y = GAP + 6 + 130 * place, tall - 16
        out.append(
            f'<path class="key c{place}" d="M{x:g} {y:g}h28"/><text x="{x + 36:g}" y="{y + 4:g}">{esc(name)}</text>'
        )
    return "".join([*out, "</svg>\n"])


def _panel(curve: Curve, stages: Sequence[Stage | None], seeds: Sequence[str], held_out: bool = False) -> str:
    """One curve of a stage in every run; empty where no run has it. A run keeps its colour if another lacks the stage."""
    series = []
    for stage, seed in zip(stages, seeds, strict=True):
        steps = (stage.heldout if held_out else stage.steps) if stage else ()
        found = lines(Curve(curve.title, curve.unit, "", curve.lines[:1], curve.share), steps)
        series.append(Series(seed, found[0].points) if found else Series(seed, ()))
    chart = Chart(curve.title, curve.unit, tuple(series), (), (), curve.floor, curve.ceiling)
    return line_chart(chart, columns=False) if any(one.points for one in series) else ""


def _named(told: Told, name: str) -> Stage | None:
    return next((stage for stage in told.run.stages if stage.name == name), None)


def rl_pictures(runs: Sequence[Told]) -> Iterator[tuple[str, str, str]]:
    """(file's name, what it shows, SVG) of each RL stage: reward, length, entropy."""
    seeds = [told.seed for told in runs]
    for name in dict.fromkeys(stage.name for told in runs for stage in told.rewarded):
        stages = [_named(told, name) for told in runs]
        made = [(f"{curve.title}", _panel(curve, stages, seeds)) for curve in (REWARD, LENGTH, ENTROPY)]
        panels = [(title, svg) for title, svg in made if svg]
        what = f"{name}: mean reward, length and entropy of the sampled replies, by step"
        yield f"evening-{name}.svg", what, picture(what, panels, seeds)


def loss_picture(runs: Sequence[Told]) -> Iterator[tuple[str, str, str]]:
    """Losses of SFT and of the reward model, also on what is held out."""
    seeds, panels = [told.seed for told in runs], []
    curves = {
        SFT: ((SFT_LOSS, False), (SFT_LOSS, True)),
        REWARD_MODEL: ((RM_LOSS, False), (ACCURACY, False), (RM_LOSS, True)),
    }
    for name, which in dict.fromkeys(
        (s.name, kind(s)) for told in runs for s in told.run.stages if s.steps and kind(s) in curves
    ):
        stages = [_named(told, name) for told in runs]
        for curve, held_out in curves[which]:
            if svg := _panel(curve, stages, seeds, held_out):
                panels.append((f"{name}: {'held-out ' * held_out}{curve.title.lower()}", svg))
    if panels:
        what = "Losses of SFT and of the reward model, by step"
        yield "evening-losses.svg", what, picture(what, panels, seeds)


def benchmark_picture(runs: Sequence[Told]) -> Iterator[tuple[str, str, str]]:
    """Each benchmark over the stages, every seed with its intervals."""
    stages = list(dict.fromkeys(stage for told in runs for stage in told.stages))
    names = list(dict.fromkeys(row.name for told in runs for row in told.matrix.rows))
    panels = [(name, _over_stages(stages, [_row(told, name) for told in runs])) for name in names]
    if panels:
        what = "Benchmarks after each stage, with 95 % intervals; ringed: after the stage that trains for it"
        yield (
            "evening-benchmarks.svg",
            what,
            picture(what, panels, [told.seed for told in runs], HEIGHT + LABELS),
        )


def _row(told: Told, name: str) -> Row | None:
    return next((row for row in told.matrix.rows if row.name == name), None)


def _over_stages(stages: Sequence[str], rows: Sequence[Row | None]) -> str:
    scores = [score for row in rows if row for score in row.scores.values()]
    top = max(score.high for score in scores)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if 100 * top / s <= 5)
    scale = Scale(-0.5, max(len(stages) - 0.5, 0.5), 0.0, step * math.ceil(100 * top / step) or step)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT + LABELS}"><text x="4" y="10">% solved</text>']
    for value in nice_ticks(scale.y0, scale.y1):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    for place, stage in enumerate(stages):
        x, y = scale.x(place), BOTTOM + 14
        parts.append(
            f'<text transform="translate({x + 4:.1f} {y}) rotate(-45)" text-anchor="end">{esc(stage)}</text>'
        )
    for colour, row in enumerate(rows):
        # a little apart, so that whiskers of two seeds don't hide each other
        aside = 0.12 * (colour - (len(rows) - 1) / 2)
        parts.append(f'<g class="series c{colour}">{_line(stages, row, scale, aside) if row else ""}</g>')
    return "".join([*parts, "</svg>"])


def _line(stages: Sequence[str], row: Row, scale: Scale, aside: float) -> str:
    spots: list[tuple[float, Score, bool]] = [
        (place + aside, row.scores[stage], stage == row.own_stage)
        for place, stage in enumerate(stages)
        if stage in row.scores
    ]
    out = [f'<path class="line" d="{path([(x, 100 * score.mean) for x, score, _ in spots], scale)}"/>']
    for x, score, own in spots:
        at, low, high, mean = (
            scale.x(x),
            scale.y(100 * score.low),
            scale.y(100 * score.high),
            scale.y(100 * score.mean),
        )
        out.append(f'<line class="whisker" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
        out.append(f'<circle cx="{at:.1f}" cy="{mean:.1f}" r="2.4"/>')
        out.append(f'<circle class="own" cx="{at:.1f}" cy="{mean:.1f}" r="5.5"/>' if own else "")
    return "".join(out)


def pictures(runs: Sequence[Told]) -> list[tuple[str, str, str]]:
    """All of them, the benchmarks first."""
    return [*benchmark_picture(runs), *rl_pictures(runs), *loss_picture(runs)]
