"""The work that is measured, the same for us and for the peer: prompts, replies, models; and what we do with it."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gpu_models

from cascade_rl.model.checkpoint import load_directory, save_directory, scratch_config, scratch_weights
from cascade_rl.model.cost import Peaks, Work, decode_work, prefill_work, update_work
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.peaks import measure_peaks
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.replicas import Replicas
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from cascade_rl.protocols import Sampling
from cascade_rl.recipe import Architecture, Training
from cascade_rl.rollout.torch_sampler import TorchSampler
from cascade_rl.train.batch import Row
from cascade_rl.train.learner import Learner
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import LIKELIHOOD, Objective
from cascade_rl.types import Message, Problem

WORDS = (
    *("river", "stone", "light", "garden", "window", "morning", "silver", "table"),
    *("music", "letter", "winter", "orange", "quiet", "bridge", "lesson", "harbour"),
)
SHAPES = {  # random models, whose package nobody needs: the tiny recipe's, and the sizes of two real ones
    "tiny": (Architecture(num_key_value_heads=6), 1024),
    "135m": (gpu_models.SHAPES["135m"], gpu_models.VOCABULARY["135m"]),
    "qwen3-0.6b": (gpu_models.SHAPES["0.6b"], gpu_models.VOCABULARY["0.6b"]),
}
NEVER = 1 << 30  # an end id that no model gives: every reply is as long as the limit, for us and for the peer


def sentence(rng: random.Random, words: int) -> str:
    """So many words, drawn at random."""
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def random_model(folder: Path, shape: Architecture, vocab: int) -> Path:
    """A Qwen3 with random weights and a tokenizer of 1,024 pieces."""
    if not (folder / "config.json").exists():
        rng = random.Random(0)
        tokenizer = train_tokenizer([sentence(rng, 40) for _ in range(400)], 1024)
        raw = scratch_config(shape, vocab, tokenizer.end_id, tokenizer.pad_id)
        config = DecoderConfig.from_hf(raw)
        save_directory(folder, raw, config, scratch_weights(config, 0))
        tokenizer.save(folder)
    return folder


def model_folder(name: str) -> Path:
    """The directory of one of `SHAPES`, with random weights, or of a model that `find_model` knows."""
    folder = Path(tempfile.gettempdir()) / f"cascade-bench-{name}"
    return random_model(folder, *SHAPES[name]) if name in SHAPES else find_model(name).folder


def problems(count: int, words: int = 24) -> list[Problem]:
    """Prompts of like length, all different."""
    rng = random.Random(1)
    asked = [f"{number}: {sentence(rng, words)} Go on." for number in range(count)]
    return [Problem(f"bench-{i}", "bench", (Message("user", text),), None) for i, text in enumerate(asked)]


def samples(tokenizer: Tokenizer, count: int, longest: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, reply) ids of short mixed-length samples, about 40 to 120 tokens."""
    rng = random.Random(2)
    made = []
    while len(made) < count:
        prompt = tokenizer.prompt(problems(1, rng.randint(4, 16))[0])
        reply = tokenizer.reply(sentence(rng, rng.randint(4, 30)))
        if len(prompt) + len(reply) <= longest:
            made.append((prompt, reply))
    return made


@dataclass(frozen=True, slots=True)
class Case:
    """One step: a model, its products, prompts a step, replies a prompt, tokens a reply."""

    model: str
    precision: str = "bf16"
    prompts: int = 8
    rollouts: int = 8
    tokens: int = 64
    workers: int = 2
    microbatch: int = 2048


class Ours:
    """Our engine on one case."""

    def __init__(self, case: Case, device: str = "cpu") -> None:
        self.case = case
        self.folder = model_folder(case.model)
        _, self.config, flat = load_directory(self.folder)
        self.tokenizer = load_tokenizer(self.folder)
        self.tokenizer.eos_ids = (NEVER,)
        self.replicas = Replicas(case.workers, device, case.precision)
        self.replicas.add_model("policy", self.config, flat, train=True)
        self.sampler = TorchSampler(self.replicas, self.tokenizer)
        spec = Training(name="bench", lr=1e-6, tokens_per_microbatch=case.microbatch)
        self.learner = Learner(self.replicas, "policy", spec)

    def prompt_lengths(self) -> list[int]:
        """Tokens of the case's prompts."""
        return [len(self.tokenizer.prompt(p)) for p in problems(self.case.prompts)]

    def rl_step(self, seed: int) -> dict[str, float]:
        """One on-policy step; seconds of its phases, and what was computed."""
        case, asked = self.case, problems(self.case.prompts)
        begin = time.perf_counter()
        groups = self.sampler.sample(asked, Sampling(case.rollouts, case.tokens, seed=(seed,)))
        sampled = time.perf_counter()
        count, rng = case.prompts * case.rollouts * case.tokens, random.Random(seed)
        rows = [Row.of(r.prompt_ids, r.ids, 1 / count, rng.gauss(0, 1)) for group in groups for r in group]
        self.learner.policy_step(rows, Objective(ON_POLICY), 1.0)
        done = time.perf_counter()
        return {"step_s": done - begin, "rollout_s": sampled - begin, "update_s": done - sampled, "tokens": count,
                "prompt_tokens": sum(len(g[0].prompt_ids) for g in groups) / len(groups)}  # fmt: skip

    def sft_tokens_per_s(self, steps: int, batch: int, longest: int) -> float:
        """Real tokens a second over steps of `batch` samples, the median step."""
        made = samples(self.tokenizer, batch * (steps + 1), longest)
        found = []
        for step in range(steps + 1):
            chosen = made[step * batch : (step + 1) * batch]
            weight = 1.0 / sum(len(r) for _, r in chosen)
            begin = time.perf_counter()
            self.learner.policy_step([Row.of(p, r, weight) for p, r in chosen], LIKELIHOOD, 1.0)
            found.append(sum(len(p) + len(r) for p, r in chosen) / (time.perf_counter() - begin))
        return statistics.median(found[1:])

    def close(self) -> None:
        """End the workers."""
        self.replicas.close()


def least(ours: Ours) -> tuple[dict[str, float], Peaks]:
    """Seconds that rollout and update of a step take at least, and the rates that this follows from."""
    case, prompts, element = ours.case, ours.prompt_lengths(), ours.replicas.dtype.itemsize
    update = update_work(ours.config, [(p - 1, [case.tokens] * case.rollouts) for p in prompts])
    prefill = decode = Work()
    for share in (prompts[rank :: case.workers] for rank in range(case.workers)):
        rows = [p for p in share for _ in range(case.rollouts)]
        prefill += prefill_work(ours.config, share, element)
        decode += decode_work(
            ours.config, rows, [case.tokens] * len(rows), min(len(rows), ours.sampler.max_rows), element
        )
    peaks = measure_peaks(ours.replicas, ours.config)
    found = {"update_s": update.seconds(peaks), "rollout_s": prefill.seconds(peaks) + decode.seconds(peaks)}
    return found, peaks


def median_step(case: Case, steps: int, device: str = "cpu") -> dict[str, float]:
    """The medians over some steps after two warm ones: a process takes its memory in the first two."""
    ours = Ours(case, device)
    try:
        found = [ours.rl_step(seed) for seed in range(steps + 2)][2:]
    finally:
        ours.close()
    return {key: statistics.median(each[key] for each in found) for key in found[0]}
