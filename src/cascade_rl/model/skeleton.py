"""transformers' own modules without weights, which compute with whatever weights are lent to them.

Made once in a process for each config.json. Parameters lie on the meta device; buffers that no file holds
(frequencies of RoPE) are real. Products run in the dtype of the weights, by autocast; embeddings, norms,
biases and the head are lent as their fp32 masters, as in the fused decoder. The modules stay in evaluation
mode: there is no dropout, and no jitter of routers.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_parameter_registration_hook

from cascade_rl.errors import InputError
from cascade_rl.model.fused import settle
from cascade_rl.model.products import Weight

T = TypeVar("T")
# what modules of others raise when they miss a package or get settings that they do not expect
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# layers whose tokens may have padding before them, if masks and positions say so
PADDED_LAYERS = {"full_attention", "sliding_attention"}


class _Holder(nn.Module):
    """Gives a function the module while it holds the weights that were lent."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[Any], T]) -> T:
        return work(self.model)


class _FullHead(nn.Linear):
    """A head that reads logits out in fp32, whatever the products run in."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return nn.functional.linear(
                input.float(), self.weight, None if self.bias is None else self.bias.float()
            )


class _Lend(torch.autograd.Function):
    """The numbers that a weight computes with; its gradient goes where the weight keeps it."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, numbers: Tensor) -> Tensor:
        ctx.weight = weight
        return numbers.view_as(numbers)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        return settle(ctx.weight, grad), None


@dataclass(frozen=True)
class Skeleton:
    """The modules of one config.json.

    shapes   of parameters and of the buffers that files hold, by the modules' own names
    fixed    those buffers
    twins    other names of tied parameters, and whose they are
    low      weights whose products run in the weights' dtype
    turned   of `low`, those stored [in, out] (GPT-2's Conv1D)
    embeds   the parameter that ids are looked up in
    heads    those that read logits out, biases included
    """

    model: Any
    shapes: Mapping[str, tuple[int, ...]]
    fixed: frozenset[str]
    twins: Mapping[str, str]
    low: frozenset[str]
    turned: frozenset[str]
    embeds: str
    heads: tuple[str, ...]

    @property
    def padded(self) -> bool:
        """Whether rows of unlike lengths may be decoded side by side, with padding before the short ones."""
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or PADDED_LAYERS)
        asked = inspect.signature(self.model.forward).parameters
        return kinds <= PADDED_LAYERS and "position_ids" in asked and not self.model._is_stateful

    def run(self, weights: Mapping[str, Tensor], work: Callable[[Any], T]) -> T:
        """`work(model)` with these weights, of which those in bf16 multiply."""
        lent = {name: _lent(weights[name], name in self.low) for name in self.shapes}
        device = weights[self.embeds].device
        held = {f"model.{name}": tensor for name, tensor in lent.items()}
        held |= {f"model.{twin}": lent[name] for twin, name in self.twins.items()}
        held |= {f"model.{n}": b.to(device) for n, b in self.model.named_buffers() if n not in lent}
        short = any(lent[name].dtype is torch.bfloat16 for name in self.low)
        with plain_tensors(), torch.autocast(device.type, torch.bfloat16, enabled=short):
            found: T = functional_call(_Holder(self.model), held, (work,), tie_weights=False)
        return found


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Out of inference mode, though without gradients where that was on.

    What modules make and keep is used in training, too.
    """
    gradients = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        yield


def _lent(weight: Tensor, low: bool) -> Tensor:
    numbers = weight
    if isinstance(weight, Weight) and weight.master is not None and not low:
        numbers = weight.master
    if not torch.is_grad_enabled():
        return numbers
    found: Tensor = _Lend.apply(weight, numbers)  # type: ignore[no-untyped-call]  # torch gives it no types
    return found


def config_of(raw: Mapping[str, Any]) -> Any:
    """transformers' config object; raises InputError where it refuses the settings."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[raw["model_type"]].from_dict(dict(raw))
    except (*FAULTS, StrictDataclassError) as error:
        text = " ".join(str(error).split())  # of a checked field over two lines
        raise InputError(f"transformers refuses the settings in config.json: {text}") from None


@cache
def skeleton(settings: str) -> Skeleton:
    """By the text of config.json; raises InputError where transformers can't make the modules."""
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    try:
        model = without_weights(AutoModelForCausalLM, config_of(json.loads(settings)))
    except FAULTS as error:
        raise InputError(f"transformers can't make this model: {error}") from None
    head = model.get_output_embeddings()
    if isinstance(head, nn.Linear):
        full = _FullHead(head.in_features, head.out_features, head.bias is not None, device="meta")
        full.weight, full.bias = head.weight, head.bias  # the very same: they may be tied
        model.set_output_embeddings(full)
        head = full
    names: dict[int, str] = {}
    twins: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first != name:
            twins[name] = first
    kept = set(model.state_dict())
    fixed = {n: b for n, b in model.named_buffers() if n in kept and b.is_floating_point()}
    shapes = {n: tuple(t.shape) for n, t in (*model.named_parameters(), *fixed.items())}
    matrices = {
        names[id(part.weight)]: isinstance(part, Conv1D)
        for part in model.modules()
        if isinstance(part, (nn.Linear, Conv1D)) and part is not head
    }
    embeds = names[id(model.get_input_embeddings().weight)]
    heads = [] if head is None else [names[id(p)] for p in head.parameters()]
    low = frozenset(matrices) - {embeds, *heads}
    turned = frozenset(name for name in low if matrices[name])
    return Skeleton(model, shapes, frozenset(fixed), twins, low, turned, embeds, tuple(heads))


def without_weights(kind: Any, config: Any) -> Any:
    """A model of an auto class of transformers, its parameters on the meta device, in evaluation mode."""

    def away(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if parameter.is_meta:  # the very same: it may be tied
            return None
        return nn.Parameter(parameter.to("meta"), requires_grad=False)

    # of every module that is made: each parameter goes as soon as it comes, so that memory holds one
    hook = register_module_parameter_registration_hook(away)  # type: ignore[arg-type]  # it may give another
    try:
        with plain_tensors():
            return kind.from_config(config, dtype=torch.float32).eval()
    finally:
        hook.remove()
