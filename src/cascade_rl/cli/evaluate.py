"""The command eval, which scores a model: on published benchmarks, or on those of a recipe."""

from __future__ import annotations

from cascade_rl.cli import eval_options
from cascade_rl.cli.app import OnRay, Unsafe, WrittenBy
from cascade_rl.cli.eval_options import COMPARING, HERE, OF_RECIPE, OF_SUITE, SERVED, Given
from cascade_rl.cli.held_out import score_on_recipe
from cascade_rl.cli.published import regrade_on_suite, score_on_suite


def evaluate(
    model: eval_options.Model,
    overrides: eval_options.Changes = None,
    suite: eval_options.Suite = None,
    out: eval_options.Out = None,
    data: eval_options.Data = None,
    regrade: eval_options.Regrade = False,
    seed: eval_options.Seed = 0,
    workers: eval_options.Workers = 1,
    sampler: eval_options.Sampling = "torch",
    template: WrittenBy = None,
    yarn: eval_options.Yarn = None,
    recipe: eval_options.OfRecipe = None,
    benchmark: eval_options.Only = None,
    reward_model: eval_options.PairJudge = None,
    judge: eval_options.Judge = None,
    judge_key_variable: eval_options.JudgeKey = None,
    key_variable: eval_options.KeyVariable = None,
    mode_by: eval_options.ModeBy = None,
    parallel: eval_options.Parallel = None,
    budget: eval_options.Budget = None,
    unsafe_exec: Unsafe = False,
    ray: OnRay = None,
) -> None:
    """Score a model: on published benchmarks (--suite), or on the held-out problems of a recipe.

    \b
    cascade eval runs/tiny/stages/08-swe-rl/checkpoint
        the recipe tiny's own benchmarks, in both modes
    cascade eval ORG/NAME@REVISION --suite ifeval,aime25 aime25.k=8
        two published ones by the report's protocol, AIME with 8 samples
    cascade eval openai:http://127.0.0.1:8000/v1#my-model --suite report problems=100
        all of the report's, a hundred problems of each, on a served model
    cascade eval ORG/NAME@REVISION --suite ifeval --regrade
        its stored replies judged again by today's graders; nothing is asked

    With --suite every reply is stored as it is graded, and the same command goes on where it was stopped.
    What follows the model changes the protocol: k=8, problems=100, mode=instruct, temperature=1.0,
    max_response_tokens=4096, for all benchmarks or for one (aime25.k=64).
    """
    given = Given(**locals())
    if given.suite is None:
        why = "no effect without --suite; `cascade benchmarks` lists them"
        given.refuse((*OF_SUITE, *HERE, *SERVED), why)
        score_on_recipe(
            model, recipe or "tiny", overrides or [], benchmark or [], reward_model, unsafe_exec, ray
        )
        return
    given.refuse(OF_RECIPE, "no effect with --suite; give one or the other")
    if given.regrade:
        asked = ("overrides", "data", "seed", *HERE, *SERVED, *COMPARING)
        given.refuse(asked, "no effect with --regrade, which judges what the folder holds")
        regrade_on_suite(given)
    else:
        score_on_suite(given)
