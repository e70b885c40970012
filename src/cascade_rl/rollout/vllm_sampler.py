"""Sample replies with vLLM, in the trainer's process and on its GPU: optional, for models it decodes faster.

Before each call the engine is woken, takes the trainer's weights over and forgets its prefix cache;
afterwards it sleeps and its memory is the trainer's. Prompts go in and replies come out as ids, each with a
seed of its own and with the log-probabilities of the distribution that was drawn from. They are a second
engine's, so that they differ a little from the trainer's: see `rollout_correction`. Unlike our own sampler, a
reply may depend on its neighbours by rounding.

Written against the API and source of vLLM 0.24.0; tested with a stand-in for it (tests/fake_vllm.py), not on
a GPU. `bench/parity.py --sampler vllm` measures how far the two engines are apart.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cascade_rl.errors import InputError
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.protocols import Finished, Sampling
from cascade_rl.rollout.drawing import prompt_ids, rollout_of, row_key, row_seed
from cascade_rl.types import Problem, Rollout


class VLLMSampler:
    """A `Sampler` over the model `name` of the replicas.

    folder     holds the model's config.json; weights are taken from the replicas
    longest    the most tokens that a prompt and its reply have together
    share      of the GPU's memory, for vLLM's weights and cache while it is awake
    """

    def __init__(
        self,
        replicas: Replicas,
        tokenizer: Tokenizer,
        folder: Path,
        longest: int,
        share: float,
        name: str = "policy",
    ) -> None:
        self.vllm = _import()
        self.replicas, self.tokenizer, self.longest, self.name = replicas, tokenizer, longest, name
        self.llm = self.vllm.LLM(
            model=str(folder),
            load_format="dummy",  # ours come before each call
            skip_tokenizer_init=True,  # ids go in and ids come out
            generation_config="vllm",  # or the model's own file would set temperature and end ids
            dtype="bfloat16" if replicas.dtype is torch.bfloat16 else "float32",
            max_model_len=longest,
            gpu_memory_utilization=share,
            enable_sleep_mode=True,
            # the rows of a group are requests of their own, and share their prompt by this alone
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",  # of the distribution that was drawn from
        )
        self.llm.sleep(level=2)  # gives weights and cache back: both come anew with each call

    def sample(
        self, problems: Sequence[Problem], sampling: Sampling, finished: Finished | None = None
    ) -> list[tuple[Rollout, ...]]:
        """`sampling.n` rollouts a problem; raises InputError for a prompt over `max_prompt_tokens`."""
        return self._sample([(problems, sampling)], finished)[0]

    def sample_many(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]]
    ) -> list[list[tuple[Rollout, ...]]]:
        """Several requests in one go."""
        return self._sample(asked, None)

    def _sample(
        self, asked: Sequence[tuple[Sequence[Problem], Sampling]], finished: Finished | None
    ) -> list[list[tuple[Rollout, ...]]]:
        """`finished` hears of the groups of a single request."""
        rows, prompts, rules = [], [], []
        for number, (problems, sampling) in enumerate(asked):
            for place, problem in enumerate(problems):
                prompt = self._prompt(problem, sampling)
                for index in range(sampling.n):
                    rows.append((number, place, index))
                    prompts.append(prompt)
                    rules.append(self._rule(row_key(problem, sampling), index, sampling))
        found: list[list[tuple[Rollout, ...]]] = [[()] * len(problems) for problems, _ in asked]
        groups: dict[tuple[int, int], dict[int, Rollout]] = {}
        # closed at once whatever is raised here: the engine has to sleep before the trainer goes on
        with closing(self._generate(prompts, rules)) as replies:
            for row, ids, logprobs in replies:
                number, place, index = rows[row]
                group = groups.setdefault((number, place), {})
                group[index] = rollout_of(self.tokenizer, prompts[row], ids, logprobs)
                if len(group) == asked[number][1].n:
                    found[number][place] = tuple(group[i] for i in range(len(group)))
                    if finished:
                        finished(place, found[number][place])
        return found

    def _prompt(self, problem: Problem, sampling: Sampling) -> tuple[int, ...]:
        prompt = prompt_ids(self.tokenizer, problem, sampling)
        if len(prompt) + sampling.max_new_tokens > self.longest:
            raise InputError(
                f"{problem.id}: a prompt of {len(prompt)} tokens and a reply of {sampling.max_new_tokens} "
                f"are over the {self.longest} that vLLM was started for"
            )
        return prompt

    def _rule(self, key: str, index: int, sampling: Sampling) -> Any:
        """One reply a request, since a request has one seed; our ids alone end it, whatever files say."""
        rule = sampling.rule
        greedy = rule.temperature == 0
        # as our own sampler, where temperature 0 looks at no filter
        filters = {} if greedy else {"top_p": rule.top_p, "top_k": rule.top_k, "min_p": rule.min_p}
        return self.vllm.SamplingParams(
            n=1,
            temperature=rule.temperature,
            **filters,
            seed=row_seed(key, index) >> 65,  # it takes 63 bits
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=list(self.tokenizer.eos_ids),
            ignore_eos=True,
            logprobs=0,  # of the sampled token alone
            detokenize=False,
        )

    def _generate(
        self, prompts: Sequence[tuple[int, ...]], rules: Sequence[Any]
    ) -> Generator[tuple[int, list[int], list[float]]]:
        """(row, ids, log-probabilities) of each reply as it ends."""
        if not prompts:
            return
        with self._awake():
            asked = [self.vllm.TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
            names = self.llm.enqueue(asked, rules, use_tqdm=False)
            # the engine adds a random part to a request's number, and leaves it out of its answer
            rows = {name.partition("-")[0]: row for row, name in enumerate(names)}
            try:
                while self.llm.llm_engine.has_unfinished_requests():
                    for answer in self.llm.llm_engine.step():
                        if answer.finished:
                            yield rows[answer.request_id], *_drawn(answer.outputs[0])
            finally:
                # After a fault requests are left, and neither sleeping nor waking takes them away: the next
                # call would wait for them for ever. Those that ended are unknown by now, which is no error.
                self.llm.llm_engine.abort_request(names, internal=True)

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Room for the weights, the trainer's weights, room for the cache, and nothing left in it."""
        if self.replicas.device.type == "cuda":  # what torch keeps for itself, vLLM can't take
            torch.cuda.empty_cache()
        try:
            self.llm.wake_up(tags=["weights"])
            config = self.replicas.local.models[self.name].config
            # at every call: the trainer may have stepped, and nobody tells the engine
            self.llm.apply_model(partial(_load, config.tensors(self.replicas.flat(self.name))))
            self.llm.wake_up(tags=["kv_cache"])
            if not self.llm.reset_prefix_cache():
                raise RuntimeError(
                    "vLLM did not reset its prefix cache: keys and values of older weights may be left in it"
                )
            yield
        finally:
            self.llm.sleep(level=2)


