"""Thousands of pairs of expressions with a known verdict: no wrong one is rewarded, few right ones refused."""

from collections import Counter

from expression_pairs import families

from cascade_rl.verify.maths.algebra import judge

FAMILIES, MUTANTS = 530, 9
MOST_REFUSED = 0.01


def test_no_mutation_is_rewarded_and_rewriting_is_seen():
    count, rewarded, refused = Counter(), [], []
    for left, right, others in families(seed=1, count=FAMILIES, mutants=MUTANTS):
        for gold, answer in ((left, right), (right, left)):
            count["equal"] += 1
            if judge(gold, answer)["outcome"] != "right":
                refused.append((gold, answer))
        for other in others:
            for one in (left, right):
                for gold, answer in ((one, other), (other, one)):
                    count["different"] += 1
                    if judge(gold, answer)["outcome"] == "right":
                        rewarded.append((gold, answer))
    assert rewarded == []
    assert len(refused) <= MOST_REFUSED * count["equal"], refused
    assert count["equal"] + count["different"] >= 20_000
