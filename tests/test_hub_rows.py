"""Sets on a hub: pinned, streamed, read again without a network; against a hub that this machine serves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_data_hub import served

from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.types import Split

pytest.importorskip("datasets")

CARD = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*.jsonl}
  - {split: test, path: main/test.jsonl}
- config_name: socratic
  data_files: [{split: train, path: socratic/train.jsonl}]
---
"""


def lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def sums(start: int, count: int, more: int = 0):
    return [
        {"question": f"{n} + 1?", "answer": f"so\n#### {n + 1 + more}"} for n in range(start, start + count)
    ]


def files(more: int = 0) -> dict[str, bytes]:
    return {
        "README.md": CARD.encode(),
        "main/train-00001-of-00002.jsonl": lines(sums(3, 3, more)),
        "main/train-00000-of-00002.jsonl": lines(sums(0, 3, more)),
        "main/test.jsonl": lines(sums(100, 2, more)),
        "socratic/train.jsonl": lines(sums(200, 1, more)),
    }


@pytest.fixture(scope="module")
def hub():
    with served() as made:
        made.put("lab/sums", "v1", files())
        made.put("lab/sums", "main", files(more=1))
        made.put("lab/plain", "v1", {"data.csv": b"question,answer\n1 + 1?,#### 2\n"})
        made.put("lab/broken", "v1", {"train.jsonl": lines(sums(0, 2)) + b'{"question": "cut'})
        yield made


# What each source says, a line of JSON each: the answers of its rows and their places, or its one message.
ASK = """
import json, sys
from cascade_rl.domains import load_domain
from cascade_rl.errors import InputError
from cascade_rl.recipe.tables import Reading
from cascade_rl.sources.tables import mapped_rows
for source in sys.argv[1:]:
    try:
        rows = list(mapped_rows(source, load_domain("maths"), Reading(map="gsm8k")))
        said = {"answers": [row.problem and row.problem.answer for row in rows], "places": [r.place for r in rows]}
    except InputError as error:
        said = {"error": str(error)}
    print(json.dumps(said))
"""
FETCH = """
import sys
from huggingface_hub import snapshot_download
for name in sys.argv[1:]:
    repo, _, revision = name.partition("@")
    snapshot_download(repo, repo_type="dataset", revision=revision)
"""
PREPARE = """
import sys, datasets
datasets.load_dataset("lab/sums", "main", revision="v1")
"""


