"""Replies sampled with transformers on a processor, in the places where verl has vLLM or SGLang.

A rollout engine of verl is two classes: a replica, whose server answers `generate` with the sampled ids and
their log-probabilities, and an adapter in the trainer's process, which sends it the new weights. Both are put
into verl's registries as `transformers`; trainer, worker, advantage, update and checkpoint stay verl's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray
import torch
from verl.workers.rollout import base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

NAME = "transformers"


class Server:
    """One reply at a time, token by token; the random numbers follow from the number of the call."""

    def __init__(self, path: str, length: int) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.length, self.step = length, 0
        ends = self.model.generation_config.eos_token_id
        self.ends = ends if isinstance(ends, list) else [ends]
        self.random = torch.Generator().manual_seed(1)

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        """verl gives no length with a request: the rollout's own holds."""
        temperature, ids, logprobs = sampling_params["temperature"], [], []
        read, cache = torch.tensor([prompt_ids]), None
        while len(ids) < self.length and not (ids and ids[-1] in self.ends):
            with torch.no_grad():
                out = self.model(read, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            scores_V = torch.log_softmax(out.logits[0, -1].float() / (temperature or 1.0), -1)
            drawn = torch.multinomial(scores_V.exp(), 1, generator=self.random)
            token = int(drawn) if temperature else int(scores_V.argmax())
            ids.append(token)
            logprobs.append(float(scores_V[token]))
            read = torch.tensor([[token]])
        told = {"global_steps": self.step}
        return TokenOutput(token_ids=ids, log_probs=logprobs, stop_reason="completed", extra_fields=told)

    async def load(self, weights: dict[str, torch.Tensor], step: int) -> None:
        """The trainer's weights; a head that is tied to the embedding comes with it."""
        missing, unknown = self.model.load_state_dict(weights, strict=False)
        tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
        if unknown or not set(missing) <= tied:
            raise RuntimeError(f"other weights than the sampler's: {missing} missing, {unknown} unknown")
        self.step = step

    async def nothing(self, *_: Any, **__: Any) -> None:
        """Neither memory to give back nor a cache between requests."""

    wake_up = sleep = clear_kv_cache = abort_all_requests = resume_generation = nothing


class Replica(RolloutReplica):
    """The server as an actor of Ray, beside the trainer."""

    async def launch_servers(self) -> None:
        server = ray.remote(Server).options(name=f"{NAME}_server_{self.replica_rank}", num_cpus=0)
        handle = server.remote(self.model_config.path, self.config.response_length)
        await handle.wake_up.remote()
        self.servers, self._server_handle = [handle], handle
        self._server_address = f"{NAME}-{self.replica_rank}"


class Adapter(BaseRollout):
    """The trainer's end: hands over its weights after every update."""

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        global_steps: int | None = None,
        wire_format: str = "named_tensors",
        **_: Any,
    ) -> None:
        found = {name: tensor.detach().clone() for name, tensor in weights}
        server = ray.get_actor(f"{NAME}_server_{torch.distributed.get_rank()}")
        await server.load.remote(found, global_steps)


base._ROLLOUT_REGISTRY[NAME, "async"] = f"{__name__}.Adapter"
RolloutReplicaRegistry.register(NAME, lambda: Replica)
