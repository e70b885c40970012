"""Tiny models, a tokenizer and a toy domain that several tests share: thousands of parameters, made in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from cascade_rl.domain import Domain, Services
from cascade_rl.model.checkpoint import scratch_config
from cascade_rl.model.decoder import DecoderConfig, flat_size, head_logits, packed_states, views
from cascade_rl.model.packed import Tree, pack
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer, train_tokenizer
from cascade_rl.recipe import Architecture, Stage
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.world import World
from cascade_rl.run.book import Book
from cascade_rl.testing import QuietScreen
from cascade_rl.train.stage_run import StageRun
from cascade_rl.types import Message, Problem, Verdict, problem_id

SHAPE = Architecture(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    max_position_embeddings=512,
)  # fmt: skip
TEXTS = [
    "Say one word. Name the colour of the sky, the sea, the grass and the snow: blue, blue, green, white.",
    "What is 12 + 7? It is 19, since 12 + 7 = 19. What is 3 times 4? The answer is 12, the answer is right.",
    "Write a list of three things that the answer needs; then write the answer. Ünïcode ist auch dabei.",
]


@lru_cache
def tokenizer(vocab_size: int = 300) -> Tokenizer:
    """A byte-level tokenizer with a few merges; shared, so tests must not change it."""
    return train_tokenizer(TEXTS * 3, vocab_size)


def raw_config(shape: Architecture = SHAPE) -> dict:
    """config.json of a Qwen3 that fits `tokenizer()`."""
    tok = tokenizer()
    return scratch_config(shape, len(tok.inner), tok.end_id, tok.pad_id)


def random_flat(
    config: DecoderConfig, seed: int = 0, scale: float = 0.25, extra: dict | None = None
) -> torch.Tensor:
    """Weights far from their usual start, norms and biases too: nothing can be left out unnoticed."""
    shapes = config.shapes() | (extra or {})
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(flat_size(shapes), generator=generator) * scale
    for name, view in views(flat, shapes).items():
        if "norm" in name:
            view += 1
    return flat


class Policy:
    """A trainable tiny model inside its own replicas, with config and tokenizer."""

    def __init__(
        self, size: int = 1, seed: int = 0, scale: float = 0.25, train: bool = True, sharded: bool = False
    ) -> None:
        self.raw = raw_config()
        self.config = DecoderConfig.from_hf(self.raw)
        self.tokenizer = tokenizer()
        self.replicas = Replicas(size, sharded=sharded)
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        self.model = self.replicas.add_model(
            "policy", self.config, random_flat(self.config, seed, scale), train=train
        )


def logits(config: DecoderConfig, flat: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Our logits [B, T, V] of whole rows."""
    weights = views(flat, config.shapes())
    empty = np.empty(0, np.int64)
    with torch.no_grad():
        trees = [Tree(empty, (row,)) for row in ids.numpy()]
        hidden = packed_states(weights, config, pack(trees, torch.device("cpu")))
        return head_logits(weights, hidden).view(*ids.shape, -1)


def toy_problem(number: int, domain: str = "toy", series: str = "") -> Problem:
    """A short prompt of its own."""
    asked = f"Name thing {number}{series}."
    return Problem(problem_id(domain, asked), domain, (Message("user", asked),), None)


async def _parity(problem, rollout, services) -> Verdict:
    return Verdict.binary(sum(rollout.text.encode(errors="replace")) % 2 == 0)


def _pair(problem, rng) -> tuple[str, str]:
    return f"the answer is {rng.randint(1, 9)}", "no"


def toy_domain(name: str = "toy", grade=_parity) -> Domain:
    """Problems without end; the builtin grader is a coin that depends on the reply's bytes alone."""

    def endless(query):
        return (toy_problem(n, name, f" of {query.split} {query.seed}") for n in range(10**6))

    return Domain(
        name, "a toy", {"builtin": endless}, grade, examples=list, gold=lambda p: "the answer",
        demonstrate=lambda p, rng, fault_rate: f"the answer is {rng.randint(1, 99)}.", pairs=_pair,
    )  # fmt: skip


@contextmanager
def stage_run(
    folder: Path,
    stage: Stage,
    domains: Mapping[str, Domain],
    policy: Policy | None = None,
    sampler=None,
    services: Services | None = None,
    **rest,
) -> Iterator[StageRun]:
    """What a stage needs to be trained in `folder`, with its journals open; without a policy only what needs no model."""
    tools = (policy.replicas, policy.tokenizer) if policy else (None, None)
    sampler = sampler or TorchSampler(*tools)
    raw, config = (policy.raw, policy.config) if policy else ({}, None)
    world = World(*tools, sampler, services or Services(), raw, config)
    book = Book(folder)
    try:
        yield StageRun(stage, world, book, domains, **{"screen": QuietScreen(), **rest})
    finally:
        book.close()
