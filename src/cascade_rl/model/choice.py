"""Which network computes a model: the fused decoder where it knows the family wholly, else its modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_rl.errors import NotFused
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.modules import ModuleConfig
from cascade_rl.model.network import Network


def network_of(raw: Mapping[str, Any]) -> Network:
    """By the dictionary of config.json; raises InputError for what neither can compute."""
    try:
        return DecoderConfig.from_hf(raw)
    except NotFused as unknown:
        return ModuleConfig.from_hf(raw, str(unknown))
