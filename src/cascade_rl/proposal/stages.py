"""One stage of a recipe that is written for a user's own files: its numbers, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from cascade_rl.errors import InputError
from cascade_rl.model.cost import Peaks
from cascade_rl.proposal.machine import Machine, fits, microbatch, parameters, peaks_of, rl_step
from cascade_rl.proposal.prospect import Prospect
from cascade_rl.proposal.supply import Chats, PairRows, Questions, percentile
from cascade_rl.recipe.commented import Block, Line
from cascade_rl.recipe.tables import MOST_SKIPPED
from cascade_rl.types import Mode, Tally

LARGE = 3e9  # parameters from which on the report's learning rates are taken as they stand
# seconds that an RL step may take at least, before fewer prompts are asked
STEP_S = {"cpu": 60.0, "cuda": 120.0}
REPLY = {"cpu": 256, "cuda": 4096}  # tokens, where no solution in the rows says how long replies are
FEWEST_PROMPTS, ROLLOUTS = 8, 8
# of the requests of this package that stand in for prompts
CHAT_PROMPT, CHAT_PROMPTS = 256, 500
ROOM = 32  # tokens: a reply that has less room says nothing


def up(tokens: int) -> int:
    """The next round number of tokens."""
    step = 16 if tokens <= 256 else 64 if tokens <= 2048 else 256
    return -(-tokens // step) * step


def power(number: float, least: int, most: int) -> int:
    """The power of two at or below a number, within bounds that are powers themselves."""
    found = least
    while found * 2 <= min(number, most):
        found *= 2
    return found


@dataclass(frozen=True)
class Bench:
    """What all stages share: the model, the machine, how it trains there. (A work bench, not a benchmark.)"""

    model: Prospect
    machine: Machine
    rewarded: bool  # whether a reward model is trained and asked beside the policy

    @cached_property
    def lora(self) -> bool:
        """Whether low-rank adapters are trained, since the whole model with its optimiser does not fit."""
        copies = {"trained": 2, "frozen": 1} if self.rewarded else {"trained": 1}
        return self.model.adaptable and not fits(self.machine, self.model.config, **copies)

    @cached_property
    def peaks(self) -> Peaks:
        """What the machine reaches."""
        return peaks_of(self.machine, self.model.config)

    @property
    def positions(self) -> int | None:
        """Those of the model; None while they can still be chosen."""
        return None if self.model.scratch else self.model.config.max_positions

    @property
    def large(self) -> bool:
        """Whether the model is of the size that the report trains."""
        return parameters(self.model.config) >= LARGE

    def micro(self, longest: int) -> Line:
        """The tokens of a micro-batch."""
        held = parameters(self.model.config) * (8 if self.lora else 20)
        tokens = microbatch(self.machine, self.model.config, longest, held)
        return Line(
            "tokens_per_microbatch", tokens, "memory only: what fits here; the result does not depend on it"
        )

    def room(self, prompt: int, wanted: int) -> int:
        """Tokens of a reply behind such a prompt; InputError when there is hardly one."""
        positions = self.positions or wanted + prompt
        if positions - prompt < ROOM:
            raise InputError(
                f"prompts have {prompt} tokens and the model {positions} positions: no reply has room; take "
                "another model, or model.rope_scaling in the recipe"
            )
        return min(wanted, positions - prompt)

    def learning(self, full: float, small: float, adapted: float, scratch: Block, why: str) -> list[Line]:
        """Optimiser and rate: of a model of the report's size, of a small one, of adapters, from scratch."""
        if self.model.scratch:
            return list(scratch)
        if self.lora:
            reason = (
                "the model with its optimiser does not fit here; without this line all weights are trained"
            )
            return [
                Line("lora", {"rank": 16, "alpha": 32}, reason),
                Line("lr", adapted, "adapters bear more than whole weights"),
            ]
        if self.large:
            return [Line("lr", full, why)]
        more = f"a small model bears more than the report's {full:g}"
        return [Line("lr", small, more if small > full else why)]


def limit(whole: Sequence[int], positions: int | None) -> tuple[int, str]:
    """A limit for prompt and reply together, and why; the model's `positions` bound it unless None."""
    most, common = max(whole), percentile(whole)
    # no reason to lose the longest few where they are not much longer
    tokens = up(most if most <= 1.5 * common else common)
    why = f"95 of 100 have at most {common:,} tokens with their prompt, the longest {most:,}"
    if positions is not None and tokens > positions:
        return positions, f"{why}; the model has no more positions"
    return tokens, why


