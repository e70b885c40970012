"""The engine beside TRL and beside the limit of the machine: `make bench` prints a table and writes bench/out/summary.json.

Each number comes from a process of its own, one after the other, so that none sees another's memory or threads.
`--quick` leaves out the 135M model and takes one step each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
TINY, SMALL = "tiny", "smollm2-135m"


def _most() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _entry(pipe, function: Callable, arguments: tuple) -> None:
    import transformers  # noqa: F401
    import work  # noqa: F401

    before = _most()  # Python, torch and their libraries
    value = function(*arguments)
    pipe.send((value, _most() - before))


def alone(function: Callable, *arguments: Any, within: float | None = None) -> tuple[Any, int]:
    """What a function gives in a process of its own, and how many bytes it took on top of what is imported.

    Raises TimeoutError, and ends the process, if it takes more than `within` seconds.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_entry, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(within):
            process.kill()
            raise TimeoutError(f"not over after {within:.0f} s")
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__}{arguments} died; see above") from None
    finally:
        process.join()


def patience(ours: float, steps: int) -> float:
    """Seconds that a peer gets for warm steps and measured ones, of which ours takes so many each.

    Its routes are sometimes a hundred times slower than its others on a processor; nobody waits for those.
    """
    return 180 + 15 * ours * (steps + 2)


