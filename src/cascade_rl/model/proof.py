"""What must hold of transformers' modules before anything is trained with them, tried on the model itself.

Nobody has looked at all families: some read both ways, draw in their forward pass, or keep a cache that gives
other numbers. Such a model would be trained wrongly without a word; it is refused instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.decoder import views
from cascade_rl.model.network import Network
from cascade_rl.model.products import Weight
from cascade_rl.model.skeleton import FAULTS, Skeleton

TOKENS, CACHED = 9, 6  # of the text that is tried, and how many of them come in one go
NATS = 1e-3  # by which log-probabilities may differ between two ways of computing them; seen: 1e-5


def prove(network: Network, skeleton: Skeleton, flat: Tensor, *, short: bool) -> None:
    """Raise InputError where the modules do not compute as a causal model that is sampled and trained must.

    `flat` are the weights; `short`: products will run in bf16, which is tried too.
    """
    masters = views(flat, network.shapes())
    name = type(skeleton.model).__name__
    # ids that any vocabulary has, each once if it can be
    ids = (torch.arange(TOKENS, device=flat.device) * 7 + 3)[None] % network.vocab
    with torch.no_grad():
        try:
            skeleton.run(masters, lambda model: _compare(name, skeleton.padded, ids, model))
        except FAULTS as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} of transformers fails here: {error}") from None
        if not short:
            return
        lower = {key: Weight.of(master.bfloat16(), master) for key, master in masters.items()}
        try:
            skeleton.run(lower, lambda model: _logprobs(model, ids))
        except FAULTS as error:
            raise InputError(f"{name} fails in bf16 ({error}); set precision: fp32") from None


def _logprobs(model: Any, ids: Tensor, **more: Any) -> Tensor:
    """[T, V] of one row."""
    found: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **more).logits
    return found[0].float().log_softmax(-1)


def _compare(name: str, padded: bool, ids: Tensor, model: Any) -> None:
    whole = _logprobs(model, ids)
    if not bool(whole.isfinite().all()):
        raise InputError(f"{name} gives logits that are not finite: are its weights damaged?")
    if not torch.equal(whole, _logprobs(model, ids)):
        raise InputError(f"{name} gives other numbers the second time, so that a run could not be repeated")
    other = ids.clone()
    other[0, -1] = ids[0, 0]

    def differs(found: Callable[[], Tensor], wanted: Tensor, how: str) -> None:
        gap = float((found() - wanted).abs().max())
        if not gap < NATS:
            raise InputError(f"{name} is not supported: {how} changes log-probabilities by {gap:.1e}")

    differs(lambda: _logprobs(model, other)[:-1], whole[:-1], "a later token")
    differs(lambda: _decoded(name, model, ids, 0), whole[CACHED - 1 :], "its cache")
    if padded:
        differs(lambda: _decoded(name, model, ids, 3), whole[CACHED - 1 :], "padding in front")


def _decoded(name: str, model: Any, ids: Tensor, padding: int) -> Tensor:
    """Log-probabilities of the last tokens, one at a time over a cache, behind so much padding."""
    from transformers import DynamicCache

    front = ids.new_zeros(1, padding)
    seen = torch.cat((front, torch.ones_like(ids)), 1)
    places = (seen.cumsum(1) - 1).clamp(min=0)
    tokens, cache = torch.cat((front, ids), 1), DynamicCache(config=model.config)
    found: list[Tensor] = []
    begin = 0
    for end in range(padding + CACHED, padding + TOKENS + 1):
        more = {"position_ids": places[:, begin:end]} if padding else {}
        out = model(
            input_ids=tokens[:, begin:end],
            attention_mask=seen[:, :end],
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        if getattr(out, "past_key_values", None) is None:
            raise InputError(f"{name} is not supported: it keeps no key-value cache, by which it is sampled")
        cache, begin = out.past_key_values, end
        found.append(out.logits[0, -1].float().log_softmax(-1))
    return torch.stack(found)
