"""The random models that items of gpu_check run on, and rows for them."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gpu_setting import Setting

from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.recipe import Architecture
from cascade_rl.train.batch import Row

TINY = Architecture(num_key_value_heads=6, max_position_embeddings=4096)
SHAPES = {  # those of SmolLM2-135M and of Qwen3-0.6B
    "135m": Architecture(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        head_dim=64, rope_theta=1e5, max_position_embeddings=8192,
    ),
    "0.6b": Architecture(
        hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
        head_dim=128, rope_theta=1e6, max_position_embeddings=40960,
    ),
}  # fmt: skip
VOCABULARY = {"135m": 49152, "0.6b": 151936}


def network(name: str, small: bool = False) -> DecoderConfig:
    """A random model's shape; `small` ones are all the tiny one, with two layers."""
    shape, vocab = (TINY, 1024) if small or name == "tiny" else (SHAPES[name], VOCABULARY[name])
    if small:
        shape = shape.model_copy(update={"num_hidden_layers": 2})
    return DecoderConfig.from_hf(scratch_config(shape, vocab, 1, 0))


def replicas(s: Setting, config: DecoderConfig, precision: str = "bf16", train: bool = True) -> Replicas:
    made = Replicas(1, str(s.device), precision)
    made.add_model("policy", config, scratch_weights(config, 0), train=train)
    return made


def rows_of(rng: random.Random, groups: int, replies: int, prompt: int, reply: int, vocab: int) -> list[Row]:
    """RL rows: `replies` of about `reply` tokens to each of `groups` prompts."""
    made = []
    for _ in range(groups):
        asked = [rng.randrange(2, vocab) for _ in range(prompt)]
        for _ in range(replies):
            ids = [rng.randrange(2, vocab) for _ in range(rng.randint(max(1, reply // 2), reply))]
            made.append(Row.of(asked, ids, 1e-4, rng.gauss(0, 1)))
    return made
