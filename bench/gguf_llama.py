"""What llama.cpp makes of the GGUF files that are written here, beside transformers and our own engine.

    make test-gguf                        # an environment of its own: llama-cpp-python is compiled, minutes
    python bench/gguf_llama.py --only families

families  logits of small random models of every family and type of RoPE, beside transformers'
run       a tiny model that is trained for a while and exported: greedy replies in both modes, beside our engine's
smollm2   SmolLM2-135M-Instruct out of its package, read, written and asked in the same way

In each, tokens of texts that are hard to cut: llama.cpp must differ on those texts alone that `choose_cut` told.
Exits with 1 where anything else differs. Keys and values are kept in F32 on both sides.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import torch
from transformers.utils import logging

from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cascade.export import export_stage
from cascade_rl.cascade.export_wanted import Wanted
from cascade_rl.data.abilities import check_recipe
from cascade_rl.model.checkpoint import load_directory
from cascade_rl.model.gguf_writer import About, write_gguf
from cascade_rl.model.pre_tokenizers import ORDINARY, RARE, choose_cut
from cascade_rl.model.pretrained import find_model
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.protocols import GREEDY, Sampling
from cascade_rl.rollout.world import Engine, open_world
from cascade_rl.testing import QuietScreen
from cascade_rl.types import Message, Mode, Problem

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from gguf_files import random_model
from tiny import tokenizer

YARN = {
    "rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 16.0,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {}), ("llama", {"tie_word_embeddings": True}), ("llama", {"attention_bias": True}),
    ("mistral", {"sliding_window": None}), ("qwen2", {}), ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"tie_word_embeddings": True}), ("qwen3", {"head_dim": 16}), ("phi3", {"sliding_window": None}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0}}),
    ("qwen2", {"rope_parameters": YARN}),
    ("qwen3", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 2.0,
                                   "original_max_position_embeddings": 16}}),
    ("llama", {"rope_parameters": LLAMA3, "head_dim": 32, "max_position_embeddings": 32768}),
)  # fmt: skip
QUESTIONS = (
    "What is 3 + 4?",
    "Compute 12 * 7 - 5.",
    "Name a colour.",
    "Write a Python function that adds two numbers.",
)
TINY = {
    "name": "tiny-sft", "precision": "fp32",
    "model": {"architecture": {}, "tokenizer": {}},
    "stages": [
        {"name": "sft", "kind": "sft", "samples": 1000, "batch_size": 32, "steps": 60, "lr": 0.003,
         "data": [{"domain": "maths"}, {"domain": "alignment"}]},
    ],
    "benchmarks": [{"name": "maths", "domain": "maths", "problems": 40, "k": 1, "max_response_tokens": 96,
                    "max_prompt_tokens": 400}],
}  # fmt: skip
# Of logits: two tokens that are nearer than this may change places. llama.cpp rounds what it multiplies with
# weights of 16 bits to their type, too, which neither transformers nor we do: 8 bits of mantissa, or 11.
NEAR = {"fp32": 1e-3, "fp16": 5e-3, "bf16": 5e-2}


def opened(file: Path, context: int) -> llama_cpp.Llama:
    """A file as llama.cpp loads it."""
    kept = llama_cpp.GGML_TYPE_F32
    return llama_cpp.Llama(
        str(file), n_ctx=context, logits_all=True, verbose=False, n_threads=1, type_k=kept, type_v=kept
    )


def families(folder: Path) -> Iterator[tuple[bool, str]]:
    """A line for each family: whether it holds, and the distance of the logits."""
    ids = torch.randint(0, 280, (48,), generator=torch.Generator().manual_seed(0)).tolist()
    for place, (family, changes) in enumerate(FAMILIES):
        model = random_model(family, **changes)
        source, file = folder / f"family-{place}", folder / f"family-{place}.gguf"
        model.save_pretrained(source)
        tokenizer().save(source)
        raw, network, flat = load_directory(source)
        write_gguf(file, raw, network, flat, load_tokenizer(source), "fp32", About(family))
        llama = opened(file, 64)
        llama.eval(ids)
        found = np.array(llama.scores[: len(ids)])
        with torch.no_grad():
            wanted = model(torch.tensor([ids])).logits[0].numpy()
        distance, size = np.abs(found - wanted).max(), np.abs(wanted).max()
        same = bool((found.argmax(-1) == wanted.argmax(-1)).all())
        told = {k: v["rope_type"] if isinstance(v, dict) else v for k, v in changes.items()}
        yield (
            same,
            f"{family} {told}: logits up to {size:.1f}, {distance:.1e} apart, likeliest the same: {same}",
        )


def replies(file: Path, source: Path, longest: int, dtype: str = "fp32") -> Iterator[tuple[bool, str]]:
    """Greedy replies of our engine and of llama.cpp to the same ids, in both modes, and tokens of texts."""
    asked = [
        Problem("asked", "asked", (Message("user", text),), None, mode) for text in QUESTIONS for mode in Mode
    ]
    with open_world(source, Engine()) as world:
        ours = world.sampler.sample(asked, Sampling(1, longest, GREEDY))
        words = world.tokenizer
    llama = opened(file, 512)
    same = tokens = 0
    for problem, (rollout,) in zip(asked, ours, strict=True):
        prompt = words.asked(problem)
        ids = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        if tuple(ids) != rollout.prompt_ids:
            yield False, f"{problem.mode}: other ids of the prompt {prompt!r}"
            continue
        found = reply_of(llama, ids, words, longest)
        tokens += len(rollout.ids)
        if found == list(rollout.ids):
            same += 1
            continue
        place = next(i for i, pair in enumerate(zip(found, rollout.ids, strict=False)) if pair[0] != pair[1])
        gap = margin(llama, [*ids, *rollout.ids[:place]])
        text = f"{problem.mode}: token {place} differs, where the two likeliest are {gap:.1e} apart"
        yield gap < NEAR[dtype], text
    yield same > 0, f"greedy replies: {same} of {len(asked)} the same to the last of {tokens} tokens"
    yield cuts(llama, words)


def reply_of(llama: llama_cpp.Llama, ids: list[int], words: Tokenizer, longest: int) -> list[int]:
    """The ids of llama.cpp's greedy reply, the end mark included."""
    found: list[int] = []
    for token in llama.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0):
        found.append(token)
        if token in words.eos_ids or len(found) == longest:
            break
    return found


