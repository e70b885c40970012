"""A CPU's decoding by the library of `model.kernels`: keys and values, and a step over them in one call.

Thirty operators a layer become four products and five passes. Attention reads the columns that a slot uses
and no others. So the cache has its final size from the start, nothing in it is ever copied, and memory that
no column reaches is never touched.

Shapes: S slots, H hidden, N heads, K key-value heads, D head size, M tokens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cascade_rl.model import kernels
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.rollout.prefill import Prefilled

MATRICES = ("qkv", "o", "gate_up", "down")
PLAIN = ("input_norm", "q_norm", "k_norm", "mlp_norm", "qkv_bias", "o_bias")  # fp32 in the library
TABLES = ("layers", "embed", "norm", "cos", "sin", "used", "places", "rows")
BUFFERS = ("normed", "wide", "seen", "gated", "hidden", "last")
SIZES = ("count", "S", "H", "I", "N", "K", "D", "room", "half", "window", "nobody")


class _Layer(ctypes.Structure):
    """`Layer` of kernels.cpp: addresses."""

    _fields_ = [(name, ctypes.c_void_p) for name in (*PLAIN, *MATRICES, "cache")]


class _Decoder(ctypes.Structure):
    """`Decoder` of kernels.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (*TABLES, *BUFFERS)),
        *((name, ctypes.c_int64) for name in SIZES),
        ("eps", ctypes.c_float),
    ]


class KernelCache:
    """Keys and values of each layer [2, places, K, room, D].

    `place` [S] is where a slot's lie, `used` [S] how many there are. Weights are laid out at the first step,
    once for a decoding, in which they don't change. `turn` are cosines and sines [positions, 1, D]. A slot
    with row `nobody` is not looked at.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: DecoderConfig,
        slots: int,
        room: int,
        nobody: int,
        turn: tuple[Tensor, Tensor],
    ) -> None:
        self.weights, self.config, self.columns = weights, config, room
        self.nobody, self.turn = nobody, turn
        dtype = weights["0.o"].dtype
        shape = (2, slots, config.kv_heads, room, config.head_dim)
        self.store = [torch.empty(shape, dtype=dtype) for _ in range(config.layers)]
        self.place, self.used = torch.arange(slots), torch.zeros(slots, dtype=torch.long)
        self.last = torch.empty(slots, config.hidden)
        self._put, self._step = (kernels.function(name, kernels.KINDS[dtype]) for name in ("insert", "step"))
        self._held: list[Any] = []  # all whose addresses the library knows
        self._decoder: _Decoder | None = None

    def _laid_out(self) -> _Decoder:
        """What the library has to know, with the weights as its products take them."""
        config, slots, dtype = self.config, len(self.last), self.store[0].dtype
        width = config.heads * config.head_dim
        widest = max(config.hidden, 2 * config.intermediate, width + 2 * config.kv_heads * config.head_dim)
        buffers = {"normed": config.hidden, "wide": widest, "seen": width, "gated": config.intermediate}
        layers = (_Layer * config.layers)(*(self._layer(i) for i in range(config.layers)))
        self._held.append(layers)
        cos, sin = self.turn
        return _Decoder(
            layers=ctypes.addressof(layers),
            embed=self._hold(self.weights["embed"]),
            norm=self._hold(self.weights["norm"].float()),
            cos=self._hold(cos),
            sin=self._hold(sin),
            **{name: self._hold(torch.empty(slots, size, dtype=dtype)) for name, size in buffers.items()},
            hidden=self._hold(torch.empty(slots, config.hidden)),
            last=self.last.data_ptr(),
            count=config.layers,
            H=config.hidden,
            I=config.intermediate,
            N=config.heads,
            K=config.kv_heads,
            D=config.head_dim,
            room=self.columns,
            half=self.store[0].stride(0),
            window=config.window or 0,
            nobody=self.nobody,
            eps=config.eps,
        )

    def _hold(self, tensor: Tensor) -> int:
        """The address of what must stay where it is."""
        held = tensor.detach().contiguous()
        self._held.append(held)
        return held.data_ptr()

    def _layer(self, i: int) -> _Layer:
        weights = self.weights
        # the trainer's own numbers: norms and biases rounded to bf16 where products are
        plain = {name: weights[f"{i}.{name}"].float() for name in PLAIN if f"{i}.{name}" in weights}
        matrices = {name: kernels.lay_out(weights[f"{i}.{name}"]) for name in MATRICES}
        addresses = {name: self._hold(weight) for name, weight in (plain | matrices).items()}
        return _Layer(**addresses, cache=self.store[i].data_ptr())

    @property
    def slots(self) -> int:
        """How many there are now."""
        return len(self.used)

    def resize(self, keep: Tensor | None, columns: int) -> None:
        """Keep these slots, in this order (None: all); what they hold stays where it is."""
        if keep is not None:
            self.place, self.used = self.place[keep], self.used[keep]

    def insert(self, slots: Tensor, found: Prefilled, prompts: Sequence[int]) -> None:
        """Put prompts into slots."""
        heads, size = self.config.kv_heads, self.config.head_dim
        for prompt in dict.fromkeys(prompts):
            into = slots[[i for i, each in enumerate(prompts) if each == prompt]]
            count, places = found.lengths[prompt], self.place[into]
            tokens = found.places[prompt, :count].contiguous()
            self.used[into] = count
            for store, *parts in zip(self.store, found.keys, found.values, strict=True):
                for half, part in zip(store, parts, strict=True):
                    # heads lie side by side, but between tokens lies the rest of q, k and v
                    assert part.stride()[1:] == (size, 1)
                    self._put(
                        part.data_ptr(),
                        tokens.data_ptr(),
                        count,
                        places.data_ptr(),
                        len(places),
                        half.data_ptr(),
                        part.stride(0),
                        heads,
                        size,
                        self.columns,
                    )

    def states(self, ids: Tensor, rows: Tensor) -> Tensor:
        """Hidden states [S, H], fp32, normed, of the tokens `ids` [S] of `rows` [S]; in memory that stays."""
        if self._decoder is None:  # not before: replies of one token need no step
            self._decoder = self._laid_out()
        decoder = self._decoder
        decoder.S, decoder.rows = len(ids), rows.data_ptr()
        decoder.used, decoder.places = self.used.data_ptr(), self.place.data_ptr()
        if not self._step(ctypes.addressof(decoder), ids.data_ptr(), torch.get_num_threads()):
            raise RuntimeError(
                "torch refuses products that it did before: its settings for oneDNN have changed"
            )
        return self.last[: len(ids)]


def by_kernels(config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the library can take the steps of this model."""
    inner = frozenset((config.hidden, config.heads * config.head_dim, config.intermediate))
    return (
        config.head_dim in kernels.HEAD_SIZES
        and bool(torch.backends.mkldnn.enabled)  # the products are oneDNN's
        and kernels.usable(device, dtype)
        and kernels.multiplies(dtype, inner)
    )
