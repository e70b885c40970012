"""Plans: operations by torch's own counter, totals in closed form, laws, refusals, and what the command says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import CPU, plan_of, recipe_of, rl_phase
from tiny import raw_config
from torch.utils.flop_counter import FlopCounterMode

from cascade_rl.errors import InputError
from cascade_rl.model.cost import update_work
from cascade_rl.plan import asked, left
from cascade_rl.plan.efficiency import Efficiency
from cascade_rl.plan.hardware import HARDWARE, find, names
from cascade_rl.plan.local_memory import Place, local_memory
from cascade_rl.plan.phases import EVALUATION
from cascade_rl.plan.shapes import named_shape, public, shape_of
from cascade_rl.plan.step_time import forward_work, local_time, verl_time
from cascade_rl.plan.told import summary, to_json, verifiers
from cascade_rl.plan.total import Plan
from cascade_rl.plan.verl_memory import verl_memory
from cascade_rl.recipe import Training
from cascade_rl.recipe.reading import shipped_recipes
from cascade_rl.recipe.verl import Verl
from cascade_rl.run.folder import stage_folder
from cascade_rl.run.ledger import Entry, Ledger, recipe_text
from cascade_rl.types import Checkpoint

SPEC = Training.model_validate({"name": "rl"})
WHOLE = Efficiency(1.0, 1.0, "all of it")


# ---------------------------------------------------------------- operations


def counted(tokens: int, backward: bool) -> int:
    """What transformers' own modules multiply for one text, by torch's counter; attention over all columns."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**raw_config(), attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config)
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        logits = model(ids).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


