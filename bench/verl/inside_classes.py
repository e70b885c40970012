"""verl's classes on a compiled job: `inside_classes.py JOB PARTS ANSWER`, in verl's environment; answers are problems."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.utils import hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

END = 2  # of tests/tiny.py's tokenizer
Problems = Iterator[str]


class Asked:
    """A job with its configuration, its tokenizer and its rows, as verl makes them."""

    def __init__(self, folder: Path) -> None:
        lines = [line for line in (folder / "overrides.txt").read_text().splitlines() if line]
        with initialize_config_module("verl.trainer.config", version_base=None):
            self.config = compose("ppo_trainer", lines)
        OmegaConf.resolve(self.config)
        self.folder = folder
        self.said = json.loads((folder / "manifest.json").read_text())["inside"]
        self.tokenizer = hf_tokenizer(self.config.actor_rollout_ref.model.path)
        self.rows = RLHFDataset([self.config.data.train_files], self.tokenizer, self.config.data)

    def row(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """A row without verl's own filling, and our payload in it."""
        row = {name: value for name, value in self.rows[number].items() if name != "dummy_tensor"}
        return row, json.loads(row["extra_info"]["payload"])


def rows(job: Asked) -> Problems:
    """The ids that verl's own template makes of the messages are ours, and a batch of them can be stored."""
    import verl.utils.tensordict_utils as tu

    for number in range(len(job.rows)):
        row, payload = job.row(number)
        ids = job.tokenizer.apply_chat_template(row["raw_prompt"], add_generation_prompt=True, tokenize=True)
        ids = ids["input_ids"] if hasattr(ids, "keys") else ids
        if list(ids) != payload["prompt_ids"]:
            yield f"row {number}: verl's template makes other ids of it"
    batch = collate_fn([job.rows[0], job.rows[1]])
    stored = tu.get_tensordict(batch | {"uid": np.array(["a", "b"], dtype=object)})
    if "extra_info" not in set(stored.keys()):
        yield "verl's store of replies loses what we say of a prompt"


def rewards(job: Asked) -> Problems:
    """The reward manager that verl loads grades right, wrong and cut-off replies through the pipe."""
    from verl.trainer.ppo.reward import load_reward_manager

    async def graded() -> list[dict[str, Any]]:
        manager = load_reward_manager(job.config, job.tokenizer)
        try:
            return await asyncio.gather(*(manager.run_single(reply(job, n, n % 2 == 0)) for n in range(4)))
        finally:
            await manager.grader.close()

    for number, found in enumerate(asyncio.run(graded())):
        facts, right = found["reward_extra_info"], number % 2 == 0
        kept = right or job.said["overlong"] != "mask"
        wanted = {"kept": int(kept), "cut_off": int(not right), "failed": 0, "graded": float(right)}
        if found["reward_score"] != right or {name: facts[name] for name in wanted} != wanted:
            yield f"reply {number}: {found}, and {wanted} was meant"


def reply(job: Asked, number: int, right: bool) -> DataProto:
    """The right answer to a maths problem, or one that thinks up to its limit, as verl hands it over."""
    row, payload = job.row(number)
    gold = payload["problem"]["answer"]
    text = f"<think>\nx\n</think>\n\nThe answer is \\boxed{{{gold}}}." if right else "<think>\nx"
    ids = job.tokenizer.encode(text, add_special_tokens=False) + [END] * right
    prompts, responses = torch.tensor([payload["prompt_ids"]]), torch.tensor([ids])
    whole = torch.cat([prompts, responses], 1)
    tensors = {
        "prompts": prompts, "responses": responses, "input_ids": whole, "attention_mask": torch.ones_like(whole),
        "position_ids": torch.arange(whole.shape[1])[None],
    }  # fmt: skip
    facts = row | {"global_steps": 1, "uid": "u", "session_id": 0}
    return DataProto(
        batch=TensorDict(tensors, batch_size=1),
        non_tensor_batch={name: np.array([value]) for name, value in facts.items()},
    )


