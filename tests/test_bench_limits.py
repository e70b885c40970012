"""The cost model of the benchmarks counts what is really multiplied, so that a fraction of the limit means something."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny import SHAPE, Policy, raw_config
from torch.utils.flop_counter import FlopCounterMode

from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Objective, accumulate

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from limits import Peaks, decode_bound, matrix_parameters, update_bound

ONE = Peaks(1.0, 1.0, float("inf"))


@pytest.mark.parametrize("rollouts", [1, 4])
def test_the_bound_of_an_update_is_what_torch_counts(rollouts):
    """Less than counted by the padding of attention and its square of masked scores, more by the last layer's prompts."""
    policy, prompt, reply = Policy(), 40, 24
    rows = [Row.of([9 + k] * prompt, [5] * reply, 0.1, 1.0) for k in range(3) for _ in range(rollouts)]
    accumulate(policy.replicas.local, "policy", rows, 10**9, Objective("policy"))
    with FlopCounterMode(display=False) as counter:
        accumulate(policy.replicas.local, "policy", rows, 10**9, Objective("policy"))
    bound = update_bound(policy.config, ONE, [prompt] * 3, [[reply] * rollouts] * 3)
    assert 0.7 < bound / counter.get_total_flops() < 1.3


def test_matrix_parameters_are_all_but_norms():
    config = DecoderConfig.from_hf(raw_config())
    layers, head = matrix_parameters(config)
    heads = SHAPE.num_attention_heads + 2 * SHAPE.num_key_value_heads
    a_layer = heads * 8 * 32 + 32 * SHAPE.num_attention_heads * 8 + 3 * 48 * 32
    assert (layers, head) == (2 * a_layer, config.vocab * 32)


def test_decoding_is_bound_by_the_larger_of_products_and_bytes():
    config = DecoderConfig.from_hf(raw_config())
    layers, head = matrix_parameters(config)
    fast = decode_bound(config, Peaks(float("inf"), float("inf"), 1.0), [0, 0], [3, 5], 1, 2)
    cache = 2 * config.layers * config.kv_heads * config.head_dim * 2 * (9 / 2 + 25 / 2)
    assert fast == pytest.approx(8 * (2 * layers + 4 * head) + cache)
    width = config.layers * config.heads * config.head_dim
    slow = decode_bound(config, ONE, [7], [4], 1, 2)
    assert slow == pytest.approx(2 * (layers + head) * 4 + 4 * width * (7 * 4 + 8))
    assert torch.isfinite(torch.tensor(slow))
