"""Decoding by CUDA graphs, without a GPU: what a graph would repeat gives the replies of plain steps, bit for bit."""

from __future__ import annotations

import gc
import random
import warnings
import weakref
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import pytest
import shadow_graphs
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shadow_cuda import Memory, shadow_cuda
from test_gpu_attention import kernel
from test_shadow import RULES, prompts

from cascade_rl.model import gpu_attention
from cascade_rl.model.checkpoint import scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.replicas import Replicas
from cascade_rl.recipe import Architecture
from cascade_rl.rollout import decoding, torch_sampler
from cascade_rl.rollout.decoding import Decoding, Job, columns_for, slots_for
from cascade_rl.rollout.drawing import Draw, Wanted
from cascade_rl.rollout.graphs import PLAIN, Graphs, Replayed, graphs_of

SHAPE = Architecture(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    rope_theta=1e4, max_position_embeddings=2048,
)  # fmt: skip
CONFIG = DecoderConfig.from_hf(scratch_config(SHAPE, 1200, 1, 0))
CUDA = torch.device("cuda")
Replies = dict[int, tuple[list[int], list[float]]]


@pytest.fixture(autouse=True)
def written_out(monkeypatch):
    monkeypatch.setattr(gpu_attention, "varlen", kernel)  # for bf16: the CPU has none of its own


@dataclass
class Case:
    """A decoding: `ends` of 1,200 ids, 24 rows of 6 prompts in so many slots."""

    rules: tuple[str, ...] = ("plain",)
    slots: int = 9
    limit: int = 60
    config: DecoderConfig = CONFIG
    precision: str = "fp32"
    ends: tuple[int, ...] = tuple(range(0, 1200, 40))
    replies: Replies = field(default_factory=dict)

    def loop(self, graphs: Graphs | None) -> Decoding:
        replicas = Replicas(1, "cuda", self.precision)
        torch.set_num_threads(1)  # the products are tiny: a second thread would only wait
        model = replicas.add_model("policy", self.config, scratch_weights(self.config, 0), train=False)
        rules = [RULES[name] for name in self.rules]
        wanted = [
            Wanted(g, g, rules[j % len(rules)], self.limit - 3 * g, f"k{g}", j)
            for g in range(6)
            for j in range(4)
        ]
        draw, self.replies = Draw(wanted, CUDA), {}
        job = Job(
            prompts(random.Random(0)),
            [w.prompt for w in wanted],
            [w.limit for w in wanted],
            self.ends,
            draw,
            lambda row, ids, logprobs: self.replies.update({row: (ids, logprobs)}),
            draw.waits(self.config.vocab),
        )
        return Decoding(model.weights, self.config, job, self.slots, CUDA, graphs)

    def decoded(self, graphs: Graphs | None) -> tuple[Replies, Decoding]:
        with torch.inference_mode():
            loop = self.loop(graphs)
            loop.run()
        assert len(self.replies) == 24
        return self.replies, loop


CASES = {
    "plain": Case(),
    "one slot": Case(slots=1, limit=30),
    "all at once": Case(slots=24, ends=tuple(range(0, 1200, 60))),
    "to the limit": Case(ends=(-1,), slots=24, limit=90),
    "top-k": Case(rules=("filtered",)),
    "top-p, drawn outside": Case(rules=("top-p",)),
    "several rules": Case(rules=("greedy", "plain", "filtered")),
    "several, one outside": Case(rules=("greedy", "min-p")),
    "window": Case(config=replace(CONFIG, window=7)),
    "normed heads": Case(config=replace(CONFIG, qk_norm=True)),
    "bf16": Case(precision="bf16"),
    "bf16, window": Case(precision="bf16", config=replace(CONFIG, window=7), slots=5),
}


@pytest.mark.parametrize("name", CASES)
def test_replies_are_those_of_plain_steps_bit_for_bit(name, monkeypatch):
    monkeypatch.setattr(decoding, "COLUMNS_ON_GPU", 16)  # so that numbers of columns change, too
    with shadow_cuda():
        state = shadow_graphs.STATE
        plain, loop = CASES[name].decoded(None)
        assert loop.replayed.captures == state.graphs == 0
        replayed, loop = CASES[name].decoded(Graphs(CUDA))
        assert loop.replayed.captures >= 2 and state.graphs > 10
    assert replayed == plain
    assert len({len(ids) for ids, _ in plain.values()}) > 4, "rows should leave at different steps"


