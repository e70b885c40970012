"""Which training prompts share a run of words with a benchmark's prompts: what `disjoint` does not see.

arXiv 2512.13607 removes SFT samples that share a 9-gram with a test set. Words are runs of letters and digits
without case. What a benchmark asks in a frame (`Put the final answer in \\boxed{}`, the form of an edit) is
shared with whoever trains on that task, and is no leak: a run of words that stands in more than `FRAME` of a
benchmark's prompts, and in more than `FEW` of them, is its frame and does not count.

Replies are not looked at, and neither are paraphrases, translations or other numbers in the same sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from cascade_rl.domain import HeldOut
from cascade_rl.types import Problem, StageData

NGRAM = 9
FRAME = 0.05
# a run of words in three prompts is content however few the benchmark has
FEW = 3
# Prompts of a pool that are compared for the notes of a check: of rows on a disk there may be millions.
LOOKED_AT = 50_000

_WORD = re.compile(r"[^\W_]+")


def grams(text: str, n: int = NGRAM) -> list[str]:
    """All runs of n words of a text in order, repeats included; none where it is shorter."""
    words = _WORD.findall(text.lower())
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


@dataclass(frozen=True, slots=True)
class Content:
    """The runs of n words that a benchmark's prompts hold beside their frame."""

    benchmark: str
    n: int
    runs: frozenset[str]

    @classmethod
    def of(cls, benchmark: HeldOut, n: int = NGRAM) -> Content:
        """Of all its prompts."""
        # the same problem at several lengths or in two modes is one prompt
        texts = {problem.prompt_text for problem in benchmark.problems}
        counts = Counter(run for text in texts for run in set(grams(text, n)))
        most = max(FEW, FRAME * len(texts))
        return cls(benchmark.name, n, frozenset(run for run, count in counts.items() if count <= most))


@dataclass(frozen=True, slots=True)
class Shared:
    """How many prompts of a pool share a run of words with a benchmark.

    use       the stage, and the domain of the pool
    prompts   that share one, of `looked` that were compared
    example   the first such run of words, in the order of the pool
    """

    use: str
    benchmark: str
    n: int
    prompts: int
    looked: int
    example: str

    def line(self) -> str:
        """For people."""
        return (
            f"{self.use}: {self.prompts} of {self.looked} prompts share {self.n} words in a row with "
            f"{self.benchmark}, such as {self.example!r}"
        )


def touched(
    pool: Sequence[Problem], contents: Sequence[Content]
) -> Iterator[tuple[Problem, list[str | None]]]:
    """Each problem with the first run of words that it shares with each benchmark, None where none."""
    for problem in pool:
        by_length = {n: grams(problem.prompt_text, n) for n in {content.n for content in contents}}
        yield (
            problem,
            [
                next((run for run in by_length[content.n] if run in content.runs), None)
                for content in contents
            ],
        )


def shared_runs(data: Mapping[str, StageData], benchmarks: Sequence[HeldOut], n: int = NGRAM) -> list[Shared]:
    """For each pool of each stage and each benchmark what they share; pairs that share nothing are left out.

    Looks at the first 50,000 prompts of a pool. 20,000 prompts against 3,000 take a few seconds.
    """
    contents = [Content.of(benchmark, n) for benchmark in benchmarks]
    found: list[Shared] = []
    for name, made in data.items():
        for pool in made.pools() if contents else ():
            looked = list(islice(touched(pool, contents), LOOKED_AT))
            use = f"{name}, {pool[0].domain}"
            for at, content in enumerate(contents):
                runs = [runs[at] for _, runs in looked]
                examples = [run for run in runs if run is not None]
                if examples:
                    found.append(Shared(use, content.benchmark, n, len(examples), len(looked), examples[0]))
    return found


def summary(found: Sequence[Shared]) -> list[str]:
    """One line for the start of a run, none where nothing is shared."""
    if not found:
        return []
    # a prompt may share with several benchmarks, and is one prompt
    most: dict[str, int] = {}
    for one in found:
        most[one.use] = max(most.get(one.use, 0), one.prompts)
    return [
        f"{sum(most.values())} training prompts or more share {found[0].n} words in a row with a benchmark; "
        "`cascade check` tells which"
    ]
