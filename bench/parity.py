"""How far a sampler's log-probabilities are from the trainer's, before and after an update; exits 1 beyond the limits.

    python bench/parity.py                               our own, on the CPU or the GPU that is there
    python bench/parity.py --sampler vllm --model 135m   vLLM, on a GPU

`kl` is the k3 estimate of KL(sampler || trainer) a token. Its limit, 1e-3, is what is called healthy between two
engines in bf16 (docs/runs.md); old weights or a lost filter are beyond it by an order of magnitude or more. Our own
sampler is held to 1e-4.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from work import Case, Ours, problems

from cascade_rl.model.decoder import views
from cascade_rl.protocols import Sampling, SamplingRule
from cascade_rl.rollout.vllm_sampler import VLLMSampler, utilisation
from cascade_rl.train.batch import Row, pack_rows
from cascade_rl.train.loss import ON_POLICY
from cascade_rl.train.objective import Objective, token_logprobs
from cascade_rl.types import Rollout

RULES = {"plain": {}, "temperature": {"temperature": 0.7}, "top-p": {"top_p": 0.9}, "top-k": {"top_k": 20},
         "min-p": {"min_p": 0.05}, "all but min-p": {"temperature": 1.2, "top_p": 0.9, "top_k": 50}}  # fmt: skip
LIMITS = {"torch": 1e-4, "vllm": 1e-3}


def gaps(ours: Ours, rollouts: list[Rollout], rule: dict[str, float]) -> tuple[float, float]:
    """KL a token, and the largest |log p of the trainer - log p of the sampler|."""
    model = ours.replicas.local.models["policy"]
    differences = []
    for rollout in rollouts:
        row = Row.of(rollout.prompt_ids, rollout.ids, 1.0, 1.0, rollout.logprobs)
        batch = pack_rows([row], ours.replicas.device)
        with torch.no_grad():
            scores = token_logprobs(model.weights, ours.config, batch, SamplingRule(**rule))
        differences.append((scores - batch.old).double())
    d = torch.cat(differences)
    return float((d.exp() - 1 - d).mean()), float(d.abs().max())


def main() -> None:
    """Print a line a rule, before and after one update that moves every reply's probability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sampler", choices=LIMITS, default="torch")
    parser.add_argument("--model", default="tiny")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.sampler == "vllm" and device == "cpu":
        sys.exit("vLLM's parity needs a CUDA device")
    ours = Ours(Case(options.model, prompts=4, rollouts=4, tokens=64, workers=1), device)
    sampler = ours.sampler
    if options.sampler == "vllm":
        share = utilisation(
            *torch.cuda.mem_get_info(), len(ours.replicas.local.models["policy"].flat), training=True
        )
        sampler = VLLMSampler(ours.replicas, ours.tokenizer, ours.folder, 512, share)
    if (
        options.model == "tiny"
    ):  # a random model with a tied head repeats itself for sure: then nothing could differ
        with torch.no_grad():
            views(ours.replicas.local.models["policy"].flat, ours.config.shapes())["norm"].mul_(0.1)
        ours.replicas.refresh("policy")
    worst, asked, limit = 0.0, problems(4), LIMITS[options.sampler]
    for moment in ("before", "after"):
        for name, rule in RULES.items():
            groups = sampler.sample(asked, Sampling(4, 64, SamplingRule(**rule), seed=("parity", name)))
            rollouts = [r for group in groups for r in group]
            kl, largest = gaps(ours, rollouts, rule)
            worst = kl if not kl <= worst else worst  # a NaN is the worst
            print(f"{moment:6} the update, {name:13}  kl {kl:.1e}  largest {largest:.1e} nats")
        if moment == "before":
            rows = [Row.of(r.prompt_ids, r.ids, 1e-3, 1.0 if i % 2 else -1.0) for i, r in enumerate(rollouts)]
            ours.learner.policy_step(
                rows, Objective(ON_POLICY), 1e3
            )  # a learning rate of 1e-3: far enough to tell
            stale, _ = gaps(ours, rollouts, rule)
            print(f"replies of the weights before it: kl {stale:.1e}")
    ours.close()
    if not worst <= limit:
        sys.exit(f"kl {worst:.1e} is over {limit:.0e}: the sampler does not draw from what is trained")
    if not stale >= 10 * limit:
        sys.exit(f"the update moved too little (kl {stale:.1e}) to tell old weights from new ones")


if __name__ == "__main__":
    main()
