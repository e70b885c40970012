"""A verifiable reward with a reward model's score beside it: R + sigmoid(z) where R is 1, else 0; and what sees which part."""

from __future__ import annotations

import asyncio
import math
import statistics
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny import Policy, random_flat, stage_run, tokenizer, toy_problem

from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.example import example
from cascade_rl.data.pools import provide
from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import RecipeError
from cascade_rl.grading import learned
from cascade_rl.model.checkpoint import load_reward_directory, save_reward_directory
from cascade_rl.recipe import Recipe, RLStage
from cascade_rl.recipe.explain import explain
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.testing import ScriptedSampler, text_rollout
from cascade_rl.train import rl
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.gather import with_signal
from cascade_rl.train.learned_reward import LearnedReward, head_shape, reward_row
from cascade_rl.train.pool import PromptPool
from cascade_rl.train.preferred import SCORE, VERIFIED, joined, with_scores
from cascade_rl.train.stage_run import Exported
from cascade_rl.types import Group, Mode, Outcome, Verdict


def verdict(reward: float | None, score: float | None) -> Verdict:
    if reward is None or score is None:
        return Verdict.failed("x")
    return Verdict(reward, Outcome.PARTIAL, {VERIFIED: reward, SCORE: score})


def by_formula(rewards, scores):
    """The report's formula in its own words, without our z-scores."""
    known = [s for r, s in zip(rewards, scores, strict=True) if r is not None]
    mean, std = statistics.mean(known), statistics.stdev(known)
    return [None if r is None else (r + 1 / (1 + math.exp(-(s - mean) / std)) if r == 1 else 0.0)
            for r, s in zip(rewards, scores, strict=True)]  # fmt: skip


# ---------------------------------------------------------------- the formula


def test_by_hand():
    """Scores 1, 2, 3 have mean 2 and deviation 1: a right reply at the mean earns 1.5, one above it 1 + sigmoid(1)."""
    found = joined([1.0, 0.0, 1.0], [verdict(1, 2), verdict(0, 1), verdict(1, 3)])
    assert found == pytest.approx([1.5, 0.0, 1.7310585786], abs=1e-6)
    # what is no full reward earns nothing, half of it and a punishment alike
    assert joined([0.5, -1.0, 1.0], [verdict(0.5, 2), verdict(-1, 1), verdict(1, 3)])[:2] == [0.0, 0.0]


def test_equal_scores_give_sigmoid_of_zero():
    assert joined([1.0, 1.0, 0.0], [verdict(r, 0.1) for r in (1, 1, 0)]) == [1.5, 1.5, 0.0]
    assert joined([1.0], [verdict(1, 9)]) == [1.5]
    assert joined([], []) == []


replies = st.lists(
    st.tuples(st.sampled_from([None, 0.0, 1.0]), st.integers(-300, 300)), min_size=2, max_size=9
)  # scores in tenths: their spread is never near the 1e-6 that is added to it


@given(replies)
def test_the_formula_on_any_group(drawn):
    rewards, scores = [r for r, _ in drawn], [s / 10 for _, s in drawn]
    found = joined(rewards, [verdict(r, s) for r, s in zip(rewards, scores, strict=True)])
    known = [s for r, s in zip(rewards, scores, strict=True) if r is not None]
    if len(set(known)) > 1:
        assert [r is None for r in found] == [r is None for r in rewards]
        for ours, theirs in zip(found, by_formula(rewards, scores), strict=True):
            assert ours == theirs or ours == pytest.approx(theirs, abs=1e-5)
    for reward, total in zip(rewards, found, strict=True):
        assert total is None if reward is None else total == 0 if reward == 0 else 1 < total < 2


@given(replies)
def test_who_has_no_reward_is_as_if_never_sampled(drawn):
    rewards, verdicts = [r for r, _ in drawn], [verdict(r, s / 10) for r, s in drawn]
    alone = joined([r for r in rewards if r is not None], [v for v in verdicts if v.reward is not None])
    assert [r for r in joined(rewards, verdicts) if r is not None] == alone


