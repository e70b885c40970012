"""What a plan says of memory is what the engine allocates: counted byte by byte, and by torch's own record."""

from __future__ import annotations

from itertools import accumulate
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plans import CPU as MACHINE
from plans import plan_of, recipe_of, rl_phase
from tiny import raw_config
from torch.profiler import ProfilerActivity, profile

from cascade_rl.model.decoder import DecoderConfig, flat_size
from cascade_rl.model.replicas import Replicas
from cascade_rl.plan.hardware import HARDWARE
from cascade_rl.plan.local_memory import (
    MOST_SLOTS,
    TOGETHER,
    Place,
    held_bytes,
    local_memory,
    lora_numbers,
    update_bytes,
)
from cascade_rl.plan.shapes import PUBLIC, named_shape, public, shape_of
from cascade_rl.plan.verl_memory import sampler_short, verl_memory
from cascade_rl.protocols import WHOLE
from cascade_rl.recipe import Training
from cascade_rl.recipe.verl import Verl
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train import optimiser
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs

SPEC = Training.model_validate({"name": "rl", "tokens_per_microbatch": 160 * 4})
MUON = Training.model_validate({"name": "rl", "optimizer": "muon", "muon_lr": 0.01})
LORA = Training.model_validate({"name": "rl", "lora": {"rank": 4}})
ROWS = [Row.of([3 + g] * 32, [6] * 128, 0.01, 1.0) for g in range(4)]


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("name", PUBLIC)
def test_public_shapes_have_as_many_numbers_as_transformers_makes(name):
    from transformers import AutoConfig, AutoModelForCausalLM

    family, vocab, hidden, wide, layers, heads, kv, head, tied = PUBLIC[name]
    shape = public(name)
    # two layers of them are made, and the rest is as many times the difference
    found = []
    for few in (1, 2):
        keys = {
            "vocab_size": vocab,
            "hidden_size": hidden,
            "num_hidden_layers": few,
            "num_attention_heads": heads,
            "num_key_value_heads": kv,
            "head_dim": head,
            "tie_word_embeddings": tied,
            "intermediate_size": wide,
        }
        if shape.experts:
            keys |= {"moe_intermediate_size": wide, "num_experts": 128, "num_experts_per_tok": 8}
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **keys))
        found.append(sum(p.numel() for p in model.parameters()))
    assert shape.parameters == found[0] + (layers - 1) * (found[1] - found[0])


# by the models' own cards, and safetensors' index where tied numbers count once
@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("Qwen/Qwen3-8B-Base", 8_190_735_360, None), ("Qwen/Qwen3-30B-A3B@main", 30_532_122_624, 3.3e9)],
)
def test_names_on_a_hub_are_found_in_the_table(name, total, active):
    shape = named_shape(name)
    assert shape.parameters == total
    assert shape.active == total if active is None else abs(shape.active / active - 1) < 0.03


def test_all_experts_are_read_by_many_tokens_and_the_chosen_ones_by_one():
    shape = public("Qwen3-30B-A3B")
    assert shape.touched(1) == pytest.approx(shape.size().matrices)
    assert shape.touched(100_000) == pytest.approx(shape.matrices)
    # by drawing: 8 of 128 for each of 16 tokens, in one layer
    generator = torch.Generator().manual_seed(0)
    drawn = [
        len({int(e) for _ in range(16) for e in torch.randperm(128, generator=generator)[:8]})
        for _ in range(300)
    ]
    outside = shape.size().matrices - shape.size().layers * 8 * shape.expert
    read = (shape.touched(16) - outside) / shape.size().layers / shape.expert
    assert read == pytest.approx(sum(drawn) / len(drawn), rel=0.02)


# ---------------------------------------------------------------- what is held


def engine_bytes(precision: str, size: int, spec: Training) -> dict[str, int]:
    """Bytes of every tensor that the engine keeps after a step, by what it is for."""
    config = DecoderConfig.from_hf(raw_config())
    with Replicas(size, "cpu", precision) as replicas:
        torch.set_num_threads(1)
        flat = torch.randn(flat_size(config.shapes())) * 0.02
        replicas.add_model("policy", config, flat, train=True)
        learner = Learner(replicas, "policy", spec)
        learner.policy_step(ROWS, Objective(ON_POLICY), 1.0)
        found = replicas.all(worker_bytes)
    whole = {key: sum(each[key] for each in found) for key in ("copy", "gradient", "state")}
    return {
        "weights": found[0]["flat"] + whole["copy"],
        "gradients": whole["gradient"],
        "optimiser": whole["state"],
    }


