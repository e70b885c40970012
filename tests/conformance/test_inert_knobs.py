"""No knob of RL is inert: every other value of every key changes a metric, the batch or the weights in a probe.

Evidence that this happens: https://github.com/NVIDIA-NeMo/RL/pull/3792 (a loss weight without effect),
https://github.com/verl-project/verl/issues/4272 and https://github.com/verl-project/verl/issues/4268 (keys that were
accepted and skipped). The keys are read from the recipe's models: one that is added without an entry here fails.

A probe is a stage of three steps of a tiny model. What it leaves behind, the journal's metrics and the weights, must
differ between a base and the base with one key changed.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from tiny import Policy, random_flat, stage_run, toy_problem

from cascade_rl.cascade import stage as cascade_stage
from cascade_rl.cascade.outside import directory_of, pinned
from cascade_rl.data.pools import provide
from cascade_rl.domain import Domain, Services
from cascade_rl.domains import load_domain
from cascade_rl.model.checkpoint import weights_hash
from cascade_rl.model.export import export
from cascade_rl.recipe import Recipe, RLStage
from cascade_rl.recipe.algorithm import Algorithm
from cascade_rl.recipe.prompts import BatchFilter, EpochFilter, NoFilter, Phase, RLData
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.run.journal import read_lines
from cascade_rl.testing import QuietScreen, ScriptedSampler
from cascade_rl.train import gradients, rl
from cascade_rl.train.gather import gather
from cascade_rl.train.learned_reward import head_shape
from cascade_rl.train.pool import PromptPool
from cascade_rl.train.stage_run import Exported
from cascade_rl.types import Message, Outcome, Pools, Problem, Rollout, Verdict, problem_id

SMALL: dict[str, Any] = {
    "name": "x", "kind": "rl", "steps": 3, "lr": 0.005, "prompts_per_step": 4, "rollouts_per_prompt": 4,
    "max_response_tokens": 12, "data": [{"domain": "graded", "problems": 8}],
}  # fmt: skip
TWO_UPDATES = {
    "loss": "ppo_clip",
    "updates_per_batch": 2,
    "aggregation": "sequence",
    "prompts_per_step": 8,
    "lr": 0.002,
}
EPOCHS = {"steps": 7, "prompts_per_step": 4, "filter": {"kind": "epoch"}}
PENALTY = {"overlong": "penalty", "overlong_buffer": 8}

# key -> (base, change) of each probe; a key that has several other values in the recipe needs one probe for each.
PROBES: dict[str, list[tuple[dict, dict]]] = {
    "name": [({}, {"name": "y"})],
    "optimizer": [({}, {"optimizer": "muon", "muon_lr": 0.01})],
    "lr": [({}, {"lr": 0.01})],
    "muon_lr": [({"optimizer": "muon", "muon_lr": 0.01}, {"muon_lr": 0.02})],
    "betas": [({}, {"betas": [0.5, 0.95]}), ({}, {"betas": [0.9, 0.5]})],
    "weight_decay": [({}, {"weight_decay": 0.5})],
    "grad_clip": [({}, {"grad_clip": 1e-3})],
    "lora": [
        ({}, {"lora": {}}),
        ({"lora": {"rank": 2}}, {"lora": {"rank": 3}}),
        ({"lora": {"rank": 2}}, {"lora": {"rank": 2, "alpha": 8}}),
        ({"lora": {"rank": 2}}, {"lora": {"rank": 2, "targets": ["q_proj"]}}),
    ],
    "schedule": [({}, {"schedule": "linear"}), ({}, {"schedule": "cosine"})],
    "final_lr_fraction": [({"schedule": "linear"}, {"final_lr_fraction": 0.5})],
    "warmup_steps": [({}, {"warmup_steps": 2})],
    "schedule_steps": [({"schedule": "linear"}, {"schedule_steps": 9})],
    "data": [({}, {"data": [{"domain": "graded", "source": "b", "problems": 8}]})],
    "steps": [({}, {"steps": 4})],
    "prompts_per_step": [({}, {"prompts_per_step": 3})],
    "rollouts_per_prompt": [({}, {"rollouts_per_prompt": 3})],
    "mode_mix": [({}, {"mode_mix": "instruct"}), ({}, {"mode_mix": "half"})],
    "max_response_tokens": [({}, {"max_response_tokens": 8})],
    "temperature": [({}, {"temperature": 0.7})],
    "top_p": [({}, {"top_p": 0.8})],
    "top_k": [({}, {"top_k": 5})],
    "min_p": [({}, {"min_p": 0.3})],
    "overlong": [({}, {"overlong": "mask"}), ({}, {"overlong": "zero"}), ({}, PENALTY)],
    "overlong_buffer": [(PENALTY, {"overlong_buffer": 3})],
    "curriculum": [({}, {"curriculum": [{"share": 0.5}, {"share": 0.5, "temperature": 0.5}]})],
    "filter": [({}, {"filter": {"kind": "batch"}}), (EPOCHS | {"filter": {"kind": "none"}}, EPOCHS)],
    "advantage": [({}, {"advantage": "dr_grpo"})],
    "loss": [({}, TWO_UPDATES), (TWO_UPDATES, {"loss": "cispo"}), (TWO_UPDATES, {"loss": "gspo"})],
    "clip_low": [(TWO_UPDATES, {"clip_low": 1e-3})],
    "clip_high": [(TWO_UPDATES, {"clip_high": 1e-3})],
    "updates_per_batch": [(TWO_UPDATES, {"updates_per_batch": 4})],
    "aggregation": [({}, {"aggregation": "sequence"}), ({}, {"aggregation": "constant"})],
    "kl_coefficient": [({}, {"kl_coefficient": 0.5})],
    "reward_shaping": [({}, {"reward_shaping": "tanh"})],
    "rollout_correction": [({}, {"rollout_correction": "tis"}), ({}, {"rollout_correction": "icepop"})],
    "tis_cap": [({"rollout_correction": "tis"}, {"tis_cap": 1.1})],
    "icepop_low": [({"rollout_correction": "icepop"}, {"icepop_low": 0.95})],
    "icepop_high": [({"rollout_correction": "icepop"}, {"icepop_high": 1.05})],
}  # fmt: skip
# Keys whose effect is not in the numbers, and the test below that shows it.
ELSEWHERE = {
    "tokens_per_microbatch": "test_micro_batches",
    "save_every": "test_saves",
    "max_prompt_tokens": "test_long_prompts",
    "reward_model": "test_reward_model",
    "reward_model_from": "test_reward_model_from",
    "judge": "test_judge",
}
NAMED = [
    {"domain": "graded", "problems": 8, "name": "one"},
    {"domain": "other", "problems": 8, "name": "two"},
]
PHASES = {
    "data": [({"data": NAMED, "curriculum": [{"share": 0.4}, {"share": 0.6}]},
              {"curriculum": [{"share": 0.4, "data": ["one"]}, {"share": 0.6, "data": ["two"]}]}),
             ({"data": NAMED, "curriculum": [{"share": 0.4}, {"share": 0.6}]},
              {"curriculum": [{"share": 0.4}, {"share": 0.6, "data": ["two"]}]})],
    "share": [({"curriculum": [{"share": 0.7}, {"share": 0.3, "temperature": 0.5}]},
               {"curriculum": [{"share": 0.4}, {"share": 0.6, "temperature": 0.5}]})],
    "overlong": [({}, {"curriculum": [{"share": 1, "overlong": rule}]}) for rule in ("mask", "zero")]
    + [({"overlong": "mask"}, {"curriculum": [{"share": 1, "overlong": "score"}]}),
       ({}, {"overlong_buffer": 8, "curriculum": [{"share": 1, "overlong": "penalty"}]})],
    **{key: [({}, {"curriculum": [{"share": 1, key: value}]})]
       for key, value in (("max_response_tokens", 8), ("temperature", 0.7), ("top_p", 0.8), ("top_k", 5), ("min_p", 0.3))},
}  # fmt: skip
FILTERS = {
    (BatchFilter, "max_rounds"): [
        ({"filter": {"kind": "batch", "max_rounds": 1}}, {"filter": {"kind": "batch"}})
    ],
    (EpochFilter, "readmit_hard"): [(EPOCHS, {"filter": {"kind": "epoch", "readmit_hard": 1.0}})],
    (EpochFilter, "readmit_easy"): [(EPOCHS, {"filter": {"kind": "epoch", "readmit_easy": 1.0}})],
}
DATA = {
    "domain": {"domain": "other"}, "source": {"source": "b"}, "problems": {"problems": 3}, "weight": {"weight": 3.0},
    "code_switch": {"code_switch": -1.0},
}  # fmt: skip


# ---------------------------------------------------------------- the probe


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """Every fourth problem is always solved, every fourth never; else a grade from the reply's bytes."""
    number = int(problem.messages[-1].content.split()[-1])
    if number % 4 < 2:
        return Verdict.binary(number % 4 == 1)
    return Verdict((sum(rollout.text.encode(errors="replace")) % 4) / 3, Outcome.PARTIAL)