def margin(llama: llama_cpp.Llama, ids: list[int]) -> float:
    """How far apart the two likeliest next tokens are, in logits."""
    llama.reset()
    llama.eval(ids)
    first, second = np.sort(np.array(llama.scores[len(ids) - 1]))[-1:-3:-1]
    return float(first - second)


def cuts(llama: llama_cpp.Llama, words: Tokenizer) -> tuple[bool, str]:
    """Whether llama.cpp cuts the texts as was foretold."""
    texts = (*ORDINARY, *RARE)
    foretold = set(choose_cut(words.inner).other)
    wanted = [words.inner.encode(text, add_special_tokens=False) for text in texts]
    found = [llama.tokenize(text.encode(), add_bos=False, special=True) for text in texts]
    differ = {text for text, a, b in zip(texts, wanted, found, strict=True) if a != b}
    right = differ == foretold
    wrong = "" if right else f"; not as foretold: {sorted(differ ^ foretold)}"
    return right, f"texts: {len(differ)} of {len(texts)} cut into other tokens, as was foretold{wrong}"


def run(folder: Path) -> Iterator[tuple[bool, str]]:
    """A tiny model, trained until it answers, exported in each precision."""
    run_cascade(check_recipe(TINY), folder / "run", QuietScreen())
    for dtype in ("fp32", "bf16", "fp16"):
        out = folder / f"tiny-{dtype}"
        export_stage(folder / "run", "last", out, Wanted(dtype, gguf=True))
        [file] = out.glob("*.gguf")
        for right, text in replies(file, out, 64, dtype):
            yield right, f"{dtype}: {text}"


def smollm2(folder: Path) -> Iterator[tuple[bool, str]]:
    """SmolLM2-135M-Instruct: its q8 file read, the same numbers written in F32."""
    source = find_model("smollm2-135m").folder
    raw, network, flat = load_directory(source)
    file = folder / "smollm2.gguf"
    write_gguf(file, raw, network, flat, load_tokenizer(source), "fp32", About("smollm2"))
    yield from replies(file, source, 40)


PARTS = {"families": families, "run": run, "smollm2": smollm2}


def main() -> None:
    """Run the parts, a line each; the exit status says whether all hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append")
    chosen = parser.parse_args().only or list(PARTS)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(f"llama-cpp-python {llama_cpp.__version__}, torch {torch.__version__}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            begin = time.perf_counter()
            for right, text in PARTS[name](Path(folder)):
                failed += not right
                print(f"{'ok  ' if right else 'FAIL'} {name}: {text}", flush=True)
            print(f"     {name}: {time.perf_counter() - begin:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
