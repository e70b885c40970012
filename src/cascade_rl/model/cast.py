"""Weights in another precision, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cascade_rl.errors import InputError
from cascade_rl.model.checkpoint import DTYPES

CHUNK = 1 << 24  # numbers looked at together: a copy of the whole would double the memory


@dataclass(frozen=True, slots=True)
class Cast:
    """Flat weights whose every number a precision has, as fp32.

    changed  how many are others than before
    worst    the largest change of a number, as a share of it
    """

    flat: Tensor
    dtype: str
    changed: int
    worst: float

    def line(self) -> str:
        """For people."""
        if not self.changed:
            return f"in {self.dtype}, every number as it was trained and scored"
        share = 100 * self.changed / len(self.flat)
        return (
            f"rounded to {self.dtype} for this export: {share:.1f} % of the numbers changed, by at most "
            f"{self.worst:.2g} of their size. The scores are of the weights before; a greedy reply may "
            "differ where two tokens are nearly as likely"
        )


def cast(flat: Tensor, dtype: str) -> Cast:
    """Flat fp32 weights rounded to `dtype` (fp32, fp16, bf16); InputError where one has no place in it."""
    kind = DTYPES[dtype]
    if kind is torch.float32:
        return Cast(flat, dtype, 0, 0.0)
    rounded = torch.empty_like(flat)
    changed, worst, lost = 0, 0.0, 0
    for begin in range(0, len(flat), CHUNK):
        before = flat[begin : begin + CHUNK]
        after = before.to(kind).float()
        rounded[begin : begin + CHUNK] = after
        lost += int((~after.isfinite()).sum())
        other = after != before
        changed += int(other.sum())
        if other.any():
            worst = max(worst, float(((after - before).abs() / before.abs())[other].max()))
    if lost:
        largest = float(flat.abs().max())
        raise InputError(
            f"{lost} weights are too large for {dtype} (up to {largest:.3g}, it ends at "
            f"{torch.finfo(kind).max:.3g}); take bf16 or fp32"
        )
    return Cast(rounded, dtype, changed, worst)
