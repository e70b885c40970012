"""Keys and values of a CPU's decoding, and a step over them, by the library of `model.kernels`.

Four calls and four products a layer take the place of thirty operators. Attention reads the columns that a slot uses
and no others, in fp32 between the stored keys and values; so the cache has its final size from the start, is never
copied, and memory that no column reaches is never touched.

Shapes: S slots, H hidden, I intermediate, N heads, K key-value heads, D head size, M tokens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cascade_rl.model import kernels
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.rollout.prefill import Prefilled


class KernelCache:
    """Keys and values of each layer [2, places, K, room, D]; `place` [S] is where a slot's lie, `used` [S] how many.

    The face is that of `decoding.Cache`, but that no column has to be asked for.
    """

    def __init__(self, config: DecoderConfig, slots: int, room: int, dtype: torch.dtype) -> None:
        self.config, self.columns = config, room
        shape = (2, slots, config.kv_heads, room, config.head_dim)
        self.store = [torch.empty(shape, dtype=dtype) for _ in range(config.layers)]
        self.place, self.used = torch.arange(slots), torch.zeros(slots, dtype=torch.long)
        self.put = kernels.function("insert", kernels.KINDS[dtype])

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
                    self.put(
                        part.data_ptr(), tokens.data_ptr(), count, places.data_ptr(), len(places),
                        half.data_ptr(), part.stride(0), heads, size, self.columns,
                    )  # fmt: skip


class _Layer(ctypes.Structure):
    """`Layer` of kernels.cpp."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in (
            *("input_norm", "q_norm", "k_norm", "mlp_norm", "qkv", "o", "gate_up", "down"),
            *("qkv_bias", "o_bias", "cache"),
        )
    ]


class _Decoder(ctypes.Structure):
    """`Decoder` of kernels.cpp."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("layers", "embed", "norm", "cos", "sin", "used", "places", "rows"),
                *("normed", "wide", "seen", "gated", "hidden", "last"),
            )
        ),
        *(
            (name, ctypes.c_int64)
            for name in ("count", "S", "H", "I", "N", "K", "D", "room", "half", "window", "nobody")
        ),
        ("eps", ctypes.c_float),
    ]


class Step:
    """The hidden states of the next token of each slot, in one call of the library.

    `turn` are cosines and sines [positions, 1, D]. A slot with row `nobody` is not looked at. Weights are laid out
    here, once for a decoding, in which they don't change.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: DecoderConfig,
        cache: KernelCache,
        nobody: int,
        turn: tuple[Tensor, Tensor],
    ) -> None:
        self.cache, dtype, slots = cache, cache.store[0].dtype, cache.slots
        self.step = kernels.function("step", kernels.KINDS[dtype])
        self.held: list[Tensor] = []  # all whose addresses the library knows
        widest = max(config.hidden, 2 * config.intermediate, (config.heads + 2 * config.kv_heads) * config.head_dim)
        self.last = torch.empty(slots, config.hidden)
        cos, sin = (self._hold(table) for table in turn)
        layers = (_Layer * config.layers)(
            *(self._layer(i, weights, cache.store[i]) for i in range(config.layers))
        )
        self.layers = layers
        self.decoder = _Decoder(
            layers=ctypes.addressof(layers), embed=self._hold(weights["embed"]),
            norm=self._hold(weights["norm"].float()), cos=cos, sin=sin,
            normed=self._room(slots, config.hidden, dtype), wide=self._room(slots, widest, dtype),
            seen=self._room(slots, config.heads * config.head_dim, dtype),
            gated=self._room(slots, config.intermediate, dtype),
            hidden=self._room(slots, config.hidden, torch.float32), last=self.last.data_ptr(),
            count=config.layers, H=config.hidden, I=config.intermediate, N=config.heads, K=config.kv_heads,
            D=config.head_dim, room=cache.columns, half=cache.store[0].stride(0), window=config.window or 0,
            nobody=nobody, eps=config.eps,
        )  # fmt: skip

    def _hold(self, tensor: Tensor) -> int:
        """The address of what must stay where it is."""
        self.held.append(tensor.detach().contiguous())
        return self.held[-1].data_ptr()

    def _room(self, rows: int, columns: int, dtype: torch.dtype) -> int:
        return self._hold(torch.empty(rows, columns, dtype=dtype))

    def _layer(self, i: int, weights: Mapping[str, Tensor], cache: Tensor) -> _Layer:
        """Norms and biases in fp32, with the numbers that the trainer has; matrices laid out."""

        def plain(name: str) -> int | None:
            weight = weights.get(f"{i}.{name}")
            return None if weight is None else self._hold(weight.float())

        fields = {name: plain(name) for name in ("input_norm", "q_norm", "k_norm", "mlp_norm", "qkv_bias", "o_bias")}
        for name in ("qkv", "o", "gate_up", "down"):
            fields[name] = self._hold(kernels.lay_out(weights[f"{i}.{name}"]))
        return _Layer(**fields, cache=cache.data_ptr())

    def __call__(self, ids: Tensor, rows: Tensor) -> Tensor:
        """Hidden states [S, H], fp32, normed, of ids [S] in the slots of `rows` [S]; in the same memory each time."""
        decoder, cache = self.decoder, self.cache
        decoder.S = len(ids)
        decoder.used, decoder.places, decoder.rows = (
            each.data_ptr() for each in (cache.used, cache.place, rows)
        )
        self.step(ctypes.addressof(decoder), ids.data_ptr(), torch.get_num_threads())
        return self.last[: len(ids)]


def usable(config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the library can take the steps of this model."""
    inner = (config.hidden, config.heads * config.head_dim, config.intermediate)
    return (
        config.head_dim in kernels.HEAD_SIZES
        and not any(size % 2 for size in inner)  # pairs of inputs lie side by side
        and kernels.usable(device, dtype)
        and kernels.multiplies(dtype)
    )
