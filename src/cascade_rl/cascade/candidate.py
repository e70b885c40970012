"""What is measured on a suite: a model of this machine or a hub, or one behind an address."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_rl.cascade.reach import Machine, fitted_to
from cascade_rl.domain import HeldOut, Services
from cascade_rl.model.pretrained import find_model
from cascade_rl.protocols import Finished, Sampler, Sampling, Screen
from cascade_rl.remote.address import Served, parse_served
from cascade_rl.remote.sampler import ServedSettings, open_sampler
from cascade_rl.rollout.world import World, world_with
from cascade_rl.types import Problem, Rollout

# files beside the weights by which the same weights give other replies
DECISIVE = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def none_asked() -> Mapping[str, int]:
    """What a model of this machine costs in requests."""
    return {}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is to answer.

    identity  what of it the replies rest on, as JSON: another identity is another folder of results
    held      the benchmarks, within what it can do
    opened    begins the work, which ends with the stack; the world is None of a model that is not here
    counts    what its server was asked and said so far
    """

    identity: Mapping[str, Any]
    held: Sequence[HeldOut]
    opened: Callable[[Services, ExitStack], tuple[Sampler, World | None]]
    counts: Callable[[], Mapping[str, int]] = none_asked


class Nobody:
    """The sampler where no reply is missing."""

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """Is not asked."""
        raise AssertionError(f"{len(problems)} problems are asked of nobody")

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """Is not asked."""
        return [self.sample(*each) for each in asked]


def candidate(
    model: str, held: Sequence[HeldOut], machine: Machine, served: ServedSettings, screen: Screen
) -> Candidate:
    """The model of a name, see `cascade eval`; raises InputError where it can't be found or asked."""
    address = parse_served(model)
    return _behind(address, held, served, screen) if address else _here(model, held, machine, screen)


def _here(model: str, held: Sequence[HeldOut], machine: Machine, screen: Screen) -> Candidate:
    found = find_model(model, note=screen.note, waiting=screen.waiting)
    engine, fitted = fitted_to(held, found.folder, machine, screen.note)
    screen.waiting("model")
    identity: dict[str, Any] = {
        "model": found.name,
        "commit": found.commit,
        "weights": weights_digest(found.folder),
    }
    identity |= {key: getattr(engine, key) for key in ("precision", "sampler", "template", "yarn")}

    def opened(services: Services, stack: ExitStack) -> tuple[Sampler, World | None]:
        world = stack.enter_context(world_with(services, found.folder, engine))
        return world.sampler, world

    return Candidate(identity, fitted, opened)


def _behind(address: Served, held: Sequence[HeldOut], settings: ServedSettings, screen: Screen) -> Candidate:
    # opened at once: which model it is, and how the mode is said, may stand in the server's list
    sampler = open_sampler(address, settings)
    said = sampler.described()
    # what a server turns out to refuse is not known before it is asked, and changes no distribution
    identity = {"model": str(Served(said["server"], said["model"])), "mode_by": said["mode_by"]}
    if said["mode_by"] == "none":
        screen.note(
            "the server is not told the mode: replies are in its own (--mode-by flag or kwargs say it)"
        )

    def opened(services: Services, stack: ExitStack) -> tuple[Sampler, World | None]:
        return sampler, None

    return Candidate(identity, held, opened, lambda: dict(sampler.client.counts))


def weights_digest(folder: Path) -> str:
    """16 hex digits over the files of weights: another model under the same path is another model.

    With them what else decides a reply: the shape and RoPE, the tokenizer, its template.
    """
    found = hashlib.sha256()
    beside = [folder / name for name in DECISIVE if (folder / name).is_file()]
    for path in [*sorted(folder.glob("*.safetensors")), *beside]:
        with path.open("rb") as opened:
            found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:16]