def hidden_columns(shape, tokens: int) -> int:
    """Operations of a pass forward on columns that no token sees, which a counter of products counts, too."""
    return 4 * shape.size().layers * shape.size().width * (tokens * tokens - tokens * (tokens + 1) // 2)


@pytest.mark.parametrize("tokens", [8, 33])
def test_operations_are_those_that_torch_counts(tokens):
    shape = shape_of(raw_config(), "tiny", "here")
    forward, both = forward_work(shape, [(0, (tokens,))]), update_work(shape, [(0, (tokens,))])
    more = hidden_columns(shape, tokens)
    assert forward.flops + forward.head_flops == counted(tokens, False) - more
    # nothing needs the gradient by the first layer's input but the embedding, which is looked up
    assert both.flops + both.head_flops == counted(tokens, True) - 3 * more


def test_verl_computes_a_pass_more_forward_and_the_old_probabilities():
    shape, block, card = public("Qwen3-8B"), Verl(), HARDWARE["h100"]
    phase = rl_phase()
    memory = verl_memory(phase, SPEC, shape, block, card, 8)
    alone = [(16, (64,))] * 32  # no prompt is shared
    once = forward_work(shape, alone)
    found = verl_time(phase, SPEC, shape, block, card, 8, memory, WHOLE)
    assert found.seconds["old log-probs"] == pytest.approx((once.flops + once.head_flops) / (8 * card.flops))
    products = (4 * once.flops + 3 * once.head_flops) / (8 * card.flops)
    moved = 8 * shape.parameters * 7 / 8 / card.link
    assert found.seconds["update"] == pytest.approx(max(products, moved))
    # half of the efficiency is twice the time where products are what is waited for
    slow = verl_time(phase, SPEC, shape, block, card, 8, memory, Efficiency(0.001, 1.0, ""))
    assert slow.seconds["update"] == pytest.approx(1000 * products)


def test_an_update_of_our_own_engine_in_closed_form():
    shape = public("SmolLM2-135M")
    phase = rl_phase(sampled=())
    place = Place(CPU, 2, 2)
    memory = replace(local_memory(phase, SPEC, shape, place), again=False)
    work = update_work(shape, phase.trees)
    found = local_time(phase, SPEC, shape, place, memory, Efficiency(0.5, 1.0, ""))
    assert found.seconds == {"update": pytest.approx(2 * (work.flops / 1e12 + work.head_flops / 4e11))}
    # one of two cores takes twice as long, layers that run again a third more
    one = local_time(phase, SPEC, shape, Place(CPU, 1, 2), memory, Efficiency(0.5, 1.0, ""))
    assert one.total == pytest.approx(2 * found.total)
    again = local_time(phase, SPEC, shape, place, replace(memory, again=True), Efficiency(0.5, 1.0, ""))
    assert again.total == pytest.approx(4 / 3 * found.total)


# ---------------------------------------------------------------- totals


def test_totals_are_sums_in_closed_form():
    plan = plan_of(recipe_of("smollm2-135m", engine="verl"), "h100", 8, price=2.5)
    seconds = sum(each.phase.steps * sum(each.time.seconds.values()) + each.time.once for each in plan.phases)
    assert plan.seconds == pytest.approx(seconds)
    # one more holds the reward model that RLHF asks
    assert plan.gpu_hours == pytest.approx(9 * seconds / 3600)
    assert plan.kilowatt_hours == pytest.approx(0.7 * 9 * seconds / 3600)
    assert plan.cost == pytest.approx(2.5 * 9 * seconds / 3600)
    assert plan_of(recipe_of(), CPU).kilowatt_hours == pytest.approx(
        plan_of(recipe_of(), CPU).seconds / 3600 * 0.02
    )
    assert sum(plan.stage_seconds().values()) == pytest.approx(plan.seconds)


def test_tokens_are_those_that_the_recipe_asks_for():
    plan = plan_of(recipe_of("tiny", "stages.code-rl.steps=7"))
    (phase,) = [
        each.phase for each in plan.phases if each.phase.stage == "code-rl" and each.phase.kind == "rl"
    ]
    assert phase.steps == 7 and len(phase.sampled) == 32 * 8
    assert {len(branches) for _, branches in phase.trees} == {8}
    assert max(reply for _, reply in phase.sampled) <= 96
    # filter `batch` samples more than it trains on, at most max_rounds times
    (refilled,) = [
        each.phase for each in plan.phases if each.phase.stage == "if-rl" and each.phase.kind == "rl"
    ]
    assert 256 < len(refilled.sampled) <= 512


@pytest.mark.parametrize(
    ("stage", "change", "groups"),
    [
        # six in ten have replies that differ in reward; of the others our engine makes no row
        ("code-rl", "filter={kind: none}", 19),
        ("code-rl", "filter={kind: batch, max_rounds: 4}", 32),
        ("code-rl", "kl_coefficient=0.01", 32),
        # a reward model's scores always differ
        ("rlhf", "filter={kind: none}", 32),
    ],
)
def test_an_update_computes_the_groups_that_have_a_gradient(stage, change, groups):
    recipe = recipe_of("tiny", f"stages.{stage}.{change}", f"stages.{stage}.prompts_per_step=32")
    phases = [e.phase for e in plan_of(recipe).phases if e.phase.stage == stage and e.phase.kind == "rl"]
    assert {len(phase.trees) for phase in phases} == {groups}
    # those that are left stand for all: short and long ones alike
    for phase in phases:
        replies = [reply for _, branches in phase.trees for reply in branches]
        mean = sum(reply for _, reply in phase.sampled) / len(phase.sampled)
        assert sum(replies) / len(replies) == pytest.approx(mean, rel=0.03)


def test_verl_computes_all_groups():
    plan = plan_of(recipe_of("nemotron-cascade-8b"), "h100", 64)
    trained = {e.phase.stage: len(e.phase.trees) for e in plan.phases if e.phase.kind == "rl"}
    assert trained == {
        s.name: s.prompts_per_step for s in recipe_of("nemotron-cascade-8b").stages if s.kind == "rl"
    }


def test_each_phase_of_a_curriculum_and_an_evaluation_after_each_stage_but_the_reward_models():
    plan = plan_of(recipe_of())
    names = [each.phase.name for each in plan.phases]
    assert [n for n in names if n.startswith("math-rl")] == [
        "math-rl 0-22",
        "math-rl 22-45",
        "math-rl evaluation",
    ]
    scored = [each.phase.stage for each in plan.phases if each.phase.kind == EVALUATION]
    assert scored == [s.name for s in recipe_of().stages if s.name != "reward-model"]
    # 200 problems of five benchmarks: 2 in the headline mode, 1 in the other, a greedy one in each
    assert {len(e.phase.sampled) for e in plan.phases if e.phase.kind == EVALUATION} == {5 * 200 * 5}


def test_an_evaluation_takes_as_long_as_its_benchmarks_one_after_the_other():
    one, other = recipe_of("smollm2-135m").benchmarks[:2]
    found = []
    for benchmarks in ([one, other], [one], [other]):
        recipe = recipe_of("smollm2-135m").model_copy(update={"benchmarks": benchmarks})
        found.append(next(e for e in plan_of(recipe, "h100").phases if e.phase.kind == EVALUATION))
    both, *alone = found
    assert both.seconds == pytest.approx(sum(each.seconds for each in alone))
    assert both.memory.peak == max(each.memory.peak for each in alone)
    assert both.flops == sum(each.flops for each in alone)


def test_evaluations_that_leave_gpus_idle_are_told_with_what_helps():
    slow = recipe_of("smollm2-135m", "model.init=Qwen/Qwen3-8B", "workers=1", engine="verl")
    first, second = plan_of(slow, "h100", 8).hints[:1], plan_of(slow, "rtx5090", 8).hints
    assert first[0].startswith("workers: 1 -> 8") and any("benchmarks=[]" in hint for hint in second)
    # vLLM beside several workers is refused (recipe/rules.py), so it is no advice but on one GPU
    assert not any("sampler: vllm" in hint for hint in second)
    assert any(hint.startswith("sampler: vllm") for hint in plan_of(slow, "rtx5090", 1).hints)
    assert not plan_of(recipe_of(), CPU).hints
    wide = slow.model_copy(update={"workers": 8})
    assert not any(hint.startswith("workers") for hint in plan_of(wide, "h100", 8).hints)
    assert plan_of(wide, "h100", 8).seconds < plan_of(slow, "h100", 8).seconds


def test_a_reward_model_of_its_own_shape_is_counted_as_it_is():
    own = recipe_of("smollm2-135m", "stages.reward-model.init=Qwen/Qwen3-0.6B")
    by_stage = {
        each.phase.stage: each for each in plan_of(own, "h100").phases if each.phase.kind != EVALUATION
    }
    trained, numbers = by_stage["reward-model"], public("Qwen3-0.6B").parameters
    assert trained.trained == numbers and trained.memory.held["optimiser"] == 8 * numbers
    # asked by RLHF alone: fp32 masters, and the copy in bf16 that computes
    assert by_stage["rlhf"].memory.held["reward model"] == 6 * numbers
    assert "reward model" not in by_stage["if-rl"].memory.held


def test_a_reward_model_that_verl_serves_has_gpus_of_its_own():
    """72.7 B numbers in bf16 are 135 GiB, of which a server takes half of each card of 80 GiB."""
    recipe = recipe_of("nemotron-cascade-8b")

    def planned(reward_gpus: int) -> Plan:
        block = recipe.verl.model_copy(update={"reward_gpus": reward_gpus})
        return plan_of(recipe.model_copy(update={"verl": block}), "h100", 64)

    few, enough = planned(1), planned(8)
    assert [str(p).partition(" (")[0] for p in few.problems] == ["verl.reward_gpus: 1 -> 4"]
    assert not planned(4).problems and not enough.problems
    assert (few.units, enough.units) == (65, 72)
    (rlhf,) = [e for e in enough.phases if e.phase.name == "rlhf"]
    assert "reward model" not in rlhf.memory.named
    # 2 operations a number and token over 8 cards, at the share that updates reach; only what is left when
    # the last reply ends is waited for
    tokens = sum(map(sum, rlhf.phase.sampled))
    least = 2 * 71e9 * tokens / (8 * HARDWARE["h100"].flops) / rlhf.efficiency.update
    waited = rlhf.time.seconds["reward model"] + rlhf.time.seconds["rollout"]
    assert least < waited < 1.2 * least


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("qwen3-0.6b", "rtx4090"),
        ("qwen3-4b", "h100"),
        ("nemotron-cascade-8b", "h100"),
        ("nemotron-cascade-8b-thinking", "h100"),
        ("nemotron-cascade-14b-thinking", "h100"),
    ],
)
def test_a_recipe_fits_what_its_head_names(name, card):
    assert plan_of(recipe_of(name), card).problems == []


