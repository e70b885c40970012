"""SFT on the policy's own replies: which of them is imitated, what is trained on, and what a resume finds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_run import RECIPE, go

from cascade_rl.chat import THINK_END, THINK_START
from cascade_rl.data.abilities import check_recipe
from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import RecipeError, StageError
from cascade_rl.recipe import OwnReplies
from cascade_rl.testing import QuietScreen
from cascade_rl.train.own_replies import FILE, answered
from cascade_rl.train.stage_run import StageRun
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Problem, Rollout, Stop, Verdict


def problem(number: int) -> Problem:
    return Problem(f"p{number}", "alignment", (Message("user", f"ask {number}"),), {"topic": "rivers"})


class Scripted:
    """A sampler whose replies are written beforehand, by the problem's id."""

    def __init__(self, replies: dict[str, list[tuple[str, Stop]]]) -> None:
        self.replies, self.asked, self.calls = replies, [], []

    def sample(self, problems, sampling, finished=None):
        self.asked += problems
        self.calls.append(sampling)
        groups = [tuple(Rollout.of_text(*one, tokens=3) for one in self.replies[p.id]) for p in problems]
        for index, group in enumerate(groups):
            finished(index, group)
        return groups


def stage_run(
    folder: Path, sampler: Scripted, own: OwnReplies, key: str = "k", positions: int = 64
) -> StageRun:
    """A stage's surroundings whose domain gives as many marks as a reply has exclamation marks."""

    async def score(problem, rollout, services):
        marks = rollout.text.count("!")
        if "null" in rollout.text:
            return Verdict.failed("can't be judged")
        return Verdict(
            1.0 if marks >= 2 else 0.0, "right" if marks >= 2 else "wrong", {"marks": float(marks)}
        )

    domain: Domain = replace(
        load_domain("alignment"), score=score, thought=lambda problem: f"about {problem.id}"
    )
    tokenizer = SimpleNamespace(prompt=lambda problem: problem.prompt_text.split())
    world = SimpleNamespace(
        sampler=sampler,
        services=Services(),
        tokenizer=tokenizer,
        config=SimpleNamespace(max_positions=positions),
    )
    stage = SimpleNamespace(name="sft", own_replies=own)
    book = SimpleNamespace(folder=folder)
    return StageRun(stage, world, book, {"alignment": domain}, QuietScreen(), seed=7, key=key)


END, CUT = Stop.END, Stop.LENGTH
REPLIES = {
    "p0": [("plain", END), ("one!", END), ("two!!", END), ("two again!!", END)],
    "p1": [("three!!! but cut", CUT), ("one!", END), ("none", END), ("none", END)],
    "p2": [("null!!", END), ("", END), ("  ", END), ("cut", CUT)],
    "p3": [(f"{THINK_START}\nI think!!\n{THINK_END}\n\nyes!!", END), ("late", END), ("later!!", END), ("x", CUT)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("right", {"p0": "two!!", "p3": "later!!"}),
        ("best", {"p0": "two!!", "p1": "one!", "p3": "later!!"}),
        ("first", {"p0": "plain", "p1": "one!", "p2": "null!!", "p3": "late"}),
    ],
)
def test_which_reply_is_imitated(tmp_path, keep, kept):
    """Never one that was cut off, is empty, has a thought of its own, or whose verdict is null."""
    sampler = Scripted(REPLIES)
    taught = Demonstration(problem(9), "a teacher's")
    items = (taught, *(Demonstration(problem(i).in_mode(m), "") for i in range(4) for m in Mode))
    run = stage_run(tmp_path, sampler, OwnReplies(keep=keep, max_tokens=32))
    data, lines = answered(run, Demonstrations(items))
    assert [p.mode for p in sampler.asked] == [Mode.INSTRUCT] * 4  # each prompt once, whatever its modes
    [sampling] = sampler.calls
    assert (sampling.n, sampling.max_new_tokens, sampling.rule.temperature, sampling.rule.top_p) == (
        4,
        32,
        0.6,
        0.95,
    )
    assert sampling.seed == (7, "sft", "replies")
    wanted = [taught]
    for i in range(4):
        for mode in Mode:
            if text := kept.get(f"p{i}"):
                thought = f"{THINK_START}\nabout p{i}\n{THINK_END}\n\n" if mode is Mode.THINKING else ""
                wanted.append(Demonstration(problem(i).in_mode(mode), thought + text))
    assert list(data.items) == wanted
    assert list(data.items[1:]) == wanted[1:] and data.items[-1] == wanted[-1]
    [line] = lines
    assert f"to {len(kept)} of 4 prompts" in line and "3 of 16 replies were cut off" in line


