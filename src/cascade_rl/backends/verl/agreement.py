"""What must hold of verl's configuration, and of what its classes make of a job, for it to train as we do.

verl composes and validates much that trains otherwise: keys that it accepts and ignores, a critic by default,
a mini-batch that is not the batch. The traps were found in 0.9.1's source and by runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from cascade_rl.backends.verl.inside.check import SHOWN
from cascade_rl.backends.verl.job import Job

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
# accepted, and read by nothing that trains (legacy_reward_impl.yaml): what stands there is not what one gets
LEGACY = ("custom_reward_function", "reward_model", "sandbox_fusion")
NOTHING = object()
# how many GPUs share a row in training
SHARED = {
    "fsdp2": f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size",
    "megatron": f"{ACTOR}.megatron.context_parallel_size",
}


def at(config: Any, path: str) -> Any:
    """The value at a dotted path; NOTHING where there is none."""
    for name in path.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return NOTHING
        config = config[name]
    return config


def disagreements(job: Job, record: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """All that is otherwise than it must be, each in a line."""
    config = answer.get("config")
    if config is None:  # verl's own words on that are in its answer
        return []
    found = [*_lost(job, config), *_everywhere(job, record, config)]
    if record["kind"] == "sft":
        return [*found, *_sft(record, config), *_sft_rows(record, answer)]
    return [*found, *_rl(record, config), *_rl_told(record, answer)]


def _lost(job: Job, config: Mapping[str, Any]) -> Iterator[str]:
    """Overrides that are not in what verl composed."""
    seen = set[str]()
    for line in filter(None, map(str.strip, job.overrides.read_text(encoding="utf-8").splitlines())):
        name, _, text = line.partition("=")
        name = name.lstrip("+")
        if name in seen:
            yield f"{name} is set twice: the second hides the first"
        seen.add(name)
        held = at(config, name)
        # a choice of a group of settings, such as model_engine=megatron, is no value
        if held is NOTHING and "." not in name:
            continue
        if held is NOTHING or not _same(held, text):
            shown = "nothing" if held is NOTHING else repr(held)
            yield f"{line} was asked, and verl has {shown} there"


def _same(held: Any, text: str) -> bool:
    if isinstance(held, str) and held == text.strip("'\""):
        return True
    asked: Any = yaml.safe_load(text)
    if isinstance(held, float) and isinstance(asked, str):  # 1e-06, which YAML reads as a text
        return repr(held) == text
    if isinstance(held, list) and isinstance(asked, list):
        return len(held) == len(asked) and all(_same(h, str(a)) for h, a in zip(held, asked, strict=True))
    same: bool = held == asked
    return same


def _everywhere(job: Job, record: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """What holds of SFT and RL alike."""
    wanted = {
        "trainer.total_training_steps": (record["steps"], "another number of steps than was planned"),
        "trainer.default_local_dir": (
            str(job.checkpoints),
            "where two jobs share a folder, the second takes the first's checkpoints for its own and trains "
            "nothing",
        ),
        "trainer.resume_mode": ("disable", "who starts it again names the checkpoint"),
        "trainer.nnodes": (record["nodes"], "another number of machines"),
        "trainer.n_gpus_per_node": (record["gpus_per_node"], "another number of GPUs"),
        "trainer.test_freq": (-1, "verl would measure, which is ours to do"),
    }
    yield from _otherwise(config, wanted)
    if "file" not in (at(config, "trainer.logger") or ()):
        yield "trainer.logger has no file: nothing of the steps would be known"


def _otherwise(config: Mapping[str, Any], wanted: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    for path, (value, why) in wanted.items():
        held = at(config, path)
        if held != value:
            shown = "nothing" if held is NOTHING else repr(held)
            yield f"{path} is {shown} and must be {value!r}: {why}"


def _sft(record: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    wanted = {
        "trainer.total_epochs": (1, "the rows of the job are those of all its steps"),
        "data.use_dynamic_bsz": (True, "micro-batches would go by rows, not by tokens"),
        "data.pad_mode": ("no_padding", "padding would be in the batch"),
        "data.truncation": ("error", "verl would cut what was fitted already"),
        "data.custom_cls.name": ("Drawn", "verl would make ids of its own"),
        "data.val_files": (None, "verl would measure, which is ours to do"),
        "engine.forward_only": (False, "nothing would be trained"),
    }
    yield from _otherwise(config, wanted)
    gpus = record["nodes"] * record["gpus_per_node"]
    shared = at(config, "engine.ulysses_sequence_parallel_size")
    batch, room = at(config, "data.train_batch_size"), at(config, "data.max_token_len_per_gpu")
    if batch % (gpus // shared):
        copies = gpus // shared
        yield f"data.train_batch_size {batch} does not divide by {copies}, the GPUs with rows of their own"
    longest = at(config, "data.max_length")
    if room * shared < longest:
        yield f"data.max_token_len_per_gpu {room} x {shared} GPUs is less than the longest row, {longest}"


def _sft_rows(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    rows = answer.get("rows")
    if rows is None:
        return
    if rows["steps"] != record["steps"]:
        yield f"the rows are enough for {rows['steps']} steps, and {record['steps']} are planned"
    if not rows["agree"]:
        yield "verl's data loader gives other rows, or in another order, than our engine trains on"
    if rows["without_prompt"]:
        yield f"{rows['without_prompt']} rows have no prompt: verl would lend their first token to other rows"


def _rl(record: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    for name in LEGACY:
        set_there = _set(config.get(name), name)
        if set_there:
            yield f"{', '.join(set_there)}: verl accepts it and trains on something else; use reward.*"
    batch = at(config, "data.train_batch_size")
    model = record["inside"].get("reward_model")
    wanted = {
        "algorithm.use_kl_in_reward": (False, "rewards would not be those of the graders"),
        "trainer.use_v1": (True, "the older trainer knows other keys"),
        "trainer.v1.trainer_mode": ("sync", "replies of older weights would be trained on"),
        "trainer.val_before_train": (False, "verl would measure, which is ours to do"),
        "data.shuffle": (False, "prompts would come in another order than our engine's"),
        "reward.reward_manager.source": ("importlib", "verl would grade by rules of its own"),
        # never called; where a reward model is served verl asks it past our manager unless there is one
        "reward.custom_reward_function.path": (
            "pkg://inside.reward" if model else None,
            "replies would be graded by text without its marks, or past our graders",
        ),
        "reward.reward_model.enable": (
            bool(model),
            "whether a reward model is served is the recipe's to say",
        ),
        f"{ACTOR}.entropy_coeff": (0, "the loss would have a term that no recipe has"),
        f"{ROLLOUT}.prompt_length": (at(config, "data.max_prompt_length"), "two lengths of prompts"),
        f"{ROLLOUT}.response_length": (at(config, "data.max_response_length"), "two lengths of replies"),
    }
    if record.get("on_policy", True):
        wanted |= {
            f"{ACTOR}.ppo_mini_batch_size": (batch, "several updates a batch, where the recipe has one"),
            f"{ACTOR}.ppo_epochs": (1, "several passes over a batch"),
        }
    yield from _otherwise(config, wanted)
    shared = at(config, SHARED[record["strategy"]])
    yield from _rl_bounds(config, batch, record["nodes"] * record["gpus_per_node"], shared)


def _rl_bounds(config: Mapping[str, Any], batch: int, gpus: int, shared: int) -> Iterator[str]:
    estimator, group = at(config, "algorithm.adv_estimator"), at(config, f"{ROLLOUT}.n")
    if estimator in ("gae", None, NOTHING):
        yield f"algorithm.adv_estimator is {estimator!r}, verl's default with a critic; name the estimator"
    if group < 2:
        yield f"{ROLLOUT}.n is {group}: a reply alone has no baseline"
    if batch * group % gpus:
        yield f"{batch} prompts x {group} replies do not divide by {gpus} GPUs"
    longest = at(config, "data.max_prompt_length") + at(config, "data.max_response_length")
    for path in (f"{ACTOR}.ppo_max_token_len_per_gpu", f"{ROLLOUT}.log_prob_max_token_len_per_gpu"):
        room = at(config, path)
        if at(config, f"{ACTOR}.use_dynamic_bsz") and room * shared < longest:
            yield f"{path} {room} x {shared} GPUs is less than a prompt and its reply, {longest}"


def _set(value: Any, path: str) -> list[str]:
    """The dotted paths below `path` at which something stands."""
    if isinstance(value, Mapping):
        return [found for name, inner in value.items() for found in _set(inner, f"{path}.{name}")]
    return [path] if value is not None else []


def _rl_told(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """What verl's classes made of rows and rewards."""
    if answer.get("critic"):
        yield "verl would train a critic"
    rows = answer.get("rows")
    if rows is not None:
        if rows["kept"] != rows["stored"]:
            lost = rows["stored"] - rows["kept"]
            yield f"verl leaves out {lost} of {rows['stored']} rows, and the order shifts"
        if rows["first"] != rows["drawn"]:
            yield "verl's data loader gives the prompts in another order than our engine draws them"
    yield from _advantages(record, answer)
    for claim in answer.get("rewards", ()):
        earned, least, most = claim["given"], claim["least"], claim["most"]
        if claim["facts"].get("failed"):
            yield f"the {claim['what']} to row {claim['row']} gets no verdict"
        elif (least is not None and earned < least) or (most is not None and earned > most):
            yield f"the {claim['what']} to row {claim['row']} earns {earned:g}"


