"""What k samples a problem say beside their mean, and how far chance alone moves a score.

- pass@k, unbiased (Chen et al. 2021, arXiv 2107.03374, eq. 1): the chance that of k samples drawn without
  return from n one is right, mean over problems.
- cons@k, self-consistency (Wang et al. 2022, arXiv 2203.11171): whether the answer that most samples give is
  right; where several are given equally often, the share of them that is right, as if one were drawn. Samples
  without an answer vote for nothing; a problem on which none has one is wrong.
- The sampling error of avg@k has two parts. `samples`: other samples of the same problems, sqrt(w / (n k))
  with w the mean over problems of the unbiased variance p(1-p)k/(k-1). `problems`: other problems of the same
  kind, the rest of the variance of the problems' means. Both are standard errors, in shares.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_rl.scores.as_json import score_to_json
from cascade_rl.scores.samples import Sample
from cascade_rl.scores.statistics import score
from cascade_rl.types import Mode

FULL = 1.0 - 1e-9  # an accuracy from which a sample counts as right where a count is asked for
OTHER_KS = (8, 64)  # the k of the report's table: what the error would be with them


def pass_at(right: int, n: int, k: int) -> float:
    """1 - C(n - right, k) / C(n, k), the chance of a right one among k of n samples; ValueError if k > n."""
    if not 0 <= right <= n or not 1 <= k <= n:
        raise ValueError(f"{right} of {n} right at k = {k} is no share")
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def majority(answers: Sequence[str | None], accuracies: Sequence[float]) -> float:
    """The accuracy of the answer that most give; of several that are as frequent, their mean."""
    given = [(answer, acc) for answer, acc in zip(answers, accuracies, strict=True) if answer is not None]
    counts = Counter(answer for answer, _ in given)
    if not counts:
        return 0.0
    most = max(counts.values())
    # one answer may be written by replies of other verdicts (a clipped one, say): then it is right in part
    means = []
    for answer in [answer for answer, count in counts.items() if count == most]:
        found = [acc for given_answer, acc in given if given_answer == answer]
        means.append(math.fsum(found) / len(found))
    return math.fsum(means) / len(means)


def standard_errors(per_problem: Mapping[str, Sequence[float]], k: int | None = None) -> dict[str, float]:
    """The standard errors of avg@k from samples and from problems, see the module; of another `k` if given.

    Without two samples a problem the first is what a share allows at most, p(1-p).
    """
    n = len(per_problem)
    size = len(next(iter(per_problem.values())))
    means = [math.fsum(values) / size for values in per_problem.values()]
    if size > 1:
        spread = [
            math.fsum((v - mean) ** 2 for v in values) / (size - 1)
            for values, mean in zip(per_problem.values(), means, strict=True)
        ]
        within = math.fsum(spread) / n
    else:
        # all of the variance of a single sample is laid to the samples: what is known is a bound
        whole = math.fsum(means) / n
        within = whole * (1 - whole)
    samples = within / (n * (k or size))
    total = math.fsum(means) / n
    between = math.fsum((m - total) ** 2 for m in means) / (n - 1) if n > 1 else 0.0
    # the problems' means swing with their own samples, too: that part is told above
    problems = max(0.0, between - within / size) / n
    return {"samples": math.sqrt(samples), "problems": math.sqrt(problems)}


def statistics_of(
    samples: Sequence[Sample], mode: Mode, groups: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """All of this of a mode's samples as JSON; `groups` names the group of each problem that has one."""
    drawn = [one for one in samples if one.mode is mode and not one.greedy]
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for one in drawn:
        by_problem[one.problem].append(one)
    values = {name: [one.accuracy for one in found] for name, found in by_problem.items()}
    k = len(drawn) // len(values)
    told: dict[str, Any] = {"k": k, "problems": len(values)}
    told["standard_error"] = {str(size): standard_errors(values, size) for size in sorted({k, *OTHER_KS})}
    if k > 1:
        right = [sum(v >= FULL for v in each) for each in values.values()]
        sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if size < k] + [k]
        told["pass"] = {
            str(size): math.fsum(pass_at(r, k, size) for r in right) / len(right) for size in sizes
        }
    if k > 1 and any(one.answer is not None for one in drawn):
        voted = {
            name: [majority([s.answer for s in found], [s.accuracy for s in found])]
            for name, found in by_problem.items()
        }
        told["cons"] = score_to_json(score(voted))
    if groups:
        told["groups"] = _groups(values, groups)
    return told


def _groups(values: Mapping[str, Sequence[float]], groups: Mapping[str, str]) -> dict[str, Any]:
    """The score of each group, and the mean over groups, each counted alike."""
    by_group: dict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for name, found in values.items():
        if name in groups:
            by_group[groups[name]][name] = found
    scores = {group: score(by_group[group]) for group in sorted(by_group)}
    macro = math.fsum(found.mean for found in scores.values()) / len(scores) if scores else math.nan
    return {"macro": macro, "of": {group: score_to_json(found) for group, found in scores.items()}}