def domain(name: str) -> Domain:
    def numbered(query):
        for number in range(1000):
            asked = f"{name} {query.source} {number}"
            yield Problem(problem_id(name, asked), name, (Message("user", asked),), None)

    sources = {"builtin": numbered, "b": numbered}
    return Domain(name, "for probes", sources, grade, examples=list, gold=lambda p: None)


DOMAINS = {name: domain(name) for name in ("graded", "other")}


class Engine:
    """A sampler that recomputes nothing: like a second engine, its log-probabilities are a little off the trainer's."""

    def __init__(self, inner: TorchSampler) -> None:
        self.inner = inner

    def sample(self, problems, sampling, finished=None):
        def off(r: Rollout) -> Rollout:
            noise = torch.randn(len(r.ids), generator=torch.Generator().manual_seed(len(r.ids)))
            return Rollout(
                r.prompt_ids, r.ids, tuple(torch.tensor(r.logprobs).add(noise).tolist()), r.text, r.stop
            )

        return [tuple(off(r) for r in group) for group in self.inner.sample(problems, sampling)]


REPLIES = (
    "а b",
    "yes",
    "perhaps",
    "certainly not today",
    "no",
    "maybe so",
    "яяя",
)  # some foreign, some near the limit


def run_stage(
    settings: dict[str, Any], folder: Path, sampler: str = "own", **more: Any
) -> tuple[list[dict], str]:
    """The journal's metrics, step by step, and the hash of the weights in the end."""
    stage = RLStage.model_validate(settings)
    policy = Policy(seed=0, scale=0.1)
    start = folder / "start"
    export(start, policy.raw, policy.config, policy.model.flat, policy.tokenizer)
    own = TorchSampler(policy.replicas, policy.tokenizer)
    chosen = {"own": own, "engine": Engine(own), "scripted": ScriptedSampler(lambda problem: REPLIES)}[
        sampler
    ]
    with stage_run(folder, stage, DOMAINS, policy, chosen, smoke=True, start=start, **more) as run:
        rl.train(run, provide(stage, DOMAINS, 0))
    lines = [line["metrics"] for line in read_lines(folder / "journal.jsonl") if line["kind"] == "step"]
    return lines, weights_hash(policy.model.flat)


