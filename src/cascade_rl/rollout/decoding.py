"""Decode many rows at once: continuous batching over slots of a key-value cache, one per worker.

A row waits, is prefilled with its prompt (once for all rows of that prompt), takes a slot, and leaves it when
it ends; the slot goes to the next row, and when none waits the cache shrinks. Who shares a step with whom
depends on lengths alone, so that the same command gives the same bits. Keys and values are stored [slots, K,
columns, D] without gaps: attention over them is one batched product, which a CPU does four times faster than
the fused kernel.

Shapes: S slots, C columns, N heads, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cascade_rl.model.decoder import DecoderConfig, head_logits, hidden_states, rotary
from cascade_rl.model.network import Sized
from cascade_rl.rollout.graphs import Graphs, Replayed
from cascade_rl.rollout.kernel_cache import KernelCache, by_kernels
from cascade_rl.rollout.prefill import Prefilled, Prompts

COLUMNS = 16  # the cache grows and shrinks by so many columns: each time all of it is copied
# By so many on a GPU, or an eighth: nothing is copied there, but a captured step reads a fixed number.
COLUMNS_ON_GPU = 128
STEP_BYTES = 32  # of logits and shares, that a step on a GPU holds for each slot and token of the vocabulary
HEAR_EVERY = 8  # steps between two questions to a GPU; rows that ended meanwhile compute along, unheard
REFILL = 8  # free slots are filled again when an eighth of all slots is free

Draw = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker decodes: prompts, the prompt of each row and its longest reply, which ids end a reply.

    `rows` and `limits` are as long as there are rows: numbers of prompts, and tokens.
    `draw(logits, rows, steps)` turns logits [r, V] of rows at their steps into ids and log-probabilities [r];
    `waits` says whether it waits for a GPU.
    `ended(row, ids, logprobs)` hears of each row once, when it ends.
    """

    prompts: Sequence[Sequence[int]]
    rows: Sequence[int]
    limits: Sequence[int]
    ends: Sequence[int]
    draw: Draw
    ended: Callable[[int, list[int], list[float]], None]
    waits: bool = False


@dataclass(frozen=True, slots=True)
class _Views:
    """What each step takes of a cache, made once for all steps: a step is mostly the calling of operators.

    rows     [2 S K room, D] of each layer
    seen     keys and values [S K, columns, D] of each layer
    visible  the mask [S, 1, columns]
    line     [S] where a slot begins in the mask
    first    [S, 2, K] where in `rows` the keys and values of a slot begin
    write    [2 S K] where a step puts keys and values; `Cache.begin` fills it in
    """

    rows: list[Tensor]
    seen: list[tuple[Tensor, Tensor]]
    visible: Tensor
    line: Tensor
    first: Tensor
    write: Tensor

    def let_go(self) -> None:
        """Hold the layers no longer, so that they can be freed one by one."""
        self.rows.clear()
        self.seen.clear()


