"""docs/examples.md, run as it stands: from rows by `cascade init` to a result, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "examples.md").read_text()
SECTIONS = re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)[1:]


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def run(folder: Path, section: str) -> str:
    """Everything that the shell blocks of a section print; a command that fails ends it."""
    python = shlex.quote(sys.executable)
    begin = (
        f'set -euo pipefail; cascade() {{ {python} -m cascade_rl "$@"; }}; python() {{ {python} "$@"; }}\n'
    )
    found = subprocess.run(
        ["bash", "-c", begin + "".join(blocks(section, "sh"))],
        cwd=folder,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    return found.stdout


def scores(folder: Path, name: str, benchmark: str) -> dict[str, float]:
    """The means of a benchmark after each stage."""
    found = json.loads((folder / "runs" / name / "matrix.json").read_text())["benchmarks"][benchmark]
    return {stage: score["mean"] for stage, score in found["scores"].items()}


@pytest.mark.slow
def test_chats_with_a_tool_in_both_modes(folder):
    said = run(folder, SECTIONS[0])
    losses = [float(x) for x in re.findall(r"held out, after \d+ steps: loss ([\d.e-]+)", said)]
    assert losses[-1] < 0.05 < losses[0]
    (code,), (printed,) = blocks(SECTIONS[0], "python"), blocks(SECTIONS[0], "text")
    asked = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert asked.stdout == printed, asked.stderr


@pytest.mark.slow
def test_maths_rl_with_an_own_model_and_its_own_template(folder):
    run(folder, SECTIONS[1])
    solved = scores(folder, "sums", "maths")
    # two thirds of what it imitated is right
    assert 0.4 < solved["sft"] < 0.85 and solved["maths-rl"] > solved["sft"] + 0.1
    exported = folder / "runs/sums/stages/02-maths-rl/checkpoint"
    theirs = (folder / "own-model" / "chat_template.jinja").read_text()
    assert (exported / "chat_template.jinja").read_text() == theirs


@pytest.mark.slow
def test_own_pairs_and_how_often_the_policy_wins(folder):
    run(folder, SECTIONS[2])
    won = scores(folder, "taste", "wins")
    assert won["rlhf"] > won["reward-model"] + 0.2
    # by another judge than the reward model: the words that only the rejected answers have
    replies = [json.loads(line) for line in (folder / "runs/taste/stages/02-rlhf/rollouts.jsonl").open()]
    texts = [text for entry in replies for text in re.findall(r'"text": "(.*?)"', json.dumps(entry))]
    rude = [any(word in text for word in ("Not again", "Who cares", "Look it up")) for text in texts]
    share = len(rude) // 4
    assert sum(rude[-share:]) < 0.3 * sum(rude[:share])
