"""What people are told of verdicts: the gold and what was read, on one short line in which nothing is hidden."""

from __future__ import annotations

import asyncio
import html
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import toy_problem

from cascade_rl.domain import Services
from cascade_rl.domains import load_domain
from cascade_rl.errors import meant
from cascade_rl.grading.verdicts import verdict_of
from cascade_rl.report.records import Sample
from cascade_rl.report.samples_page import samples_html
from cascade_rl.run.book import Book
from cascade_rl.run.journal import read_lines
from cascade_rl.run.rollouts import stored_problem
from cascade_rl.testing import InlineVerifiers
from cascade_rl.types import Group, Message, Mode, Problem, Rollout, Verdict
from cascade_rl.verify.instructions import INSTRUCTIONS, InstructionError, check
from cascade_rl.verify.maths.told import reading
from cascade_rl.verify.told import LONGEST_NOTE, cut, one_line, quoted

# what garbles a terminal, a page or a journal: escapes, halves of characters, marks of direction, line ends
NASTY = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x07\x00\r\n\u2028\u202e\u200b\ud800\udfff~^|'\\"))
)


def is_clean(text: str) -> bool:
    """By the categories of Unicode: no control, format, half or separator but the blank."""
    return all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in text)


@given(text=NASTY, most=st.integers(1, 80))
def test_whatever_is_told_is_one_visible_line_of_bounded_length(text, most):
    assert len(cut(text, most)) <= most and (len(text) > most or cut(text, most) == text)
    for told, longest in ((quoted(text, most), most + 2), (one_line(text, most), most)):
        assert is_clean(told) and len(told) <= longest
        told.encode()


@given(text=st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=80))
def test_what_can_be_printed_is_told_as_it_is(text):
    assert one_line(text) == text and quoted(text, 80) == f"'{text}'"


def test_pointers_of_parsers_are_left_out():
    assert one_line("I expected more\n\\langle 1\n~~~~~~~~^\n") == r"I expected more | \langle 1"
    assert one_line("a\x1b[2Jb") == r"a\x1b[2Jb"
    long = one_line("Traceback " + "x" * 10**6 + " ValueError: last")
    assert long.startswith("Traceback ") and long.endswith("ValueError: last") and len(long) == LONGEST_NOTE


@pytest.mark.parametrize("note", ["a\nb", "\ud800", "x" * 10_000, "\x1b[31m", None, 3])
def test_every_graders_note_is_kept_so(note):
    """In the one place that all verdicts of runs, benchmarks, `grade` and `regrade` pass."""

    async def grade(problem, rollout, services):
        return Verdict.binary(True, note)

    async def raises(problem, rollout, services):
        raise ValueError(note)

    for grader in (grade, raises):
        verdict = asyncio.run(verdict_of(grader, toy_problem(1), Rollout.of_text("x"), Services()))
        assert is_clean(verdict.note) and 0 < len(verdict.note) <= LONGEST_NOTE


# ---------------------------------------------------------------- what was read


def note(domain: str, answer, response: str, **meta) -> str:
    found = load_domain(domain)
    problem = Problem("p", domain, (Message("user", "?"),), answer, Mode.INSTRUCT, meta)
    services = Services(verifiers=InlineVerifiers())
    return asyncio.run(verdict_of(found.benchmark_grade, problem, Rollout.of_text(response), services)).note


@pytest.mark.parametrize(("answer", "response", "told"), [
    ("13", r"\boxed{12}", "answered '12', wanted '13'"),
    ("13", r"\boxed{12.0}", "answered '12.0', wanted '13'"),
    ("13", r"\boxed{12\text{ cm}}", r"answered '12\text{ cm}' (read as 12, unit cm), wanted '13'"),
    ("13", r"\boxed{12\%}", r"answered '12\%' (read as 12 percent), wanted '13'"),
    ("13", r"\boxed{twelve}", "answered 'twelve' (read as 12), wanted '13'"),
    ("(1,2)", r"\boxed{1, 2}", "answered '1, 2' (read as the list 1; 2), wanted '(1,2)' (read as the pair (1; 2))"),
    ("[1,2)", r"\boxed{[1,2]}", "answered '[1,2]' (read as the interval [1; 2]), wanted '[1,2)' (read as the interval [1; 2))"),
    ("\\frac{1}{2}", r"\boxed{\frac12}", r"answered '\frac12' (read as \frac{1}{2}), wanted '\frac{1}{2}'"),
    ("1,2", r"\boxed{1} and \boxed{2}", "answered '1, 2' (read as the list 1; 2), wanted '1,2' (read as the list 1; 2)"),
    ("13", "It is 12, I think.", r"no stated answer in the reply, which ends with 'It is 12, I think.'; wanted '13'"),
    ("13", "\\boxed{1\x1b[2J2}", r"answered '1\x1b[2J2'"),
])  # fmt: skip
def test_a_maths_note_shows_the_gold_and_what_was_read(answer, response, told):
    assert told in note("maths", answer, response)


