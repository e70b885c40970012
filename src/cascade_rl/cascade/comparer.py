"""Who compares replies with a baseline's answers, where a benchmark asks for that (`Benchmark.judged`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade_rl.benchmarks import load_benchmark
from cascade_rl.cascade.candidate import weights_digest
from cascade_rl.domain import HeldOut, Services
from cascade_rl.errors import InputError
from cascade_rl.grading.services import judge_spec, with_judge
from cascade_rl.recipe import JudgeSpec
from cascade_rl.rollout.world import World
from cascade_rl.train.learned_reward import serve
from cascade_rl.train.stage_run import Exported

TIMEOUT_S = 300.0  # for one text of a judge, which may have thousands of tokens
NAME = "comparer"  # a reward model's among the models of the workers


def judged(held: HeldOut) -> bool:
    """Whether a benchmark's replies are compared by a judge."""
    return load_benchmark(held.spec.suite or held.name).judged


@dataclass(frozen=True, slots=True)
class Comparer:
    """A judge model, the folder of a run's reward model, or nobody."""

    judge: JudgeSpec | None = None
    reward_model: Path | None = None

    @classmethod
    def named(cls, judge: str | None, key_variable: str | None, reward_model: Path | None) -> Comparer:
        """From what a user types: `openai:URL#MODEL`, the environment variable of its key, or a folder.

        Raises InputError for what is none of these, or more than one.
        """
        if judge and reward_model:
            raise InputError("--judge and --reward-model: give one or the other to compare replies")
        if key_variable and not judge:
            raise InputError("--judge-key-variable has no effect without --judge")
        if reward_model and not reward_model.is_dir():
            raise InputError(f"--reward-model {reward_model} is no folder")
        if judge is None:
            return cls(None, reward_model)
        address, _, model = judge.removeprefix("openai:").rpartition("#")
        if not judge.startswith("openai:") or not address or not model:
            raise InputError(f"--judge {judge}: want openai:URL#MODEL, as openai:http://host/v1#m")
        asked = {"url": address, "model": model, "api_key_variable": key_variable, "timeout_s": TIMEOUT_S}
        return cls(judge_spec(asked, "--judge"))

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Comparer:
        """Who gave the verdicts of a results folder; InputError where that can't be asked without a model."""
        if settings.get("compared_by_reward_model"):
            raise InputError(
                f"the replies to {settings['name']} were compared by a reward model, which --regrade does "
                "not load; measure them again with --reward-model and another --out"
            )
        found = settings.get("compared_by")
        return cls(judge_spec(found, "the folder's settings")) if found else cls()

    def check(self, held: Sequence[HeldOut]) -> None:
        """Raise InputError where somebody is missing, or given and not needed."""
        names = [one.name for one in held if judged(one)]
        if names and self == Comparer():
            raise InputError(
                f"{', '.join(names)}: replies are compared by a judge: --judge openai:URL#MODEL, or "
                "--reward-model FOLDER (docs/arena.md)"
            )
        if not names and self != Comparer():
            option = "--judge" if self.judge else "--reward-model"
            raise InputError(f"{option} has no effect: no benchmark that is asked compares replies")

    def settings(self, held: HeldOut) -> dict[str, Any]:
        """What a results folder says of it, so that verdicts of two never mix; empty for other benchmarks."""
        if not judged(held):
            return {}
        if self.judge:
            return {"compared_by": self.judge.model_dump(mode="json")}
        if self.reward_model is None:
            return {}
        said = {"compared_by_reward_model": str(self.reward_model)}
        return said | {"compared_by_weights": weights_digest(self.reward_model)}

    def serving(self, services: Services, world: World | None) -> Services:
        """The services that judged benchmarks are graded with; a reward model runs on the workers of `world`.

        Raises InputError when the judge's address or key can't be used, StageError when the folder holds no
        reward model of the world's shape.
        """
        if self.judge:
            return with_judge(services, self.judge)
        if self.reward_model and world:
            return replace(services, reward_model=serve(world, Exported(self.reward_model, None), NAME))
        return services
