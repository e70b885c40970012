"""The reward manager that verl calls for each reply: it asks our graders and keeps what they say.

verl's own managers hand a grader text without special tokens and without a word on how the reply ended. Here
the ids go, and a reply that no grader could judge comes back as one that does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from inside.asking import Grader
from inside.earned import Rules, beside, earned, kept_line
from inside.settings import attempt, settings
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase


def scored(answer: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """What verl takes: a number and facts, whose keys must be the same for every reply of every domain."""
    reward, below = earned(answer, rules)
    score = beside(answer)
    facts = {
        "kept": int(reward is not None),
        "below": below,
        "failed": int(answer["outcome"] == "grader_error"),
        "cut_off": int(answer["stop"] == "length"),
        "graded": float(answer["reward"] or 0.0),
        "has_score": int(score is not None),
        "score": float(score or 0.0),
    }
    return {"reward_score": float(reward or 0.0), "reward_extra_info": facts}


def never(*_: Any, **__: Any) -> float:
    """Named so that verl asks the reward manager, and not its own classifier; called by nobody."""
    raise RuntimeError("the reward manager grades, and no function")


class Scorer:
    """The reward model that verl serves, behind its router (vLLM's `/classify`)."""

    def __init__(self, model: str, address: str) -> None:
        self.model, self.url = model, f"http://{address}/classify"

    async def __call__(self, text: str) -> float:
        """The score of a conversation as the reward model's template writes it, its BOS included."""
        # raw scores, as it was trained with: a sigmoid would squeeze them; BOS is in the text already
        asked = {"model": self.model, "input": text, "use_activation": False, "add_special_tokens": False}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=asked) as reply:
            reply.raise_for_status()
            return float((await reply.json())["data"][-1]["probs"][-1])


class Reward(RewardManagerBase):
    """Asks the grading server of this process, which starts with the first reply."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **given: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        router = given.get("reward_router_address")
        said = settings()
        self.grader = Grader(said["grader"], Scorer(said["reward_model"], router) if router else None)
        self.rules = Rules(said["overlong"], said["limit"], said["buffer"])

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of one reply."""
        item = data[-1]
        row, ids = item.non_tensor_batch, item.batch["responses"]
        length = int(item.batch["attention_mask"][-len(ids) :].sum())
        extra = row["extra_info"]
        answer = await self.grader.ask({"payload": extra["payload"], "ids": ids[:length].tolist()})
        folder = attempt()
        if folder:
            step, index = int(row["global_steps"]), int(extra["index"])
            self._keep(folder, kept_line(answer, self.rules, step, index))
        return scored(answer, self.rules)

    def _keep(self, folder: Path, line: dict[str, Any]) -> None:
        # a file of its own for each process: they write at the same time, from several machines
        path = folder / "replies" / f"{self.grader.name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
