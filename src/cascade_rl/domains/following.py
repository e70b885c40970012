"""Instruction following: prompts with verifiable constraints, of IFEval, of IFBench and a few of our own.

Full reward only when every constraint is met (arXiv 2512.13607, section 4.3); the parts name each. RL scores
strictly, the benchmark as the public reference implementations do; the small world's problems, known by their
`cascade:*` instructions, have one scoring for both, the one that the tiny recipe was measured with. Source
`builtin` asks for a few different words of that world, so that a tiny model can learn it; `ifeval-style` asks
a pretrained model for natural texts; `ifeval-train` and `ifbench-train` combine one to ten constraints, for
IF-RL's two stages of data; `ifeval` and `ifbench` are the benchmarks themselves, held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cascade_rl.chat import compose_reply, split_reply
from cascade_rl.domain import Domain, Example, Query, Services
from cascade_rl.errors import AnswerError, InputError
from cascade_rl.sources.constraints.prompts import TAXONOMIES, constrained_prompt
from cascade_rl.sources.constraints.public import BENCHMARKS, benchmark_rows
from cascade_rl.sources.shared import SHARED
from cascade_rl.sources.small_world.everyday import constrained_request
from cascade_rl.sources.small_world.topics import NOUNS, TOPICS, related
from cascade_rl.sources.splits import drawn, refuse_training, stream
from cascade_rl.types import Message, Mode, Outcome, Problem, Rollout, Verdict, problem_id
from cascade_rl.verify.instructions import MARK_NAMES, InstructionError, check_all
from cascade_rl.verify.instructions import PREFIX as SMALL_WORLD
from cascade_rl.verify.instructions.restated import restate

Constraint = tuple[str, dict[str, Any]]

# our own instructions of the small world, and IFEval's that it uses besides
COUNT, TOPIC = "cascade:different_words", "cascade:on_topic"
INCLUDE, AVOID = "keywords:existence", "keywords:forbidden_words"
LAST, MARK = "cascade:last_word", "startend:end_checker"
COMMAS, NO_COMMA, QUOTED = "cascade:comma_separated", "punctuation:no_comma", "startend:quotation"
# words of an answer of the small world
FEWEST, MOST = 3, 6
# a verifier's function by its path, and the seconds that one call may take
CHECK, CHECK_S = "cascade_rl.verify.instructions:check_all", 10.0
LONG = 20_000  # characters of a reply, above which the checks of sentences and language may take seconds
# what any row that can be judged is judged by
PLAIN = "A plain reply of two sentences. It says little, and nothing else.\n\n* one\n* two"
HEADS = ("Write {n} different words about {t}.", "Give me {n} different words about {t}.",
         "Describe {t} in {n} different words.", "Say {n} different words about {t}.")  # fmt: skip
# Including a given word is asked most often: it is the copying that a model must learn first.
LIKELY = {INCLUDE: 0.6, MARK: 0.35, LAST: 0.3, COMMAS: 0.3, AVOID: 0.25, QUOTED: 0.15}
CLAUSES = {
    INCLUDE: ("Include the word {w}.", "Use the word {w}."),
    AVOID: ("Avoid the word {w}.", "Do not say {w}."), LAST: ("The last word is {w}.",),
    MARK: ("End with {m}.",), COMMAS: ("Put commas between the words.",), NO_COMMA: ("Use no commas.",),
    QUOTED: ("Wrap it in double quotation marks.",),
}  # fmt: skip


class TooLong(Exception):
    """A reply whose constraints could not be checked in time."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer of the small world before it is written out."""

    words: tuple[str, ...]
    commas: bool = False
    mark: str = ""
    quoted: bool = False

    def text(self) -> str:
        """The answer as a line of text."""
        line = (", " if self.commas else " ").join(self.words) + self.mark
        return f'"{line}"' if self.quoted else line


def _word_of(ident: str, given: dict[str, Any]) -> str:
    """The word that a constraint speaks of."""
    words: list[str] = given.get("keywords") or given.get("forbidden_words") or [given.get("word", "")]
    return words[0]


