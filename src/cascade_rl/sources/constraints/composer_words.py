"""Texts for constraints that rule every word, line or sentence: each is built from word lists by its rule."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import cycle

from cascade_rl.verify.instructions.text import syllables


def _listed(words: str) -> list[str]:
    return words.split()


# words for every initial but x, with one or two syllables: what the rules below choose among
BANK = _listed("""
    river stone bread light garden winter silver window friend bridge music shadow forest island captain
    lantern apple boat cloud dream echo flame grass harbour ink jacket kettle lemon meadow night ocean
    paper quilt rain sand tree umbrella valley wind yard zebra bird candle door evening field goat hill
    jar king lamp moon nest orchard path queen road sea tower uncle village well yarn zone small quiet old
    bright warm soft long green calm kind brave
""")
# in each word two consonants in a row
CLUSTERS = _listed("""
    thick black storms swept dark north coasts strong winds struck small ships trusty sailors grabbed
    masts stood firm first light brought calm bright clouds spread still soft waters
""")
# lengths of 2, 3, 5 and 7 letters
PRIMES = _listed("""
    it was the old sea its red sun fed the green hills and the small birds among the trees the night
    brought visions so the world slept until the light
""")
# a, e and i only
THREE_VOWELS = _listed("""
    a grand ship sails at night and all the men sing and spin in rain as the mast bends in the sea wind
    then the white land appears and the brave crew cheers
""")
# a word for each letter, in order
ALPHABET = _listed("""
    an apple basket can dazzle every friendly goat however its jolly king likes making new orange pies
    quietly roasting seven turnips under very warm xenial yellow zeppelins
""")
RARE = _listed("""
    zyx quiz jazz vex waltz fjord gypsum kludge mumbo jumbo zigzag woozy puffy cwm pyx
""")
# each begins with the last word of the one before
CHAIN = (
    "The road meets a river.",
    "River water feeds the field.",
    "Field mice find a barn.",
    "Barn doors hide the light.",
    "Light draws every moth.",
    "Moth wings touch the lamp.",
    "Lamp oil keeps us warm.",
    "Warm rooms invite a song.",
)

# three sentences of the same length in characters, no word twice
EQUAL = (
    ("The cat naps.", "A boy did it.", "We love teas."),
    ("Big dogs bark.", "Our sun shone.", "I saw ten men."),
    ("Rain fell softly.", "She sang at noon.", "They like breads."),
)  # fmt: skip


def _spell(words: list[str]) -> str:
    text = " ".join(words)
    return text[0].upper() + text[1:] + "."


def _cut(rng: random.Random, words: list[str]) -> list[str]:
    return words[: rng.randint(6, len(words))]


def alphabet(rng: random.Random) -> str:
    """Initials in the order of the alphabet, from anywhere, round and round."""
    # one word for each letter; `apple` would come twice for a
    by_initial = {word[0]: word for word in ALPHABET if word != "apple"}
    start, letters = rng.randrange(26), "abcdefghijklmnopqrstuvwxyz"
    return _spell([by_initial[letters[(start + i) % 26]] for i in range(rng.randint(8, 40))])


def alternating_syllables(rng: random.Random) -> str:
    """Words with an odd and an even number of syllables by turns."""
    odd, even = ([w for w in BANK if syllables(w) % 2 == parity] for parity in (1, 0))
    return _spell([rng.choice(even if i % 2 else odd) for i in range(rng.randint(6, 24))])


def other_initials(rng: random.Random) -> str:
    """No initial twice in a row."""
    chosen = [rng.choice(BANK)]
    while len(chosen) < 20:
        chosen += [word] if (word := rng.choice(BANK))[0] != chosen[-1][0] else []
    return _spell(_cut(rng, chosen))


def growing_sentences(rng: random.Random, small_n: int) -> str:
    """Each sentence longer by the same number of words."""
    first = rng.randint(2, 5)
    return " ".join(
        _spell([rng.choice(BANK) for _ in range(first + small_n * i)]) for i in range(rng.randint(2, 4))
    )


def growing_alliteration(rng: random.Random) -> str:
    """Runs of one initial that grow by a word from sentence to sentence; none in the first."""
    # initials with enough words for the longest run of four
    groups = {c: [w for w in BANK if w[0] == c] for c in "bcflsw"}
    lines = ["Old kings dream."]
    for i in range(rng.randint(1, 3)):
        initial = rng.choice(list(groups))
        lines.append(_spell([*rng.sample(groups[initial], i + 2), "exist"]))
    return " ".join(lines)


def stairs(rng: random.Random) -> str:
    """Lines that start further and further in."""
    return "\n".join(" " * (2 * i) + _spell(rng.sample(BANK, 4)) for i in range(rng.randint(3, 7)))


def no_whitespace(rng: random.Random) -> str:
    """Words with hyphens between."""
    return _spell(["-".join(rng.sample(BANK, rng.randint(3, 10)))])


def word_lines(rng: random.Random) -> str:
    """A word a line."""
    return "\n".join(rng.sample(BANK, rng.randint(5, 20)))


def overlapping(rng: random.Random, reference_text: str, percentage: int) -> str:
    """The start of another text, then words that share no letters' triples with it, in such a number."""
    words = reference_text.split()
    # three words at least, so that one triple is shared
    copied = max(3, len(words) - rng.randint(0, 3))
    # n words have n - 2 triples of words
    fresh = round((copied - 2) * (100 - percentage) / max(percentage, 1))
    # words that no reference text holds
    source = cycle(RARE)
    return " ".join([*words[:copied], *(next(source) for _ in range(fresh))])


def json_record(rng: random.Random) -> str:
    """An object of words."""
    one, two, three, four = rng.sample(BANK, 4)
    return f'{{"{one}": "{two} by the {three}", "{four}": "a quiet place in the hills"}}'


def changed(rng: random.Random, prompt_to_repeat: str) -> str:
    """Another first word."""
    return " ".join(["Kindly", *prompt_to_repeat.split()[1:]])


def span(rng: random.Random, prompt_to_repeat: str, n_start: int, n_end: int) -> str:
    """Some of the words."""
    return " ".join(prompt_to_repeat.split()[n_start : n_end + 1])


def option(rng: random.Random, options: str) -> str:
    """The first option."""
    separator = "/" if "/" in options else " or " if " or " in options else ","
    return options.split(separator)[0].strip()


WHOLES: Mapping[str, Callable[..., str]] = {
    "words:alphabet": alphabet,
    "words:odd_even_syllables": alternating_syllables,
    "words:no_consecutive": other_initials,
    "words:prime_lengths": lambda rng: _spell(_cut(rng, PRIMES)),
    "words:consonants": lambda rng: _spell(_cut(rng, CLUSTERS)),
    "words:vowel": lambda rng: _spell(_cut(rng, THREE_VOWELS)),
    "words:last_first": lambda rng: " ".join(CHAIN[: rng.randint(2, len(CHAIN))]),
    "sentence:increment": growing_sentences,
    "sentence:alliteration_increment": growing_alliteration,
    "ratio:sentence_words": lambda rng: " ".join(rng.choice(EQUAL)),
    "ratio:overlap": overlapping,
    "format:line_indent": stairs,
    "format:no_whitespace": no_whitespace,
    "format:newline": word_lines,
    "detectable_format:json_format": json_record,
    "format:options": option,
    "repeat:repeat_change": changed,
    "repeat:repeat_span": span,
}
