"""The sampler that a recipe asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from cascade_rl.errors import InputError
from cascade_rl.model.decoder import DecoderConfig, flat_size
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.vllm_sampler import VLLMSampler, utilisation


def open_sampler(name: str, most: int, replicas: Replicas, tokenizer: Tokenizer, folder: Path) -> Sampler:
    """A recipe's `sampler` over the replicas' policy, whose config lies in `folder`.

    `most` tokens is the longest prompt with its reply. Raises InputError if it can't run here.
    """
    # also where nothing is ever sampled: another engine would set memory aside for no reply
    if name == "torch" or not most:
        return TorchSampler(replicas, tokenizer)
    if replicas.device.type != "cuda":
        raise InputError(
            f"sampler: vllm needs a CUDA device, and here the device is {replicas.device}; set sampler: torch"
        )
    model = replicas.local.models["policy"]
    if not isinstance(model.config, DecoderConfig):
        raise InputError(f"sampler: vllm is not tried with models by {model.config.BY}; set sampler: torch")
    # after the policy's weights and gradient are there: vLLM takes its share of what is free now
    numbers = flat_size(model.shapes)
    share = utilisation(*torch.cuda.mem_get_info(replicas.device), numbers, training=model.trained)
    return VLLMSampler(replicas, tokenizer, folder, min(most, model.config.max_positions), share)


def longest(recipe: Recipe) -> int:
    """The most tokens that a prompt and its reply have together in a recipe; 0 where nothing is sampled."""
    asked = [b.max_prompt_tokens + b.max_response_tokens for b in recipe.benchmarks]
    return max(*asked, *(stage.longest() for stage in recipe.stages), 0)