def _drawn(reply: Any) -> tuple[list[int], list[float]]:
    """The ids of a reply, and their log-probabilities."""
    ids = list(reply.token_ids)
    return ids, [at[token].logprob for token, at in zip(ids, reply.logprobs, strict=True)]


def _load(weights: Iterable[tuple[str, torch.Tensor]], model: Any) -> None:
    """Runs on vLLM's model: it takes Hugging Face's names and returns its own; all of them must be there."""
    missing = {name for name, _ in model.named_parameters()} - model.load_weights(weights)
    if missing:
        raise RuntimeError(
            f"vLLM's model got no weights for {len(missing)} parameters, the first is {min(missing)}"
        )


def _import() -> Any:
    # in a process of its own the engine would not see our tensors
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        import vllm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise InputError(
            "sampler: vllm needs the package vllm, which is not installed: "
            "pip install 'cascade-rl[vllm]' on a machine with CUDA, or set sampler: torch"
        ) from None
    return vllm


def utilisation(free: int, total: int, numbers: int, *, training: bool) -> float:
    """The share of a GPU's memory for vLLM, 0 to 1; `free` and `total` are bytes, `numbers` are weights.

    Raises InputError when that is less than the model's weights in bf16.
    """
    # four fifths of what is free now, less AdamW's two fp32 moments, which come with the first update
    room = 0.8 * (free - 8 * numbers * training)
    if room < 2 * numbers:
        raise InputError(
            f"sampler: vllm has no room beside the trainer: {free / 1e9:.1f} GB are free; set sampler: torch"
        )
    return round(room / total, 3)
