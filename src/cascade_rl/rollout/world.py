"""What a policy needs to answer and be graded, opened alike by run, evaluation, chat and doctor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_rl.domain import Services
from cascade_rl.grading.services import open_services
from cascade_rl.model.base import choose_device, stretched
from cascade_rl.model.checkpoint import load_directory, read_generation, read_origin
from cascade_rl.model.choice import network_of
from cascade_rl.model.network import Network
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.template import MODEL
from cascade_rl.model.tokenizer import Tokenizer, check_vocabulary, load_tokenizer
from cascade_rl.protocols import Sampler
from cascade_rl.recipe import Recipe
from cascade_rl.rollout.open import longest, open_sampler


@dataclass(frozen=True, slots=True)
class Engine:
    """With what a model computes: processes, device, precision of products (`fp32` or `bf16`), sampler.

    longest   the most tokens of a prompt and its reply together; for samplers that set memory aside for them
    template  `cascade` or `model`; None is what the directory was trained with, see `load_tokenizer`
    yarn      the factor by which the model's positions are stretched (arXiv 2309.00071); 1 leaves them
    """

    workers: int = 1
    device: str = "cpu"
    precision: str = "fp32"
    sampler: str = "torch"
    longest: int = 0
    template: str | None = None
    yarn: float = 1.0

    @classmethod
    def of(cls, recipe: Recipe) -> Engine:
        """What a recipe asks for, `auto` settled by this machine."""
        device, precision = choose_device(recipe)
        # a checkpoint says itself that it was trained with ours, which is the default
        own = MODEL if recipe.model.template == MODEL else None
        return cls(recipe.workers, device, precision, recipe.sampler, longest(recipe), own)


@dataclass(frozen=True, slots=True)
class World:
    """The model `policy` in its workers, with what it speaks, samples and is graded by.

    raw         the model's config.json, which an export repeats
    config      the network that computes it
    generation  the model's generation_config.json, which an export repeats
    origin      where a run's first model came from (docs/runs.md); empty for others and for one from scratch
    """

    replicas: Replicas
    tokenizer: Tokenizer
    sampler: Sampler
    services: Services
    raw: Mapping[str, Any]
    config: Network
    generation: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def open_world(
    folder: Path,
    engine: Engine,
    needs: frozenset[str] = frozenset(),
    *,
    train: bool = False,
    unsafe: bool = False,
    ray: str | None = None,
) -> Iterator[World]:
    """The model of a Hugging Face directory at work, with the services that `needs` names.

    train   with gradients, to be trained
    unsafe  run a model's programs even where nothing isolates them
    ray     the Ray cluster that grades (`open_services`); None: this machine

    Raises SandboxUnavailable when a sandbox is needed and nothing isolates, InputError for an unknown model.
    """
    with (
        open_services(needs, unsafe=unsafe, ray=ray) as services,
        world_with(services, folder, engine, train=train) as world,
    ):
        yield world


@contextmanager
def world_with(services: Services, folder: Path, engine: Engine, *, train: bool = False) -> Iterator[World]:
    """The same with services that are open already: a run asks for them before it makes its first model."""
    # Read first, then workers: what can't go on should say so before processes are started.
    raw, config, flat = load_directory(folder)
    if engine.yarn != 1:
        raw = stretched(raw, engine.yarn)
        config = network_of(raw)
    config.check(engine.longest)
    config.prove(flat, short=engine.precision == "bf16")
    tokenizer = load_tokenizer(folder, template=engine.template)
    check_vocabulary(tokenizer.size, config.vocab, folder)
    with Replicas(engine.workers, engine.device, engine.precision) as replicas:
        replicas.add_model("policy", config, flat, train=train)
        del flat  # the workers hold their own copy, and a run lasts for hours
        sampler = open_sampler(engine.sampler, engine.longest, replicas, tokenizer, folder)
        told = read_generation(folder), read_origin(folder)
        yield World(replicas, tokenizer, sampler, services, raw, config, *told)
