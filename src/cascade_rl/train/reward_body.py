"""What a reward model begins as: the policy, or a model from outside with shape and tokenizer of its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.template import FOUND
from cascade_rl.model.tokenizer import check_vocabulary, load_tokenizer
from cascade_rl.recipe import RewardModelStage
from cascade_rl.run.files import write_json
from cascade_rl.train.stage_run import StageRun

BODY = "reward_body"  # config and tokenizer of the model that it was trained from, if that is not the policy
HEAD_SCALE = 0.02  # standard deviation of the new head's weights, as of the other matrices of a Qwen3


def embodied(run: StageRun[RewardModelStage]) -> tuple[StageRun[RewardModelStage], Tensor]:
    """The run over the model that the reward model begins as, and its weights: the policy's, or another's."""
    if run.body is None:
        return run, _headed(run, run.world.replicas.flat("policy"))
    raw, config, flat = load_directory(run.body)
    config.prove(flat)
    tokenizer = load_tokenizer(run.body, template=FOUND)
    check_vocabulary(tokenizer.size, config.vocab, run.body)
    # an export of this model as a language model: its tokenizer beside a reward model has another template
    beside = run.book.folder / BODY
    beside.mkdir(exist_ok=True)
    tokenizer.save(beside)
    write_json(beside / "config.json", raw)
    world = replace(run.world, raw=raw, config=config, tokenizer=tokenizer)
    run = replace(run, world=world, start=run.body)
    return run, _headed(run, flat)


def _headed(run: StageRun[RewardModelStage], flat: Tensor) -> Tensor:
    """Flat weights with a fresh head behind them; the same for the same seed."""
    # on the CPU whatever the device, so that the same seed is the same head
    generator = torch.Generator().manual_seed(run.seed)
    head = torch.randn(run.world.config.hidden, generator=generator) * HEAD_SCALE
    return torch.cat([flat.detach().cpu(), head])
