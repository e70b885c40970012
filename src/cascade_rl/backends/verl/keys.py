"""verl 0.9.1's keys: each that a job of RL sets, from which of our keys, and why so.

The table is of this version alone: its new trainer accepts keys of the old one and does nothing with them
(`IGNORED`). What verl can't do at all is in `refusals.py`; between the two no key of a stage is left over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from cascade_rl.backends.verl.setting import Setting

VERSION = "0.9.1"
ESTIMATOR = "cascade_group"  # our advantages, as `inside/hooks.py` registers them
MODULES = "inside.hooks"  # what every process of verl's imports


@dataclass(frozen=True, slots=True)
class Of:
    """A value that is read off a `Setting`, by its path of attributes."""

    path: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key of verl.

    value  the same in every job, or `Of`; None, or what is None there, leaves verl's own default
    ours   which keys of ours decide it, where the path does not say so
    why    what it is set for, or against
    """

    name: str
    value: Any
    ours: str = ""
    why: str = ""


# where verl's path to a group of keys is long
A, R, M = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
OPTIM, FSDP, MCORE = f"{A}.optim", f"{A}.fsdp_config", f"{A}.megatron"
CORRECTION, VARIABLES = "algorithm.rollout_correction", "+ray_kwargs.ray_init.runtime_env.env_vars"

