"""Probes and held-out pairs are kept apart from what is trained on, whatever splits rows of a file claim."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_run import RECIPE
from tiny import toy_problem

from cascade_rl.data.abilities import check_recipe
from cascade_rl.data.gather import gather
from cascade_rl.data.kinds import provide
from cascade_rl.data.measured import check_measured
from cascade_rl.domain import HeldOut
from cascade_rl.domains import load_domain
from cascade_rl.errors import StageError
from cascade_rl.recipe import BenchmarkSpec
from cascade_rl.types import Message, Pair, Pairs, Pools


def asking(name: str, *numbers: int) -> HeldOut:
    spec = BenchmarkSpec(name=name, domain="maths")
    return HeldOut(spec, load_domain("maths"), tuple(toy_problem(n) for n in numbers))


def pairs(*numbers: int) -> tuple[Pair, ...]:
    return tuple(Pair(toy_problem(n), "a", "b") for n in numbers)


def shouted(number: int):
    problem = toy_problem(number)
    return replace(problem, messages=(Message("user", f"  {problem.prompt_text.upper()} "),))


DATA = {
    "rl": Pools((tuple(map(toy_problem, (1, 2))), (toy_problem(3),))),
    "reward": Pairs(pairs(4, 5), pairs(6)),
}


def test_what_is_apart_passes():
    check_measured(DATA, [asking("m", 7)], [asking("m", 8, 9), asking("n", 8)])
    check_measured(DATA, [asking("m", 1)], [])  # benchmarks and stages are held apart elsewhere


@pytest.mark.parametrize(
    ("number", "where"), [(3, "stage rl"), (5, "stage reward"), (7, "benchmark m")], ids=str
)
def test_a_probe_asks_nothing_that_is_used_otherwise(number, where):
    with pytest.raises(
        StageError, match=rf"probe of p and {where} share prompts, such as 'name thing {number}"
    ):
        check_measured(DATA, [asking("m", 7)], [asking("q", 8), asking("p", 9, number)])
    loud = HeldOut(BenchmarkSpec(name="p", domain="maths"), load_domain("maths"), (shouted(number),))
    with pytest.raises(StageError, match=where):
        check_measured(DATA, [asking("m", 7)], [loud])


def test_a_held_out_pair_asks_nothing_that_its_model_is_trained_on():
    with pytest.raises(
        StageError, match=r"reward: 1 prompts stand in training and in held-out pairs, such as"
    ):
        check_measured({"reward": Pairs(pairs(4, 5), pairs(5, 6))}, [], [])
    # other answers to it do not make it another prompt, another stage's pairs do not matter
    check_measured({"reward": DATA["reward"], "more": Pairs(pairs(6), pairs(4))}, [], [])


def test_a_file_that_is_in_every_split_chooses_no_step(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Compute {n} + {n}.", "answer": str(2 * n)} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = {
        "name": "own", "domain": "maths", "source": f"jsonl:{path}", "split": "all", "problems": 30,
        "max_response_tokens": 4,
    }  # fmt: skip
    gate = {"policy": "best", "probe_every": 2, "probe_problems": 20}
    with pytest.raises(StageError, match=r"probe of own and benchmark own share prompts.*split: hash"):
        gather(check_recipe({**RECIPE, "benchmarks": [benchmark], "gate": gate}), provide)
    hashed = {**benchmark, "split": "hash"}
    assert gather(check_recipe({**RECIPE, "benchmarks": [hashed], "gate": gate}), provide).probes
