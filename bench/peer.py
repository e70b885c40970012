"""The same work by TRL: GRPOTrainer for a step, SFTTrainer with packing for tokens a second."""

from __future__ import annotations

import statistics
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer
from work import Case, model_folder, problems, samples

from cascade_rl.model.tokenizer import load_tokenizer

ROWS = 16  # a micro-batch: 64 rows of SmolLM2 take 13 GB, 16 take 5


class Clock(TrainerCallback):
    """Seconds of each optimiser step, its rollouts and its gradient accumulation included."""

    def __init__(self) -> None:
        self.begin, self.seconds = 0.0, []

    def on_step_begin(self, args, state, control, **kwargs):
        self.begin = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.perf_counter() - self.begin)


def shared(case: Case, device: str) -> dict:
    """Settings of both trainers: same precision, constant rate, nothing saved or logged."""
    return {
        "output_dir": tempfile.mkdtemp(), "report_to": [], "save_strategy": "no", "logging_strategy": "no",
        "learning_rate": 1e-6, "lr_scheduler_type": "constant", "bf16": case.precision == "bf16",
        "use_cpu": device == "cpu", "gradient_checkpointing": False, "disable_tqdm": True, "dataloader_num_workers": 0,
    }  # fmt: skip


def load(case: Case):
    """Model in fp32 (autocast makes its products bf16) and tokenizer; `fp32-onednn` takes oneDNN's fp32 products."""
    if case.precision == "fp32-onednn":
        torch.backends.mkldnn.matmul.fp32_precision = (
            "bf16"  # on a CPU without AMX this keeps fp32's accuracy
        )
    folder = model_folder(case.model)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(
        folder
    )


def rl_step_s(case: Case, steps: int, device: str = "cpu") -> float:
    """Seconds of one on-policy GRPO step, the median after a first, warm one."""
    model, tokenizer = load(case)
    rows = case.prompts * case.rollouts
    arguments = GRPOConfig(
        **shared(case, device), per_device_train_batch_size=min(ROWS, rows),
        gradient_accumulation_steps=max(1, rows // ROWS), num_generations=case.rollouts, beta=0.0, temperature=1.0,
        max_completion_length=case.tokens, max_steps=steps + 1,
        generation_kwargs={"min_new_tokens": case.tokens},
    )  # fmt: skip

    def reward(completions, **kwargs):
        return [float(len(str(c)) % 7) for c in completions]

    asked = [{"prompt": [{"role": "user", "content": p.messages[0].content}]} for p in problems(case.prompts)]
    clock = Clock()
    trainer = GRPOTrainer(model, reward, args=arguments, train_dataset=Dataset.from_list(asked * (steps + 2)),
                          processing_class=tokenizer, callbacks=[clock])  # fmt: skip
    trainer.train()
    return statistics.median(clock.seconds[1:] or clock.seconds)


def sft_tokens_per_s(case: Case, steps: int, batch: int, longest: int, device: str = "cpu") -> float:
    """Real tokens a second of packed SFT on the completion, the median step."""
    model, tokenizer = load(case)
    made = samples(load_tokenizer(model_folder(case.model)), batch * (steps + 1), longest)
    data = Dataset.from_list(
        [{"input_ids": p + r, "completion_mask": [0] * len(p) + [1] * len(r)} for p, r in made]
    )
    tokens = sum(len(p) + len(r) for p, r in made)
    packed = max(1, round(tokens / (steps + 1) / longest))
    arguments = SFTConfig(**shared(case, device), packing=True, max_length=longest, num_train_epochs=1,
                          per_device_train_batch_size=packed)  # fmt: skip
    clock = Clock()
    trainer = SFTTrainer(
        model, args=arguments, train_dataset=data, processing_class=tokenizer, callbacks=[clock]
    )
    trainer.train()
    per_step = tokens / max(1, len(clock.seconds))
    return per_step / statistics.median(clock.seconds[1:] or clock.seconds)
