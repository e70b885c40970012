"""Decode with transformers' own modules and cache: rows come in waves, and leave the cache as they end.

Prompts of a wave are computed once, padded in front to one length, and copied to their rows; families that
can't be padded so decode prompts of one length together. The next wave waits until the last row has ended:
slower than `decoding`, and nothing but what every family of transformers can do.

Shapes: P prompts of a wave, r rows that still go on, L the longest prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cascade_rl.model.modules import ModuleConfig
from cascade_rl.rollout.decoding import Job
from cascade_rl.rollout.prefill import PREFILL_TOKENS


@dataclass
class _Wave:
    """Rows that decode together: all are at the same step.

    rows       [r] their numbers in the job
    seen       [r, columns] 1 where a column is a token of the row, 0 where it is padding
    positions  [r, 1] of the next token
    """

    cache: Any
    rows: Tensor
    seen: Tensor
    positions: Tensor

    def select(self, index: Tensor) -> None:
        """Go on with these, in this order, also several times the same."""
        self.cache.reorder_cache(index)
        self.rows, self.seen, self.positions = (t[index] for t in (self.rows, self.seen, self.positions))


class ModuleDecoding:
    """The waves of one job; `job.ended` hears of each row."""

    def __init__(
        self, weights: Mapping[str, Tensor], config: ModuleConfig, job: Job, slots: int, device: torch.device
    ) -> None:
        self.weights, self.config, self.job, self.device = weights, config, job, device
        self.slots, self.padded = slots, config.skeleton.padded
        config.check(max(len(job.prompts[p]) for p in job.rows) + max(job.limits))
        self.ends = torch.tensor(job.ends, device=device)
        self.limits = torch.tensor(job.limits, device=device)
        # [rows, longest reply], of all rows: written step by step
        self.ids = torch.zeros(len(job.rows), max(job.limits), dtype=torch.long, device=device)
        self.logprobs = torch.zeros(len(job.rows), max(job.limits), device=device)

    def run(self) -> None:
        """Decode until every row has ended."""
        self.config.held(self.weights, self._decode)

    def _decode(self, model: Any) -> None:
        for rows in self._waves():
            wave, logits = self._prefill(model, rows)
            step = 0
            while len(wave.rows):
                self._take(wave, logits, step)
                if len(wave.rows):
                    logits = self._forward(model, wave, self.ids[wave.rows, step][:, None])
                step += 1

    def _waves(self) -> list[list[int]]:
        """Rows by number: the longest prompts first, as many as there are slots and room for prompts."""
        lengths = [len(self.job.prompts[p]) for p in self.job.rows]
        waves: list[list[int]] = []
        prompts: set[int] = set()
        for row in sorted(range(len(lengths)), key=lambda r: (-lengths[r], self.job.rows[r], r)):
            first = waves[-1][0] if waves else row
            prompts.add(self.job.rows[row])
            if (
                not waves
                or len(waves[-1]) == self.slots
                or len(prompts) * lengths[first] > PREFILL_TOKENS
                or (not self.padded and lengths[row] != lengths[first])
            ):
                waves.append([])
                prompts = {self.job.rows[row]}
            waves[-1].append(row)
        return waves

    def _prefill(self, model: Any, rows: Sequence[int]) -> tuple[_Wave, Tensor]:
        """Each prompt once, then its state for each of its rows; the logits [r, V] of first tokens."""
        from transformers import DynamicCache

        numbers = list(dict.fromkeys(self.job.rows[row] for row in rows))
        prompts = [self.job.prompts[number] for number in numbers]
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        seen = torch.zeros_like(ids)
        for place, prompt in enumerate(prompts):
            ids[place, width - len(prompt) :] = torch.tensor(prompt)
            seen[place, width - len(prompt) :] = 1
        wave = _Wave(
            DynamicCache(config=model.config),
            torch.arange(len(prompts), device=self.device),
            seen.to(self.device),
            (seen.cumsum(1) - 1).clamp(min=0).to(self.device),
        )
        logits = self._forward(model, wave, ids.to(self.device))
        index = torch.tensor([numbers.index(self.job.rows[row]) for row in rows], device=self.device)
        wave.select(index)
        wave.rows = torch.tensor(rows, device=self.device)
        return wave, logits[index]

    def _forward(self, model: Any, wave: _Wave, ids: Tensor) -> Tensor:
        """Logits [r, V] after the next tokens, which take their columns of the cache."""
        places = {"position_ids": wave.positions} if self.padded else {}
        found = model(
            input_ids=ids,
            attention_mask=wave.seen,
            past_key_values=wave.cache,
            use_cache=True,
            logits_to_keep=1,
            **places,
        )
        wave.cache = found.past_key_values
        # for the token that is drawn from these logits
        wave.seen = torch.cat((wave.seen, torch.ones_like(wave.seen[:, :1])), 1)
        wave.positions = wave.positions[:, -1:] + 1
        logits: Tensor = found.logits[:, -1].float()
        return logits

    def _take(self, wave: _Wave, logits: Tensor, step: int) -> None:
        """Draw and write down the next tokens; rows that end leave the wave."""
        rows = wave.rows
        ids, logprobs = self.job.draw(logits, rows, torch.full_like(rows, step))
        self.ids[rows, step], self.logprobs[rows, step] = ids, logprobs
        ended = torch.isin(ids, self.ends) | (step + 1 >= self.limits[rows])
        for row in rows[ended].tolist():
            own = self.ids[row, : step + 1], self.logprobs[row, : step + 1]
            self.job.ended(row, own[0].tolist(), own[1].tolist())
        if bool(ended.any()):
            wave.select((~ended).nonzero()[:, 0])
