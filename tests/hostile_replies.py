"""Replies that no model should write, from a seeded generator: what any grader must answer with a number.

`replies(rng, count, golds)` is an iterator of texts; `golds` are right replies of the domain, which some kinds mutate.
One kind is a row of `KINDS` with its weight. About one in 400 is long (20,000 characters), one in 10,000 very long.
Not covered: replies that are no text at all, which the command line refuses before a grader sees them.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence

LATEX = (
    r"\boxed{", r"\boxed", r"\fbox{", r"\frac{", r"\frac12", r"\sqrt[3]{", r"\text{", r"\left(",
    r"\right]", r"\begin{pmatrix}", r"\end{pmatrix}", r"\begin{cases}", "&", r"\\", "^{", "^", "_", "_{",
    "}", "{", "$", "$$", r"\(", r"\)", r"\[", r"\]", r"\infty", r"\max", r"\min", r"\gcd",
    r"\operatorname{", r"\foo", r"\cup", r"\mid", r"\{", r"\}", r"\langle", r"\lfloor", r"\log_",
    r"\int_0^1", r"\sum_{n=1}^{999999}", r"\binom{", r"\cdot", r"\times", r"\pm", r"\le", r"\ne", r"\%",
    r"\$", r"\circ", r"\overline{3}", "=", "<", "!", "!!", "?", "|", "||", "/", "//", "**", "+", "-", "--",
    ",", ";", ":", ".", "..", "(", ")", "[", "]", "x", "y", "n", "i", "e", r"\pi", "0", "1", "2", "7",
    "12", "10^9", "2^{999999}", "9" * 60, "1/0", "0/0", "0.1", "1e999", "-1", "nan", "inf", "A", "B", "\n",
    r"\max=11", "?=11", r"\foo=", r"2^{999999}=11", "9!!!!!!", "x_{x_{x_x}}", r"\tan\frac\pi2",
    "(-1)^{1/2}", "0^0", r"\ce{CO2}",
)  # fmt: skip
TAGS = (
    "<think>", "</think>", "<think", "</think", "<|im_end|>", "<|im_start|>assistant\n", "<|endoftext|>",
    "<answer>", "</answer>", "<tool_call>", "</tool_call>", "<stop>", "<prd>", "\n\n", " ", "Wait.",
    "The answer is", r"\boxed{", "}", "```", "~~~",
)  # fmt: skip
WORDS = (
    "the", "answer", "is", "not", "A", "a", "B", "C.", "(D)", "I", "would", "never", "choose", "If",
    "then", "so", "correct", "option", "final", "choice", ":", "=", "?", "or", "and", "neither", "Answer:",
    "####", "yes", "no", "Question 1.", "P.S.", "My answer is no.", "*", "**", "***", "******", "- b",
    "<<t>>", "[x]", "{", "}", '"', "'", "“", "”", "，", "答案是", "选", "Ответ:", "réponse",
    "１２", "½", "10⁵", "x₁", "⩾", "2⁄3", "日本", "한국", "हिंदी", "İ", "ǆ",
    "ﬃ", "🙂", "1,000", "3.5", "100%", "cm", "$5", "\n", "\n\n", "\t", "\r\n",
)  # fmt: skip
CODE = (
    "```python\n", "```cpp\n", "```\n", "```", "~~~\n", "````\n", "def f(x):\n", "    return x\n",
    "exit()\n", "import os\n", "print(1)\n", "class A:\n", "<<<<<<< SEARCH\n", "=======\n",
    ">>>>>>> REPLACE\n", "diff --git a/x b/x\n", "--- a/x\n", "+++ b/x\n", "--- /dev/null\n",
    "@@ -1,3 +1,3 @@\n", "@@ -0,0 +1 @@\n", "@@ -99999999999999999999,1 +1 @@\n", "+y\n", "-x\n", " z\n",
    "\\ No newline at end of file\n", "GIT binary patch\n", "rename from a\n", "../../etc/passwd\n",
    "\x00", "\r\n", "\r", "\ufeff", "x = [" * 50, "(" * 90, "x.py\n", "### x.py\n",
)  # fmt: skip
ODD = (
    "\x00", "\x0b", "\x0c", "\x1b[31m", "\x1c", "\x85", "\xad", "\u200b", "\u200d", "\u2028", "\u202e",
    "\u2066", "\ufeff", "\ufffd", "\uffff", "\ud800", "\udfff", "\ud83d", "\U0010ffff", "́", "ͯ",
    "\u0300" * 30, "ａ", "Ａ", "𝐁", "Ⓑ", "А", "В", "Ⅳ", "٣", "％",
)  # fmt: skip
PAIRS = (
    ("{", "}"), ("(", ")"), ("[", "]"), (r"\boxed{", "}"), (r"\frac{1}{", "}"), ("<think>", "</think>"),
    (r"\sqrt{", "}"), ("**", "**"), ("|", "|"), (r"\left(", r"\right)"), ("x^{", "}"), ("-", ""),
)  # fmt: skip
BREAKS = ("!", "\n", "}", "x", "\x00", "")  # what ends a long repetition, so that a pattern must turn back


def _bytes(rng: random.Random, golds: Sequence[str]) -> str:
    data = rng.randbytes(rng.randrange(1, 120))
    # surrogateescape leaves lone surrogates, as a damaged file does
    return data.decode(
        *rng.choice((("latin-1", "strict"), ("utf-8", "replace"), ("utf-8", "surrogateescape")))
    )


def _soup(*tables: Sequence[str]) -> Callable[[random.Random, Sequence[str]], str]:
    pieces = [piece for table in tables for piece in table]

    def make(rng: random.Random, golds: Sequence[str]) -> str:
        return rng.choice(("", "", " ")).join(rng.choices(pieces, k=rng.randrange(1, 16)))

    return make


def _pieces(rng: random.Random) -> list[str]:
    return rng.choices(rng.choice((LATEX, TAGS, WORDS, CODE, ODD)), k=rng.randrange(1, 4))


def _mutated(rng: random.Random, golds: Sequence[str]) -> str:
    """A right reply with up to three small changes: cut, doubled, swapped, or with something put in."""
    text = rng.choice(golds)
    for _ in range(rng.randrange(1, 4)):
        a, b = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        piece = "".join(_pieces(rng))
        text = rng.choice(
            (text[:a] + text[b:], text[:b] + text[a:], text[:a] + piece + text[a:], text[:a] + piece + text[b:],
             text[::-1], text.swapcase(), text + piece, piece + text, text[:a], text[b:])
        )  # fmt: skip
    return text[:5000]


def _json(rng: random.Random, golds: Sequence[str]) -> str:
    value: object = rng.choice((None, True, 10**40, float("nan"), rng.choice(golds)[:200], [], {}, "B"))
    for _ in range(rng.randrange(4)):
        value = rng.choice(([value], {"answer": value}, {"": value, "choices": -1}, [value, value]))
    return json.dumps(value) + rng.choice(("", "", "}", "\n```", "]" * 40))


def _nested(rng: random.Random, golds: Sequence[str]) -> str:
    """Something opened many times, around a piece, and perhaps closed."""
    opening, closing = rng.choice(PAIRS)
    depth = rng.randrange(2, 120)
    return opening * depth + "".join(_pieces(rng)) + closing * rng.choice((0, depth - 1, depth, depth + 1))


def _long(rng: random.Random, golds: Sequence[str], size: int = 20_000) -> str:
    """A few pieces over and over, then what breaks the pattern, alone or in front of a right reply."""
    piece = "".join(_pieces(rng)) or " "
    text = piece * (size // len(piece) + 1) + rng.choice(BREAKS)
    return text[-size:] + rng.choice(("", rng.choice(golds)[:500]))


def _very_long(rng: random.Random, golds: Sequence[str]) -> str:
    return _long(rng, golds, 200_000)


# kind, weight
KINDS: tuple[tuple[Callable[[random.Random, Sequence[str]], str], float], ...] = (
    (_bytes, 1.5), (_soup(LATEX), 2), (_soup(TAGS), 1), (_soup(TAGS, LATEX), 0.5), (_soup(TAGS, WORDS), 1),
    (_soup(WORDS), 1), (_soup(CODE), 1), (_soup(ODD), 0.5), (_soup(ODD, WORDS, LATEX), 1), (_mutated, 5),
    (_json, 0.5), (_nested, 0.5),
    (_long, 0.04), (_very_long, 0.0016),
)  # fmt: skip


def replies(rng: random.Random, count: int, golds: Sequence[str]) -> Iterator[str]:
    """`count` hostile replies; `golds` are right replies of the domain, at least one."""
    makers, weights = zip(*KINDS, strict=True)
    for _ in range(count):
        # half as it stands, a quarter behind a closed thought, the rest behind an open or a doubled one
        before = rng.choice(
            ("", "", "", "", "<think>\n</think>\n\n", "</think>", "<think>", "<think>a</think>")
        )
        yield before + rng.choices(makers, weights)[0](rng, golds)
