"""A job of verl: its keys, its rows, its bytes, and what verl can't do. verl itself is in `make test-verl`."""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import verl_tasks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from verl_tasks import problems, stage, task

from cascade_rl.backends.verl import keys
from cascade_rl.backends.verl.compile import compile_job
from cascade_rl.backends.verl.grader import Question, answer, with_score
from cascade_rl.backends.verl.inside import advantage, marks
from cascade_rl.backends.verl.inside.earned import Rules, earned, kept_line
from cascade_rl.backends.verl.planned import read_plan
from cascade_rl.backends.verl.replies import FOLDER, Replies, _earned
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.recipe import RLStage, Verl
from cascade_rl.sources.parquet import parquet
from cascade_rl.train.advantage import final_rewards, group_advantage
from cascade_rl.train.learner import lr_factor
from cascade_rl.train.loss import token_weights
from cascade_rl.train.preferred import SCORE, joined
from cascade_rl.types import Group, Message, Mode, Outcome, Problem, Rollout, Stop, Verdict
from cascade_rl.verify.script import switches


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return verl_tasks.policy(tmp_path_factory.mktemp("policy"))


def said(job) -> dict[str, str]:
    """The overrides as hydra would see them; none may stand twice."""
    lines = [line.partition("=") for line in job.overrides.read_text().splitlines()]
    assert max(Counter(name.lstrip("+") for name, _, _ in lines).values()) == 1
    return {name.lstrip("+"): value for name, _, value in lines}


def compiled(policy: Path, folder: Path, **given):
    return compile_job(task(policy, stage(**given)), folder, tiny.tokenizer())


def refused(policy: Path, folder: Path, made, **fields) -> dict[str, str]:
    with pytest.raises(RecipeError) as caught:
        compile_job(task(policy, made, **fields), folder, tiny.tokenizer())
    return dict(caught.value.problems)


# What ENGINES.md says of a strictly on-policy job, by verl's names. Written by hand, not from the table.
STRICT = {
    "algorithm.adv_estimator": "cascade_group",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "4",
    "data.train_batch_size": "4",
    "actor_rollout_ref.actor.ppo_epochs": "1",
    "actor_rollout_ref.actor.use_kl_loss": "False",
    "algorithm.use_kl_in_reward": "False",
    "actor_rollout_ref.actor.entropy_coeff": "0",
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.rollout.n": "4",
    "actor_rollout_ref.rollout.top_k": "-1",
    "actor_rollout_ref.actor.optim.betas": "[0.9,0.95]",
    "actor_rollout_ref.actor.optim.weight_decay": "0.0",
    "actor_rollout_ref.actor.optim.clip_grad": "1.0",
    "trainer.use_v1": "True",
    "trainer.v1.trainer_mode": "sync",
    "trainer.total_training_steps": "2",
    "trainer.val_before_train": "False",
    "trainer.resume_mode": "disable",
    "data.shuffle": "False",
    "reward.reward_manager.source": "importlib",
    "reward.reward_manager.name": "Reward",
}


def test_a_job_is_strictly_on_policy(policy, tmp_path):
    job = compiled(policy, tmp_path / "job")
    found = said(job)
    assert {name: found[name] for name in STRICT} == STRICT
    assert found["trainer.default_local_dir"] == str(tmp_path / "job/checkpoints")
    assert keys.ignored(job.overrides.read_text().splitlines()) == []


def test_the_manifest_names_steps_lineage_and_every_file(policy, tmp_path):
    job = compiled(policy, tmp_path / "job")
    record = json.loads(job.manifest.read_text())
    assert (record["kind"], record["steps"], record["key"]) == ("rl", 2, "0123456789abcdef")
    assert record["policy"] == str(policy) and list(record["policy_files"]) == ["model.safetensors"]
    lying = {str(p.relative_to(job.folder)) for p in job.folder.rglob("*") if p.is_file()}
    assert set(record["files"]) == lying - {"manifest.json"}
    assert {"inside/hooks.py", "inside/reward.py", "inside/agent_loop.py", "train.parquet"} < lying


