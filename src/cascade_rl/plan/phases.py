"""A recipe as a list of what is computed: each stage's phases and its evaluation, with the work of a step.

Lengths come from `plan.expected`; here they become trees, prompts and replies as the cost model counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.domains import load_domain
from cascade_rl.model.cost import Lengths
from cascade_rl.plan.expected import ASSUMED, Expected
from cascade_rl.plan.lengths import Spread
from cascade_rl.plan.shapes import Shape, named_shape
from cascade_rl.plan.verdicts import verdict
from cascade_rl.recipe import BASE, Recipe, RewardModelStage, RLStage, SFTData, SFTStage, Stage
from cascade_rl.recipe.scoring import BenchmarkSpec
from cascade_rl.recipe.verl import Engine

EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of step, `steps` times.

    stage, label  whose, and what of it; the kind is that of the stage, or `evaluation`
    first         the stage's own number of its first step
    trees         of one update: prompts with the replies that share them; none trains nothing. Groups without
                  a gradient are left out
    sampled       replies of a step as (prompt, reply), in groups of as many as `group`
    once          the same of what is sampled once, before the first step
    longest       the most tokens of a prompt, and of its reply
    scored        whether tokens go through the head; `teachers` score them, too
    learned       whether a reward model is asked; `judge` is its shape, None: the policy's
    own           the shape of what it trains, None: the policy's
    gradient      whether the policy has one meanwhile
    parts         what it is made of, one after the other: the benchmarks of an evaluation
    verdicts      seconds of a verifier's processor for all replies of a step
    words         what is assumed, and how much: (`replies`, where their lengths are from)
    """

    stage: str
    label: str
    kind: str
    engine: Engine
    first: int
    steps: int
    trees: tuple[Lengths, ...] = ()
    sampled: tuple[tuple[int, int], ...] = ()
    once: tuple[tuple[int, int], ...] = ()
    group: int = 1
    longest: tuple[int, int] = (0, 0)
    scored: bool = True
    teachers: int = 0
    learned: bool = False
    judge: Shape | None = None
    own: Shape | None = None
    gradient: bool = True
    parts: tuple[Phase, ...] = ()
    verdicts: float = 0.0
    words: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The stage, and its part where there are several."""
        return f"{self.stage} {self.label}".strip()

    def trained(self, policy: Shape) -> Shape:
        """What an update changes."""
        return self.own or policy

    def judged(self, policy: Shape) -> Shape:
        """The reward model that is asked."""
        return self.judge or policy

    @property
    def trained_tokens(self) -> int:
        """Tokens that an update computes."""
        return sum(prefix + sum(branches) for prefix, branches in self.trees)

    @property
    def sampled_tokens(self) -> int:
        """Tokens of all replies of a step."""
        return sum(reply for _, reply in self.sampled)


def phases_of(recipe: Recipe, positions: int, known: Expected = ASSUMED) -> list[Phase]:
    """All of a recipe, in the order of its run; `positions` bound prompt and reply together."""
    first = _evaluation(recipe, BASE, positions, known) if recipe.score_base else None
    found = [first] if first else []
    for stage in recipe.stages:
        if isinstance(stage, RLStage):
            found += _rl(recipe, stage, positions, known)
        elif isinstance(stage, SFTStage):
            found.append(_sft(recipe, stage, positions, known))
        else:
            found.append(_reward_model(recipe, stage, positions, known))
        # after a reward model's stage the policy is as it came, and its scores are kept (cascade/scoring.py)
        if stage.trains == "policy" and (asked := _evaluation(recipe, stage.name, positions, known)):
            found.append(asked)
    return found


def _sft(recipe: Recipe, stage: SFTStage, positions: int, known: Expected) -> Phase:
    spread = known.samples(stage.name, stage.max_tokens)
    trees = tuple((prompt, (reply,)) for prompt, reply in map(_divided, spread.lengths(stage.batch_size)))
    words: tuple[tuple[str, str], ...] = (("samples", spread.said),)
    once: list[tuple[int, int]] = []
    own = stage.own_replies
    total = sum(data.weight for data in stage.data)
    for data in stage.data if own else ():
        if own and isinstance(data, SFTData) and data.replies == "policy":
            # modes share a reply, as `data/demonstrations` counts prompts
            prompts = max(1, round(stage.samples * data.weight / total / len(data.modes)))
            answers = known.answers(data.domain, own.max_tokens)
            prompt, _ = known.prompt(stage.max_tokens, own.max_tokens, positions)
            once += [(prompt, reply) for reply in answers.lengths(prompts * own.rollouts)]
            words += ((f"own replies, {data.domain}", answers.said),)
    return Phase(
        stage.name,
        "",
        stage.kind,
        recipe.engine_of(stage),
        0,
        stage.planned_steps,
        trees,
        once=tuple(once),
        group=own.rollouts if own else 1,
        longest=_divided(stage.max_tokens),
        words=words,
    )


def _divided(tokens: int) -> tuple[int, int]:
    """A training sample of so many tokens as its prompt, a quarter, and its reply."""
    prompt = tokens // 4
    return prompt, max(1, tokens - prompt)


def _reward_model(recipe: Recipe, stage: RewardModelStage, positions: int, known: Expected) -> Phase:
    spread = known.samples(stage.name, stage.max_tokens)
    # two answers after one prompt
    trees = tuple((prompt, (reply,) * 2) for prompt, reply in map(_divided, spread.lengths(stage.batch_size)))
    words: tuple[tuple[str, str], ...] = (("samples", spread.said),)
    once: tuple[tuple[int, int], ...] = ()
    if stage.sample_rollouts and stage.sample_tokens:
        count = (stage.pairs + stage.heldout_pairs) * stage.sample_rollouts
        answers = known.answers(stage.domain or "", stage.sample_tokens)
        prompt, _ = known.prompt(stage.max_tokens, stage.sample_tokens, positions)
        once = tuple((prompt, reply) for reply in answers.lengths(count))
        words += (("own answers", answers.said),)
    return Phase(
        stage.name,
        "",
        stage.kind,
        recipe.engine_of(stage),
        0,
        stage.planned_steps,
        trees,
        once=once,
        group=stage.sample_rollouts or 1,
        longest=_divided(stage.max_tokens),
        scored=False,
        own=_outside(stage),
        words=words,
    )


def _rl(recipe: Recipe, stage: RLStage, positions: int, known: Expected) -> list[Phase]:
    parts = stage.phases()
    learned = asks_model(stage)
    judge = _judge(recipe, stage) if learned else None
    rounds, why = known.rounds(stage)
    engine = recipe.engine_of(stage)
    # our engine leaves out what has no gradient (train/update.py); a KL term pulls at all replies
    share, sparse = (1.0, "") if engine == "verl" or stage.kl_coefficient else known.signal(stage)
    seconds, graded = known.verdict_seconds(stage.entries())
    found = []
    for first, end, rule in parts:
        spread = known.replies(stage, rule.max_response_tokens, first, end)
        groups = _groups(stage, spread)
        prompt, asked = known.prompt(rule.max_prompt_tokens, rule.max_response_tokens, positions, stage.name)
        replies = [(prompt, reply) for lengths in groups for reply in lengths]
        words = [("prompts", asked), ("replies", spread.said)]
        words += [("verdicts", f"{seconds:.2g} s of a processor: {graded}")] if graded else []
        if rounds > 1:
            words.append(("rounds of sampling", f"{rounds:.2g} a step ({why})"))
        if share < 1:
            words.append(("groups trained on", sparse))
        count = round(len(replies) * rounds)
        found.append(
            Phase(
                stage.name,
                f"{first}-{end}" if len(parts) > 1 else "",
                stage.kind,
                engine,
                first,
                end - first,
                tuple((prompt, tuple(lengths)) for lengths in _part(groups, share)),
                tuple(replies[i % len(replies)] for i in range(count)),
                group=stage.rollouts_per_prompt,
                longest=_longest(rule.max_prompt_tokens, rule.max_response_tokens, positions),
                teachers=1 if stage.kl_coefficient else 0,
                learned=learned,
                judge=judge,
                verdicts=count * seconds,
                words=tuple(words),
            )
        )
    return found


def asks_model(stage: RLStage) -> bool:
    """Whether its rewards ask a reward model."""
    return stage.adds_scores() or any(load_domain(name).learned for name in stage.domains())


def asked_by_verl(recipe: Recipe) -> bool:
    """Whether a stage that verl trains asks a reward model, which has GPUs of its own."""
    return any(
        isinstance(stage, RLStage) and recipe.engine_of(stage) == "verl" and asks_model(stage)
        for stage in recipe.stages
    )


def _outside(stage: Stage) -> Shape | None:
    """The shape of a reward model that does not come from the policy."""
    init = stage.outside()
    return named_shape(init) if init else None


def _judge(recipe: Recipe, stage: RLStage) -> Shape | None:
    """The shape of the reward model that a stage asks; None: the policy's."""
    earlier = stage.reward_model_among(recipe.before(stage.name))
    return _outside(stage) or (_outside(recipe.stage(earlier)) if earlier else None)