def _constraints(topic: str, rng: random.Random) -> list[Constraint]:
    """The number of words, which always stands first, then up to three more that can all be met at once."""
    kinds = [kind for kind, chance in LIKELY.items() if rng.random() < chance]
    rng.shuffle(kinds)
    # the table knows one entry for both, since a prompt can ask for one of them only
    kinds = [rng.choice((COMMAS, NO_COMMA)) if k == COMMAS else k for k in kinds[:3]]
    # forbidden most often is the usual companion of the topic, the word that comes to mind first
    usual, *others = related(topic)
    # companions of the topic twice, so that a word to include is likely one that fits
    pool = rng.sample([w for w in (*others, *others, *NOUNS) if w not in (usual, topic)], 12)
    pool = list(dict.fromkeys(pool))
    chosen: list[Constraint] = []
    for kind in kinds:
        if kind == AVOID:
            chosen.append((kind, {"forbidden_words": [usual if rng.random() < 0.75 else pool.pop()]}))
        elif kind == INCLUDE:
            chosen.append((kind, {"keywords": [pool.pop()]}))
        elif kind == LAST:
            chosen.append((kind, {"word": pool.pop()}))
        else:
            chosen.append((kind, {"end_phrase": rng.choice("!?")} if kind == MARK else {}))
    # room for the words that are asked for, and for two on the topic
    least = rng.randint(max(FEWEST, 2 + sum(k in (INCLUDE, LAST) for k, _ in chosen)), MOST - 1)
    # a number alone must be exact: with a range it would ask for next to nothing
    exact = not chosen or rng.random() < 0.85
    count = {"least": least, "most": least} if exact else {"least": FEWEST, "most": MOST}
    return [(COUNT, count), *chosen]


def make(rng: random.Random) -> Problem:
    """A prompt of the small world."""
    topic = rng.choice(tuple(TOPICS))
    asked = _constraints(topic, rng)
    n = asked[0][1]["least"] if asked[0][1]["least"] == asked[0][1]["most"] else "a few"
    sentences = [rng.choice(HEADS).format(n=n, t=topic)]
    for kind, given in asked[1:]:
        mark = MARK_NAMES.get(given.get("end_phrase", ""), "")
        sentences.append(rng.choice(CLAUSES[kind]).format(w=_word_of(kind, given), m=mark))
    # not said as a constraint: the head of the prompt names the topic
    asked.append((TOPIC, {"topic_words": [topic, topic.removesuffix("s"), *related(topic)], "least": 2}))
    return _problem(" ".join(sentences), asked, {"topic": topic}, rng)


def make_natural(rng: random.Random) -> Problem:
    """A request for a natural text, with one to three constraints."""
    prompt, asked = constrained_request(rng)
    return _problem(prompt, asked, {}, rng)


def composed(query: Query) -> Iterator[Problem]:
    """Prompts with up to ten constraints of the taxonomy that the source names, each with a right reply."""

    def make_one(rng: random.Random) -> Problem:
        prompt, asked, reply = constrained_prompt(query.source, rng, query.split)
        return _problem(prompt, asked, {"reply": reply}, rng)

    return stream(make_one, query.split, query.seed)


def public(query: Query) -> Iterator[Problem]:
    """The prompts of the benchmark that the source names, held out, in the order of the seed."""
    refuse_training(query)
    rows = list(benchmark_rows(query.source))
    for prompt, answer in query.rng().sample(rows, len(rows)):
        identity = problem_id("following", prompt)
        yield Problem(identity, "following", (Message("user", prompt),), answer, Mode.INSTRUCT)


def _problem(prompt: str, asked: list[Constraint], meta: dict[str, Any], rng: random.Random) -> Problem:
    answer = {"instruction_id_list": [kind for kind, _ in asked], "kwargs": [given for _, given in asked]}
    mode = rng.choice((Mode.THINKING, Mode.INSTRUCT))  # half of the prompts in each
    message = (Message("user", prompt),)
    return Problem(problem_id("following", prompt), "following", message, answer, mode, {**answer, **meta})


def _small_world(answer: Any) -> bool:
    ids = answer.get("instruction_id_list") if isinstance(answer, dict) else None
    return any(str(ident).startswith(SMALL_WORLD) for ident in ids or ())


