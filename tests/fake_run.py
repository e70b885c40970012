"""A synthetic run directory, exactly as docs/runs.md describes it, and a reader of pages.

For the tests of the report. The scores are those that arXiv 2512.13607 gives for its 8B model, so that the
page shows a plausible matrix.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import yaml

STAGES = ("sft-1", "sft-2", "reward-model", "rlhf", "if-rl", "math-rl", "code-rl", "swe-rl")
SCORED = tuple(name for name in STAGES if name != "reward-model")
MEANS = {
    "knowledge": (0.700, 0.744, 0.778, 0.745, 0.750, 0.753, 0.757),
    "alignment": (0.610, 0.700, 0.901, 0.880, 0.870, 0.878, 0.879),
    "following": (0.640, 0.708, 0.501, 0.904, 0.921, 0.907, 0.902),
    "maths": (0.590, 0.728, 0.750, 0.752, 0.819, 0.805, 0.801),
    "coding": (0.480, 0.592, 0.702, 0.702, 0.706, 0.753, 0.743),
    "repair": (0.180, 0.261, 0.282, 0.283, 0.306, 0.316, 0.372),
}
OWN = {"alignment": "rlhf", "following": "if-rl", "maths": "math-rl", "coding": "code-rl", "repair": "swe-rl"}
DOMAINS = {
    "rlhf": ("alignment",),
    "if-rl": ("following", "alignment"),
    "math-rl": ("maths",),
    "code-rl": ("coding",),
    "swe-rl": ("repair",),
}
HEADLINE = {"following": "instruct"}
N, K = 240, 4
MODEL = {"init": "scratch", "architecture": {"hidden_size": 192, "num_hidden_layers": 4}}
VOID = {"meta", "br", "img", "input", "link", "hr", "wbr"}
PEAKS = {"flops": 400e9, "head_flops": 100e9, "bytes": 20e9, "workers": 2}
WORK = {
    "prefill": {"tokens": 900, "flops": 3e9, "head_flops": 1e8, "bytes": 4e6, "bound_s": 0.0085},
    "decode": {"tokens": 6200, "flops": 20e9, "head_flops": 3e9, "bytes": 1.55e9, "bound_s": 0.08},
    "update": {"tokens": 9000, "flops": 30e9, "head_flops": 2.4e9, "bytes": 0, "bound_s": 0.099},
}
HOSTILE = '<script>alert("x")</script><img src="https://evil.example/x.png" onerror=alert(1)> & </pre>'


def write_json(path: Path, data: Any) -> None:
    """One JSON file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def score(mean: float, n: int = N, k: int = K) -> dict[str, Any]:
    """A score with a plausible interval."""
    half = 1.96 * math.sqrt(max(mean * (1 - mean), 1e-4) / n)
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half), "n": n, "k": k}


def _per_problem(name: str, mean: float) -> dict[str, float]:
    """Scores whose mean is `mean`: the ablest problems are solved, one of them in part, the rest not."""
    ability, luck = random.Random(name), random.Random(f"{name}{mean}")
    marks = sorted((ability.random() + 0.25 * luck.random(), i) for i in range(N))
    left, found = mean * N, {}
    for _, i in marks:
        found[f"{name}-{i:016x}"] = max(0.0, min(1.0, left))
        left -= 1
    return found


def modes(name: str, mean: float) -> dict[str, Any]:
    """Both modes of a benchmark; the headline mode has the mean itself."""
    head = HEADLINE.get(name, "thinking")
    out = {}
    for mode in ("thinking", "instruct"):
        value = mean if mode == head else round(0.8 * mean, 4)
        tokens = 31.2 if mode == "thinking" else 9.5
        out[mode] = {"avg": score(value), "greedy": score(round(value + 0.01, 4), k=1), "clipped": 0.0}
        out[mode] |= {"leak": 0.01 if mode == "thinking" else 0.0, "mean_tokens": tokens}
    return out


