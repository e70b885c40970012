"""What a stage may say and verl 0.9.1 can't do: refused with the stage's key and the mend, never left out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cascade_rl.backends.verl.job import Task
from cascade_rl.backends.verl.keys import VERSION
from cascade_rl.backends.verl.setting import adds_scores, asks_model
from cascade_rl.recipe import FullPhase, Problems, RLStage, Verl

LOCAL = "or engine: local for this stage"
_SERVED = ("reward_model", f"serves one by vllm alone here; set verl.rollout: vllm, {LOCAL}")
_PENALTY = (
    "overlong",
    "can't tell a penalty from a score that is normalised over the group; set overlong: score, "
    f"mask or zero, {LOCAL}",
)


def refusals(task: Task, stage: RLStage, rule: FullPhase) -> Problems:
    """All that is in the way of a job, each with the key to change."""
    later = task.reference not in (None, task.policy)
    found = [
        *_of_stage(stage, task.verl, chained=later),
        *_sampling(stage, rule),
        *_rewards(task, rule),
        *_prompts(task, stage, rule),
    ]
    return _named(stage, found)


def foreseen(stage: RLStage, verl: Verl) -> Problems:
    """What of `refusals` follows from the recipe alone: said before a run begins, not days later.

    The epoch filter counts as a chain of jobs, which it is unless the stage ends within its first epoch.
    """
    rules = stage.sampled()
    chained = len(rules) > 1 or stage.filter.kind == "epoch"
    found = _of_stage(stage, verl, chained=chained)
    for rule in rules:
        found += [problem for problem in _sampling(stage, rule) if problem not in found]
    found += _switches(entry.code_switch for entry in stage.data)
    if stage.adds_scores():
        if verl.rollout != "vllm":
            found.append(_SERVED)
        found += [_PENALTY] if any(rule.overlong == "penalty" for rule in rules) else []
    return _named(stage, found)


def _named(stage: RLStage, found: Problems) -> Problems:
    return [(f"stages.{stage.name}.{key}", f"verl {VERSION} {text}") for key, text in found]


def _of_stage(stage: RLStage, verl: Verl, *, chained: bool) -> Problems:
    return [
        *_updates(stage),
        *_rates(verl, stage),
        *_weights(stage, chained=chained),
        *_dealt(verl, stage),
    ]


def _updates(stage: RLStage) -> Problems:
    if stage.updates_per_batch == 1:
        return []
    return [
        (
            "updates_per_batch",
            "deals a batch to its updates by length, and not by prompts: a group would be torn apart; set "
            f"updates_per_batch: 1 and loss: policy_gradient, {LOCAL}",
        )
    ]


def _rates(verl: Verl, stage: RLStage) -> Problems:
    found: Problems = []
    if stage.schedule == "linear":
        found.append(("schedule", f"has no linear schedule; set constant or cosine, {LOCAL}"))
    if verl.strategy == "megatron" and (stage.schedule != "constant" or stage.warmup_steps):
        key = "warmup_steps" if stage.schedule == "constant" else "schedule"
        found.append((key, "with strategy megatron is given a constant rate only; set verl.strategy: fsdp2"))
    return found


def _weights(stage: RLStage, *, chained: bool) -> Problems:
    found: Problems = []
    if stage.optimizer == "muon":
        found.append(("optimizer", f"steps all weights by one optimiser; set optimizer: adamw, {LOCAL}"))
    if stage.lora:
        text = "hands over adapters unmerged, and no export here merges them; remove lora"
        found.append(("lora", f"{text}, {LOCAL}"))
    if stage.kl_coefficient and chained:
        found.append(
            (
                "kl_coefficient",
                "holds a KL term on to the weights that a job starts from, which here are not the stage's "
                f"first: the stage is a chain of jobs; set kl_coefficient: 0 or divide the stage, {LOCAL}",
            )
        )
    if stage.kl_coefficient and stage.aggregation != "token":
        found.append(
            (
                "aggregation",
                "divides a KL term by all replies, also those that don't count; set aggregation: token, "
                f"kl_coefficient: 0, {LOCAL}",
            )
        )
    return found


def _sampling(stage: RLStage, rule: FullPhase) -> Problems:
    cut = [key for key in ("top_p", "top_k", "min_p") if getattr(rule, key) != (1.0 if key == "top_p" else 0)]
    if stage.rollout_correction == "none" or not cut:
        return []
    text = (
        "computes probabilities over all tokens where the sampler draws from those that "
        f"{' and '.join(cut)} keep: each weight would be off by the share that is kept; set "
        f"rollout_correction: none, or {' and '.join(cut)} off"
    )
    return [("rollout_correction", text)]


def _rewards(task: Task, rule: FullPhase) -> Problems:
    found: Problems = []
    asks = asks_model(task)
    if asks and task.reward_model is None:
        text = "has no exported reward model for the rewards of this stage; give one, " + LOCAL
        found.append(("reward_model", text))
    if asks and task.verl.rollout != "vllm":
        found.append(_SERVED)
    found += _switches(task.switch_rules.values())
    if adds_scores(task):
        found += _beside_scores(task, rule)
    return found


def _switches(rules: Iterable[str | float]) -> Problems:
    fixed = {rule for rule in rules if rule != "off"}
    if "batch_min_minus_10" not in fixed or len(fixed) == 1:
        return []
    # the lowest is that of the rewards before any was replaced, of which verl's estimator sees one alone
    text = (
        "can't tell the batch's lowest reward where other entries replace rewards by a number; give all "
        f"entries batch_min_minus_10 or none, {LOCAL}"
    )
    return [("data.code_switch", text)]


def _beside_scores(task: Task, rule: FullPhase) -> Problems:
    """What does not go with `with_reward_model`: verl's estimator sees two numbers of a reply, no third."""
    found: Problems = []
    if rule.overlong == "penalty":
        found.append(_PENALTY)
    rules = task.switch_rules
    if "batch_min_minus_10" in rules.values() or any(rules.get(p, "off") != "off" for p in task.scored):
        text = "can't tell a rule for foreign script from a score that is normalised over the group; set off"
        found.append(("data.code_switch", f"{text}, {LOCAL}"))
    return found