ALGORITHM = (
    Key("algorithm.adv_estimator", ESTIMATOR, "advantage, reward_shaping",
        "verl's default is gae, which builds a critic and says nothing"),
    Key("algorithm.use_kl_in_reward", False, "kl_coefficient", "our KL term is in the loss"),
    Key(f"{A}.use_kl_loss", Of("has_kl"), "kl_coefficient", "without it verl makes no reference"),
    Key(f"{A}.kl_loss_coef", Of("kl"), "kl_coefficient"),
    Key(f"{A}.kl_loss_type", "low_var_kl", "kl_coefficient", "k3, as ours"),
    Key(f"{A}.entropy_coeff", 0, "", "no entropy term"),
    Key(f"{A}.policy_loss.loss_mode", "vanilla", "loss",
        "with one update the ratio is 1: verl's clip never binds, and it is the plain policy gradient"),
    Key(f"{A}.loss_agg_mode", Of("aggregation"), "aggregation"),
    Key(f"{A}.loss_scale_factor", Of("scale"), "aggregation", "verl's own is the width of a padded batch"),
    Key(f"{A}.ppo_mini_batch_size", Of("stage.prompts_per_step"), "updates_per_batch",
        "256 by default, several updates a batch; with a dynamic batch size verl accepts any"),
    Key(f"{A}.ppo_epochs", 1, "updates_per_batch"),
    Key(f"{A}.shuffle", False),
    Key(f"{CORRECTION}.rollout_is", Of("correction"), "rollout_correction"),
    Key(f"{CORRECTION}.rollout_is_threshold", Of("bounds"), "tis_cap, icepop_low, icepop_high",
        "two numbers are IcePop's bounds"),
    Key(f"{CORRECTION}.bypass_mode", False, "rollout_correction",
        "with it the new trainer ignores its own loss_type"),
    Key("trainer.use_v1", True, "", "the old trainer knows nothing of how our masks travel"),
    Key("trainer.v1.trainer_mode", "sync", "", "strictly on-policy"),
)  # fmt: skip
DATA = (
    Key("data.train_files", Of("train_rows"), "data"),
    Key("data.val_files", Of("validation_rows"), "", "opened, never asked"),
    Key("data.train_batch_size", Of("stage.prompts_per_step")),
    Key("data.max_prompt_length", Of("rule.max_prompt_tokens")),
    Key("data.max_response_length", Of("rule.max_response_tokens")),
    Key("data.shuffle", False, "data", "the rows are in the order in which they are asked"),
    Key("data.filter_overlong_prompts", False, "max_prompt_tokens",
        "refused when compiled: verl would measure another text, and drop steps with the rows"),
    Key("data.truncation", "error", "max_prompt_tokens"),
    Key("data.dataloader_num_workers", 0),
    Key("data.gen_batch_size", Of("drawn_singly"), "filter"),
    Key("trainer.v1.sampler.custom_sampler.path", Of("sampler"), "filter",
        "verl's own filter refills without a bound, and counts replies that are masked"),
    Key("trainer.v1.sampler.custom_sampler.name", Of("sampler_name"), "filter"),
    Key("data.return_raw_chat", True),
    Key("data.seed", Of("task.seed")),
)  # fmt: skip
SAMPLING = (
    Key(f"{R}.name", Of("task.verl.rollout")),
    Key(f"{R}.mode", "async"),
    Key(f"{R}.n", Of("stage.rollouts_per_prompt"), "", "1 by default"),
    Key(f"{R}.temperature", Of("rule.temperature"), "", "of the trainer's logits, too"),
    Key(f"{R}.top_p", Of("rule.top_p"), "", "the trainer does not know of it, see `departures`"),
    Key(f"{R}.top_k", Of("top_k"), "top_k", "off is 0 here and -1 there"),
    Key(f"{R}.calculate_log_probs", True, "rollout_correction", "how far sampler and trainer differ"),
    Key(f"{R}.seed", Of("task.seed")),
    Key(f"{R}.tensor_model_parallel_size", Of("task.verl.tensor_parallel"), "", "2 by default"),
    Key(f"{R}.gpu_memory_utilization", Of("task.verl.memory")),
    Key(f"{R}.max_model_len", Of("longest"), "max_prompt_tokens, max_response_tokens",
        "a shorter one would cut replies before their limit"),
    Key(f"{R}.max_num_batched_tokens", Of("batched"), "max_prompt_tokens, max_response_tokens",
        "a whole row must fit"),
    Key(f"{R}.agent.agent_loop_config_path", Of("loop"), "overlong, min_p",
        "masks what hit the limit, which no key of verl does"),
    Key(f"{R}.agent.default_agent_loop", "cascade"),
)  # fmt: skip
REWARD = (
    Key("reward.num_workers", Of("task.verl.nodes"), "",
        "one a machine: each has a grading server, which takes all processors"),
    Key("reward.reward_manager.source", "importlib", "data"),
    Key("reward.reward_manager.name", "Reward", "data", "verl takes the class from here, not module.name"),
    Key("reward.reward_manager.module.path", "pkg://inside.reward", "data"),
    Key("reward.reward_model.enable", Of("asks_model"), "reward_model, with_reward_model"),
    Key("reward.reward_model.enable_resource_pool", Of("asks_model"), "reward_gpus",
        "on GPUs that it shares, verl would score when masks are settled already"),
    Key("reward.reward_model.nnodes", Of("reward_machines"), "reward_gpus"),
    Key("reward.reward_model.n_gpus_per_node", Of("reward_gpus"), "reward_gpus"),
    Key("reward.reward_model.model_path", Of("reward_model"), "reward_model, reward_model_from"),
    Key("reward.reward_model.rollout.name", Of("reward_engine"), "reward_model"),
    Key("reward.reward_model.rollout.tensor_model_parallel_size", Of("reward_gpus"), "reward_gpus"),
    Key("reward.reward_model.rollout.max_model_len", Of("reward_length"), "max_response_tokens"),
    Key("reward.reward_model.rollout.prompt_length", Of("reward_length"), "max_response_tokens"),
    Key("reward.custom_reward_function.path", Of("own_scorer"), "reward_model",
        "never called: without one verl passes our reward manager by"),
    Key("reward.custom_reward_function.name", "never"),
)  # fmt: skip
TRAINING = (
    Key(f"{M}.path", Of("policy"), "policy"),
    Key(f"{M}.enable_gradient_checkpointing", True),
    Key(f"{M}.use_remove_padding", True, "sequence_parallel", "it needs packed rows"),
    Key(f"{OPTIM}.lr", Of("stage.lr")),
    Key(f"{OPTIM}.weight_decay", Of("stage.weight_decay"), "", "0.01 by default"),
    Key(f"{OPTIM}.betas", Of("stage.betas"), "", "0.9 and 0.999 by default"),
    Key(f"{OPTIM}.clip_grad", Of("stage.grad_clip"), "",
        "the engine reads this one; actor.grad_clip does nothing"),
    Key(f"{A}.use_dynamic_bsz", True, "tokens_per_microbatch"),
    Key(f"{A}.ppo_max_token_len_per_gpu", Of("tokens_per_gpu"), "tokens_per_microbatch",
        "the longest row must fit"),
    Key(f"{R}.log_prob_max_token_len_per_gpu", Of("tokens_per_gpu"), "tokens_per_microbatch",
        "as the update's, so that the ratio is 1 where nothing changed"),
    Key("trainer.nnodes", Of("task.verl.nodes")),
    Key("trainer.n_gpus_per_node", Of("task.verl.gpus_per_node")),
    Key("trainer.total_training_steps", Of("task.link.steps")),
    Key("trainer.total_epochs", 1, "steps", "the rows are those of all steps"),
    Key("trainer.save_freq", Of("stage.save_every"), "", "never, by default"),
    Key("trainer.max_actor_ckpt_to_keep", 2, "", "one may be cut short by a crash"),
    Key("trainer.test_freq", -1, "", "we evaluate"),
    Key("trainer.val_before_train", False),
    Key("trainer.logger", ("console", "file")),
    Key("trainer.project_name", "cascade-rl"),
    Key("trainer.experiment_name", Of("experiment"), "name"),
    Key("trainer.default_local_dir", Of("checkpoints"), "",
        "shared with another job, it would resume past its end and train nothing"),
    Key("trainer.resume_mode", "disable", "", "whoever starts it again names the checkpoint"),
    Key(f"{VARIABLES}.PYTHONPATH", Of("folder"), "",
        "a cluster that runs already has its own variables, not those of who asks"),
    Key(f"{VARIABLES}.VERL_USE_EXTERNAL_MODULES", MODULES),
)  # fmt: skip
FSDP2 = (
    Key(f"{A}.strategy", "fsdp2", "strategy"),
    Key(f"{FSDP}.param_offload", Of("task.verl.offload")),
    Key(f"{FSDP}.optimizer_offload", Of("task.verl.offload")),
    Key(f"{FSDP}.ulysses_sequence_parallel_size", Of("task.verl.sequence_parallel")),
    Key(f"{FSDP}.seed", Of("task.seed")),
    Key(f"{OPTIM}.optimizer", "AdamW", "optimizer"),
    Key(f"{OPTIM}.lr_scheduler_type", "cosine", "schedule", "also of a constant rate, see `rates`"),
    Key(f"{OPTIM}.min_lr_ratio", Of("rates.floor"), "schedule, final_lr_fraction"),
    Key(f"{OPTIM}.num_cycles", Of("rates.cycles"), "schedule, schedule_steps"),
    Key(f"{OPTIM}.lr_warmup_steps", Of("rates.warmup"), "warmup_steps"),
    Key(f"{OPTIM}.zero_indexed_step", False, "warmup_steps",
        "counted from 0, the first step of a warm-up would have no learning rate at all"),
)  # fmt: skip
MEGATRON = (
    Key("model_engine", "megatron", "strategy", "chooses the files of defaults"),
    Key(f"{MCORE}.param_offload", Of("task.verl.offload")),
    Key(f"{MCORE}.optimizer_offload", Of("task.verl.offload")),
    Key(f"{MCORE}.context_parallel_size", Of("task.verl.sequence_parallel")),
    Key(f"{MCORE}.seed", Of("task.seed")),
    Key(f"{OPTIM}.optimizer", "adam", "optimizer"),
    Key(f"{OPTIM}.lr_decay_style", "constant", "schedule"),
)  # fmt: skip