def chats_stage(bench: Bench, chats: Sequence[Chats]) -> Block:
    """SFT on the replies of own conversations."""
    replies = sum(one.replies for one in chats)
    batch = power(replies / 16, 1, 256 if bench.large else 64)
    epochs = 3 if replies < 5_000 else 2 if replies < 50_000 else 1
    steps = max(1, replies // batch) * epochs
    whole = [tokens for one in chats for tokens in one.lengths(bench.model).whole]
    tokens, why = limit(whole, bench.positions)
    scratch = (
        Line("optimizer", "muon", "learns a small model from scratch in a few hundred updates"),
        Line("muon_lr", 0.012),
        Line("lr", 3.0e-3, "of embeddings and norms"),
    )
    lines = [
        Line("name", "sft"),
        Line("kind", "sft"),
        Line("samples", replies, "replies trained on: all that the files hold"),
        Line("epochs", epochs, f"{steps:,} updates in all; the report has 1 on millions of samples"),
        Line("batch_size", batch, "replies an update; the report has 256"),
        *bench.learning(5e-5, 5e-5, 2e-4, scratch, "the report's first stage"),
        Line("schedule", "cosine"),
        *_warm_up(steps),
    ]
    if not bench.model.scratch:
        lines.append(Line("weight_decay", 1e-4, "the report's"))
    lines += [
        Line("max_tokens", tokens, f"{why}; longer ones are left out and counted"),
        bench.micro(tokens),
        Line(
            "heldout",
            0.05 if replies >= 200 else 0.1,
            "share of the replies whose loss is measured on the way, untrained",
        ),
        Line("save_every", _save(steps), "updates: what a kill costs at most"),
        Line("data", [_chat_entry(one, len(chats) > 1) for one in chats]),
    ]
    return tuple(lines)


def _chat_entry(one: Chats, several: bool) -> Block:
    lines = [
        Line("source", one.source),
        Line("map", one.map),
        Line("targets", "all", "each assistant turn is a sample; last: only the last of each conversation"),
    ]
    if several:
        lines.append(Line("weight", one.replies, "its share of the samples: as many as it has"))
    return (*lines, *skipped(one.tally))


def skipped(tally: Tally) -> list[Line]:
    """What is said of rows that can't be used, if there are any."""
    if not tally.bad:
        return []
    said: object = "skip" if tally.bad <= MOST_SKIPPED * tally.read else {"skip": 1.0}
    why = f"{tally.bad:,} of {tally.read:,} rows can't be used, the first: {tally.places[0]:.150}"
    return [Line("bad_rows", said, why)]


def _warm_up(steps: int) -> list[Line]:
    warm = min(100, steps // 20)
    return [Line("warmup_steps", warm, "a twentieth of the updates")] if warm else []


def _save(steps: int) -> int:
    return max(5, min(100, steps // 10))


def pairs_stage(bench: Bench, pairs: PairRows) -> Block:
    """A reward model on own pairs."""
    batch = power(pairs.training / 16, 1, 256 if bench.large else 32)
    epochs = 1 if pairs.training >= 5_000 else 2
    steps = max(1, pairs.training // batch) * epochs
    tokens, why = limit(pairs.lengths(bench.model).whole, bench.positions)
    scratch = (
        Line("optimizer", "muon"),
        Line("muon_lr", 8.0e-3),
        Line("lr", 1.0e-3, "of embeddings and norms"),
    )
    return (
        Line("name", "reward-model"),
        Line("kind", "reward_model"),
        Line("source", pairs.source),
        Line("map", pairs.map),
        *skipped(pairs.tally),
        Line("pairs", pairs.training, "all but those held out by a hash of their prompts"),
        Line(
            "heldout_pairs", min(pairs.heldout, 500), f"measure the reward model; there are {pairs.heldout:,}"
        ),
        Line("epochs", epochs, "more than one or two made it worse in the report"),
        Line("batch_size", batch, "pairs an update; the report has 256"),
        *bench.learning(2e-6, 2e-5, 1e-4, scratch, "the report's"),
        *_warm_up(steps),
        Line("max_tokens", tokens, why),
        bench.micro(tokens),
        Line("heldout", {"every": max(1, steps // 5)}, "updates between two looks at the held-out pairs"),
    )


def rlhf_stage(bench: Bench, pairs: PairRows) -> tuple[Block, int]:
    """RLHF against the reward model before it, on the prompts of its pairs where they can be read.

    With it the tokens of a reply.
    """
    lengths = pairs.lengths(bench.model)
    prompt = up(max(lengths.prompts)) if pairs.prompt else CHAT_PROMPT
    asked = pairs.training if pairs.prompt else CHAT_PROMPTS
    common = percentile(lengths.replies)
    reply = bench.room(prompt, max(64, up(int(1.5 * common))))
    prompts, why = _prompts(bench, prompt, reply, asked)
    steps = max(20, min(300, 2 * asked // prompts))
    return (
        Line("name", "rlhf"),
        Line("kind", "rl"),
        *_rl(bench, steps, prompts, why),
        Line("max_prompt_tokens", prompt, "all prompts"),
        Line(
            "max_response_tokens", reply, f"1.5 times what 95 of 100 answers in the pairs have ({common:,})"
        ),
        bench.micro(prompt + reply),
        Line(
            "mode_mix",
            str(spoken(bench.model, Mode.INSTRUCT)),
            "half: both modes, for a model that can think",
        ),
        Line("temperature", 0.6, "the report's of RLHF"),
        Line("top_p", 0.95),
        Line("data", [_prompts_of(pairs, asked)]),
    ), reply


def spoken(model: Prospect, mode: Mode) -> Mode:
    """The mode, if the model's template can ask for it; else the one that it can."""
    return mode if mode in model.modes else model.modes[0]


def _prompts_of(pairs: PairRows, asked: int) -> Block:
    domain = Line("domain", "alignment", "its reward in RL is the reward model's score")
    if pairs.prompt is None:
        source = Line("source", "chat", "requests of this package: these rows have no column for the prompt")
        return domain, source, Line("problems", asked)
    return (
        domain,
        Line("source", pairs.source, "the prompts of the pairs, as in the report"),
        Line("map", {pairs.prompt: {"column": pairs.column}, "answer": {"constant": None}}),
        Line("split", "hash-rl", "without those on which the reward model is measured"),
        *skipped(pairs.tally),
        Line("problems", asked, "at most"),
    )


def questions_stage(bench: Bench, name: str, questions: Sequence[Questions], mode: Mode) -> tuple[Block, int]:
    """RL on own problems of one domain, and the tokens of a reply."""
    lengths = [one.lengths(bench.model) for one in questions]
    asked = [tokens for one in lengths for tokens in one.prompts]
    common, most = percentile(asked), max(asked)
    prompt = up(most if most <= 1.5 * common else common)
    known = [tokens for one in lengths for tokens in one.replies if tokens]
    wanted = max(64, up(int(1.5 * percentile(known)))) if known else REPLY[bench.machine.device]
    reply = bench.room(max(prompt, *(one.longest_asked(bench.model) for one in questions)), wanted)
    training = sum(one.training for one in questions)
    prompts, why = _prompts(bench, prompt, reply, training)
    steps = max(20, min(300, 3 * training // prompts))
    about = (
        "1.5 times what 95 of 100 solutions in the rows have" if known else "no row says how long replies are"
    )
    return (
        Line("name", name),
        Line("kind", "rl"),
        *_rl(bench, steps, prompts, why),
        Line("max_prompt_tokens", prompt, f"95 of 100 have at most {common:,} tokens, the longest {most:,}"),
        Line("max_response_tokens", reply, about),
        bench.micro(prompt + reply),
        Line("mode_mix", str(mode), _mode(mode)),
        Line("temperature", 1.0, "the report's of maths: lower explores less"),
        Line(
            "filter",
            {"kind": "epoch"},
            "after an epoch problems solved always or never are dropped for the next",
        ),
        Line("data", [_question_entry(one) for one in questions]),
    ), reply


def _mode(mode: Mode) -> str:
    if mode is Mode.THINKING:
        return "replies think in tags before they answer; a thought without an end earns nothing"
    return "answers without think tags, which this model was not trained to write; thinking: after such SFT"


def _question_entry(one: Questions) -> Block:
    lines = [Line("domain", one.domain), *table_lines(one)]
    return (*lines, Line("problems", one.training, "all that are not held out"))


def table_lines(one: Questions) -> list[Line]:
    """Source, map and split of own problems; the same for training and for the benchmark."""
    lines = [Line("source", one.source)]
    if one.map is not None:
        lines.append(Line("map", one.map))
    if one.split is not None:
        lines.append(
            Line("split", one.split, "by a hash of the prompt: a fifth is held out for the benchmark")
        )
    return lines + skipped(one.tally)


def _rl(bench: Bench, steps: int, prompts: int, why: str) -> list[Line]:
    scratch = (Line("lr", 2.0e-4, "as in the tiny recipe: of a small model that was trained from scratch"),)
    return [
        Line("steps", steps, "the report has 60 to 3,100: more, if the curve in report.html still rises"),
        Line("prompts_per_step", prompts, why),
        Line("rollouts_per_prompt", ROLLOUTS, "the report's; fewer rarely differ in their rewards"),
        *bench.learning(2e-6, 5e-6, 5e-5, scratch, "the report's"),
        Line("save_every", _save(steps), "steps: what a kill costs at most"),
    ]


def _prompts(bench: Bench, prompt: int, reply: int, training: int) -> tuple[int, str]:
    """Prompts a step: the report's 128, fewer where a step would take too long or there are few problems."""
    seconds: Callable[[int, int, Peaks], float] = rl_step(bench.model.config, bench.machine, prompt, reply)
    # a few steps an epoch at least, so that its filter has something to do
    prompts = power(training / 8, 1, 128)
    while prompts > FEWEST_PROMPTS and seconds(prompts, ROLLOUTS, bench.peaks) > STEP_S[bench.machine.device]:
        prompts //= 2
    least = seconds(prompts, ROLLOUTS, bench.peaks)
    return (
        prompts,
        f"the report has 128; here a step takes at least {least:,.0f} s if all replies are that long",
    )