def _advantages(record: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Whether verl's estimator follows our rules, on groups that show each of them."""
    found = answer.get("advantages")
    if found is None:
        return
    said = record["inside"]
    replies = [reward for group in SHOWN for reward in group]
    counted = len(replies) - replies.count(None)
    # where each reply weighs the same verl divides by all of them, and we by those that count
    factor = 1.0 if said["aggregation"] == "token" else len(replies) / counted
    for rewards, given in zip(SHOWN, found, strict=True):
        known = [reward for reward in rewards if reward is not None]
        scores = iter(_scores(known, said["advantage"] == "grpo", said["shaping"] == "tanh"))
        ours = [0.0 if reward is None else next(scores) * factor for reward in rewards]
        if any(abs(a - b) > 1e-5 for a, b in zip(ours, given, strict=True)):
            shown = ", ".join(f"{a:.4g}" for a in given)
            yield f"rewards {list(rewards)} get advantages {shown} from verl and {ours} from our engine"


def _scores(rewards: Sequence[float], divided: bool, shaped: bool) -> list[float]:
    """A group's advantages: r - mean, over std + 1e-6 if `divided`; of the tanh of these if `shaped`."""
    if len(rewards) < 2 or max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    mean = sum(rewards) / len(rewards)
    std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
    found = [(r - mean) / (std + 1e-6 if divided else 1.0) for r in rewards]
    return _scores([math.tanh(score) for score in found], True, False) if shaped else found