def test_the_same_task_gives_the_same_bytes_also_over_a_job_that_ran(policy, tmp_path):
    job = compiled(policy, tmp_path / "job")
    before = {p: p.read_bytes() for p in sorted(job.folder.rglob("*")) if p.is_file()}
    (job.folder / "inside/__pycache__").mkdir()
    (job.folder / "inside/__pycache__/hooks.pyc").write_bytes(b"x")
    job.attempt(1).mkdir(parents=True)
    (job.attempt(1) / "metrics.jsonl").write_text("{}\n")
    compiled(policy, tmp_path / "job")
    assert {p: p.read_bytes() for p in before} == before


def test_rows_are_in_the_order_of_the_link_on_our_own_ids(policy, tmp_path):
    asked = tuple(
        p.in_mode(m) for p, m in zip(problems(count=8), [Mode.INSTRUCT, Mode.THINKING] * 4, strict=True)
    )
    rules = {asked[1].id: -1.0, asked[2].id: 0.0}
    job = compile_job(task(policy, asked=asked, switch_rules=rules), tmp_path / "job", tiny.tokenizer())
    rows = list(parquet(job.train_rows))
    assert [row["extra_info"]["index"] for row in rows] == list(range(8))
    payloads = [json.loads(row["extra_info"]["payload"]) for row in rows]
    assert [p["problem"]["id"] for p in payloads] == [p.id for p in asked]
    assert [p["prompt_ids"] for p in payloads] == [tiny.tokenizer().prompt(p) for p in asked]
    assert [p["code_switch"] for p in payloads][:4] == ["off", -1.0, 0.0, "off"]
    assert [row["prompt"][-1]["content"].rpartition(" ")[2] for row in rows[:2]] == ["/no_think", "/think"]
    assert {row["data_source"] for row in rows} == {"cascade/maths"}
    # transformers alone, as verl renders the messages, comes to the same ids
    inner = tiny.tokenizer().inner
    for row, payload in zip(rows, payloads, strict=True):
        text = inner.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        assert inner.encode(text, add_special_tokens=False) == payload["prompt_ids"]


def test_all_domains_have_one_schema(policy, tmp_path):
    import pyarrow.parquet

    found = set()
    for domain in ("maths", "following", "coding", "swe", "tools", "multiple_choice"):
        made = stage(data=[{"domain": domain}], max_prompt_tokens=4000)
        asked = problems(domain, 8)
        small = replace(task(policy, made, asked), policy=tmp_path)  # a directory without positions
        job = compile_job(small, tmp_path / domain, tiny.tokenizer())
        found.add(str(pyarrow.parquet.read_schema(job.train_rows)))
    assert len(found) == 1


# A value other than the default of every key of a stage: it must change the job, or be refused by its name.
OTHER = {
    "lr": 3e-6, "betas": [0.8, 0.9], "weight_decay": 0.1, "grad_clip": 0.5, "save_every": 3,
    "tokens_per_microbatch": 900, "warmup_steps": 1, "steps": 3, "prompts_per_step": 6,
    "rollouts_per_prompt": 6, "mode_mix": None, "max_prompt_tokens": 250, "max_response_tokens": 90,
    "temperature": 0.8, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "overlong": "mask", "kl_coefficient": 0.01,
    "advantage": "dr_grpo", "aggregation": "constant", "reward_shaping": "tanh", "rollout_correction": "tis",
    "name": "other", "schedule": "cosine", "data": None,
    "filter": {"kind": "batch", "max_rounds": 2}, "judge": {"url": "http://127.0.0.1:1/v1", "model": "judge"},
}  # fmt: skip
# with what else they may stand
BESIDE = {
    "overlong_buffer": {"overlong_buffer": 20, "overlong": "penalty"},
    "tis_cap": {"rollout_correction": "tis", "tis_cap": 3.0},
    "icepop_low": {"rollout_correction": "icepop", "icepop_low": 0.4},
    "icepop_high": {"rollout_correction": "icepop", "icepop_high": 4.0},
    "final_lr_fraction": {"schedule": "cosine", "final_lr_fraction": 0.5},
    "schedule_steps": {"schedule": "cosine", "schedule_steps": 9},
}
REFUSED = {
    "optimizer": {"optimizer": "muon", "muon_lr": 0.01},
    "muon_lr": {"optimizer": "muon", "muon_lr": 0.01},
    "lora": {"lora": {"rank": 4}},
    "loss": {"loss": "ppo_clip", "updates_per_batch": 2},
    "clip_low": {"loss": "ppo_clip", "updates_per_batch": 2, "clip_low": 0.1},
    "clip_high": {"loss": "ppo_clip", "updates_per_batch": 2, "clip_high": 0.1},
    "updates_per_batch": {"loss": "ppo_clip", "updates_per_batch": 2},
}
# decided before a link is compiled: which prompts it asks (cascade/chain), or who trains it
ELSEWHERE = {"kind", "engine", "mode_mix", "curriculum", "reward_model", "reward_model_from", "data"}