def test_a_resume_samples_nothing_again_and_another_stage_does(tmp_path):
    items = Demonstrations((Demonstration(problem(0), ""),))
    first = answered(stage_run(tmp_path, Scripted(REPLIES), OwnReplies(max_tokens=32)), items)
    nobody = Scripted({})
    again = answered(stage_run(tmp_path, nobody, OwnReplies(max_tokens=32)), items)
    assert (list(again[0].items), again[1]) == (list(first[0].items), first[1]) and not nobody.calls
    other = Scripted({"p0": [("other!!", END)]})
    changed, _ = answered(stage_run(tmp_path, other, OwnReplies(max_tokens=32), key="other"), items)
    assert changed.items[0].reply.endswith("other!!")


def test_prompts_without_room_are_left_out_and_none_left_is_an_error(tmp_path):
    long = replace(problem(0), messages=(Message("user", "word " * 33),))
    sampler = Scripted(REPLIES)
    run = stage_run(tmp_path, sampler, OwnReplies(max_tokens=32))
    _, [line] = answered(run, Demonstrations((Demonstration(long, ""), Demonstration(problem(3), ""))))
    assert [p.id for p in sampler.asked] == ["p3"] and "to 1 of 2 prompts" in line
    with pytest.raises(StageError, match=r"none of the policy's replies to 1 prompts .*keep: right"):
        answered(
            stage_run(tmp_path, Scripted(REPLIES), OwnReplies(max_tokens=32), key="b"),
            Demonstrations((Demonstration(problem(2), ""),)),
        )


def own(keep: str = "first", **more: Any) -> dict[str, Any]:
    """The small run with a second SFT stage, on replies of the policy that the first one made."""
    recipe = copy.deepcopy(RECIPE)
    data = [
        {"domain": "alignment", "replies": "policy", "modes": ["thinking", "instruct"]},
        {"domain": "maths"},
    ]
    stage = {
        "name": "sft-2", "kind": "sft", "samples": 32, "batch_size": 4, "steps": 2, "lr": 1e-3, "save_every": 1,
        "data": data, "own_replies": {"rollouts": 4, "max_tokens": 64, "temperature": 1.0, "top_p": 1.0, "keep": keep},
    }  # fmt: skip
    return recipe | {"stages": [recipe["stages"][0], stage | more]}


def test_a_run_trains_on_what_its_policy_says(tmp_path):
    notes = go(tmp_path, own())
    [line] = [note for note in notes if "own replies" in note]
    stage = tmp_path / "stages" / "02-sft-2"
    _, *kept = map(json.loads, (stage / FILE).read_text().splitlines())
    assert kept and f"to {len(kept)} of 8 prompts" in line
    assert line.removeprefix("sft-2: ") in json.loads((stage / "stage.json").read_text())["data"]
    # the same command draws the same replies, and a run that stood still ends with the same bytes
    other = tmp_path / "other"
    go(other, own())
    assert (other / "stages" / "02-sft-2" / FILE).read_bytes() == (stage / FILE).read_bytes()


def test_what_a_recipe_may_not_say():
    with pytest.raises(RecipeError, match="fault_rate is a teacher's"):
        recipe = own()
        recipe["stages"][1]["data"][0]["fault_rate"] = 0.5
        check_recipe(recipe)
    with pytest.raises(RecipeError, match="own_replies: no effect without an entry"):
        recipe = own()
        del recipe["stages"][1]["data"][0]["replies"]
        check_recipe(recipe)
    with pytest.raises(RecipeError, match=r"no thought is written .* set modes: \[instruct\]"):
        recipe = own()
        recipe["stages"][1]["data"][1]["replies"] = "policy"
        check_recipe(recipe)
    # the key is filled in where it is asked for, and no part of other recipes' records
    recipe = own()
    del recipe["stages"][1]["own_replies"]
    with pytest.raises(RecipeError, match="max_tokens: no prompt has room beside 512 tokens"):
        check_recipe(recipe)
    recipe["model"]["architecture"] |= {"max_position_embeddings": 1024}
    assert check_recipe(recipe).stages[1].own_replies == OwnReplies()
    record = check_recipe(RECIPE).stages[0].model_dump(mode="json")
    assert "own_replies" not in record and "replies" not in record["data"][0]
