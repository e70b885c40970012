"""Registers our advantages with verl: imported by each of its processes (VERL_USE_EXTERNAL_MODULES).

Under a name of their own, not as `grpo`: a process that did not import this file then stops with an unknown
estimator, where under verl's name it would train with verl's rules and say nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from inside.advantage import batch_advantages, weight
from inside.marks import read
from inside.settings import settings
from verl.trainer.ppo.core_algos import register_adv_est

NAME = "cascade_group"


@register_adv_est(NAME)
def group_advantages(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Any, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns [replies, tokens] of a batch, zero where a token does not count.

    token_level_rewards  [replies, tokens]: what the reply earned, see `marks`
    response_mask        [replies, tokens]: all zero for a reply without verdict, or one that is masked
    index                the prompt of each reply
    """
    said = settings()
    lengths = response_mask.sum(dim=-1).tolist()
    read_rows = [
        read(row, int(n), said["scored"])
        for row, n in zip(token_level_rewards.tolist(), lengths, strict=True)
    ]
    found = batch_advantages(
        [reward for reward, _, _ in read_rows],
        list(index),
        [below for _, below, _ in read_rows],
        [score for _, _, score in read_rows],
        advantage=said["advantage"],
        shaping=said["shaping"],
    )
    factor = weight(len(found), sum(reward is not None for reward, _, _ in read_rows), said["aggregation"])
    # verl hands over fp32; the arithmetic above is in double
    per_reply = torch.tensor(found, dtype=torch.float32, device=response_mask.device) * factor
    advantages = per_reply.unsqueeze(-1) * response_mask
    return advantages, advantages
