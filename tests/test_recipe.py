"""The recipe: every fault is told with its path and what to do; nothing that is written is without effect."""

from __future__ import annotations

import copy
import re
from itertools import combinations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.data.abilities import check_recipe, load_recipe
from cascade_rl.errors import RecipeError
from cascade_rl.recipe import Recipe, RLStage, replaced_keys
from cascade_rl.recipe.explain import explain
from cascade_rl.recipe.mixture import drawn_in
from cascade_rl.recipe.overrides import apply_override
from cascade_rl.recipe.prompts import PHASE_KEYS
from cascade_rl.recipe.reading import shipped_recipes
from cascade_rl.recipe.smoke import smoke
from cascade_rl.recipe.tables import AS_IT_IS
from cascade_rl.run.ledger import recipe_text
from cascade_rl.types import Split

RAW = yaml.safe_load("""
name: base
model: {architecture: {hidden_size: 32, max_position_embeddings: 65536}, tokenizer: {vocab_size: 320}}
defaults:
  rl: {lr: 1.0e-4, prompts_per_step: 4}
stages:
  - {name: sft-1, kind: sft, samples: 64, steps: 4, batch_size: 8,
     data: [{domain: maths}, {domain: alignment}]}
  - {name: reward-model, kind: reward_model, steps: 3}
  - {name: rlhf, kind: rl, steps: 6, data: [{domain: alignment}]}
  - {name: math-rl, kind: rl, steps: 10, data: [{domain: maths}]}
benchmarks:
  - {name: maths, domain: maths}
  - {name: alignment, domain: alignment}
""")


def changed(*overrides: str) -> dict:
    raw = copy.deepcopy(RAW)
    for override in overrides:
        apply_override(raw, override)
    return raw


def faults(*overrides: str) -> dict[str, str]:
    """path -> message of every problem of the base recipe with these changes."""
    with pytest.raises(RecipeError) as caught:
        check_recipe(changed(*overrides))
    assert all(
        path in str(caught.value) and text in str(caught.value) for path, text in caught.value.problems
    )
    return dict(caught.value.problems)


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid_and_so_are_their_smoke_tests(name, published):
    recipe = load_recipe(name)
    assert recipe.name == name
    short = load_recipe(name, smoke_test=True)
    assert [s.name for s in short.stages] == [s.name for s in recipe.stages]
    assert Recipe.model_validate(short.model_dump()).hash == short.hash, "a smoke test is a valid recipe too"


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_resolved_recipe_reads_back_as_itself(name, published):
    """`cascade status` reads it from the run directory, and `cascade run RUN/recipe.yaml` repeats the run."""
    recipe = load_recipe(name)
    raw = yaml.safe_load(recipe_text(recipe))
    assert Recipe.model_validate(raw) == recipe
    assert check_recipe(raw) == recipe