def test_a_group_of_right_replies_has_a_gradient_by_the_scores_alone():
    rewards = joined([1.0, 1.0, 1.0], [verdict(1, s) for s in (0, 1, 2)])
    low, mid, high = group_advantage(rewards)
    assert low < 0 < high and abs(mid) < 1e-6
    # and one of wrong replies none, whatever the scores
    assert group_advantage(joined([0.0, 0.0], [verdict(0, 1), verdict(0, 5)])) == [0.0, 0.0]


# ---------------------------------------------------------------- beside the rules for length and script


def group(*members, cut=()) -> Group:
    """(reward, score) of each reply; those of the numbers `cut` hit the limit."""
    rollouts = tuple(text_rollout(f"r{n}", 2 if n in cut else 99) for n in range(len(members)))
    return Group(toy_problem(1), rollouts, tuple(verdict(*m) for m in members))


def earned(found: Group, overlong: str, rule="off", foreign=lambda p, t: False) -> list[float | None]:
    score = lambda group, row: joined(row, group.verdicts)  # noqa: E731
    return final_rewards([found], overlong, [rule], foreign, 10, 10, score=score)[0]


MEMBERS = ((1, 1.0), (1, 3.0), (1, 8.0), (0, 2.0))


def test_a_masked_reply_is_no_part_of_the_group_and_one_that_is_zeroed_is():
    found = group(*MEMBERS, cut=[2])
    rest = by_formula([1, 1, 0], [1.0, 3.0, 2.0])
    assert earned(found, "mask") == [
        *map(pytest.approx, rest[:2]), None, pytest.approx(rest[2], abs=1e-6)]  # fmt: skip
    assert earned(found, "zero") == pytest.approx(by_formula([1, 1, 0, 0], [1.0, 3.0, 8.0, 2.0]), abs=1e-6)
    assert earned(found, "score") == pytest.approx(by_formula([1, 1, 1, 0], [1.0, 3.0, 8.0, 2.0]), abs=1e-6)


def test_penalties_are_taken_off_the_sum_and_code_switches_replace_it():
    whole = by_formula([1, 1, 1, 0], [1.0, 3.0, 8.0, 2.0])
    found = group(*MEMBERS)
    lengths = [rollout.tokens for rollout in found.rollouts]
    assert earned(found, "penalty") == pytest.approx(
        [r - n / 10 for r, n in zip(whole, lengths, strict=True)], abs=1e-6
    )
    switched = earned(found, "score", -1.0, lambda prompt, text: text == "r1")
    assert switched == pytest.approx([whole[0], -1.0, *whole[2:]], abs=1e-6)
    least = earned(found, "score", "batch_min_minus_10", lambda prompt, text: text == "r0")
    assert least == pytest.approx([-10.0, *whole[1:]], abs=1e-6)


# ---------------------------------------------------------------- who sees which part


class Scores:
    """A reward model that scores what it was told to, and keeps what it was asked."""

    def __init__(self, values):
        self.values, self.seen = values, []

    async def score(self, messages, answer):
        self.seen.append(answer)
        return self.values[answer]


def plain(*rewards, texts) -> Group:
    verdicts = tuple(
        Verdict.failed("verifier") if r is None else Verdict(r, Outcome.PARTIAL, {"p": 1.0}) for r in rewards
    )
    return Group(toy_problem(1).in_mode(Mode.THINKING), tuple(map(text_rollout, texts)), verdicts)


def test_verdicts_get_both_parts_and_nulls_of_either_stay_null():
    texts = ("<think>\nhm\n</think>\n\nA.", "<think>\nB", "C</think>C.", "D</think>D.")
    model = Scores({"A.": 2.0, "<think>\nB": -1.0, "C.": math.nan, "D.": 5.0})
    found = plain(1.0, 0.0, 1.0, None, texts=texts)
    other = plain(1.0, texts=["E"])
    (got,) = with_scores([found], {found.problem.id}, Services(reward_model=model))
    # the answer without its reasoning, or the whole where that never ends, as in RLHF
    assert {"A.", "<think>\nB", "C.", "D."} == set(model.seen)
    assert [v.reward for v in got.verdicts] == [1.0, 0.0, None, None]
    assert got.verdicts[0].parts == {"p": 1.0, VERIFIED: 1.0, SCORE: 2.0}
    assert got.verdicts[1].parts == {"p": 1.0, VERIFIED: 0.0, SCORE: -1.0}
    assert "reward model gave nan" in got.verdicts[2].note and got.verdicts[3].note == "verifier"
    # a group of another entry is left as it is, and nobody is asked
    assert with_scores([other], set(), Services()) == [other]