def test_no_key_of_a_stage_is_left_over(policy, tmp_path):
    known = set(OTHER) | set(BESIDE) | set(REFUSED) | ELSEWHERE
    assert set(RLStage.model_fields) <= known, "say what verl does with the new key"


def _content(job) -> list[str]:
    record = json.loads(job.manifest.read_text())
    return [job.overrides.read_text(), json.dumps(record["inside"]), record["files"]["train.parquet"]]


@pytest.mark.parametrize("key", sorted((set(OTHER) | set(BESIDE)) - ELSEWHERE))
def test_every_key_changes_the_job(policy, tmp_path, key):
    changed = BESIDE.get(key) or {key: OTHER[key]}
    without = {k: v for k, v in changed.items() if k != key}
    before = _content(
        compiled(
            policy,
            tmp_path / "job",
            **(without | ({"overlong_buffer": 10} if key == "overlong_buffer" else {})),
        )
    )
    assert _content(compiled(policy, tmp_path / "job", **changed)) != before


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_verl_can_not_do_is_refused_by_its_key(policy, tmp_path, key):
    found = refused(policy, tmp_path / "job", stage(**REFUSED[key]))
    named = {"muon_lr": "optimizer", "loss": "updates_per_batch", "clip_low": "updates_per_batch",
             "clip_high": "updates_per_batch"}.get(key, key)  # fmt: skip
    assert (f"stages.math-rl.{named}" in found and "set" in found[f"stages.math-rl.{named}"]) or key == "lora"
    assert not (tmp_path / "job").exists()


def test_all_refusals_come_at_once(policy, tmp_path):
    made = stage(schedule="linear", lora={"rank": 4}, kl_coefficient=0.1, aggregation="sequence",
                 rollout_correction="tis", top_p=0.9, prompts_per_step=5, rollouts_per_prompt=3,
                 max_response_tokens=800, max_prompt_tokens=20)  # fmt: skip
    found = refused(policy, tmp_path / "job", made, reference=tmp_path)
    assert {name.rpartition(".")[2] for name in found} == {
        "schedule", "lora", "kl_coefficient", "aggregation", "rollout_correction", "prompts_per_step",
        "max_response_tokens", "max_prompt_tokens",
    }  # fmt: skip


def test_a_fixed_reward_beside_the_batches_lowest_is_refused(policy, tmp_path):
    rules = {"a": -1.0, "b": "batch_min_minus_10", "c": "off"}
    assert "stages.math-rl.data.code_switch" in refused(policy, tmp_path / "job", stage(), switch_rules=rules)
    for fine in ({"a": -1.0, "b": 0.0, "c": "off"}, {"b": "batch_min_minus_10", "c": "off"}):
        compile_job(task(policy, switch_rules=fine), tmp_path / "job", tiny.tokenizer())