@cache
def probe(text: str, sampler: str) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as place:
        lines, weights = run_stage(json.loads(text), Path(place), sampler)
    return json.dumps(lines), weights


def result(settings: dict[str, Any], sampler: str = "own") -> tuple[str, str]:
    return probe(json.dumps(SMALL | settings, sort_keys=True), sampler)


SAMPLERS = {
    "overlong": "scripted", "overlong_buffer": "scripted", "code_switch": "scripted", "rollout_correction": "engine",
    "tis_cap": "engine", "icepop_low": "engine", "icepop_high": "engine",
}  # fmt: skip


def assert_effect(key: str, base: dict, change: dict) -> None:
    sampler = SAMPLERS.get(key, "own")
    before, after = result(base, sampler), result(base | change, sampler)
    assert before == result(base, sampler)
    assert before[0] != after[0] or before[1] != after[1], f"{key} has no effect: {change}"
    if key in Algorithm.model_fields:
        assert before[1] != after[1], f"{key} changes what is told, but not what is learnt: {change}"


def cases(table: dict) -> list:
    return [pytest.param(key, base, change, id=f"{getattr(key, 'name', key)}-{number}")
            for key, probes in table.items() for number, (base, change) in enumerate(probes)]  # fmt: skip


@pytest.mark.parametrize(("key", "base", "change"), cases(PROBES))
def test_every_other_value_of_a_stage_key_has_an_effect(key, base, change):
    assert_effect(key, base, change)


