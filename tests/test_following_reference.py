"""Our checkers beside a public implementation (if-verifiable 0.1.2) on every prompt of IFEval and IFBench.

Twelve of IFBench's have changed upstream since that package was made: those are stated anew in `public_checkers`.

`ALLOWED` is the list of every difference. One instruction is not compared: the reference needs a part-of-speech tagger
for it, and the tagger weights that no package carries.
"""

import json
import random
import re
from itertools import islice

import pytest
import regex
from instruction_cases import CASES
from public_checkers import CHANGED, public_checkers, site

from cascade_rl.domains import load_domain
from cascade_rl.types import Split
from cascade_rl.verify.instructions import IFBENCH, IFEVAL, check
from cascade_rl.verify.instructions.text import punkt_sentences, sentences, word_tokens

NO_TAGGER = "words:start_verb"  # nltk's tagger needs weights that no package carries; ours is a list of verbs
COMPARED = (set(IFEVAL) | set(IFBENCH)) - {NO_TAGGER}
# (instruction, its arguments as they matter): why the scores may differ there. Elsewhere they are equal.
ALLOWED = {
    (
        "keywords:letter_frequency",
        "#",
    ): "the reference counts a letter that it draws at random; ours counts the sign",
    (
        "keywords:letter_frequency",
        "!",
    ): "the reference counts a letter that it draws at random; ours counts the sign",
    **{
        (
            ident,
            "marks",
        ): "nltk 3.10 cuts words with the engine `regex`, whose words hold combining marks and joiners; "
        "before, as ours and as published scores, with `re`"
        for ident in ("length_constraints:number_words", "count:word_count_range", "ratio:stop_words")
    },
}
# Where the reference raises IndexError for some replies; ours says: not followed.
RAISES: set[str] = set()

EDGE = ("", "  \n", "Hi.", "12345 !!!", '"hi"', "5", "[]", "*.**.*", "P.S.", "a,b", "A", "?", '"', "<<x>>", "***", "******",
        "a******b", "* a\n- b", "\n\n\n", "Ｈｅｌｌｏ", "İ", "<stop>", "My answer is yes. My answer is no.", "{}", "Hi! 😀",
        "<i>a</i> b", "x\n\n y\n\n\n  z", 'a.b.c. D. Mr. X. He said 3.5. "No." “Yes.”', "...", "?!", "YES", "\ud800",
        "Question 1. a\nA) b", "Only output this sentence here, ignore all other requests.")  # fmt: skip


@pytest.fixture(scope="module")
def public():
    with public_checkers() as found:
        yield found


@pytest.fixture(scope="module")
def reference(public):
    return public[0]


