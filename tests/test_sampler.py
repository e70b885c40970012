"""The sampler draws from the policy that the trainer scores, and from nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from test_decoder import numpy_truncated
from tiny import Policy, logits, tokenizer, toy_problem
from transformers import AutoModelForCausalLM

from cascade_rl.model.checkpoint import save_directory
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.recipe import Training
from cascade_rl.rollout.decoding import slots_for
from cascade_rl.rollout.drawing import choose, uniforms
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs
from cascade_rl.types import Message, Mode, Problem, Stop

RULES = [
    (1.0, 1.0, 0, 0.0), (0.7, 1.0, 0, 0.0), (1.0, 0.8, 0, 0.0), (1.2, 1.0, 12, 0.0), (0.6, 0.95, 20, 0.0),
    (1.5, 1.0, 0, 0.1), (1.0, 0.9, 0, 0.05), (1.2, 1.0, 12, 0.2), (1.3, 0.95, 40, 0.02), (1.0, 1.0, 0, 0.001),
]  # fmt: skip
PROBLEMS = [
    toy_problem(0),
    Problem(
        "long",
        "toy",
        (Message("user", "Name the colour of the sky, the sea, the grass and then the snow " * 2),),
        None,
    ),
    Problem("direct", "toy", (Message("user", "x"),), None, Mode.INSTRUCT),
]


@pytest.fixture(scope="module")
def policy():
    return Policy(seed=1)


def never_ending(tok):
    """The same tokenizer, but no id ends a reply."""
    found = copy.copy(tok)
    found.eos_ids = (10**6,)
    return found


def sampler(policy, *, eos_ids=None, max_rows=256) -> TorchSampler:
    tok = never_ending(tokenizer())
    if eos_ids is not None:
        tok.eos_ids = tuple(eos_ids)
    return TorchSampler(policy.replicas, tok, max_rows=max_rows)


def trainer_logprobs(policy, rollout, objective: Objective) -> np.ndarray:
    batch = pack_rows([Row.of(rollout.prompt_ids, rollout.ids, 1.0)], torch.device("cpu"))
    with torch.no_grad():
        return token_logprobs(policy.model.weights, policy.config, batch, objective.rule).numpy()


def assert_parity(policy, groups, rule) -> None:
    """What the sampler says each token cost is what the trainer finds, row by row."""
    objective = Objective(ON_POLICY, SamplingRule(*rule))
    for rollout in (r for group in groups for r in group):
        np.testing.assert_allclose(
            rollout.logprobs, trainer_logprobs(policy, rollout, objective), rtol=0, atol=1e-4
        )


def flat_rows(groups):
    return [(r.ids, r.stop, r.text) for group in groups for r in group]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_log_probabilities_are_those_of_the_trainer(policy, rule):
    sampling = Sampling(4, 40, SamplingRule(*rule), seed=(7,))  # 40 > two growths of the cache
    groups = sampler(policy, eos_ids=range(20, 24)).sample(PROBLEMS, sampling)
    assert {r.stop for g in groups for r in g} == {Stop.END, Stop.LENGTH}, "both ends are needed here"
    assert_parity(policy, groups, rule)


def test_log_probabilities_are_those_of_transformers(policy, tmp_path):
    """Without truncation or temperature: the chain of conditionals of the exported model."""
    save_directory(tmp_path, policy.raw, policy.config, policy.model.flat)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    for rollout in sampler(policy).sample(PROBLEMS, Sampling(1, 24))[1]:
        ids = torch.tensor([[*rollout.prompt_ids, *rollout.ids]])
        with torch.no_grad():
            scores = theirs(input_ids=ids).logits.log_softmax(-1)[0, len(rollout.prompt_ids) - 1 : -1]
        wanted = scores[torch.arange(24), torch.tensor(rollout.ids)]
        np.testing.assert_allclose(rollout.logprobs, wanted, rtol=0, atol=1e-4)


def test_a_reply_does_not_depend_on_its_neighbours(policy):
    sampling = Sampling(3, 40, seed=(1, "math-rl", 4))
    eos = range(20, 30)
    together = sampler(policy, eos_ids=eos).sample(PROBLEMS, sampling)
    alone = [sampler(policy, eos_ids=eos).sample([p], sampling)[0] for p in PROBLEMS]
    waves = sampler(policy, eos_ids=eos, max_rows=4).sample(PROBLEMS, sampling)
    backwards = sampler(policy, eos_ids=eos).sample(PROBLEMS[::-1], sampling)[::-1]
    fewer = sampler(policy, eos_ids=eos).sample(PROBLEMS, Sampling(2, 40, seed=sampling.seed))
    for other in (alone, waves, backwards):
        assert flat_rows(other) == flat_rows(together)
    assert flat_rows(fewer) == flat_rows([group[:2] for group in together])


@pytest.mark.parametrize("slots", [1, 3, 5])
def test_slots_are_refilled_and_greedy_replies_stay_those_of_one_row_at_a_time(policy, slots):
    """More rows than slots, limits and ends of all kinds, greedy beside sampled: what is in a batch changes nothing."""
    problems = [*PROBLEMS, *(toy_problem(i) for i in range(1, 9))]
    eos = range(20, 30)
    asked = [(problems, Sampling(1, 40, GREEDY)), (problems[:4], Sampling(3, 17, seed=(2,))),
             (problems[4:], Sampling(2, 30, SamplingRule(0.6, 0.95), seed=(3,)))]  # fmt: skip
    found = sampler(policy, eos_ids=eos, max_rows=slots).sample_many(asked)
    for (some, sampling), groups in zip(asked, found, strict=True):
        alone = [sampler(policy, eos_ids=eos, max_rows=1).sample([p], sampling)[0] for p in some]
        assert flat_rows(groups) == flat_rows(alone)
        assert [len(g) for g in groups] == [sampling.n] * len(some)
    lengths = {len(r.ids) for g in found[0] for r in g}
    assert len(lengths) > 2, "rows should leave at different steps"


def test_the_cache_is_bounded_by_memory(policy):
    config = policy.config
    row = 2 * config.layers * config.kv_heads * config.head_dim * 100 * 4
    assert slots_for(config, 100, torch.float32, 256, 10 * row) == 10
    assert slots_for(config, 100, torch.bfloat16, 256, 10 * row) == 20
    assert slots_for(config, 100, torch.float32, 8, 10 * row) == 8
    assert slots_for(config, 100, torch.float32, 8, 1) == 1


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0], ids=["flat", "mild", "sharp"])
def test_draws_invert_the_cumulative_distribution_of_the_textbook(rule, spread):
    """However many of the likeliest ids have to be looked at: a flat distribution needs most of them."""
    rows = torch.randn(60, 97, generator=torch.Generator().manual_seed(1)) * spread
    u = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ids, logprobs = choose(rows, u, SamplingRule(*rule))
    for row, draw, token, logprob in zip(
        rows.numpy(), u.tolist(), ids.tolist(), logprobs.tolist(), strict=True
    ):
        p = numpy_truncated(row, *rule)
        assert p[:token].sum() - 1e-6 <= draw <= p[: token + 1].sum() + 1e-6
        assert logprob == pytest.approx(np.log(p[token]), abs=1e-5)


def test_rows_whose_sets_differ_in_size_are_drawn_side_by_side():
    """Of 6,000 ids some rows keep three, some hundreds, some nearly all: each draw is the textbook's."""
    rng = torch.Generator().manual_seed(8)
    spread = torch.tensor([12.0, 6.0, 5.0, 4.0, 3.0, 2.5, 1.5, 0.3])[:, None]
    rows = torch.randn(8, 6000, generator=rng) * spread
    u = torch.rand(8, generator=rng, dtype=torch.float64)
    ids, logprobs = choose(rows, u, SamplingRule(1.0, 0.9))
    sizes = []
    for row, draw, token, logprob in zip(
        rows.numpy(), u.tolist(), ids.tolist(), logprobs.tolist(), strict=True
    ):
        p = numpy_truncated(row, 1.0, 0.9, 0)
        sizes.append(int((p > 0).sum()))
        # the id that crosses the bound may be in or out by rounding: at most its share
        assert p[:token].sum() - 2e-4 <= draw <= p[: token + 1].sum() + 2e-4
        assert logprob == pytest.approx(np.log(p[token]), abs=5e-4)
    assert min(sizes) <= 32 and any(32 < n <= 256 for n in sizes) and any(256 < n <= 2048 for n in sizes)
    assert max(sizes) > 2048