def test_the_base_recipe_reads_back_as_itself_although_its_schedule_is_constant():
    recipe = check_recipe(RAW)
    assert recipe.stages[0].schedule == "constant"
    assert Recipe.model_validate(yaml.safe_load(recipe_text(recipe))) == recipe


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("stages.math-rl.banana=1", "stages.math-rl.banana", "unknown key"),
        ("banana=1", "banana", "unknown key"),
        ("stages.math-rl.data.maths.banana=1", "stages.math-rl.data.maths.banana", "unknown key"),
        ("stages.math-rl.lr=-1", "stages.math-rl.lr", r"greater than 0 \(got -1"),
        ("stages.math-rl.lr=fast", "stages.math-rl.lr", "got 'fast'"),
        ("stages.math-rl.lr=.nan", "stages.math-rl.lr", "finite"),
        ("stages.math-rl.steps=0", "stages.math-rl.steps", "greater than 0"),
        (
            "stages.math-rl.rollouts_per_prompt=1",
            "stages.math-rl.rollouts_per_prompt",
            "greater than or equal to 2",
        ),
        ("stages.math-rl.overlong=drop", "stages.math-rl.overlong", "'mask', 'zero', 'score' or 'penalty'"),
        (
            "stages.math-rl.filter={kind: epoch, readmit_hard: 2}",
            "stages.math-rl.filter.readmit_hard",
            "less than or equal",
        ),
        (
            "stages.math-rl.data.maths.code_switch=banana",
            "stages.math-rl.data.maths.code_switch",
            "batch_min_minus_10",
        ),
        (
            "stages.math-rl.data.maths.code_switch=on",
            "stages.math-rl.data.maths.code_switch",
            "batch_min_minus_10",
        ),
        (
            "stages.math-rl.data.maths.domain=astrology",
            "stages.math-rl.data.astrology",
            "known: alignment, coding",
        ),
        ("stages.math-rl.data.maths.source=file:nowhere.jsonl", "stages.math-rl.data.maths", "nowhere.jsonl"),
        ("stages.math-rl.name=Math RL", "stages.Math RL.name", "pattern"),
        ("stages.sft-1.epochs=2", "stages.sft-1", "either steps or epochs"),
        ("stages.sft-1.data.maths.modes=[]", "stages.sft-1.data.maths.modes", "at least 1"),
        ("stages.math-rl.kind=ppo", "stages.math-rl", "'sft', 'reward_model', 'rl'"),
        ("stages=[]", "stages", "at least 1"),
        ("stages=3", "stages", "list"),
        ("benchmarks=3", "benchmarks", "list"),
        ("model.architecture.num_key_value_heads=4", "model.architecture", "multiple"),
        ("model.architecture.head_dim=7", "model.architecture", "even"),
        ("stages.math-rl.curriculum=[{share: 0.5}, {share: 0.4}]", "stages.math-rl", "0.9, not 1"),
        ("stages.math-rl.data=[{domain: maths}, {domain: maths}]", "stages.math-rl", "stand twice"),
        # keys without effect
        ("stages.math-rl.muon_lr=0.1", "stages.math-rl", "muon_lr has no effect"),
        ("stages.math-rl.optimizer=muon", "stages.math-rl", "needs muon_lr"),
        ("stages.math-rl.final_lr_fraction=0.5", "stages.math-rl", "final_lr_fraction has no effect"),
        ("stages.math-rl.loss=ppo_clip", "stages.math-rl", "no effect with updates_per_batch 1"),
        ("stages.math-rl.updates_per_batch=2", "stages.math-rl", "needs a loss that bounds the ratio"),
        ("stages.math-rl.clip_high=0.2", "stages.math-rl", "clip_high: no effect"),
        ("stages.math-rl.tis_cap=2", "stages.math-rl", "tis_cap: no effect"),
        ("stages.math-rl.icepop_low=0.2", "stages.math-rl", "icepop_low: no effect"),
        ("stages.math-rl.overlong=penalty", "stages.math-rl", "needs overlong_buffer"),
        ("stages.math-rl.overlong_buffer=9", "stages.math-rl", "overlong_buffer has no effect"),
        ("gate.probe_every=3", "gate", "probe_every: no effect"),
        ("gate.probe_problems=3", "gate", "probe_problems: no effect"),
        ("defaults.reward_model.lr=1", "defaults.reward_model", ""),
        ("defaults.distill.lr=1", "defaults.distill", "no such stage kind"),
        ("model.init=/some/where", "model", "architecture, tokenizer: no effect"),
        ("stages.math-rl.reward_model=reward-model", "stages.math-rl.reward_model", "has no effect"),
        ("stages.math-rl.judge={url: 'http://h/v1', model: m}", "stages.math-rl.judge", "has no effect"),
        (
            "stages.rlhf.reward_model=other",
            "stages.rlhf.reward_model",
            "no earlier reward_model stage 'other'",
        ),
        # names that point nowhere
        ("benchmarks.maths.name=alignment", "benchmarks.alignment", "stands twice"),
        ("stages.math-rl.name=rlhf", "stages.rlhf", "stands twice"),
        ("benchmarks.maths.own_stage=nope", "benchmarks.maths.own_stage", "no stage 'nope'; there are sft-1"),
        (
            "gate.dips=[{benchmark: chess, at: rlhf, until: math-rl}]",
            "gate.dips.0",
            "no benchmark 'chess'; there are maths",
        ),
        ("gate.dips=[{benchmark: maths, at: nope, until: math-rl}]", "gate.dips.0", "no stage 'nope'"),
        ("gate.dips=[{benchmark: maths, at: math-rl, until: rlhf}]", "gate.dips.0", "must come after"),
        (
            "gate.waivers=[{benchmark: maths, stage: nope, reason: because we say so}]",
            "gate.waivers.0",
            "no stage 'nope'",
        ),
        (
            "gate.waivers=[{benchmark: chess, stage: rlhf, reason: because we say so}]",
            "gate.waivers.0",
            "no benchmark 'chess'",
        ),
        (
            "gate.waivers=[{benchmark: maths, stage: rlhf, reason: eh}]",
            "gate.waivers.0.reason",
            "at least 10",
        ),
        ("stages.reward-model.domain=maths", "stages.reward-model.domain", "no preference pairs"),
    ],
)
def test_each_fault_is_told_with_its_path(override, path, message):
    if override.startswith("defaults.reward_model"):
        raw = changed("defaults.reward_model.lr=1")
        raw["stages"].pop(1), raw["stages"].pop(1), raw["benchmarks"].pop()
        with pytest.raises(RecipeError) as caught:
            check_recipe(raw)
        assert dict(caught.value.problems) == {
            "defaults.reward_model": "has no effect: no stage is of this kind"
        }
        return
    found = faults(override)
    if override.startswith("stages="):  # then the defaults of RL stages have no effect either
        assert found.pop("defaults.rl")
    assert set(found) == {path}
    assert re.search(message, found[path]), found[path]


