"""Own rows in a run that is killed: in the middle of reading them, of tokenising, of training; it ends the same."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml
from run_files import results
from small_run import SHAPE
from test_resume import cascade

CHATS, PAIRS = 40, 48


@pytest.fixture
def recipe(tmp_path) -> str:
    def turns(n):
        return [
            {"role": "user", "content": f"Ask {n}."},
            {"role": "assistant", "content": f"Say {n}."},
        ]

    write(tmp_path / "chats.jsonl", [{"messages": turns(n)} for n in range(CHATS)])
    write(
        tmp_path / "pairs.jsonl",
        [{"prompt": f"Rate {n}.", "chosen": f"Yes {n}", "rejected": "No"} for n in range(PAIRS)],
    )
    common = {"batch_size": 8, "steps": 6, "lr": 1e-3, "save_every": 2}
    raw = {
        "name": "rows", "workers": 1, "precision": "fp32",
        "model": {"architecture": SHAPE, "tokenizer": {"vocab_size": 300, "samples": 30}},
        "stages": [
            {"name": "sft", "kind": "sft", "samples": CHATS, "max_tokens": 60,
             "data": [{"source": f"jsonl:{tmp_path}/chats.jsonl", "map": "openai-chat"}], **common},
            {"name": "rm", "kind": "reward_model", "source": f"jsonl:{tmp_path}/pairs.jsonl", "map": "trl-preference",
             "pairs": PAIRS, "heldout_pairs": 8, **common},
        ],
        "benchmarks": [{"name": "maths", "domain": "maths", "problems": 2, "k": 1, "both_modes": False,
                        "max_response_tokens": 4}],
    }  # fmt: skip
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(raw))
    return str(tmp_path / "rows.yaml")


def write(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def whole(folder: Path) -> list[str]:
    """The stores that are there under their names."""
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def test_killed_while_rows_are_read_or_tokenised_or_trained_on_it_ends_the_same(recipe, tmp_path):
    run, tokens = tmp_path / "run", tmp_path / "run/stages/01-sft/tokens"

    def kill(where: str, count: int) -> None:
        died = cascade("run", recipe, "--out", str(run), kill=(where, count))
        assert died.returncode == -signal.SIGKILL, f"{died.stdout}\n{died.stderr}"

    kill("record", CHATS // 2)
    assert whole(run / "data") == [], "half of the rows are not taken for all"
    kill("store", 1)
    assert whole(run / "data") == [], "nor is all of them before it has its name"
    kill("record", CHATS + PAIRS // 2)
    assert len(whole(run / "data")) == 1
    # the table of chats is found, that of pairs is read: its records, and then half of the tokens
    kill("record", PAIRS + CHATS // 2)
    stores = {path.name: (path / "store.json").read_bytes() for path in (run / "data").iterdir()}
    assert len(stores) == 2 and not tokens.exists()
    kill("update", 3)
    kept = (tokens / "store.json").read_bytes()
    kill("saving", 1)
    assert (tokens / "store.json").read_bytes() == kept
    assert {path.name: (path / "store.json").read_bytes() for path in (run / "data").iterdir()} == stores
    kill("pair", 2)
    assert not tokens.exists(), "what is trained needs its tokens no longer"
    for folder in (run, tmp_path / "whole"):
        done = cascade("run", recipe, "--out", str(folder))
        assert done.returncode == 0, done.stderr
    expected, found = results(tmp_path / "whole"), results(run)
    assert set(found) == set(expected) and len(expected) >= 10
    assert [name for name in expected if found[name] != expected[name]] == []
    assert not list(run.glob("stages/*/tokens")) and not list(run.glob("data/.*"))