def test_a_learned_reward_is_served_on_gpus_of_its_own_and_our_manager_asks(policy, tmp_path):
    asked = problems("alignment")
    made = stage(data=[{"domain": "alignment"}])
    found = refused(policy, tmp_path / "none", made, asked=asked)
    assert "no exported reward model" in found["stages.math-rl.reward_model"]
    verl = Verl(gpus_per_node=2, reward_gpus=4)
    job = compile_job(
        task(policy, made, asked, reward_model=policy, verl=verl), tmp_path / "job", tiny.tokenizer()
    )
    at, overrides = "reward.reward_model.", said(job)
    want = {"enable": "True", "enable_resource_pool": "True", "n_gpus_per_node": "4", "nnodes": "1",
            "model_path": str(policy), "rollout.name": "vllm", "rollout.tensor_model_parallel_size": "4"}  # fmt: skip
    assert {key: overrides[at + key] for key in want} == want
    # without it verl asks its own classifier, and no manager of ours
    assert overrides["reward.custom_reward_function.path"] == "'pkg://inside.reward'"
    assert json.loads(job.manifest.read_text())["inside"]["reward_model"] == str(policy)


def test_what_does_not_go_with_a_score_beside_the_reward_is_refused(policy, tmp_path):
    asked = problems(count=8)
    beside = {"scored": [asked[0].id], "reward_model": policy, "asked": asked}
    job = compile_job(task(policy, **beside), tmp_path / "job", tiny.tokenizer())
    # a check serves no model: it must not ask for a verdict that needs one
    assert {claim["row"] for claim in json.loads((job.folder / "golds.json").read_text())} == {1, 2}
    found = refused(policy, tmp_path / "b", stage(overlong="penalty", overlong_buffer=9), **beside)
    assert list(found) == ["stages.math-rl.overlong"]
    found = refused(policy, tmp_path / "c", stage(), switch_rules={asked[0].id: -1.0}, **beside)
    assert list(found) == ["stages.math-rl.data.code_switch"]


def test_a_filter_draws_in_rounds_by_our_own_replay_buffer(policy, tmp_path):
    asked = problems(count=24)
    job = compile_job(
        task(policy, stage(filter={"kind": "batch", "max_rounds": 3}), asked),
        tmp_path / "job",
        tiny.tokenizer(),
    )
    overrides = said(job)
    assert overrides["trainer.v1.sampler.custom_sampler.name"] == "Rounds"
    assert overrides["data.gen_batch_size"] == "1" and "algorithm.filter_groups.enable" not in overrides
    assert json.loads(job.manifest.read_text())["inside"]["rounds"] == 3
    # the rounds may never be drawn: a step is whole without them
    assert read_plan(job).replies == 4 * 4


def test_too_few_prompts_are_refused(policy, tmp_path):
    assert (
        "has 7" in refused(policy, tmp_path / "job", stage(), asked=problems(count=7))["stages.math-rl.data"]
    )


def test_another_kind_of_stage_is_not_compiled_here(policy, tmp_path):
    made = task(policy)
    with pytest.raises(InputError, match="not compiled here"):
        compile_job(replace(made, link=replace(made.link, rule=None)), tmp_path / "job", tiny.tokenizer())


def verl_rates(overrides: dict[str, str], steps: int) -> list[float]:
    """The rates of verl 0.9.1, written again from its utils/torch_functional.py."""
    at = "actor_rollout_ref.actor.optim."
    kind, warm = overrides[at + "lr_scheduler_type"], int(overrides[at + "lr_warmup_steps"])
    low, zero = float(overrides[at + "min_lr_ratio"]), overrides[at + "zero_indexed_step"] == "True"

    def rate(step: int) -> float:
        step = step if zero or kind == "constant" else step + 1
        if step < warm:
            return step / max(1, warm)
        if kind == "constant":
            return 1.0
        progress = (step - warm) / max(1, steps - warm)
        wave = math.cos(math.pi * 2 * float(overrides[at + "num_cycles"]) * progress)
        return max(low, wave * (1 - low) / 2 + (1 + low) / 2)

    return [rate(step) for step in range(steps)]


@pytest.mark.parametrize(
    "given",
    [{}, {"warmup_steps": 3}, {"warmup_steps": 9}, {"schedule": "cosine"},
     {"schedule": "cosine", "final_lr_fraction": 0.3}, {"schedule": "cosine", "warmup_steps": 2},
     {"schedule": "cosine", "warmup_steps": 2, "schedule_steps": 100}],
)  # fmt: skip
def test_verl_has_our_learning_rates_at_every_step(policy, tmp_path, given):
    made = stage(steps=7, prompts_per_step=2, rollouts_per_prompt=2, **given)
    job = compile_job(task(policy, made), tmp_path / "job", tiny.tokenizer())
    want = [lr_factor(made, step, 7) for step in range(7)]
    assert verl_rates(said(job), 7) == pytest.approx(want, abs=1e-12)


