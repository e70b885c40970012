"""A whole run with SFT and RL on verl, killed wherever it can be: it ends as one that nothing happened to.

verl is `fake_verl_run.py`; all else is what `cascade run` does, the proof of the export included, which runs in
this process to load torch once.
"""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_verl_run
import pytest
import small_run
import torch
from safetensors.torch import load_file

from cascade_rl.backends.verl import export, launch
from cascade_rl.backends.verl.job import Command
from cascade_rl.cascade import stage as stage_module
from cascade_rl.cascade import verl_job
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.shelf import Shelf
from cascade_rl.recipe import RLStage
from cascade_rl.report.status import run_status
from cascade_rl.run.book import Book
from cascade_rl.run.journal import read_lines
from cascade_rl.run.ledger import Ledger
from cascade_rl.run.rollouts import read_groups
from cascade_rl.testing import QuietScreen
from cascade_rl.train.pool import PromptPool

COMMAND = Command((sys.executable, fake_verl_run.__file__))
PACE = launch.Pace(poll_s=0.01, grace_s=0.3, quiet_s=60.0)
RECIPE: dict[str, Any] = {
    **{key: small_run.RECIPE[key] for key in ("precision", "smoke", "model")},
    "name": "on-verl", "engine": "verl", "verl": {"gpus_per_node": 1},
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 16, "batch_size": 4, "steps": 2, "lr": 1e-3, "save_every": 1,
         "data": [{"domain": "alignment"}]},
        # two sub-stages, and an epoch of five prompts that ends within them: jobs of 2, 1, 2 and 1 steps or the like
        {"name": "math", "kind": "rl", "steps": 6, "lr": 1e-3, "prompts_per_step": fake_verl_run.PROMPTS,
         "rollouts_per_prompt": fake_verl_run.REPLIES, "max_prompt_tokens": 400, "save_every": 1,
         "data": [{"domain": "maths", "problems": 5}], "filter": {"kind": "epoch"},
         "curriculum": [{"share": 0.5, "max_response_tokens": 8}, {"share": 0.5, "max_response_tokens": 12}]},
    ],
    "benchmarks": [{"name": "alignment", "domain": "alignment", "problems": 2, "k": 1, "both_modes": False,
                    "max_prompt_tokens": 400, "max_response_tokens": 4}],
    "preflight": {"problems": 2, "max_bad": 0.5},
}  # fmt: skip


class Killed(BaseException):
    """Nothing of ours catches it."""


@pytest.fixture
def verl(tmp_path, monkeypatch) -> Callable[..., None]:
    """Sets the faults of the next starts of the fake."""
    faults = tmp_path / "faults.json"
    monkeypatch.setenv("CASCADE_FAKE_FAULTS", str(faults))
    monkeypatch.setattr(launch, "Pace", lambda: PACE)
    monkeypatch.setattr(export, "_run", proved_here)

    def told(rows: dict[str, dict]) -> None:
        faults.write_text(json.dumps(rows))

    told({})
    return told


def proved_here(job, command, words: list[str], log: str) -> None:
    """The proof of an export in this process, on the shards that FSDP would have written."""
    request = json.loads(Path(words[1]).read_text())
    weights = Path(request["weights"])
    state = load_file(weights / "huggingface" / "model.safetensors")
    # FSDP keeps the head as a key of its own, tied or not
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    torch.save(state, weights / "model_world_size_1_rank_0.pt")
    before, sys.argv = sys.argv, words
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv = before


def go(folder: Path, monkeypatch, recipe: dict = RECIPE, **options: Any) -> list[str]:
    """A run to its end; what the screen was told."""
    screen = QuietScreen()
    original = verl_job.compiled

    def compiled(task, place, tokenizer):
        monkeypatch.setenv("CASCADE_FAKE_CONFIG", (task.policy / "config.json").read_text())
        return original(task, place, tokenizer)

    with monkeypatch.context() as patch:
        patch.setattr(verl_job, "compiled", compiled)
        run_cascade(check_recipe(recipe), folder, screen, verl=COMMAND, **options)
    return screen.notes


def ledger(folder: Path) -> list[dict]:
    """What is done, without the time that it took."""
    return [{k: v for k, v in e.to_json().items() if k != "seconds"} for e in Ledger(folder).entries]


