"""Replies built to meet constraints: the proof that a generated prompt can be answered.

A reply is a draft of plain sentences with head, list and tail, to which each constraint adds its piece
(`PIECES`), and which is changed as a whole at the end (`TURNS`: case, emoji, quotation marks). A constraint
that rules every word or sentence (`WHOLES`) is a text of its own. Nothing here is trusted: whoever composes
checks the outcome, and drops what doesn't hold.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from cascade_rl.sources.constraints.composer_words import WHOLES
from cascade_rl.verify.instructions.lexicon import NAMES
from cascade_rl.verify.instructions.text import sentences

Asked = tuple[str, dict[str, Any]]

# Two sentences a line, parted by blanks.
_FILLER = """
The old road winds between two quiet hills.         A warm light shone from the kitchen.
Children played near the water until evening.       Nobody knew where the small boat had gone.
The bakery opened its doors before sunrise.         Every morning brought a new surprise.
The wind carried the smell of fresh bread.          People gathered around the long table.
A grey cat slept under the garden bench.            The teacher told a story about the sea.
Rain fell gently on the empty market.               The clock in the hall stopped at noon.
Her brother repaired the broken fence.              Soft songs drifted across the valley.
They followed the narrow path through the forest.   The harbour was full of painted ships.
An owl watched from the tallest tree.               Fresh snow covered the roof of the barn.
The letter arrived after a long winter.             Bright lanterns hung above the square.
Our neighbour planted roses along the wall.         The train crossed the bridge without a sound.
Time passed slowly in that sleepy town.             A stranger asked for a cup of tea.
The fields turned golden at the end of summer.      Someone left a candle in the window.
The dog ran ahead and waited by the gate.           Stars appeared one after another.
Later the whole family laughed about it.            Nothing could disturb the calm of the lake.
The captain studied an old map with care.           Green apples filled the wooden basket.
"""
# sentences that break no bound by themselves: no digits, no marks but full stops, no names of NAMES
FILLER = tuple(line.strip() for line in _FILLER.replace(".  ", ".\n").splitlines() if line.strip())
PALINDROMES = (
    "level", "radar", "refer", "rotor", "civic", "kayak", "madam", "tenet", "solos", "stats", "sagas",
    "rotator",
)  # fmt: skip
# by langdetect's code: two sentences that it tells as that language
TONGUES = {
   
    "de": "Der alte Weg führt zwischen zwei stillen Hügeln hindurch. "
    "Die Kinder spielten am Wasser und es wurde Abend.",
    "fr": "La vieille route passe entre deux collines tranquilles. "
    "Les enfants jouaient près de la rivière le soir.",
    "es": "El viejo camino pasa entre dos colinas tranquilas. "
    "Los niños jugaban cerca del agua hasta la noche.",
    "it": "La vecchia strada passa tra due colline tranquille. "
    "I bambini giocavano vicino all'acqua fino a sera.",
    "pt": "A velha estrada passa entre duas colinas tranquilas. "
    "As crianças brincavam perto da água até à noite.",
    "fi": "Vanha tie kulkee kahden hiljaisen kukkulan välissä. "
    "Lapset leikkivät veden äärellä iltaan asti.",
    "pl": "Stara droga prowadzi między dwoma cichymi wzgórzami. "
    "Dzieci bawiły się nad wodą aż do wieczora.",
    "ru": "Старая дорога проходит между двумя тихими холмами. "
    "Дети играли у воды до самого вечера.",
    "bg": "Старият път минава между два тихи хълма. "
    "Децата играеха край водата до късно вечерта.",
    "vi": "Con đường cũ chạy giữa hai ngọn đồi yên tĩnh. "
    "Trẻ em chơi gần mặt nước cho đến tối.",
}  # fmt: skip


@dataclass(slots=True)
class Draft:
    """A reply in the making.

    placed  sentences that must stand at a number of the body, counted from 1
    parts   into how many blocks the body is cut; `divide` joins them, `starts` opens those it names
    """

    rng: random.Random
    body: list[str]
    head: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    placed: dict[int, str] = field(default_factory=dict)
    parts: int = 1
    divide: str = "\n"
    starts: Mapping[int, str] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """A sentence somewhere in the body."""
        self.body.insert(self.rng.randint(0, len(self.body)), sentence)

    def text(self) -> str:
        """The draft written out; every part of the body has a sentence."""
        # a part without a sentence would be no paragraph
        while len(self.body) < self.parts:
            self.add(self.rng.choice(FILLER))
        # in ascending order: each insertion moves what follows it
        for number in sorted(self.placed):
            while len(self.body) < number:
                self.body.append(self.rng.choice(FILLER))
            self.body.insert(number - 1, self.placed[number])
        cuts = sorted(self.rng.sample(range(1, len(self.body)), self.parts - 1))
        blocks = [" ".join(self.body[a:b]) for a, b in pairwise([0, *cuts, len(self.body)])]
        blocks = [self.starts.get(i, "") + block for i, block in enumerate(blocks, 1)]
        blocks[0] = "\n".join([*self.head, blocks[0]])
        blocks[-1] = "\n".join([blocks[-1], *self.listed, *self.tail])
        return self.divide.join(blocks)


def _existence(d: Draft, keywords: list[str]) -> None:
    d.add(f"We often spoke of {' and '.join(keywords)}.")


def _frequency(d: Draft, keyword: str, frequency: int, relation: str) -> None:
    # an upper bound is met by not saying it; sources ask for lower ones only
    for _ in range(0 if relation == "less than" else frequency):
        d.add(f"Then came {keyword} again.")


def _placeholders(d: Draft, num_placeholders: int) -> None:
    names = ("name", "place", "date", "town", "friend", "colour", "weather", "street")
    for i in range(num_placeholders):
        d.add(f"Remember to greet [{names[i % len(names)]}] there.")


def _highlights(d: Draft, num_highlights: int) -> None:
    for i in range(num_highlights):
        d.add(f"It was *{('very quiet', 'quite bright', 'truly old')[i % 3]}* that day.")


def _postscript(d: Draft, postscript_marker: str) -> None:
    d.tail.insert(0, f"{postscript_marker} Write back soon.")


def _bullets(d: Draft, num_bullets: int) -> None:
    d.listed += [
        f"* {('bread', 'tea', 'candles', 'maps', 'apples', 'songs')[i % 6]}" for i in range(num_bullets)
    ]


def _paragraphs(d: Draft, num_paragraphs: int) -> None:
    d.parts, d.divide = num_paragraphs, "\n***\n"


def _nth_paragraph(d: Draft, num_paragraphs: int, nth_paragraph: int, first_word: str) -> None:
    d.parts, d.divide = num_paragraphs, "\n\n"
    d.starts = {nth_paragraph: f"{first_word.capitalize()} came to mind. "}


def _sections(d: Draft, section_spliter: str, num_sections: int) -> None:
    d.parts, d.starts = num_sections, {i: f"{section_spliter} {i}\n" for i in range(1, num_sections + 1)}


def _two(d: Draft) -> None:
    d.parts, d.divide = 2, "\n******\n"


def _capital_words(d: Draft, capital_frequency: int, capital_relation: str) -> None:
    for _ in range(0 if capital_relation == "less than" else capital_frequency):
        d.add(f"The sign said {d.rng.choice(('STOP', 'OPEN', 'WELCOME', 'QUIET'))} in large letters.")


def _conjunctions(d: Draft, small_n: int) -> None:
    d.add("She rested and read but slept or wrote so well yet went nor came for long.")


def _names(d: Draft, N: int) -> None:
    d.add(f"Among the guests were {' and '.join(d.rng.sample(NAMES, N))}.")


def _numbers(d: Draft, N: int) -> None:
    for _ in range(N):
        d.add(f"They counted {d.rng.randint(2, 99)} of them.")


def _pronouns(d: Draft, N: int) -> None:
    for _ in range(N // 3 + 1):
        d.add("He told her about it and she told us.")


def _keywords_multiple(d: Draft, **keywords: str) -> None:
    for i, times in enumerate((1, 2, 3, 5, 7), 1):
        for _ in range(times):
            d.add(f"Again they saw {keywords[f'keyword{i}']} there.")


def _keyword_sentence(d: Draft, word: str, N: int) -> None:
    d.placed[N] = f"Here the {word} is named at last."


def _keyword_position(d: Draft, keyword: str, n: int, m: int) -> None:
    before = ["now", "and", "then", "one", "may", "find", "that", "in", "this", "place"][: m - 1]
    d.placed[n] = " ".join([*before, keyword, "is close by."])
    d.placed[n] = d.placed[n][0].upper() + d.placed[n][1:] if m > 1 else d.placed[n]


def _words_position(d: Draft, keyword: str) -> None:
    d.placed[1] = f"The {keyword} came first."
    d.tail.append(f"We ended with {keyword} too")


def _separated(d: Draft, sep: str) -> None:
    d.listed += [f"{sep} {item}" for item in ("fresh bread", "green tea", "old maps")]


def _sub_bullets(d: Draft) -> None:
    d.listed += ["* food", "- bread and tea", "* light", "- candles by the window"]


# What stands neither here nor in TURNS nor in WHOLES needs no piece: plain sentences keep it already.
PIECES: Mapping[str, Callable[..., None]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:number_bullet_lists": _bullets,
    "length_constraints:number_paragraphs": _paragraphs,
    "detectable_format:multiple_sections": _sections,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "combination:two_responses": _two,
    "detectable_format:title": lambda d: d.head.append("<<A quiet day>>"),
    "combination:repeat_prompt": lambda d, prompt_to_repeat: d.head.insert(0, prompt_to_repeat),
    "startend:end_checker": lambda d, end_phrase: d.tail.append(end_phrase),
    "change_case:capital_word_frequency": _capital_words,
    "detectable_format:constrained_response": lambda d: d.add("My answer is yes."),
    "count:conjunctions": _conjunctions,
    "count:person_names": _names,
    "count:numbers": _numbers,
    "count:pronouns": _pronouns,
    "count:keywords_multiple": _keywords_multiple,
    "count:punctuation": lambda d: d.add("Was it late? What was that?! Look: the sea; the hills, too!"),
    "words:palindrome": lambda d: d.add(f"Read {' and '.join(PALINDROMES)} backwards."),
    "words:start_verb": lambda d: d.placed.setdefault(1, "Consider the harbour in winter."),
    "sentence:keyword": _keyword_sentence,
    "words:keywords_specific_position": _keyword_position,
    "words:words_position": _words_position,
    "format:parentheses": lambda d: d.add(
        "Nests ( within [ nests { within ( nests [ are small ] ) } ] ) exist."
    ),
    "format:quotes": lambda d: d.add("""They wrote "he said 'she said "go home" there' today" in a note."""),
    "format:quote_unquote": lambda d: d.add('The phrase "safe harbour" means a place of rest.'),
    "format:list": _separated,
    "format:sub-bullets": _sub_bullets,
    "format:no_bullets_bullets": lambda d: d.listed.extend(["* fresh bread", "* green tea"]),
    "format:thesis": lambda d: d.head.append("<i>Small places hold large stories.</i> This is why."),
    "format:output_template": lambda d: d.head.extend(
        ["My Answer: yes it is.", "My Conclusion: we should go.", "Future Outlook: bright and calm."]
    ),
    "ratio:sentence_type": lambda d: None,
    "ratio:sentence_balance": lambda d: None,
}


def _balanced(text: str, rng: random.Random, exclamations: bool) -> str:
    """The text with questions (and exclamations) added until they match its statements."""
    ends = [sentence[-1:] for sentence in sentences(text)]
    statements, asked, cried = (ends.count(mark) for mark in ".?!")
    if exclamations:
        most = max(statements, asked, cried)
        extra = ["So it was."] * (most - statements) + ["Was it so?"] * (most - asked)
        extra += ["What a day!"] * (most - cried)
    else:
        # rounded up: with an odd number of statements one more is added than there are
        wanted = max(-(-statements // 2), asked)  # questions: half as many as statements
        extra = ["So it was."] * (2 * wanted - statements) + ["Was it so?"] * (wanted - asked)
    rng.shuffle(extra)
    return " ".join([text, *extra])


def _japanese(text: str, N: int) -> str:
    tokens = re.split(r"(\s+)", text)
    # words stand at even places of the split, the blanks between them at odd ones
    for at in range(2 * (N - 1), len(tokens), 2 * N):
        tokens[at] = "日本" + ("." if tokens[at].endswith(".") else "")
    return "".join(tokens)


def _come_back(text: str) -> str:
    return "\n".join(
        f"Today {line.rstrip('.')} today." if line.strip() else line for line in text.split("\n")
    )


# In this order, after the draft is written.
TURNS: Mapping[str, Callable[..., str]] = {
    "words:paragraph_last_first": lambda text, rng: _come_back(text),
    "ratio:sentence_type": lambda text, rng: _balanced(text, rng, False),
    "ratio:sentence_balance": lambda text, rng: _balanced(text, rng, True),
    "format:emoji": lambda text, rng: re.sub(r"([.!?]+)(?=\s|$)", r"\1 🙂", text),
    "count:words_japanese": lambda text, rng, N: _japanese(text, N),
    "format:title_case": lambda text, rng: re.sub(r"(?<![\w'’])[^\W\d_]", lambda m: m[0].upper(), text),
    "change_case:english_capital": lambda text, rng: text.upper(),
    "change_case:english_lowercase": lambda text, rng: text.lower(),
    "startend:quotation": lambda text, rng: f'"{text}"',
}


def compose(asked: Sequence[Asked], rng: random.Random, length: int) -> str:
    """A reply meant to meet the constraints, with about `length` sentences of filler: to be checked."""
    given = dict(asked)
    whole = next((ident for ident in given if ident in WHOLES), None)
    if whole:
        text = WHOLES[whole](rng, **given[whole])
    else:
        language = given.get("language:response_language", {}).get("language", "en")
        body = rng.sample(FILLER, length) if language == "en" else re.split(r"(?<=\.) ", TONGUES[language])
        draft = Draft(rng, body)
        for ident, kwargs in asked:
            if ident in PIECES:
                PIECES[ident](draft, **kwargs)
        text = draft.text()
    for ident, turn in TURNS.items():
        text = turn(text, rng, **given[ident]) if ident in given else text
    return text