def test_the_longest_row_fits_a_microbatch_also_when_gpus_share_it(policy, tmp_path):
    path = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
    assert said(compiled(policy, tmp_path / "a", tokens_per_microbatch=64))[path] == "400"
    shared = task(policy, stage(tokens_per_microbatch=64), verl=Verl(gpus_per_node=8, sequence_parallel=4))
    assert said(compile_job(shared, tmp_path / "b", tiny.tokenizer()))[path] == "100"


@pytest.mark.parametrize("value, text", [
    (True, "True"), (0.5, "0.5"), (2e-6, "2e-06"), ([1, "a"], "[1,a]"), ("/a/b-c_d.e", "/a/b-c_d.e"),
    ("0.5_5.0", "'0.5_5.0'"), ("12", "'12'"), ("a b=c,{d}", "'a b=c,{d}'"), ("it's", "'it\\'s'"),
])  # fmt: skip
def test_values_are_written_for_hydra(value, text):
    assert keys.written(value) == text


def test_keys_that_verl_takes_and_ignores_are_named():
    lines = ["custom_reward_function.path=x", "+reward_model.enable=True", "reward.reward_model.enable=True",
             "actor_rollout_ref.actor.grad_clip=1", "algorithm.filter_groups.max_num_gen_batches=2"]  # fmt: skip
    found = keys.ignored(lines)
    assert [text.partition(":")[0] for text in found] == [
        "custom_reward_function.path", "reward_model.enable", "actor_rollout_ref.actor.grad_clip",
        "algorithm.filter_groups.max_num_gen_batches",
    ]  # fmt: skip


def test_the_script_hands_over_every_override_as_it_stands(policy, tmp_path):
    job = compiled(policy, tmp_path / "a job", name="it-s")
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" > "$CASCADE_VERL_ATTEMPT/words"\necho "$PYTHONPATH $RAY_ADDRESS"\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        [str(job.script), "3"],
        capture_output=True,
        text=True,
        check=True,
        env={"VERL_PYTHON": str(fake), "PATH": "/usr/bin:/bin"},
    )
    words = (job.attempt(3) / "words").read_text().splitlines()
    assert words[:2] == ["-m", "verl.trainer.main_ppo"]
    assert words[2:-2] == job.overrides.read_text().splitlines()
    assert done.stdout.strip() == f"{job.folder} local"
    assert subprocess.run(["sh", "-n", str(job.script)]).returncode == 0


# What replies earn and their advantages, from verdict to gradient: against the engine's own.
KINDS = st.sampled_from([("grpo", "none"), ("grpo", "tanh"), ("dr_grpo", "none")])
REPLY = st.tuples(
    st.none() | st.sampled_from([0.0, 1.0, 0.5]) | st.floats(-100, 100, width=32),
    st.integers(2, 100),  # tokens, of 100 at most
    st.booleans(),  # ended by the limit
    st.booleans(),  # in foreign script
    st.sampled_from([{}, {"closed": 1.0}, {"closed": 0.0}]),  # a reward model's: whether there is an answer
)
# a fixed reward and the batch's lowest don't stand in one job
RULES = st.sampled_from([["off", -1.0, 0.0], ["off", "batch_min_minus_10"]])
GROUPS = RULES.flatmap(
    lambda rules: st.lists(
        st.tuples(st.sampled_from(rules), st.lists(REPLY, min_size=1, max_size=6)), min_size=1, max_size=5
    )
)


