"""The functions of `kernels.cpp` on tensors: each does in one pass what takes torch four to ten operators.

A small model spends half of its time calling operators and in passes over what they leave behind. Tensors are
on the CPU and without gaps, rows of fp32 or bf16; there is no gradient here (see `fused`).

Shapes: M rows, H hidden, I intermediate, S slots, N heads, K key-value heads, D head size.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cascade_rl.model import native

KINDS = {torch.float32: "f", torch.bfloat16: "b"}
HEAD_SIZES = {16, 32, 64, 96, 128, 256}  # whole vectors, for which there is a loop in the library
P, L, F = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
T = ctypes.c_int  # threads
PARALLEL = 1 << 15  # numbers that are worth waking other threads for
SIGNATURES: dict[str, tuple[type[ctypes._SimpleCData[Any]], ...]] = {
    "add_norm": (P, P, P, F, P, P, L, L, T),
    "norm_back": (P, P, P, P, P, P, L, L, T),
    "swiglu": (P, P, L, L, T),
    "swiglu_back": (P, P, P, L, L, T),
    "turn_heads": (P, P, P, F, P, P, P, L, L, L, L, T),
    "turn_heads_back": (P, P, P, P, F, P, P, P, P, L, L, L, L, T),
    "weigh": (P, P, P, L, P, L, L, L, L, T),
    "weigh_back": (P, P, P, L, L, T),
    "row_dots": (P, P, P, L, L, T),
    "insert": (P, P, L, P, L, P, L, L, L, L),
    "attend": (P, P, P, F, P, P, P, P, P, P, L, P, L, L, L, L, L, L, L, T),
    "draw": (P, P, F, P, P, L, L, T),
    "lay_out": (P, P, L, L, T),
    "product": (P, P, P, P, L, L, L),
    "step": (P, P, T),
}
INTS = dict.fromkeys(("product", "step"), ctypes.c_int)  # whether torch multiplied; others give nothing
Function = Callable[..., int]


@cache
def function(name: str, kind: str) -> Function:
    """A function of the library, for the kind of numbers that its rows are."""
    library = native.find().library
    assert library is not None  # who comes here has asked `usable`
    found = library[f"{name}_{kind}"]
    found.argtypes, found.restype = list(SIGNATURES[name]), INTS.get(name)
    return found


def usable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the library can serve tensors of this kind."""
    return device.type == "cpu" and dtype in KINDS and native.find().library is not None


def _run(name: str, dtype: torch.dtype, *arguments: Tensor | float | None, numbers: int) -> None:
    """Call a function that deals rows to threads, tensors by their addresses; it reads so many `numbers`."""
    threads = torch.get_num_threads() if numbers >= PARALLEL else 1
    plain = (each.data_ptr() if isinstance(each, Tensor) else each for each in arguments)
    function(name, KINDS[dtype])(*plain, threads)


def norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x / rms(x) * weight [M, H] of fp32 x in `dtype`, and 1 / rms(x) [M, 1]."""
    found, scales = torch.empty(x.shape, dtype=dtype), torch.empty(len(x), 1)
    _run("add_norm", dtype, x, None, weight.float(), eps, found, scales, *x.shape, numbers=x.numel())
    return found, scales


def norm_back(grad: Tensor, x: Tensor, scales: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `norm` by x [M, H] and by the weight [H], fp32, for `grad` [M, H] of either kind."""
    by_x, by_weight = torch.empty_like(x), torch.zeros(x.shape[1])
    tensors = (grad, x, scales, weight.float(), by_x, by_weight)
    _run("norm_back", grad.dtype, *tensors, *x.shape, numbers=x.numel())
    return by_x, by_weight


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) * up for gate and up side by side [M, 2 I]."""
    found = both.new_empty(len(both), both.shape[1] // 2)
    _run("swiglu", both.dtype, both, found, *found.shape, numbers=both.numel())
    return found


def swiglu_back(grad: Tensor, both: Tensor) -> Tensor:
    """The gradient of `swiglu` [M, 2 I] for `grad` [M, I]."""
    found = torch.empty_like(both)
    _run("swiglu_back", both.dtype, grad, both, found, *grad.shape, numbers=both.numel())
    return found


Norms = tuple[Tensor, ...]  # of q and of k [D]; empty where heads are not normed


def turn_heads(qkv: Tensor, turn: tuple[Tensor, Tensor], queries: int, norms: Norms, eps: float) -> Tensor:
    """As `fused.turn_heads`."""
    found = torch.empty_like(qkv)
    known = (*_plain(norms), eps, *turn)
    _run("turn_heads", qkv.dtype, qkv, *known, found, *_heads(qkv, queries), numbers=qkv.numel())
    return found


def turn_heads_back(
    grad: Tensor, qkv: Tensor, turn: tuple[Tensor, Tensor], queries: int, norms: Norms, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `turn_heads` by q, k and v, and by the norms' weights (0 where there are none)."""
    found, by_norms = torch.empty_like(qkv), torch.zeros(2, qkv.shape[2])
    known = (grad, qkv, *_plain(norms), eps, *turn)
    _run("turn_heads_back", qkv.dtype, *known, found, by_norms, *_heads(qkv, queries), numbers=qkv.numel())
    return found, by_norms[0], by_norms[1]


