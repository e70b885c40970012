"""What a check looks at: a model directory in training position, and rollouts of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig, views
from cascade_rl.model.export import export
from cascade_rl.model.tokenizer import Tokenizer, train_tokenizer
from cascade_rl.model.weights import Shared
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import Architecture
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.rollout.world import Engine, World, open_world
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.gradients import accumulate
from cascade_rl.train.objective import Objective, token_logprobs
from cascade_rl.types import Message, Problem, Rollout, problem_id

CPU = torch.device("cpu")
HUGE = 1 << 30  # tokens in a micro-batch: all rows go into one
ASKED = ("Name a colour.", "Write one short sentence about the sea, then stop.")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether the failure is absent, and the numbers that say so."""

    passed: bool
    detail: str


@dataclass
class Subject:
    """A loaded model that can be trained and sampled; `folder` is where it came from."""

    folder: Path
    world: World

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, template: str | None = None) -> Iterator[Subject]:
        """A local Hugging Face directory at work, in fp32; raises InputError for what is not supported."""
        # one process on the CPU: the checks look into its model and its gradient
        with open_world(folder, Engine(template=template), train=True) as world:
            yield cls(folder, world)

    @property
    def tokenizer(self) -> Tokenizer:
        """What the model reads and writes."""
        return self.world.tokenizer

    @property
    def model(self) -> Shared:
        """The policy with its gradient."""
        model = self.world.replicas.local.models["policy"]
        assert isinstance(model, Shared)  # `opened` made it so
        return model

    @cached_property
    def problems(self) -> list[Problem]:
        """Prompts of different lengths."""
        mode = self.tokenizer.template.modes[0]
        return [
            Problem(problem_id("doctor", text), "doctor", (Message("user", text),), None, mode)
            for text in ASKED
        ]

    def rollouts(self, sampling: Sampling) -> list[Rollout]:
        """Sampled replies to all prompts, by a sampler of their own."""
        found = TorchSampler(self.world.replicas, self.tokenizer).sample(self.problems, sampling)
        return [rollout for group in found for rollout in group]

    def logprobs(self, rollouts: Sequence[Rollout], objective: Objective) -> list[Tensor]:
        """What the trainer finds for each rollout's tokens, all in one pack."""
        batch = pack_rows([Row.of(r.prompt_ids, r.ids, 1.0) for r in rollouts], CPU)
        with torch.no_grad():
            found = token_logprobs(self.model.weights, self.world.config, batch, objective.rule)
        return [found[batch.rows == i] for i in range(len(rollouts))]

    def gap(self, rollouts: Sequence[Rollout], objective: Objective) -> float:
        """The largest |log p of the trainer - recorded log p| over all sampled tokens."""
        found = torch.cat(self.logprobs(rollouts, objective))
        return float((found - torch.tensor([lp for r in rollouts for lp in r.logprobs])).abs().max())

    def gradient(
        self, rows: Sequence[Row], tokens: int, objective: Objective
    ) -> tuple[dict[str, float], Tensor]:
        """The sums and a copy of the gradient of all weights."""
        sums = accumulate(self.world.replicas.local, "policy", rows, tokens, objective)
        gradient = self.model.grad
        assert gradient is not None  # it was loaded for training
        return sums, gradient.clone()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put the weights back afterwards."""
        before = self.model.flat.clone()
        try:
            yield
        finally:
            with torch.no_grad():
                self.model.flat.copy_(before)
            self.world.replicas.refresh("policy")

    @contextmanager
    def uneven(self) -> Iterator[None]:
        """Spread out the logits of a model that is too even for a filter to show, and put it back afterwards.

        A new or badly trained model is: nothing falls below min-p, and one temperature is like another.
        """
        with self.kept(), torch.no_grad():
            batch = pack_rows([Row.of(self.tokenizer.prompt(p), [0], 1.0) for p in self.problems], CPU)
            config, weights = self.world.config, self.model.weights
            spread = float(config.logits(weights, config.scored(weights, batch.packed)).std(-1).mean())
            if 0 < spread < 1:
                for name in config.reading_out():
                    views(self.model.flat, self.model.shapes)[name].div_(spread)
                self.world.replicas.refresh("policy")
            with torch.enable_grad():
                yield


def policy_rows(rollouts: Sequence[Rollout]) -> list[Row]:
    """Rows whose advantages are of both signs and add up to zero over the batch."""
    # sin: signs that follow no pattern of the rows; minus the mean, so that the loss has the value 0
    total = sum(len(r.ids) for r in rollouts)
    made = [
        Row.of(r.prompt_ids, r.ids, 1 / total, math.sin(i + 1), r.logprobs) for i, r in enumerate(rollouts)
    ]
    mean = sum(float(r.advantage.sum()) for r in made) / total
    return [replace(row, advantage=row.advantage - mean) for row in made]


def difference(a: Tensor, b: Tensor) -> float:
    """|a - b| / |a|."""
    return float((a - b).double().norm() / a.double().norm())


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Write a random model of a few thousand parameters, with a tokenizer, that the checks accept."""
    texts = [*ASKED, "The sky is blue and the sea is green; the answer is 19, since 12 + 7 = 19."] * 4
    # 256 bytes, the special tokens and a few merges
    tokenizer = train_tokenizer(texts, 300)
    shape = Architecture(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    raw = scratch_config(shape, len(tokenizer.inner), tokenizer.end_id, tokenizer.pad_id)
    config = DecoderConfig.from_hf(raw)
    flat = scratch_weights(config, seed)
    # As drawn, the model is so even that truncation and temperature would hardly show.
    flat += 0.1 * torch.randn(len(flat), generator=torch.Generator().manual_seed(seed))
    export(folder, raw, config, flat, tokenizer)
    return folder
