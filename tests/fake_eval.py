"""A folder of results as `cascade eval` writes it: NAME.json, NAME.samples.jsonl, NAME.problems.jsonl."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fake_run import write_json, write_lines

from cascade_rl.scores.as_json import to_json
from cascade_rl.scores.statistics import score
from cascade_rl.types import BenchmarkScore, Mode, ModeScore

SETTINGS = {
    "name": "aime24", "suite": "aime24", "domain": "maths", "source": "package:evalscope/aime.jsonl", "map": None,
    "split": None, "bad_rows": None, "problems": 30, "k": 4, "k_other_mode": None, "mode": "thinking",
    "both_modes": False, "temperature": 0.6, "top_p": 0.95, "min_p": 0.0, "max_prompt_tokens": 2048,
    "max_response_tokens": 32768, "own_stage": None, "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "commit": "12fd25f", "weights": "5ab1", "precision": "bf16", "sampler": "torch", "template": None, "yarn": 2.0,
    "seed": ["evaluation"],
}  # fmt: skip


def drawn(ability: float, n: int, k: int, seed: str, *, first: int = 0) -> dict[str, list[float]]:
    """k right or wrong answers to each of n problems, of which some are harder: equal seeds, equal problems."""
    rows = {}
    for i in range(first, first + n):
        hard, luck = random.Random(f"{seed}/{i}").gauss(0, 0.25), random.Random(f"{seed}/{i}/{ability}")
        rows[f"{seed}-{i:04d}"] = [float(luck.random() < ability - hard) for _ in range(k)]
    return rows


def mode_score(rows: Mapping[str, Sequence[float]], tokens: float = 812.4) -> ModeScore:
    """The numbers of one mode out of the rewards of each problem."""
    average = score(rows)
    means = {name: sum(values) / len(values) for name, values in rows.items()}
    greedy = score({name: [round(value)] for name, value in means.items()})
    return ModeScore(average, greedy, 0.013, 0.021, tokens, means)


def write_result(
    folder: Path,
    name: str,
    rows: Mapping[str, Sequence[float]],
    *,
    settings: Mapping[str, Any] | None = None,
    mode: Mode = Mode.THINKING,
    samples: bool = True,
    text: str = "Compute {} + 1.",
    tokens: float = 812.4,
) -> Path:
    """One benchmark of a folder; `text` is what was asked, of the problem's id."""
    found = BenchmarkScore(mode, {mode: mode_score(rows, tokens)})
    stated = SETTINGS | {"mode": str(mode)} if settings is None else dict(settings)
    beside = {
        "settings": stated,
        "failed": 0,
        "seconds": 93.5,
        "statistics": {},
    }
    write_json(folder / f"{name}.json", to_json(name, found) | beside)
    write_json(folder / f"{name}.settings.json", stated | {"problems_digest": "9f2c"})
    if samples:
        write_lines(folder / f"{name}.samples.jsonl", _samples(rows, mode))
        write_lines(folder / f"{name}.problems.jsonl", _problems(rows, text))
    return folder


def _samples(rows: Mapping[str, Sequence[float]], mode: Mode) -> list[dict[str, Any]]:
    return [
        {
            "problem": problem, "mode": str(mode), "sample": i, "stop": "end", "tokens": 31,
            "text": f"<think>\nabout {problem}\n</think>\n\nIt is \\boxed{{{42 if reward else 41}}}.",
            "reward": reward, "outcome": "right" if reward else "wrong", "note": "", "parts": {},
            "answer": "42" if reward else "41", "seconds": 0.12,
        }
        for problem, values in rows.items() for i, reward in enumerate(values)
    ] + [
        {
            "problem": problem, "mode": str(mode), "sample": 0, "stop": "end", "tokens": 31, "text": "greedy",
            "reward": 0.0, "outcome": "wrong", "note": "", "parts": {}, "answer": None, "seconds": 0.1, "greedy": True,
        }
        for problem in rows
    ]  # fmt: skip


def _problems(rows: Mapping[str, Sequence[float]], text: str) -> list[dict[str, Any]]:
    return [
        {
            "id": problem,
            "messages": [{"role": "user", "content": text.format(problem)}],
            "row": None,
            "meta": {},
        }
        for problem in rows
    ]


SUITE = {
    "mmlu": 300, "mmlu-pro": 300, "gpqa-diamond": 198, "arena-hard": 250, "ifeval": 541, "ifbench": 294, "aime24": 30,
    "aime25": 30, "livecodebench-v5": 279, "livecodebench-v6": 300, "livecodebench-pro": 166, "swe-bench-verified": 250,
    "bfcl": 250, "math-500": 250, "humaneval": 164,
}  # fmt: skip


def write_suite(folder: Path, shift: float, *, names: Sequence[str] = tuple(SUITE), seed: str = "s") -> Path:
    """Results of a whole suite by a model whose ability is shifted."""
    for n, name in enumerate(names):
        ability = 0.35 + 0.03 * n + shift * random.Random(f"{name}{seed}").choice([-0.5, 0.2, 1.0, 1.5])
        write_result(folder, name, drawn(ability, SUITE[name], 4, name))
    return folder