def matrix(stages: Iterable[str] = SCORED) -> dict[str, Any]:
    """matrix.json for the given scored stages."""
    chosen = [s for s in SCORED if s in set(stages)]
    rows = {}
    for name, means in MEANS.items():
        by_stage = {stage: means[SCORED.index(stage)] for stage in chosen}
        rows[name] = {
            "own_stage": OWN.get(name),
            "headline": HEADLINE.get(name, "thinking"),
            "scores": {stage: score(mean) for stage, mean in by_stage.items()},
            "modes": {stage: modes(name, mean) for stage, mean in by_stage.items()},
        }
    return {
        "stages": chosen,
        "benchmarks": rows,
        "seconds": {s: 31.0 + 1.5 * i for i, s in enumerate(chosen)},
    }


def scorecard(stage: str) -> dict[str, Any]:
    """scorecard.json after a stage."""
    cards = {}
    for name, means in MEANS.items():
        mean, head = means[SCORED.index(stage)], HEADLINE.get(name, "thinking")
        found = modes(name, mean)
        for numbers in found.values():
            numbers["per_problem"] = _per_problem(name, numbers["avg"]["mean"])
        cards[name] = {"benchmark": name, "headline": head, "modes": found}
    return {"stage": stage, "benchmarks": cards}


def _gate_cell(stage: str, name: str, before: str) -> dict[str, Any]:
    change = MEANS[name][SCORED.index(stage)] - MEANS[name][SCORED.index(before)]
    verdict = "gain" if change > 0.03 else "loss" if change < -0.03 else "same"
    cell = {
        "benchmark": name,
        "before": before,
        "change": change,
        "low": change - 0.03,
        "high": change + 0.03,
    }
    dip = (stage, name) == ("rlhf", "following")
    return cell | {"verdict": verdict, "excuse": "declared dip, to be recovered by if-rl" if dip else ""}


def gate(stage: str) -> dict[str, Any]:
    """gate.json: every benchmark against the best stage so far and against the one before."""
    at = SCORED.index(stage)
    cells = []
    for name, means in MEANS.items() if at else ():
        best = max(range(at), key=lambda i: (means[i], i))
        cells += [_gate_cell(stage, name, SCORED[i]) for i in dict.fromkeys((best, at - 1))]
    passed = not any(cell["verdict"] == "loss" and not cell["excuse"] for cell in cells)
    return {"stage": stage, "passed": passed, "cells": cells, "notes": []}


def step_verdicts(stage: str) -> dict[str, dict[str, Any]]:
    """Benchmark -> the gate's cell against the stage before."""
    before = SCORED[SCORED.index(stage) - 1]
    return {cell["benchmark"]: cell for cell in gate(stage)["cells"] if cell["before"] == before}


def rl_metrics(stage: str, step: int, steps: int) -> dict[str, float]:
    """The metrics of one RL step, with a phase that clips and a step without signal."""
    draw, done = random.Random(f"{stage}{step}"), step / max(1, steps - 1)
    mixed = 0.0 if step == 5 else 0.55 + 0.2 * draw.random()
    metrics = {
        "reward": 0.35 + 0.4 * done + 0.06 * draw.gauss(0, 1),
        "reward_std": 0.3 - 0.1 * done,
        "length": 22 + 9 * done + draw.random(),
        "clipped": max(0.0, 0.36 - 0.5 * done),
        "entropy": 0.62 - 0.3 * done + 0.03 * draw.random(),
        "grad_norm": 0.0 if step == 5 else 0.4 + 0.3 * draw.random(),
        "lr": 2e-4,
        "loss": 0.002 * draw.gauss(0, 1),
        "signal": mixed,
        "solved_all": (1 - mixed) * done,
        "solved_none": (1 - mixed) * (1 - done),
        "failed": 0.0,
        "timeout": 0.01,
        "unparseable": 0.1 * (1 - done),
        "tokens": 4100.0,
        "leak": 0.02 * (1 - done),
        "update_ratio": 0.002 * (1.1 - done),
        "ess": 0.97 - 0.02 * draw.random(),
    }
    for domain in DOMAINS[stage]:
        metrics[f"reward/{domain}"] = metrics["reward"] + (0.1 if domain == "alignment" else -0.1)
        metrics[f"signal/{domain}"] = mixed * (0.8 if domain == "alignment" else 1.0)
    return metrics