ONE_SHORT_PHASE = "[{share: 0.5, max_response_tokens: 16}, {share: 0.5}]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("loss=gspo", "updates_per_batch=2"), "aggregation: sequence"),
        (("advantage=dr_grpo", "reward_shaping=tanh"), "no standard deviation"),
        (("loss=cispo", "updates_per_batch=2", "rollout_correction=tis"), "count the difference twice"),
        (("loss=ppo_clip", "updates_per_batch=5"), "can't exceed prompts_per_step"),
        (("rollout_correction=icepop", "tis_cap=2"), "tis_cap: no effect"),
        (("overlong=penalty", "overlong_buffer=64", "max_response_tokens=64"), "must be below"),
        (
            ("overlong=penalty", "overlong_buffer=20", f"curriculum={ONE_SHORT_PHASE}"),
            r"below max_response_tokens \(16\)",
        ),
    ],
)
def test_algorithms_that_do_not_go_together_say_why(overrides, message):
    (found,) = faults(*(f"stages.math-rl.{override}" for override in overrides)).items()
    assert found[0] == "stages.math-rl" and re.search(message, found[1]), found


def test_bounds_are_filled_in_for_the_loss_that_uses_them():
    def stage(**keys):
        return RLStage.model_validate(
            {"name": "x", "kind": "rl", "steps": 1, "data": [{"domain": "maths"}], **keys}
        )

    for loss, bounds in (("ppo_clip", (0.2, 0.28)), ("cispo", (1.0, 4.0)), ("gspo", (3e-4, 4e-4))):
        made = stage(loss=loss, updates_per_batch=2, aggregation="sequence")
        assert (made.clip_low, made.clip_high) == bounds
    assert stage().clip_low is stage().tis_cap is None
    assert stage(rollout_correction="tis").tis_cap == 2.0
    assert stage(loss="ppo_clip", updates_per_batch=2, clip_high=0.2).clip_high == 0.2


@pytest.mark.parametrize(
    "keys",
    [
        {"loss": "gspo", "updates_per_batch": 4, "aggregation": "sequence"},
        {
            "rollout_correction": "icepop",
            "overlong": "penalty",
            "overlong_buffer": 64,
            "max_response_tokens": 128,
        },
    ],
)
def test_filled_in_bounds_read_back_and_survive_a_smoke_test(keys):
    recipe = check_recipe(changed(*(f"stages.math-rl.{key}={value}" for key, value in keys.items())))
    assert check_recipe(yaml.safe_load(recipe_text(recipe))) == recipe
    short = smoke(recipe)
    assert Recipe.model_validate(short.model_dump()) == short
    assert short.stage("math-rl").loss == recipe.stage("math-rl").loss


def test_a_missing_key_is_told():
    raw = changed()
    del raw["name"], raw["stages"][0]["samples"]
    with pytest.raises(RecipeError) as caught:
        check_recipe(raw)
    assert dict(caught.value.problems) == {
        "name": "missing; it has no default",
        "stages.sft-1.samples": "missing; it has no default",
    }


def test_a_key_that_every_phase_overrides_is_told():
    phases = "[{share: 0.5, temperature: 1.0}, {share: 0.5, temperature: 0.8}]"
    found = faults("stages.math-rl.temperature=1.2", f"stages.math-rl.curriculum={phases}")
    assert found == {
        "stages.math-rl.temperature": "has no effect: every phase of the curriculum sets its own"
    }
    half = "[{share: 0.5}, {share: 0.5, temperature: 0.8}]"
    check_recipe(changed("stages.math-rl.temperature=1.2", f"stages.math-rl.curriculum={half}"))


def test_rlhf_without_a_reward_model_is_told():
    raw = changed()
    raw["stages"].pop(1)
    with pytest.raises(RecipeError) as caught:
        check_recipe(raw)
    assert caught.value.problems == [("stages.rlhf", "needs a reward_model stage before it")]


def test_all_faults_are_told_at_once():
    """One fault hides no other: not in the same stage, nor the names that only the whole recipe can check."""
    found = faults(
        "banana=1",
        "defaults.distill.lr=1",
        "stages.sft-1.lr=-1",
        "stages.rlhf.muon_lr=0.1",
        "stages.math-rl.banana=2",
        "stages.math-rl.muon_lr=0.1",
        "gate.dips=[{benchmark: chess, at: rlhf, until: math-rl}]",
        "gate.waivers=[{benchmark: maths, stage: nope, reason: because we say so}]",
        "benchmarks.maths.own_stage=nope",
    )
    assert set(found) == {
        "banana",
        "defaults.distill",
        "stages.sft-1.lr",
        "stages.rlhf",
        "stages.math-rl.banana",
        "stages.math-rl",
        "gate.dips.0",
        "gate.waivers.0",
        "benchmarks.maths.own_stage",
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ("stages.math-rl.optimizer=mun", "stages.math-rl.muon_lr=0.1"),
        ("stages.math-rl.schedule=cosin", "stages.math-rl.final_lr_fraction=0.1"),
        ("gate.policy=bast", "gate.probe_every=3"),
    ],
)
def test_a_typing_error_brings_no_second_complaint(overrides):
    assert set(faults(*overrides)) == {overrides[0].partition("=")[0]}


# ---------------------------------------------------------------- overrides and YAML