def _groups(stage: RLStage, spread: Spread) -> list[list[int]]:
    """The lengths of a step's replies by prompt: each group has short and long ones alike."""
    lengths = list(spread.lengths(stage.prompts_per_step * stage.rollouts_per_prompt))
    return [lengths[place :: stage.prompts_per_step] for place in range(stage.prompts_per_step)]


def _part(groups: list[list[int]], share: float) -> list[list[int]]:
    """A share of the groups, one at least, evenly from the shortest to the longest."""
    count = max(1, round(share * len(groups)))
    return [groups[(2 * i + 1) * len(groups) // (2 * count)] for i in range(count)]


def _evaluation(recipe: Recipe, stage: str, positions: int, known: Expected) -> Phase | None:
    """All benchmarks once, after a stage or of the base model; None without any."""
    asked = [
        # own pairs wait for their reward model
        each
        for each in recipe.benchmarks
        if stage != BASE or recipe.judge_of(each) is None
    ]
    if not asked:
        return None
    # one after the other: each has a cache of its own length
    parts = tuple(_benchmark(recipe, stage, each, positions, known) for each in asked)
    return Phase(
        stage,
        EVALUATION,
        EVALUATION,
        "local",
        0,
        1,
        sampled=tuple(pair for part in parts for pair in part.sampled),
        longest=max((part.longest for part in parts), key=sum),
        gradient=parts[0].gradient,
        parts=parts,
        verdicts=sum(part.verdicts for part in parts),
        words=tuple(dict.fromkeys(words for part in parts for words in part.words)),
    )


def _benchmark(
    recipe: Recipe, stage: str, benchmark: BenchmarkSpec, positions: int, known: Expected
) -> Phase:
    """The replies to one benchmark."""
    count = benchmark.problems * benchmark.replies
    spread = known.asked(benchmark)
    room = (benchmark.max_prompt_tokens, benchmark.max_response_tokens, positions)
    prompt, asked = known.prompt(*room, domain=benchmark.domain or "")
    # a published benchmark is known by its name: its rows may lie anywhere
    form = benchmark.suite or benchmark.source
    seconds = verdict(benchmark.domain, form, benchmark=True).seconds if benchmark.domain else 0.0
    return Phase(
        stage,
        benchmark.name,
        EVALUATION,
        "local",
        0,
        1,
        sampled=tuple((prompt, reply) for reply in spread.lengths(count)),
        group=max(1, count // benchmark.problems // _draws(benchmark)),
        longest=_longest(benchmark.max_prompt_tokens, benchmark.max_response_tokens, positions),
        gradient=any(recipe.engine_of(each) == "local" for each in recipe.stages),
        verdicts=count * seconds,
        words=(("prompts", asked), ("replies", spread.said)),
    )


def _draws(benchmark: BenchmarkSpec) -> int:
    """How often a problem is asked: sampled, and greedy, in each mode; a draw's replies share a prompt."""
    return (2 if benchmark.both_modes else 1) * (2 if benchmark.greedy else 1)


def _longest(prompt: int, reply: int, positions: int) -> tuple[int, int]:
    """The longest prompt that leaves room for the longest reply."""
    return max(1, min(prompt, positions - reply)), reply
