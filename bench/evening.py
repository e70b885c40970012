"""Write docs/evening.md's figures from the runs of it: `python bench/evening.py RUN [RUN OF ANOTHER SEED]`.

Everything between `<!-- evening:NAME -->` and `<!-- /evening -->` is made here, from the files of run directories
alone, or from what `bench/evening_keep.py` kept of them; what stands between the parts stays as it is. The same runs
give the same bytes. A run that is named and not there leaves its parts as they are, and that is said. A run in progress
is told as far as it has come.

    python bench/evening.py runs/smollm2-evening runs/evening-1 --ablation runs/evening-no-rlhf
    python bench/evening.py runs/smollm2-evening --readme "Try it"     # README's matrix, at that section's end
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent))

from evening_answers import answers_part
from evening_keep import unpacked
from evening_pictures import MOST_BYTES, pictures
from evening_runs import Told, read_told
from evening_tables import PARTS, ablation_part, short_part
from evening_time import time_part

from cascade_rl.errors import InputError
from cascade_rl.run.files import write_text

ROOT = Path(__file__).parent.parent
END = "<!-- /evening -->"
TITLE = "What one evening does"


def begin(name: str) -> str:
    """The line before a part."""
    return f"<!-- evening:{name} -->"


def names(page: str) -> list[str]:
    """The parts that a page has room for, in order."""
    return re.findall(r"^<!-- evening:([a-z-]+) -->$", page, re.MULTILINE)


def filled(page: str, name: str, content: str) -> str:
    """The page with a part made anew; InputError unless its two lines stand there once, in order."""
    opening = begin(name)
    found = re.findall(rf"^{re.escape(opening)}\n(.*?)^{re.escape(END)}$", page, re.MULTILINE | re.DOTALL)
    if len(found) != 1 or "<!-- evening:" in found[0]:
        raise InputError(
            f"the lines {opening} and {END} after it must stand in the page once, each alone on its line"
        )
    return page.replace(f"{opening}\n{found[0]}{END}", f"{opening}\n{content.strip()}\n{END}", 1)


def inserted(page: str, name: str, heading: str) -> str:
    """The page with room for a part at the end of a section, before the next heading of its level or a higher one."""
    headings = [(match.start(), len(match[1]), match[2].strip()) for match in _headings(page)]
    place = next((i for i, (_, _, title) in enumerate(headings) if title == heading), None)
    if place is None:
        raise InputError(f"no heading {heading!r}; there are: {', '.join(title for _, _, title in headings)}")
    level = headings[place][1]
    after = next((at for at, other, _ in headings[place + 1 :] if other <= level), len(page))
    return f"{page[:after].rstrip()}\n\n{begin(name)}\n{END}\n\n{page[after:]}".rstrip() + "\n"


def _headings(page: str) -> Iterator[re.Match[str]]:
    """Lines that are headings, none of a fenced block's."""
    fences = [(m.start(), m.end()) for m in re.finditer(r"^(`{3,}).*?^\1$", page, re.MULTILINE | re.DOTALL)]
    for match in re.finditer(r"^(#+) +(.+)$", page, re.MULTILINE):
        if not any(start <= match.start() < end for start, end in fences):
            yield match


def picture_part(runs: Sequence[Told], folder: Path) -> tuple[str, dict[Path, str]]:
    """The markdown of the pictures, and the files by path; InputError where one is too large to be kept."""
    made = pictures(runs)
    for name, _, svg in made:
        if len(svg.encode()) > MOST_BYTES:
            raise InputError(
                f"{name} has {len(svg.encode()):,} bytes, {MOST_BYTES:,} are allowed: fewer panels or points"
            )
    words = "\n\n".join(f"![{what}]({folder.name}/{name})\n\n{what}." for name, what, _ in made)
    return words, {folder / name: svg for name, _, svg in made}


def read_all(folders: Sequence[Path]) -> tuple[list[Told], list[str]]:
    """The runs that are there, and what is wrong with the others."""
    runs, faults = [], []
    for folder in folders:
        try:
            runs.append(read_told(folder))
        except (InputError, FileNotFoundError) as error:
            faults.append(str(error))
    return runs, faults


def makers(runs: Sequence[Told], others: Sequence[Told], whole: bool) -> Mapping[str, Callable[[], str]]:
    """What can be made of the runs at hand, by the name of the part; without `whole` a run of another seed is missing."""
    found: dict[str, Callable[[], str]] = {}
    if runs and runs[0].matrix.rows:
        found |= {"answers": lambda: answers_part(runs), "style": lambda: PARTS["style"](runs)}
        if whole:
            found |= {name: (lambda part=part: part(runs)) for name, part in PARTS.items() if name != "style"}
            found["time"] = lambda: time_part(runs)
        if others and all(other.matrix.rows for other in others):
            found["ablation"] = lambda: ablation_part(runs[0], others)
    return found


def write_page(path: Path, made: Mapping[str, Callable[[], str]], say: Callable[[str], None]) -> None:
    """Fill the parts of a page that are at hand; the others stay and are named."""
    page = path.read_text(encoding="utf-8")
    for name in names(page):
        if name in made:
            page = filled(page, name, made[name]())
        else:
            say(f"{path.name}: the part `{name}` stays as it is: its runs are not all there")
    write_text(path, page)


def publish(
    folders: Sequence[Path],
    ablations: Sequence[Path],
    docs: Path,
    readme: str | None,
    say: Callable[[str], None],
) -> None:
    """Make every part of docs/evening.md that the runs allow, its pictures, and README's matrix."""
    runs, faults = read_all(folders)
    others, more = read_all(ablations)
    for fault in (*faults, *more):
        say(fault)
    first = bool(runs) and runs[0].folder == folders[0]
    told = runs if first else []
    made = dict(makers(told, [] if more else others, whole=not faults))
    files: dict[Path, str] = {}
    if told and not faults:
        words, files = picture_part(told, docs / "pictures")
        made["pictures"] = lambda: words
    write_page(docs / "evening.md", made, say)
    for path, svg in files.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, svg)
    front = docs.parent / "README.md"
    page = front.read_text(encoding="utf-8")
    if readme and "matrix" not in names(page):
        write_text(front, inserted(page, "matrix", readme))
    short = {"matrix": lambda: short_part(told, TITLE)} if told and told[0].matrix.rows else {}
    write_page(front, short, say)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="+", type=Path, help="the run, and runs of it with other seeds")
    parser.add_argument(
        "--ablation", type=Path, nargs="+", default=[], help="runs that differ in a stage or a setting"
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="the folder of evening.md; README.md is beside it"
    )
    parser.add_argument(
        "--readme", metavar="HEADING", help="give README's matrix a place at the end of this section"
    )
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        try:
            runs = [unpacked(run, Path(folder)) for run in asked.runs]
            ablations = [unpacked(run, Path(folder)) for run in asked.ablation]
            publish(runs, ablations, asked.docs, asked.readme, print)
        except InputError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
