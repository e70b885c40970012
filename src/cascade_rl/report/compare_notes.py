"""What has to be said beside a comparison: settings that differ, problems that are not the same, gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cascade_rl.recipe import BASE
from cascade_rl.report.compare_things import Thing
from cascade_rl.report.comparison import Shown
from cascade_rl.scores.compare import Answer, Comparison, Differing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Remark:
    """One line; `grave` where it says that numbers are not comparable, or are not there."""

    text: str
    grave: bool


def summary(shown: Shown, other: str) -> str:
    """One line on a thing: on how many benchmarks it is better, worse, or not to be told."""
    answers = [c.answer for c in shown.compared.of(other)]
    parts = [f"{word} on {answers.count(word)}" for word in Answer if answers.count(word)]
    return f"{other} against {shown.compared.reference}: {', '.join(parts)} of {len(answers)} benchmarks"


def remarks(shown: Shown) -> tuple[Remark, ...]:
    """All lines, those on what is not comparable first; each names the benchmarks that it is about."""
    found = [line for other in shown.compared.things[1:] for line in _of_thing(shown, other)]
    for thing in shown.things:
        failed = [f"{name} {m.failed}" for name, m in thing.measures.items() if m.failed]
        if failed:
            text = f"{thing.label}: verdicts that failed and count as wrong: {', '.join(failed)}"
            found.append(Remark(text, False))
        found += [Remark(f"{thing.label}: left out: {line}", True) for line in thing.unread]
        if thing.place.whole and (later := _later(thing)):
            text = f"{thing.label} is compared after {thing.place.stage}: {later} not scored yet"
            found.append(Remark(text, True))
    return tuple(sorted(dict.fromkeys(found), key=lambda remark: not remark.grave))


def _later(thing: Thing) -> str:
    """The stages of a run that have begun after the one that is compared, with a verb."""
    begun = [stage for stage in (thing.run.stages if thing.run else ()) if stage.folder]
    here = thing.place.folder.name
    names = [stage.name for stage in begun if here == BASE or stage.folder > here]
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}" if names else ""


def _of_thing(shown: Shown, other: str) -> Iterator[Remark]:
    comparisons, reference = shown.compared.of(other), shown.compared.reference
    # all that a benchmark differs in at once: with leave for one of them it still differs in the others
    for found, names in _grouped(comparisons, lambda c: (c.differing,) if c.differing else ()):
        told = ", ".join(_other(what, reference, other) for what in found)
        leave = ",".join(what.name for what in found)
        yield Remark(f"not comparable in {names}: {told}; --across {leave} judges all the same", True)
    for what, names in _grouped(comparisons, lambda c: c.across):
        yield Remark(f"compared across other settings: {_other(what, reference, other)} in {names}", False)
    for why, names in _grouped(comparisons, lambda c: (c.missing,) if c.missing else ()):
        yield Remark(f"not measured on both sides: {why}: {names}", True)
    for c in comparisons:
        if (line := _problems(c, reference)) is not None:
            yield line
    for what, names in _grouped(comparisons, lambda c: c.beside):
        yield Remark(f"also otherwise: {_other(what, reference, other)} in {names}", False)
    unstated = [(key, names) for key, names in _grouped(comparisons, lambda c: c.unstated)]
    if unstated:
        keys = ", ".join(key for key, _ in unstated)
        text = f"stated by one of {reference} and {other} alone, so perhaps not the same: {keys}"
        yield Remark(text, False)


def _other(what: Differing, reference: str, other: str) -> str:
    if what.name == "prompts":
        return f"{what.reference} problems with equal ids {what.other} of {other} than of {reference}"
    return f"{what.name} is {what.reference} of {reference} and {what.other} of {other}"


def _problems(c: Comparison, reference: str) -> Remark | None:
    """What is said of problems that are not the same on both sides."""
    if c.change is None or (c.change.paired and not any(c.only)):
        return None
    if c.change.paired:
        left = f"{c.only[0]} of {reference} and {c.only[1]} of {c.other} are left out of the change"
        return Remark(f"{c.benchmark}: paired over the {c.common} problems that both have; {left}", True)
    why = "no problem is asked of both" if all(c.only) else "scores of single problems are not known"
    return Remark(f"{c.benchmark} of {c.other}: unpaired, {why}", True)


def _grouped(
    comparisons: Sequence[Comparison], of: Callable[[Comparison], Iterable[T]]
) -> list[tuple[T, str]]:
    """What is said alike of several benchmarks, with their names."""
    found: list[tuple[T, list[str]]] = []
    for c in comparisons:
        for what in of(c):
            # by equality: a setting may be a list, which has no hash
            known = next((names for key, names in found if key == what), None)
            if known is None:
                found.append((what, [c.benchmark]))
            else:
                known.append(c.benchmark)
    return [(what, ", ".join(names)) for what, names in found]
