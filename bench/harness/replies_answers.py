r"""Replies to AIME and MMLU as models write them, made by rule: the answer in many forms, wrong ones, none.

A form takes the right answer and a wrong one; its name says what the reply looks like. Of forms that begin with
`right` an honest reader says that they state the right answer, of `wrong` that they don't, of `open` nothing: there
the policies of graders part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Form = Callable[[str, str], str]
WORK = "We square both sides and compare coefficients, which leaves 12 cases; 7 of them fail."
THOUGHT = "<think>\nFirst I try small numbers. Perhaps 17? No.\n</think>\n\n"

AIME: dict[str, Form] = {
    "right: box": lambda g, w: rf"{WORK} \boxed{{{g}}}",
    "right: box in dollars": lambda g, w: rf"{WORK} The answer is $\boxed{{{g}}}$.",
    "right: box displayed": lambda g, w: rf"{WORK}" + "\n\\[\n" + rf"\boxed{{{g}}}" + "\n\\]",
    "right: box in two dollars": lambda g, w: rf"{WORK} $$\boxed{{{g}}}$$",
    "right: bold box": lambda g, w: rf"{WORK} **Final answer:** **\boxed{{{g}}}**",
    "right: final answer heading": lambda g, w: f"{WORK}\n\n**Final Answer**\n\\boxed{{{g}}}",
    "right: three digits": lambda g, w: rf"{WORK} \boxed{{{int(g):03d}}}",
    "right: box with a full stop": lambda g, w: rf"{WORK} \boxed{{{g}.}}",
    "right: box with blanks": lambda g, w: rf"{WORK} \boxed{{ {g} }}",
    "right: box of a text": lambda g, w: rf"{WORK} \boxed{{\text{{{g}}}}}",
    "right: box of bold digits": lambda g, w: rf"{WORK} \boxed{{\mathbf{{{g}}}}}",
    "right: framed": lambda g, w: rf"{WORK} \fbox{{{g}}}",
    "right: box without braces": lambda g, w: rf"{WORK} \boxed {g}",
    "right: box in a box": lambda g, w: rf"{WORK} \boxed{{\boxed{{{g}}}}}",
    "right: box with dollars inside": lambda g, w: rf"{WORK} \boxed{{${g}$}}",
    "right: named in the box": lambda g, w: rf"{WORK} \boxed{{m+n={g}}}",
    "right: x in the box": lambda g, w: rf"{WORK} \boxed{{x={g}}}",
    "right: equation before the box": lambda g, w: rf"{WORK} $m+n = \boxed{{{g}}}$",
    "right: unit in the box": lambda g, w: rf"{WORK} \boxed{{{g}\text{{ minutes}}}}",
    "right: unit after the box": lambda g, w: rf"{WORK} It takes \boxed{{{g}}} minutes.",
    "right: degrees in the box": lambda g, w: rf"{WORK} \boxed{{{g}^\circ}}",
    "right: boxed twice": lambda g, w: rf"{WORK} So \boxed{{{g}}}. Checking again: \boxed{{{g}}}.",
    "right: corrected box": lambda g, w: (
        rf"{WORK} \boxed{{{w}}} Wait, I forgot a case, so it is \boxed{{{g}}}."
    ),
    "right: thought, then box": lambda g, w: rf"{THOUGHT}{WORK} \boxed{{{g}}}",
    "right: wrong box in the thought": lambda g, w: rf"<think>\boxed{{{w}}}</think>\boxed{{{g}}}",
    "right: words after the box": lambda g, w: rf"{WORK} \boxed{{{g}}}" + "\nI hope this helps!",
    "right: check after the box": lambda g, w: rf"{WORK} \boxed{{{g}}}" + "\nCheck: 3 + 4 = 7, as wanted.",
    "right: stated": lambda g, w: f"{WORK} The answer is {g}.",
    "right: stated as final": lambda g, w: f"{WORK}\nThe final answer is: ${g}$",
    "right: stated in bold": lambda g, w: f"{WORK}\n**Answer: {g}**",
    "right: answer line": lambda g, w: f"{WORK}\nAnswer: {g}",
    "right: hashes": lambda g, w: f"{WORK}\n#### {g}",
    "right: the number alone": lambda g, w: g,
    "right: bold number at the end": lambda g, w: f"{WORK}\n\n**{g}**",
    "right: answer tags": lambda g, w: f"{WORK} <answer>{g}</answer>",
    "open: decimal point": lambda g, w: rf"{WORK} \boxed{{{g}.0}}",
    "open: sum in the box": lambda g, w: rf"{WORK} \boxed{{{int(g) - 1}+1}}",
    "open: fraction in the box": lambda g, w: rf"{WORK} \boxed{{\frac{{{2 * int(g)}}}{{2}}}}",
    "open: chain in the box": lambda g, w: rf"{WORK} \boxed{{{int(g) - 3} + 3 = {g}}}",
    "open: percent in the box": lambda g, w: rf"{WORK} \boxed{{{g}\%}}",
    "open: number in a sentence": lambda g, w: f"{WORK} That leaves {g} ways to do it.",
    "open: equation at the end": lambda g, w: f"{WORK} Hence m + n = {g}.",
    "open: box that isn't closed": lambda g, w: rf"{WORK} \boxed{{{g}",
    "open: box, then another statement": lambda g, w: rf"{WORK} \boxed{{{g}}} The answer is {w}.",
    "wrong: next number": lambda g, w: rf"{WORK} \boxed{{{int(g) + 1}}}",
    "wrong: number before": lambda g, w: rf"{WORK} \boxed{{{int(g) - 1}}}",
    "wrong: other sign": lambda g, w: rf"{WORK} \boxed{{-{g}}}",
    "wrong: a digit more": lambda g, w: rf"{WORK} \boxed{{{g}0}}",
    "wrong: a digit less": lambda g, w: rf"{WORK} \boxed{{{g[:-1] or 0}}}",
    "wrong: other": lambda g, w: rf"{WORK} \boxed{{{w}}}",
    "wrong: stated": lambda g, w: f"{WORK} The answer is {w}.",
    "wrong: right one taken back": lambda g, w: (
        rf"{WORK} \boxed{{{g}}} No, that is wrong. It is \boxed{{{w}}}."
    ),
    "wrong: two boxes side by side": lambda g, w: rf"{WORK} \boxed{{{g}}}, \boxed{{{w}}}",
    "wrong: or in the box": lambda g, w: rf"{WORK} \boxed{{{g} \text{{ or }} {w}}}",
    "wrong: list in the box": lambda g, w: rf"{WORK} \boxed{{{g}, {w}}}",
    "wrong: right in the thought only": lambda g, w: rf"<think>\boxed{{{g}}}</think>I can't tell.",
    "wrong: thought without an end": lambda g, w: rf"<think>{WORK} \boxed{{{g}}}",
    "wrong: empty box": lambda g, w: rf"{WORK} \boxed{{}}",
    "wrong: no answer": lambda g, w: f"{WORK} I don't know how to go on.",
    "wrong: nothing": lambda g, w: "",
    "wrong: power": lambda g, w: rf"{WORK} \boxed{{{g}^2}}",
    "wrong: half": lambda g, w: rf"{WORK} \boxed{{\frac{{{g}}}{{2}}}}",
}

WHY = "The process moves water across the membrane, and nothing else in the list does."
MMLU: dict[str, Form] = {
    "right: ANSWER line": lambda g, w: f"{WHY}\n\nANSWER: {g}",
    "right: the letter": lambda g, w: g,
    "right: letter with a full stop": lambda g, w: f"{g}.",
    "right: letter in brackets": lambda g, w: f"({g})",
    "right: letter with its option": lambda g, w: f"{g}. the second of them",
    "right: bold letter": lambda g, w: f"**{g}**",
    "right: the answer is": lambda g, w: f"{WHY} The answer is {g}.",
    "right: the answer is in brackets": lambda g, w: f"{WHY} The answer is ({g}).",
    "right: the answer is in bold": lambda g, w: f"{WHY} The answer is **{g}**.",
    "right: the correct answer is with a text": lambda g, w: f"The correct answer is {g}. the second of them.",
    "right: correct option": lambda g, w: f"{WHY} So the correct option is {g}.",
    "right: Answer": lambda g, w: f"{WHY}\nAnswer: {g}",
    "right: Answer in bold": lambda g, w: f"{WHY}\n**Answer: {g}**",
    "right: Answer, bold letter": lambda g, w: f"{WHY}\nAnswer: **{g}**",
    "right: Answer in brackets": lambda g, w: f"{WHY}\nAnswer: ({g})",
    "right: Answer with an option": lambda g, w: f"Answer: {g}. the second of them",
    "right: Answer, then reasons": lambda g, w: f"Answer: {g}\n\nThe others don't fit the question.",
    "right: letter, then reasons": lambda g, w: f"{g}\n\nIt is the only one that fits.",
    "right: box": lambda g, w: rf"{WHY} \boxed{{{g}}}",
    "right: box of a text": lambda g, w: rf"{WHY} \boxed{{\text{{{g}}}}}",
    "right: ANSWER with a box": lambda g, w: rf"{WHY}" + "\n" + rf"ANSWER: $\boxed{{{g}}}$",
    "right: correct one": lambda g, w: f"{WHY} {g} is correct.",
    "right: choice": lambda g, w: f"{WHY} I choose {g}.",
    "right: final answer": lambda g, w: f"{WHY}\n\nFinal answer: {g}",
    "right: thought, then letter": lambda g, w: f"<think>Maybe {w}? No.</think>\n{g}",
    "right: thought, then ANSWER": lambda g, w: f"<think>ANSWER: {w}? No.</think>{WHY}\nANSWER: {g}",
    "right: corrected": lambda g, w: f"ANSWER: {w}\nWait, I misread it.\nANSWER: {g}",
    "right: another ruled out before": lambda g, w: f"{w} is wrong, since it is too slow. The answer is {g}.",
    "right: another ruled out after": lambda g, w: f"The answer is {g}, since {w} is too slow.",
    "right: reasons with names after": lambda g, w: f"The answer is {g}. Darwin and Lamarck differ on that.",
    "right: JSON": lambda g, w: f'{{"answer": "{g}"}}',
    "open: small letter": lambda g, w: f"The answer is {g.lower()}.",
    "open: last capital": lambda g, w: f"{WHY} It must be option {g} then",
    "open: option named in a sentence": lambda g, w: f"Only {g} moves water across the membrane.",
    "wrong: other": lambda g, w: f"{WHY}\n\nANSWER: {w}",
    "wrong: other letter": lambda g, w: w,
    "wrong: other stated": lambda g, w: f"{WHY} The answer is {w}.",
    "wrong: not that one": lambda g, w: f"{WHY} The answer is not {g}.",
    "wrong: one of two": lambda g, w: f"{WHY} The answer is {g} or {w}.",
    "wrong: both": lambda g, w: f"ANSWER: {g}, {w}",
    "wrong: taken back": lambda g, w: f"The answer is {g}. No, that is wrong: the answer is {w}.",
    "wrong: right in the thought only": lambda g, w: f"<think>ANSWER: {g}</think>I can't tell.",
    "wrong: thought without an end": lambda g, w: f"<think>{WHY} The answer is {g}.",
    "wrong: letter past the last": lambda g, w: "ANSWER: E",
    "wrong: no letter": lambda g, w: "I can't tell which of them it is.",
    "wrong: nothing": lambda g, w: "",
    "wrong: all listed": lambda g, w: "A) one\nB) two\nC) three\nD) four",
    "wrong: guide to the form": lambda g, w: "The last line should be 'ANSWER: [LETTER]'.",
}  # fmt: skip


def aime(gold: str, rng: random.Random, most: int = 24) -> Iterator[tuple[str, str]]:
    """(form, reply) of some forms, drawn; the wrong answer too, and no other way to write the right one."""
    for form in rng.sample(list(AIME), most):
        yield form, AIME[form](gold, str(rng.choice([n for n in range(2, 1000) if n != int(gold)])))


def mmlu(gold: str, rng: random.Random, most: int = 12) -> Iterator[tuple[str, str]]:
    """(form, reply) of some forms, drawn."""
    for form in rng.sample(list(MMLU), most):
        yield form, MMLU[form](gold, rng.choice("ABCD".replace(gold, "")))