def test_null_leaves_a_block_of_a_list_out():
    def names(raw: dict, key: str) -> list[str]:
        return [each["name"] for each in raw[key]]

    left = ("rlhf", "reward-model")
    raw = changed(*(f"stages.{name}=null" for name in left), "benchmarks.alignment=~")
    assert names(raw, "stages") == [name for name in names(RAW, "stages") if name not in left]
    assert names(raw, "benchmarks") == ["maths"]
    assert [stage.name for stage in check_recipe(raw).stages] == ["sft-1", "math-rl"]
    # a value of a list is none of its blocks, and stays to be refused
    assert changed("stages.math-rl.betas=[0.8, 0.9]", "stages.math-rl.betas.0=null")["stages"][3][
        "betas"
    ] == [None, 0.9]
    with pytest.raises(ValueError, match=r"no 'rlfh' here.*rlhf"):
        changed("stages.rlfh=null")


def test_settings_of_a_kind_go_with_its_last_stage():
    kept = "defaults.reward_model={lr: 1.0e-5}", "stages.rlhf=null", "stages.reward-model=null"
    assert faults(*kept) == {"defaults.reward_model": "has no effect: no stage is of this kind"}
    check_recipe(changed(*kept, "defaults.reward_model=null"))


def test_overrides_by_name_number_and_into_lists():
    overrides = (
        "stages.math-rl.steps=20",
        "stages.2.steps=7",
        "stages.sft-1.data.alignment.weight=2.5",
        "seed=3",
        "stages.math-rl.lr=1e-4",
        "stages.math-rl.betas=[0.8, 0.9]",
        "gate.band=0.1",
        "benchmarks.maths.k=9",
        "model.architecture={hidden_size: 64, max_position_embeddings: 65536}",
        "stages.math-rl.filter.kind=epoch",
    )
    recipe = check_recipe(changed(*overrides))
    math_rl = recipe.stage("math-rl")
    assert (math_rl.steps, recipe.stage("rlhf").steps, recipe.seed) == (20, 7, 3)
    assert [d.weight for d in recipe.stage("sft-1").data] == [1.0, 2.5]
    assert (
        math_rl.lr == pytest.approx(1e-4) and math_rl.betas == (0.8, 0.9) and math_rl.filter.kind == "epoch"
    )
    assert recipe.gate.band == 0.1 and recipe.benchmarks[0].k == 9
    assert recipe.model.architecture.hidden_size == 64
    assert check_recipe(RAW).stage("math-rl").steps == 10, "the base is not touched"


