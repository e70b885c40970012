"""A stage as a chain of jobs asks what our own engine asks, whatever the graders say on the way."""

from __future__ import annotations

import random

import pytest

from cascade_rl.backends.verl.job import Command
from cascade_rl.cascade.cascade import run_cascade
from cascade_rl.cascade.chain import chain
from cascade_rl.cascade.elsewhere import refuse_elsewhere
from cascade_rl.data.abilities import load_recipe
from cascade_rl.errors import InputError, RecipeError
from cascade_rl.recipe import RLStage
from cascade_rl.testing import QuietScreen
from cascade_rl.train.pool import PromptPool
from cascade_rl.types import Demonstrations, Group, Message, Outcome, Pools, Problem, Rollout, Verdict


def problems(domain: str, count: int) -> tuple[Problem, ...]:
    return tuple(
        Problem(f"{domain}-{n}", domain, (Message("user", f"{domain} {n}"),), n) for n in range(count)
    )


def stage_of(**keys) -> RLStage:
    data = [{"domain": "maths", "weight": 2}, {"domain": "coding", "weight": 1}]
    raw = {"name": "math-rl", "kind": "rl", "data": data, "steps": 12, "prompts_per_step": 4}
    return RLStage.model_validate(raw | keys)


def graded(problem: Problem, step: int) -> Group:
    """Outcomes that depend on problem and step alone, a third of each kind."""
    kind = random.Random(f"{problem.id}/{step}").choice([(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)])
    verdicts = tuple(Verdict(r, Outcome.RIGHT if r else Outcome.WRONG) for r in kind)
    return Group(problem, (Rollout.of_text("a"), Rollout.of_text("b")), verdicts)


def drawn_by_our_engine(stage: RLStage, data: Pools, seed: int) -> list[list[Problem]]:
    pool, found = PromptPool(stage, data.entries, seed), []
    for step in range(stage.steps):
        phase = next(rule for start, end, rule in stage.phases() if start <= step < end)
        found.append(pool.draw(stage.prompts_per_step, phase.data))
        pool.record([graded(problem, step) for problem in found[-1]])
    return found


def drawn_by_a_chain(
    stage: RLStage, data: Pools, seed: int
) -> tuple[list[list[Problem]], list[tuple[int, int]]]:
    asked: dict[int, list[Problem]] = {}

    def outcomes(start: int, end: int) -> list[Group]:
        return [graded(problem, step) for step in range(start, end) for problem in asked[step]]

    links = []
    for link in chain(stage, data, seed, outcomes):
        links.append((link.start, link.end))
        for place, step in enumerate(range(link.start, link.end)):
            asked[step] = list(link.asked[place * stage.prompts_per_step :][: stage.prompts_per_step])
    return [asked[step] for step in range(stage.steps)], links


@pytest.mark.parametrize("mode_mix", ["thinking", "half"])
@pytest.mark.parametrize("kind", ["none", "epoch"])
@pytest.mark.parametrize("sizes", [(9, 7), (40, 6), (100, 100)])
def test_a_chain_asks_what_our_own_engine_asks(mode_mix, kind, sizes):
    stage = stage_of(mode_mix=mode_mix, filter={"kind": kind})
    data = Pools((problems("maths", sizes[0]), problems("coding", sizes[1])))
    for seed in range(4):
        asked, links = drawn_by_a_chain(stage, data, seed)
        assert asked == drawn_by_our_engine(stage, data, seed)
        # whole and without a gap
        assert [0, *(end for _, end in links)] == [*(start for start, _ in links), stage.steps]
        # an epoch of the first pool is 9 prompts of 32: the filter looks at it several times
        assert len(links) == 1 if kind == "none" or sizes == (100, 100) else len(links) > 1


def test_every_sub_stage_is_a_job_with_its_own_rule():
    stage = stage_of(
        curriculum=[
            {"share": 0.5, "max_response_tokens": 64, "overlong": "mask"},
            {"share": 0.5, "max_response_tokens": 128, "overlong": "zero", "temperature": 0.8},
        ]
    )
    data = Pools((problems("maths", 50), problems("coding", 50)))
    links = list(chain(stage, data, 0, lambda start, end: []))
    assert [(link.start, link.end, link.rule.max_response_tokens, link.rule.overlong) for link in links] == [
        (0, 6, 64, "mask"),
        (6, 12, 128, "zero"),
    ]
    assert links[1].rule.temperature == 0.8 and links[0].rule.temperature == 1.0
    assert [link.number for link in links] == [0, 1] and {link.steps for link in links} == {6}


