"""Keep of a run what its published figures are made of, as one file: `python bench/evening_keep.py RUN FILE.tar.xz`.

Left out are weights, states, tokenizers and replies but for those few that scorecards show: `bench/evening.py` reads such a
file as it reads the run, and writes the same. The same run gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from evening_answers import quoted

from cascade_rl.errors import InputError
from cascade_rl.report.read import require_run
from cascade_rl.run.tracking.events import recipe_of

SUFFIX = ".tar.xz"
MOST_BYTES = 2 << 20  # a repository is cloned by everybody
ANSWERS = ".answers.jsonl"
TEXTS = (".json", ".jsonl", ".yaml")
# replies are megabytes, and the vocabulary is the model's
LEFT = ("rollouts.jsonl", "replies.jsonl", "samples.jsonl", "tokenizer.json")


def kept(run: Path) -> Iterator[Path]:
    """The files of a run that its figures are made of, in a fixed order."""
    for path in sorted(run.rglob("*")):
        aside = any(".old-" in part for part in path.relative_to(run).parts)  # of a recipe before this one
        if path.is_file() and path.suffix in TEXTS and path.name not in LEFT and not aside:
            yield path


def _content(path: Path, recipe: Mapping[str, Any]) -> bytes:
    """A file as it is; of replies to prompts that others may not use commercially only how each prompt begins."""
    content = path.read_bytes()
    if not path.name.endswith(ANSWERS):
        return content
    lines = []
    for line in content.decode().splitlines():
        answer = json.loads(line)
        short = quoted(recipe, path.name.removesuffix(ANSWERS), answer["prompt"])
        lines.append(line if short == answer["prompt"] else json.dumps(answer | {"prompt": short}))
    return "".join(f"{line}\n" for line in lines).encode()


def keep(run: Path, target: Path) -> int:
    """Write the file, and say how many bytes it has; InputError where there is no run, or it is too large."""
    require_run(run)
    if not target.name.endswith(SUFFIX):
        raise InputError(f"{target}: a name that ends with {SUFFIX} is needed")
    recipe = recipe_of(run)
    with tarfile.open(target, "w:xz") as archive:
        for path in kept(run):
            content = _content(path, recipe)
            info = tarfile.TarInfo(path.relative_to(run).as_posix())  # no times, no owner: they differ
            info.size = len(content)
            archive.addfile(info, BytesIO(content))
    size = target.stat().st_size
    if size > MOST_BYTES:
        target.unlink()
        raise InputError(f"{target} has {size:,} bytes, {MOST_BYTES:,} are allowed")
    return size


def unpacked(path: Path, folder: Path) -> Path:
    """The run that lies in such a file, written under a folder; any other path as it is. InputError for a broken file."""
    if not path.name.endswith(SUFFIX) or not path.is_file():
        return path
    # files of two folders may have one name
    run = Path(mkdtemp(dir=folder)) / path.name.removesuffix(SUFFIX)
    try:
        with tarfile.open(path, "r:xz") as archive:
            archive.extractall(run, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise InputError(f"{path}: no whole file of a run ({error})") from None
    return run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    try:
        print(f"{asked.target}: {keep(asked.run, asked.target):,} bytes")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