def group_of(number: int, replies: list) -> Group:
    verdicts = [
        Verdict.failed("no") if reward is None else Verdict(reward, Outcome.PARTIAL, parts)
        for reward, *_, parts in replies
    ]
    rollouts = [
        Rollout.of_text("же" if foreign else "word", Stop.LENGTH if cut else Stop.END, tokens)
        for _, tokens, cut, foreign, _ in replies
    ]
    asked = Problem(f"p{number}", "maths", (Message("user", "Say a word."),), 1)
    return Group(asked, tuple(rollouts), tuple(verdicts))


def told_by_the_server(group: Group, rule: str | float) -> list[dict]:
    asked = [Question(0, group.problem, rollout, rule, False) for rollout in group.rollouts]
    return [answer(q, v) for q, v in zip(asked, group.verdicts, strict=True)]


@settings(max_examples=400, deadline=None)
@given(GROUPS, KINDS, st.sampled_from(["mask", "zero", "score", "penalty"]))
def test_advantages_through_verl_are_those_of_our_engine(batch, kind, overlong):
    groups = [group_of(n, replies) for n, (_, replies) in enumerate(batch)]
    rules = [rule for rule, _ in batch]
    want = [
        group_advantage(row, kind[1], kind[0])
        for row in final_rewards(groups, overlong, rules, switches, 100, 40)
    ]
    rewards, places, marked = [], [], []
    for number, (group, rule) in enumerate(zip(groups, rules, strict=True)):
        for told in told_by_the_server(group, rule):
            # as `Reply.as_dict` stores it, and as `hooks` reads it: by token, with a mask
            tokens, counts = marks.marked(*earned(told, Rules(overlong, 100, 40)), told["tokens"])
            row = [tokens.get(i, 0.0) for i in range(100)]
            reward, mark, _ = marks.read(row, told["tokens"] if counts else 0)
            rewards, places, marked = [*rewards, reward], [*places, number], [*marked, mark]
    nothing = [None] * len(rewards)
    found = advantage.batch_advantages(rewards, places, marked, nothing, advantage=kind[0], shaping=kind[1])
    flat = [a for row in want for a in row]
    assert [r is None for r in rewards] == [a is None for a in flat]
    # a spread as small as a double's rounding is one there and none here, or the other way round
    assume(all(a is None or a == 0 or abs(a) > 1e-3 for a in flat))
    assert found == pytest.approx([a or 0.0 for a in flat], rel=1e-6, abs=1e-6)


