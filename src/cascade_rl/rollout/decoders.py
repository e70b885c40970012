"""Which loop decodes a worker's rows, by what computes its model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.modules import ModuleConfig
from cascade_rl.model.network import Network
from cascade_rl.rollout.decoding import Decoding, Job
from cascade_rl.rollout.graphs import graphs_of
from cascade_rl.rollout.kernel_cache import by_kernels
from cascade_rl.rollout.module_decoding import ModuleDecoding


def decode(
    weights: Mapping[str, Tensor], config: Network, job: Job, slots: int, device: torch.device
) -> None:
    """Decode every row of a job, at most `slots` at once; `job.ended` hears of each."""
    # The kernels lay layers out in a way of their own, for steps; prefills in fp32 gain by the other one.
    own = isinstance(config, DecoderConfig) and by_kernels(config, weights["0.o"].dtype, device)
    layers = not own or weights["0.o"].dtype is torch.float32
    # once for the whole decoding, in which no weight changes; see `products`
    with config.laid_out(weights, layers=layers):
        if isinstance(config, DecoderConfig):
            Decoding(weights, config, job, slots, device, graphs_of(device)).run()
        elif isinstance(config, ModuleConfig):
            ModuleDecoding(weights, config, job, slots, device).run()
        else:
            raise TypeError(f"nothing decodes a {type(config).__name__}")
