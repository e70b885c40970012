"""The loss on rows that are not trained on: what it is, that it is held out, when it is told, when it stops."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_run import changed
from tiny import Policy, random_flat, stage_run, toy_domain
from transformers import AutoModelForCausalLM

from cascade_rl.data import demonstrations
from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.pairs import preference_pairs
from cascade_rl.errors import Interrupted, RecipeError, StageError
from cascade_rl.model.checkpoint import save_directory
from cascade_rl.recipe import HeldoutRows, RewardModelStage, SFTStage
from cascade_rl.run.alarms import drifted, overfits
from cascade_rl.run.journal import read_lines
from cascade_rl.run.tracking.events import Reading
from cascade_rl.testing import QuietScreen
from cascade_rl.train import reward_model, sft
from cascade_rl.train.learned_reward import LearnedReward, reward_row
from cascade_rl.train.likelihood import likelihood, split
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Problem, Split

DOMAINS = {"toy": toy_domain(), "other": toy_domain("other")}


def stage(**keys) -> SFTStage:
    data = [{"domain": "toy", "modes": ["instruct"]}, {"domain": "other", "modes": ["instruct"]}]
    given = {"samples": 40, "batch_size": 4, "steps": 7, "lr": 1e-3, "data": data, "save_every": 2}
    return SFTStage(name="sft", kind="sft", **(given | keys))


def train(folder: Path, spec: SFTStage, data: Demonstrations | None = None, **rest):
    policy, screen = Policy(scale=0.1), QuietScreen()
    with stage_run(folder, spec, DOMAINS, policy, screen=screen, **rest) as run:
        done = sft.train(run, data or demonstrations.provide(spec, DOMAINS, 0))
    return done, screen.notes


def lines(folder: Path, kind: str) -> list[dict]:
    return [line for line in read_lines(folder / "journal.jsonl") if line["kind"] == kind]


def test_it_is_the_mean_over_reply_tokens_that_transformers_finds(tmp_path):
    policy = Policy(size=2, scale=0.1)
    save_directory(tmp_path, policy.raw, policy.config, policy.model.flat)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    items = demonstrations.provide(stage(), DOMAINS, 0).items
    made = [(item.problem.domain, policy.tokenizer.taught(item)) for item in items]
    found = likelihood(policy.replicas, "policy", made, 1).measure()
    sums = {"toy": [0.0, 0], "other": [0.0, 0]}
    for item in items:
        prompt, reply = policy.tokenizer.prompt(item.problem), policy.tokenizer.reply(item.reply)
        ids = torch.tensor([prompt + reply])
        labels = torch.tensor([[-100] * len(prompt) + reply])
        with torch.no_grad():
            mean = float(theirs(input_ids=ids, labels=labels).loss)
        sums[item.problem.domain][0] += mean * len(reply)
        sums[item.problem.domain][1] += len(reply)
    for name, (total, tokens) in sums.items():
        assert found[f"loss/{name}"] == pytest.approx(total / tokens, abs=1e-4)
    whole = sum(s for s, _ in sums.values()) / sum(n for _, n in sums.values())
    assert found["loss"] == pytest.approx(whole, abs=1e-4)
    assert abs(found["loss/toy"] - found["loss/other"]) > 1e-3


def turn(first: str, number: int) -> Demonstration:
    asked = (Message("user", first), Message("assistant", "a"), Message("user", f"again {number}"))
    return Demonstration(Problem(f"{first}-{number}", "own", asked, None, Mode.INSTRUCT), "b")


@given(
    st.lists(st.tuples(st.sampled_from([f"Hi {n}" for n in range(40)]), st.integers(0, 3)), min_size=2),
    st.floats(0.01, 0.5),
    st.integers(1, 8),
)
def test_no_conversation_is_on_both_sides(made, share, most):
    items = [turn(*each) for each in made]
    spec = HeldoutRows(share=share, most=most)
    firsts = {item.problem.messages[0].content for item in items}
    if len(firsts) == 1:
        with pytest.raises(StageError, match="begin with the same user turn"):
            split("sft", items, spec)
        return
    training, held = split("sft", items, spec)
    sides = [{item.problem.messages[0].content for item in side} for side in (training, held)]
    assert training and held and not sides[0] & sides[1] and sides[0] | sides[1] == firsts
    assert len(held) <= most
    # order kept, and the same whatever stands between: by content, not by place
    assert [item for item in items if item.problem.messages[0].content in sides[0]] == list(training)
    again = split("sft", items[::-1], spec)
    assert {item.problem.messages[0].content for item in again[0]} == sides[0]
    assert training[0] == training[:1][0] and len(training[1:]) == len(training) - 1


def test_about_the_share_is_held_out():
    items = [turn(f"Question {n}", 0) for n in range(5000)]
    assert 60 < len(split("sft", items, HeldoutRows(share=0.02, most=10**6))[1]) < 140
    assert len(split("sft", items, HeldoutRows(share=0.02))[1]) <= 256
    # case and spaces are no other prompt
    both = [turn("Hi there", 0), turn("hi  There", 1), *items[:50]]
    training, _held = split("sft", both, HeldoutRows(share=0.5))
    assert sum("there" in i.problem.messages[0].content.lower() for i in training) in (0, 2)


def test_what_is_held_out_is_measured_and_never_trained_on(tmp_path):
    spec = stage(heldout={"share": 0.2, "every": 3})
    done, notes = train(tmp_path / "held", spec)
    found = lines(tmp_path / "held", "heldout")
    assert [line["step"] for line in found] == [0, 3, 6, 7]
    losses = [line["metrics"]["loss"] for line in found]
    assert losses == sorted(losses, reverse=True) and losses[0] > 1.02 * losses[-1], "it learns the replies"
    assert {"loss", "loss/toy", "loss/other"} == set(found[0]["metrics"])

    # exactly what a stage does that has only the rest
    data = demonstrations.provide(spec, DOMAINS, 0)
    training, held = split("sft", data.items, spec.heldout)
    assert 0 < len(held) < 20 and len(training) + len(held) == 40
    train(tmp_path / "rest", stage(), Demonstrations(tuple(training)))
    assert lines(tmp_path / "held", "step") == lines(tmp_path / "rest", "step")

    facts = done.facts["heldout_loss"]
    assert (facts["start"], facts["end"], facts["lowest_step"]) == (losses[0], losses[-1], 7)
    assert f"{losses[0]:.4g} before the first step, {losses[-1]:.4g} after the last" in done.lines[-1]
    assert sum("held out, after" in note for note in notes) == 4


@pytest.mark.parametrize("stops", [0, 1, 2, 5])
def test_a_resumed_stage_measures_the_same_bits(tmp_path, stops):
    spec = stage(heldout={"share": 0.2, "every": 2})
    train(tmp_path / "whole", spec)
    asked = iter([False] * stops + [True])
    with pytest.raises(Interrupted):
        train(tmp_path / "cut", spec, stop_asked=lambda: next(asked))
    # killed in between: lines after the state are written again
    with (tmp_path / "cut/journal.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "heldout", "step": 99, "metrics": {"loss": 0.0}}) + "\n")
    train(tmp_path / "cut", spec)
    assert (tmp_path / "cut/journal.jsonl").read_bytes() == (tmp_path / "whole/journal.jsonl").read_bytes()


def test_a_stage_that_drifts_away_stops_with_a_reason(tmp_path):
    spec = stage(steps=40, lr=3.0, heldout={"share": 0.2, "every": 1})
    with pytest.raises(StageError, match=r"sft drifted away: its loss on \d+ held-out replies .* was"):
        train(tmp_path, spec)
    losses = [line["metrics"]["loss"] for line in lines(tmp_path, "heldout")]
    assert all(loss > 3 * losses[0] for loss in losses[-2:]) and len(losses) < 10
    notes = [line["text"] for line in lines(tmp_path, "note")]
    assert sum("held-out loss above its lowest" in text for text in notes) == 1
    _, told = train(tmp_path / "smoke", spec, smoke=True)
    assert any("drifted away" in note and "smoke test" in note for note in told)


@pytest.mark.parametrize(
    ("found", "ended", "is_lost"),
    [
        ([1.0, 3.1, 3.1], False, True), ([1.0, 3.1, 2.9], False, False), ([1.0, 3.1], False, False),
        ([1.0, 3.1], True, True), ([1.0, 3.1, 2.9], True, False), ([1.0, 2.9, 3.1], True, True),
        ([1.0, math.nan, math.inf], False, True), ([math.nan, 5.0, 5.0], False, False), ([1.0], True, False), ([], True, False),
    ],
)  # fmt: skip
def test_drifting_at_its_threshold(found, ended, is_lost):
    assert drifted(found, ended=ended) is is_lost


@pytest.mark.parametrize(
    ("found", "rises"), [([1.0, 0.5, 0.56], True), ([1.0, 0.5, 0.54], False), ([1.0], False)]
)
def test_overfitting_at_its_threshold(found, rises):
    assert overfits(found) is rises


def test_a_reward_model_measures_its_held_out_pairs(tmp_path):
    keys = {"steps": 5, "lr": 1e-2, "batch_size": 4, "pairs": 20, "heldout": {"every": 2}}
    spec = RewardModelStage(name="rm", kind="reward_model", domain="toy", **keys)
    policy, domain = Policy(scale=0.1), DOMAINS["toy"]
    training, held = (preference_pairs(spec, domain, split, 20, 0) for split in (Split.RL, Split.VALIDATION))
    extra = {"score": (1, policy.config.hidden)}
    model = policy.replicas.add_model(
        "reward", policy.config, random_flat(policy.config, 1, 0.1, extra), train=True, extra=extra
    )
    with stage_run(tmp_path, spec, DOMAINS, policy, model="reward") as run:
        done = reward_model.fit(run, training, held)
    found = lines(tmp_path, "heldout")
    assert [line["step"] for line in found] == [0, 2, 4, 5]
    reward = LearnedReward(policy.replicas, policy.tokenizer, "reward")
    good, bad = (
        torch.tensor(
            reward.score_batch([reward_row(policy.tokenizer, p.problem.messages, a(p)) for p in held])
        )
        for a in (lambda p: p.chosen, lambda p: p.rejected)
    )
    last = found[-1]["metrics"]
    assert last["loss"] == pytest.approx(-torch.nn.functional.logsigmoid(good - bad).mean().item(), abs=1e-6)
    assert last["accuracy"] == pytest.approx(((good > bad).float() + (good == bad) / 2).mean().item())
    assert done.facts["heldout_loss"]["last"] == last and model.shapes["score"] == (1, policy.config.hidden)


@pytest.mark.parametrize(
    ("heldout", "text"),
    [
        ({}, "give a share"), ({"share": 0.1, "source": "jsonl:a", "map": "sharegpt"}, "give a share"),
        ({"source": "jsonl:a"}, "needs a map"), ({"share": 0.1, "map": "sharegpt"}, "no effect without a source"),
        ({"share": 0}, "greater than 0"), (0.6, "less than or equal to 0.5"), (True, "valid dictionary"),
        ({"source": "builtin", "map": "sharegpt"}, "source must be one of"), ({"share": 0.1, "every": 0}, "greater than 0"),
    ],
)  # fmt: skip
def test_a_wrong_key_says_so(heldout, text):
    with pytest.raises(RecipeError, match=text) as told:
        check_recipe(changed(sft={"heldout": heldout}))
    assert all(path.startswith("stages.sft.heldout") for path, _ in told.value.problems)


def test_the_key_is_no_part_of_recipes_without_it():
    plain = check_recipe(changed()).model_dump(mode="json")
    assert not any("heldout" in stage for stage in plain["stages"])
    short = check_recipe(changed(sft={"heldout": 0.02})).model_dump(mode="json")["stages"][0]["heldout"]
    assert short["share"] == 0.02 and short["most"] == 256


def chats(path: Path, numbers) -> str:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}."},
                {"role": "assistant", "content": f"It is {n}."},
            ]
        }
        for n in numbers
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def test_a_source_of_its_own_on_the_whole_way(cascade, tmp_path):
    """Screen, check, status, page, stage record and card tell of it; prompts that are trained on are left out."""
    recipe = changed(
        sft={
            "data": [{"source": chats(tmp_path / "a.jsonl", range(30)), "map": "openai-chat"}],
            "heldout": {
                "source": chats(tmp_path / "b.jsonl", range(28, 40)),
                "map": "openai-chat",
                "every": 1,
            },
        },
        reward={"heldout": {"every": 1}},
    )
    recipe["benchmarks"], recipe["stages"] = [], recipe["stages"][:2]
    recipe["stages"][0]["samples"] = 30
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    status, out, err = cascade("check", "r.yaml")
    assert status == 0, err
    assert "held-out loss every 1 steps" in out and "12 replies in all, 10 held out, 2 of 12 left out" in out
    status, out, err = cascade("run", "r.yaml", "--out", "run")
    assert status == 0, err
    assert "12 replies in all, 10 held out, 2 of 12 left out, since their prompts are trained on" in out
    assert out.count("sft: held out, after") == 3 and out.count("reward: held out, after") == 3
    assert cascade("status", "run")[0] == 0 and cascade("report", "run")[0] == 0
    record = json.loads((tmp_path / "run/stages/01-sft/stage.json").read_text())
    assert record["heldout_loss"]["what"].startswith("10 held-out replies")
    for stage_name, kinds in (("01-sft", 1), ("02-reward", 2)):
        card = (tmp_path / f"run/stages/{stage_name}/checkpoint/README.md").read_text()
        assert "- held-out loss on" in card, kinds
    # trackers hear of it under a name of its own, and of no matrix where nothing was measured
    events = [told.event for told in Reading(tmp_path / "run").new()]
    heard = [
        (event.step, event.numbers["sft/heldout/loss"])
        for event in events
        if "sft/heldout/loss" in event.numbers
    ]
    journal = lines(tmp_path / "run/stages/01-sft", "heldout")
    assert heard == [(line["step"], line["metrics"]["loss"]) for line in journal] and len(heard) == 3
    assert [event.step for event in events if "sft/loss" in event.numbers] == [1, 2]
    assert not any(event.tables for event in events)
    page = (tmp_path / "run/report.html").read_text()
    assert page.count('data-curve="Held-out loss"') == 2 and page.count('data-curve="Held-out accuracy"') == 1
    assert "could not be read" not in page


def test_a_source_whose_prompts_are_all_trained_on_is_refused(cascade, tmp_path):
    recipe = changed(
        sft={
            "data": [{"source": chats(tmp_path / "a.jsonl", range(30)), "map": "openai-chat"}],
            "heldout": {"source": chats(tmp_path / "b.jsonl", range(5)), "map": "openai-chat"},
            "samples": 30,
        }
    )
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    status, _, err = cascade("run", "r.yaml")
    assert status == 1 and "sft.heldout: all prompts of jsonl:" in err and "are trained on" in err


def test_with_adapters_it_is_measured_on_the_merged_weights(tmp_path):
    train(tmp_path, stage(lora={"rank": 4}, lr=0.02, heldout={"share": 0.2, "every": 3}))
    losses = [line["metrics"]["loss"] for line in lines(tmp_path, "heldout")]
    assert losses[-1] < losses[0]
