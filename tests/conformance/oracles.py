"""The peers' own code as oracles: TRL's GRPO loss and verl's `core_algos`, from their installed wheels.

Both import large packages at module level that their loss functions never touch (ray, pyarrow, datasets and others,
148 MB of wheels). Here those are replaced by empty modules while the import runs, and taken away again, so that two
wheels of 2.6 MB without dependencies are enough. What is compared is the peers' unchanged source.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path


class _Empty(types.ModuleType):
    """A module that has every name, each an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (dict,), {})
        setattr(self, name, made)
        return made


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the named packages, and all below them, as empty modules; asked last, so that a real one wins."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.made = names, []

    def find_spec(self, fullname, path, target=None):
        if any(fullname == name or fullname.startswith(name + ".") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        self.made.append(spec.name)
        return _Empty(spec.name)

    def exec_module(self, module) -> None:
        pass


@contextmanager
def stubbed(*absent: str, instead: tuple[str, ...] = ()) -> Iterator[None]:
    """Within it, packages that are not installed can be imported as empty modules; `instead` even if they are."""
    last, first = _Stubs(absent), _Stubs(instead)
    sys.meta_path.append(last)
    sys.meta_path.insert(0, first)
    try:
        yield
    finally:
        for finder in (first, last):
            sys.meta_path.remove(finder)
            for name in finder.made:
                sys.modules.pop(name, None)


@lru_cache
def trl_trainer() -> type:
    """`trl.GRPOTrainer` (TRL 1.16.0): its `_compute_loss` is called with a stand-in for `self`."""
    with stubbed("datasets", "pandas", "pyarrow"):
        return importlib.import_module("trl.trainer.grpo_trainer").GRPOTrainer


@lru_cache
def trl_overlong():
    """`trl.rewards.get_soft_overlong_punishment`."""
    return importlib.import_module("trl.rewards.other_rewards").get_soft_overlong_punishment


@lru_cache
def verl_algorithms() -> types.SimpleNamespace:
    """verl 0.9.1: `core` (`core_algos`), `correction` (`rollout_corr_helper`) and the class of the actor's settings.

    The packages on the way are entered without their `__init__`, which would start ray.
    """
    root = Path(importlib.util.find_spec("verl").origin).parent
    assert not [name for name in sys.modules if name.partition(".")[0] == "verl"], (
        "verl was imported for real"
    )
    settings = ("verl.trainer.config", "verl.workers.config", "verl.protocol")
    with stubbed("tensordict", "omegaconf", "ray", instead=settings):
        for name in ("verl", "verl.utils", "verl.trainer", "verl.trainer.ppo", "verl.workers"):
            module = types.ModuleType(name)
            module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = module
        groups = importlib.import_module("verl.utils.groupwise")
        sys.modules["verl.utils"].as_torch_index = groups.as_torch_index
        sys.modules["verl.utils"].group_mean_std = groups.group_mean_std
        core = importlib.import_module("verl.trainer.ppo.core_algos")
        correction = importlib.import_module("verl.trainer.ppo.rollout_corr_helper")
    for name in [name for name in sys.modules if name.partition(".")[0] == "verl"]:
        del sys.modules[name]
    return types.SimpleNamespace(core=core, correction=correction, ActorConfig=core.ActorConfig)
