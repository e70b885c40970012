"""What every `Verifiers` owes: this suite runs over the processes and over the fake."""

import asyncio
import threading

import pytest

from cascade_rl.grading.verifiers import ProcessVerifiers
from cascade_rl.testing import InlineVerifiers


@pytest.fixture(params=["processes", "inline"], scope="module")
def verifiers(request):
    if request.param == "inline":
        yield InlineVerifiers()
        return
    with ProcessVerifiers(2, preload=()) as processes:
        yield processes


def call(verifiers, function, *arguments, **options):
    return asyncio.run(verifiers.call(function, *arguments, **options))


def test_the_value_comes_back_as_json(verifiers):
    judgement = call(verifiers, "verifier_functions:echo", 1, "é\ud800", [None, {"a": 2.5}])
    assert judgement.value == [1, "é\ud800", [None, {"a": 2.5}]]
    assert judgement.fault is None
    assert call(verifiers, "verifier_functions:echo").value == []


def test_what_is_raised_is_a_crash_that_names_it(verifiers):
    assert "math domain error" in call(verifiers, "math:sqrt", -1.0).note
    assert call(verifiers, "math:sqrt", -1.0).fault == "crash"
    assert "NoneType" in call(verifiers, "math:sqrt", None).note


@pytest.mark.parametrize("function", ["no_such_module:f", "math:no_such_function", "math"])
def test_an_unknown_function_is_a_crash_that_names_it(verifiers, function):
    judgement = call(verifiers, function, 1.0)
    assert judgement.fault == "crash" and judgement.note
    assert call(verifiers, "math:sqrt", 4.0).value == 2.0


def test_a_result_that_is_no_json_is_a_crash(verifiers):
    judgement = call(verifiers, "verifier_functions:not_json")
    assert judgement.fault == "crash" and "object" in judgement.note


def test_what_takes_longer_than_its_deadline_is_a_timeout(verifiers):
    judgement = call(verifiers, "verifier_functions:wait", 0.3, deadline_s=0.1)
    assert (judgement.fault, judgement.value) == ("timeout", None)
    assert call(verifiers, "verifier_functions:wait", 0.0, deadline_s=5.0).value == 0.0


def test_many_calls_at_once_each_get_their_own_answer(verifiers):
    async def run():
        return await asyncio.gather(*(verifiers.call("verifier_functions:echo", i) for i in range(100)))

    assert [judgement.value for judgement in asyncio.run(run())] == [[i] for i in range(100)]


def test_each_event_loop_and_each_thread_may_call(verifiers):
    found = []
    threads = [
        threading.Thread(
            target=lambda i=i: found.append(call(verifiers, "verifier_functions:echo", i).value[0])
        )
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def test_arguments_that_are_no_json_are_the_callers_fault(verifiers):
    with pytest.raises(TypeError):
        call(verifiers, "verifier_functions:echo", object())
