"""SFT on more rows than memory should hold: rows a second through the pass, and what each process takes at most.

    python bench/rows.py FOLDER [ROWS [SAMPLES]]   5,000,000 rows of 1 KB by default: 5 GB of JSONL, as much again
                                                   in the run directory, and 2 GB of tokens while it trains

All rows are read and mapped; SAMPLES of them are made tokens, all if it is not given. FOLDER must be empty; it is
left with the rows, the recipe, what the screen showed and the run. Three steps of the smallest model are run by the
command line in a process of its own. The peak of each process is its VmHWM (Linux), looked at four times a second;
how long each part took stands in the run's timings and on its screen.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

FILES = 10
WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
you were her all she there would their we him been has when who will more no if out so said what up its about into than
them can only other new some could time these two may then do first any my now such like our over man me even most made
after also did many before must through
""".split()  # noqa: SIM905
SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 1024,
}  # fmt: skip


def row(number: int) -> str:
    """A conversation of about 1,000 bytes."""
    rng = random.Random(number)
    asked, said = (" ".join(rng.choices(WORDS, k=count)) for count in (70, 130))
    turns = [{"role": "user", "content": f"{number}: {asked}?"}, {"role": "assistant", "content": f"{said}."}]
    return json.dumps({"messages": turns}) + "\n"


def make_rows(folder: Path, count: int) -> None:
    """The rows, in files of the same size."""
    folder.mkdir(parents=True)
    for part in range(FILES):
        with (folder / f"part-{part}.jsonl").open("w") as file:
            file.writelines(map(row, range(part * count // FILES, (part + 1) * count // FILES)))


def recipe(folder: Path, samples: int) -> dict[str, object]:
    """Three steps of SFT on all rows, and a benchmark of two problems."""
    source = {"source": f"jsonl:{folder}/rows/*.jsonl", "map": "openai-chat"}
    steps = {"samples": samples, "batch_size": 64, "steps": 3, "lr": 1e-3, "max_tokens": 1024}
    maths = {"name": "maths", "domain": "maths", "problems": 2, "k": 1, "both_modes": False}
    return {
        "name": "rows",
        "workers": 1,
        "precision": "fp32",
        "model": {"architecture": SHAPE, "tokenizer": {"vocab_size": 2000, "samples": 2000}},
        "stages": [{"name": "sft", "kind": "sft", "data": [source]} | steps],
        "benchmarks": [maths | {"max_response_tokens": 4}],
    }


def peaks(root: int) -> dict[int, tuple[str, int]]:
    """Name and largest resident size in bytes of a process and its descendants."""
    found, waiting = {}, [root]
    while waiting:
        pid = waiting.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
        size = re.search(r"VmHWM:\s+(\d+) kB", status)
        found[pid] = (status.split()[1], 1024 * int(size[1]) if size else 0)
    return found


def main(folder: Path, count: int, samples: int) -> None:
    """Make the rows unless they are there, run, and print what was seen."""
    if not (folder / "rows").exists():
        begin = time.perf_counter()
        make_rows(folder / "rows", count)
        print(f"{count} rows written in {time.perf_counter() - begin:.0f} s", flush=True)
    size = sum(path.stat().st_size for path in (folder / "rows").iterdir())
    (folder / "rows.yaml").write_text(yaml.safe_dump(recipe(folder, samples)))
    begin, largest = time.perf_counter(), {}
    program = [sys.executable, "-m", "cascade_rl.cli", "run", str(folder / "rows.yaml")]
    with (folder / "screen.txt").open("w") as screen:
        run = subprocess.Popen([*program, "--out", str(folder / "run")], stdout=screen)
        while run.poll() is None:
            for pid, (name, peak) in peaks(run.pid).items():
                largest[pid] = (name, max(peak, largest.get(pid, ("", 0))[1]))
            time.sleep(0.25)
    print(
        f"{size / 1e9:.2f} GB, {count} rows, {samples} samples: {time.perf_counter() - begin:.0f} s, exit status {run.returncode}"
    )
    for pid, (name, peak) in sorted(largest.items(), key=lambda item: -item[1][1]):
        print(f"  {name} {'(driver)' if pid == run.pid else ''}: at most {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]] or [5_000_000]
    main(Path(sys.argv[1]).absolute(), numbers[0], numbers[-1])