def compare(name: str, ours: float, peer: float, unit: str) -> dict[str, Any]:
    """One comparison; the ratio is above 1 where we are better."""
    ratio = ours / peer if unit == "tokens/s" else peer / ours
    return {"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio}


def our_step(case, steps: int) -> dict[str, float]:
    from work import median_step

    return median_step(case, steps)


def our_sft(case, steps: int, batch: int, longest: int) -> float:
    from work import Ours

    ours = Ours(case)
    try:
        return ours.sft_tokens_per_s(steps, batch, longest)
    finally:
        ours.close()


def peer_step(case, steps: int) -> float:
    from peer import rl_step_s

    return rl_step_s(case, steps)


def peer_sft(case, steps: int, batch: int, longest: int) -> float:
    from peer import sft_tokens_per_s

    return sft_tokens_per_s(case, steps, batch, longest)


def bounds(case) -> dict[str, float]:
    """Seconds that the phases of a step take at least, from rates measured in all workers at once."""
    from work import Ours, least

    ours = Ours(case)
    try:
        found, peaks = least(ours)
    finally:
        ours.close()
    return found | {
        "memory": memory_bound(ours, ours.prompt_lengths()),
        "gflops": peaks.flops / 1e9, "head_gflops": peaks.head_flops / 1e9, "gbytes_per_s": peaks.bytes / 1e9,
    }  # fmt: skip


def memory_bound(ours, prompts: list[int]) -> float:
    """Bytes of the driver: weights, gradient, moments, the copy that computes, and the cache or a micro-batch at its peak."""
    from cascade_rl.model.activations import activation_bytes
    from cascade_rl.model.cost import matrix_parameters
    from cascade_rl.train.batch import Row, microbatches, pack_rows

    config, case, element = ours.config, ours.case, ours.replicas.dtype.itemsize
    layers, head = matrix_parameters(config)
    numbers = layers + head * (1 if config.tied else 2)
    slots = -(-len(prompts) // case.workers) * case.rollouts
    columns, share = max(prompts) + case.tokens, prompts[:: case.workers]
    cache = 2.0 * config.layers * config.kv_heads * config.head_dim * element * slots * columns
    rows = [
        Row.of([i] * p, [1] * case.tokens, 1.0) for i, p in enumerate(share) for _ in range(case.rollouts)
    ]
    first = [rows[i] for i in microbatches(rows, case.microbatch)[0]]
    most = activation_bytes(config, pack_rows(first, ours.replicas.device).packed, element, None)
    return numbers * (8 + 8 / case.workers + (element if element < 4 else 0)) + max(cache, most)


def against_peer(cases, steps: int) -> list[dict[str, Any]]:
    """RL steps and SFT of each model, beside TRL: with the same products, and each with its fastest."""
    found = []
    for case in cases:
        whole = replace(case, precision="fp32")
        ours = {each.precision: alone(our_step, each, steps)[0]["step_s"] for each in (case, whole)}
        variants = (case, whole, replace(case, precision="fp32-onednn"))
        peer = peer_steps(variants, steps, max(ours.values()))
        pairs = [
            ("bf16", ours["bf16"], peer.get("bf16")),
            (
                "fp32 (TRL: the faster of two routes)",
                ours["fp32"],
                min((peer[p] for p in ("fp32", "fp32-onednn") if p in peer), default=None),
            ),
            ("each at its best", min(ours.values()), min(peer.values(), default=None)),
        ]
        # against a route that was given up there is nothing to say
        found += [compare(f"RL step, {case.model}, {label}", a, b, "s") for label, a, b in pairs if b]
        batch, longest = (32, 256) if case.model == TINY else (16, 512)
        rates = [alone(each, case, 3 * steps, batch, longest)[0] for each in (our_sft, peer_sft)]
        found.append(compare(f"SFT, {case.model}, {case.precision}, packed", *rates, "tokens/s"))
    return found


def peer_steps(variants, steps: int, ours: float) -> dict[str, float]:
    """Seconds of TRL's step by the precision of its products, of those that end within `patience`."""
    found: dict[str, float] = {}
    for each in variants:
        label = f"# TRL's RL step, {each.model}, {each.precision}"
        try:
            found[each.precision] = alone(peer_step, each, steps, within=patience(ours, steps))[0]
            print(f"{label}: {found[each.precision]:.2f} s", flush=True)
        except TimeoutError as error:
            print(f"{label}: given up, {error}", flush=True)
    return found


def against_limit(cases, steps: int) -> list[dict[str, Any]]:
    """Each phase beside its lower bound: `peer` is the limit, the ratio the fraction of it that we reach."""
    found = []
    for case in cases:
        (measured, memory), (least, _) = alone(our_step, case, steps), alone(bounds, case)
        label = f"{case.model}, {case.rollouts} rollouts, {case.tokens} tokens"
        for phase in ("update", "rollout"):
            found.append(
                compare(
                    f"{phase} beside its bound, {label}", measured[f"{phase}_s"], least[f"{phase}_s"], "s"
                )
            )
        found.append(
            compare(
                f"driver's memory beside what is predicted, {label}",
                memory / 1e9,
                least["memory"] / 1e9,
                "GB",
            )
        )
        print(f"# {label}: {least['gflops']:.0f} GFLOP/s, fp32 head {least['head_gflops']:.0f}, "
              f"{least['gbytes_per_s']:.1f} GB/s in all", flush=True)  # fmt: skip
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """As people read it."""
    lines = [f"{'':64s} {'ours':>10s} {'peer':>10s} {'unit':>9s} {'ratio':>6s}"]
    lines += [
        f"{r['name']:64s} {r['ours']:10.3g} {r['peer']:10.3g} {r['unit']:>9s} {r['ratio']:6.2f}" for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for."""
    sys.path.insert(0, str(Path(__file__).parent))
    from work import Case

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("peer", "limit", "growth"))
    parser.add_argument("--model", choices=(TINY, SMALL))
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    models = [options.model] if options.model else [TINY] if options.quick else [TINY, SMALL]
    steps = 1 if options.quick else options.steps
    cases = [Case(model) for model in models]
    found: list[dict[str, Any]] = []
    if options.only in (None, "peer"):
        found += against_peer(cases, steps)
    if options.only in (None, "limit"):
        found += against_limit(cases, steps)
    if options.only in (None, "growth") and not options.quick:
        grown = [replace(case, rollouts=n) for case in cases for n in (16, 32)]
        grown += [replace(case, tokens=n, prompts=2) for case in cases for n in (256, 1024)]
        found += against_limit(grown, 1)
    OUT.mkdir(exist_ok=True)
    (OUT / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    ratios = [r["ratio"] for r in found]
    print(
        f"median ratio {statistics.median(ratios):.2f} over {len(ratios)} comparisons; wrote {OUT / 'summary.json'}"
    )


if __name__ == "__main__":
    main()
