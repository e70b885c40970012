"""MMLU without a word written: which of the four letters is likeliest after `Answer: \\boxed{`, for each checkpoint.

The matrix asks for a written reply, and a small model that has lost its form fails that, whatever it knows. This asks the
same fixed questions of `smollm2-evening`'s benchmark `mmlu` for the probabilities of the letters alone; chance is 25 %.

    python bench/evening_letters.py runs/smollm2-evening/base runs/smollm2-evening/stages/08-swe-rl/checkpoint
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from cascade_rl.data.abilities import load_recipe
from cascade_rl.data.heldout import gather_benchmarks
from cascade_rl.errors import InputError
from cascade_rl.model.tokenizer import Tokenizer, load_tokenizer
from cascade_rl.scores.statistics import wilson
from cascade_rl.types import Problem

BEGUN = "Answer: \\boxed{"
LETTERS = "ABCD"


def questions() -> tuple[Problem, ...]:
    """The fixed sample, in the benchmark's mode."""
    [mmlu] = [held for held in gather_benchmarks(load_recipe("smollm2-evening")) if held.spec.name == "mmlu"]
    return mmlu.problems


def letter_ids(tokenizer: Tokenizer) -> list[int]:
    """The token of each letter behind the begun answer; InputError where one of them is no token there."""
    begun = tokenizer.encode(BEGUN)
    found = [tokenizer.encode(BEGUN + each) for each in LETTERS]
    if any(ids[:-1] != begun for ids in found):
        raise InputError("this tokenizer joins a letter with what stands before it")
    return [ids[-1] for ids in found]


def letter(model: torch.nn.Module, tokenizer: Tokenizer, ids: Sequence[int], problem: Problem) -> str:
    """The likeliest of the four letters behind the begun answer."""
    begun = tokenizer.encode(tokenizer.asked(problem) + BEGUN)
    with torch.inference_mode():
        logits = model(torch.tensor([begun])).logits[0, -1, list(ids)]
    return LETTERS[int(logits.argmax())]


def right(folder: Path, asked: Sequence[Problem]) -> tuple[int, dict[str, int]]:
    """How many letters are right, and how often each was the likeliest."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(folder)
    ids = letter_ids(tokenizer)
    found = [letter(model, tokenizer, ids, problem) for problem in asked]
    count = sum(one == problem.answer["answer"] for one, problem in zip(found, asked, strict=True))
    return count, {each: found.count(each) for each in LETTERS}


def main() -> None:
    """Read the command line, print a line for each checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", type=Path)
    given = parser.parse_args()
    try:
        asked = questions()
        for folder in given.checkpoints:
            start = time.monotonic()
            count, letters = right(folder, asked)
            low, high = wilson(count, len(asked))
            share = 100 * count / len(asked)
            spread = " ".join(f"{each} {n}" for each, n in letters.items())
            took = time.monotonic() - start
            print(f"{folder}: {share:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {spread}, {took:.0f} s")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
