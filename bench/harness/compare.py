"""Our scores beside the judges': what differs, under which trait, and whether docs/benchmarks.md says why.

Its part "Against independent harnesses" holds two tables: why graders part at each trait, and how many verdicts do so on
the constructed replies, by benchmark, judge, trait, our score and theirs. A disagreement that is not listed fails the
comparison, and so does, on the constructed replies, a row whose number is another one: a list that explains more than
there is would hide the next fault. There the names of the forms are a third opinion: what a reader says they state.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stored import Reply
from traits import Disagreement, trait

HEADING = "Against independent harnesses"
SHOWN = 3  # of each kind of disagreement, with their text
Key = tuple[str, str, str, str, str]  # benchmark, judge, trait, our score, theirs


@dataclass(frozen=True)
class Exceptions:
    """Of each expected kind of disagreement how many there are on the constructed replies; of each trait the reason."""

    counts: Mapping[Key, int]
    reasons: Mapping[str, str]


def score(value: float | None) -> str:
    """As the tables write it."""
    return "null" if value is None else f"{value:g}"


def exceptions(page: str) -> Exceptions:
    """The tables of the documentation; ValueError, which names what is wrong, where they don't hold together."""
    part = page.partition(f"## {HEADING}\n")[2].partition("\n## ")[0]
    found = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in part.split("\n")
        if line[:2] == "| "
    ]
    rows = [row for row in found if row[-1].isdecimal() and len(row) == 6]
    reasons = {row[0]: row[1] for row in found if len(row) == 2 and not row[0].startswith(("---", "where"))}
    counts = {
        (benchmark, judge, named, ours, theirs): int(n) for benchmark, judge, named, ours, theirs, n in rows
    }
    wrong = [
        f"{key} stands twice" for key, times in Counter(tuple(row[:5]) for row in rows).items() if times > 1
    ]
    named = {key[2] for key in counts}
    wrong += [f"{name!r} has no reason" for name in sorted(named - reasons.keys())]
    wrong += [f"{name!r} has a reason and no row" for name in sorted(reasons.keys() - named)]
    if wrong:
        raise ValueError(f"docs/benchmarks.md: {'; '.join(wrong)}")
    return Exceptions(counts, reasons)


def disagreements(replies: Sequence[Reply], scores: Iterable[Mapping[str, Any]]) -> list[Disagreement]:
    """Every verdict that differs, by instruction where both sides have that.

    Raises KeyError for a score of an unknown reply, ValueError where a side has more instructions than the other.
    """
    by_id = {reply.id: reply for reply in replies}
    found = []
    for line in scores:
        reply, theirs = by_id[line["id"]], line["score"]
        told = (str(line["read"] or ""), line["note"])
        pairs: list[tuple[str, float | None, float | None]] = [("", reply.reward, theirs)]
        if reply.kind.startswith("if") and reply.parts and line["parts"] is not None:
            joined = zip(reply.parts.items(), line["parts"], strict=True)
            pairs = [(name.partition("#")[0], ours, float(given)) for (name, ours), given in joined]
        found += [Disagreement(reply, line["judge"], part, a, b, *told) for part, a, b in pairs if a != b]
    return found


def key_of(d: Disagreement) -> Key:
    """What its exception would be."""
    return d.reply.kind, d.judge, trait(d), score(d.ours), score(d.theirs)


@dataclass(frozen=True)
class Result:
    """A comparison: totals by benchmark and judge, all disagreements, and what fails it, in words."""

    totals: Mapping[tuple[str, str], tuple[int, int, float, float]]
    found: Sequence[Disagreement]
    faults: Sequence[str]


