"""What a plan says beside what others published and what our own runs took: `python bench/plan_checks.py [RUN ...]`.

Three tables without a run: verification (the reports' pools of verifiers), trainers (tokens a second against the MFU
that is stated of them) and steps (NeMo-RL's). For each run directory a fourth: predicted beside measured by stage and
phase, from the recipe alone and, with --like ANOTHER, after another run. Each row says what was put in and what came
out.

    python bench/plan_checks.py runs/tiny --like runs/tiny-before
    cascade run bench/plan_smollm2.yaml && python bench/plan_checks.py runs/plan-smollm2
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cascade_rl.model.cost import decode_work, prefill_work, update_work
from cascade_rl.plan.expected import ASSUMED, Expected
from cascade_rl.plan.hardware import HARDWARE, Hardware
from cascade_rl.plan.lengths import near_mean, usual
from cascade_rl.plan.like import Like
from cascade_rl.plan.measured import MeasuredRun, read_measured
from cascade_rl.plan.phases import EVALUATION
from cascade_rl.plan.published import CASCADE_ASYNCHRONOUS, GRADED, STEPPED, TRAINED, Stepped, Trained
from cascade_rl.plan.shapes import Shape, shape_of
from cascade_rl.plan.shapes import public as public_shape
from cascade_rl.plan.stage_plan import setting_of
from cascade_rl.plan.step_time import GRADING, REWARD, ROLLOUT, UPDATE, forward_work, verl_rates
from cascade_rl.plan.total import Plan, make_plan
from cascade_rl.plan.verification import (
    Verification,
    alike,
    exponential,
    finishes,
    mixed,
    verdicts,
    verification,
)
from cascade_rl.recipe.reading import read_recipe
from cascade_rl.recipe.verl import Verl

CODE_LIMIT, CODE_PROMPT = 45056, 512  # tokens: 44K, code RL of the report's 8B model; its prompts are assumed
LLAMA = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False,
}  # fmt: skip


def public(name: str) -> Shape:
    """A public shape; Llama-3.1-8B is in no recipe of ours and so in no table of the plan."""
    return shape_of(LLAMA, name, "its config.json") if name.startswith("Llama") else public_shape(name)


# Verification


def fitted(name: str) -> float:
    """Seconds of a process for one verdict, all alike, that make a published batch take as long as it did."""
    row = next(row for row in GRADED if row.name == name)
    return row.seconds / max(verdicts([0.0] * row.verdicts, alike(1.0, row.verdicts), row.workers))


def predicted(name: str, service: float, *, varied: bool = False) -> float:
    """Seconds of a published batch if a verdict takes `service` seconds of a process; `varied`: in the mean."""
    row = next(row for row in GRADED if row.name == name)
    each = (exponential if varied else alike)(service, row.verdicts)
    return max(verdicts([0.0] * row.verdicts, each, row.workers))


def overlapped(decoding: float, service: float) -> Verification:
    """The report's batch of code RL, its 1,024 replies decoded side by side in `decoding` seconds, 64 processes."""
    lengths = mixed(usual("coding", CODE_LIMIT).lengths(1024))
    return verification(finishes(lengths, 1024, decoding / CODE_LIMIT), alike(service, 1024), 64)


def decoding_for(waited: float, service: float) -> float:
    """How long decoding must last so that so much is still waited for after it."""
    low, high = 0.0, 20_000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if overlapped(middle, service).asynchronous > waited else (low, middle)
    return (low + high) / 2


def decoding_limit(gpus: int = 64) -> float:
    """The least seconds in which the cost model decodes that batch with Qwen3-8B on so many H100."""
    replies = mixed(usual("coding", CODE_LIMIT).lengths(1024))
    own = sorted(replies, reverse=True)[::gpus]
    rates = verl_rates(HARDWARE["h100"], gpus, Verl())
    shape = public("Qwen3-8B")
    before = prefill_work(shape, [CODE_PROMPT] * len(own), 2)
    after = decode_work(shape, [CODE_PROMPT] * len(own), own, len(own), 2)
    return before.seconds(rates.sampler) + after.seconds(rates.sampler)


