"""pass@k, cons@k and the sampling error, against enumeration and simulation."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.scores.passes import majority, pass_at, standard_errors, statistics_of
from cascade_rl.scores.samples import Sample, of_line, to_line
from cascade_rl.types import Mode, Outcome, Stop, Verdict


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_all_subsets_that_hold_a_right_one(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = list(itertools.combinations(right, k))
    assert pass_at(sum(right), len(right), k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("right", "n", "k"), [(1, 2, 3), (3, 2, 1), (-1, 2, 1), (0, 2, 0)])
def test_no_share_can_be_told_of_more_than_was_drawn(right, n, k):
    with pytest.raises(ValueError, match="no share"):
        pass_at(right, n, k)


def test_the_majority_by_hand():
    assert majority(["4", "4", "5"], [1.0, 1.0, 0.0]) == 1.0
    assert majority(["5", "4", "5"], [0.0, 1.0, 0.0]) == 0.0
    assert majority(["4", "5"], [1.0, 0.0]) == 0.5  # as if one of both were drawn
    assert majority([None, None, "4"], [0.0, 0.0, 1.0]) == 1.0  # what says nothing has no vote
    assert majority([None], [0.0]) == 0.0


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=9))
def test_the_majority_is_what_drawing_among_the_most_frequent_gives(answers):
    accuracies = [1.0 if answer == "a" else 0.0 for answer in answers]
    counts = Counter(answer for answer in answers if answer)
    tops = [answer for answer, count in counts.items() if count == max(counts.values())] if counts else []
    wanted = tops.count("a") / len(tops) if tops else 0.0
    assert majority(answers, accuracies) == pytest.approx(wanted)


def test_the_sampling_errors_are_those_of_a_simulation():
    """Problems drawn from known chances, k samples each: both parts within their spread over 4,000 repetitions."""
    rng = random.Random(0)
    chances, k = [rng.choice((0.1, 0.5, 0.9)) for _ in range(30)], 8

    def drawn(p_of):
        return {str(i): [float(rng.random() < p) for _ in range(k)] for i, p in enumerate(p_of)}

    told = [standard_errors(drawn(chances)) for _ in range(300)]
    means = [sum(map(sum, drawn(chances).values())) / (30 * k) for _ in range(4000)]
    average = sum(means) / len(means)
    spread = math.sqrt(sum((m - average) ** 2 for m in means) / (len(means) - 1))
    assert math.sqrt(sum(t["samples"] ** 2 for t in told) / 300) == pytest.approx(spread, rel=0.05)

    fresh = []
    for _ in range(4000):
        fresh.append(
            sum(map(sum, drawn([rng.choice((0.1, 0.5, 0.9)) for _ in range(30)]).values())) / (30 * k)
        )
    average = sum(fresh) / len(fresh)
    whole = sum((m - average) ** 2 for m in fresh) / (len(fresh) - 1)
    told = [standard_errors(drawn([rng.choice((0.1, 0.5, 0.9)) for _ in range(30)])) for _ in range(600)]
    assert sum(t["samples"] ** 2 + t["problems"] ** 2 for t in told) / 600 == pytest.approx(whole, rel=0.1)


def test_more_samples_shrink_their_own_part_alone():
    values = {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 0.0], "d": [0.0, 1.0]}
    now, more = standard_errors(values), standard_errors(values, 8)
    assert now["problems"] == more["problems"] and now["samples"] == pytest.approx(2 * more["samples"])


def sample(problem, number, right, answer=None, mode=Mode.THINKING, **extra):
    return Sample(problem, mode, number, "x", Stop.END, 3, Verdict.binary(right), answer, **extra)


def test_statistics_of_a_hand_made_set():
    drawn = {
        "p": [(True, "1"), (True, "1"), (False, "2"), (False, None)],
        "q": [(False, "3"), (False, "3"), (True, "4"), (False, "5")],
    }
    samples = [sample(name, n, *each) for name, found in drawn.items() for n, each in enumerate(found)]
    samples += [sample("p", 0, True, mode=Mode.INSTRUCT), sample("p", 0, True, greedy=True)]
    told = statistics_of(samples, Mode.THINKING, {"p": "easy", "q": "hard"})
    assert (told["k"], told["problems"]) == (4, 2)
    assert told["pass"] == pytest.approx({"1": (2 / 4 + 1 / 4) / 2, "2": (5 / 6 + 1 / 2) / 2, "4": 1.0})
    assert told["cons"]["mean"] == 0.5
    assert told["groups"]["macro"] == pytest.approx(0.375)
    assert {name: found["mean"] for name, found in told["groups"]["of"].items()} == {
        "easy": 0.5,
        "hard": 0.25,
    }
    assert set(told["standard_error"]) == {"4", "8", "64"}
    assert "pass" not in statistics_of([sample("p", 0, True)], Mode.THINKING)


TEXTS = st.text(max_size=20)


@given(
    st.builds(
        Sample,
        problem=TEXTS,
        mode=st.sampled_from(Mode),
        sample=st.integers(0, 70),
        text=TEXTS,
        stop=st.sampled_from(Stop),
        tokens=st.none() | st.integers(0, 10**6),
        verdict=st.just(Verdict.failed("why"))
        | st.builds(lambda r, n: Verdict(r, Outcome.PARTIAL, {"x": r}, n), st.floats(0, 1), TEXTS),
        answer=st.none() | TEXTS,
        greedy=st.booleans(),
        seconds=st.floats(0, 1e6),
    )
)
def test_a_line_gives_its_sample_back(one):
    assert of_line(to_line(one), "here") == one