ENTRY = {"domain": "d", "with_reward_model": True, "problems": 4}
SMALL = {
    "name": "if-rl", "kind": "rl", "steps": 2, "lr": 0.005, "prompts_per_step": 2, "rollouts_per_prompt": 6,
    "mode_mix": "instruct", "max_response_tokens": 12, "data": [ENTRY],
}  # fmt: skip


def test_filters_go_by_the_verifier_alone():
    """By the scores every group of right replies would have signal, and no solved problem would ever be dropped."""
    stage = RLStage.model_validate(SMALL | {"filter": {"kind": "epoch"}})
    right, mixed = group((1, 1.0), (1, 2.0)), group((1, 1.0), (0, 2.0))
    assert with_signal([right, mixed], rl.phase_at(stage, 0)) == [mixed]
    pool = PromptPool(stage, [[right.problem]], 0)
    pool.draw(1)
    pool.record([right])
    assert pool.sources[0].fared == {right.problem.id: "all"}


# ---------------------------------------------------------------- from end to end


async def first_letter(problem, rollout, services) -> Verdict:
    return Verdict.binary(rollout.text[:1] < "n")


def domain() -> Domain:
    def numbered(query):
        return (toy_problem(number, "d") for number in range(8))

    return Domain("d", "x", {"builtin": numbered}, first_letter, examples=list, gold=lambda p: None)


TEXTS = ("yes", "maybe", "no", "a word", "certainly", "be it so", "zero")


def reward_directory(folder: Path) -> Exported:
    policy = Policy(train=False)
    extra = head_shape(policy.config)
    shapes = policy.config.shapes() | extra
    flat = random_flat(policy.config, 5, extra=extra)
    save_reward_directory(folder, policy.raw, policy.config, flat, shapes)
    policy.tokenizer.save(folder)
    return Exported(folder, None)


def run_stage(folder: Path, **changes) -> tuple[list[dict], list[tuple[int, Group]], torch.Tensor]:
    stage, policy, domains = (
        RLStage.model_validate(SMALL | changes),
        Policy(seed=0, scale=0.1),
        {"d": domain()},
    )
    asked = reward_directory(folder / "reward")
    sampler = ScriptedSampler(lambda problem: TEXTS)
    with stage_run(folder, stage, domains, policy, sampler, smoke=True, reward_model=asked) as run:
        rl.train(run, provide(stage, domains, 0))
    lines = [line["metrics"] for line in read_lines(folder / "journal.jsonl") if line["kind"] == "step"]
    groups = list(read_groups(read_lines(folder / "rollouts.jsonl")))
    return lines, groups, policy.model.flat.clone()


def test_a_stage_trains_on_the_sum_and_keeps_both_parts(tmp_path):
    lines, groups, _ = run_stage(tmp_path / "a")
    assert len(lines) == 2 and groups
    for step, metrics in enumerate(lines):
        found = [g for number, g in groups if number == step]
        rows = [
            by_formula([v.parts[VERIFIED] for v in g.verdicts], [v.parts[SCORE] for v in g.verdicts])
            for g in found
        ]
        flat = [r for row in rows for r in row]
        assert metrics["reward"] == pytest.approx(statistics.fmean(flat), abs=1e-5)
        assert metrics["reward_max"] == pytest.approx(max(flat), abs=1e-5) and metrics["reward_min"] == 0
        scores = [v.parts[SCORE] for g in found for v in g.verdicts]
        assert metrics["part/d/reward_model"] == pytest.approx(statistics.fmean(scores))
        right = [v.reward for g in found for v in g.verdicts]
        assert metrics["part/d/verified"] == pytest.approx(statistics.fmean(right)) and set(right) == {0, 1}
        # what is stored is the verifier's reward, which `regrade` holds against today's
        assert right == [float(r.text[:1] < "n") for g in found for r in g.rollouts]
    # the samples, for people, tell what was trained on
    samples = read_lines(tmp_path / "a" / "samples.jsonl")
    assert any(1 < line["reward"] < 2 for line in samples)