@pytest.mark.parametrize(("key", "base", "change"), cases(PHASES))
def test_every_key_of_a_phase_has_an_effect(key, base, change):
    assert_effect(key, base, change)


@pytest.mark.parametrize(
    ("key", "base", "change"), cases({f"{kind.__name__}.{name}": p for (kind, name), p in FILTERS.items()})
)
def test_every_key_of_a_filter_has_an_effect(key, base, change):
    assert_effect(key, base, change)


@pytest.mark.parametrize("key", DATA)
def test_every_key_of_a_data_entry_has_an_effect(key):
    entry = {"domain": "graded", "problems": 8}
    second = [{"domain": "graded", "source": "b", "problems": 8}] if key == "weight" else []
    assert_effect(key, {"data": [entry, *second]}, {"data": [entry | DATA[key], *second]})


def test_values_of_one_key_differ_from_each_other():
    """Two values that do the same would be one too many."""
    for key, probes in PROBES.items():
        if len(probes) > 1:
            found = [result(base | change, SAMPLERS.get(key, "own")) for base, change in probes]
            assert len(set(found)) == len(found), key


# ---------------------------------------------------------------- nothing is forgotten


def choices(annotation: Any) -> list[Any]:
    """The values of a Literal, wherever it stands in an annotation."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in choices(part)]


def probed(table: list[tuple[dict, dict]], key: str) -> set:
    """The values that a key's probes set, in a stage or in its phases."""
    found = set()
    for base, change in table:
        for settings in (change, *change.get("curriculum", [])):
            value = settings.get(key, base.get(key))
            found.add(
                value.get("kind") if isinstance(value, dict) else value if isinstance(value, str) else None
            )
    return found


@pytest.mark.parametrize(
    ("model", "tables", "fixed"),
    [
        (RLStage, {**PROBES, **ELSEWHERE}, {"kind", "engine"}),  # engine: who trains, tests/test_recipe.py
        (Phase, PHASES, {"max_prompt_tokens"}),  # test_long_prompts
        (NoFilter, {}, {"kind"}),
        (BatchFilter, {name: p for (kind, name), p in FILTERS.items() if kind is BatchFilter}, {"kind"}),
        (EpochFilter, {name: p for (kind, name), p in FILTERS.items() if kind is EpochFilter}, {"kind"}),
        # of tables of rows: test_tables; a name does nothing but to be named, by PHASES["data"];
        # with a reward model: test_with_reward_model
        (RLData, DATA, {"map", "split", "bad_rows", "name", "with_reward_model"}),
    ],
)
def test_every_key_has_a_probe_and_every_choice_too(model, tables, fixed):
    assert set(model.model_fields) == set(tables) | fixed
    for key, field in model.model_fields.items():
        others = [v for v in choices(field.annotation) if v != field.default]
        if key in fixed or key in ELSEWHERE or model is RLData or not others:
            continue
        assert set(others) <= probed(tables[key], key) | {field.default}, f"{key}: a choice without a probe"


def test_every_key_stands_in_the_documents():
    text = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text()
    keys = {k for model in (RLStage, BatchFilter, EpochFilter, RLData, Phase) for k in model.model_fields}
    assert not [
        key
        for key in sorted(keys)
        if f"`{key}`" not in text and key not in ("name", "kind") and key not in text
    ]


# ---------------------------------------------------------------- effects that are not in the numbers


def test_micro_batches(monkeypatch, tmp_path):
    counts = []
    for tokens in (4096, 40):
        calls = []
        pack = gradients.pack_rows
        monkeypatch.setattr(
            gradients, "pack_rows", lambda *a, pack=pack, calls=calls: calls.append(1) or pack(*a)
        )
        run_stage(SMALL | {"tokens_per_microbatch": tokens, "steps": 1}, tmp_path / str(tokens))
        monkeypatch.undo()
        counts.append(len(calls))
    assert counts[0] < counts[1]


