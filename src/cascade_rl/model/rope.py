"""Rotary position embeddings of every type that transformers has, their frequencies by its own functions.

Plain RoPE (RoFormer, arXiv 2104.09864) is computed here; linear, YaRN (arXiv 2309.00071), Llama 3 and the
others come from `ROPE_INIT_FUNCTIONS` of the installed transformers. Where frequencies depend on the length
of the whole text (dynamic, longrope), only lengths up to the original one are taken: beyond it a key that is
cached was turned by other frequencies than the trainer would turn it by, and transformers' own answer
depends on what else is in the batch.

Shapes: M tokens, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cascade_rl.errors import InputError, NotFused

BY_LENGTH = ("dynamic", "longrope")  # types whose frequencies depend on the length of the text


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions turn heads.

    theta    the base
    kind     transformers' name of the type
    inverse  frequencies of the D / 2 pairs, in radians a position; empty for plain RoPE
    scale    what cosines and sines are multiplied by (YaRN's attention factor)
    limit    the most tokens of a text; None: as many as come
    reach    tokens that the type was made for, as the config says; 0 where it says nothing
    """

    theta: float
    kind: str = "default"
    inverse: tuple[float, ...] = ()
    scale: float = 1.0
    limit: int | None = None
    reach: int = 0

    def check(self, tokens: int) -> None:
        """Raise InputError for a text of so many tokens, if it is too long for this type."""
        if self.limit is not None and tokens > self.limit:
            raise InputError(
                f"a text of {tokens} tokens: RoPE of type {self.kind!r} is supported up to its original "
                f"{self.limit} tokens, since beyond them all its frequencies change with the length; lower "
                "prompt and response lengths, or set model.rope_scaling to a type that does not (yarn)"
            )

    def turns(self, head_dim: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [M, 1, D], fp32, for positions [M].

        The first half of the sines is negative: x turns into x * cosine + (x with its halves swapped) * sine.
        """
        if self.inverse:
            inverse = _placed(self.inverse, positions.device)
        else:
            half = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
            inverse = self.theta ** (-half / head_dim)
        angle = (positions[:, None].float() * inverse).unsqueeze(1)
        cos, sin = angle.cos(), angle.sin()
        if self.scale != 1:
            cos, sin = cos * self.scale, sin * self.scale
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


@cache
def _placed(inverse: tuple[float, ...], device: torch.device) -> Tensor:
    """Frequencies on a device, fp32; kept, since a GPU would be waited for each time that they are sent."""
    with torch.inference_mode(False):  # what is made while sampling serves training, too
        return torch.tensor(inverse, device=device, dtype=torch.float32)


def read_rope(config: Mapping[str, Any], head_dim: int) -> Rope:
    """From a Hugging Face config's dictionary, `rope_parameters` or the older `rope_scaling`.

    Raises InputError for a type that transformers does not know or that lacks a setting.
    """
    told = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = told.get("rope_type") or told.get("type") or "default"  # older files say `type`
    theta = float(told.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    part = told.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1
    if config["model_type"] == "phi3" and part != 1:  # the other families turn all of a head by plain RoPE
        raise NotFused(f"RoPE that turns a part of each head ({part}) is not supported")
    if kind == "default":
        return Rope(theta)
    # here, since plain RoPE needs none of it
    from transformers import CONFIG_MAPPING
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if kind not in ROPE_INIT_FUNCTIONS:
        known = ", ".join(("default", *sorted(ROPE_INIT_FUNCTIONS)))
        raise InputError(f"RoPE type {kind!r} is not known to transformers here; known: {known}")
    # one dictionary under the newer name: of a config that has both, transformers would read the other one
    whole = {key: value for key, value in config.items() if key not in ("rope_scaling", "rope_theta")}
    whole["rope_parameters"] = {**told, "rope_type": kind, "rope_theta": theta}
    try:
        theirs = CONFIG_MAPPING[config["model_type"]](**whole)
        inverse, scale = ROPE_INIT_FUNCTIONS[kind](theirs, torch.device("cpu"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"RoPE of type {kind!r} in config.json can't be used: {error}") from None
    if len(inverse) * 2 != head_dim:
        raise NotFused(f"RoPE that turns {2 * len(inverse)} of {head_dim} numbers of a head is not supported")
    settings = theirs.rope_parameters
    longest = config.get("max_position_embeddings", 2048)
    # dynamic scaling begins behind the config's own length, whatever else its settings say
    told_length = None if kind == "dynamic" else settings.get("original_max_position_embeddings")
    original = told_length or longest
    return Rope(
        theta,
        kind,
        tuple(inverse.float().tolist()),
        float(scale),
        original if kind in BY_LENGTH else None,
        int(original * (settings.get("factor") or 1)),
    )
