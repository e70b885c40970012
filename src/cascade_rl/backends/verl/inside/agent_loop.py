"""How verl samples a reply: on our own ids of the prompt, up to any of the model's end ids.

verl's own loop writes the prompt anew by its own template, and has no rule for replies that hit the length
limit. What does not count is decided here: the mask that a reply is stored with is what verl's loss sums
over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from inside.marks import marked
from inside.settings import settings
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput


class Reply(AgentLoopOutput):
    """A reply whose tokens count only once its verdict is known."""

    def as_dict(self) -> dict[str, Any]:
        """What verl stores: rewards and mask as `marks` writes them."""
        found: dict[str, Any] = super().as_dict()
        said = self.extra_fields["reward_extra_info"]
        reward = self.reward_score if said["kept"] else None
        score = said["score"] if said["has_score"] else None
        rewards, counts = marked(reward, said["below"], len(self.response_ids), score)
        if not counts:
            found["response_mask"].zero_()
        found["rm_scores"].zero_()
        for place, value in rewards.items():
            found["rm_scores"][place] = value
        return found


def cut_off(ids: Sequence[int], ends: Sequence[int]) -> bool:
    """Whether the length limit ended a reply: its last id is no end id."""
    return not ids or ids[-1] not in ends


class Loop(AgentLoopBase):
    """One reply to one prompt."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **row: Any) -> Reply:
        """Sample a reply to a row of ours."""
        said, asked = settings(), json.loads(row["extra_info"]["payload"])
        ends = said["ends"]
        # every id that ends a reply: verl's servers know those of one file only
        rule = {**sampling_params, "stop_token_ids": ends, **said["sampling"]}
        output = await self.server_manager.generate(
            request_id=uuid4().hex,
            prompt_ids=asked["prompt_ids"],
            sampling_params=rule,
            priority=int(priority),
        )
        ids = output.token_ids[: said["limit"]]
        logprobs = (output.log_probs or [])[: len(ids)]
        # nothing was sampled: verl can't store an empty reply, whose end would then be its place -1
        empty = not ids
        if empty:
            ids, logprobs = [ends[0]], [0.0]
        masked = empty or (said["overlong"] == "mask" and cut_off(ids, ends))
        return Reply(
            prompt_ids=asked["prompt_ids"],
            response_ids=ids,
            response_mask=[0 if masked else 1] * len(ids),
            response_logprobs=logprobs or None,
            num_turns=2,
            metrics={"num_preempted": -1 if output.num_preempted is None else output.num_preempted},
            # the keys of verl's own loops, so that all replies have the same
            extra_fields={**output.extra_fields, "turn_scores": [], "tool_rewards": []},
        )
