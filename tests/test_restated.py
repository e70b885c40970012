"""Constraints restated in a few words: every argument is in it, no kind reads as another, and it stays short."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from instruction_cases import CASES, IFEVAL_CASES
from langdetect.detector_factory import PROFILES_DIRECTORY

from cascade_rl.verify.instructions import IFEVAL, InstructionError
from cascade_rl.verify.instructions.lexicon import LANGUAGES
from cascade_rl.verify.instructions.restated import SHORT, restate

# arguments that stand in the prompt's own text, and need not be said again
COPIED = {"prompt_to_repeat", "reference_text"}


def test_a_row_reads_as_a_person_would_note_it():
    row = [
        ("punctuation:no_comma", {"relation": None}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 3.0}),
        ("length_constraints:number_words", {"num_words": 100, "relation": "less than"}),
        ("language:response_language", {"language": "de"}),
        ("startend:end_checker", {"end_phrase": "The end."}),
    ]
    assert restate(*zip(*row, strict=True)) == (
        "no commas; exactly 3 bullets *; under 100 words; only in German; end with: The end."
    )
    assert restate(["format:emoji"], [None]) == "close every sentence with an emoji."


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_every_argument_is_said_but_the_texts_to_copy(case):
    said = restate([case.id], [case.kwargs])
    assert "\n" not in said and "{" not in said.replace("{ and so on", "")
    for name, value in case.kwargs.items():
        if name not in COPIED and value not in ("less than", "at least") and name != "language":
            for part in value if isinstance(value, list) else [value]:
                assert (f"{part:g}" if isinstance(part, float) else str(part).strip()) in said, name
    if "relation" in "".join(case.kwargs) and "less than" in case.kwargs.values():
        assert "under" in said


def test_no_two_kinds_read_alike():
    said = [restate([case.id], [case.kwargs]) for case in CASES]
    assert len(set(said)) == len({case.id for case in CASES})


def test_each_kind_of_ifeval_has_a_row_and_three_of_them_stay_short():
    """Word and mark are counted as one token each: a byte-level tokenizer cuts such plain words no further."""
    assert set(SHORT) >= set(IFEVAL)
    for three in combinations(IFEVAL_CASES, 3):
        said = restate([case.id for case in three], [case.kwargs for case in three])
        assert len(re.findall(r"\w+|[^\w\s]+", said)) <= 45, said


def test_each_language_that_the_detector_knows_has_a_name():
    codes = {path.name for path in Path(PROFILES_DIRECTORY).iterdir() if not path.name.startswith("_")}
    assert codes == set(LANGUAGES)
    assert len(set(LANGUAGES.values())) == len(codes)


def test_bad_rows_are_refused():
    for ids, kwargs in ((["no:such"], [{}]), (["punctuation:no_comma"], []), (["count:numbers"], [{}])):
        with pytest.raises(InstructionError):
            restate(ids, kwargs)
