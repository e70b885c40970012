"""A model by transformers' own modules: whatever family its AutoModelForCausalLM knows; not so fast as
`decoder`.

Rows are padded behind their end, where a causal model does not look, and each row computes its whole prompt.

Shapes: M tokens of a pack, m of its branches, H hidden, V vocabulary, B rows, L the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cascade_rl.model.head import head_sizes
from cascade_rl.model.module_shape import ModuleShape
from cascade_rl.model.packed import Pack
from cascade_rl.model.proof import prove
from cascade_rl.model.skeleton import plain_tensors
from cascade_rl.model.truncated import truncate
from cascade_rl.protocols import SamplingRule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModuleConfig(ModuleShape):
    """A model of transformers, and how it computes."""

    def prove(self, flat: Tensor, *, short: bool = False) -> None:
        """See `proof`."""
        prove(self, self.skeleton, flat, short=short)

    def held(self, weights: Mapping[str, Tensor], work: Callable[[Any], T]) -> T:
        """`work(model)`, the model of transformers with these weights."""
        return self.skeleton.run(weights, work)

    def states(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """What the body hands to any head."""
        ids, places, _ = padded_rows(packed)

        def body(model: Any) -> Tensor:
            found: Tensor = model.base_model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
            )[0]
            return found.float()

        return self.held(weights, body).flatten(0, 1)[places]

    def scored(self, weights: Mapping[str, Tensor], packed: Pack, recompute: bool = False) -> Tensor:
        """Logits [m, V]: what a family does to them behind its head is its own affair."""
        ids, places, first = padded_rows(packed)
        width = ids.shape[1]
        # positions before the first scored one of all rows need no logits
        places = places // width * (width - first) + places % width - first

        def whole(model: Any) -> Tensor:
            found: Tensor = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                use_cache=False,
                logits_to_keep=width - first,
            ).logits
            return found

        return self.held(weights, whole).flatten(0, 1)[places].float()

    def logits(self, weights: Mapping[str, Tensor], scored: Tensor) -> Tensor:
        """They are there already."""
        return scored

    def logprobs(
        self, weights: Mapping[str, Tensor], scored: Tensor, targets: Tensor, rule: SamplingRule
    ) -> Tensor:
        """By autograd; of logits alone, where `log_softmax` would keep as many numbers again."""
        if not rule.truncates(self.vocab):
            logits = scored / rule.temperature if rule.temperature != 1 else scored
            return logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)

        def score(part: Tensor, ids: Tensor) -> Tensor:
            return truncate(part, rule, ids).gather(-1, ids[:, None])[:, 0]

        # truncated again in the backward pass, so that one part's masks and copies are alive at a time
        rows = max(1, head_sizes(scored.is_cuda, truncated=True)[0] // self.vocab)
        parts = zip(torch.split(scored, rows), torch.split(targets, rows), strict=True)
        return torch.cat([checkpoint(score, part, ids, use_reentrant=False) for part, ids in parts])

    def laid_out(self, weights: Mapping[str, Tensor], *, layers: bool) -> AbstractContextManager[None]:
        """Nothing can be prepared, but for tensors that modules may keep."""
        return plain_tensors()


def padded_rows(packed: Pack) -> tuple[Tensor, Tensor, int]:
    """Rows [B, L] of whole texts, padded behind; where in them each token of the branches lies [m], in the
    pack's order; and the first column that any of these has.
    """
    # In a pack all prefixes lie first, in the order of the blocks and their trees, then the branches.
    long: list[int] = []  # tokens of each branch's prefix
    starts: list[int] = []  # where that begins
    at = 0
    for tokens, branches in packed.trees:
        long += [tokens] * branches
        starts += [at] * branches
        at += tokens
    width = max(p + r for p, r in zip(long, packed.lengths, strict=True))
    ids = packed.ids.new_zeros(len(long), width)
    places: list[Tensor] = []
    for row, (start, prefix, own) in enumerate(zip(starts, long, packed.lengths, strict=True)):
        ids[row, :prefix] = packed.ids[start : start + prefix]
        ids[row, prefix : prefix + own] = packed.ids[at : at + own]
        at += own
        places.append(torch.arange(prefix, prefix + own) + row * width)
    return ids, torch.cat(places).to(ids.device), min(long)
