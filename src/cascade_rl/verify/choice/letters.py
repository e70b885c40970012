r"""Which letter a reply to a multiple-choice question states: in a box, after `answer`, or alone at its end.

The last statement wins, and it must name exactly one letter that is an option; a box without a letter is no
statement. What is denied, supposed, asked, quoted, told of others or taken back is none (`context`);
statements that follow one another at once and differ are a hedge, and state nothing. Articles and pronouns
aren't letters: `a` counts only where nothing but punctuation follows, and `A` and `I` not before a word,
unless it is one like `because`. The words of two dozen languages stand in `words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_uppercase

from cascade_rl.verify.choice import forms
from cascade_rl.verify.choice.context import Context
from cascade_rl.verify.choice.text import plain

FEWEST_KNOWN = 10  # A to J, where the number of choices isn't given
MOST = len(ascii_uppercase)
_OTHER_LETTER = re.compile(r"(?<![\w'])[B-HJ-Z](?![\w'])")  # neither an article nor a pronoun
LONGEST_TAIL = 8000  # characters at the end of a reply that are searched


@dataclass(frozen=True, slots=True)
class _Statement:
    """A letter that is stated, or empty text for none of the options or two; `final` by its own words."""

    start: int
    end: int
    letter: str
    final: bool = False


def _one(letter: str, rest: str, options: str) -> str | None:
    """The option that a statement names; empty text if it names none or two, None if it is an article."""
    if letter in "aAI" or letter.islower():
        word = re.match(r"\s{1,3}[a-z]", rest)
        if (word and not forms.REASON.match(rest)) or (letter in "ai" and re.match(r"\s{1,3}\w", rest)):
            return None
    if _second(letter, rest, options):
        return ""
    return letter.upper() if letter.upper() in options else ""


def _second(letter: str, rest: str, options: str) -> bool:
    """Whether another option is named beside the letter."""
    found = forms.SECOND.match(rest)
    if not found or found["second"].upper() not in options or found["second"].isupper() != letter.isupper():
        return False
    other, behind = found["second"], rest[found.end() :]
    # `A cell`, `I think`: an article or a pronoun begins a sentence
    if other in "AaI" and re.match(r"\s{1,3}[a-z]", behind) and not forms.REASON.match(behind):
        return False
    joined = found["join"] or ""
    if not re.search(r"[A-Za-z&/|+或和与及、]", joined) and re.match(r"[)\]]?\s{1,3}" + forms.VERB, behind):
        return False  # "B. A is wrong", "B, A is wrong": the other one has a sentence of its own
    # "B, C, B" is a list as well
    return other.upper() != letter.upper() or _second(letter, behind, options)


def _boxes(text: str, options: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and letter of each box that begins with one."""
    for box in forms.BOX.finditer(text):
        found = forms.BOXED.match(text, box.end())
        if not found:
            continue
        rest = re.match(r"[^{}\n]{0,60}", text[found.end("letter") :][:60])
        letter = _one(found["letter"], rest[0] if rest else "", options)
        if letter is not None:
            if rest and rest[0].lstrip(" )]").startswith("?"):
                continue
            if forms.JOINED.match(text, found.end("letter")):
                letter = ""
            closing = text.find("}", found.end("letter"), found.end("letter") + 200)
            end = max(closing + 1, found.end("letter"))
            beside = text[end : end + 20].split("\n")[0]
            yield box.start(), end, "" if _second(letter, beside, options) else letter


def _statements(context: Context, options: str) -> Iterator[_Statement]:
    """All that counts, in no order."""
    text = context.text
    for start, end, letter in _boxes(text, options):
        if not context.void(start, start, end, True):
            yield _Statement(start, end, letter, bool(forms.FINAL.search(context.before(start))))
    for found in forms.JSON.finditer(text):
        letter = found["letter"].upper()
        yield _Statement(found.start(), found.end(), letter if letter in options else "")
    for form in forms.FORMS:
        for found in form.finditer(text):
            at, end = found.start("letter"), found.end("letter")
            one = _one(found["letter"], text[end : end + 60].split("\n")[0], options)
            start = found.start("at") if "at" in form.groupindex else found.start()
            # "the answer comes before B: A"
            other = _OTHER_LETTER.search(text[start:at]) and " but " not in text[start:at]
            if one is None or other or context.void(start, at, max(end, found.end()), False):
                continue
            if one and _listed_before(text[max(0, at - 24) : at], one, options):
                one = ""
            final = bool(forms.FINAL.search(text[start:at]))
            yield _Statement(start, max(end, found.end()), one, final)
    for found in forms.COLON.finditer(text):
        before = context.before(found.start())
        at, end = found.span("letter")
        # of JSON and of other letters it says too little
        alone = '"' not in before and not _OTHER_LETTER.search(before)
        speaks = forms.SPEAKS.search(before)
        # "the student's answer: A" is told of the student: the words before `answer` count
        start = found.start() - len(before) + speaks.start() if speaks else at
        if alone and speaks and not context.void(start, at, end, False):
            yield _Statement(
                found.start(), found.end(), found["letter"] if found["letter"] in options else ""
            )


