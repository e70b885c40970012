"""What verl's SFT trainer reads of a job: the ids that are trained on, in the order in which they are drawn.

This file runs in verl's environment, copied into the folder of the job; nothing of cascade_rl is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
import torch


class Drawn(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Samples by the place at which verl's sampler asks for them.

    `train.parquet` has each sample once (its ids `prompt` and `reply`), `order.parquet` the sample of every
    place of the job, step after step. The arguments are those that verl gives; the model's tokenizer has no
    part in it, since the ids are made already.
    """

    def __init__(
        self,
        parquet_files: Any,
        tokenizer: Any = None,
        config: Any = None,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        rows = Path(str(parquet_files))
        # mapped into memory, so that the workers of all GPUs of a machine share it
        cache = str(rows.parent / "cache")
        self.rows = datasets.Dataset.from_parquet(str(rows), cache_dir=cache).with_format("numpy")
        order = pyarrow.parquet.read_table(rows.with_name("order.parquet"))["sample"].to_numpy()
        # verl always shuffles (trainer/sft_trainer.py, DistributedSampler): its first epoch, the only one of
        # a job, asks for these places in turn, so that the i-th draw stands where it asks in the i-th turn
        generator = torch.Generator()
        generator.manual_seed(0)
        asked = torch.randperm(len(order), generator=generator).numpy()
        self.order = np.empty_like(order)
        self.order[asked] = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        row = self.rows[int(self.order[place])]
        prompt, reply = row["prompt"], row["reply"]
        ids = torch.from_numpy(np.concatenate([prompt, reply]).astype(np.int64))
        mask = torch.zeros(len(ids), dtype=torch.int64)
        mask[len(prompt) :] = 1
        return {"input_ids": ids, "position_ids": torch.arange(len(ids)), "loss_mask": mask}