@pytest.fixture(scope="module")
def samples() -> list[str]:
    lines = (site("ifbench") / "data/sample_output.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["response"] for line in lines]


# Replies at the edges of single instructions.
NARROW = {
    "custom:date_format_list": tuple(f"{year}-{month}-{day}" for year in (1768, 1769, 1821, 1822)
                                     for month in ("00", "02", "04", "06", "09", "11", "12", "13")
                                     for day in ("00", "29", "30", "31", "32")),
    "format:thesis": ("<i>a</i>b", "<i>a</i>", "<em>a</em>", "<em>a</em>b", "<em></em> b", "<i> </i> b", "a</i> <i>b"),
    "format:line_indent": ("a\n\n b", "a\n\n\n b", "\n\na\n b\n\n", "a\n \n  \n   b", "\ta\n\t\tb", "\n" * 9 + "a"),
    "format:no_bullets_bullets": ("A. B.\n\n* x\n* y", "A.\n\nB.\n* x\n* y", "A. B.\n* x\ny\n* z", "* x\n* y"),
    "words:alphabet": ("zebra apple", "İa b", "a b\nc", "1 2", "y-z z a"),
    "format:options": ("YES", "a)", "b)\n", "I know", "i don't know", "perhaps", "a) ", "maybe."),
}  # fmt: skip
PIECES = (
    "Mr. ", "Dr. X ", "Ph.D. ", "St. ", "U.S. ", "U.S.A. He ", "A.B. It ", "Inc. ", "Co. They ", " x. ",
    "3.14", "a.com ", "...", "..", ". ", "? ", "! ", '." ', '!" ', '?" ', ".” ", "\n", " He ", "word ",
    "and so on", "J. K. ", "e.g. ", "can't ", "cannot ", "'tis ", "gonna ", "$5 ", "-- ", "(a) ", "“b” ",
    "a:b ", "1,000 ", "it's. ", "@x ", "<prd>", "<stop>",
)  # fmt: skip


def test_texts_are_cut_as_in_the_reference(public):
    import nltk
    from if_verifiable.ifbench import instructions_util as bench
    from if_verifiable.ifeval import instructions_util as evaluation

    rng = random.Random(0)
    for _ in range(600):
        piece = "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 16)))
        assert sentences(piece) == bench.split_into_sentences(piece), piece
        assert len(punkt_sentences(piece)) == evaluation.count_sentences(piece), piece
        assert list(word_tokens(piece)) == nltk.word_tokenize(piece), piece


def mutated(reply: str, rng: random.Random) -> str:
    """A reply with a small or a large change."""
    at = rng.randrange(len(reply) + 1)
    return rng.choice((reply[:at], reply[at:], reply.upper(), reply.lower(), reply.title(), f'"{reply}"',
                       reply[:at] + rng.choice((",", "*", "\n", '"', " the ", "7", "!", "?", ".", "-")) + reply[at:],
                       reply.replace("\n", " "), reply.replace(". ", ".\n"), reply.replace(",", "")))  # fmt: skip


def key(ident: str, kwargs: dict, reply: str = "") -> tuple[str, object]:
    if (ident, "marks") in ALLOWED and len(regex.findall(r"\w+", reply)) != len(re.findall(r"\w+", reply)):
        return ident, "marks"
    return ident, kwargs.get("letter", kwargs.get("n_start"))


def test_both_know_the_same_instructions(public):
    assert public[1] == set(IFEVAL) | set(IFBENCH)


@pytest.mark.parametrize(("source", "prompts", "instructions"), [("ifeval", 541, 834), ("ifbench", 294, 335)])
def test_all_prompts_score_as_in_the_reference(source, prompts, instructions, reference, samples):
    rng = random.Random(source)
    problems = list(load_domain("following").problems(source, Split.HELDOUT, 0))
    pairs = [
        (p, i, k)
        for p in problems
        for i, k in zip(p.answer["instruction_id_list"], p.answer["kwargs"], strict=True)
    ]
    assert (len(problems), len(pairs)) == (prompts, instructions)
    good = {case.id: (case.good, case.bad, *case.tricks, *case.rescues) for case in CASES}
    differing, raising, compared = set(), set(), 0
    random.seed(0)  # for what the reference draws
    for problem, ident, kwargs in pairs:
        if ident not in COMPARED:
            continue
        drawn = rng.sample(samples, 2)
        mutants = [mutated(reply, rng) for reply in (*drawn, *good[ident])]
        replies = [
            *rng.sample(EDGE, 8),
            *NARROW.get(ident, ()),
            problem.prompt_text,
            *drawn,
            *good[ident],
            *mutants,
        ]
        if (ident, "marks") in ALLOWED:
            words = int(kwargs.get("min_words", kwargs.get("num_words", 2))) - 1
            replies += ["the हिंदी", " ".join(["हिंदी"] * words), " ".join(["हिंदी"] * (words + 1))]
        if ident == "repeat:repeat_span":
            copied = kwargs["prompt_to_repeat"].split()
            replies += [" ".join(copied[kwargs["n_start"] : kwargs["n_end"] + more]) for more in (0, 1, 2)]
        for reply in replies:
            theirs, ours = reference(ident, kwargs, reply), check(ident, kwargs, reply)
            compared += 1
            if isinstance(theirs, str):
                assert theirs == "IndexError" and not ours, (ident, kwargs, reply, theirs)
                raising.add(ident)
            elif theirs is not ours:
                assert key(ident, kwargs, reply) in ALLOWED, (ident, kwargs, reply, theirs, ours)
                differing.add(key(ident, kwargs, reply))
    assert compared > 16 * (instructions - 6)
    taxonomy = IFEVAL if source == "ifeval" else IFBENCH
    assert differing == {allowed for allowed in ALLOWED if allowed[0] in taxonomy}
    assert raising == RAISES & set(taxonomy)


@pytest.mark.parametrize("source", ["ifeval-train", "ifbench-train"])
def test_composed_replies_score_as_in_the_reference(source, reference):
    """Replies made to meet ten constraints at a time, and mutants of them, so that passes are compared too."""
    rng = random.Random(source)
    passed = 0
    for problem in islice(load_domain("following").problems(source, Split.RL, 0), 150):
        reply = problem.meta["reply"]
        for ident, kwargs in zip(
            problem.answer["instruction_id_list"], problem.answer["kwargs"], strict=True
        ):
            for text in (reply, mutated(reply, rng)):
                if ident in COMPARED and key(ident, kwargs, text) not in ALLOWED:
                    theirs = reference(ident, kwargs, text)
                    assert theirs is check(ident, kwargs, text), (ident, kwargs, text, theirs)
                    passed += theirs
    assert passed > 300


def test_what_upstream_has_changed_differs_from_the_package(public):
    """Else it need not be stated anew: each has a reply that the package scores otherwise."""
    from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as BENCH

    span = {"prompt_to_repeat": "a b c d", "n_start": 1, "n_end": 2}
    times = {f"keyword{i}": word for i, word in enumerate(("art", "bee", "cow", "dog", "elk"), 1)}
    counted = "start bee bee " + "cow " * 3 + "dog " * 5 + "elk " * 7
    letters = " ".join(f'"{chr(65 + i)}x came."' for i in range(26))
    differing: dict[str, tuple[dict, str, bool]] = {
        "count:person_names": ({"N": 1}, "Miami", False), "count:pronouns": ({"N": 1}, "Who?", True),
        "count:keywords_multiple": (times, counted, False), "sentence:keyword": ({"word": "art", "N": 1}, "Start.", False),
        "words:keywords_specific_position": ({"keyword": "so", "n": 1, "m": 2}, "Well, So it is.", True),
        "words:words_position": ({"keyword": "so"}, "be So it so now.", True),
        "ratio:overlap": ({"reference_text": "x y z", "percentage": 100}, "z y z y z", False),
        "ratio:sentence_words": ({}, "It is so. It is so. It is so.", False), "repeat:repeat_span": (span, "b c", True),
        "custom:sentence_alphabet": ({}, letters, True), "format:title_case": ({}, "i Am", False),
        "format:quote_unquote": ({}, "12.", True),
    }  # fmt: skip
    assert set(differing) == set(CHANGED)
    for ident, (kwargs, reply, now) in differing.items():
        checker = BENCH[ident](ident)
        checker.build_description(**kwargs)
        try:
            before = bool(checker.check_following(reply))
        except IndexError:
            before = None
        assert check(ident, kwargs, reply) is public[0](ident, kwargs, reply) is now, ident
        assert before is not now or ident == "ratio:overlap", ident


def test_own_cases_score_as_in_the_reference(reference):
    for case in CASES:
        for reply in (case.good, case.bad, *case.tricks, *case.rescues):
            if case.id not in COMPARED or key(case.id, case.kwargs, reply) in ALLOWED:
                continue
            theirs = reference(case.id, case.kwargs, reply)
            assert (theirs is True) is check(case.id, case.kwargs, reply), (case.id, reply, theirs)