@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=3),
    st.integers(2, 24),
    st.integers(17, 50),
    st.sampled_from([None, 1, 5, 40]),
    st.integers(30, 400),
)
def test_whatever_is_decoded(rules, slots, limit, window, apart):
    config, ends = replace(CONFIG, window=window), tuple(range(0, 1200, apart))
    case = Case(tuple(rules), slots, limit, config, ends=ends)
    with shadow_cuda(), patch.object(decoding, "COLUMNS_ON_GPU", 16):
        assert case.decoded(Graphs(CUDA))[0] == case.decoded(None)[0]


def stepped(case: Case, graphs: Graphs | None, steps: int) -> Decoding:
    """A decoding with all its rows in slots, so many steps on."""
    loop = case.loop(graphs)
    loop._admit(torch.arange(case.slots, device=CUDA))
    for _ in range(steps):
        loop._step()
    return loop


FOR_EVER = Case(slots=24, limit=300, ends=(-1,))


@pytest.mark.parametrize("name", ["plain", "greedy", "filtered", "top-p"])
def test_a_step_is_the_same_operators_on_the_same_memory_and_waits_for_nothing(name):
    with shadow_cuda() as log, torch.inference_mode():
        graphs = Graphs(CUDA)
        loop = stepped(replace(FOR_EVER, rules=(name,)), None, 3)
        log.clear()
        for _ in range(4):
            assert graphs.capture(loop._compute) is not None  # which does not step: the next one does
            loop._step()
        tapes = shadow_graphs.STATE.tapes
        _, waits, copies = log.taken()
    assert len(tapes) == 4 and len(tapes[0].operators) > 50 and not copies
    assert all(tape.sign() == tapes[0].sign() for tape in tapes)
    assert waits.total() == 4 * (name == "top-p"), "a nucleus is asked for outside of what is captured"


# What a captured step launches beside its graph: nothing, or the draw and what is written down.
OUTSIDE = {"plain": 0, "greedy": 0, "filtered": 0, "top-p": 49}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_captured_step_is_one_launch(name):
    with shadow_cuda() as log, torch.inference_mode():
        loop = stepped(replace(FOR_EVER, rules=(name,)), Graphs(CUDA), PLAIN + 2)
        log.clear()
        before = shadow_graphs.STATE.graphs
        loop._step()
        launches, waits, copies = log.taken()
    assert shadow_graphs.STATE.graphs == before + 1 and not copies
    assert launches.total() <= OUTSIDE[name] and waits.total() == (name == "top-p"), launches


def test_a_step_reads_the_columns_of_its_bucket_and_no_more():
    with shadow_cuda(), torch.inference_mode():
        loop = stepped(FOR_EVER, Graphs(CUDA), 140)
        assert loop.cache.room == 336 and loop.cache.columns == 256 > int(loop.cache.used.max())
    for tape, columns in zip(shadow_graphs.STATE.tapes, (128, 256), strict=True):
        read = {o.args[i].size for o in tape.operators if o.name == "bmm" for i in (0, 1) if outer(o.args[i])}
        assert read == {(48, 8, columns), (48, columns, 8)}, "keys and values of 24 slots with 2 heads"
        masks = {o.args[1].size for o in tape.operators if o.name == "add_" and outer(o.args[1])}
        assert (24, 1, columns) in masks


def outer(x) -> bool:
    return isinstance(x, shadow_graphs.Address)


def test_graphs_are_few_and_one_at_a_time(monkeypatch):
    with shadow_cuda():
        graphs, made = Graphs(CUDA), []
        capture = graphs.capture

        def kept(work):
            assert not [graph for graph in made if graph() is not None], "the graph before is still held"
            found = capture(work)
            made.append(weakref.ref(found[0]))
            return found

        monkeypatch.setattr(graphs, "capture", kept)
        gc.disable()  # memory of a GPU must not wait for it
        _, loop = Case(slots=24, limit=300, ends=(5,)).decoded(graphs)
        # columns 128, 256 and 336; a shrink leaves three quarters of the slots at most: 18, 13, 9, 6, 4, ..
        assert 3 <= loop.replayed.captures == len(made) <= 3 + 11
        cache = weakref.ref(loop.cache)
        del loop
        gone = cache() is None
        gc.enable()
    assert gone, "the cache would stay until the garbage is collected"


def test_few_steps_are_not_captured():
    with shadow_cuda():
        _, loop = Case(slots=24, limit=PLAIN + 16, ends=tuple(range(0, 1200, 2))).decoded(Graphs(CUDA))
    assert loop.replayed.captures <= 1


# ---- what can't be captured