def python(program: str, *words: str, endpoint: str, home: Path, offline: bool = False) -> str:
    """What a program prints, in a process of its own: the libraries read their settings as they are imported."""
    env = os.environ | {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def ask(*sources: str, endpoint: str, home: Path, offline: bool = False):
    printed = python(ASK, *sources, endpoint=endpoint, home=home, offline=offline)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


NOWHERE = "http://127.0.0.1:9"  # a port that nobody listens at


def test_a_split_of_a_revision_is_streamed_in_the_order_of_its_files(hub, tmp_path):
    pinned, tagged, moved, other, plain, *faults = ask(
        f"hub:lab/sums@{hub.find('lab/sums', 'v1')[0]}#main/train",
        "hub:lab/sums@v1#main/test",
        "hub:lab/sums@main#main/train",
        "hub:lab/sums@v1#socratic/train",
        "hub:lab/plain@v1#train",
        "hub:lab/none@v1#train",
        "hub:lab/sums@v9#main/train",
        "hub:lab/sums@v1#train",
        "hub:lab/sums@v1#main/dev",
        "hub:lab/broken@v1#train",
        endpoint=hub.endpoint,
        home=tmp_path,
    )
    assert pinned["answers"] == ["1", "2", "3", "4", "5", "6"]
    assert pinned["places"] == [f"lab/sums#main/train:{n}" for n in range(1, 7)]
    assert tagged["answers"] == ["101", "102"] and other["answers"] == ["201"] and plain["answers"] == ["2"]
    assert moved["answers"] == ["2", "3", "4", "5", "6", "7"], "the revision decides"
    assert not list((tmp_path / "hub").glob("datasets--*/snapshots/*/main/*")), "streamed, not kept"
    # what streaming leaves in the cache, the card, is not taken for the set
    again = f"hub:lab/sums@{hub.find('lab/sums', 'v1')[0]}#main/train"
    assert ask(again, endpoint=hub.endpoint, home=tmp_path) == [pinned]
    [alone] = ask(again, endpoint=NOWHERE, home=tmp_path)
    assert "not whole in the hub's cache" in alone["error"]
    wants = ["no set lab/none", "no revision v9", "main.*socratic", "Bad split: dev", "JSON parse error"]
    for said, want in zip(faults, wants, strict=True):
        assert re.search(want, said["error"]) and "\n" not in said["error"], said


def test_what_is_in_the_cache_needs_no_network(hub, tmp_path):
    home = tmp_path / "home"
    python(FETCH, "lab/sums@v1", endpoint=hub.endpoint, home=home)
    hub.asked.clear()
    commit = hub.find("lab/sums", "v1")[0]
    source = f"hub:lab/sums@{commit}#main/train"
    online, by_tag = ask(source, "hub:lab/sums@v1#main/train", endpoint=hub.endpoint, home=home)
    assert not hub.asked, "a whole revision is not fetched again"
    cached, missing = ask(source, "hub:lab/sums@main#main/train", endpoint=NOWHERE, home=home)
    offline, not_there = ask(
        source, "hub:lab/sums@main#main/train", endpoint=hub.endpoint, home=home, offline=True
    )
    assert online == by_tag == cached == offline and online["answers"][0] == "1" and not hub.asked
    for said in (missing, not_there):
        assert "hf download --repo-type dataset lab/sums --revision main" in said["error"], said
    # a file of the revision that is gone, as after a fetch that was cut off: never a shorter set
    shard = next((home / "hub").glob("datasets--lab--sums/snapshots/*/main/train-00001*"))
    shard.unlink()
    [cut] = ask(source, endpoint=hub.endpoint, home=home, offline=True)
    assert "not whole in the hub's cache" in cut["error"]


def test_a_cache_without_a_list_is_taken_where_no_hub_can_be_asked_and_no_shard_is_missing(hub, tmp_path):
    commit, held = hub.find("lab/sums", "v1")
    folder = tmp_path / "hub" / "datasets--lab--sums"
    for name, body in held.items():
        # as older versions of the hub's client laid it: refs, snapshots and links to blobs
        link, blob = folder / "snapshots" / commit / name, folder / "blobs" / str(abs(hash(name)))
        for path in (link, blob, folder / "refs" / "v1"):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(body)
        link.symlink_to(blob)
    (folder / "refs" / "v1").write_text(commit)
    [said] = ask("hub:lab/sums@v1#main/train", endpoint=hub.endpoint, home=tmp_path, offline=True)
    assert said["answers"] == ["1", "2", "3", "4", "5", "6"]
    (folder / "snapshots" / commit / "main" / "train-00001-of-00002.jsonl").unlink()
    [cut] = ask("hub:lab/sums@v1#main/train", endpoint=NOWHERE, home=tmp_path)
    assert "not whole in the hub's cache" in cut["error"]


def test_rows_that_datasets_prepared_of_another_revision_are_never_taken(hub, tmp_path):
    python(PREPARE, endpoint=hub.endpoint, home=tmp_path)
    moved = hub.find("lab/sums", "main")[0]
    [said] = ask(f"hub:lab/sums@{moved}#main/train", endpoint=NOWHERE, home=tmp_path)
    assert "can't be reached" in said["error"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("hub:lab/sums#train", "give a revision"),
        ("hub:lab/sums@v1", "want hub:ORG/NAME@REVISION#SPLIT"),
        ("hub:lab/sums@v1#", "want hub:"),
        ("hub:a/b/c@v1#train", "want hub:"),
    ],
)
def test_the_form_is_shown(source, why):
    with pytest.raises(InputError, match=re.escape(why)):
        next(load_domain("maths").problems(source, Split.RL, 0))


def test_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install cascade-rl\[hub\]"):
        next(load_domain("maths").problems("hub:lab/sums@v1#train", Split.RL, 0))


RECIPE = """
name: from-a-hub
stages:
  - name: sft
    kind: sft
    steps: 1
    batch_size: 1
    samples: 3
    max_tokens: 500
    data:
      - {source: "hub:lab/chats@v1#train", map: openai-chat}
  - name: rl
    kind: rl
    steps: 1
    prompts_per_step: 2
    max_prompt_tokens: 200
    max_response_tokens: 200
    data:
      - {domain: maths, source: "hub:lab/sums@v1#main/train", map: gsm8k, split: all}
benchmarks:
  - {name: own, domain: maths, source: "hub:lab/sums@v1#main/test", map: gsm8k, split: all, problems: 2,
     max_prompt_tokens: 200, max_response_tokens: 200}
"""
CHECK = """
import sys
from cascade_rl.cli.main import main
sys.argv = ["cascade", "check", *sys.argv[1:]]
main()
"""


def test_a_recipe_draws_conversations_problems_and_benchmarks_from_a_hub(hub, tmp_path):
    asked = {"role": "user", "content": "Hi."}
    thought = {"role": "assistant", "content": "Hello.", "reasoning_content": "well"}
    # turns of one set have the same keys to datasets: what one lacks is null there
    rows = [{"messages": [asked, thought]}, {"messages": [asked, {"role": "assistant", "content": "Hello."}]}]
    hub.put("lab/chats", "v1", {"train.jsonl": lines([*rows, {"messages": [asked, asked, thought]}])})
    (tmp_path / "own.yaml").write_text(RECIPE)
    shown = python(CHECK, str(tmp_path / "own.yaml"), endpoint=hub.endpoint, home=tmp_path / "home")
    told = " ".join(shown.split())
    for line in (
        "sft: hub:lab/chats@v1#train: 3 rows read, 3 mapped, 0 bad",
        "rl: hub:lab/sums@v1#main/train: 6 rows read, 6 mapped",
        "own: hub:lab/sums@v1#main/test: 2 rows read, 2 mapped",
    ):
        assert line in told, told
