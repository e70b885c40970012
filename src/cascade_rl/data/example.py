"""One example of each stage as it is trained: what `cascade check` shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from cascade_rl import chat
from cascade_rl.domain import Domain
from cascade_rl.recipe import Recipe, RLStage, Stage
from cascade_rl.types import Demonstration, Demonstrations, Mode, Pair, Pairs, Problem, StageData

Count = Callable[[str], int]  # tokens of a rendered text


@dataclass(frozen=True, slots=True)
class Example:
    """What is said of it in a line, and texts by what they are: the first is what a model reads."""

    stage: str
    line: str
    texts: tuple[tuple[str, str], ...]


def example(
    recipe: Recipe, stage: Stage, data: StageData, domain: Domain | None, count: Count | None
) -> Example:
    """The first item of a stage's data; without a tokenizer `count` is None, of own rows `domain`."""
    if isinstance(data, Demonstrations):
        return _imitated(stage, data.items[0], len(data.items), count)
    if isinstance(data, Pairs):
        return _compared(stage, data.training[0], len(data.training), count)
    pools = data.pools()
    return _sampled(recipe, stage, pools[0][0], sum(map(len, pools)), domain, count)


def _imitated(stage: Stage, item: Demonstration, of: int, count: Count | None) -> Example:
    prompt, reply = chat.render_problem(item.problem), f"{item.reply}{chat.TURN_END}"
    line = f"1 of {of:,} demonstrations, {item.problem.mode}"
    if count:
        read, trained = count(prompt), count(reply)
        line += f": {read + trained:,} tokens, {trained:,} of them trained on"
    return Example(stage.name, line, (("trained on in [[ ]]", f"{prompt}[[{reply}]]"),))


def _compared(stage: Stage, pair: Pair, of: int, count: Count | None) -> Example:
    prompt = chat.render(pair.problem.messages, Mode.INSTRUCT)
    line = f"1 of {of:,} pairs"
    if count:
        good, bad = (count(f"{prompt}{answer}{chat.TURN_END}") for answer in (pair.chosen, pair.rejected))
        line += f": {good:,} tokens with the chosen answer, {bad:,} with the rejected one"
    # of the policy's own samples there are none before the stage begins
    answers = (
        (pair.chosen, pair.rejected)
        if pair.chosen or pair.rejected
        else ("(sampled as the stage begins)",) * 2
    )
    return Example(
        stage.name,
        line,
        (("the prompt", prompt), ("scored higher", answers[0]), ("scored lower", answers[1])),
    )


def _sampled(
    recipe: Recipe, stage: Stage, problem: Problem, of: int, domain: Domain | None, count: Count | None
) -> Example:
    # half: the first half of each batch
    thinks = isinstance(stage, RLStage) and stage.mode_mix != "instruct"
    asked = problem.in_mode(Mode.THINKING if thinks else Mode.INSTRUCT)
    prompt = chat.render_problem(asked)
    line = f"1 of {of:,} prompts, {asked.mode}" + (f": {count(prompt):,} tokens" if count else "")
    if domain is None:
        return Example(stage.name, line, (("the model reads", prompt),))
    line += f"; {domain.name}: {_reward(recipe, stage, domain)}"
    graded = () if domain.learned else (("graded against", _written(problem.answer)),)
    return Example(stage.name, line, (("the model reads", prompt), *graded))


def _reward(recipe: Recipe, stage: Stage, domain: Domain) -> str:
    if domain.learned:
        return f"the reward is the score of {stage.reward_model_among(recipe.before(stage.name))}"
    if domain.judged and isinstance(stage, RLStage) and stage.judge:
        return f"the reward is the probability of {stage.judge.model}'s YES"
    return f"the reward is its grader's ({domain.summary})"


def _written(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
