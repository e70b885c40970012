"""Which prompts an RL step sees: mixture, epochs, modes, filters; and that a resumed pool goes on alike."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import stage_run, toy_domain, toy_problem

from cascade_rl.errors import StageError
from cascade_rl.recipe import RLStage
from cascade_rl.testing import ScriptedSampler, text_rollout
from cascade_rl.train.gather import gather
from cascade_rl.train.pool import PromptPool, how_fared
from cascade_rl.train.rl import advantages_of, phase_at, rewards_of
from cascade_rl.train.update import make_rows
from cascade_rl.types import Group, Mode, Outcome, Verdict


def stage(weights=(1.0,), **settings) -> RLStage:
    data = [{"domain": f"d{i}", "weight": w} for i, w in enumerate(weights)]
    return RLStage.model_validate({"name": "rl", "kind": "rl", "data": data, "steps": 5, **settings})


def problems(*counts):
    return [[toy_problem(n, f"d{i}") for n in range(count)] for i, count in enumerate(counts)]


def make(counts=(10,), weights=None, seed=0, **settings) -> PromptPool:
    return PromptPool(stage(weights or (1.0,) * len(counts), **settings), problems(*counts), seed)


def graded(problem, *rewards) -> Group:
    verdicts = tuple(Verdict.failed("x") if r is None else Verdict(r, Outcome.PARTIAL) for r in rewards)
    return Group(problem, tuple(text_rollout("x") for _ in rewards), verdicts)


@given(st.integers(1, 20), st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_every_epoch_holds_every_problem_once(count, draws):
    pool = make((count,))
    drawn = [p.id for n in draws for p in pool.draw(n)]
    everything = {p.id for p in problems(count)[0]}
    for start in range(0, len(drawn), count):
        epoch = drawn[start : start + count]
        assert len(set(epoch)) == len(epoch)
        if len(epoch) == count:
            assert set(epoch) == everything


def test_epochs_are_shuffled_differently_and_follow_the_seed():
    one, same, other = make((30,)), make((30,)), make((30,), seed=1)
    first, second = ([p.id for p in one.draw(30)] for _ in range(2))
    assert first != second != sorted(second)
    assert first == [p.id for p in same.draw(30)] != [p.id for p in other.draw(30)]


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=4), st.integers(1, 8))
def test_mixture_never_strays_from_its_weights(weights, size):
    """After n draws a domain has had its share of n, give or take one for each domain."""
    pool = make((7,) * len(weights), tuple(weights))
    seen, total = Counter(), 0
    for _ in range(25):
        seen.update(p.domain for p in pool.draw(size))
        total += size
        for i, weight in enumerate(weights):
            assert abs(seen[f"d{i}"] - total * weight / sum(weights)) <= len(weights)


def test_mixture_by_hand():
    found = Counter(p.domain for p in make((9, 9), (3.0, 1.0)).draw(16))
    assert found == {"d0": 12, "d1": 4}


@pytest.mark.parametrize("counts", [(12,), (12, 12), (5, 9, 4)])
def test_half_mode_is_exactly_half(counts):
    pool = make(counts, mode_mix="half")
    for _ in range(10):
        assert Counter(p.mode for p in pool.draw(8)) == {Mode.THINKING: 4, Mode.INSTRUCT: 4}
    assert Counter(p.mode for p in pool.draw(1)).total() == 1


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 1.0, 1.0), (3.0, 1.0), (11.0, 1.0)])
def test_half_mode_asks_each_domain_in_both_modes(weights):
    """Modes dealt in turn over domains that are dealt in turn would tie the one to the other."""
    pool = make((12,) * len(weights), weights, mode_mix="half")
    seen = Counter((p.domain, p.mode) for _ in range(12) for p in pool.draw(12))
    for i in range(len(weights)):
        thinking, direct = seen[f"d{i}", Mode.THINKING], seen[f"d{i}", Mode.INSTRUCT]
        assert abs(thinking - direct) <= 2, seen


@pytest.mark.parametrize("mode", ["thinking", "instruct"])
def test_one_mode_for_all(mode):
    assert {p.mode for p in make((4,), mode_mix=mode).draw(9)} == {Mode(mode)}


def test_how_fared_by_hand():
    assert [how_fared(r) for r in ([1, 1], [0, 0], [-1, 0], [0, 1], [0.5, 0.5], [1, 2])] == \
        ["all", "none", "none", "mixed", "mixed", "all"]  # fmt: skip


EPOCH = {"kind": "epoch", "readmit_hard": 0.0, "readmit_easy": 0.0}


def test_epoch_filter_drops_solved_and_unsolvable_and_keeps_the_rest():
    pool = make((8,), filter=EPOCH)
    found = pool.draw(8)
    fates = [(1, 1), (0, 0), (0, 1), (None, None), (-1, -1), (None, 1), (None, 0, 1), (0.5, 0.5)]
    pool.record([graded(p, *rewards) for p, rewards in zip(found, fates, strict=True)])
    stay = {p.id for i, p in enumerate(found) if i in (2, 3, 6, 7)}
    assert {p.id for p in pool.draw(4)} == stay
    assert pool.take_notes() == ["epoch 1: 4 of 8 problems stay"]
    assert {p.id for p in pool.draw(4)} == stay, "dropped problems stay dropped"


def test_a_pool_without_anything_left_is_admitted_again_and_says_so():
    pool = make((5,), filter=EPOCH)
    pool.record([graded(p, 1, 1) for p in pool.draw(5)])
    assert len({p.id for p in pool.draw(5)}) == 5
    assert "admitted again" in pool.take_notes()[0]


@pytest.mark.parametrize(("fate", "chance"), [((0, 0), 0.10), ((1, 1), 0.01)])
def test_dropped_problems_come_back_with_the_papers_probabilities(fate, chance):
    """Fixed seed; five standard deviations of the binomial. One mixed problem keeps the pool from being empty."""
    count = 4000
    pool = make((count + 1,), filter={"kind": "epoch"})
    first = pool.draw(count + 1)
    pool.record([graded(first[0], 0, 1), *(graded(p, *fate) for p in first[1:])])
    pool.draw(1)
    back = len(pool.sources[0].order) - 1
    assert abs(back - count * chance) < 5 * (count * chance * (1 - chance)) ** 0.5
    assert back > 0


def test_other_filters_drop_nothing():
    pool = make((4,))
    pool.record([graded(p, 1, 1) for p in pool.draw(4)])
    assert len({p.id for p in pool.draw(4)}) == 4


ACTIONS = st.lists(
    st.tuples(st.integers(1, 7), st.sampled_from([(0, 0), (1, 1), (0, 1), (None, None)])), max_size=10
)


@settings(max_examples=60)
@given(ACTIONS, st.sampled_from(["none", "epoch"]), st.sampled_from(["half", "thinking"]), st.integers(0, 3))
def test_a_restored_pool_goes_on_with_the_same_draws(actions, kind, mode_mix, seed):
    counts, weights, rule = (6, 4), (2.0, 1.0), {"filter": {"kind": kind}, "mode_mix": mode_mix}
    pool = make(counts, weights, seed, **rule)
    for count, fate in actions:
        pool.record([graded(p, *fate) for p in pool.draw(count)])
    saved = json.loads(json.dumps(pool.state()))
    again = make(counts, weights, seed, **rule)
    again.restore(saved)
    for _ in range(5):
        mine, theirs = pool.draw(5), again.draw(5)
        assert [(p.id, p.mode) for p in mine] == [(p.id, p.mode) for p in theirs]
        for each in (pool, again):
            each.record([graded(p, 1, 1) for p in mine[:3]])


# ---------------------------------------------------------------- gathering a step


async def _by_text(problem, rollout, services):
    return (
        Verdict.failed("broken")
        if rollout.text == "broken"
        else Verdict.binary(rollout.text.startswith("right"))
    )


def run_of(tmp_path, spec, replies):
    return stage_run(tmp_path, spec, {"d0": toy_domain("d0", _by_text)}, sampler=ScriptedSampler(replies))


def gathered(tmp_path, replies, count=40, step=0, **settings):
    spec = stage(prompts_per_step=4, rollouts_per_prompt=2, max_response_tokens=16, **settings)
    with run_of(tmp_path, spec, replies) as run:
        found = gather(run, PromptPool(spec, problems(count), 0), phase_at(spec, step), step)
    return found.groups, found.rounds, run.world.sampler.asked, (tmp_path / "journal.jsonl").read_text()


def test_without_filter_one_round_whatever_the_rewards(tmp_path):
    groups, rounds, asked, _ = gathered(tmp_path, lambda p: "wrong")
    assert len(groups) == 4 and rounds == len(asked) == 1


def test_batch_filter_refills_until_every_group_has_signal(tmp_path):
    mixed = {p.id for p in problems(40)[0][::2]}
    replies = {p.id: ["right", "wrong"] if p.id in mixed else "right" for p in problems(40)[0]}
    groups, rounds, asked, _ = gathered(tmp_path, replies, filter={"kind": "batch", "max_rounds": 30})
    assert len(groups) == 4 and rounds == len(asked) > 1
    assert all({v.reward for v in g.verdicts} == {0.0, 1.0} for g in groups)
    missing = 4
    for ids, _sampling in asked:
        assert len(ids) == missing, "a refill asks for what is missing, no more"
        missing -= len(mixed & set(ids))
    assert missing == 0
    assert len({sampling.seed for _, sampling in asked}) == rounds, "each round draws with a seed of its own"


def test_batch_filter_is_bounded_and_says_what_it_got(tmp_path):
    groups, rounds, asked, journal = gathered(
        tmp_path, lambda p: "right", filter={"kind": "batch", "max_rounds": 3}
    )
    assert rounds == len(asked) == 3
    assert sum(len(ids) for ids, _ in asked) == 12
    assert groups, "the last round is kept, so that the step can be described"
    assert "0 of 4 groups with signal in 3 rounds" in journal


def test_batch_filter_judges_signal_by_the_rewards_that_train(tmp_path):
    """A wrong reply that is masked for its length leaves its group without signal."""
    cut = "wrong " * 10
    _, rounds, _, journal = gathered(
        tmp_path, lambda p: ["right", cut], filter={"kind": "batch", "max_rounds": 2}, overlong="mask"
    )
    assert rounds == 2 and "0 of 4 groups with signal" in journal


def test_a_round_without_signal_trains_nothing(tmp_path):
    """All replies are wrong; what the penalty for length makes of them is no signal for the batch filter."""
    rules = {"filter": {"kind": "batch", "max_rounds": 2}, "overlong": "penalty", "overlong_buffer": 12}
    spec = stage(prompts_per_step=4, rollouts_per_prompt=2, max_response_tokens=16, **rules)
    phase = phase_at(spec, 0)
    with run_of(tmp_path, spec, lambda p: ["wrong", "wrong " * 2]) as run:
        found = gather(run, PromptPool(spec, problems(40), 0), phase, 0)
        rules_of = {group.problem.id: "off" for group in found.groups}
        rewards = rewards_of(found.groups, spec, phase, rules_of)
        assert all(len(set(row)) == 2 for row in rewards), "the penalty tells the two replies apart"
        assert not found.trains
        advantages = advantages_of(rewards, spec, found.trains)
        assert advantages == [[0.0, 0.0]] * len(found.groups)
        assert make_rows(found.groups, advantages, spec, 16)[0] == [], "no row, so that no weight moves"
    assert advantages_of([[1.0, 0.0, None]], spec, True)[0][2] is None
    assert advantages_of([[1.0, 0.0, None]], spec, False) == [[0.0, 0.0, None]]


def test_a_pool_smaller_than_the_batch_gives_no_twins(tmp_path):
    groups, _, _, _ = gathered(tmp_path, lambda p: "right", count=3)
    assert sorted(g.problem.id for g in groups) == sorted({g.problem.id for g in groups})


def test_sampling_follows_the_phase(tmp_path):
    curriculum = [{"share": 0.5, "max_response_tokens": 5, "temperature": 0.5}, {"share": 0.5, "top_k": 3}]
    _, _, asked, _ = gathered(tmp_path, lambda p: "right", curriculum=curriculum, step=0)
    assert (asked[0][1].max_new_tokens, asked[0][1].rule.temperature, asked[0][1].rule.top_k) == (5, 0.5, 0)
    _, _, asked, _ = gathered(tmp_path, lambda p: "right", curriculum=curriculum, step=4)
    assert (asked[0][1].max_new_tokens, asked[0][1].rule.temperature, asked[0][1].rule.top_k) == (16, 1.0, 3)
    assert asked[0][1].n == 2


def test_a_broken_grader_is_an_error_not_a_zero(tmp_path):
    with pytest.raises(StageError, match="grader failed on 8 of 8 replies; the first: broken"):
        gathered(tmp_path, lambda p: "broken")


# ---------------------------------------------------------------- phases that draw from entries of their own


def named(weights: dict[str, float], counts: dict[str, int], seed=0, **settings) -> PromptPool:
    data = [{"name": name, "domain": name, "weight": weight} for name, weight in weights.items()]
    chosen = RLStage.model_validate({"name": "rl", "kind": "rl", "data": data, "steps": 5, **settings})
    return PromptPool(chosen, [[toy_problem(n, name) for n in range(counts[name])] for name in weights], seed)


WEIGHTS, COUNTS = {"a": 1.0, "b": 2.0, "c": 0.7}, {"a": 5, "b": 4, "c": 3}
subsets = st.none() | st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)


@given(st.lists(st.tuples(subsets, st.integers(1, 7)), min_size=1, max_size=12), st.integers(0, 11))
def test_a_phase_draws_from_its_entries_by_their_weights_and_a_resumed_pool_goes_on_alike(draws, kill):
    pool, whole = named(WEIGHTS, COUNTS, filter=EPOCH), []
    saved = json.dumps(pool.state())
    for number, (names, count) in enumerate(draws):
        if number == kill % len(draws):
            saved = json.dumps(pool.state())
        drawn = pool.draw(count, names)
        assert {p.domain for p in drawn} <= set(names or "abc")
        pool.record([graded(p, 0, 1) for p in drawn])
        whole.append([p.id for p in drawn])
    again = named(WEIGHTS, COUNTS, filter=EPOCH)
    again.restore(json.loads(saved))
    rest = [[p.id for p in again.draw(count, names)] for names, count in draws[kill % len(draws) :]]
    assert rest == whole[kill % len(draws):]  # fmt: skip


@given(subsets, st.integers(1, 8))
def test_the_mixture_of_a_phase_never_strays_from_the_weights_of_its_entries(names, size):
    pool, seen = named(WEIGHTS, COUNTS), Counter()
    pool.draw(3, ["a"])
    asked = names or list("abc")
    for _ in range(25):
        seen.update(p.domain for p in pool.draw(size, names))
    total = sum(WEIGHTS[name] for name in asked)
    for name in asked:
        # what an entry was owed before the phase, less than one prompt, is given in it
        assert abs(seen[name] - 25 * size * WEIGHTS[name] / total) <= len(asked) + 1


def test_entries_that_a_phase_does_not_ask_stand_still():
    """Else an epoch of theirs would be over, and its filter applied, without that anything was drawn."""
    pool = named(WEIGHTS, COUNTS)
    first = [p.id for p in pool.draw(3, ["a"])]
    before = pool.state()["sources"]
    pool.draw(9, ["b", "c"])
    assert pool.state()["sources"][0] == before[0]
    assert len({*first, *(p.id for p in pool.draw(2, ["a"]))}) == 5, "the epoch of a goes on where it stopped"
