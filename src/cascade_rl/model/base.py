"""What a run starts from: the device, the tokenizer, the first model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from cascade_rl.model.checkpoint import load_directory, scratch_config, scratch_weights
from cascade_rl.model.decoder import DecoderConfig
from cascade_rl.model.export import export
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.tokenizer import load_tokenizer, train_tokenizer
from cascade_rl.recipe import Recipe
from cascade_rl.run.files import Saving


def choose_device(recipe: Recipe) -> tuple[str, str]:
    """The device, and the precision of matrix products: bf16 where the processor multiplies it natively."""
    device = recipe.device
    if device == "auto":
        # several workers are several processes on a CPU, or a GPU each, which a recipe has to ask for
        device = "cuda" if torch.cuda.is_available() and recipe.workers == 1 else "cpu"
    precision = recipe.precision
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_avx512_bf16_supported()
        precision = "bf16" if native else "fp32"
    return device, precision


def make_base(recipe: Recipe, texts: Sequence[str], base: Path, tokens: Path) -> None:
    """Write the tokenizer (a scratch model's: learnt from `texts`) and the model of the first stage."""
    spec = recipe.model
    # `scratch`: the recipe fills in both, and neither for any other
    if spec.tokenizer is not None and spec.architecture is not None:
        # evenly over all texts, which come stage by stage and domain by domain
        stride = max(1, len(texts) // spec.tokenizer.samples)
        tokenizer = train_tokenizer(texts[::stride], spec.tokenizer.vocab_size)
        size = len(tokenizer.inner)
        raw = scratch_config(spec.architecture, size, tokenizer.end_id, tokenizer.pad_id)
        config = DecoderConfig.from_hf(raw)
        flat = scratch_weights(config, recipe.seed)
    else:
        source = find_model(spec.init)
        tokenizer = load_tokenizer(source)
        raw, config, flat = load_directory(source)
    with Saving(tokens):
        tokens.mkdir(parents=True, exist_ok=True)
        tokenizer.save(tokens)
    export(base, raw, config, flat, tokenizer)
