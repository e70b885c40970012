"""Why a start of verl ended: what its console, its exit code and its metrics say, in a few words."""

from __future__ import annotations

import re
import signal
from itertools import pairwise
from pathlib import Path

LAST_LINES = 12  # of the console that an error shows
TAIL_BYTES = 64_000  # Ray repeats each worker's traceback; the cause stands in the last one
MOST_COLUMNS = 200

# What a console says of a cause, with what to do; the first that fits counts. Each was read in the source of
# verl 0.9.1, torch, vLLM or Ray, or in a public issue.
CAUSES = (
    (
        r"OutOfMemoryError|CUDA out of memory|HIP out of memory",
        "a GPU's memory is full: lower verl.memory, turn verl.offload on, raise sequence_parallel, or take "
        "more GPUs",
    ),
    (
        r"No available memory for the cache blocks|No available memory for KV cache",
        "the sampler has no room for its cache: raise verl.memory or tensor_parallel",
    ),
    (
        r"Task was killed due to the node running low on memory|ray\.exceptions\.OutOfMemoryError|oom-kill",
        "the machine's memory is full: lower the number of GPUs a machine, or turn verl.offload off",
    ),
    (
        r"probability tensor contains either `?inf`?|grad_norm is not finite|loss is (nan|NaN)",
        "numbers were no longer finite (NaN): lower the learning rate",
    ),
    (
        r"response_mask must contain at least one valid token",
        "every reply of a step was masked or had no verdict: raise max_response_tokens, or set overlong: "
        "zero",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full: make room"),
    (
        r"NCCL error|ncclSystemError|ncclRemoteError|Watchdog caught collective operation timeout",
        "the GPUs could not talk to each other (NCCL): look at the network between the machines",
    ),
    (
        r"ConfigCompositionException|Could not override|hydra\.errors|ConfigAttributeError|ConfigKeyError",
        "verl refused the configuration: `cascade verl check` names every problem",
    ),
    (r"ModuleNotFoundError|ImportError", "verl's environment lacks a package: install verl[vllm,fsdp] in it"),
    (
        r"Total available GPUs .* is less than total desired GPUs|The current node timed out during startup",
        "the cluster has fewer GPUs than the recipe's nodes x gpus_per_node",
    ),
    (r"ConnectionError: Could not find any running Ray|Failed to connect to Ray", "no Ray at RAY_ADDRESS"),
    (r"actor died unexpectedly|ActorDiedError|NodeDiedError|worker died", "a worker of Ray died"),
)
# lines that say nothing of a cause: progress bars, warnings, empty frames
NOISE = re.compile(
    r"^\s*$|it/s\]|s/it\]|Training Progress|^\s*[\^~]+\s*$|FutureWarning|UserWarning|repeated \d+x"
)
# what stands between the exceptions of a chain
CHAINED = ("During handling of the above", "The above exception was the direct cause")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def tail(console: Path, lines: int = LAST_LINES) -> list[str]:
    """The last lines of a console that mean something; none if it printed nothing."""
    if not console.is_file():
        return []
    with console.open("rb") as file:
        file.seek(max(0, console.stat().st_size - TAIL_BYTES))
        text = ESCAPES.sub("", file.read().decode("utf-8", "replace"))
    # a progress bar overwrites its line: what was last in it counts
    kept = [line.rpartition("\r")[2].rstrip() for line in text.splitlines() if line.strip()]
    kept = [line[:MOST_COLUMNS] for line in kept if not NOISE.search(line)]
    return kept[-lines:]


# what the next start would meet again, word for word
FINAL = re.compile(r"ConfigCompositionException|Could not override|ConfigAttributeError|ModuleNotFoundError")


def is_final(console: Path) -> bool:
    """Whether another start can only end alike."""
    return bool(FINAL.search("\n".join(tail(console, 400))))


def reason(console: Path, code: int | None) -> str:
    """Why an attempt ended, in a line: how (`code`, None if nobody saw it), and what its console says."""
    text = "\n".join(tail(console, 400))
    cause = next((told for pattern, told in CAUSES if re.search(pattern, text)), None)
    return f"{ended(code)}; {cause or _exception(text) or 'its console names no error'}"


def _exception(text: str) -> str:
    """The exception that ended a program; empty where its console has none."""
    errors = [line.strip() for line in text.splitlines() if re.search(r"\b\w*(Error|Exception)\b.*:", line)]
    if not errors:
        return ""
    # the last that stands in it: the exception itself, below its traceback
    if "ChildFailedError" not in errors[-1]:
        return errors[-1]
    return _first_of_ranks(text) or errors[-1]


def _first_of_ranks(text: str) -> str:
    """The exception that the first rank to fail ended with: torchrun's own says only that one did.

    What stands after it is of ranks that lost that one; of a chain of exceptions the last is meant.
    """
    lines = [re.sub(r"^\[rank\d+\]: ?", "", line) for line in text.splitlines()]
    for line, follows in pairwise([*lines, ""]):
        ends = re.match(r"[\w.]*(Error|Exception)\b.*:", line) and "ChildFailedError" not in line
        if ends and not follows.startswith(CHAINED):
            return line.strip()
    return ""


def ended(code: int | None) -> str:
    """How a process ended."""
    if code is None:
        return "ended unseen"
    # a shell in between says a signal as 128 + its number
    number = -code if code < 0 else code - 128 if 128 < code < 160 else None
    if number is not None:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        hint = " (often the system's, for want of memory)" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"
    return f"exit code {code}"
