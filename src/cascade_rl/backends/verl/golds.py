"""Replies whose rewards are known, in the tokens of a job: what `check` asks verl's own reward classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from cascade_rl.backends.verl.job import Job, Task
from cascade_rl.grading.proof import claims
from cascade_rl.model.tokenizer import Tokenizer
from cascade_rl.run.files import write_json
from cascade_rl.types import Demonstration

GOLDS = "golds.json"
MOST = 2  # problems of each domain


def write_golds(task: Task, job: Job, tokenizer: Tokenizer) -> None:
    """Write the gold and the empty answer to the first problems of each domain, as `golds` gives them."""
    write_json(job.folder / GOLDS, list(golds(task, tokenizer)))


def golds(task: Task, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """Ids of a prompt and a reply, the row, and what the reply must earn at `least` or at `most` (None: any).

    None of a domain whose reward is learned: its scale has no full mark; none of a problem with a score
    beside its reward, which has no verdict where no reward model is served, as in a check.
    """
    seen = Counter[str]()
    domains = {domain.name: domain for domain in task.domains.values()}
    for row, problem in enumerate(task.link.asked):
        domain = domains[problem.domain]
        if domain.learned or problem.id in task.scored or seen[problem.domain] == MOST:
            continue
        seen[problem.domain] += 1
        for claim in claims(domain, problem):
            prompt, reply = tokenizer.taught(Demonstration(problem, claim.reply))
            yield {
                "row": row,
                "what": claim.what,
                "prompt": prompt,
                "reply": reply,
                "least": None if claim.allowed(0.0) else 1,
                "most": None if claim.allowed(1.0) else 0,
            }