async def grade(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """RL's reward: all constraints, strictly; one that can't be judged is a failure of the grader."""
    return await _judged(problem, rollout, services, strict=not _small_world(problem.answer))


async def score(problem: Problem, rollout: Rollout, services: Services) -> Verdict:
    """The benchmark's: all constraints as the public reference judges them (strict accuracy)."""
    return await _judged(problem, rollout, services, strict=False)


async def _judged(problem: Problem, rollout: Rollout, services: Services, strict: bool) -> Verdict:
    answer = split_reply(rollout.text, problem.mode).answer
    try:
        # checked before the form of the reply: a row that can't be judged is a null whatever was answered
        parts = await _checked(problem.answer, answer or "", strict, services)
    except TooLong as error:
        return Verdict(0.0, Outcome.TIMEOUT, {}, str(error))
    except InstructionError as error:
        return _unjudged(problem.answer, strict, str(error))
    if answer is None:
        return Verdict(0.0, Outcome.UNPARSEABLE, {}, "no answer after the reasoning")
    failed = [name for name, met in parts.items() if not met]
    return Verdict.binary(not failed, ", ".join(failed), **{name: float(met) for name, met in parts.items()})


def _unjudged(asked: Any, strict: bool, note: str) -> Verdict:
    """The row's fault if a plain reply can't be judged either, else the reply's: then it follows nothing."""
    try:
        check_all(asked, PLAIN, strict)
    except InstructionError:
        return Verdict.failed(note)
    return Verdict(0.0, Outcome.UNPARSEABLE, {}, note)


async def _checked(asked: Any, reply: str, strict: bool, services: Services) -> dict[str, bool]:
    """The constraints met; a long reply, which may take seconds, is checked in a verifier's process."""
    if len(reply) <= LONG or services.verifiers is None:
        return check_all(asked, reply, strict)
    judgement = await services.verifiers.call(
        CHECK, asked, reply, strict, deadline_s=min(CHECK_S, services.limit_s)
    )
    # no checker takes seconds for a row's sake: what takes too long is the reply
    if judgement.fault == "timeout":
        raise TooLong(f"a reply of {len(reply)} characters: {judgement.note}")
    if judgement.fault is not None:
        raise InstructionError(f"{judgement.fault} on a reply of {len(reply)} characters: {judgement.note}")
    parts: dict[str, bool] = judgement.value
    return parts


def _asked(problem: Problem) -> dict[str, dict[str, Any]]:
    return dict(zip(problem.answer["instruction_id_list"], problem.answer["kwargs"], strict=True))


def _good(problem: Problem, rng: random.Random) -> Draft:
    """A draft that meets every constraint; the usual companion of the topic comes to mind first."""
    asked = _asked(problem)
    usual, *others = related(problem.meta["topic"])
    bound = [_word_of(k, asked[k]) for k in (INCLUDE, LAST) if k in asked]
    avoided = [_word_of(AVOID, asked[AVOID])] if AVOID in asked else []
    # where the companions begin is drawn, so that good answers differ while their order stays the same
    turn = rng.randrange(len(others))
    free = [usual, *others[turn:], *others[:turn]]
    free = [w for w in free if w not in bound and w not in avoided]
    spare = rng.sample([w for w in NOUNS if w not in bound and w not in avoided and w not in free], MOST)
    count = max(asked[COUNT]["least"], len(bound) + 2)
    chosen = (free + spare)[: count - len(bound)]
    last = [asked[LAST]["word"]] if LAST in asked else []
    middle = list(chosen)
    if INCLUDE in asked:
        middle.insert(1, asked[INCLUDE]["keywords"][0])  # always second: what is regular is learnt sooner
    commas = COMMAS in asked or (NO_COMMA not in asked and rng.random() < 0.3)
    return Draft((*middle, *last), commas, asked.get(MARK, {}).get("end_phrase", ""), QUOTED in asked)


def _break(kind: str, draft: Draft, problem: Problem, rng: random.Random) -> Draft:
    """The draft with one constraint violated, or at least tried: the caller checks."""
    words, asked = list(draft.words), _asked(problem)
    spare = [w for w in NOUNS if w not in words and w not in related(problem.meta["topic"])]
    spot = rng.randrange(len(words))
    if kind == COUNT:
        for _ in range(rng.randint(1, 2)):
            # at the upper bound mostly a word more, else one less: an exact number is missed by both
            longer = len(words) >= asked[COUNT]["most"] and rng.random() < 0.6
            words[spot:spot] = [rng.choice(spare)] if longer else []
            words = words if longer else words[:spot] + words[spot + 1 :]
    elif kind in (INCLUDE, LAST):
        words[words.index(_word_of(kind, asked[kind]))] = rng.choice(spare)
    elif kind == AVOID:
        words[spot] = _word_of(kind, asked[kind])
    elif kind == TOPIC:
        bound = [_word_of(k, asked[k]) for k in (INCLUDE, LAST) if k in asked]
        others = iter(rng.sample(spare, len(words)))
        words = [w if w in bound else next(others) for w in words]
    elif kind == MARK:
        return replace(draft, mark=rng.choice(("", "!" if draft.mark == "?" else "?")))
    elif kind == QUOTED:
        return replace(draft, quoted=False)
    return replace(draft, words=tuple(words), commas=draft.commas ^ (kind in (COMMAS, NO_COMMA)))


def _faulty(problem: Problem, rng: random.Random) -> Draft:
    """A draft that violates exactly one constraint."""
    draft = _good(problem, rng)
    # a reply off the topic is the crudest fault: a third as often as the others
    kinds = [kind for kind in _asked(problem) for _ in range(1 if kind == TOPIC else 3)]
    # some tries break nothing, or two constraints at once
    for _ in range(40):
        broken = _break(rng.choice(kinds), draft, problem, rng)
        if broken.words and sum(not met for met in check_all(problem.answer, broken.text()).values()) == 1:
            return broken
    # a word said twice breaks the rule that all words differ
    return replace(draft, words=draft.words[:1] * 2)


def demonstrate(problem: Problem, rng: random.Random, fault_rate: float) -> str:
    """A teacher's reply to a builtin problem; the thought counts the words of the answer out.

    Raises InputError for other sources: their texts come from a teacher model.
    """
    if problem.meta.get("topic") not in TOPICS:
        raise InputError(f"{problem.id}: following can demonstrate its builtin problems only")
    draft = _faulty(problem, rng) if rng.random() < fault_rate else _good(problem, rng)
    thought = " ".join(f"{i} {word}" for i, word in enumerate(draft.words, 1))
    return compose_reply(problem.mode, thought, draft.text())


def thought(problem: Problem) -> str:
    """What is asked for, in a few words each."""
    return restate(problem.answer["instruction_id_list"], problem.answer["kwargs"])


def gold(problem: Problem) -> str | None:
    """A right reply to a builtin problem, or the one that came with the problem; unknown for others."""
    if isinstance(reply := problem.meta.get("reply"), str):
        return compose_reply(problem.mode, "Every constraint in turn.", reply)
    builtin = problem.meta.get("topic") in TOPICS
    return demonstrate(problem, random.Random(problem.id), 0.0) if builtin else None


def examples() -> Iterable[Example]:
    """Vectors of the grader, among them a row of IFEval's own format."""
    asked: list[Constraint] = [
        (COUNT, {"least": 4, "most": 4}),
        (AVOID, {"forbidden_words": ["water"]}),
        (MARK, {"end_phrase": "!"}),
        (TOPIC, {"topic_words": ["rivers", "river", *related("rivers")], "least": 2}),
    ]
    prompt = "Write 4 different words about rivers. Avoid the word water. End with an exclamation mark."
    problem = _problem(prompt, asked, {"topic": "rivers"}, random.Random(0)).in_mode(Mode.INSTRUCT)
    yield Example(problem, "rivers fish wide boat!", 1.0)
    yield Example(
        problem.in_mode(Mode.THINKING), compose_reply(Mode.THINKING, "1 fish", "fish stone wide boat!"), 1.0
    )
    yield Example(problem.in_mode(Mode.THINKING), "rivers fish wide boat!", 0.0)
    for bad in (
        "fish fish wide boat!",
        "fish wide boat!",
        "water fish wide boat!",
        "fish wide boat stone",
        "a b c d!",
    ):
        yield Example(problem, bad, 0.0)
    row: list[Constraint] = [(NO_COMMA, {"num_words": None}), ("detectable_format:title", {"relation": None})]
    natural = _problem("Write a poem about rain. Use no commas. Add a title.", row, {}, random.Random(0))
    yield Example(natural.in_mode(Mode.INSTRUCT), "<<Rain>>\nIt falls.", 1.0)
    yield Example(natural.in_mode(Mode.INSTRUCT), "<<Rain>>\nIt falls, softly.", 0.0)


def check_answer(answer: Any) -> None:
    """Instruction ids that are known with their arguments, as IFEval writes them."""
    try:
        # an empty reply follows nothing, and no checker runs: ids and arguments alone are looked at
        check_all(answer, "")
    except InstructionError as error:
        raise AnswerError(f"{error!s:.300}") from None


SOURCES = {
    "builtin": drawn(make),
    "ifeval-style": drawn(make_natural),
    **dict.fromkeys(TAXONOMIES, composed),
    **dict.fromkeys(BENCHMARKS, public),
    **SHARED,
}

DOMAIN = Domain(
    name="following",
    summary="one to ten verifiable constraints per prompt, all of which must be met",
    sources=SOURCES,
    grade=grade,
    examples=examples,
    gold=gold,
    demonstrate=demonstrate,
    thought=thought,
    score=score,
    headline=Mode.INSTRUCT,
    needs=frozenset({"verifiers"}),
    check_answer=check_answer,
)
