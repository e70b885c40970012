"""Tokens told while their reply is drawn are those of the reply, and who gives rows up changes no other."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import torch
import varlen_kernel  # noqa: F401  # its kernel, for the shadow device
from module_models import ours
from shadow_cuda import shadow_cuda
from test_sampler import PROBLEMS, never_ending
from test_shadow import CONFIG, RULES, prompts, wanted
from tiny import Policy, tokenizer, toy_problem

from cascade_rl.model.checkpoint import scratch_weights
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import GREEDY, Sampling, SamplingRule
from cascade_rl.rollout.drawing import Draw, prompt_ids
from cascade_rl.rollout.streaming import Ask, Step, Watched
from cascade_rl.rollout.torch_sampler import TorchSampler, generate

SAMPLINGS = [Sampling(1, 30, GREEDY), Sampling(3, 40, SamplingRule(0.7, 0.9, 30), seed=(4,)), Sampling(2, 25)]
# four problems under all three samplings
ASKED = [(problem, sampling) for problem in (*PROBLEMS, toy_problem(5)) for sampling in SAMPLINGS]


@pytest.fixture(scope="module", params=["decoder", "two workers", "modules"])
def sampler(request):
    """The fused decoder in one process and in two, and transformers' own modules; replies end at many lengths."""
    tok = never_ending(tokenizer())
    tok.eos_ids = tuple(range(20, 27))
    if request.param == "modules":
        _, config, flat = ours("olmo2", vocab_size=tok.size)
        replicas = Replicas(1)
        torch.set_num_threads(1)
        replicas.add_model("policy", config, flat, train=False)
    else:
        replicas = Policy(2 if request.param == "two workers" else 1, seed=1).replicas
    with replicas:
        yield TorchSampler(replicas, tok, max_rows=5)


def heard(sampler, asked, top=0, goes_on=lambda part: True):
    """(request, index) to its tokens, and how often each was told after it was given up."""
    found, over, late = defaultdict(list), set(), Counter()

    def told(parts):
        answers = []
        for part in parts:
            row = (part.request, part.index)
            late[row] += row in over
            found[row].append(part.token)
            answers.append(goes_on(part))
            if not answers[-1]:
                over.add(row)
        return answers

    asks = [Ask(p, s, prompt_ids(sampler.tokenizer, p, s), top) for p, s in asked]
    sampler.stream(asks, told)
    return found, +late


def replies(sampler, asked):
    """(request, index) to the rollout of the sampler."""
    groups = sampler.sample_many([([problem], sampling) for problem, sampling in asked])
    return {(n, i): rollout for n, [group] in enumerate(groups) for i, rollout in enumerate(group)}


def test_the_tokens_are_those_of_the_replies(sampler):
    """Ids and log-probabilities to the last bit, in order, nothing before or behind."""
    found, _ = heard(sampler, ASKED, top=3)
    wanted = replies(sampler, ASKED)
    assert {row: tuple((t.id, t.logprob) for t in tokens) for row, tokens in found.items()} == {
        row: tuple(zip(rollout.ids, rollout.logprobs, strict=True)) for row, rollout in wanted.items()
    }
    assert len({len(rollout.ids) for rollout in wanted.values()}) > 5, "replies should end at many lengths"


def test_rows_that_are_given_up_are_not_heard_again_and_change_no_other(sampler):
    """Every second reply at its third token: the others stay what they are."""

    def goes_on(part):
        count[part.request, part.index] += 1
        return part.index % 2 == 0 or count[part.request, part.index] < 3

    count = Counter()
    found, late = heard(sampler, ASKED, goes_on=goes_on)
    assert not late
    for row, rollout in replies(sampler, ASKED).items():
        told = tuple(token.id for token in found[row])
        assert told == (rollout.ids if row[1] % 2 == 0 else rollout.ids[:3])


def test_a_row_that_is_given_up_leaves_its_slot():
    """A reply of 400 tokens that nobody hears costs two steps, not 400."""
    with Policy(seed=1).replicas as replicas:
        tok = never_ending(tokenizer())
        tok.eos_ids = (tok.end_id,)
        sampler = TorchSampler(replicas, tok)
        steps = Counter()

        def told(parts):
            steps["told"] += 1
            return [False] * len(parts)

        whole = replies(sampler, [(PROBLEMS[0], Sampling(1, 400, GREEDY))])[0, 0]
        assert len(whole.ids) > 100
        ask = Ask(PROBLEMS[0], Sampling(1, 400, GREEDY), whole.prompt_ids)
        draws = Counter()
        drawn = Draw.__call__

        def counted(self, *arguments):
            draws["steps"] += 1
            return drawn(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Draw, "__call__", counted)
            sampler.stream([ask], told)
        assert steps["told"] == 1 and draws["steps"] == 2


def test_a_gpu_tells_what_a_cpu_tells():
    """On a device that refuses to mix with another: the same ids, and the likeliest tokens beside them."""
    rows = wanted(*(RULES[name] for name in ("top-p", "greedy", "min-p")), limit=4)[:12]

    def told(device: str):
        with Replicas(1, device) as replicas:
            replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=False)
            steps: list = []
            replicas.local.heard_by(steps.append)
            watched = Watched.of([number % 3 for number in range(len(rows))])
            generate(replicas.local, "policy", prompts(random.Random(0)), rows, (1, 7, 9), 8, watched)
        found = defaultdict(list)
        for step in steps:
            for row, token in step.rows if isinstance(step, Step) else ():
                found[row].append(token)
        return found

    here = told("cpu")
    with shadow_cuda():
        there = told("cuda")
    assert here.keys() == there.keys() == set(range(len(rows)))
    for row, tokens in here.items():
        assert [token.id for token in tokens] == [token.id for token in there[row]]
        for one, two in zip(tokens, there[row], strict=True):
            assert one.logprob == pytest.approx(two.logprob, abs=1e-4)
            assert len(one.top) <= row % 3 and [i for i, _ in one.top] == [i for i, _ in two.top]
            if row % 3:
                # it is the likeliest that can be drawn, and none is likelier
                assert max(p for _, p in one.top) == one.top[0][1] >= one.logprob - 1e-4


def test_the_prompt_of_an_ask_is_what_is_decoded():
    """A text that is asked under another problem's id: the ids alone count."""
    with Policy(seed=1).replicas as replicas:
        sampler = TorchSampler(replicas, never_ending(tokenizer()))
        sampling = Sampling(1, 8, GREEDY)
        other = prompt_ids(sampler.tokenizer, PROBLEMS[1], sampling)
        found = []
        sampler.stream(
            [Ask(PROBLEMS[0], sampling, other)], lambda parts: [not found.append(p) for p in parts]
        )
        [[rollout]] = sampler.sample([replace(PROBLEMS[1], id=PROBLEMS[0].id)], sampling)
        assert tuple(part.token.id for part in found) == rollout.ids
