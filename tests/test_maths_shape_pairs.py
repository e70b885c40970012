"""Generated structured answers: judged as their models mean; about 9 s on one core."""

from collections import Counter

import pytest
from structured_pairs import KINDS, pairs

from cascade_rl.verify.maths.algebra import judge
from cascade_rl.verify.maths.answers import quick

FAMILIES = 3700
MOST_REFUSED = 0.002


def equal(gold, given):
    known = quick(gold, given)
    return judge(gold, given)["outcome"] == "right" if known is None else known


@pytest.fixture(scope="module")
def judged():
    return [(*pair, equal(pair[1], pair[2])) for pair in pairs(1, FAMILIES)]


def test_there_are_enough_pairs_of_each_kind(judged):
    count = Counter((kind, same) for kind, _, _, same, _ in judged)
    assert len(judged) >= 20_000
    assert all(count[kind.__name__, same] >= 500 for kind in KINDS for same in (True, False)), count


def test_no_unequal_pair_is_rewarded(judged):
    assert [pair for pair in judged if pair[4] and not pair[3]] == []


def test_few_equal_pairs_are_refused(judged):
    same = [pair for pair in judged if pair[3]]
    refused = [pair for pair in same if not pair[4]]
    assert len(refused) <= MOST_REFUSED * len(same), refused[:20]