class Client:
    """A sampler whose replies are always the same."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.asked = ids, {}

    async def generate(self, **asked: Any) -> Any:
        """What is asked is kept."""
        from verl.workers.rollout.replica import TokenOutput

        self.asked = asked
        chances = [-1.0 - n for n in range(len(self.ids))]
        return TokenOutput(token_ids=self.ids, log_probs=chances, extra_fields={"global_steps": 1})


def loop(job: Asked) -> Problems:
    """The agent loop, made as verl makes it: our ids, every end id, and a mask and rewards as they are stored."""
    row, payload = job.row(0)
    for ids, ended in (([5, 6, 7, END], True), ([5, 6, 7, 8], False)):
        client = Client(ids)
        made = asyncio.run(looped(job, client, row))
        if client.asked["prompt_ids"] != payload["prompt_ids"]:
            yield "the sampler is given other ids than our prompt's"
        if client.asked["sampling_params"]["stop_token_ids"] != job.said["ends"]:
            yield "the sampler is not told what ends a reply"
        counts = int(ended or job.said["overlong"] != "mask")
        if made.response_mask != [counts] * 4:
            yield f"a reply that {'ended' if ended else 'was cut off'} has the mask {made.response_mask}"
    # what is stored once the verdict is known: the reward at its last token, and nothing without a verdict
    facts = {"kept": 1, "below": 0, "has_score": 0, "score": 0.0}
    for kept, wanted in ((1, [0.0, 0.0, 0.0, 0.5]), (0, None)):
        made = asyncio.run(looped(job, Client([5, 6, 7, END]), row))
        made.reward_score = 0.5
        made.extra_fields["reward_extra_info"] = facts | {"kept": kept}
        stored = made.as_dict()
        mask = stored["response_mask"].tolist()
        if mask != [kept] * 4 or (wanted and stored["rm_scores"].tolist() != wanted):
            yield f"kept {kept}: stored are the mask {mask} and the rewards {stored['rm_scores'].tolist()}"


async def looped(job: Asked, client: Client, row: dict[str, Any]) -> Any:
    """A reply of the agent loop that the job names."""
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap

    made = instantiate(
        config=OmegaConf.load(job.folder / "loop.yaml")[0], trainer_config=DictConfigWrap(job.config),
        server_manager=client, tokenizer=job.tokenizer, processor=None, hf_model_type="qwen3", dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(job.config.data), tools=ToolListWrap([]),
    )  # fmt: skip
    rule = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
    return await made.run(rule, **row)


def advantages(job: Asked) -> Problems:
    """verl's own step from rewards to advantages: a mixed group with a masked reply, one alone, a full one."""
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    groups = "aaabcc"
    mask, given = torch.ones(6, 3, dtype=torch.int64), torch.zeros(6, 3)
    mask[2], mask[1, 2] = 0, 0
    given[0, 2], given[4, 2], given[5, 2] = 1.0, 1.0, 0.5
    data = DataProto(
        batch=TensorDict({"token_level_rewards": given, "response_mask": mask}, batch_size=6),
        non_tensor_batch={"uid": np.array(list(groups), dtype=object)},
    )
    names = [f"{group}_{number}_0" for number, group in enumerate(groups)]
    algorithm = job.config.algorithm
    made = compute_advantage_for_multi_trajectories(
        data, names, adv_estimator=algorithm.adv_estimator, config=algorithm
    )
    found = made.batch["advantages"]
    # two of a group, n - 1: half their distance over its deviation is 2 ** -0.5, whatever the distance
    half = 2**-0.5
    wanted = torch.tensor([half, -half, 0.0, 0.0, half, -half])[:, None] * mask
    if not torch.allclose(found, wanted, atol=1e-5):
        yield f"advantages {found.tolist()}, and {wanted.tolist()} was meant"