def _plain(norms: Norms) -> Sequence[Tensor | None]:
    """The norms in fp32, or as many addresses of nothing."""
    return [weight.detach().float() for weight in norms] or [None, None]


def _heads(qkv: Tensor, queries: int) -> tuple[int, int, int, int]:
    return len(qkv), queries, (qkv.shape[1] - queries) // 2, qkv.shape[2]


def weigh(old: Tensor | None, own: Tensor, hidden: Tensor | None, causal: Tensor, trees: int) -> None:
    """Weights of attention in place of scores `old` [rows, P] and `own` [rows, R], together 1 in each row.

    Row i stands at i % R in its branch. `causal` [R, R] and `hidden` [trees, 1, 1 or R, P] are added, fp32.
    """
    width = own.shape[-1]
    rows, columns = own.numel() // width // trees, 0 if old is None else old.shape[-1]
    masks = (hidden, 1 if hidden is None else hidden.shape[2], causal)
    numbers = own.numel() // width * (columns + width)
    _run("weigh", own.dtype, old, own, *masks, trees, rows, columns, width, numbers=numbers)


def weigh_back(grad: Tensor, delta: Tensor, weights: Tensor) -> Tensor:
    """weights * (grad - delta) [.., C] in place of `grad`, with fp32 `delta` of each row."""
    columns = grad.shape[-1]
    shape = (grad.numel() // columns, columns)
    _run("weigh_back", grad.dtype, grad, delta, weights, *shape, numbers=grad.numel())
    return grad


def row_dots(a: Tensor, b: Tensor) -> Tensor:
    """The sums of a * b over the last dimension [rows, D], fp32 [rows, 1]."""
    found = torch.empty(len(a), 1)
    _run("row_dots", a.dtype, a, b, found, *a.shape, numbers=a.numel())
    return found


def draw(logits: Tensor, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Ids [M] where the running sum of softmax(logits / temperature) exceeds u [M]; their log-probabilities.

    `logits` [M, V] are fp32, `u` float64.
    """
    ids, logprobs = torch.empty(len(u), dtype=torch.long), torch.empty(len(u))
    known = (logits.contiguous(), u.contiguous(), temperature)
    _run("draw", torch.float32, *known, ids, logprobs, *logits.shape, numbers=logits.numel())
    return ids, logprobs


COLUMNS = 64  # outputs that a layout holds side by side


@cache
def multiplies(dtype: torch.dtype, sizes: frozenset[int]) -> bool:
    """Whether the library's products over so many inputs are right here, and of bf16 where they are quick."""
    library = native.find().library
    if library is None or not hasattr(library, "lay_out_f"):
        return False
    if dtype is torch.bfloat16 and (not _multiplies_bf16() or any(size % 2 for size in sizes)):
        return False  # of bf16 pairs of inputs lie side by side
    # tried: what torch exports here is no part of its promised interface
    return all(_right(dtype, size) for size in sizes)


def _right(dtype: torch.dtype, inputs: int) -> bool:
    """Of whole numbers, whose sums are exact in whatever order; outputs that fill no whole block."""
    rows, outputs = 3, COLUMNS + 6
    x, weight = (torch.arange(n * inputs).view(n, inputs).remainder(7).to(dtype) - 3 for n in (rows, outputs))
    found, layout = torch.empty(rows, outputs, dtype=dtype), lay_out(weight)
    pointers = (x.data_ptr(), layout.data_ptr(), None, found.data_ptr())
    multiplied = function("product", KINDS[dtype])(*pointers, rows, outputs, inputs)
    return bool(multiplied) and torch.equal(found, torch.nn.functional.linear(x, weight))


def _multiplies_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def lay_out(weight: Tensor) -> Tensor:
    """A weight [W, K] as the products take it: blocks of `COLUMNS` outputs, zeros behind the last."""
    outputs, inputs = weight.shape
    found = weight.new_empty(-(-outputs // COLUMNS) * COLUMNS * inputs)
    _run("lay_out", weight.dtype, weight, found, outputs, inputs, numbers=weight.numel())
    return found
