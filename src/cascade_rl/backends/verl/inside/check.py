"""verl's own opinion of a job, without a GPU: run in verl's environment as `python check.py JOB ANSWER`.

The answer is JSON: versions found, problems, the composed configuration, and what verl's classes made of the
job's rows. What must be equal is decided by `backends/verl/check.py`, which reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("verl", "torch", "ray", "transformers", "tensordict", "TransferQueue", "vllm", "sglang")
CONFIGS = {"rl": "ppo_trainer", "sft": "sft_trainer_engine"}
# rewards of groups that show each rule: mixed, alone, with a null, all alike
SHOWN = ((1.0, 0.0, 0.0, 1.0), (1.0,), (None, 1.0, 0.0), (0.0, 0.0))


class Answer:
    """What is found out, part by part: a part that fails is a problem, and the others go on."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.found: dict[str, Any] = {"versions": {name: found_version(name) for name in PACKAGES}}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Work whose failure is a problem called `name`."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            said = next((line for line in str(error).splitlines() if line.strip()), "")
            self.problems.append(f"{name}: {type(error).__name__}: {said}")


def found_version(name: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def composed(answer: Answer, kind: str, overrides: list[str]) -> Any:
    """verl's configuration with the job's overrides; None where verl refuses some, each then a problem."""
    import verl.trainer
    from hydra import compose, initialize_config_dir

    folder = Path(verl.trainer.__file__).parent / "config"
    with initialize_config_dir(str(folder), version_base=None):
        with contextlib.suppress(Exception):
            return compose(CONFIGS[kind], overrides)
        # together they say the first fault only
        before = len(answer.problems)
        for line in overrides:
            with answer.part(f"override {line}"):
                compose(CONFIGS[kind], [line])
        if len(answer.problems) == before:
            with answer.part("overrides together"):
                return compose(CONFIGS[kind], overrides)
    return None


def check_sft(answer: Answer, config: Any, job: Path) -> None:
    """verl's own classes of the settings, and its data set, sampler and collator on the job's rows."""
    from verl.utils.config import omega_conf_to_dataclass

    for name in ("engine", "optim", "checkpoint", "profiler"):
        with answer.part(f"settings {name}"):
            omega_conf_to_dataclass(config[name])
    with answer.part("model"):
        model = omega_conf_to_dataclass(config.model)
        with answer.part("rows"):
            answer.found["rows"] = sft_rows(config, model, job)


def sft_rows(config: Any, model: Any, job: Path) -> dict[str, Any]:
    """Of the first and the last step: whether verl's GPUs together read the rows that the job drew for it."""
    import pyarrow.parquet
    from torch.utils.data import DistributedSampler
    from verl.trainer.sft_trainer import create_sft_dataset
    from verl.utils.dataset.dataset_utils import SFTTensorCollator

    rows = create_sft_dataset(config.data.train_files, config.data, model.tokenizer, None)
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    copies = gpus // config.engine.ulysses_sequence_parallel_size
    if config.trainer.nnodes > 1:
        copies = 1  # over Ray one process reads for all
    batch = config.data.train_batch_size
    part, steps = batch // copies, len(rows) // batch
    samplers: list[Any] = [
        DistributedSampler(rows, copies, rank, shuffle=True, drop_last=True) for rank in range(copies)
    ]
    places = [list(sampler) for sampler in samplers]
    stored = pyarrow.parquet.read_table(job / "train.parquet").to_pylist()
    order = pyarrow.parquet.read_table(job / "order.parquet")["sample"].to_pylist()
    agree = True
    for step in {0, steps - 1}:
        mine = [rows[place] for own in places for place in own[step * part : (step + 1) * part]]
        packed = SFTTensorCollator(config.data.pad_mode)(mine)
        flat, masks = packed["input_ids"].unbind(), packed["loss_mask"].unbind()
        read = sorted((ids.tolist(), mask.tolist()) for ids, mask in zip(flat, masks, strict=True))
        drawn = [stored[n] for n in order[step * batch : (step + 1) * batch]]
        agree = agree and read == sorted(
            (row["prompt"] + row["reply"], [0] * len(row["prompt"]) + [1] * len(row["reply"]))
            for row in drawn
        )
    # verl shifts the mask of a whole micro-batch by one: a row without prompt would lend it to its neighbour
    bare = sum(not row["prompt"] for row in stored)
    return {"steps": steps, "agree": agree, "without_prompt": bare}


def check_rl(answer: Answer, config: Any, job: Path) -> None:
    """verl's validation, and its data loader, reward manager, advantages and agent loop on the job's rows."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    answer.found["critic"], answer.found["reference"] = need_critic(config), need_reference_policy(config)
    with answer.part("verl's validation"):
        validate_config(config, answer.found["reference"], answer.found["critic"])
    with answer.part("advantages"):
        answer.found["advantages"] = advantages(config)
    with answer.part("agent loop"):
        answer.found["loop"] = agent_loop(config)
    with answer.part("model"):
        model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
        with answer.part("rows"):
            rows = rl_rows(config, model)
            answer.found["rows"] = rl_order(config, rows, job)
            for claim in json.loads((job / "golds.json").read_text(encoding="utf-8")):
                with answer.part(f"reward of the {claim['what']} to row {claim['row']}"):
                    answer.found.setdefault("rewards", []).append(claim | reward(config, rows, claim))


def rl_rows(config: Any, model: Any) -> Any:
    """verl's data set of the job's rows, its own filters applied."""
    from verl.trainer.ppo.utils import create_rl_dataset

    return create_rl_dataset(config.data.train_files, config.data, model.tokenizer, None, is_train=True)


def rl_order(config: Any, rows: Any, job: Path) -> dict[str, Any]:
    """How many rows verl keeps, and the numbers of those that its loader gives first beside the job's own."""
    import pyarrow.parquet
    from torch.utils.data import DataLoader
    from verl.trainer.ppo.utils import create_rl_sampler
    from verl.utils.dataset.rl_dataset import collate_fn

    stored = pyarrow.parquet.read_table(job / "train.parquet", columns=["extra_info"]).to_pylist()
    size = config.data.train_batch_size
    loader = DataLoader(rows, size, sampler=create_rl_sampler(config.data, rows), collate_fn=collate_fn)
    first = next(iter(loader))
    return {
        "stored": len(stored),
        "kept": len(rows),
        "first": [int(extra["index"]) for extra in first["extra_info"]],
        "drawn": [int(row["extra_info"]["index"]) for row in stored[:size]],
    }


def reward(config: Any, rows: Any, claim: dict[str, Any]) -> dict[str, Any]:
    """What verl's reward worker gives for a reply of `claim`: ids to a row."""
    import torch
    from inside.asking import Grader
    from inside.settings import settings
    from verl import DataProto
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.utils.dataset.rl_dataset import collate_fn

    item = collate_fn([dict(rows[claim["row"]])])
    prompt, reply = torch.tensor([claim["prompt"]]), torch.tensor([claim["reply"]])
    whole = torch.cat([prompt, reply], 1)
    tensors = {
        "prompts": prompt,
        "responses": reply,
        "input_ids": whole,
        "attention_mask": torch.ones_like(whole),
    }
    others = {key: value for key, value in item.items() if not isinstance(value, torch.Tensor)}
    data = DataProto.from_dict(tensors=tensors, non_tensors=others)

    async def asked() -> dict[str, Any]:
        worker = RewardLoopWorker(config)
        if config.reward.reward_model.enable:
            # none is served here; its score stands beside the verdict, which alone is held against the claim
            worker.reward_manager.grader = Grader(settings()["grader"], no_opinion)
        try:
            return dict(await worker.compute_score(data))
        finally:
            await worker.reward_manager.grader.close()

    given = asyncio.run(asked())
    return {
        "given": float(given["reward_score"]),
        "facts": dict(given["reward_extra_info"]),
    }


async def no_opinion(text: str) -> float:
    """What a reward model says that is not there."""
    return 0.0


def advantages(config: Any) -> list[list[float]]:
    """What verl's registered estimator gives for the groups `SHOWN`, four tokens a reply."""
    import numpy as np
    import torch
    from inside.marks import marked
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    length, flat = 4, [r for group in SHOWN for r in group]
    scores, mask = torch.zeros(len(flat), length), torch.ones(len(flat), length)
    for row, earned in enumerate(flat):
        given, counts = marked(earned, 0, length)
        mask[row] *= counts
        for place, value in given.items():
            scores[row, place] = value
    index = np.array([str(n) for n, group in enumerate(SHOWN) for _ in group], dtype=object)
    estimate = get_adv_estimator_fn(config.algorithm.adv_estimator)
    found, _ = estimate(
        token_level_rewards=scores, response_mask=mask, index=index, config=config.algorithm,
        norm_adv_by_std_in_grpo=config.algorithm.norm_adv_by_std_in_grpo,
    )  # fmt: skip
    if not torch.equal(found, found[:, :1] * mask):
        raise ValueError("an advantage is not the same for all tokens of a reply")
    values = iter(found[:, 0].tolist())
    return [[next(values) for _ in group] for group in SHOWN]


def agent_loop(config: Any) -> str:
    """The class of the agent loop that the job asks for, imported."""
    from hydra.utils import get_class
    from omegaconf import OmegaConf

    agent = config.actor_rollout_ref.rollout.agent
    named = {entry.name: entry for entry in OmegaConf.load(agent.agent_loop_config_path)}
    found = get_class(named[agent.default_agent_loop]._target_)
    return f"{found.__module__}.{found.__qualname__}"


def main(job: Path, path: Path) -> None:
    """Write the answer on a job to `path`."""
    answer = Answer()
    sys.path.insert(0, str(job))
    kind = json.loads((job / "manifest.json").read_text(encoding="utf-8"))["kind"]
    overrides = (job / "overrides.txt").read_text(encoding="utf-8").splitlines()
    with answer.part("verl"):
        config = composed(answer, kind, [line for line in overrides if line.strip()])
        if config is not None:
            from omegaconf import OmegaConf

            with answer.part("configuration"):
                answer.found["config"] = OmegaConf.to_container(config, resolve=True)
            (check_rl if kind == "rl" else check_sft)(answer, config, job)
    # what verl prints goes anywhere, and a job may be looked at while another writes
    path.write_text(json.dumps({**answer.found, "problems": answer.problems}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