def _listed_before(before: str, letter: str, options: str) -> bool:
    """Whether another option is joined in front of a letter: `A or B is correct`."""
    found = re.search(
        r"(?<![A-Za-z'])\(?([A-Z])\)?\s{0,3}(?:,|/|&|\b(?:and|or|nor|und|oder|ou|et))\s{0,3}(?:option "
        r"|choice )?\(?$",
        before,
    )
    return found is not None and found[1] in options and found[1] != letter


def _alone(context: Context, options: str) -> _Statement | None:
    """A letter that is a line: the last, or the first of several if no other line is one."""
    lines = [found for found in re.finditer(r"[^\n]+", context.text) if found[0].strip()]
    bare = [(line, found) for line in lines if (found := forms.ALONE.fullmatch(line[0]))]
    if not bare or bare[-1][0] not in (lines[0], lines[-1]):
        return None
    line, found = bare[-1]
    # several lines of letters are the options once more
    letter = _one(found["letter"], "", options) if len({f["letter"] for _, f in bare}) == 1 else ""
    return None if letter is None else _Statement(line.start(), line.end(), letter)


def _begins(context: Context, options: str) -> _Statement | None:
    """The last line, if it alone begins as an option does (`(B) Paris`), or says `B, not A`."""
    lines = [found for found in re.finditer(r"[^\n]+", context.text) if found[0].strip()]
    if not lines:
        return None
    last = lines[-1]
    only = forms.NOT_OTHER.fullmatch(last[0].strip())
    if only and only["letter"] in options:
        return _Statement(last.start(), last.end(), only["letter"])
    listed = [found for line in lines if (found := forms.LISTED.match(line[0]))]
    # a list of all options is the question once more
    if len(listed) != 1 or not (found := forms.LISTED.match(last[0])):
        return None
    letter, rest = (found["bracketed"] or found["letter"][0]).upper(), found["rest"].strip()
    several = re.search(r"(?<![\w'])\(?[A-Z][).:](?!\w)", rest)
    if letter not in options or several or rest.endswith("?") or re.match(forms.VERB, rest):
        return None
    return None if _second(letter, found["rest"], options) else _Statement(last.start(), last.end(), letter)


def options(choices: int | None, gold: str = "") -> str:
    """The letters that may be answered."""
    count = choices or max(FEWEST_KNOWN, ascii_uppercase.find(gold.upper()) + 1)
    return ascii_uppercase[:count]


def _denied_later(text: str, letter: str) -> bool:
    """Whether the letter is called wrong, or another one is offered beside it."""
    named = rf"(?<![\w'-])(?:option\s{{1,3}}+|answer\s{{1,3}}+|choice\s{{1,3}}+)?\(?{letter}\)?"
    wrong = re.search(
        named + r"\s{0,3}+(?:不|是错|(?:can't|cannot|isn't|is\s{1,3}+(?:\w++\s{1,3}+)?(?:not|wrong|incorrect"
        r"|false|invalid"
        r"|impossible|out))(?![\w']))"
        rf"|(?<![\w'-])(?:not|isn't|be|reject|eliminate|exclude"
        rf"|out)\s{{1,3}}+{named}(?![\w'])(?!\s{{1,3}}+[a-z])"
        rf"|(?:不是|不选)\s{{0,3}}+{letter}",
        text,
    )
    divided = forms.DIVIDED.match(text)
    if divided and (divided["share"] or divided["case"]) != letter:
        return True
    return wrong is not None or any(
        (found["letter"] or found["too"]) != letter for found in forms.OTHER.finditer(text)
    )


def _hedged(earlier: _Statement, last: _Statement, text: str) -> bool:
    """Whether another letter was stated right before, with no word of a correction between."""
    if earlier.letter == last.letter or earlier.end > last.start or (last.final and not earlier.final):
        return False
    return forms.NO_WORD.fullmatch(text, earlier.end, last.start) is not None


def stated(text: str, letters: str) -> str | None:
    """The one of `letters` that the reply states last, or None."""
    tail = plain(text[-LONGEST_TAIL:])[-LONGEST_TAIL:].strip()
    # a reply that is one quotation says what it quotes
    if len(tail) > 1 and tail[0] == tail[-1] == '"' and tail.count('"') == 2:
        tail = tail[1:-1].strip()
    context = Context(tail)
    found = sorted(_statements(context, letters), key=lambda one: (one.end, -one.start))
    # a line that is a letter counts where no other statement follows or holds it
    alone = _alone(context, letters)
    if alone and not any(one.end > alone.start for one in found):
        found.append(alone)
    if not found and (begins := _begins(context, letters)):
        found.append(begins)
    if not found:
        return None
    last = found[-1]
    if not last.letter or context.retracted(last.end) or _denied_later(tail[last.end :], last.letter):
        return None
    # at once and different: a hedge, unless the later one says that it is the final one
    if any(_hedged(earlier, last, tail) for earlier in found[:-1]):
        return None
    return last.letter