def verification_rows() -> Iterator[tuple[str, ...]]:
    """What, published, by the model, and what of it was put in."""
    service = fitted("Cascade, synchronous")
    pool, wide = GRADED[1], GRADED[2]
    put_in = f"put in: {service:.1f} s a verdict on {pool.workers} processes (AceReason's pool, assumed)"
    yield pool.name, f"{pool.seconds:.1f}", f"{predicted(pool.name, service):.1f}", put_in
    found = predicted(wide.name, service)
    yield (
        wide.name,
        f"{wide.seconds:.1f}",
        f"{found:.1f}",
        f"came out ({found / wide.seconds - 1:+.0%}), nothing put in",
    )
    found = predicted(wide.name, service, varied=True)
    yield "", "", f"{found:.1f}", "came out if verdicts were exponential: excluded, so they are about alike"
    decoding = decoding_for(CASCADE_ASYNCHRONOUS, service)
    words = (
        f"put in: decoding of {decoding:,.0f} s, {usual('coding', CODE_LIMIT).clipped:.0%} of the replies cut"
    )
    yield (
        "Cascade, asynchronous",
        f"{CASCADE_ASYNCHRONOUS}",
        f"{overlapped(decoding, service).asynchronous:.1f}",
        words,
    )
    limit = decoding_limit()
    words = f"came out: {limit / decoding:.0%} of the limit of 64 H100 ({limit:.0f} s)"
    yield "its decoding", "not given", f"{decoding:,.0f}", words
    enough = overlapped(decoding, service).wanted
    yield "its processes", "not given", f"{enough}", "came out: as many keep up with that decoding"


# Trainers and steps


def mfu(row: Trained) -> float:
    """The MFU that our count of operations makes of a trainer's tokens a second."""
    work = update_work(public(row.model), [(0, (row.length,))])
    flops = work.flops + work.head_flops
    # an adapter needs no gradient of the weights: two of three products; the head's is counted as well
    share = 2 / 3 if row.lora else 1.0
    return share * flops / row.length * row.tokens_per_s / row.gpus / HARDWARE[row.hardware].flops


def step_bound(row: Stepped) -> tuple[float, float]:
    """The least seconds of sampling, and of what computes, of a published step."""
    shape, hardware = public(row.model), HARDWARE[row.hardware]
    rates = verl_rates(hardware, row.gpus, Verl(tensor_parallel=1))
    replies = mixed(near_mean(row.limit, row.mean, 0.01, "").lengths(row.prompts * row.rollouts))
    own = replies[:: row.gpus]
    prompts = [row.prompt] * len(own)
    sampled = prefill_work(shape, prompts[:: row.rollouts], 2).seconds(rates.sampler)
    sampled += decode_work(shape, prompts, own, len(own), 2).seconds(rates.sampler)
    trees = [(0, (row.prompt + reply,)) for reply in replies]
    computed = update_work(shape, trees).seconds(rates.trainers)
    return sampled, computed + row.passes * forward_work(shape, trees).seconds(rates.trainers)


def step_rows() -> Iterator[tuple[str, ...]]:
    """Each row by the share of the limit that all other rows reach together, and by the MFU of other trainers."""
    bounds = {row: sum(step_bound(row)) for row in STEPPED}
    for row in STEPPED:
        others = [other for other in STEPPED if other is not row]
        share = math.fsum(bounds[o] for o in others) / math.fsum(o.seconds for o in others)
        found = bounds[row] / share
        name = f"{row.engine}, {row.model}, {row.gpus} x {row.hardware}"
        words = f"came out ({found / row.seconds - 1:+.0%}) of {share:.0%}, the share of the others"
        yield name, f"{row.seconds:.1f}", f"{found:.1f}", f"{words}; limit {bounds[row]:.1f}"


# Our own runs

PARTS = {ROLLOUT: "rollout", GRADING: "grading", REWARD: "grading", UPDATE: "update"}


