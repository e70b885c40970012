"""Matrix products with weights that are laid out once as the kernels want them.

On a CPU a product of few rows spends half of its time copying the weight into oneDNN's blocked layout, at
every call. While many products share the same weights (a whole decoding, all micro-batches of a step),
`laid_out` does that once: 1.4 to 1.9 times faster for up to 64 rows in bf16, with the same bits, and 1.2 to
1.8 times in fp32. Where torch lacks these kernels (private operators, which its own compiler calls)
everything runs as plain `linear`.

On a GPU the head alone is laid out, and only in bf16, where its fp32 product would take longer than the rest
of an update: as `halves` takes it. In fp32 it stays a plain product, as slow as all others there.

Shapes: M rows, H inputs, W outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cascade_rl.model import halves

WORTH_HALVING = 256  # rows from which on halving a weight for one product pays: 22 bytes a number moved


class Weight(Tensor):
    """A weight as the blocks see it: the numbers that compute, with what belongs to them.

    master     the fp32 original; None where the weight is its own
    main_grad  where its gradient is added up, in fp32 (as in Megatron-LM); None leaves it to autograd
    laid_out   its master (of the head) or itself as the kernels want it, only inside the function of that
               name
    """

    master: Tensor | None = None
    main_grad: Tensor | None = None
    laid_out: Tensor | None = None

    # As nn.Parameter does: operators take it as any tensor, at full speed, and give plain tensors back.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # C's, as there

    @classmethod
    def of(cls, numbers: Tensor, master: Tensor | None = None, main_grad: Tensor | None = None) -> Weight:
        """A weight over the same memory as `numbers`, and of the same place in a graph of autograd."""
        weight = numbers.as_subclass(cls)
        weight.master, weight.main_grad = master, main_grad
        return weight


@cache
def _can_lay_out(dtype: torch.dtype) -> bool:
    operators, backend = torch.ops.mkldnn, torch.backends.mkldnn
    available = backend.is_available()  # type: ignore[no-untyped-call]  # torch gives it no types
    if not available or not hasattr(operators, "_linear_pointwise"):
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and operators._is_mkldnn_bf16_supported())


@contextmanager
def laid_out(weights: Mapping[str, Tensor], *, layers: bool) -> Iterator[None]:
    """Inside, products use laid-out copies of the head (its fp32 master) and, with `layers`, of the layers'.

    The weights must not change meanwhile. Plain tensors among them stay as they are.
    """
    head = weights.get("head", weights["embed"])
    # (who gets the layout, of what): logits are fp32, so that the head's is of its master
    pairs = [(head, head.master if isinstance(head, Weight) and head.master is not None else head)]
    if layers:
        pairs += [(w, w) for n, w in weights.items() if w.dim() == 2 and n not in ("embed", "head", "score")]
    chosen = [(weight, source) for weight, source in pairs if isinstance(weight, Weight)]
    try:
        with torch.no_grad():
            for weight, source in chosen:
                weight.laid_out = _layout(weight, source)
        yield
    finally:  # also after a fault: a copy that stays would go on multiplying by old weights
        for weight, _ in chosen:
            weight.laid_out = None


def _layout(weight: Weight, source: Tensor) -> Tensor | None:
    """`source`, which is the weight or its master, as kernels want it; None where they take it as it is."""
    if source is weight.master and _by_halves(
        weight
    ):  # layers, which multiply as they are, are their own source
        return halves.lay_out(source)
    if source.device.type == "cpu" and _can_lay_out(source.dtype):
        # 64 rows: the batch that the kernel's layout is chosen for
        layout: Tensor = torch.ops.mkldnn._reorder_linear_weight(source.detach(), 64)
        return layout
    return None


def _by_halves(weight: Weight) -> bool:
    """Whether a head is read by three products in fp16: on a GPU, where its own dtype is shorter than fp32.

    A run in fp32 keeps fp32: it is what the halves are compared with, and all its products are as slow.
    """
    lowered = weight.master is not None and weight.dtype is not weight.master.dtype
    return lowered and weight.device.type == "cuda" and halves.available()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [M, H] times a weight [W, H], plus bias, without gradients."""
    if isinstance(weight, Weight) and weight.laid_out is not None:
        return _by_kernel(x, weight.laid_out, bias)
    return F.linear(x, weight, bias)


def read_out_linear(x: Tensor, weight: Tensor) -> Tensor:
    """fp32 x [M, H] times the fp32 master of a weight [V, H], or itself if it has none; without gradients."""
    if not isinstance(weight, Weight):
        return F.linear(x, weight)
    layout, master = weight.laid_out, weight if weight.master is None else weight.master
    if not _by_halves(weight):
        return F.linear(x, master) if layout is None else _by_kernel(x, layout, None)
    if layout is None:
        # sharded weights and those of teachers are laid out by nobody
        if len(x) < WORTH_HALVING:
            return F.linear(x, master)
        layout = halves.lay_out(master)
    return halves.product(x, layout)


def _by_kernel(x: Tensor, layout: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, layout, bias, "none", [], "")
    return found
