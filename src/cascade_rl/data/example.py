"""One example of each stage as it is trained: what `cascade check` shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cascade_rl import chat
from cascade_rl.domain import Domain
from cascade_rl.recipe import Recipe, RLStage, Stage
from cascade_rl.types import Demonstration, Demonstrations, Message, Mode, Pair, Pairs, Problem, StageData


class Reader(Protocol):
    """What knows how a model reads: its tokenizer with its template, see `model/tokenizer`."""

    def shown(self, item: Demonstration) -> tuple[str, str]:
        """The texts of prompt and reply, the mark that ends it included."""

    def prompt(self, problem: Problem) -> Sequence[int]:
        """Ids of a prompt."""

    def taught(self, item: Demonstration) -> tuple[Sequence[int], Sequence[int]]:
        """Ids of prompt and reply."""

    def answered(self, messages: Sequence[Message], answer: str) -> Sequence[int]:
        """Ids of a conversation with an answer."""


@dataclass(frozen=True, slots=True)
class Example:
    """What is said of it in a line, and texts by what they are: the first is what a model reads."""

    stage: str
    line: str
    texts: tuple[tuple[str, str], ...]


def example(
    recipe: Recipe, stage: Stage, data: StageData, domain: Domain | None, reader: Reader | None
) -> Example:
    """The first item of a stage's data.

    `reader` is None while the tokenizer is still to be learnt: then nothing is counted, and the template is
    ours. `domain` is None where own rows hold what is trained on.
    """
    if isinstance(data, Demonstrations):
        return _imitated(stage, data.items[0], len(data.items), reader)
    if isinstance(data, Pairs):
        return _compared(stage, data.training[0], len(data.training), reader)
    pools = data.pools()
    return _sampled(recipe, stage, pools[0][0], sum(map(len, pools)), domain, reader)


def _texts(item: Demonstration, reader: Reader | None) -> tuple[str, str]:
    if reader is not None:
        return reader.shown(item)
    return chat.render_problem(item.problem), f"{item.reply}{chat.TURN_END}"


def _imitated(stage: Stage, item: Demonstration, of: int, reader: Reader | None) -> Example:
    line = f"1 of {of:,} demonstrations, {item.problem.mode}"
    if not item.reply:
        line += ", of replies that the policy gives then"
        return Example(stage.name, line, (("the prompt", _prompt(item.problem, reader)),))
    prompt, reply = _texts(item, reader)
    if reader is not None:
        read, trained = map(len, reader.taught(item))
        line += f": {read + trained:,} tokens, {trained:,} of them trained on"
    return Example(stage.name, line, (("trained on in [[ ]]", f"{prompt}[[{reply}]]"),))


def _compared(stage: Stage, pair: Pair, of: int, reader: Reader | None) -> Example:
    prompt = _prompt(pair.problem, reader)
    line = f"1 of {of:,} pairs"
    if not pair.chosen and not pair.rejected:
        # the policy's own answers, which it gives as the stage begins
        return Example(stage.name, f"{line}, of answers that are sampled then", (("the prompt", prompt),))
    if reader is not None:
        good, bad = (len(reader.answered(pair.problem.messages, one)) for one in (pair.chosen, pair.rejected))
        line += f": {good:,} tokens with the chosen answer, {bad:,} with the rejected one"
    texts = (("the prompt", prompt), ("scored higher", pair.chosen), ("scored lower", pair.rejected))
    return Example(stage.name, line, texts)


def _prompt(problem: Problem, reader: Reader | None) -> str:
    # of a demonstration without a reply the first text is the prompt alone
    return _texts(Demonstration(problem, "x"), reader)[0]


def _sampled(
    recipe: Recipe, stage: Stage, problem: Problem, of: int, domain: Domain | None, reader: Reader | None
) -> Example:
    # half: the first half of each batch
    thinks = isinstance(stage, RLStage) and stage.mode_mix != "instruct"
    asked = problem.in_mode(Mode.THINKING if thinks else Mode.INSTRUCT)
    line = f"1 of {of:,} prompts, {asked.mode}"
    if reader is not None:
        line += f": {len(reader.prompt(asked)):,} tokens"
    texts = [("the model reads", _prompt(asked, reader))]
    if domain is not None:
        line += f"; {domain.name}: {_reward(recipe, stage, domain)}"
        texts += [] if domain.learned else [("graded against", _written(problem.answer))]
    return Example(stage.name, line, tuple(texts))


def _reward(recipe: Recipe, stage: Stage, domain: Domain) -> str:
    model = stage.outside() or stage.reward_model_among(recipe.before(stage.name))
    if domain.learned:
        return f"the reward is the score of {model}"
    if domain.judged and isinstance(stage, RLStage) and stage.judge:
        return f"the reward is the probability of {stage.judge.model}'s YES"
    graders = f"the reward is its grader's ({domain.summary})"
    # the example is the first of the first entry
    if isinstance(stage, RLStage) and stage.data[0].with_reward_model:
        return f"{graders}, and of a right reply also the score of {model}: 1 to 2 in all"
    return graders


def _written(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