class Queue:
    """TransferQueue as dictionaries, and prompts whose replies are there at once."""

    def __init__(self, kinds: list[str]) -> None:
        self.kinds, self.count = kinds, 0
        self.store: dict[str, dict[str, Any]] = {}
        self.fields: dict[str, dict[str, Any]] = {}
        self.kind: dict[str, str] = {}
        self.refills: list[int] = []

    def add(self, count: int) -> None:
        """Four replies to each of `count` prompts: mixed, all alike, or different by a masked one alone."""
        self.refills.append(count)
        for _ in range(count):
            uid = f"u{self.count:04d}"
            kind = self.kind[uid] = self.kinds[self.count % len(self.kinds)]
            self.count += 1
            self.store[uid] = {"is_prompt": True, "status": "finished", "global_steps": 1}
            for place in range(4):
                graded = {"mixed": place % 2, "alike": 1, "masked": int(place == 0)}[kind]
                kept = int(kind != "masked" or place > 0)
                self.store[f"{uid}_{place}_0"] = {"status": "success"}
                facts = {"kept": kept, "cut_off": 1 - kept, "graded": float(graded)}
                self.fields[f"{uid}_{place}_0"] = {"reward_extra_info": facts}

    def kv_list(self, *_: Any) -> dict[str, Any]:
        """All that is stored."""
        return {"train": {key: dict(value) for key, value in self.store.items()}}

    def kv_clear(self, keys: list[str], partition_id: str) -> None:
        """Forget some."""
        for key in keys:
            self.store.pop(key, None)

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> dict[str, Any]:
        """What the replies carry."""
        from tensordict.tensorclass import NonTensorData

        return {"extra_fields": [NonTensorData(self.fields[key]) for key in keys]}


def sampler(job: Asked) -> Problems:
    """Our replay buffer in verl's place for it: groups with a signal only, refills of what is missing, rounds bounded."""
    import inside.sampler as ours
    import verl.trainer.ppo.v1.replay_buffer as theirs
    from verl.utils.import_utils import load_extern_object

    named = job.config.trainer.v1.sampler.custom_sampler
    # of eight prompts three have a signal; then none has
    expected = {
        ("mixed", "alike", "masked", "mixed"): ([4, 2, 1], ["mixed"] * 3),
        ("mixed",): ([4], ["mixed"] * 4),
        ("alike",): ([4, 4, 4], ["alike"] * 4),
    }
    for kinds, (refills, chosen) in expected.items():
        queue = Queue(list(kinds))
        theirs.tq = ours.tq = queue
        made = load_extern_object(named.path, named.name)(
            trainer_mode="sync", trainer_config={}, max_off_policy_threshold=8, max_off_policy_strategy="drop",
            sampler_kwargs={}, refill_fn=queue.add,
        )  # fmt: skip
        queue.add(4)
        batch, _ = made.sample(1, "train", 4)
        got = [queue.kind[uid] for uid in sorted({key.split("_")[0] for key in batch.keys})]
        if queue.refills != refills or got != chosen or len(batch.keys) != 4 * len(got):
            yield f"of prompts {kinds}: {got} after draws of {queue.refills}; {chosen} after {refills} was meant"


def scorer(job: Asked) -> Problems:
    """What is asked of a reward model's router, and what is read of its answer."""
    from aiohttp import web
    from inside.reward import Scorer

    heard: list[dict[str, Any]] = []

    async def classify(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.json_response({"data": [{"probs": [-3.25]}]})

    async def scored() -> float:
        served = web.Application()
        served.router.add_post("/classify", classify)
        runner = web.AppRunner(served)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return float(await Scorer("/m", f"127.0.0.1:{runner.addresses[0][1]}")("text"))
        finally:
            await runner.cleanup()

    found = asyncio.run(scored())
    wanted = {"model": "/m", "input": "text", "use_activation": False, "add_special_tokens": False}
    if found != -3.25 or heard != [wanted]:
        yield f"a score of {found} for {heard}"


PARTS = {part.__name__: part for part in (rows, rewards, loop, advantages, sampler, scorer)}


def main(folder: Path, names: str, answer: Path) -> None:
    """Write what is otherwise than it must be; a part that fails is one problem."""
    problems: list[str] = []
    job = Asked(folder)
    for name in names.split(","):
        try:
            problems += [f"{name}: {problem}" for problem in PARTS[name](job)]
        except Exception as error:
            traceback.print_exc()
            problems.append(f"{name}: {type(error).__name__}: {error}")
    answer.write_text(json.dumps(problems))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