def test_what_the_last_recipe_can_not_score_has_a_setting():
    problems = plan_of(recipe_of("nemotron-cascade-2-30b-a3b"), "h100").problems
    assert {problem.place for problem in problems} == {"benchmarks"}


def test_disk_in_closed_form():
    plan = plan_of(recipe_of("smollm2-135m", "model.export_dtype=bf16"))
    numbers = public("SmolLM2-135M").parameters
    # eight stages, and the reward model beside the policy of its stage
    assert plan.disk["checkpoints"] == 9 * 2 * numbers
    # of one stage at a time two states that are kept and one that is being written: weights and both moments
    assert plan.disk["states"] == 3 * 12 * numbers


def test_verifiers_are_as_many_as_keep_up():
    plan = plan_of(recipe_of(), "h100")
    for each in plan.phases:
        if needed := verifiers(each):
            rollout = each.time.seconds["rollout"]
            assert each.phase.verdicts / needed <= rollout * 1.0001 or needed == 1
            assert needed == 1 or each.phase.verdicts / (needed - 1) > rollout * 0.9999


# ---------------------------------------------------------------- every recipe, every hardware


@pytest.mark.parametrize("engine", [None, "local", "verl"])
@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_recipe_plans_on_every_hardware(name, engine):
    recipe = recipe_of(name, engine=engine)
    for card in (CPU, *HARDWARE.values()):
        plan = plan_of(recipe, card)
        assert 0 < plan.seconds < float("inf") and plan.flops > 0 and plan.tokens > 0
        for each in plan.phases:
            assert each.time.total > 0 and each.memory.peak > 0
            # what does not fit has a setting to change, and what has none fits
            assert bool(each.problems) or each.memory.fits, each.phase.name
        json.dumps(to_json(plan), allow_nan=False)


