"""The cost model counts what is really multiplied, so that a fraction of the limit means something."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from math import prod
from operator import add

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import SHAPE, Policy, raw_config, toy_problem
from torch.utils.flop_counter import FlopCounterMode

from cascade_rl.model import peaks as peaks_module
from cascade_rl.model.cost import Peaks, Work, decode_work, matrix_parameters, prefill_work, update_work
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.peaks import cache_bytes, measure_peaks
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import Training
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import LIKELIHOOD, Objective, Teacher
from cascade_rl.train.scalar_head import accumulate_pairs

CONFIG = DecoderConfig.from_hf(raw_config())
LAYERS, HEAD = matrix_parameters(CONFIG)
WIDTH = CONFIG.heads * CONFIG.head_dim
TREES = st.lists(
    st.tuples(st.integers(0, 50), st.lists(st.integers(1, 40), min_size=1, max_size=4)),
    min_size=1,
    max_size=5,
)


def _baddbmm(added, a, b, out_shape=None, **_) -> int:
    return 2 * prod(a) * b[-1]


def _laid_out(x, weight, *_, out_shape=None, **__) -> int:
    return 2 * prod(x) * weight[0]


KNOWN = {torch.ops.aten.baddbmm_: _baddbmm, torch.ops.mkldnn._linear_pointwise: _laid_out}


def counted(work) -> tuple[int, int]:
    """Operations that torch counts: of plain products, and of the batched ones, which are attention's."""
    with FlopCounterMode(display=False, custom_mapping=KNOWN) as counter:
        work()
    found = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    batched = sum(n for op, n in found.items() if "bmm" in op)
    return counter.get_total_flops() - batched, batched


def scores(prefix: int, branches: list[int]) -> tuple[int, int]:
    """Places that the tokens of a tree see in a layer: those of the branches, and those of the prefix."""
    branch = sum(prefix + place + 1 for length in branches for place in range(length))
    return branch, sum(place + 1 for place in range(prefix))


def test_matrix_parameters_are_all_but_norms():
    heads = SHAPE.num_attention_heads + 2 * SHAPE.num_key_value_heads
    a_layer = heads * 8 * 32 + 32 * SHAPE.num_attention_heads * 8 + 3 * 48 * 32
    assert (2 * a_layer, CONFIG.vocab * 32) == (LAYERS, HEAD)


@pytest.mark.parametrize("kind", ["policy", "with a reference", "pairs"])
def test_an_update_multiplies_what_the_model_of_its_cost_says(kind):
    """Products are counted exactly; attention computes the masked half of its squares as well, and pads."""
    policy, prompt, reply, branches = Policy(), 40, 24, 1 if kind == "pairs" else 3
    worker, reference = policy.replicas.local, kind == "with a reference"
    if kind == "pairs":
        rows = [
            (Row.of([9 + k] * 40 + [3] * 24, [], 0.0), Row.of([9 + k] * 40 + [4] * 24, [], 0.0))
            for k in range(3)
        ]
        trees, work = [(40, [24, 24])] * 3, lambda: accumulate_pairs(worker, "policy", rows, 10**9, 1.0)
        policy.replicas.local.models["policy"].weights["score"] = torch.zeros(1, CONFIG.hidden)
    else:
        rows = [Row.of([9 + k] * prompt, [5] * reply, 0.1, 1.0) for k in range(3) for _ in range(branches)]
        trees = [(prompt - 1, [reply] * branches)] * 3
        objective = Objective(ON_POLICY, teachers=(Teacher("reference", 0.1),) if reference else ())
        policy.replicas.add_model("reference", CONFIG, policy.model.flat.detach().clone(), train=False)
        work = lambda: accumulate(worker, "policy", rows, 10**9, objective)  # noqa: E731
    found = update_work(CONFIG, trees, scored=kind != "pairs", teachers=int(reference))
    own, shared = map(sum, zip(*(scores(*tree) for tree in trees), strict=True))
    attention = (4 if reference else 3) * 4 * WIDTH * (CONFIG.layers * own + (CONFIG.layers - 1) * shared)
    products, batched = counted(work)
    head_of_pairs = 3 * 2 * 6 * CONFIG.hidden if kind == "pairs" else 0
    assert found.flops + found.head_flops - attention == pytest.approx(products - head_of_pairs, rel=1e-3)
    assert attention < batched < 2 * attention
    assert found.tokens == sum(p + sum(r) for p, r in trees)