def worker_bytes(worker):
    """Runs in a worker: what it holds of the model that is trained."""
    model = worker.models["policy"]
    owner = optimiser.owner_of(worker, "policy")
    state = sum(
        value.nbytes
        for each, _ in owner.optimizers
        for values in each.state.values()
        for value in values.values()
        if torch.is_tensor(value) and value.dim()  # not AdamW's counter of steps
    )
    factors = sum(2 * t.nbytes for a in getattr(owner, "adapters", ()) for t in (a.a, a.b))
    copied = 0 if model._compute is model.flat else model._compute.nbytes
    return {
        "flat": model.flat.nbytes,
        "copy": copied,
        "gradient": model.grad.nbytes,
        "state": state + factors,
    }


@pytest.mark.parametrize("spec", [SPEC, MUON, LORA], ids=["adamw", "muon", "lora"])
@pytest.mark.parametrize(("precision", "workers"), [("fp32", 1), ("bf16", 1), ("bf16", 2)])
def test_what_is_held_is_what_the_engine_holds(precision, workers, spec):
    shape = shape_of(raw_config(), "tiny", "here")
    place = Place(MACHINE, workers, 2 if precision == "bf16" else 4)
    said = held_bytes(rl_phase(), spec, shape, place)
    found = engine_bytes(precision, workers, spec)
    assert {key: said[key] for key in found} == found