@pytest.mark.parametrize("name", names())
def test_every_row_says_where_it_is_from(name):
    card, count = find(name)
    if card is None:
        return
    assert card.source and card.flops > card.fp32 > 0 and card.memory > 2**34 and count is None
    assert find(f"64x{name.upper()}") == (card, 64)


@pytest.mark.parametrize("name", ["h100x8", "0xh100", "tpu", "", "8xhere"])
def test_hardware_that_there_is_not(name):
    with pytest.raises(InputError, match=r"hardware|this machine"):
        find(name)


@pytest.mark.parametrize("name", ["nowhere/else", "some-model"])
def test_a_model_of_unknown_shape_is_refused_with_the_mend(name):
    with pytest.raises(InputError, match=r"config\.json"):
        named_shape(name)


def test_a_directory_says_its_shape(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(raw_config()))
    found = named_shape(str(tmp_path))
    assert found.decoder is not None and found.hidden == 32 and found.positions == 512


# ---------------------------------------------------------------- laws


@given(
    reply=st.integers(1, 2000),
    longer=st.integers(1, 2000),
    name=st.sampled_from(["SmolLM2-135M", "Qwen3-8B", "Qwen3-30B-A3B"]),
    verl=st.booleans(),
)
def test_longer_replies_never_take_less_time(reply, longer, name, verl):
    shape, card, times = public(name), HARDWARE["h100"], []
    for tokens in (reply, reply + longer):
        # a limit for both: slots are the same
        phase = rl_phase(trees=((16, (tokens,) * 8),) * 4, sampled=((16, tokens),) * 32, longest=(32, 4000))
        if verl:
            memory = verl_memory(phase, SPEC, shape, Verl(), card, 8)
            times.append(
                verl_time(phase, SPEC, shape, Verl(), card, 8, replace(memory, slots=32), WHOLE).total
            )
        else:
            place = Place(card, 1, 2)
            memory = replace(local_memory(phase, SPEC, shape, place), again=False)
            times.append(local_time(phase, SPEC, shape, place, memory, WHOLE).total)
    assert times[0] <= times[1]