def journals(folder: Path) -> dict[str, list[dict]]:
    """Every line but the remarks, which tell of what happened on the way."""
    paths = [*folder.glob("stages/*/journal.jsonl"), *folder.glob("stages/*/rollouts.jsonl")]
    return {
        str(path.relative_to(folder)): [line for line in read_lines(path) if line.get("kind") != "note"]
        for path in paths
    }


def every_step_once(folder: Path) -> bool:
    """In journals and timings, whose last line is the evaluation's."""
    stages = folder / "stages"
    return all(
        [line["step"] for line in read_lines(stages / name / "journal.jsonl") if line["kind"] == "step"]
        == [line["step"] for line in read_lines(stages / name / "timings.jsonl")][:count]
        == list(range(count))
        for name, count in (("01-sft", 2), ("02-math", 6))
    )


def test_a_run_that_is_killed_everywhere_ends_as_one_that_is_not(tmp_path, monkeypatch, verl):
    whole = tmp_path / "whole"
    go(whole, monkeypatch)
    assert [entry["stage"] for entry in ledger(whole)] == ["sft", "math"]
    assert every_step_once(whole)
    asks_what_our_own_engine_asks(whole)
    links = json.loads((whole / "stages" / "02-math" / "stage.json").read_text())["verl"]["jobs"]
    assert len(links) > 2 and [link["steps"][0] for link in links[1:]] == [
        link["steps"][1] for link in links[:-1]
    ]
    assert len({link["weights"] for link in links}) == len(links)
    # what goes on goes on from the exports: no optimiser of any rank is left
    assert not list(whole.glob("stages/*/verl/*/checkpoints"))

    verl({"02-math/01/1": {"dies_at": 2}})
    folder = tmp_path / "killed"
    for place, name, when in KILLS:
        with monkeypatch.context() as patch:
            killing(patch, place, name, when)
            with pytest.raises(Killed):
                go(folder, monkeypatch)
        if (place, name, when) == MOVED_AFTER:
            folder = folder.rename(tmp_path / "elsewhere")
    # a job that is gone is made anew with all after it: none of their steps may stand twice, or be lost
    shutil.rmtree(folder / "stages" / "02-math" / "verl" / "01")
    go(folder, monkeypatch)
    assert ledger(folder) == ledger(whole)
    assert journals(folder) == journals(whole)
    assert every_step_once(folder)
    assert not list(folder.glob("stages/*/verl/*/checkpoints"))
    assert run_status(folder)
    before = ledger(folder)
    assert any("done: kept" in note for note in go(folder, monkeypatch)) and ledger(folder) == before


# (module, its function, before or after): the driver is killed there, at the first call. In this order each run
# comes further than the one before.
KILLS = [
    (verl_job, "compiled", "without its manifest"),
    (verl_job, "export_job", "before"),
    (Ledger, "add", "before"),
    (Book, "_write", 4),
    (verl_job, "export_job", "after"),
    (verl_job, "compiled", "after"),
    (stage_module, "export", "before"),
]


MOVED_AFTER = (verl_job, "compiled", "after")


def killing(patch, place: Any, name: str, when: str | int) -> None:
    """Let a function end the process, as SIGKILL would: before or after its work, or at its n-th call."""
    original, calls = getattr(place, name), []

    def instead(*args: Any, **keys: Any) -> Any:
        calls.append(1)
        if isinstance(when, int) and len(calls) < when:
            return original(*args, **keys)
        if when in ("after", "without its manifest"):
            made = original(*args, **keys)
            if when != "after":
                made.manifest.unlink()
        raise Killed

    patch.setattr(place, name, instead)


def asks_what_our_own_engine_asks(folder: Path) -> None:
    """The prompts of each step are those that the pool gives to whoever tells it how the ones before fared."""
    recipe = check_recipe(RECIPE)
    stage = recipe.stages[1]
    assert isinstance(stage, RLStage)
    data = gather(recipe, provide, Shelf(folder / "data", lambda text: None)).data["math"]
    pool = PromptPool(stage, data.pools(), recipe.seed)
    path = folder / "stages" / "02-math" / "rollouts.jsonl"
    groups = list(read_groups(read_lines(path), str(path)))
    dropped = 0
    for step in range(stage.steps):
        own = [group for number, group in groups if number == step]
        assert [g.problem.id for g in own] == [p.id for p in pool.draw(stage.prompts_per_step)], step
        pool.record(own)
        dropped += sum(len(source.order) < 5 for source in pool.sources)
    assert dropped, "the epoch filter left nothing out: it was not tried"