def test_saves(tmp_path):
    times = []
    for every in (10, 1):
        folder = tmp_path / str(every)
        run_stage(SMALL | {"save_every": every}, folder)
        lines = read_lines(folder / "timings.jsonl")
        times.append([line["step"] for line in lines if "save" in line["seconds"]])
    assert times == [[0, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    "change", [{"max_prompt_tokens": 4}, {"curriculum": [{"share": 1, "max_prompt_tokens": 4}]}]
)
def test_long_prompts(change, tmp_path):
    with pytest.raises(ValueError, match="over 4"):
        run_stage(SMALL | change, tmp_path)


def test_reward_model(tmp_path):
    stages = [{"name": name, "kind": "reward_model", "steps": 1} for name in ("first", "second")]
    stage = SMALL | {"name": "rlhf", "data": [{"domain": "alignment"}]}
    found = []
    for change in ({}, {"reward_model": "first"}):
        recipe = Recipe.model_validate(
            {
                "name": "x",
                "stages": [*stages, stage | change],
                "benchmarks": [{"name": "a", "domain": "alignment"}],
            }
        )
        ledger = SimpleNamespace(entries=[SimpleNamespace(exports={"reward_model": n}) for n in "12"])
        materials = SimpleNamespace(domains={"alignment": load_domain("alignment")})
        run = SimpleNamespace(recipe=recipe, folder=tmp_path, ledger=ledger, materials=materials)
        data = Pools(((toy_problem(1, "alignment"),),))
        asked = cascade_stage.asked_reward_model(run, recipe.stage("rlhf"), data)
        found.append((asked.path.parent.name, asked.weights))
    assert found == [("02-second", "2"), ("01-first", "1")]


def reward_directory(folder, seed=5):
    policy = Policy(train=False)
    extra = head_shape(policy.config)
    flat = random_flat(policy.config, seed, extra=extra)
    shapes = policy.config.shapes() | extra
    export(folder, policy.raw, policy.config, flat, policy.tokenizer, shapes)
    return folder


def test_reward_model_from(tmp_path):
    """What is served is the directory that the key names, not the run's own: other weights, other scores."""
    stage, found = SMALL | {"data": [{"domain": "alignment", "problems": 8}]}, []
    for seed in (5, 6):
        there = reward_directory(tmp_path / f"reward-{seed}", seed)
        spec = RLStage.model_validate(stage | {"reward_model_from": str(there)})
        taken = pinned(spec, tmp_path / f"stage-{seed}", QuietScreen())
        asked = Exported(directory_of(taken, spec, QuietScreen()), None, apart=True)
        policy, sampler = Policy(train=False), ScriptedSampler(lambda problem: REPLIES)
        domains = {"alignment": load_domain("alignment")}
        with stage_run(tmp_path / f"run-{seed}", spec, domains, policy, sampler, reward_model=asked) as run:
            data = provide(spec, domains, 0)
            with rl.at_work(run, data) as working:
                groups = gather(working, PromptPool(spec, data.entries, 0), rl.phase_at(spec, 0), 0).groups
        found.append((taken.identity, [v.reward for g in groups for v in g.verdicts]))
    assert found[0][0] != found[1][0] and found[0][1] != found[1][1]


def test_with_reward_model(tmp_path):
    found, asked = [], Exported(reward_directory(tmp_path / "reward"), None)
    for switch in (False, True):
        settings = SMALL | {"data": [{"domain": "graded", "problems": 8, "with_reward_model": switch}]}
        found.append(run_stage(settings, tmp_path / str(switch), reward_model=asked)[1])
    assert found[0] != found[1]


def test_judge(tmp_path):
    services = []
    for change in ({}, {"judge": {"url": "http://127.0.0.1:1/v1", "model": "m"}}):
        stage = RLStage.model_validate(SMALL | change)
        data, sampler = provide(stage, DOMAINS, 0), ScriptedSampler(lambda problem: REPLIES)
        with stage_run(tmp_path, stage, DOMAINS, sampler=sampler) as run, rl.at_work(run, data) as working:
            services.append(working.world.services)
    assert services[0].judge is None and services[1].judge is not None
