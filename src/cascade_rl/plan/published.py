"""What other engines are known to reach, each figure with its source: what `python -m bench.plan_checks` checks by.

A published figure says what an engine reached once, on its own case.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trained:
    """Tokens a second of a published trainer, and the MFU that it states of them: of a full or LoRA gradient."""

    engine: str
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
    """Seconds of a published RL step; `mean` tokens a reply, NaN where nobody says."""

    engine: str
    model: str
    hardware: str
    gpus: int
    prompts: int
    rollouts: int
    prompt: int
    mean: float
    limit: int
    seconds: float
    source: str


PRIME = "prime-rl's table of trainer benchmarks (docs, 0.8)"
# fmt: off
TRAINED = (
    Trained("prime-rl", "qwen3-0.6b", "h100", 1, 16384, 11_900, 0.111, False, PRIME),
    Trained("prime-rl", "qwen3-0.6b", "h100", 1, 65536, 10_200, 0.268, False, PRIME),
    Trained("prime-rl", "qwen3-0.6b", "h100", 1, 8192, 26_000, 0.168, False, PRIME + ", SFT"),
    Trained("prime-rl", "qwen3-4b", "h100", 8, 16384, 26_000, 0.139, False, PRIME),
    Trained("prime-rl", "qwen3-4b", "h100", 8, 16384, 48_700, 0.212, True, PRIME),
)
STEPPED = (
    Stepped("nemo-rl", "llama3.1-8b", "h100", 16, 64, 32, 120, 1019, 4096, 92.8,
            "NeMo-RL performance pages 0.4 and 0.5: on-policy, bf16, prompts assumed at 120 tokens"),
    Stepped("verl", "qwen3-4b", "h100", 32, 0, 0, 0, 4200, 0, 99.7,
            "Tencent-Hunyuan/UniRL issue 40: a third party's log, batch not given"),
)
# fmt: on