def test_a_multiple_choice_note_shows_both_letters():
    assert note("multiple_choice", "B", r"\boxed{A}") == "answered A, wanted B"
    assert note("multiple_choice", "B", "I don't know.").endswith(", wanted B")


def test_a_gold_that_can_not_be_read_is_shown():
    told = note("maths", r"\foo{x}{", r"\boxed{3+x}")
    assert r"'\foo{x}{'" in told and "~" not in told and "\n" not in told


@pytest.mark.parametrize(("text", "told"), [
    ("(x,y)=(1,2)", "x=1, y=2"), ("9:05", "the time 9:05"), (r"\{x \mid 1<x<2\}", "all x with 1 < x < 2"),
    (r"(1,2)\cap[0,1]", "the pair (1; 2) ∩ the interval [0; 1]"), ("x>3 or x<1", "the list x > 3; x < 1"),
    (r"2k\pi, k\in\mathbb{Z}", r"2k\pi, for k in Z"), ("1,000 cm", "1000, unit cm"), ("1:2", "the ratio 1:2"),
    (r"\begin{cases}x & x>0\\ -x & x<0\end{cases}", "pieces x if x > 0; -x if x < 0"), (r"\emptyset", "the set of nothing"),
    ("1010_2", "10, written in base 2"), ("1<x<3", ""), ("2n", ""),
])  # fmt: skip
def test_each_kind_of_answer_has_words_for_people(text, told):
    assert reading(text) == told


@given(text=st.text(st.sampled_from("0123456789()[]{},;:=<>%$x n.^_/|\\ \n") | st.characters(), max_size=60))
def test_a_reading_is_short_and_never_fails(text):
    assert len(reading(text)) <= 80


def test_a_note_is_read_on_the_page_and_in_the_journal_as_it_was_told(tmp_path):
    """With marks of HTML and of LaTeX in it; and what a policy is asked holds no verdict."""
    told = note("maths", "<b>", r"\boxed{<i>&\frac12</i>}")
    problem = toy_problem(1)
    group = Group(problem, (Rollout.of_text("x"),), (Verdict.binary(False, told),))
    book = Book(tmp_path)
    book.samples(0, [group])
    book.close()
    [line] = read_lines(tmp_path / "samples.jsonl")
    assert line["note"] == told
    page = samples_html([Sample(**{key: line[key] for key in Sample.__dataclass_fields__ if key in line})])
    [shown] = re.findall(r'<p class="note">(.*?)</p>', page)
    assert html.unescape(shown) == told and "<" not in shown
    assert told not in json.dumps(problem.asked()) and told not in json.dumps(stored_problem(problem))


# ---------------------------------------------------------------- names that are near


def test_names_that_may_be_meant_are_few_and_near():
    assert meant("Maths", ["maths", "swe"]) == "did you mean maths? "
    assert meant("mahts", ["maths", "swe"]) == "did you mean maths? "
    assert meant("chess", ["maths", "swe"]) == "" == meant("", ["maths"]) == meant("x" * 10**6, ["maths"])
    assert meant("code", ["coding"], {"code": "coding"}) == "did you mean coding? "
    assert meant("ab1", ["ab2", "ab3", "ab4", "ab5"]).count(" or ") == 2


@pytest.mark.parametrize(("wrong", "right"), [
    ("keywords:existance", "keywords:existence"), ("keyword:existence", "keywords:existence"),
    ("existence", "keywords:existence"), ("Punctuation:No_Comma", "punctuation:no_comma"),
])  # fmt: skip
def test_an_unknown_instruction_names_near_ids_only(wrong, right):
    with pytest.raises(
        InstructionError, match=f"unknown instruction '{wrong}'; did you mean {right}"
    ) as error:
        check(wrong, {}, "x")
    assert sum(name in str(error.value) for name in INSTRUCTIONS) <= 3


def test_what_is_not_like_any_instruction_names_none():
    with pytest.raises(InstructionError, match="unknown instruction 'zzz'; docs/following"):
        check("zzz", {}, "x")