def test_a_rollout_multiplies_what_the_model_of_its_cost_says():
    """Equal prompts and no early end: no slot is ever empty, so that products agree but for what is rounded up."""
    policy = Policy(train=False)
    policy.tokenizer = type(policy.tokenizer)(policy.tokenizer.inner)
    policy.tokenizer.eos_ids = (1 << 30,)
    problems, sampling = [toy_problem(n) for n in (1, 2)], Sampling(3, 20)
    prompts = [len(policy.tokenizer.prompt(p)) for p in problems]
    products, batched = counted(
        lambda: TorchSampler(policy.replicas, policy.tokenizer).sample(problems, sampling)
    )
    prefill, decode = policy.replicas.worked["prefill"], policy.replicas.worked["decode"]
    assert prefill == prefill_work(CONFIG, prompts, 4)
    assert decode == decode_work(CONFIG, [p for p in prompts for _ in range(3)], [20] * 6, 256, 4)
    assert (prefill.tokens, decode.tokens) == (sum(prompts), 6 * 20)
    seen = [scores(p - 1, [1]) for p in prompts]
    attention = sum(4 * WIDTH * (2 * own + shared) for own, shared in seen)
    attention += sum(3 * 4 * WIDTH * 2 * (p + place + 1) for p in prompts for place in range(19))
    assert prefill.flops + prefill.head_flops + decode.flops + decode.head_flops - attention == products
    assert attention < batched < 2 * attention


@given(TREES)
def test_work_adds_up_and_sharing_a_prefix_never_costs_more(trees):
    whole = update_work(CONFIG, trees)
    assert whole == reduce(add, (update_work(CONFIG, [tree]) for tree in trees))
    apart = update_work(CONFIG, [(prefix, [branch]) for prefix, branches in trees for branch in branches])
    assert whole.flops <= apart.flops and whole.head_flops == apart.head_flops
    assert update_work(CONFIG, trees, scored=False).head_flops == 0


def test_bytes_of_decoding_by_hand():
    """Rows of 3 and 5 tokens after 7 and 2: with two slots the longer decides the steps, with one their sum."""
    weights, cache = 2 * LAYERS + 4 * HEAD, 2 * CONFIG.layers * CONFIG.kv_heads * CONFIG.head_dim * 2
    columns = (8 + 9) + (3 + 4 + 5 + 6)
    assert decode_work(CONFIG, [7, 2], [3, 5], 2, 2).bytes == 4 * weights + cache * columns
    assert decode_work(CONFIG, [7, 2], [3, 5], 1, 2).bytes == 6 * weights + cache * columns
    assert prefill_work(CONFIG, [7, 2], 2).bytes == weights


def test_the_least_time_is_that_of_the_slower_of_products_and_bytes():
    peaks = Peaks(10.0, 2.0, 5.0)
    assert Work(1, 100, 8, 60).seconds(peaks) == 100 / 10 + 8 / 2
    assert Work(1, 100, 8, 80).seconds(peaks) == 80 / 5
    # of 80 bytes in two passes each may find 4 where the last left them; of 6 in two nothing is read again
    cached = replace(peaks, cache=4)
    assert Work(1, 0, 0, 80, 2).seconds(cached) == 72 / 5
    assert Work(1, 0, 0, 6, 2).seconds(cached) == 0
    assert decode_work(CONFIG, [7, 2], [3, 5], 1, 2).passes == 6 and prefill_work(CONFIG, [7], 2).passes == 1


def test_the_last_cache_is_shared_by_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(peaks_module, "CACHES", tmp_path)
    assert cache_bytes(torch.device("cpu"), 1) == 0, "nobody says"
    for number, size in enumerate(("48K\n", "1024K\n", "32M\n")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(size)
    assert cache_bytes(torch.device("cpu"), 2) == 16 << 20


def test_both_engines_count_what_they_did():
    policy = Policy()
    rows = [Row.of([1, 2, 3], [4, 5], 0.1), Row.of([1, 2, 3], [6], 0.1), Row.of([7], [8, 9], 0.1)]
    Learner(policy.replicas, "policy", Training(name="x", lr=1e-3)).policy_step(rows, LIKELIHOOD, 1.0)
    assert policy.replicas.worked == {"update": update_work(CONFIG, [(2, [2, 1]), (0, [2])])}


def test_peaks_are_summed_over_the_workers_and_disturb_no_generator():
    with Replicas(2) as replicas:
        torch.set_num_threads(1)
        before = torch.random.get_rng_state()
        found = measure_peaks(replicas, CONFIG)
    assert found.workers == 2 and min(found.flops, found.head_flops, found.bytes) > 1e6
    assert torch.equal(torch.random.get_rng_state(), before)