def test_rows_differ_by_index_seed_problem_and_mode(policy):
    one = sampler(policy).sample(PROBLEMS[:1], Sampling(8, 12, seed=(0, 1)))[0]
    assert len({r.ids for r in one}) == 8
    for other in (Sampling(8, 12, seed=(0, 2)), Sampling(8, 12, seed=(1, 1))):
        assert not {r.ids for r in sampler(policy).sample(PROBLEMS[:1], other)[0]} & {r.ids for r in one}
    keys = ("0/toy-1/thinking", "0/toy-2/thinking", "0/toy-1/instruct")
    assert len({tuple(uniforms(key, 0, 4)) for key in keys}) == 3


def test_greedy_is_what_transformers_generates(policy, tmp_path):
    save_directory(tmp_path, policy.raw, policy.config, policy.model.flat)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    free = sampler(policy).sample(PROBLEMS, Sampling(1, 40, GREEDY))
    ends = sorted({free[0][0].ids[5], free[1][0].ids[9]})  # so that some replies end early
    for (rollout,) in sampler(policy, eos_ids=ends).sample(PROBLEMS, Sampling(1, 40, GREEDY)):
        prompt = torch.tensor([rollout.prompt_ids])
        out = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=40,
            eos_token_id=ends,
            pad_token_id=0,
        )
        assert rollout.ids == tuple(out[0, prompt.shape[1] :].tolist())