class Cache:
    """Keys and values of each layer [2, S, K, room, D], a mask [S, 1, room], how many columns are in use [S].

    Attention reads the first `columns` of the `room` that is set aside. The mask is added to scores: 0 for
    columns that a slot sees, -inf for the others. A `room` of None is as much as is read, and grows with it.
    """

    def __init__(
        self,
        config: DecoderConfig,
        slots: int,
        columns: int,
        dtype: torch.dtype,
        device: torch.device,
        room: int | None = None,
    ) -> None:
        self.config, self.slots, self.columns, self.fixed = config, slots, columns, room is not None
        self.room = max(columns, room or 0)
        shape = (2, slots, config.kv_heads, self.room, config.head_dim)
        self.store = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.mask = torch.full((slots, 1, self.room), -torch.inf, dtype=dtype, device=device)
        self.used = torch.zeros(slots, dtype=torch.long, device=device)
        self.views = self._look()

    def _look(self) -> _Views:
        device, heads, size = self.used.device, self.config.kv_heads, self.config.head_dim
        parts = [layer.view(2, -1, self.room, size)[:, :, : self.columns] for layer in self.store]
        slots = torch.arange(self.slots, device=device)
        halves = torch.arange(2, device=device) * self.slots
        places = (slots[:, None] + halves) * heads
        first = (places[..., None] + torch.arange(heads, device=device)) * self.room
        return _Views(
            rows=[layer.view(-1, size) for layer in self.store],
            seen=[(part[0], part[1]) for part in parts],
            visible=self.mask[:, :, : self.columns],
            line=slots * self.room,
            first=first,
            write=torch.empty_like(first).flatten(),
        )

    def resize(self, keep: Tensor | None, columns: int) -> None:
        """Keep these slots, in this order (None: all), and let attention read this many columns."""
        room = self.room if self.fixed else columns

        def fit(old: Tensor, slots: int, dim: int, fill: float) -> Tensor:
            old = old if keep is None else old.index_select(slots, keep)
            if old.shape[dim] == room:
                return old
            shape = list(old.shape)
            shape[dim] = room
            new, both = old.new_full(shape, fill), min(room, old.shape[dim])
            new.narrow(dim, 0, both).copy_(old.narrow(dim, 0, both))
            return new

        if keep is not None or room != self.room:
            self.views.let_go()
            for layer in range(
                self.config.layers
            ):  # one at a time: old and new of all would be twice the cache
                self.store[layer] = fit(self.store[layer], 1, 3, 0.0)
            self.mask = fit(self.mask, 0, 2, -torch.inf)
            self.used = self.used if keep is None else self.used[keep]
        self.slots, self.columns, self.room = len(self.used), columns, room
        self.views = self._look()

    def insert(self, slots: Tensor, found: Prefilled, prompts: Sequence[int]) -> None:
        """Put prompts into slots."""
        lengths = [found.lengths[p] for p in prompts]
        width = max(lengths)
        places = found.places[torch.tensor(prompts, device=slots.device), :width]
        # beyond its length a short prompt gets the pack's first token again and again: the mask hides it
        for layer in range(self.config.layers):
            for own, new in zip(self.store[layer], (found.keys[layer], found.values[layer]), strict=True):
                own[slots, :, :width] = new[places].transpose(1, 2)
        self.used[slots] = torch.tensor(lengths, device=slots.device)
        columns = torch.arange(self.room, device=slots.device)
        used = self.used[slots][:, None]
        hidden = columns >= used
        if self.config.window is not None:  # `begin` hides one column more before the next token is written
            hidden |= columns < used - self.config.window
        self.mask[slots, 0] = self.mask.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)

    def begin(self) -> None:
        """Before a step: each slot sees one more column, the one that is written in this step."""
        # Once a step and not once a layer: the places are the same in all layers. Slots without a row write
        # too, to a column that nobody sees: their number of columns stands still.
        if self.config.window is not None:
            # the one that the window leaves behind; where there is none yet, the one that is seen anew below
            left = torch.where(self.used < self.config.window, self.used, self.used - self.config.window)
            self.mask.view(-1).index_fill_(0, self.views.line + left, -torch.inf)
        self.mask.view(-1).index_fill_(0, self.views.line + self.used, 0.0)
        first = self.views.first
        torch.add(first, self.used[:, None, None], out=self.views.write.view(first.shape))

    def attend(self, layer: int, qkv: Tensor, last: bool) -> Tensor:
        """One token a slot, qkv [S, N + 2 K, D] to [S, N D]."""
        heads, kv_heads, size = self.config.heads, self.config.kv_heads, self.config.head_dim
        self.views.rows[layer].index_copy_(0, self.views.write, qkv[:, heads:].reshape(-1, size))
        keys, values = self.views.seen[layer]
        q = qkv[:, :heads].reshape(self.slots * kv_heads, -1, size)
        scores = torch.bmm(q, keys.transpose(1, 2))  # [S K, N / K, C]; q comes scaled
        weights = scores.view(self.slots, heads, -1).add_(self.views.visible).softmax(-1)
        return torch.bmm(weights.view(*scores.shape), values).view(self.slots, -1)


