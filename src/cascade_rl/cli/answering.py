"""Who answers published benchmarks, and who compares the replies, by the options of the command eval."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from cascade_rl.cli.eval_options import HERE, SERVED, Given

if TYPE_CHECKING:
    from cascade_rl.cascade.comparer import Comparer
    from cascade_rl.cascade.reach import Machine
    from cascade_rl.remote.sampler import ServedSettings
    from cascade_rl.remote.wording import ModeBy


def machine_of(given: Given) -> Machine:
    """On what a model of this machine computes."""
    from cascade_rl.cascade.reach import Machine

    template = given.template and given.template.value
    return Machine(given.workers, sampler=given.sampler, template=template, yarn=given.yarn)


def comparer_of(given: Given) -> Comparer:
    """Who compares replies; InputError for options that exclude each other."""
    from cascade_rl.cascade.comparer import Comparer

    return Comparer.named(given.judge, given.judge_key_variable, given.reward_model)


def served_of(given: Given) -> ServedSettings:
    """How a server is asked; InputError for what has no effect on this model."""
    from cascade_rl.remote.address import parse_served
    from cascade_rl.remote.sampler import TERMS, ServedSettings

    if parse_served(given.model):
        given.refuse(HERE, "no effect on a served model; its server decides that")
    else:
        given.refuse(SERVED, "no effect on a model of this machine; a served one is openai:URL#MODEL")
    terms = replace(TERMS, parallel=given.parallel or TERMS.parallel, most_requests=given.budget)
    # any other way is refused there
    return ServedSettings(terms, given.key_variable, cast("ModeBy | None", given.mode_by))