def fallen_back(case: Case, graphs: Graphs) -> Replies:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        replies, loop = case.decoded(graphs)
        again, _ = case.decoded(graphs)
    assert replies == again and loop.replayed.captures == 0
    assert [str(w.message) for w in told if w.category is RuntimeWarning] == [
        f"decoding goes on without CUDA graphs, slower and with the same replies: {graphs.fault}"
    ], "told once"
    state = shadow_graphs.STATE
    assert state.streams == state.streams[:1] and state.sync == 0, "the device is left as it was"
    return replies


def test_where_a_capture_fails_steps_go_on_as_they_are_written():
    with shadow_cuda():
        plain, _ = CASES["plain"].decoded(None)
        shadow_graphs.STATE.broken = "CUDA error: out of memory"
        graphs = Graphs(CUDA)
        assert fallen_back(CASES["plain"], graphs) == plain
        assert graphs.fault == "CUDA error: out of memory"


def test_a_wait_in_a_step_is_refused_before_it_spoils_the_capture(monkeypatch):
    monkeypatch.setattr(Draw, "waits", lambda self, vocab: False)  # which is not true of a nucleus
    with shadow_cuda():
        case = Case(rules=("top-p",))
        plain, _ = case.decoded(None)
        graphs = Graphs(CUDA)
        assert fallen_back(case, graphs) == plain
        assert "synchronizing" in graphs.fault and shadow_graphs.STATE.underway == 0


def test_a_tensor_made_anew_on_the_host_is_no_part_of_a_graph(monkeypatch):
    written = Decoding._compute

    def wrong(self):
        self.number = torch.tensor(len(self.job.ends), device=CUDA)
        return written(self)

    monkeypatch.setattr(Decoding, "_compute", wrong)
    with shadow_cuda():
        graphs = Graphs(CUDA)
        fallen_back(Case(), graphs)
    assert "copy from the host" in graphs.fault


# ---- what a graph can't see: each lie is one that plain steps would not notice


def rebinds(monkeypatch):
    """State that is another tensor after each step."""
    take = Decoding._take

    def wrong(self, slots, logits):
        take(self, slots, logits)
        if slots is None:
            self.next = self.next.clone()

    monkeypatch.setattr(Decoding, "_take", wrong)


def counts(monkeypatch):
    """A number of Python's that changes from step to step."""
    begin = decoding.Cache.begin

    def wrong(self):
        begin(self)
        self.views.write.copy_(self.views.first.flatten() + self.views.write.new_ones(()) * self.number)

    monkeypatch.setattr(decoding.Cache, "begin", wrong)
    monkeypatch.setattr(
        decoding.Cache, "number", property(lambda self: int(self.used.host.max())), raising=False
    )


def not_told(monkeypatch):
    """A cache that is another one, and nobody says so."""
    monkeypatch.setattr(Replayed, "moved", lambda self: None)


@pytest.mark.parametrize("lie", [rebinds, counts, not_told])
def test_what_a_graph_cannot_see_shows(lie, monkeypatch):
    lie(monkeypatch)
    case = Case()
    with shadow_cuda():
        plain, _ = case.decoded(None)
        try:
            replayed, loop = case.decoded(Graphs(CUDA))
        except (RuntimeError, IndexError, KeyError) as error:
            assert "freed" in str(error) or "bounds" in str(error) or "range" in str(error)
            return
    assert loop.replayed.captures and replayed != plain


# ---- a graph by itself


def times(graphs: Graphs | None, work, count: int, replayed: Replayed | None = None) -> Replayed:
    replayed = replayed or Replayed(graphs)
    for _ in range(count):
        replayed(work)
    return replayed


def test_work_is_captured_once_it_came_often_enough_and_at_once_where_that_paid():
    with shadow_cuda():
        x, graphs, state = torch.zeros(3, device=CUDA), Graphs(CUDA), shadow_graphs.STATE
        found = times(graphs, lambda: x.add_(1), PLAIN)
        assert found.captures == state.graphs == 0 and x.tolist() == [PLAIN] * 3
        times(graphs, lambda: x.add_(1), PLAIN, found)
        assert (found.captures, state.graphs) == (1, PLAIN) and x.tolist() == [2 * PLAIN] * 3
        found.moved()  # it was replayed as often as pays: once as it is written, then captured
        times(graphs, lambda: x.add_(1), 3, found)
        assert (found.captures, state.graphs) == (2, PLAIN + 2)
        found.moved()  # it was not
        times(graphs, lambda: x.add_(1), PLAIN, found)
        assert (found.captures, state.graphs) == (2, PLAIN + 2) and x.tolist() == [3 * PLAIN + 3] * 3