# Keys that verl 0.9.1 takes without a word and does nothing with, with the one that it reads. All keys below
# a name that ends with a dot.
IGNORED = {
    "custom_reward_function.": "reward.custom_reward_function",
    "reward_model.": "reward.reward_model, reward.reward_manager and reward.reward_kwargs",
    "sandbox_fusion.": "reward.sandbox_fusion",
    "algorithm.filter_groups.max_num_gen_batches": "algorithm.filter_groups.max_inflight_gen_batches",
    f"{A}.grad_clip": f"{OPTIM}.clip_grad",
    "reward.reward_manager.module.name": "reward.reward_manager.name",
    "algorithm.rollout_correction.loss_type": "actor_rollout_ref.actor.policy_loss.loss_mode",
    "trainer.remove_previous_ckpt_in_save": "trainer.max_actor_ckpt_to_keep",
}


def table(strategy: str) -> tuple[Key, ...]:
    """All keys of a job of RL, in the order in which they are written."""
    own = FSDP2 if strategy == "fsdp2" else MEGATRON
    return (*own, *ALGORITHM, *DATA, *SAMPLING, *REWARD, *TRAINING)


def written(value: Any) -> str:
    """A value as hydra's grammar of overrides reads it."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    text = str(value)
    # a text that looks like a number would become one: bounds such as 0.5_5.0 are read as 0.55
    plain = text.replace("-", "").replace("_", "").replace("/", "").replace(".", "")
    if plain.isascii() and plain.isalnum() and not plain.isdigit():
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def overrides(setting: Setting) -> list[str]:
    """The job's overrides, one a line of overrides.txt."""
    rows = [(key.name, _value(key, setting)) for key in table(setting.task.verl.strategy)]
    return [f"{name}={written(value)}" for name, value in rows if value is not None]


def _value(key: Key, setting: Setting) -> Any:
    return attrgetter(key.value.path)(setting) if isinstance(key.value, Of) else key.value


def ignored(lines: Iterable[str]) -> list[str]:
    """What is wrong with overrides that verl takes and ignores; empty where none is one."""
    problems = []
    for line in lines:
        name = line.lstrip("+~").partition("=")[0].strip()
        for old, new in IGNORED.items():
            if name == old or (old.endswith(".") and name.startswith(old)):
                problems.append(f"{name}: verl {VERSION} takes it and ignores it; it reads {new}")
    return problems