@settings(max_examples=15)
@given(key=st.sampled_from(["flops", "bytes", "link", "cores"]), times=st.integers(2, 8))
def test_better_hardware_never_takes_longer(key, times):
    card = HARDWARE["a100-80"]
    better = replace(card, **{key: getattr(card, key) * times})
    recipe = recipe_of("smollm2-135m", engine="verl")
    assert plan_of(recipe, better, 8).seconds <= plan_of(recipe, card, 8).seconds * (1 + 1e-9)


@settings(max_examples=5)
@given(more=st.integers(1, 500))
def test_more_steps_take_as_much_more_time(more):
    few, many = (plan_of(recipe_of("tiny", f"stages.swe-rl.steps={n}")) for n in (10, 10 + more))
    each = next(e for e in few.phases if e.phase.name == "swe-rl")
    assert many.seconds - few.seconds == pytest.approx(more * each.time.total)


# ---------------------------------------------------------------- in time, or not at all


def started(folder, recipe, done: int, saved: int | None = None):
    """A run directory with so many stages in its ledger, and a state of the next one."""
    folder.mkdir()
    (folder / "recipe.yaml").write_text(recipe_text(recipe))
    ledger = Ledger(folder)
    for index, stage in enumerate(recipe.stages[:done]):
        made = Checkpoint("checkpoint", stage.name, stage.planned_steps, None, "", "0" * 16)
        ledger.add(index, Entry(made, "key", "data", 1.0))
    if saved is not None:
        state = stage_folder(folder, done, recipe.stages[done].name) / "state" / f"step-{saved:06d}"
        state.mkdir(parents=True)
        (state / "manifest.json").write_text("{}")
        # torn: it has no manifest
        (state.parent / f"step-{saved + 5:06d}").mkdir()


def test_what_is_left_counts_no_stage_that_is_done_and_no_step_that_is_saved(tmp_path):
    recipe = recipe_of()
    plan, seconds = plan_of(recipe), plan_of(recipe).stage_seconds()
    started(tmp_path / "run", recipe, done=5, saved=30)
    done = left.steps_done(recipe, tmp_path / "run")
    assert done == {s.name: left.WHOLE for s in recipe.stages[:5]} | {"math-rl": 30}
    found = left.left_of(plan, done)
    first, second, scored = (each for each in plan.phases if each.phase.stage == "math-rl")
    wanted = 15 * second.time.total + scored.seconds + seconds["code-rl"] + seconds["swe-rl"]
    assert found.seconds == pytest.approx(wanted) and first.phase.steps == 22
    assert left.left_of(plan, {}).seconds == pytest.approx(plan.seconds)


def test_a_changed_recipe_redoes_what_it_changes(tmp_path):
    started(tmp_path / "run", recipe_of(), done=8)
    changed = recipe_of("tiny", "stages.rlhf.steps=7")
    done = left.steps_done(changed, tmp_path / "run")
    assert done == dict.fromkeys(["sft-1", "sft-2", "reward-model"], left.WHOLE)
    assert left.steps_done(recipe_of(), tmp_path / "nowhere") == {}
    assert all(each == left.WHOLE for each in left.steps_done(recipe_of(), tmp_path / "run").values())
    nothing = left.left_of(plan_of(recipe_of()), left.steps_done(recipe_of(), tmp_path / "run"))
    assert nothing.seconds == 0 and summary(nothing) == "plan: nothing is left to do"


def timed(plan, *, training: float, scoring: float):
    """The plan as if a step took one second in every phase, and each evaluation another time."""
    phases = tuple(
        replace(
            each,
            time=replace(
                each.time,
                seconds={"update": scoring if each.phase.kind == EVALUATION else training},
                once=0.0,
            ),
        )
        for each in plan.phases
    )
    return replace(plan, phases=phases)