def test_a_benchmark_without_a_name_goes_by_its_suite():
    raw = {
        "benchmarks": [
            {"suite": "ifeval", "k": 1},
            {"name": "hard", "suite": "mmlu"},
            {"suite": "mmlu", "k": 1},
        ]
    }
    apply_override(raw, "benchmarks.ifeval.k=2")
    apply_override(raw, "benchmarks.mmlu=null")
    assert raw == {"benchmarks": [{"suite": "ifeval", "k": 2}, {"name": "hard", "suite": "mmlu"}]}
    with pytest.raises(ValueError, match="no 'mmlu' here; there are ifeval, hard"):
        apply_override(raw, "benchmarks.mmlu=null")
    with pytest.raises(ValueError, match="no 'x' here; there are 0, 1"):
        apply_override({"layers": ["a", "b"]}, "layers.x.k=1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "stages.mathrl.steps=2",
            "stages.mathrl: no 'mathrl' here; there are sft-1, reward-model, rlhf, math-rl",
        ),
        ("stages.9.steps=2", "no '9' here"),
        ("stages.math-rl.steps.x=2", "stages.math-rl.steps is a value, not a block"),
        ("stages.math-rl.steps.x.y=2", "there is no block to go into"),
        ("seed", "path.to.key=value"),
        ("=3", "path.to.key=value"),
        ("seed=[1", "not valid YAML"),
    ],
)
def test_wrong_overrides_say_what_is_there(override, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        changed(override)


def test_every_wrong_override_is_told_at_once():
    with pytest.raises(RecipeError) as caught:
        load_recipe("tiny", ["stages.nope.lr=1", "seed"])
    assert [path for path, _ in caught.value.problems] == ["stages.nope.lr=1", "seed"]


def test_numbers_that_yaml_reads_as_text_are_numbers():
    raw = yaml.safe_load(yaml.safe_dump(RAW).replace("0.0001", "1e-4"))
    assert raw["defaults"]["rl"]["lr"] == "1e-4"
    assert check_recipe(raw).stage("math-rl").lr == pytest.approx(1e-4)


def test_off_means_off_although_yaml_reads_it_as_false():
    assert yaml.safe_load("code_switch: off") == {"code_switch": False}
    assert (
        check_recipe(changed("stages.math-rl.data.maths.code_switch=off"))
        .stage("math-rl")
        .data[0]
        .code_switch
        == "off"
    )
    for text, wanted in (("-1.0", -1.0), ("0", 0.0), ("batch_min_minus_10", "batch_min_minus_10")):
        recipe = check_recipe(changed(f"stages.math-rl.data.maths.code_switch={text}"))
        assert recipe.stage("math-rl").data[0].code_switch == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[1]", "a recipe is a mapping"),
        (b"a: [", "not valid YAML"),
        (b"3", "a recipe is a mapping"),
        (b"name: \xff", "not UTF-8"),
        (b"name: 2020-13-45", "not valid YAML: month must be in 1..12"),
        (b"seed: " + b"9" * 5000, "not valid YAML: Exceeds the limit"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_files_that_hold_no_recipe(tmp_path, text, message):
    (tmp_path / "x.yaml").write_bytes(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "x.yaml"))


def test_unknown_recipes_name_the_shipped_ones():
    with pytest.raises(RecipeError, match=r"no such recipe or file; shipped recipes:.*tiny"):
        load_recipe("tinny")


def test_defaults_reach_their_kind_and_the_stage_wins():
    recipe = check_recipe(changed("stages.math-rl.lr=0.5"))
    assert recipe.stage("rlhf").lr == 1e-4 and recipe.stage("math-rl").lr == 0.5
    assert recipe.stage("math-rl").prompts_per_step == 4 and recipe.stage("sft-1").lr == 2e-6


# ---------------------------------------------------------------- arithmetic


SHARES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(st.integers(1, 60), SHARES)
def test_phases_cover_every_step_once_in_order(steps, parts):
    curriculum = [{"share": p / sum(parts), "max_response_tokens": 10 + i} for i, p in enumerate(parts)]
    stage = RLStage.model_validate(
        {
            "name": "x",
            "kind": "rl",
            "steps": steps,
            "data": [{"domain": "maths"}],
            "curriculum": curriculum,
            "temperature": 0.7,
        }
    )
    found = stage.phases()
    assert [n for start, end, _ in found for n in range(start, end)] == list(range(steps))
    lengths = [phase.max_response_tokens for _, _, phase in found]
    assert lengths == sorted(set(lengths)) and len(found) <= len(parts)
    assert all(getattr(phase, key) is not None for _, _, phase in found for key in PHASE_KEYS)
    assert {phase.temperature for _, _, phase in found} == {0.7}
    for (start, end, phase), part in zip(found, parts, strict=False) if len(found) == len(parts) else ():
        assert abs((end - start) - steps * part / sum(parts)) <= 1
        assert phase.share == part / sum(parts)


def test_phases_by_hand():
    stage = check_recipe(
        changed("stages.math-rl.curriculum=[{share: 0.4, overlong: mask}, {share: 0.6, overlong: zero}]")
    ).stage("math-rl")
    assert [(start, end, phase.overlong) for start, end, phase in stage.phases()] == [
        (0, 4, "mask"),
        (4, 10, "zero"),
    ]
    plain = check_recipe(RAW).stage("math-rl").phases()
    assert [(start, end) for start, end, _ in plain] == [(0, 10)]


def test_planned_steps_from_epochs():
    raw = changed("stages.sft-1.epochs=3", "stages.reward-model.epochs=2", "stages.reward-model.pairs=600")
    raw["stages"][0].pop("steps"), raw["stages"][1].pop("steps")
    recipe = check_recipe(raw)
    assert recipe.stage("sft-1").planned_steps == 3 * (64 // 8)
    assert recipe.stage("reward-model").planned_steps == 2 * (600 // 256)


def test_own_stage_is_the_last_that_trains_the_domain():
    recipe = check_recipe(changed("benchmarks.maths.own_stage=sft-1"))
    assert recipe.own_stage(recipe.benchmarks[0]) == "sft-1"
    assert recipe.own_stage(recipe.benchmarks[1]) == "rlhf"
    assert check_recipe(RAW).own_stage(check_recipe(RAW).benchmarks[0]) == "math-rl"
    raw = changed()
    raw["benchmarks"].append({"name": "choice", "domain": "multiple_choice", "problems": 2})
    assert check_recipe(raw).own_stage(check_recipe(raw).benchmarks[-1]) is None, "nothing trains for it"


def test_smoke_keeps_the_path_and_cuts_the_size():
    phases = "[{share: 0.3, overlong: mask}, {share: 0.3}, {share: 0.4}]"
    recipe = check_recipe(changed(f"stages.math-rl.curriculum={phases}", "stages.sft-1.warmup_steps=3"))
    short = smoke(recipe)
    assert [(s.name, s.kind) for s in short.stages] == [(s.name, s.kind) for s in recipe.stages]
    assert [s.planned_steps for s in short.stages] == [2, 2, 2, 3]
    assert len(short.stage("math-rl").phases()) == 3, "every phase of the curriculum is walked through"
    assert short.smoke and not recipe.smoke
    assert all(b.problems <= 4 and b.k == 1 for b in short.benchmarks)
    assert all(s.warmup_steps == 0 for s in short.stages)
    assert short.hash != recipe.hash


def test_smoke_leaves_prompts_room_for_a_tokenizer_learnt_from_few_samples():
    recipe = load_recipe("tiny", ["benchmarks.maths.max_prompt_tokens=96"])
    positions = recipe.model.architecture.max_position_embeddings
    found = {spec.name: spec.max_prompt_tokens for spec in smoke(recipe).benchmarks}
    assert found["maths"] == 192 < positions
    # what has room for all that the model has room for stays as it was
    assert found["alignment"] == next(s for s in recipe.benchmarks if s.name == "alignment").max_prompt_tokens


def test_smoke_walks_phases_that_have_no_step_in_the_recipe():
    """Of 6 steps the first phase gets none: what a smoke test left out was the last."""
    phases = (
        "[{share: 0.05, temperature: 0.7}, {share: 0.5, temperature: 0.8}, {share: 0.45, temperature: 0.9}]"
    )
    recipe = check_recipe(changed(f"stages.math-rl.curriculum={phases}", "stages.math-rl.steps=6"))
    assert [rule.temperature for rule in recipe.stage("math-rl").sampled()] == [0.8, 0.9]
    assert [rule.temperature for rule in smoke(recipe).stage("math-rl").sampled()] == [0.7, 0.8, 0.9]


# ---------------------------------------------------------------- what every stage answers for itself


def test_stages_say_what_they_draw_from():
    recipe = check_recipe(changed("stages.reward-model.source=chat"))
    drawn = {entry.path: tuple(entry[1:4]) for entry in recipe.entries()}
    assert {entry.reading for entry in recipe.entries()} == {AS_IT_IS}
    assert drawn == {
        "stages.sft-1.data.maths": ("maths", "builtin", Split.SFT),
        "stages.sft-1.data.alignment": ("alignment", "builtin", Split.SFT),
        "stages.reward-model.data.alignment": ("alignment", "chat", Split.RL),
        "stages.rlhf.data.alignment": ("alignment", "builtin", Split.RL),
        "stages.math-rl.data.maths": ("maths", "builtin", Split.RL),
        "benchmarks.maths": ("maths", "builtin", Split.HELDOUT),
        "benchmarks.alignment": ("alignment", "builtin", Split.HELDOUT),
    }
    assert recipe.stage("sft-1").domains() == ["maths", "alignment"]


def test_stages_say_what_they_sample():
    phases = "[{share: 0.5, max_response_tokens: 30, top_p: 0.9}, {share: 0.5, max_response_tokens: 20}]"
    recipe = check_recipe(
        changed(
            "stages.math-rl.max_prompt_tokens=7",
            f"stages.math-rl.curriculum={phases}",
            "stages.reward-model.pairs_from=samples",
            "stages.reward-model.max_tokens=50",
            "stages.reward-model.sample_tokens=9",
        )
    )
    rules = [(rule.max_response_tokens, rule.top_p) for rule in recipe.stage("math-rl").sampled()]
    assert rules == [(30, 0.9), (20, 1.0)]
    assert {stage.name: stage.prompt_limit() for stage in recipe.stages} == {
        "sft-1": None,
        "reward-model": None,
        "rlhf": 4096,
        "math-rl": 7,
    }
    longest = {stage.name: stage.longest() for stage in recipe.stages}
    assert longest == {"sft-1": 0, "reward-model": 59, "rlhf": 4096 + 16384, "math-rl": 37}
    assert check_recipe(RAW).stage("reward-model").longest() == 0, "pairs of the domain are not sampled"


def test_a_pool_is_bounded_by_the_phases_that_draw_from_it_and_by_no_other():
    """The report's SWE RL asks prompts of 16K tokens, then of 24K: the longer ones wait for their phase."""
    entry = "{{name: {}, domain: maths, source: {}, problems: 200}}".format
    names = ("short", "builtin"), ("long", "reasoning-gym:chain_sum"), ("both", "reasoning-gym:gcd")
    recipe = check_recipe(
        changed(
            f"stages.math-rl.data=[{', '.join(entry(*one) for one in names)}]",
            "stages.math-rl.curriculum=[{share: 0.5, max_prompt_tokens: 16, data: [short, both]}, "
            "{share: 0.5, max_prompt_tokens: 24, data: [long, both]}]",
        )
    )
    assert recipe.stage("math-rl").prompt_limits(3) == [16, 24, 16]


def test_which_stages_may_share_prompts():
    raw = changed()
    raw["stages"].insert(1, raw["stages"][0] | {"name": "sft-2"})
    stages = check_recipe(raw).stages
    allowed = {(a.name, b.name) for a, b in combinations(stages, 2) if a.may_share(b) or b.may_share(a)}
    assert allowed == {
        ("sft-1", "sft-2"), ("sft-1", "reward-model"), ("sft-2", "reward-model"),
        ("reward-model", "rlhf"), ("reward-model", "math-rl"),
    }  # fmt: skip
    own = {stage.name for stage in stages if stage.may_share(stage)}
    assert own == {"sft-1", "sft-2", "reward-model"}, "two RL stages never share"


def test_an_rl_stage_asks_the_reward_model_that_it_names_else_the_last_before_it():
    raw = changed()
    raw["stages"].insert(1, raw["stages"][1] | {"name": "older"})
    recipe = check_recipe(raw)
    assert [stage.name for stage in recipe.before("rlhf")] == ["sft-1", "older", "reward-model"]
    assert recipe.stage("rlhf").reward_model_among(recipe.before("rlhf")) == "reward-model"
    raw["stages"][3]["reward_model"] = "older"
    recipe = check_recipe(raw)
    assert recipe.stage("rlhf").reward_model_among(recipe.before("rlhf")) == "older"
    assert check_recipe(RAW).stage("rlhf").reward_model_among([]) is None
    assert recipe.stage("sft-1").reward_model_among(recipe.stages) is None


# ---------------------------------------------------------------- no knob is inert


OTHER = {
    "name": "other", "optimizer": "muon", "lr": 0.5, "betas": [0.1, 0.2], "weight_decay": 0.3,
    "grad_clip": 9.0, "schedule": "cosine", "schedule_steps": 12, "warmup_steps": 3, "tokens_per_microbatch": 77, "save_every": 3,
    "steps": 11, "data": [{"domain": "coding"}], "prompts_per_step": 5, "rollouts_per_prompt": 3,
    "mode_mix": "half", "max_prompt_tokens": 9, "max_response_tokens": 9, "temperature": 0.5, "top_p": 0.5,
    "top_k": 5, "min_p": 0.1, "overlong": "zero", "curriculum": [{"share": 1.0}], "filter": {"kind": "epoch"},
    "aggregation": "sequence", "kl_coefficient": 0.1, "reward_shaping": "tanh", "reward_model": "rm",
    "muon_lr": 0.1, "final_lr_fraction": 0.5, "advantage": "dr_grpo", "loss": "cispo", "clip_low": 0.1,
    "clip_high": 0.1, "updates_per_batch": 3, "overlong_buffer": 9, "rollout_correction": "tis",
    "tis_cap": 3.0, "icepop_low": 0.6, "icepop_high": 3.0, "lora": {"rank": 3},
    "judge": {"url": "http://h/v1", "model": "m"}, "engine": "verl", "reward_model_from": "org/rm@main",
}  # fmt: skip
NEEDS = {
    "optimizer": {"muon_lr": 0.1},
    "muon_lr": {"optimizer": "muon"},
    "final_lr_fraction": {"schedule": "linear"},
    "schedule_steps": {"schedule": "linear"},
}
CLIPPED = {"loss": "ppo_clip", "updates_per_batch": 2}
BASES = {
    "final_lr_fraction": {"schedule": "linear"},
    "schedule_steps": {"schedule": "linear"},
    "muon_lr": {"optimizer": "muon", "muon_lr": 0.2},
    **dict.fromkeys(("loss", "updates_per_batch", "clip_low", "clip_high"), CLIPPED),
    "overlong_buffer": {"overlong": "penalty", "overlong_buffer": 8},
    "tis_cap": {"rollout_correction": "tis"},
    "icepop_low": {"rollout_correction": "icepop"},
    "icepop_high": {"rollout_correction": "icepop"},
}


def test_the_list_of_other_values_is_complete():
    assert set(OTHER) == set(RLStage.model_fields) - {"kind"}


@pytest.mark.parametrize("key", OTHER)
def test_every_key_of_an_rl_stage_changes_the_hash(key):
    def hashed(**settings) -> str:
        raw = copy.deepcopy(RAW)
        del raw["defaults"]
        raw["stages"] = [
            {"name": "math-rl", "kind": "rl", "steps": 10, "data": [{"domain": "maths"}], **settings}
        ]
        return Recipe.model_validate(raw).hash

    needed = NEEDS.get(key, {})
    base = BASES.get(key, {})
    assert hashed(**base) != hashed(**{**base, **needed, key: OTHER[key]})


def test_engines_of_stages_are_their_own_else_the_runs_and_a_reward_model_is_ours():
    flat = "defaults.rl={lr: 2.0e-4, prompts_per_step: 32, max_prompt_tokens: 96, max_response_tokens: 96}"
    recipe = load_recipe("tiny", ["engine=verl", flat, "stages.math-rl.engine=local"])
    engines = {stage.name: recipe.engine_of(stage) for stage in recipe.stages}
    assert engines["rlhf"] == engines["sft-1"] == "verl"
    assert engines["math-rl"] == engines["reward-model"] == "local"
    # the block is there with its defaults, so that keys and records name them
    assert recipe.verl is not None and recipe.verl.gpus == 8


def test_a_block_of_verl_that_no_stage_uses_is_refused_and_one_that_does_not_divide_too():
    with pytest.raises(RecipeError, match="no stage is trained by it"):
        load_recipe("tiny", ["verl.nodes=2"])
    with pytest.raises(RecipeError, match="does not divide the 8 GPUs"):
        load_recipe("tiny", ["engine=verl", "verl.tensor_parallel=3"])
    with pytest.raises(RecipeError, match="no trainer of reward models"):
        load_recipe("tiny", ["engine=verl", "stages.reward-model.engine=verl"])


# ---------------------------------------------------------------- what the report's own recipes say


def test_a_schedule_ends_after_the_steps_that_the_stage_says_and_not_before_its_own():
    assert "schedule constant" in faults("stages.sft-1.schedule_steps=9")["stages.sft-1"]
    cosine = "stages.sft-1.schedule=cosine"
    assert "raise it" in faults(cosine, "stages.sft-1.schedule_steps=3")["stages.sft-1.schedule_steps"]
    assert check_recipe(changed(cosine, "stages.sft-1.schedule_steps=4"))
    recipe = check_recipe(changed(cosine, "stages.sft-1.schedule_steps=400"))
    assert "cosine schedule over 400 steps" in explain(recipe)
    assert smoke(recipe).stages[0].schedule_steps == 400


IF_RL = """
name: if-rl
kind: rl
steps: 10
data:
  - {name: ifeval, domain: following, source: ifeval-train, problems: 40}
  - {name: ifbench, domain: following, source: ifbench-train, problems: 20}
curriculum: [{share: 0.7, data: [ifeval]}, {share: 0.3, data: [ifbench], overlong: mask}]
"""


def if_rl(**changes) -> RLStage:
    return RLStage.model_validate({**yaml.safe_load(IF_RL), **changes})


def test_each_phase_of_a_curriculum_draws_from_its_own_entries():
    stage = if_rl(prompts_per_step=20)
    drawn = [
        (start, end, [d.source for d in drawn_in(rule, stage.data)]) for start, end, rule in stage.phases()
    ]
    assert drawn == [(0, 7, ["ifeval-train"]), (7, 10, ["ifbench-train"])]
    told = " ".join(stage.explained())
    assert "steps 0-7: prompts of ifeval, responses" in told and "steps 7-10: prompts of ifbench," in told
    assert [entry.path for entry in stage.entries()] == [
        "stages.if-rl.data.ifeval",
        "stages.if-rl.data.ifbench",
    ]
    # a batch is drawn from a phase's entries: the smallest of them bounds it
    assert stage.batch() == ("prompts_per_step", 20, 20)
    assert replaced_keys(yaml.safe_load(IF_RL)) == []
    raw = {"stages": [yaml.safe_load(IF_RL)]}
    apply_override(raw, "stages.if-rl.data.ifbench.problems=3")
    assert [entry["problems"] for entry in raw["stages"][0]["data"]] == [40, 3]


def test_a_prompt_may_be_as_long_as_each_phase_that_draws_it_allows():
    """SWE RL of the 8B model: prompts of 16K, then of 24K (table 20)."""
    phases = [
        {"share": 0.5, "data": ["short"], "max_prompt_tokens": 16384},
        {"share": 0.5, "max_prompt_tokens": 24576},
    ]
    entries = [{"name": name, "domain": "swe", "source": "packages"} for name in ("short", "long")]
    stage = if_rl(data=entries, curriculum=phases)
    assert stage.prompt_limits(2) == [16384, 24576] and stage.prompt_limit() == 16384
    assert [stage.drawn(rule, 2) for rule in stage.sampled()] == [[0], [0, 1]]
    assert stage.fewest([6, 4]) == 6
    plain = if_rl(curriculum=[])
    assert plain.prompt_limits(2) == [4096, 4096] and plain.fewest([6, 4]) == 10
    assert check_recipe(RAW).stage("sft-1").prompt_limits(1) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"curriculum": [{"share": 1, "data": ["ifeval"]}]}, "entry ifbench has no effect"),
        (
            {"curriculum": [{"share": 1, "data": ["iffy"]}]},
            "no entry is named 'iffy'; there are ifeval, ifbench",
        ),
        ({"curriculum": [{"share": 1, "data": ["ifeval", "ifeval"]}]}, "a name stands twice"),
        ({"curriculum": [{"share": 1, "data": []}]}, "at least 1 item"),
        (
            {"data": [{"name": "a", "domain": "maths"}, {"name": "a", "domain": "swe"}]},
            "the name a stands twice",
        ),
        (
            {"data": [{"domain": "maths"}], "curriculum": [{"share": 1, "data": ["maths"]}]},
            "there are none: give entries a name",
        ),
        (
            {
                "data": [{"name": "a", "domain": "maths"}, {"domain": "swe"}],
                "curriculum": [{"share": 1, "data": ["a"]}],
            },
            "of swe, which has no name, has no effect",
        ),
        # two names, but no phase that tells them apart
        (
            {
                "data": [{"name": "a", "domain": "maths"}, {"name": "b", "domain": "maths"}],
                "curriculum": [],
            },
            "add their weights",
        ),
    ],
)
def test_names_of_entries_and_phases_fit_together(changes, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        if_rl(**changes)


def test_one_source_may_stand_twice_where_phases_draw_from_one_entry_each():
    twice = [
        {"name": name, "domain": "following", "source": "ifeval-train"} for name in ("ifeval", "ifbench")
    ]
    assert len(if_rl(data=twice).data) == 2


def test_keys_that_are_not_given_stand_in_no_record():
    """So they change neither the hash of an older recipe nor the key of a finished stage."""
    dumped = RLStage.model_validate({"name": "x", "kind": "rl", "steps": 1, "data": [{"domain": "maths"}],
                                     "curriculum": [{"share": 1}]}).model_dump(mode="json")  # fmt: skip
    assert "schedule_steps" not in dumped
    assert "name" not in dumped["data"][0] and "data" not in dumped["curriculum"][0]


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"k": 4}, 4 + 1 + 4 + 1),
        ({"k": 4, "k_other_mode": 2}, 4 + 1 + 2 + 1),
        ({"k": 2, "both_modes": False}, 2 + 1),
        ({"k": 1, "greedy": False}, 1 + 1),
    ],
)
def test_the_replies_that_are_announced_are_those_that_are_drawn(keys, count):
    raw = copy.deepcopy(RAW)
    raw["benchmarks"] = [{"name": "sums", "domain": "maths", "problems": 10, **keys}]
    raw.pop("gate", None)
    assert f"{10 * count} replies" in explain(check_recipe(raw))
