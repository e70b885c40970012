"""A product in fp32 by three in fp16 with sums in fp32, which a GPU multiplies several times faster.

A number is the sum of two halves of 11 bits, x = high + low, and x w = high high + high low + low high but
for 2^-22 of it: the error of the sum is that of fp32's own. Halves in bf16 have 8 bits each and miss by ten
times as much, log-probabilities by 4e-5 and more (docs/LOG.md). The three lie side by side along the inner
dimension, so that one kernel does it all; the small ones come first, while the sum is small.

fp16 holds 6e-8 to 65,504. Powers of two that cancel keep both sides of each product in the middle of that:
all bits are there for hidden states from 0.03 to 524,032 and weights from 0.0005 to 8,188. Below, errors stay
as small in themselves; beyond, logits are NaN, so that nothing goes on unnoticed.

Shapes: M rows, H inputs, W outputs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

# What hidden states are divided and weights multiplied by: those are about 1, these about 0.02.
SIDES = 8.0
# What a low half is multiplied and the high one beside it divided by: low halves are 2^-12 of their number.
LOW = 64.0


@cache
def available() -> bool:
    """Whether torch gives products of fp16 in fp32: since 2.8, not in its build for AMD's devices."""
    return hasattr(torch.ops.aten.mm, "dtype") and torch.version.hip is None


def lay_out(weight: Tensor) -> Tensor:
    """The halves of an fp32 weight [W, H] as `product` wants them, [W, 3 H] in fp16: 1.5 times its bytes."""
    found = weight.new_empty(len(weight), 3, weight.shape[1], dtype=torch.float16)
    low_x, low_weight, high = found.unbind(1)
    torch.mul(weight, SIDES, out=high)
    torch.mul(high, 1 / LOW, out=low_x)
    # exact in fp32: what `high` leaves of the weight
    torch.mul(torch.sub(weight, high, alpha=1 / SIDES), SIDES * LOW, out=low_weight)
    return found.flatten(1)


def product(x: Tensor, layout: Tensor) -> Tensor:
    """fp32 x [M, H] times a weight laid out [W, 3 H]: [M, W] in fp32, without gradients; on a GPU only."""
    found = x.new_empty(len(x), 3, x.shape[1], dtype=torch.float16)
    low_x, low_weight, high = found.unbind(1)
    torch.mul(x, 1 / SIDES, out=high)
    torch.mul(high, 1 / LOW, out=low_weight)
    torch.mul(torch.sub(x, high, alpha=SIDES), LOW / SIDES, out=low_x)
    return torch.mm(found.flatten(1), layout.t(), out_dtype=torch.float32)
