"""The two routes beside transformers on one model each: SFT steps and sampling, as ratios of one another.

    python bench/routes.py            every family of the list, fp32, all cores
    python bench/routes.py gemma2     one of them

Random models of about 7M parameters, made by transformers' own classes. What is compared does the same work: an SFT
step (forward, backward, AdamW) on the same padded rows, and greedy replies of the same length to the same prompts.
Ours and transformers' take turns, so that what else the machine does falls on both; the median of the ratios is told,
with the lowest and the highest. A ratio above 1 is in our favour. transformers gives logits for prompts, too, whose
loss is then left out; ours by its modules does not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from cascade_rl.model.choice import network_of
from cascade_rl.model.modules import ModuleConfig
from cascade_rl.model.network import Network
from cascade_rl.model.replicas import Replicas
from cascade_rl.protocols import GREEDY
from cascade_rl.recipe import Training
from cascade_rl.rollout.drawing import Wanted
from cascade_rl.rollout.torch_sampler import generate
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.objective import LIKELIHOOD

LLAMA_LIKE = {
    "vocab_size": 8000, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": None,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": LLAMA_LIKE | {"head_dim": 64},
    "gemma2": LLAMA_LIKE | {"head_dim": 64, "sliding_window": 128, "query_pre_attn_scalar": 64},
    "gpt2": {"vocab_size": 8000, "n_embd": 256, "n_layer": 6, "n_head": 4, "bos_token_id": None, "eos_token_id": None},
    "gpt_neox": LLAMA_LIKE,
    "olmo2": LLAMA_LIKE,
    "phi": LLAMA_LIKE,
    "qwen3_moe": LLAMA_LIKE | {"head_dim": 64, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256},
}  # fmt: skip
PROMPTS, GROUP, PROMPT, REPLY = 4, 4, 96, 32  # prompts, replies a prompt, tokens of each


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Both:
    """A model of transformers, and the same weights in ours."""

    def __init__(self, family: str, by_modules: bool) -> None:
        torch.manual_seed(0)
        config = CONFIG_MAPPING[family](**FAMILIES[family])
        self.theirs = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        raw = json.loads(config.to_json_string(use_diff=False))
        network: Network = ModuleConfig.from_hf(raw) if by_modules else network_of(raw)
        flat = network.flat(self.theirs.state_dict())
        self.by = network.BY
        self.replicas = Replicas(1)
        self.replicas.add_model("policy", network, flat, train=True)
        # micro-batches of 8 of these rows
        spec = Training(name="bench", lr=1e-5, tokens_per_microbatch=8 * (PROMPT + REPLY))
        self.learner = Learner(self.replicas, "policy", spec)
        self.adamw = torch.optim.AdamW(self.theirs.parameters(), lr=1e-5, fused=True)
        rng = torch.Generator().manual_seed(1)
        self.prompts = torch.randint(8000, (PROMPTS, PROMPT), generator=rng)
        self.replies = torch.randint(8000, (PROMPTS * GROUP, REPLY), generator=rng)

    def sft(self, shared: bool) -> tuple[float, float]:
        """Seconds of a step of ours and of transformers', on replies to the same prompts or each to its own."""
        prompts = self.prompts.repeat_interleave(GROUP, 0)
        if not shared:
            prompts = (prompts + torch.arange(len(prompts))[:, None]) % 8000
        rows = [
            Row.of(p.tolist(), r.tolist(), 1 / self.replies.numel())
            for p, r in zip(prompts, self.replies, strict=True)
        ]
        ours = seconds(lambda: self.learner.policy_step(rows, LIKELIHOOD, 1.0))

        def step() -> None:
            self.theirs.train()
            for some in torch.arange(len(rows)).split(8):  # as many tokens as a micro-batch of ours
                ids = torch.cat((prompts[some], self.replies[some]), 1)
                labels = ids.clone()
                labels[:, :PROMPT] = -100
                (self.theirs(input_ids=ids, labels=labels).loss * len(some) / len(rows)).backward()
            torch.nn.utils.clip_grad_norm_(self.theirs.parameters(), 1.0)
            self.adamw.step()
            self.adamw.zero_grad()

        return ours, seconds(step)

    def sample(self) -> tuple[float, float]:
        """Seconds of greedy replies by ours and by transformers' `generate`."""
        prompts = [tuple(p.tolist()) for p in self.prompts]
        wanted = [Wanted(n, n, GREEDY, REPLY, str(n), i) for n in range(PROMPTS) for i in range(GROUP)]
        ours = seconds(lambda: generate(self.replicas.local, "policy", prompts, wanted, (), 256))
        self.theirs.eval()
        ids = self.prompts.repeat_interleave(GROUP, 0)
        with torch.inference_mode():
            other = seconds(
                lambda: self.theirs.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    min_new_tokens=REPLY,
                    max_new_tokens=REPLY,
                    pad_token_id=0,
                )
            )
        return ours, other


def cells(both: Both, repeats: int) -> list[str]:
    """Median ratios of the three works, each with the lowest and the highest."""
    found = []
    for work in (partial(both.sft, False), partial(both.sft, True), both.sample):
        work()  # warm
        ratios = [theirs / ours for ours, theirs in (work() for _ in range(repeats))]
        found.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    return found


def main() -> None:
    """A line for each family and route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("family      route                                     SFT    SFT, shared prompts    sampling")
    for family in options.families:
        for by_modules in (False, True) if family == "qwen3" else (True,):
            both = Both(family, by_modules)
            print(f"{family:11} {both.by:36} " + "    ".join(cells(both, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
