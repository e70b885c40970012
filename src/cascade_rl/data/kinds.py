"""What makes the data of each kind of stage; what trains it stands in `cascade/stage.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cascade_rl.data import demonstrations, pairs, pools
from cascade_rl.recipe import Stage
from cascade_rl.types import StageData

PROVIDERS: Mapping[str, Callable[..., StageData]] = {
    "sft": demonstrations.provide,
    "reward_model": pairs.provide,
    "rl": pools.provide,
}


def provide(stage: Stage, *arguments: Any) -> StageData:
    """The data of a stage, by its kind; see `data.gather.Provide`."""
    return PROVIDERS[stage.kind](stage, *arguments)