def metrics_of(stage: str, step: int, steps: int) -> dict[str, float]:
    """The metrics of one step of any stage."""
    if stage in DOMAINS:
        return rl_metrics(stage, step, steps)
    draw = random.Random(f"{stage}{step}")
    loss = 0.3 + 3.2 * math.exp(-6 * step / steps) + 0.05 * draw.random()
    found = {
        "loss": loss,
        "tokens": 8192.0,
        "grad_norm": 0.8 + draw.random(),
        "lr": 1e-3 * (1 - step / steps),
    }
    found["update_ratio"] = 0.01 * (1.1 - step / steps)
    return found | (
        {"accuracy": 1 - 0.5 * loss / 3.6, "margin": 2 - loss / 2} if stage == "reward-model" else {}
    )


def journal(stage: str, steps: int) -> list[dict[str, Any]]:
    """journal.jsonl with two phases and a note."""
    rows = []
    for step in range(steps):
        phase = "" if stage not in DOMAINS else "24 tokens" if step < steps // 2 else "40 tokens"
        rows.append({"kind": "step", "step": step, "phase": phase, "metrics": metrics_of(stage, step, steps)})
    note = {"kind": "note", "step": steps // 2, "text": "length limit 24 -> 40: clipped share under 10 %"}
    return [*rows, note] if stage in DOMAINS else rows


def sample(stage: str, step: int, index: int, domain: str, reply: str | None = None) -> dict[str, Any]:
    """One rollout; the later it is, the better."""
    right, thinking = step > 0, domain != "following"
    answer = r"\boxed{42}" if right else r"\boxed{41}"
    thought = f"<think>\n17 + 25: 7 + 5 = 12, carry 1; 1 + 2 + 1 = 4. So {42 if right else 41}.\n</think>\n\n"
    return {
        "step": step,
        "problem": f"{domain}-{index:016x}",
        "domain": domain,
        "mode": "thinking" if thinking else "instruct",
        "prompt": f"What is 17 + 25? ({stage} {index})",
        "reply": reply or (thought + answer if thinking else answer),
        "reward": 1.0 if right else 0.0,
        "outcome": "right" if right else "wrong",
        "note": "42 equals 42" if right else "41 is not 42",
        "tokens": 31,
        "stop": "end",
    }


def samples(stage: str, steps: int) -> list[dict[str, Any]]:
    """The rollouts of the first and the last step."""
    ends = ((0, i) for i in range(3)), ((steps - 1, i) for i in range(3))
    return [sample(stage, step, i, domain) for end in ends for step, i in end for domain in DOMAINS[stage]]


KINDS = {"reward-model": "reward_model"}  # of the stages without a domain, where it is not SFT


def _description(stage: str, parent: str | None, steps: int) -> dict[str, Any]:
    settings = {
        "name": stage,
        "kind": "rl" if stage in DOMAINS else KINDS.get(stage, "sft"),
        "steps": steps,
        "lr": 2e-4,
        "n": 8,
    }
    settings["sampling"] = {"temperature": 1.0, "top_p": 0.95, "max_new_tokens": 40}
    line = {
        "run": "tiny",
        "seed": 0,
        "parent": parent or "base",
        "incoming_weights": "9f2c" * 8,
        "checkpoint": f"stages/{stage}/checkpoint",
        "weights": "51ab" * 8,
    }
    return {
        "stage": stage,
        "kind": settings["kind"],
        "key": "c0ffee12" * 2,
        "settings": settings,
        "carried": "weights only; fresh optimiser, counters and generators",
        "sandbox": "full",
        "data": [f"{domain}: 64 problems" for domain in DOMAINS.get(stage, ())],
        "lineage": line,
    }


def timings(stage: str, steps: int, scored: bool) -> list[dict[str, Any]]:
    """timings.jsonl: the machine, the steps, a save, and the evaluation if there was one."""
    seconds = {"rollout": 0.31, "grading": 0.02, "update": 0.18}
    counts = [{"programs": 8, "program_timeouts": i % 2, "verifier_crashes": 0} for i in range(steps)]
    if stage in DOMAINS:
        clock = [{"step": i, "seconds": seconds, "work": WORK, "counts": counts[i]} for i in range(steps)]
    else:
        work = {"update": WORK["update"]}
        clock = [{"step": i, "seconds": {"update": 0.4}, "work": work} for i in range(steps)]
    end = [{"step": steps, "seconds": {"save": 0.05}}]
    end += [{"step": steps, "seconds": {"evaluation": 9.1}}] if scored else []
    return [{"step": 0, "seconds": {}, "peaks": PEAKS}, *clock, *end]


def write_stage(root: Path, stage: str, *, steps: int = 40, finished: bool = True) -> Path:
    """One stage folder; an unfinished one has no scorecard, gate or ledger entry."""
    at = STAGES.index(stage)
    here = root / "stages" / f"{at + 1:02d}-{stage}"
    parent = f"stages/{at:02d}-{STAGES[at - 1]}/checkpoint" if at else None
    write_json(here / "stage.json", _description(stage, parent, 40))
    write_lines(here / "journal.jsonl", journal(stage, steps))
    scored = finished and stage in SCORED
    write_lines(here / "timings.jsonl", timings(stage, steps, scored))
    if stage in DOMAINS:
        bad = {"maths-00000000000000aa": "the gold answer earns no reward"}
        domains = [
            {"domain": domain, "tried": 64, "quarantined": bad, "without_gold": 0}
            for domain in DOMAINS[stage]
        ]
        disjoint = "prompts of SFT, of each RL stage and of the benchmarks are disjoint"
        write_json(here / "preflight.json", {"domains": domains, "disjoint": disjoint})
        write_lines(here / "samples.jsonl", samples(stage, steps))
    if scored:
        card = scorecard(stage)
        write_json(here / "scorecard.json", card)
        for name, entry in card["benchmarks"].items():
            write_json(here / "eval" / f"{name}.json", entry)
        write_json(here / "gate.json", gate(stage))
    return here


def build_run(
    root: Path, *, stages: Iterable[str] = STAGES, running: str | None = None, steps: int = 40
) -> Path:
    """A run directory with the given stages finished, and one in progress if `running` names it."""
    done = [s for s in STAGES if s in set(stages)]
    root.mkdir(parents=True, exist_ok=True)
    recipe = {"name": "tiny", "seed": 0, "model": MODEL}
    recipe["stages"] = [{"name": name, "steps": 40} for name in STAGES]
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    for name in done:
        write_stage(root, name, steps=steps)
    if running:
        write_stage(root, running, steps=7, finished=False)
    if any(name in SCORED for name in done):
        write_json(root / "matrix.json", matrix(done))
    entries = [
        {
            "stage": name,
            "key": "ab" * 8,
            "checkpoint": f"stages/{STAGES.index(name) + 1:02d}-{name}/checkpoint",
        }
        for name in done
    ]
    write_json(root / "ledger.json", {"stages": entries})
    return root


class Page(HTMLParser):
    """Collects elements with their attributes and text, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: dict[int, list[str]] = {}
        self.stack: list[tuple[str, int]] = []
        self.feed(text)
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.stack.append((tag, len(self.elements) - 1))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.stack.pop()
        assert opened == tag, f"{opened} closed by {tag}"

    def handle_data(self, data: str) -> None:
        for _, index in self.stack:
            self.words.setdefault(index, []).append(data)

    def find(self, css: str = "", **attributes: str) -> list[tuple[dict[str, str], str]]:
        """(attributes, text) of the elements that have the class and the attributes."""
        found = []
        for index, (_, attrs) in enumerate(self.elements):
            wanted = all(attrs.get(key.replace("_", "-")) == value for key, value in attributes.items())
            if wanted and (not css or css in attrs.get("class", "").split()):
                found.append((attrs, "".join(self.words.get(index, []))))
        return found