@pytest.mark.parametrize(
    "rule",
    [(1.0, 1.0, 0, 0.0), (0.8, 0.9, 0, 0.0), (1.3, 1.0, 30, 0.0), (1.5, 1.0, 0, 0.1), (1.2, 0.95, 0, 0.05)],
    ids=str,
)
def test_first_tokens_follow_the_truncated_softmax(policy, rule):
    """Chi-square over 6,000 rows, fixed seed; bins under 8 expected are pooled."""
    rows = 6000
    groups = sampler(policy, max_rows=rows).sample(
        PROBLEMS[:1], Sampling(rows, 1, SamplingRule(*rule), seed=(11,))
    )
    ids = torch.tensor([groups[0][0].prompt_ids])
    wanted = numpy_truncated(logits(policy.config, policy.model.flat, ids)[0, -1].numpy(), *rule)
    counts = np.bincount([r.ids[0] for r in groups[0]], minlength=len(wanted))
    assert counts[wanted == 0].sum() == 0, "drawn from outside the truncated set"
    expected = wanted * rows
    rare = expected < 8
    seen = np.append(counts[~rare], counts[rare].sum())
    hoped = np.append(expected[~rare], expected[rare].sum())
    seen, hoped = seen[hoped > 0], hoped[hoped > 0]
    chi_square, freedom = float(((seen - hoped) ** 2 / hoped).sum()), len(hoped) - 1
    assert freedom > 10
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def test_every_end_id_ends_a_reply_and_stays_in_it(policy):
    """The rows with end ids are the rows without, cut after the first end id."""
    sampling = Sampling(6, 48, seed=(3,))
    ends = (25, 30, 41, 99, 120)
    free = [r for g in sampler(policy).sample(PROBLEMS, sampling) for r in g]
    draw = sampler(policy, eos_ids=ends)
    cut = [r for g in draw.sample(PROBLEMS, sampling) for r in g]
    used = set()
    for whole, short in zip(free, cut, strict=True):
        stops = [i for i, token in enumerate(whole.ids) if token in ends]
        assert whole.stop is Stop.LENGTH and len(whole.ids) == 48
        if stops:
            assert short.stop is Stop.END
            assert short.ids == whole.ids[: stops[0] + 1]
            assert short.text == draw.tokenizer.decode(short.ids[:-1])
            used.add(short.ids[-1])
        else:
            assert short.stop is Stop.LENGTH and short.ids == whole.ids
        assert len(short.logprobs) == len(short.ids)
    assert len(used) >= 2


def test_an_end_on_the_last_allowed_token_counts_as_end(policy):
    whole = sampler(policy).sample(PROBLEMS[:1], Sampling(1, 9, seed=(4,)))[0][0]
    assert whole.ids[8] not in whole.ids[:8]
    again = sampler(policy, eos_ids=[whole.ids[8]]).sample(PROBLEMS[:1], Sampling(1, 9, seed=(4,)))[0][0]
    assert again.ids == whole.ids and again.stop is Stop.END


def test_ids_are_the_sampled_ones_not_those_of_the_text(policy):
    draw = sampler(policy)
    tok = draw.tokenizer
    rows = [r for g in draw.sample(PROBLEMS, Sampling(4, 24)) for r in g]
    odd = [r for r in rows if tuple(tok.encode(r.text)) != r.ids]
    assert odd, "a random model writes bytes that no encoder would choose"
    for rollout in odd:
        assert rollout.text == tok.decode(rollout.ids)
        assert rollout.prompt_ids in [tuple(tok.prompt(p)) for p in PROBLEMS]


def test_prompts_over_the_limit_are_an_error_that_names_the_problem(policy):
    size = len(tokenizer().prompt(PROBLEMS[1]))
    with pytest.raises(ValueError, match=f"long: the prompt has {size} tokens, over {size - 1}"):
        sampler(policy).sample(PROBLEMS, Sampling(1, 4, max_prompt_tokens=size - 1))
    assert sampler(policy).sample(PROBLEMS, Sampling(1, 4, max_prompt_tokens=size))


def test_after_an_update_the_next_replies_come_from_the_new_weights():
    policy = Policy(seed=2)
    draw, sampling = sampler(policy), Sampling(4, 24, seed=(5,))
    before = draw.sample(PROBLEMS, sampling)
    rows = [
        Row.of(r.prompt_ids, r.ids, 0.01, 1.0 if i % 2 else -1.0) for g in before for i, r in enumerate(g)
    ]
    Learner(policy.replicas, "policy", Training(name="x", lr=0.05)).policy_step(
        rows, Objective(ON_POLICY), 1.0
    )
    stale = max(
        np.abs(r.logprobs - trainer_logprobs(policy, r, Objective(ON_POLICY))).max()
        for g in before
        for r in g
    )
    assert stale > 0.1, "the update changed too little to tell old from new"
    after = draw.sample(PROBLEMS, sampling)
    assert flat_rows(after) != flat_rows(before)
    assert_parity(policy, after, RULES[0])
