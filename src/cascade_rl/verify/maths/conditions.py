r"""Answers with conditions, as texts: set builders, cases, `for all k ∈ Z`, `if n is even`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT
from cascade_rl.verify.maths.labels import is_label

_NUMBERS = re.compile(r" ?(?:\\mathbb\{([RZNQC])\}|([RZNQC])) ?((?:\^|_)? ?(?:[+*]|\{[+*]\}))? ?\)?[. ]*")
_LAST_NAME = re.compile(r"([A-Za-z](?:_\w)?|\\[a-z]+) ?$")
_FOR = re.compile(
    rf"(?:[,;(]|\\forall ?|{TEXT}[ ,]*(?:for|where|with)(?: any| all| every| some)?[ ,]*{ENDTEXT}"
    r"| (?:for|where|with)(?: any| all| every| some)?) ?$"
)
_IF = re.compile(rf"(?:,? ?{TEXT}[ ,]*| )(?:(?:if|when|whenever)\b ?{ENDTEXT}?|(?P<other>otherwise|else))")
_CONDITION_WORDS = re.compile(rf"[{TEXT}{ENDTEXT}]|\b(?:if|when|for)\b")
_CASES = re.compile(
    r"(?:\\\{ ?)?\\begin\{(cases|dcases|rcases|array|aligned|matrix)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}",
    re.DOTALL,
)
_BOUND = re.compile(
    r"(?P<name>[A-Za-z](?:_\w)?|\\[a-z]+) ?(?:∈ ?(?:\\mathbb\{(?P<numbers>[A-Z])\}|(?P<set>[A-Z])) ?)?"
    r"(?:\||:) ?(?P<all>.+)"
)


def quantified(text: str) -> tuple[str, str, str] | None:
    r"""The answer, the name and the numbers of `2k, k ∈ \mathbb{Z}`; the last as `R`, `Z`, `N+` ..."""
    at = text.rfind("∈")
    if at < 0 or not (numbers := _NUMBERS.fullmatch(text, at + 1)):
        return None
    if not (last := _LAST_NAME.search(text[max(0, at - 12) : at])):
        return None
    before = text[:at].rstrip().removesuffix(last[1]).rstrip()
    if not (sign := _FOR.search(before)):
        return None
    answer = before[: sign.start()].strip().rstrip(",;").strip()
    # a list such as `(1,2), x ∈ Z` begins with what is answered, and a bracket may not be cut open
    if not answer or answer.count("(") != answer.count(")"):
        return None
    sort = (numbers[1] or numbers[2]) + re.sub(r"[\^_{} ]", "", numbers[3] or "")
    return answer, last[1], sort


def value_and_condition(text: str) -> list[tuple[str, str]] | None:
    """The values and their conditions in `n/2 if n is even, 3n+1 if n is odd`."""
    signs = list(_IF.finditer(text)) if " " in text else []
    if not signs or len(signs) > 6:
        return None
    found: list[tuple[str, str]] = []
    value = text[: signs[0].start()]
    for sign, following in zip(signs, [*signs[1:], None], strict=True):
        rest = text[sign.end() : following.start() if following else len(text)]
        condition, comma, after = rest.rpartition(",") if following else (rest, "", "")
        if following and not comma:
            return None
        found.append((value.strip(" ,"), sign["other"] or condition))
        value = after
    return found if all(v and c.strip(f" {TEXT}{ENDTEXT}") for v, c in found) else None


def condition_of(text: str) -> str:
    """A condition without the words that lead to it."""
    return _CONDITION_WORDS.sub("", text).strip(" ,.")


def lines_of_cases(text: str) -> Sequence[tuple[str, str]] | None:
    r"""Each line of a brace on the left: its equation or value, and its condition, if it has one."""
    if "\\begin" not in text or not (match := _CASES.fullmatch(text.strip())):
        return None
    if match[1] not in ("cases", "dcases", "rcases") and not text.startswith("\\{"):
        return None
    lines = [line.strip(" ,;.") for line in match[2].split("\\\\") if line.strip(" ,;.")]
    found = [line.partition("&") for line in lines]
    # `x & = 1` is aligned, no case
    if any(rest.lstrip().startswith(("=", "<", ">", "≤", "≥")) for _, _, rest in found):
        found = [(head + rest, "", "") for head, _, rest in found]
    return [(head.strip(" ,"), condition_of(rest.replace("&", " "))) for head, _, rest in found] or None


def bound_set(inner: str) -> tuple[str, str] | None:
    r"""The name and the condition of what stands in the braces of `\{x ∈ \mathbb{R} | x>1\}`."""
    match = _BOUND.fullmatch(inner.strip())
    if not match or not is_label(match["name"]) or re.fullmatch(r"[^=<>≤≥≠∈]*", match["all"]):
        return None
    numbers = match["numbers"] or match["set"] or "R"
    # of whole numbers the condition says less than the set: both must be the same
    return (match["name"], match["all"]) if numbers == "R" else (match["name"], f"{numbers}: {match['all']}")
