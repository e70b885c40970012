"""The sampler that a recipe asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from cascade_rl.model.decoder import flat_size
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.vllm_sampler import VLLMSampler, utilisation


def open_sampler(recipe: Recipe, replicas: Replicas, tokenizer: Tokenizer, folder: Path) -> Sampler:
    """A sampler over the replicas' policy, whose config lies in `folder`; raises ValueError if it can't run here."""
    if recipe.sampler == "torch":
        return TorchSampler(replicas, tokenizer)
    if replicas.device.type != "cuda":
        raise ValueError(
            f"sampler: vllm needs a CUDA device, and here the device is {replicas.device}; set sampler: torch"
        )
    model = replicas.local.models["policy"]
    numbers = flat_size(model.shapes)
    share = utilisation(*torch.cuda.mem_get_info(replicas.device), numbers, training=model.trained)
    return VLLMSampler(replicas, tokenizer, folder, min(longest(recipe), model.config.max_positions), share)


def longest(recipe: Recipe) -> int:
    """The most tokens that a prompt and its reply have together, anywhere in a recipe."""
    limits = [(b.max_prompt_tokens, b.max_response_tokens) for b in recipe.benchmarks]
    for stage in recipe.stages:
        if stage.kind == "rl":
            limits += [(p.max_prompt_tokens, p.max_response_tokens) for _, _, p in stage.phases()]
        if stage.kind == "reward_model" and stage.pairs_from == "samples":
            limits.append((stage.max_tokens, stage.sample_tokens))
    return max(prompt + response for prompt, response in limits)