def _dealt(verl: Verl, stage: RLStage) -> Problems:
    replies = stage.prompts_per_step * stage.rollouts_per_prompt
    # GPUs that share a row count as one: verl deals rows to the rest, and fills up with made-up ones
    parts = verl.gpus // verl.sequence_parallel
    if not replies % parts:
        return []
    text = (
        f"deals {replies} replies a step to {parts} groups of GPUs, which does not come out even; change "
        "prompts_per_step, rollouts_per_prompt or the GPUs in verl"
    )
    return [("prompts_per_step", text)]


def _prompts(task: Task, stage: RLStage, rule: FullPhase) -> Problems:
    found: Problems = []
    if len(task.link.asked) < task.link.steps * stage.prompts_per_step:
        text = f"needs {task.link.steps} x {stage.prompts_per_step} prompts, and has {len(task.link.asked)}"
        found.append(("data", f"{text}; raise problems"))
    positions = read_positions(task.policy)
    longest = rule.max_prompt_tokens + rule.max_response_tokens
    if positions is not None and longest > positions:
        text = (
            f"takes no row beyond the model's {positions} positions; max_prompt_tokens and "
            f"max_response_tokens are {longest} together: lower one of them"
        )
        found.append(("max_response_tokens", text))
    return found


def read_positions(policy: Path) -> int | None:
    """The positions that a model's config.json allows; None where it does not say."""
    file = policy / "config.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(found) if found else None


def departures(task: Task, stage: RLStage, rule: FullPhase) -> list[str]:
    """What verl does otherwise than our own engine without being wrong; written down with the job."""
    found = []
    if rule.top_p < 1 or rule.top_k or rule.min_p:
        found.append(
            "replies are drawn from the tokens that top_p, top_k and min_p keep; verl's gradient is that of "
            "the whole distribution, where our own engine renormalises over what was kept"
        )
    if asks_model(task):
        found.append(
            "the reward model is served by vLLM, in bf16 and from text: a control token that a reply spells "
            "is read as one, where our own engine keeps it text"
        )
    if adds_scores(task):
        found.append("a reply of one token is scored as the middle of its group")
    if stage.kl_coefficient:
        found.append("verl bounds the KL term of a token at 10")
    return found
