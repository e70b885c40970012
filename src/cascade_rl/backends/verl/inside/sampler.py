"""Dynamic filtering by our rules: rounds until every group has a signal, and no more than the recipe allows.

verl's own filter refills without a bound (a pool that teaches nothing would never end a step) and counts a
masked reply as a difference. A round here draws what is missing, as `train/gather.py` does; what is missing
after the last is filled up by verl with rows that don't count.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import transfer_queue as tq
from inside.advantage import has_signal
from inside.settings import settings
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


def plain_reward(said: dict[str, Any], overlong: str) -> float | None:
    """What tells whether a group has a signal: the verdict; lengths and scripts are none."""
    if not said["kept"]:
        return None
    return 0.0 if said["cut_off"] and overlong == "zero" else float(said["graded"])


class Rounds(ReplayBuffer):
    """Hands verl's trainer the groups of a step."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """The groups of a step, at most `batch_size`, and how many were left out after how many rounds."""
        said = settings()
        kept: list[str] = []
        dropped = number = 0
        while True:
            number += 1
            drawn = [uid for uid in self._finished(partition_id) if uid not in kept]
            rewards = self._rewards(partition_id, drawn, said["overlong"])
            kept += [uid for uid in drawn if has_signal(rewards[uid])]
            last = len(kept) >= batch_size or number == said["rounds"]
            # the last round rather than nothing, so that the step can be described: it has no advantages
            chosen = kept or drawn if last else kept
            left = set(drawn) - set(chosen)
            dropped += len(left)
            self._clear_groups(partition_id, left)
            if last:
                break
            self.refill_fn(batch_size - len(kept))
        told = {"training/filter_groups/evicted_samples": dropped, "training/filter_groups/rounds": number}
        batch = self._materialize_batch(partition_id, chosen, dict(self.partitions[partition_id]))
        if not batch.keys:
            raise RuntimeError(f"no prompt of step {global_steps} has a reply: every one failed")
        return batch, told

    def _finished(self, partition_id: str) -> list[str]:
        """The prompts whose replies are all there, once none is under way; in the order of their names."""
        told = time.time()
        while True:
            self._sync_metadata_from_transfer_queue()
            if not self.pending_keys[partition_id] and not self.running_keys[partition_id]:
                return sorted(self.finished_keys[partition_id] | self.failure_keys[partition_id])
            told = self._wait_for_next_poll(partition_id, told)

    def _rewards(self, partition_id: str, uids: list[str], overlong: str) -> dict[str, list[float | None]]:
        """The rewards of each prompt's replies; none of a prompt whose replies all failed."""
        keys = [key for key in self.partitions[partition_id] if key.split("_")[0] in set(uids)]
        found: dict[str, list[float | None]] = defaultdict(list)
        if keys:
            data = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=["extra_fields"])
            for key, value in zip(keys, data["extra_fields"], strict=True):
                extra = getattr(value, "data", value)
                found[key.split("_")[0]].append(plain_reward(extra["reward_extra_info"], overlong))
        return found