def test_the_scores_are_the_reward_models_and_change_what_is_learnt(tmp_path):
    _, groups, weights = run_stage(tmp_path / "a")
    _, _, plain_weights = run_stage(tmp_path / "b", data=[{**ENTRY, "with_reward_model": False}])
    _, _, again = run_stage(tmp_path / "c")
    assert torch.equal(weights, again) and not torch.equal(weights, plain_weights)
    policy = Policy(train=False)
    flat = load_reward_directory(tmp_path / "a" / "reward", policy.config)
    policy.replicas.add_model("reward", policy.config, flat, train=False, extra=head_shape(policy.config))
    reward = LearnedReward(policy.replicas, tokenizer())
    asked = [(g.problem, r.text) for _, g in groups for r in g.rollouts]
    scores = reward.score_batch([reward_row(tokenizer(), p.messages, text) for p, text in asked])
    told = [v.parts[SCORE] for _, g in groups for v in g.verdicts]
    assert told == pytest.approx(scores, abs=1e-5) and len(set(scores)) > 3


# ---------------------------------------------------------------- the recipe


RECIPE = yaml.safe_load("""
name: base
model: {architecture: {hidden_size: 32, max_position_embeddings: 65536}, tokenizer: {vocab_size: 320}}
stages:
  - {name: sft-1, kind: sft, samples: 64, steps: 4, batch_size: 8, data: [{domain: following}]}
  - {name: reward-model, kind: reward_model, steps: 3}
  - {name: if-rl, kind: rl, steps: 6, reward_model: reward-model,
     data: [{domain: following, with_reward_model: true, problems: 128}]}
""")


def problems_of(raw: dict) -> dict[str, str]:
    with pytest.raises(RecipeError) as caught:
        check_recipe(raw)
    return dict(caught.value.problems)


def test_a_recipe_says_it_and_what_it_needs():
    recipe = check_recipe(RECIPE)
    assert "following with the reward model (128" in explain(recipe)
    stage, following = recipe.stage("if-rl"), load_domain("following")
    pools = provide(stage, {"following": following}, 0)
    told = example(recipe, stage, pools, following, None)
    assert "score of reward-model: 1 to 2 in all" in told.line
    sft, model, rl_stage = RECIPE["stages"]
    assert "needs a reward_model stage" in str(
        problems_of({**RECIPE, "stages": [sft, {k: v for k, v in rl_stage.items() if k != "reward_model"}]})
    )
    plain = {**rl_stage, "data": [{"domain": "following", "problems": 128}]}
    assert "has no effect" in str(problems_of({**RECIPE, "stages": [sft, model, plain]}))
    scored = {**rl_stage, "data": [{"domain": "alignment", "with_reward_model": True, "problems": 128}]}
    found = problems_of({**RECIPE, "stages": [sft, model, scored]})
    assert "reward already" in found["stages.if-rl.data.alignment.with_reward_model"]
    judged = {
        **rl_stage,
        "judge": {"url": "http://127.0.0.1:1/v1", "model": "m"},
        "data": [{"domain": "swe", "with_reward_model": True, "problems": 128}],
    }
    found = problems_of({**RECIPE, "stages": [sft, model, judged]})
    assert "judge's probability" in found["stages.if-rl.data.swe.with_reward_model"]


def test_the_key_changes_the_hash_and_stands_in_no_record_where_it_is_off():
    def hashed(**keys) -> str:
        stages = [*RECIPE["stages"][:2], {**RECIPE["stages"][2], "data": [{"domain": "following", **keys}]}]
        return Recipe.model_validate({**RECIPE, "stages": stages}).hash

    assert hashed() == hashed(with_reward_model=False) != hashed(with_reward_model=True)


def test_a_grader_that_has_no_reward_model_says_so():
    with pytest.raises(ValueError, match="toy is graded by a reward model"):
        asyncio.run(learned.grade(toy_problem(1), text_rollout("x"), Services()))