def compare(
    replies: Sequence[Reply], scores: Sequence[Mapping[str, Any]], known: Exceptions, *, exact: bool
) -> Result:
    """Ours beside theirs; `exact` where the replies are the constructed ones, whose disagreements are counted."""
    by_id = {reply.id: reply for reply in replies}
    found = disagreements(replies, scores)
    totals = {}
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in scores:
        grouped[by_id[line["id"]].benchmark, line["judge"]].append(line)
    for (benchmark, judge), lines in grouped.items():
        same = sum(by_id[line["id"]].reward == line["score"] for line in lines)
        means = (
            sum(by_id[line["id"]].reward or 0 for line in lines),
            sum(line["score"] or 0 for line in lines),
        )
        totals[benchmark, judge] = (len(lines), same, *(100 * mean / len(lines) for mean in means))
    counts = Counter(map(key_of, found))
    faults = [
        f"{number} not explained: {_row(key)}" for key, number in counts.items() if key not in known.counts
    ]
    judged = {line["id"] for line in scores}
    faults += [f"{reply.id} has no score" for reply in replies if reply.id not in judged]
    if exact:
        for key, number in known.counts.items():
            if counts[key] != number:
                faults.append(f"docs/benchmarks.md says {number}, found {counts[key]}: {_row(key)}")
        read = {"right": 1.0, "wrong": 0.0}
        for reply in replies:
            if read.get(reply.form.partition(":")[0], reply.reward) != reply.reward:
                faults.append(f"{reply.id}: ours {score(reply.reward)} of a reply that is {reply.form}")
    return Result(totals, found, faults)


def _row(key: Key) -> str:
    benchmark, judge, named, ours, theirs = key
    return f"{benchmark}, {judge}, {named or 'no trait holds'}: ours {ours}, theirs {theirs}"


def table(result: Result) -> str:
    """Agreement by benchmark and judge, as Markdown."""
    lines = [
        "| benchmark | judge | replies | same score | ours | theirs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (benchmark, judge), (replies, same, ours, theirs) in sorted(result.totals.items()):
        share = f"{same} ({100 * same / replies:.2f} %)"
        lines.append(f"| {benchmark} | {judge} | {replies} | {share} | {ours:.2f} | {theirs:.2f} |")
    return "\n".join(lines)


def page(result: Result, known: Exceptions) -> str:
    """All of it as Markdown: agreement, faults, and each kind of disagreement with replies that show it."""
    parts = ["# Against independent harnesses", table(result)]
    if result.faults:
        parts.append("## Not as documented\n\n" + "\n".join(f"- {fault}" for fault in result.faults))
    kinds: dict[Key, list[Disagreement]] = defaultdict(list)
    for d in result.found:
        kinds[key_of(d)].append(d)
    for key, of_kind in sorted(kinds.items()):
        shown = [f"## {_row(key)}", f"{len(of_kind)} verdicts. {known.reasons.get(key[2], 'Not explained.')}"]
        for d in of_kind[:SHOWN]:
            said = f"ours: {d.reply.note[:160]!r}; theirs read {d.read[:60]!r}, {d.note[:100]!r}"
            where = f"`{d.reply.id}`{f' ({d.reply.form})' if d.reply.form else ''} {d.part}"
            shown.append(f"- {where}: {said}\n\n  `{json.dumps(excerpt(d.reply.text), ensure_ascii=False)}`")
        parts.append("\n\n".join(shown))
    return "\n\n".join(parts) + "\n"


def excerpt(text: str) -> str:
    """Both ends of a text."""
    return text if len(text) <= 240 else f"{text[:100]} ... {text[-130:]}"


def listed(result: Result) -> list[dict[str, Any]]:
    """Each disagreement as JSON."""
    return [
        {"id": d.reply.id, "judge": d.judge, "part": d.part, "trait": trait(d), "ours": d.ours, "theirs": d.theirs,
         "note": d.reply.note, "read": d.read, "said": d.note, "text": d.reply.text}
        for d in result.found
    ]  # fmt: skip


def write(folder: Path, name: str, result: Result, known: Exceptions) -> None:
    """NAME.md for people, NAME.json with every disagreement, in a folder."""
    (folder / f"{name}.md").write_text(page(result, known), encoding="utf-8")
    totals = [
        {"benchmark": b, "judge": j, "replies": n, "same": same, "ours": ours, "theirs": theirs}
        for (b, j), (n, same, ours, theirs) in result.totals.items()
    ]
    told = {"totals": totals, "faults": list(result.faults), "disagreements": listed(result)}
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