class Decoding:
    """The loop over one job; `job.ended` hears of each row. With `graphs` steps are captured and replayed."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: DecoderConfig,
        job: Job,
        slots: int,
        device: torch.device,
        graphs: Graphs | None = None,
    ) -> None:
        self.weights, self.config, self.job, self.device = weights, config, job, device
        lengths = [len(job.prompts[p]) for p in job.rows]
        # the longest prompt first: its rows have the most to compute, and neighbours are alike
        self.waiting = sorted(range(len(job.rows)), key=lambda r: (-lengths[r], job.rows[r], r))
        self.prompts = Prompts(weights, config, job.prompts, device)
        slots, longest, self.nobody = min(slots, len(job.rows)), max(job.limits), len(job.rows)
        # one row more than there are: slots without a row write to it, unheard
        self.ids = torch.zeros(self.nobody + 1, longest, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(self.nobody + 1, longest, device=device)
        self.limits = torch.tensor([*job.limits, longest + 1], device=device)
        # how long each row is that ended and was not heard of yet, 0 for all others
        self.over = torch.zeros(self.nobody + 1, dtype=torch.long, device=device)
        # [V]: looked up, since `isin` would wait for a GPU where many ids end a reply
        self.ending = torch.zeros(config.vocab, dtype=torch.bool, device=device)
        self.ending[[i for i in job.ends if 0 <= i < config.vocab]] = True
        config.rope.check(max(lengths) + longest)
        # No slot uses more columns than this. Counted here: asking the device would wait for it, each step.
        self.widest = max(lengths)
        on_gpu = device.type == "cuda"
        self.every = HEAR_EVERY if on_gpu else 1
        # A GPU has the cache at its final size from the start: copied, it would need the memory twice.
        room, dtype = _round_up(self.widest + longest + 1), weights["0.o"].dtype
        self.room = room if on_gpu else None
        self.turn = rotary(config, torch.arange(self.widest + longest + 1, device=device))
        self.cache: Cache | KernelCache
        if by_kernels(config, dtype, device):
            self.cache = KernelCache(weights, config, slots, room, self.nobody, self.turn)
        else:
            self.cache = Cache(
                config, slots, columns_for(self.widest + 1, self.room), dtype, device, self.room
            )
        self.rows = torch.full((slots,), self.nobody, device=device)  # the row in each slot
        self.steps = torch.zeros(slots, dtype=torch.long, device=device)  # tokens it has
        self.next = torch.zeros(slots, dtype=torch.long, device=device)  # its last token
        self.living = 0
        self.replayed: Replayed[Tensor] = Replayed(graphs)

    def run(self) -> None:
        """Decode until every row has ended."""
        while self.waiting or self.living:
            free = self.cache.slots - self.living
            # an eighth of the slots, or as many as still wait, so that rows come in together: a prefill goes
            # through all layers, however few its tokens are
            if self.waiting and free * REFILL >= min(self.cache.slots, REFILL * len(self.waiting)):
                self._admit((self.rows == self.nobody).nonzero()[: len(self.waiting), 0])
                self._hear()
                continue
            if not self.waiting and free * 4 >= self.cache.slots:  # a quarter: shrinking copies the cache
                self._shrink()
            for _ in range(self.every):
                self._step()
            self._hear()

    def _admit(self, slots: Tensor) -> None:
        """Give free slots to the rows that come next, and draw their first tokens."""
        rows, self.waiting = self.waiting[: len(slots)], self.waiting[len(slots) :]
        prompts = [self.job.rows[r] for r in rows]
        for found, places, numbers in self.prompts.found(prompts):
            into = slots[torch.tensor(places, device=self.device)]
            self.cache.insert(into, found, numbers)
            self.rows[into] = torch.tensor([rows[place] for place in places], device=self.device)
            self.steps[into] = 0
            self.living += len(places)
            self._take(into, found.logits[torch.tensor(numbers, device=self.device)])
        self.prompts.keep({self.job.rows[r] for r in self.waiting})

    def _step(self) -> None:
        """One token for every slot; slots without a row compute along."""
        cache = self.cache
        # before the write: the column behind the last one would be the first of the next slot
        if self.widest >= cache.columns:
            self.widest = int(cache.used.max())
            if self.widest >= cache.columns:
                cache.resize(None, columns_for(cache.columns + 1, self.room))
                self.replayed.moved()
        found = self.replayed(self._compute)
        self.widest += 1
        if self.job.waits:
            self._take(None, found)

    def _compute(self) -> Tensor:
        """What a step does on the device: the logits [S, V] for a draw that waits, else the ids drawn [S]."""
        cache = self.cache
        if isinstance(cache, KernelCache):
            hidden = cache.states(self.next, self.rows)
        else:
            cache.begin()
            cosines, sines = (table.index_select(0, cache.used) for table in self.turn)
            hidden = hidden_states(self.weights, self.config, self.next, (cosines, sines), cache.attend)
        cache.used += self.rows < self.nobody
        logits = head_logits(self.weights, hidden)
        # A draw that waits stays outside of what is captured: 49 launches, where a 0.6B has 900. Inside, rows
        # whose nucleus is not known to be whole would have to stand still until somebody asks: with one such
        # token in a hundred that takes longer than those launches.
        if self.job.waits:
            return logits
        self._take(None, logits)
        return self.next

    def _take(self, slots: Tensor | None, logits: Tensor) -> None:
        """Draw the next tokens of slots (None: of all), write them down, and see which rows end."""
        # all [r]: the rows of these slots, and how many tokens they have before this one
        rows, steps = (self.rows, self.steps) if slots is None else (self.rows[slots], self.steps[slots])
        ids, logprobs = self.job.draw(logits, rows, steps)
        self.ids[rows, steps], self.logprobs[rows, steps] = ids, logprobs
        living = rows < self.nobody
        steps = steps + living
        ended = (self.ending.index_select(0, ids) & living) | (steps >= self.limits[rows])
        # written down on the device and read by `_hear`: asking at each step would wait for it
        self.over.index_copy_(0, rows, steps * ended)
        rows, steps = rows.masked_fill(ended, self.nobody), steps.masked_fill(ended, 0)
        if slots is None:  # in place: a step finds all it needs where the last one found it
            self.rows.copy_(rows)
            self.steps.copy_(steps)
            self.next.copy_(ids)
        else:
            self.rows[slots], self.steps[slots], self.next[slots] = rows, steps, ids

    def _hear(self) -> None:
        """Tell of the rows that ended since the last time."""
        rows = self.over[: self.nobody].nonzero()[:, 0]
        if not len(rows):
            return
        counts = self.over[rows].tolist()
        longest = max(counts)
        ids, logprobs = self.ids[rows, :longest].tolist(), self.logprobs[rows, :longest].tolist()
        self.over.zero_()
        self.living -= len(counts)
        for row, count, own, own_logprobs in zip(rows.tolist(), counts, ids, logprobs, strict=True):
            self.job.ended(row, own[:count], own_logprobs[:count])

    def _shrink(self) -> None:
        """Drop slots without a row and columns that no row needs."""
        keep = (self.rows < self.nobody).nonzero()[:, 0]
        self.widest = int(self.cache.used[keep].max())
        self.replayed.moved()
        self.cache.resize(keep, columns_for(self.widest + 1, self.room))
        self.rows, self.steps, self.next = (t[keep] for t in (self.rows, self.steps, self.next))


def _round_up(columns: int) -> int:
    return -(-columns // COLUMNS) * COLUMNS


def columns_for(used: int, room: int | None) -> int:
    """How many columns attention reads where so many are in use; `room` is what a GPU has of them, else None.

    A captured step reads a fixed number, so that more are read than are used until the next number is due.
    """
    # One more number is one more capture, 50 ms with the steps before it; one more column is 10 microseconds
    # a step for 256 slots of a 0.6B (115 KB each, 2.9 TB/s). Both cost least together at about 100 columns,
    # and at more for fewer slots. From 2,048 on an eighth: 8 captures, not 32, between 4,096 and 8,192.
    if room is None:
        return _round_up(used)
    by = max(COLUMNS_ON_GPU, 1 << max(0, used.bit_length() - 4))
    return min(room, -(-used // by) * by)


def slots_for(
    config: Sized, columns: int, dtype: torch.dtype, most: int, memory: int, beside: int = 0
) -> int:
    """How many slots of so many columns fit into `memory` bytes, at most `most`, at least one.

    `beside` are bytes that a slot takes beside its keys and values.
    """
    size = config.size()
    numbers = 2 * size.layers * size.cached * columns  # keys and values
    return max(1, min(most, memory // (max(1, numbers) * dtype.itemsize + beside)))