def test_a_capture_does_nothing_and_a_replay_gives_the_result_of_now():
    with shadow_cuda():
        x, graphs = torch.ones(2, device=CUDA), Graphs(CUDA)
        graph, y = graphs.capture(lambda: x.mul_(3) + torch.arange(2, device=CUDA))
        assert x.tolist() == [1, 1] and y.isnan().all()
        graph.replay()
        assert x.tolist() == [3, 3] and y.tolist() == [3, 4]
        x.fill_(1)
        graph.replay()
        assert y.tolist() == [3, 4]


def test_a_graph_reads_no_memory_that_was_freed():
    with shadow_cuda():
        held = [torch.ones(2, device=CUDA)]
        graph, y = Graphs(CUDA).capture(lambda: held[0] + 1)
        graph.replay()
        assert y.tolist() == [2, 2]
        held.clear()
        with pytest.raises(RuntimeError, match="freed"):
            graph.replay()


def test_a_cpu_has_no_graphs():
    assert graphs_of(torch.device("cpu")) is None


# ---- columns, slots and draws


@given(st.integers(1, 200_000), st.integers(0, 50_000))
def test_few_numbers_of_columns_are_read_and_little_in_vain(used, more):
    room = -(-(used + more) // 16) * 16
    found = columns_for(used, room)
    assert used <= found <= room and found - used < max(128, used / 8 + 1)
    assert columns_for(found, room) == found, "or a cache would grow at once"
    assert columns_for(min(used + 1, room), room) >= found
    assert columns_for(used, None) == -(-used // 16) * 16, "a CPU copies its cache, and reads what it has"


def test_long_replies_meet_few_numbers_of_columns():
    """16 of them up to 2,048, then 8 each time the columns double."""
    met = [len({columns_for(n, 1 << 30) for n in range(1, most + 1)}) for most in (2048, 4096, 32768)]
    assert met == [16, 24, 48]


def test_slots_leave_room_for_what_a_step_holds():
    size = CONFIG.size()
    row = 2 * size.layers * size.cached * 100 * 4
    assert slots_for(CONFIG, 100, torch.float32, 256, 10 * row) == 10
    assert slots_for(CONFIG, 100, torch.float32, 256, 10 * row, row) == 5


@pytest.mark.parametrize("names", [[name] for name in RULES] + [["greedy", "min-p"]], ids="+".join)
@pytest.mark.parametrize("vocab", [20, 1000, 1200])
def test_what_waits_says_so(names, vocab):
    """A flat distribution: no nucleus is whole among those that are looked at first."""
    rules = [RULES[name] for name in names]
    with shadow_cuda() as log:
        draw = Draw([Wanted(0, 0, rules[i % len(rules)], 3, "k", i) for i in range(4)], CUDA)
        logits = torch.zeros(4, vocab, device=CUDA)
        log.clear()
        draw(logits, torch.arange(4, device=CUDA), torch.zeros(4, dtype=torch.long, device=CUDA))
        assert bool(log.waits) == draw.waits(vocab)


def sampled(names: list[str]) -> None:
    """As the sampler asks a worker."""
    rows = [Wanted(g, g, RULES[names[j % len(names)]], 40, f"k{g}", j) for g in range(6) for j in range(4)]
    with Replicas(1, "cuda") as replicas:
        torch.set_num_threads(1)
        replicas.add_model("policy", CONFIG, scratch_weights(CONFIG, 0), train=True)
        torch_sampler.generate(replicas.local, "policy", prompts(random.Random(0)), rows, (-1,), 24)


@pytest.mark.parametrize("names", [["plain"], ["greedy", "top-p"]], ids="+".join)
def test_the_sampler_decodes_by_graphs(names):
    with shadow_cuda(), warnings.catch_warnings():
        warnings.simplefilter("error")
        sampled(names)
        assert len(shadow_graphs.STATE.tapes) == 1 and shadow_graphs.STATE.graphs == 40 - PLAIN


def test_the_sampler_has_slots_for_keys_values_and_a_step(monkeypatch):
    size, columns = CONFIG.size(), 40 + max(map(len, prompts(random.Random(0))))
    row = 2 * size.layers * size.cached * columns * 4 + 32 * CONFIG.vocab
    asked = []
    monkeypatch.setattr(
        torch_sampler, "decode", lambda weights, config, job, slots, device: asked.append(slots)
    )
    with shadow_cuda(Memory(free=2 * 10 * row, reserved=0, allocated=0)):
        sampled(["plain"])
    assert asked == [10]
