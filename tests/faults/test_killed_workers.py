"""No grader can stop a run: RL goes on while the processes that judge are killed, and no verdict turns wrong by it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tiny import Policy, stage_run

from cascade_rl.domains import load_domain
from cascade_rl.grading.services import open_services
from cascade_rl.recipe import RLStage
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import read_groups
from cascade_rl.testing import ScriptedSampler
from cascade_rl.train import rl
from cascade_rl.types import Message, Pools, Problem

STEPS, PROMPTS = 8, 12
STAGE = RLStage(
    name="code-rl", kind="rl", steps=STEPS, lr=1e-4, prompts_per_step=PROMPTS, rollouts_per_prompt=4,
    max_response_tokens=400, max_prompt_tokens=400, data=[{"domain": "coding", "problems": STEPS * PROMPTS}],
)  # fmt: skip


def children() -> set[int]:
    """Our child processes, whichever thread started them."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for found in lists for pid in found.read_text().split()}


def problem(number: int) -> Problem:
    tests = [{"args": [2], "result": 4 + number}, {"args": [3], "result": 6 + number}]
    answer = {"function": "f", "tests": tests, "timeout_s": 20}
    return Problem(f"c{number}", "coding", (Message("user", f"Double it and add {number}."),), answer)


def replies(asked: Problem) -> list[str]:
    """Two right replies and two wrong ones, no two programs alike: the sandbox runs each."""
    number = int(asked.id[1:])
    bodies = [
        f"return x * 2 + {number}",
        f"return {number} + x + x",
        f"return x * 3 + {number}",
        f"return {number}",
    ]
    return [f"<think>\n</think>\n\n```python\ndef f(x):\n    {body}\n```" for body in bodies]


def kill_workers(before: set[int], counts: Counter[str], done: threading.Event, killed: list[int]) -> None:
    """SIGKILL to one process that came after `before`, after every dozen programs."""
    while not done.wait(0.005):
        workers = sorted(children() - before)
        if workers and counts["programs"] > 12 * len(killed):
            os.kill(workers[len(killed) % len(workers)], signal.SIGKILL)
            killed.append(workers[0])


def test_kill_9_of_workers_at_any_moment_of_an_rl_run(tmp_path):
    policy, before, done, killed = Policy(), children(), threading.Event(), []
    with open_services(frozenset({"sandbox"}), workers=2) as services:
        domains = {"coding": load_domain("coding")}
        killer = threading.Thread(target=kill_workers, args=(before, services.counts, done, killed))
        killer.start()
        try:
            with stage_run(tmp_path, STAGE, domains, policy, ScriptedSampler(replies), services) as run:
                made = rl.train(run, Pools((tuple(problem(i) for i in range(STEPS * PROMPTS)),)))
            assert made.step == STEPS
        finally:
            done.set()
            killer.join()
    assert len(killed) >= 3, "someone must have been killed"
    groups = [group for _, group in read_groups(read_lines(tmp_path / "rollouts.jsonl"))]
    assert len(groups) == STEPS * PROMPTS
    wanted = (1.0, 1.0, 0.0, 0.0)
    found = [(v.reward, right) for g in groups for v, right in zip(g.verdicts, wanted, strict=True)]
    assert {pair for pair in found if pair[0] is not None} == {(1.0, 1.0), (0.0, 0.0)}, (
        "null, perhaps; never wrong"
    )
    nulls = sum(reward is None for reward, _ in found)
    assert nulls <= 0.05 * len(found), f"{nulls} of {len(found)} verdicts lost to {len(killed)} kills"
    counts: Counter[str] = Counter()
    for line in read_lines(tmp_path / "timings.jsonl"):
        counts.update(line.get("counts", {}))
    assert counts["programs"] == len(found) + counts["asked_again"]
    assert counts["asked_again"] == counts["sandbox_failures"] - nulls
