"""A stand-in for the part of vLLM 0.24.0 that `rollout.vllm_sampler` uses, on a CPU, with transformers' own model inside.

Faithful where a mistake would show only on a GPU: names and defaults of arguments, filters in vLLM's order (min-p before
top-k and top-p), log-probabilities by `logprobs_mode`, a generator a request, the random part of request names, answers
in another order than asked, memory that is gone while asleep, and a prefix cache that outlives a change of weights.
`events` is what happened to the engine, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

STACKED = dict.fromkeys(("q_proj", "k_proj", "v_proj"), "qkv_proj") | dict.fromkeys(
    ("gate_proj", "up_proj"), "gate_up_proj"
)


class TokensPrompt(dict):
    """A TypedDict there."""


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    logprobs: int | None = None
    detokenize: bool = True

    def __post_init__(self) -> None:
        assert 0 < self.top_p <= 1 and self.top_k >= 0 and 0 <= self.min_p <= 1 and self.max_tokens >= 1
        assert self.seed is None or 0 <= self.seed < 1 << 63, (
            "torch.Generator.manual_seed takes 64 bits, with a sign"
        )


class Model:
    """vLLM's model: q, k, v and gate, up are one parameter each; a tied head is none."""

    def __init__(self, inner: torch.nn.Module) -> None:
        self.inner, self.tied = inner, inner.config.tie_word_embeddings

    def named_parameters(self) -> Iterable[tuple[str, torch.Tensor]]:
        for name, value in self.inner.named_parameters():
            yield self._stacked(name), value

    def _stacked(self, name: str) -> str:
        parts = name.split(".")
        return ".".join(STACKED.get(part, part) for part in parts)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        mine, loaded = dict(self.inner.named_parameters()), set()
        for name, tensor in weights:
            mine[name].data.copy_(tensor)
            loaded.add(self._stacked(name))
        return loaded


@dataclass
class _Request:
    name: str
    prompt: list[int]
    rule: SamplingParams
    generator: torch.Generator
    ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Any]] = field(default_factory=list)


class LLM:
    def __init__(
        self, model: str, *, load_format: str = "auto", skip_tokenizer_init: bool = False, generation_config: str = "auto",
        dtype: str = "auto", max_model_len: int | None = None, gpu_memory_utilization: float = 0.92,
        enable_sleep_mode: bool = False, enable_prefix_caching: bool | None = None, logprobs_mode: str = "raw_logprobs",
    ) -> None:  # fmt: skip
        assert load_format == "dummy" and skip_tokenizer_init and 0 < gpu_memory_utilization < 1
        torch.manual_seed(1)
        inner = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(model), dtype=getattr(torch, dtype)
        ).eval()
        self.model, self.sleep_mode, self.logprobs_mode = Model(inner), enable_sleep_mode, logprobs_mode
        self.max_model_len = max_model_len
        self.awake = {"weights", "kv_cache"}
        self.prefixes: dict[tuple[int, ...], torch.Tensor] = {}
        self.requests: list[_Request] = []
        self.asked: list[SamplingParams] = []
        self.count, self.events = 0, []
        self.llm_engine = SimpleNamespace(
            has_unfinished_requests=lambda: bool(self.requests),
            step=self._step,
            abort_request=self._abort,
        )

    def sleep(self, level: int = 1, mode: str = "abort") -> None:
        assert self.sleep_mode
        if level == 2:
            for _, value in self.model.named_parameters():
                value.data.fill_(float("nan"))
        self.awake.clear()  # and not `requests`: the real engine's survive its sleep
        self.events.append(f"sleep {level}")

    def wake_up(self, tags: list[str] | None = None) -> None:
        self.awake |= set(tags or ("weights", "kv_cache"))
        self.events.append(f"wake {','.join(tags or ['all'])}")

    def apply_model(self, func: Callable[[Model], Any]) -> list[Any]:
        assert "weights" in self.awake, "writes to memory that is not there"
        self.events.append("apply")
        return [func(self.model)]

    def reset_prefix_cache(self) -> bool:
        self.prefixes.clear()
        self.events.append("reset")
        return not self.requests

    def enqueue(
        self,
        prompts: Sequence[TokensPrompt],
        sampling_params: Sequence[SamplingParams],
        use_tqdm: bool = True,
    ) -> list[str]:
        assert self.awake == {"weights", "kv_cache"}
        self.events.append(f"enqueue {len(prompts)}")
        self.asked += sampling_params
        names = []
        for prompt, rule in zip(prompts, sampling_params, strict=True):
            assert rule.n == 1 and len(prompt["prompt_token_ids"]) + 1 <= self.max_model_len
            generator = torch.Generator().manual_seed(rule.seed)
            self.requests.append(_Request(str(self.count), list(prompt["prompt_token_ids"]), rule, generator))
            names.append(f"{self.count}-{self.count:08x}")
            self.count += 1
        return names

    def _abort(self, request_ids: list[str], internal: bool = False) -> None:
        """By the names that `enqueue` returned (`internal`) or by the numbers in answers; unknown ones are none."""
        known = {name.partition("-")[0] if internal else name for name in request_ids}
        assert internal or not any("-" in name for name in request_ids)
        self.requests = [request for request in self.requests if request.name not in known]

    @torch.no_grad()
    def _step(self) -> list[Any]:
        """One token for every request, the last one first; what has ended is answered, as FINAL_ONLY does."""
        answers = []
        for request in self.requests[::-1]:
            logits = self._logits(request)
            token, logprob = self._draw(logits, request)
            request.ids.append(token)
            request.logprobs.append({token: SimpleNamespace(logprob=logprob, rank=1, decoded_token=None)})
            long = max(
                len(request.ids) >= request.rule.max_tokens,
                len(request.prompt) + len(request.ids) >= self.max_model_len,
            )
            if long or token in request.rule.stop_token_ids:
                self.requests.remove(request)
                reply = SimpleNamespace(index=0, token_ids=request.ids, logprobs=request.logprobs, text="")
                answers.append(SimpleNamespace(request_id=request.name, outputs=[reply], finished=True))
        return answers

    def _logits(self, request: _Request) -> torch.Tensor:
        ids = (*request.prompt, *request.ids)
        if request.ids or ids not in self.prefixes:
            found = self.model.inner(input_ids=torch.tensor([ids])).logits[0, -1].float()
            if request.ids:
                return found
            self.prefixes[ids] = found
        return self.prefixes[ids].clone()

    def _draw(self, logits: torch.Tensor, request: _Request) -> tuple[int, float]:
        rule = request.rule
        raw = logits.log_softmax(-1)
        if rule.temperature < 1e-5:
            token = int(logits.argmax())
            return token, float(raw[token])
        logits = logits / rule.temperature
        if rule.min_p:
            p = logits.softmax(-1)
            logits[p < rule.min_p * p.max()] = -torch.inf
        ordered, index = logits.sort()
        if rule.top_k:
            ordered[ordered < ordered[-rule.top_k]] = -torch.inf
        late = ordered.softmax(-1).cumsum(-1) <= 1 - rule.top_p
        late[-1] = False
        ordered[late] = -torch.inf
        p = torch.empty_like(ordered).scatter(-1, index, ordered).softmax(-1)
        noise = torch.empty_like(p).exponential_(generator=request.generator)
        token = int((p / noise).argmax())
        return token, float(p[token].log() if self.logprobs_mode == "processed_logprobs" else raw[token])