def test_a_phase_asks_its_own_entries_only():
    named = [{"domain": "maths", "name": "first"}, {"domain": "coding", "name": "second"}]
    phases = [{"share": 0.5, "data": ["first"]}, {"share": 0.5, "data": ["second", "first"]}]
    stage = stage_of(data=named, curriculum=phases, filter={"kind": "epoch"})
    data = Pools((problems("maths", 9), problems("coding", 30)))
    asked, links = drawn_by_a_chain(stage, data, 1)
    assert {p.domain for step in asked[:6] for p in step} == {"maths"}
    assert {p.domain for step in asked[6:] for p in step} == {"maths", "coding"}
    assert asked == drawn_by_our_engine(stage, data, 1) and any(end == 6 for _, end in links)


def test_the_batch_filter_has_prompts_for_every_round():
    stage = stage_of(filter={"kind": "batch", "max_rounds": 3})
    data = Pools((problems("maths", 500), problems("coding", 500)))
    (link,) = chain(stage, data, 0, lambda start, end: [])
    assert len(link.asked) == 12 * 4 * 3
    # drawn on, not drawn again: no prompt comes twice while the pools hold others
    assert len({p.id for p in link.asked}) == len(link.asked)


def test_a_chain_waits_for_the_outcomes_that_the_next_epoch_depends_on():
    stage, heard = stage_of(filter={"kind": "epoch"}), []
    data = Pools((problems("maths", 9), problems("coding", 7)))

    def outcomes(start: int, end: int) -> list[Group]:
        heard.append((start, end))
        return []

    links = [(link.start, link.end) for link in chain(stage, data, 0, outcomes)]
    assert heard == links


def test_sft_is_one_job():
    stage = load_recipe("tiny").stages[0]
    (link,) = chain(stage, Demonstrations(()), 0, lambda start, end: [])
    assert (link.start, link.end, link.rule, link.asked) == (0, stage.planned_steps, None, ())


def told(*overrides: str) -> list[str]:
    flat = "defaults.rl={prompts_per_step: 32, max_prompt_tokens: 96, max_response_tokens: 96, lr: 2.0e-4}"
    try:
        load_recipe("tiny", ["engine=verl", "gate.policy=warn", flat, *overrides])
    except RecipeError as error:
        return [path for path, _ in error.problems]
    return []


def test_what_a_chain_would_begin_anew_or_never_do_is_refused():
    assert told() == []
    # math-rl of tiny has sub-stages, code-rl has none
    late = ["stages.math-rl.warmup_steps=3", "stages.code-rl.warmup_steps=3"]
    assert told(*late) == ["stages.math-rl.warmup_steps"]
    assert told(*late, "stages.math-rl.engine=local") == []
    assert told("stages.math-rl.schedule=cosine") == ["stages.math-rl.schedule"]
    assert told("gate.policy=best") == ["gate.policy"]


def test_all_that_verl_cant_do_of_a_run_is_said_before_anything_is_written(tmp_path):
    flat = "defaults.rl={prompts_per_step: 32, max_prompt_tokens: 96, max_response_tokens: 96, lr: 2.0e-4}"
    changes = {
        "math-rl.lora": "{rank: 4}", "math-rl.kl_coefficient": 0.1,
        "code-rl.schedule": "linear", "code-rl.rollout_correction": "tis", "code-rl.top_p": 0.9,
        "if-rl.prompts_per_step": 3, "if-rl.rollouts_per_prompt": 3,
    }  # fmt: skip
    overrides = [f"stages.{key}={value}" for key, value in changes.items()]
    recipe = load_recipe("tiny", ["engine=verl", "gate.policy=warn", flat, *overrides])
    with pytest.raises(RecipeError) as caught:
        run_cascade(recipe, tmp_path / "run", QuietScreen(), verl=Command(("none",)))
    named = {path for path, _ in caught.value.problems}
    wanted = {f"stages.{key}" for key in changes} - {
        "stages.code-rl.top_p",
        "stages.if-rl.rollouts_per_prompt",
    }
    assert wanted <= named and not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="--verl-python"):  # where it is is asked once all can be done
        refuse_elsewhere(load_recipe("tiny", ["gate.policy=warn", flat, "stages.rlhf.engine=verl"]), None)