def test_what_will_not_be_done_in_time_is_refused_with_the_longest_stage():
    # 260 + 380 + 160 + 30 + 40 + 45 + 16 + 26 steps of a second
    plan = timed(plan_of(recipe_of()), training=1.0, scoring=0.0)
    found = left.left_of(plan, {})
    assert found.seconds == 957
    left.refuse_late(found, 957 / 3600)
    with pytest.raises(InputError) as refused:
        left.refuse_late(found, 900 / 3600)
    said = str(refused.value)
    assert "15 min 57 s" in said and "57 s too long" in said and "longest is sft-2 with 6 min 20 s" in said
    assert "57 steps fewer would do (stages.sft-2.steps)" in said
    with pytest.raises(InputError, match="shorten it and others"):
        left.refuse_late(found, 100 / 3600)
    # sft-2 is done: what is left is 317 s
    later = left.left_of(plan, {"sft-1": left.WHOLE, "sft-2": left.WHOLE})
    left.refuse_late(later, 317 / 3600)
    with pytest.raises(InputError, match="longest is reward-model with 2 min 40 s"):
        left.refuse_late(later, 316 / 3600)


@pytest.fixture
def here(monkeypatch):
    """This machine, as if it was measured."""
    monkeypatch.setattr("cascade_rl.plan.here.here_for", lambda shape, precision: CPU)


def test_run_refuses_before_anything_is_written(cascade, tmp_path, here):
    status, out, err = cascade("run", "tiny", "--within", "0.001")
    assert status == 1 and "--within 0.001" in err and "nothing was written" in err and not out
    assert not list(tmp_path.iterdir())


def test_run_says_the_total_and_asks_nothing(here, tmp_path, monkeypatch):
    line = asked.total_line(recipe_of(), tmp_path / "run", 1000.0, "here")
    assert line.startswith("plan: about ") and "on 2 of 2 cores here, longest " in line and "\n" not in line
    for load, told in ((0.1, False), (9.5, True)):
        monkeypatch.setattr(asked.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        line = asked.total_line(recipe_of(), tmp_path / "run", None, "here")
        assert ("busy (load 9.5)" in line) == told
    assert not list(tmp_path.iterdir())
    unknown = recipe_of("smollm2-135m", "model.init=nowhere/else")
    assert asked.total_line(unknown, tmp_path / "run", None, "h100").startswith("no plan: ")
    with pytest.raises(InputError):
        asked.total_line(unknown, tmp_path / "run", 1.0, "h100")


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    "arguments",
    [
        ("tiny",),
        ("smollm2-135m", "--hardware", "64xh100", "--engine", "verl", "--price", "2.5"),
        ("qwen3-4b", "--hardware", "h100", "benchmarks=[]", "gate.dips=[]"),
        ("smollm2-135m", "model.init=Qwen/Qwen2.5-72B-Instruct", "--hardware", "gb200", "--engine", "verl"),
    ],
    ids=["tiny", "cluster", "no benchmarks", "too large"],
)
def test_the_plan_reads_well_at_80_columns(cascade, here, monkeypatch, arguments):
    monkeypatch.setattr("cascade_rl.cli.app.console.width", 80)
    status, out, err = cascade("plan", *arguments)
    assert status == 0, err
    assert max(len(line) for line in out.splitlines()) <= 80 and "\u2026" not in out, "a column was cut"
    assert "Assumed, and where it is from:" in out and "What a step waits for most:" in out
    assert ("Does not fit" in out) != ("Everything fits." in out)


def test_json_has_every_figure(cascade):
    status, out, _ = cascade("plan", "tiny", "--hardware", "h100", "--gpus", "1", "--price", "3", "--json")
    found = json.loads(out)
    wanted = plan_of(recipe_of(), "h100", 1, price=3.0)
    assert status == 0 and found["total"]["cost"] == pytest.approx(wanted.cost)
    assert [p["seconds"] for p in found["phases"]] == pytest.approx([e.seconds for e in wanted.phases])
    parts = found["phases"][0]["memory"]["parts"]
    assert {"weights", "gradients", "optimiser", "activations", "head and logits"} <= set(parts)
    assert sum(parts.values()) == pytest.approx(found["phases"][0]["memory"]["peak"])


def test_hub_commit_of_a_begun_run_is_no_change(tmp_path):
    recipe = recipe_of("smollm2-135m", "model.init=Qwen/Qwen3-0.6B")
    commit = "0" * 40
    begun = recipe.model_copy(update={"model": recipe.model.model_copy(update={"commit": commit})})
    started(tmp_path / "run", begun, done=2)
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["model"]["commit"] == commit
    assert left.steps_done(recipe, tmp_path / "run")["sft-2"] == left.WHOLE