def test_an_update_takes_about_what_torch_allocates():
    """The peak of the forward and backward pass of a micro-batch, by torch's record of every allocation."""
    config = DecoderConfig.from_hf(raw_config())
    replicas = Replicas(1, "cpu", "fp32")
    torch.set_num_threads(1)
    replicas.add_model("policy", config, torch.randn(flat_size(config.shapes())) * 0.02, train=True)
    model, batch = replicas.local.models["policy"], pack_rows(ROWS, torch.device("cpu"))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        token_logprobs(model.weights, config, batch, WHOLE).sum().backward()
    moments = sorted(
        (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    )
    peak = max(accumulate(e.nbytes() for e in moments))
    shape = shape_of(raw_config(), "tiny", "here")
    memory = local_memory(rl_phase(), SPEC, shape, Place(MACHINE, 1, 4))
    assert 0.9 < sum(memory.update.values()) / peak < 1.35
    assert {"activations", "head and logits"} == set(memory.update)


def test_constants_of_others_are_theirs():
    assert TOGETHER == optimiser.TOGETHER
    assert TorchSampler.__init__.__defaults__[-1] == MOST_SLOTS


def test_lora_has_as_many_numbers_as_its_factors():
    shape = public("SmolLM2-135M")
    # by hand: rank times both sides of q, k, v, o, gate, up, down, in 30 layers
    sides = (576 + 576) + 2 * (576 + 192) + (576 + 576) + 3 * (576 + 1536)
    assert lora_numbers(LORA.lora, shape) == 4 * sides * 30


# ---------------------------------------------------------------- verl


def test_fsdp_shards_in_closed_form():
    shape, gpus = public("Qwen3-8B"), 8
    block = Verl(offload=False, tensor_parallel=2)
    memory = verl_memory(rl_phase(), SPEC, shape, block, HARDWARE["h100"], gpus)
    numbers = shape.parameters / gpus
    assert memory.held["weights"] == 4 * numbers and memory.held["optimiser"] == 8 * numbers
    assert memory.update["gradients"] == 4 * numbers
    # the sampler's half of the card: weights over two GPUs, the rest is cache and graphs
    assert sum(memory.rollout.values()) == pytest.approx(0.5 * HARDWARE["h100"].memory)
    offloaded = verl_memory(rl_phase(), SPEC, shape, Verl(), HARDWARE["h100"], gpus)
    assert "weights" not in offloaded.held and offloaded.update["weights"] == 4 * numbers
    assert offloaded.host["weights and optimiser, offloaded"] == 12 * shape.parameters


def test_a_sampler_without_room_says_which_setting_gives_it():
    # 14.8 B numbers in bf16 are 29.5 GB: more than half of a 40 GiB card
    recipe = recipe_of("smollm2-135m", "model.init=Qwen/Qwen3-14B", engine="verl")
    plan = plan_of(recipe, "a100-40", 64)
    said = [str(problem) for problem in plan.problems]
    assert any(line.startswith("verl.tensor_parallel: 1 -> 2") for line in said), said
    wider = recipe.model_copy(update={"verl": recipe.verl.model_copy(update={"tensor_parallel": 2})})
    assert not any("tensor_parallel" in str(p) for p in plan_of(wider, "a100-40", 64).problems)


def test_the_setting_that_is_proposed_is_enough():
    """Tokens of a micro-batch, on a card that is nearly full."""
    recipe = recipe_of(
        "smollm2-135m",
        "model.init=Qwen/Qwen3-0.6B",
        "stages.sft-1.tokens_per_microbatch=262144",
        "stages.sft-2.tokens_per_microbatch=1024",
    )
    plan = plan_of(recipe, "rtx4090")
    (problem,) = [p for p in plan.problems if p.place == "stages.sft-1.tokens_per_microbatch"]
    fewer = int(problem.change.split(" -> ")[1])
    changed = recipe_of(
        "smollm2-135m",
        "model.init=Qwen/Qwen3-0.6B",
        f"stages.sft-1.tokens_per_microbatch={fewer}",
        "stages.sft-2.tokens_per_microbatch=1024",
    )
    assert not plan_of(changed, "rtx4090").problems
    # and twice of it is not
    doubled = recipe_of(
        "smollm2-135m", "model.init=Qwen/Qwen3-0.6B", f"stages.sft-1.tokens_per_microbatch={2 * fewer}"
    )
    assert plan_of(doubled, "rtx4090").problems


# ---------------------------------------------------------------- laws


@given(
    name=st.sampled_from(sorted(PUBLIC)),
    gpus=st.sampled_from([1, 2, 4]),
    offload=st.booleans(),
    strategy=st.sampled_from(["fsdp2", "megatron"]),
    replies=st.integers(16, 40_000),
)
def test_more_gpus_never_need_more_memory_each(name, gpus, offload, strategy, replies):
    shape, card = public(name), HARDWARE["h100"]
    phase = rl_phase(longest=(64, replies))
    block = Verl(offload=offload, strategy=strategy)

    def verl(count: int) -> float:
        memory = verl_memory(phase, SPEC, shape, block, card, count)
        return sum(memory.held.values()) + sum(memory.update.values())

    assert verl(2 * gpus) <= verl(gpus) + 1
    if gpus > 1 and not shape.experts:  # one GPU holds one copy of the weights, several a copy and shards
        fewer, more = (held_bytes(phase, SPEC, shape, Place(card, n, 2)) for n in (gpus, 2 * gpus))
        assert sum(more.values()) <= sum(fewer.values()) + 1


@given(parts=st.sampled_from([1, 2, 4, 8]), tokens=st.integers(128, 60_000))
def test_a_sampler_over_more_gpus_is_never_shorter_of_memory(parts, tokens):
    shape, phase = public("Qwen2.5-72B"), rl_phase(longest=(1024, tokens))
    if not sampler_short(phase, shape, Verl(tensor_parallel=parts), HARDWARE["h100"]):
        assert not sampler_short(phase, shape, Verl(nodes=2, tensor_parallel=2 * parts), HARDWARE["h100"])


@given(tokens=st.integers(1, 13), again=st.booleans())
def test_smaller_micro_batches_never_need_more(tokens, again):
    # of one kind: where layers run again a larger one may need less than a smaller one whose layers do not
    shape, place = public("SmolLM2-135M"), Place(MACHINE, 2, 2)
    specs = [SPEC.model_copy(update={"tokens_per_microbatch": n}) for n in (1 << tokens, 2 << tokens)]
    few, many = (sum(update_bytes(rl_phase(), s, shape, place, recompute=again).values()) for s in specs)
    assert few <= many


def test_flat_sizes_agree():
    config = public("SmolLM2-135M").decoder
    assert public("SmolLM2-135M").parameters == sum(map(prod, config.shapes().values()))


def test_a_second_engine_takes_four_fifths_of_what_is_free():
    """As `vllm_sampler.utilisation` has it, of a card with so much room."""
    from cascade_rl.rollout.vllm_sampler import utilisation

    shape, card = public("Qwen3-0.6B"), HARDWARE["h100"]
    memory = local_memory(rl_phase(), SPEC, shape, Place(card, 1, 2, vllm=True))
    room = memory.room
    # it asks before the first update: the moments are not there yet, and are left room for
    free = room - memory.states + memory.held["optimiser"]
    share = utilisation(int(free), int(room), shape.parameters, training=True)
    assert sum(memory.rollout.values()) == pytest.approx(share * room, rel=0.01)
    assert memory.slots == MOST_SLOTS and memory.fits
