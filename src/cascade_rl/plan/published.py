"""What other engines are known to reach, each figure with its source: what a plan is checked by.

A published figure says what an engine reached once, on its own case.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trained:
    """Tokens a second of a trainer, with the MFU that it states; `lora`: of an adapter alone."""

    model: str
    hardware: str
    gpus: int
    length: int
    tokens_per_s: float
    mfu: float
    lora: bool
    source: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """Seconds of an RL step of `prompts` x `rollouts` replies of `mean` tokens, at most `limit`.

    `prompt` is assumed where nobody says it. `passes` are forward passes that score the replies beside the
    update: of the policy before it, of a reference.
    """

    engine: str
    model: str
    hardware: str
    gpus: int
    prompts: int
    rollouts: int
    prompt: int
    mean: float
    limit: int
    passes: int
    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Graded:
    """Seconds until all verdicts on programs were there; `assumed`: nobody says by how many `workers`."""

    name: str
    verdicts: int
    workers: int
    assumed: bool
    seconds: float
    source: str


PRIME = "prime-rl 0.8, table of trainer benchmarks"
NEMO = "NeMo-RL 0.4 and 0.5, performance page: on-policy, bf16, 4,096 tokens in all; prompts of 120 assumed"
# fmt: off
TRAINED = (
    Trained("Qwen3-0.6B", "h100", 1, 16384, 11_900, 0.111, False, PRIME),
    Trained("Qwen3-0.6B", "h100", 1, 65536, 10_200, 0.268, False, PRIME),
    Trained("Qwen3-0.6B", "h100", 1, 8192, 26_000, 0.168, False, PRIME + ", SFT"),
    Trained("Qwen3-4B", "h100", 8, 16384, 26_000, 0.139, False, PRIME),
    Trained("Qwen3-4B", "h100", 8, 16384, 48_700, 0.212, True, PRIME),
)
STEPPED = (
    Stepped("NeMo-RL", "Llama-3.1-8B", "h100", 16, 64, 32, 120, 1019 - 120, 4096 - 120, 2, 92.8, NEMO),
    Stepped("NeMo-RL", "Llama-3.1-8B", "gb200", 8, 64, 32, 120, 1019 - 120, 4096 - 120, 2, 91.0, NEMO),
)
# Cascade's asynchronous figure is not a pool's time: it is what is waited for, see bench/plan_checks.py.
GRADED = (
    Graded("AceReason", 1024, 64, False, 552.4, "arXiv 2505.16400, section 3.1: a pool of 64 processes"),
    Graded("Cascade, synchronous", 1024, 64, True, 1172.4, "arXiv 2512.13607, section 4.6; the pool assumed"),
    Graded("Cascade 2", 2048, 384, False, 427.2, "arXiv 2603.19220, section 4.7: 384 processor cores"),
)
# fmt: on
CASCADE_ASYNCHRONOUS = 416.2  # seconds a batch, on the same 8 DGX H100 (arXiv 2512.13607, section 4.6)
