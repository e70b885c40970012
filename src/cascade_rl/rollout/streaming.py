"""Tokens handed out while their reply is still drawn, and rows that end before their time.

A worker's draw is watched: after each step it reports what it drew, and rows that nobody wants any longer
draw an end mark and leave their slots. The numbers are those of the draw itself, watched or not.

Shapes: r rows of a step, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.rollout.drawing import Draw, Wanted
from cascade_rl.types import Problem


@dataclass(frozen=True, slots=True)
class Ask:
    """A problem whose replies are heard token by token, each with the `top` likeliest that it had beside it.

    prompt  its ids, see `drawing.prompt_ids`
    """

    problem: Problem
    sampling: Sampling
    prompt: tuple[int, ...]
    top: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A drawn token, the natural log of its probability, and the likeliest tokens with theirs.

    All are of the distribution that was drawn from, after temperature and filters; at temperature 0 of the
    model's own. Where filters leave fewer than were asked for, `top` holds these.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """The next token of a reply: of which request, and which of its replies."""

    request: int
    index: int
    token: Token


# The tokens of one step; for each of them whether its reply goes on. May be called from several threads, but
# for one request always from the same.
Heard = Callable[[Sequence[Part]], Sequence[bool]]


@dataclass(frozen=True, slots=True)
class Watched:
    """What a worker is told of its rows: how many of the likeliest tokens each wants, which ones are over.

    over  [rows + 1] in shared memory, set by the driver while the worker decodes; the last is of slots that
          have no row
    """

    top: tuple[int, ...]
    over: Tensor

    @classmethod
    def of(cls, top: Sequence[int]) -> Watched:
        """For rows that want so many each."""
        over = torch.zeros(len(top) + 1, dtype=torch.bool)
        over[-1] = True
        over.share_memory_()  # type: ignore[no-untyped-call]  # torch gives it no types
        return cls(tuple(top), over)


@dataclass(frozen=True, slots=True)
class Step:
    """What a worker reports after a step: (row, token) of each row that drew."""

    rows: tuple[tuple[int, Token], ...]


class WatchedDraw(Draw):
    """A draw that reports each token; rows that are over draw one of the `ends`, and so leave their slots."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        device: torch.device,
        watched: Watched,
        ends: Sequence[int],
        report: Callable[[Step], None],
    ) -> None:
        super().__init__(wanted, device)
        self.watched, self.ends, self.report = watched, ends, report
        self.row_rules = [w.rule for w in wanted]

    def waits(self, vocab: int) -> bool:
        """It does: whoever reports asks the device."""
        return True

    def __call__(self, logits: Tensor, rows: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        ids, logprobs = super().__call__(logits, rows, steps)
        # read once: the driver may set it in between
        over = self.watched.over.to(rows.device)[rows]
        told = (~over).nonzero()[:, 0]
        if len(told):
            top = self._top(logits, rows, told, ids)
            drawn = zip(rows[told].tolist(), ids[told].tolist(), logprobs[told].tolist(), strict=True)
            self.report(Step(tuple((row, Token(i, p, top.get(row, ()))) for row, i, p in drawn)))
        # a model whose vocabulary has no end mark draws on, unheard
        end = next((i for i in self.ends if i < logits.shape[-1]), None)
        return (ids if end is None else ids.masked_fill(over, end)), logprobs

    def _top(
        self, logits: Tensor, rows: Tensor, told: Tensor, ids: Tensor
    ) -> dict[int, tuple[tuple[int, float], ...]]:
        """The likeliest tokens of the rows that want some."""
        by_rule: dict[SamplingRule, list[tuple[int, int]]] = {}
        for place, row in zip(told.tolist(), rows[told].tolist(), strict=True):
            if self.watched.top[row]:
                by_rule.setdefault(self.row_rules[row], []).append((place, row))
        found = {}
        for rule, pairs in by_rule.items():
            places = torch.tensor([place for place, _ in pairs], device=logits.device)
            most = min(max(self.watched.top[row] for _, row in pairs), logits.shape[-1])
            values, index = drawn_from(logits[places], rule, ids[places]).topk(most, -1)
            for (_, row), logs, own in zip(pairs, values.tolist(), index.tolist(), strict=True):
                best = [(i, p) for i, p in zip(own, logs, strict=True) if p > -torch.inf]
                found[row] = tuple(best[: self.watched.top[row]])
        return found


def drawn_from(logits: Tensor, rule: SamplingRule, ids: Tensor) -> Tensor:
    """The log-probabilities [r, V] that ids [r] were drawn by, see `drawing.choose`."""
    # at temperature 0 the model's own: every other one would have one token
    return logits.log_softmax(-1) if rule.temperature == 0 else truncate(logits, rule, ids)
