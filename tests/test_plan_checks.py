"""The plan's parts against what others published: verdicts a batch, MFU, step times. Nothing here is fitted to its own row."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import recipe_of

from cascade_rl.domains import domain_names, load_domain
from cascade_rl.plan.here import here_for
from cascade_rl.plan.phases import EVALUATION, phases_of
from cascade_rl.plan.published import CASCADE_ASYNCHRONOUS, GRADED, STEPPED, TRAINED
from cascade_rl.plan.shapes import public
from cascade_rl.plan.verdicts import verdict
from cascade_rl.plan.verification import waited
from cascade_rl.sources.shared import SHARED

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import plan_checks


def test_the_report_s_pool_predicts_the_next_report_s():
    # put in: 1,172.4 s for 1,024 verdicts on 64 processes, so 73.3 s each (arXiv 2512.13607)
    service = plan_checks.fitted("Cascade, synchronous")
    assert service == pytest.approx(1172.4 * 64 / 1024)
    # came out: 2,048 verdicts on 384 cores took 427.2 s (arXiv 2603.19220), six rounds of them
    found = plan_checks.predicted("Cascade 2", service)
    assert found == pytest.approx(6 * service)
    assert found == pytest.approx(427.2, rel=0.05)
    # verdicts that vary as exponential ones do would have waited twice as long for the last
    assert plan_checks.predicted("Cascade 2", service, varied=True) > 1.5 * 427.2


def test_what_stays_waited_for_tells_how_long_decoding_lasts():
    service = plan_checks.fitted("Cascade, synchronous")
    decoding = plan_checks.decoding_for(CASCADE_ASYNCHRONOUS, service)
    found = plan_checks.overlapped(decoding, service)
    assert (found.synchronous, found.asynchronous) == pytest.approx((1172.4, 416.2))
    # decoding alone hides at most itself
    assert decoding >= 1172.4 - 416.2
    # a share of the cost model's limit as published ones are: it was not put in
    assert 0.25 < plan_checks.decoding_limit() / decoding < 0.8


@pytest.mark.parametrize(
    "row", [row for row in TRAINED if not row.lora], ids=lambda row: f"{row.model} {row.length}"
)
def test_our_count_of_operations_gives_the_mfu_that_others_state(row):
    # within the digits that are printed for 0.6B; how the head of 4B is counted there is not said
    assert plan_checks.mfu(row) == pytest.approx(row.mfu, rel=0.02 if "0.6B" in row.model else 0.1)


def test_published_steps_are_not_below_the_limit():
    for row in STEPPED:
        sampled, computed = plan_checks.step_bound(row)
        assert 0.15 < (sampled + computed) / row.seconds < 0.5
    # 16 H100: 31 s by another program (ENGINES.md, section 4.3), with other lengths drawn
    assert sum(plan_checks.step_bound(STEPPED[0])) == pytest.approx(31, rel=0.1)


def test_each_published_figure_names_its_source():
    for row in (*TRAINED, *STEPPED, *GRADED):
        assert "arXiv" in row.source or "prime-rl" in row.source or "NeMo-RL" in row.source


@pytest.mark.parametrize("domain", ["coding", "maths"])
def test_no_problem_that_is_made_here_costs_what_a_contests_does(domain):
    """Rows of a table may be anything; a source of our own is known."""
    rows = {form.partition(":")[0] for form in SHARED}
    own = {form.partition(":")[0] for form in load_domain(domain).sources} - rows
    assert {"coding": {"builtin", "basics"}, "maths": {"builtin", "stories"}}[domain] <= own
    assert all(verdict(domain, form).seconds < 0.01 for form in own)


def test_verdicts_cost_what_was_measured():
    assert verdict("coding", "hub:org/contests").seconds == pytest.approx(73.275)
    assert verdict("coding", "builtin").seconds == verdict("coding", "humaneval").seconds == 0.0033
    assert verdict("maths", "jsonl:rows.jsonl").seconds == pytest.approx(0.24375)
    # RL of swe compares patches; its benchmark runs the tests
    assert verdict("swe", "builtin").seconds < verdict("swe", "builtin", benchmark=True).seconds
    for name in domain_names():
        assert 0 < verdict(name, "builtin").seconds < 1


def test_a_published_benchmark_costs_what_its_own_verdicts_cost():
    """Where its rows lie says nothing of them: HumanEval's programs were taken for a contest's, 73 s each."""
    recipe = recipe_of("smollm2-evening")
    parts = next(phase for phase in phases_of(recipe, 8192) if phase.kind == EVALUATION).parts
    found = {part.label: part.verdicts for part in parts}
    # 164 problems, a sample in each mode
    assert found["humaneval"] == pytest.approx(2 * 164 * 0.0033)


@pytest.mark.parametrize(("load", "told"), [(0.2, False), (1.7, True)])
def test_a_plan_by_rates_of_a_busy_machine_says_so(monkeypatch, load, told):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 9.0, 9.0))
    words = here_for(public("SmolLM2-135M"), "fp32").source
    assert ("BESIDE OTHER WORK" in words) is told


@given(st.integers(1, 60), st.integers(1, 12), st.floats(0.1, 50), st.floats(0, 9))
def test_replies_that_end_together_wait_for_whole_rounds(n, workers, seconds, service):
    # all of one length and side by side: none is graded before all have ended
    found = waited([7] * n, n, seconds, service, workers)
    assert found == pytest.approx(math.ceil(n / workers) * service, abs=1e-9)


def test_verdicts_that_decoding_hides_are_not_waited_for():
    lengths = list(range(1, 101))
    # the last reply's own verdict is, always
    assert waited(lengths, 100, 100.0, 0.5, 4) == pytest.approx(0.5)
    assert waited(lengths, 100, 100.0, 0.0, 4) == 0.0