def plan_of(run: MeasuredRun, folder: Path, known: Expected | None) -> Plan:
    """The plan of a run's recipe, on the rates that the run measured itself when it began."""
    recipe = read_recipe(str(folder / "recipe.yaml"), [])
    rates, workers = run.peaks, int(run.peaks["workers"])
    here = Hardware("here", rates["flops"], rates["flops"], rates["bytes"], 2**34, 16.0, 1, rates["bytes"], 0.0, workers,
                    2**34, "the run's own probe", "cpu", rates["head_flops"], int(rates.get("cache", 0)))  # fmt: skip
    return make_plan(recipe, setting_of(recipe, here, None), None, known or ASSUMED)


def seconds_by_phase(plan: Plan) -> dict[tuple[str, str], float]:
    """(stage, phase as a run names it) to seconds."""
    found: dict[tuple[str, str], float] = {}
    for each in plan.phases:
        for part, seconds in each.time.seconds.items():
            name = EVALUATION if each.phase.kind == EVALUATION else PARTS[part]
            key = (each.phase.stage, name)
            found[key] = found.get(key, 0.0) + seconds * each.phase.steps
    return found


def run_rows(run: MeasuredRun, plans: Mapping[str, Plan]) -> Iterator[tuple[str, ...]]:
    """Stage, phase, measured, and predicted with its ratio by each plan; phases under a tenth of a second are noise."""
    found = {name: seconds_by_phase(plan) for name, plan in plans.items()}
    totals: dict[str, float] = {}
    for stage in run.run.stages:
        for phase in ("rollout", "update", "grading", "evaluation"):
            took = stage.seconds.get(phase, 0.0)
            if took < 0.1:
                continue
            totals[phase] = totals.get(phase, 0.0) + took
            yield (
                stage.name,
                phase,
                f"{took:.1f}",
                *_beside(took, [by.get((stage.name, phase), 0.0) for by in found.values()]),
            )
    for phase, took in totals.items():
        sums = [math.fsum(value for (_, name), value in by.items() if name == phase) for by in found.values()]
        yield "all stages", phase, f"{took:.1f}", *_beside(took, sums)
    whole = math.fsum(run.run.matrix.seconds.values())
    yield (
        "all stages",
        "with the rest",
        f"{whole:.1f}",
        *_beside(whole, [plan.seconds for plan in plans.values()]),
    )


def _beside(took: float, predicted: list[float]) -> list[str]:
    return [f"{value:.1f} ({value / took:.2f})" if took else "" for value in predicted]


def _table(title: str, head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", nargs="*", type=Path, help="run directories")
    parser.add_argument("--like", type=Path, help="another run of the same recipe, to predict these by")
    asked = parser.parse_args()
    _table("Verification", ("batch", "published, s", "model, s", "what"), verification_rows())
    trained = ((f"{r.model}, {r.gpus} x {r.hardware}, {r.length:,} tokens{', LoRA' * r.lora}", f"{r.tokens_per_s:,.0f}",
                f"{r.mfu:.1%}", f"{mfu(r):.1%}") for r in TRAINED)  # fmt: skip
    _table(
        "Trainers: the count of operations", ("case", "tokens/s", "MFU stated", "MFU by our count"), trained
    )
    _table("Steps, each by the others' share", ("case", "published, s", "predicted, s", "how"), step_rows())
    for folder in asked.runs:
        run = read_measured(folder)
        recipe = read_recipe(str(folder / "recipe.yaml"), [])
        plans = {"recipe alone": plan_of(run, folder, None)}
        if asked.like:
            other = read_measured(asked.like)
            plans[f"after {asked.like.name}"] = plan_of(run, folder, Like(other, recipe))
        plans["its own lengths and speed"] = plan_of(run, folder, Like(run, recipe))
        head = ("stage", "phase", "measured, s", *(f"{name}, s (ratio)" for name in plans))
        _table(f"{folder.name}: {run.machine}", head, run_rows(run, plans))


if __name__ == "__main__":
    main()