# a score of 0 travels as 1e-12, from which one that is as small could not be told
SCORES = st.floats(-30, 30, width=32).map(lambda score: score if abs(score) > 1e-6 else 0.0)
SCORED = st.lists(st.tuples(st.none() | st.sampled_from([0.0, 1.0]), SCORES), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(SCORED, SCORED)
def test_a_score_beside_the_reward_comes_through_verl(first, second):
    rewards, groups, scores, want = [], [], [], []
    for number, replies in enumerate((first, second)):
        verdicts = [
            Verdict.failed("no")
            if r is None
            else with_score(Verdict(r, Outcome.PARTIAL), Verdict(s, Outcome.PARTIAL))
            for r, s in replies
        ]
        want += group_advantage(joined([v.reward for v in verdicts], verdicts))
        for verdict in verdicts:
            score = verdict.parts.get("reward_model")
            tokens, counts = marks.marked(verdict.reward, False, 9, score)
            # in fp32, as verl keeps them
            row = np.asarray([tokens.get(i, 0.0) for i in range(9)], np.float32).tolist()
            reward, mark, score = marks.read(row, 9 if counts else 0, True)
            assert not mark
            rewards, groups, scores = [*rewards, reward], [*groups, number], [*scores, score]
    assume(all(a is None or a == 0 or abs(a) > 1e-3 for a in want))
    found = advantage.batch_advantages(rewards, groups, [0] * len(groups), scores)
    assert found == pytest.approx([a or 0.0 for a in want], abs=2e-3)


@settings(max_examples=150, deadline=None)
@given(GROUPS, st.sampled_from(["mask", "zero", "score", "penalty"]))
def test_the_journal_says_what_replies_earned_and_not_what_they_were_graded(
    tmp_path_factory, batch, overlong
):
    groups = [group_of(n, replies) for n, (_, replies) in enumerate(batch)]
    rules = [rule for rule, _ in batch]
    want = final_rewards(groups, overlong, rules, switches, 100, 20)
    lines = [
        kept_line(said, Rules(overlong, 100, 20), 1, index)
        for index, (group, rule) in enumerate(zip(groups, rules, strict=True))
        for said in told_by_the_server(group, rule)
    ]
    folder = tmp_path_factory.mktemp("attempt")
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    graded = Replies(folder, [group.problem for group in groups]).of_step(1)
    key = [lambda reward: (reward is None, reward or 0.0)] * len(want)
    assert [sorted(row, key=k) for row, k in zip(graded.earned, key, strict=True)] == [
        [None if r is None else pytest.approx(r) for r in sorted(row, key=k)]
        for row, k in zip(want, key, strict=True)
    ]


def test_the_journal_says_a_score_beside_the_reward():
    found = kept_line(
        {"text": "a", "tokens": 5, "stop": "end", "reward": 1.0, "outcome": "right", "note": "", "foreign": True,
         "code_switch": "off", "scored": True, "parts": {"verified": 1.0, "reward_model": 2.5}},
        Rules("score", 100, 20), 3, 7,
    )  # fmt: skip
    worse = found | {"score": -1.5, "text": "b"}
    wrong = found | {"earned": 0.0, "text": "c"}
    earned = _earned([[found, worse, wrong]])[0]
    want = joined([1.0, 1.0, 0.0], [Verdict(1.0, Outcome.RIGHT, {SCORE: s}) for s in (2.5, -1.5, 2.5)])
    assert earned == pytest.approx(want) and earned[0] > 1.5 > earned[1] > 1.0


def test_a_group_has_a_signal_where_what_counts_differs():
    assert advantage.has_signal([1.0, 0.0]) and advantage.has_signal([1.0, None, 0.5])
    assert not any(map(advantage.has_signal, ([], [1.0], [1.0, 1.0], [1.0, None], [None, None])))


def test_a_reply_alone_has_no_advantage_and_one_without_reward_moves_no_baseline():
    none = [None] * 3
    assert advantage.batch_advantages([0.9, None, None], "aaa", [0] * 3, none) == [0.0, 0.0, 0.0]
    with_null = advantage.batch_advantages([1.0, 0.0, None], "aaa", [0] * 3, none)
    assert with_null[:2] == advantage.batch_advantages([1.0, 0.0], "aa", [0] * 2, none[:2])


def test_foreign_script_comes_below_the_whole_batch():
    # lowest of the batch 0.2, so -9.8; a masked reply stays without reward
    found = advantage.batch_advantages(
        [0.9, 0.5, 0.2, None], "aabb", [1, 0, 0, 1], [None] * 4, advantage="dr_grpo"
    )
    assert found == pytest.approx([-9.8 - (-9.8 + 0.5) / 2, 0.5 - (-9.8 + 0.5) / 2, 0.0, 0.0])


@given(st.none() | st.floats(-50, 50, width=32), st.integers(0, 2), st.integers(1, 9))
def test_what_a_reply_earned_comes_through_verl(reward, below, length):
    rewards, counts = marks.marked(reward, below, length)
    row = [rewards.get(i, 0.0) for i in range(12)]
    found, mark, score = marks.read(row, length if counts else 0)
    assert score is None
    assert found is None if reward is None else found == pytest.approx(reward, abs=1e-5)
    assert mark == (below if reward is not None and length > 1 else 0)


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_replies_that_do_not_count_are_not_divided_by(aggregation):
    lengths, scored, limit = [3, 5, 4, 2], [True, True, False, True], 10
    kept = [n for n, s in zip(lengths, scored, strict=True) if s]
    want = token_weights(kept, aggregation, limit)
    factor = advantage.weight(len(lengths), len(kept), aggregation)
    # verl: tokens that count; or all replies of the batch, and the tokens of each or the constant
    theirs = {
        "token": [1 / sum(kept)] * 3,
        "sequence": [1 / len(lengths) / n for n in kept],
        "constant": [1 / len(lengths) / limit] * 3,
    }[aggregation]
    assert [factor * w for w in theirs] == pytest.approx(want)
