r"""Replies to multiple-choice questions made of templates, with the letter that they state known by construction.

What denies, supposes, asks, quotes, tells of others, takes back or hedges states nothing, wherever it stands; what
follows it is still read. About 25,000 replies in 15 s on one core.
"""

import random
from itertools import product

import pytest

from cascade_rl.verify.choice.letters import stated

LETTERS = "ABCDE"
# x is the letter as it is written, X the letter bare
HONEST = (
    "The answer is x.", "Answer: x", "**Answer:** x", "**Answer**: x", "__Answer__: x", "ANSWER: x",
    "The correct answer is x.",
    "So the final answer is x.", "Final answer: x", "Final Choice: x", "Option Selected: x",
    "My choice is x.", "The best option is x.",
    "The answer must be x.", "The answer to this question is x.", "I think the answer is x.",
    "Hence the answer is therefore x.",
    "The correct option is option x.", "Correct choice - x", "Answer → x", "Answer = x", "\\boxed{x}",
    "$\\boxed{\\text{X}}$",
    "The final answer is $\\boxed{X}$.", "<answer>x</answer>", '{"answer": "X"}',
    '{"reason": "it fits", "answer": "X"}', "Ans: \\fbox{X}",
    "So, X is the correct answer.", "X is correct.", "Option X is the best choice.", "Therefore X.",
    "Thus, X.", "Hence, option x.",
    "So it's X.", "It must be (X).", "I choose X.", "I would go with X.", "We pick option X.",
    "I select (X).", "Let's go with X.",
    "This matches option X.", "which corresponds to option X.", "The answer is X because it fits.",
    "The answer is a tricky one: X",
    "Since 4 is not prime, the answer is x.", "If we add them we get 7, so the answer is x.",
    "No doubt the answer is x.",
    "Answer: X) 12 cm", "Answer: X. Paris", "Answer: (X) None of these", "**X**", "(X)", "X.", "[X]", "X",
)  # fmt: skip
ABROAD = (
    "选X", "故选:X", "故选：X。", "答案是X", "答案：X", "答案为 X。", "正确答案是X。", "正确答案：(X)",
    "因此选择X。", "本题选X。", "X正确。",
    "答えはX", "答え：X", "正解はXです。", "答えは(X)です。", "정답: X", "정답은 X 입니다",
    "답은 (X)입니다", "La réponse est X.",
    "La bonne réponse est la X.", "Réponse : X", "Die Antwort ist X.", "Die richtige Antwort lautet X.",
    "Antwort: X", "**Antwort: X**",
    "La respuesta es X.", "La respuesta correcta es la X.", "Respuesta: X", "A resposta é X.",
    "A resposta correta é a letra X.",
    "Resposta: X", "La risposta è X.", "La risposta corretta è la X.", "Risposta: X", "Ответ: X",
    "Правильный ответ — X.", "Ответ: (X)",
    "Jawaban: X", "Jawabannya adalah X", "Đáp án: X", "Đáp án là X", "Cevap: X", "Doğru cevap X",
    "Odpowiedź: X", "Odpowiedź to X",
    "Het antwoord is X.", "Svar: X", "উত্তর: X", "उत्तर: X", "الإجابة: X", "الإجابة الصحيحة هي X",
    "คำตอบ: X", "Jibu: X", "Răspuns: X",
)  # fmt: skip
WRITTEN = ("X", "(X)", "**X**", "X)", "$X$", "\\textbf{X}", '"X"', "`X`")
NOTHING = {
    "denied": (
        "The answer is not X.", "The answer isn't X.", "The answer can't be X.",
        "The answer is definitely not X.", "It is not X.",
        "I would not choose X.", "I would never pick X.", "Never select X here.", "Don't choose X.",
        "You should not go with X.",
        "I don't think the answer is X.", "I do not believe that X is correct.", "I doubt the answer is X.",
        "X is not correct.",
        "X is incorrect.", "Option X is wrong.", "X is not the right answer.",
        "No one would say that the answer is X.",
        "It is false that the answer is X.", "The wrong answer is X.", "Wrong answer: X",
        "Incorrect option: X", "Not \\boxed{X}.",
        "The answer is neither X nor Y.", "Neither X nor Y is correct.", "None of X, Y is correct.",
        "Rule out X.", "Eliminate X.",
        "The answer is anything but X.", "The answer cannot possibly be X.",
        "There is no way the answer is X.", "Not X.",
        "The answer is X is a wrong claim.", "That the answer is X is false.",
        "The claim that X is correct is false.",
        "答案不是X。", "不选X。", "不能选X。", "X不正确。", "X是错的。", "答えはXではない。",
        "Xは正しくない。", "정답은 X가 아닙니다.",
        "La réponse n'est pas X.", "Die Antwort ist nicht X.", "X ist nicht richtig.",
        "La respuesta no es X.", "La risposta non è X.",
        "A resposta não é X.", "Ответ не X.", "Het antwoord is niet X.", "Cevap X değil.",
        "Jawabannya bukan X.", "Đáp án không phải là X.",
    ),
    "supposed": (
        "If the answer is X, then 2 = 3, a contradiction.", "If X is correct, the sum is odd.",
        "Suppose the answer is X.",
        "Assume that X is correct.", "Assuming the answer is X, we get 7.",
        "Let us imagine the answer is X.", "Had I chosen X, it fails.",
        "Unless the answer is X, this fails.", "The answer is X if n is even.",
        "The answer would be X if n were even.",
        "The answer is X only if n is odd.", "Perhaps the answer is X.", "Maybe the answer is X.",
        "The answer might be X.",
        "The answer could be X.", "We check whether the answer is X.", "If you choose X, you lose.",
        "If it is X, we are lost.",
        "如果答案是X，则矛盾。", "假设选X。", "若答案为X，则不成立。", "もし答えがXなら",
        "만약 정답이 X라면", "Si la réponse est X, alors 1 = 2.",
        "Wenn die Antwort X ist, dann gilt 1 = 2.", "Wenn die Antwort ist X, dann gilt 1 = 2.",
        "Si la respuesta es X, entonces 1 = 2.",
        "Если ответ: X, то 1 = 2.", "Jika jawabannya adalah X, salah.",
    ),
    "asked": (
        "Is the answer X?", "The answer is X?", "Could it be X?", "Answer: X?", "Is X correct?",
        "Why is the answer X?", "So it's X?",
        "Would you choose X?", "X?", "The answer is X, right?", "答案是X吗？", "答案是X?",
        "La réponse est X ?",
        "Ist die Antwort X?",
        "\\boxed{X}?",
    ),
    "told": (
        "Some say the answer is X.", "Many people think the answer is X.", "Students often choose X.",
        "Others believe X is correct.",
        "He thinks that the answer is X.", "One might think the answer is X.",
        "At first glance the answer is X.",
        "It is tempting to say the answer is X.", "My friend said the answer is X.",
        "A common mistake is that the answer is X.",
        "Initially the answer is X.", "You could say the answer is X.", "I first thought the answer is X.",
        "A possible answer is X.",
        "His answer is X.", "Another answer is X.", "The obvious answer is X.",
        "The most tempting wrong answer is X.",
        "The answer is X, said the boy.", "有人认为答案是X。",
    ),
    "quoted": (
        'The student wrote "the answer is X" on the board.', "He wrote “The answer is X.” there.", 'A note reads "X is correct".',
        "Sie sagte: „Die Antwort ist X.“ und ging.", "『答えはX』とある。",
    ),
    "two": (
        "Answer: X or Y", "Answer: X and Y", "Answer: X, Y", "Answer: X Y", "Answer: X/Y", "Answer: X|Y",
        "Answer: X; Y", "Answer: X + Y",
        "Answer: X & Y", "Answer: (X)(Y)", "Answer: (X) (Y)", "Answer: X-Y", "Answer: X to Y",
        "Answer: X (or Y)", "Answer: X, or Y",
        "\\boxed{X, Y}", "\\boxed{X; Y}", "\\boxed{X Y}", "\\boxed{X}, \\boxed{Y}", "\\boxed{X} \\boxed{Y}",
        "\\boxed{X} or \\boxed{Y}",
        "\\boxed{XY}", "<answer>X, Y</answer>", "Answer: X\nAnswer: Y", "The answer is X. The answer is Y.",
        "X or Y is correct.",
        "X and Y", "X, Y", "X\nY", "(X)\n(Y)", "Answer: X\n\nY", "The answer is either X or Y.",
        "I choose X or Y.", "It's X or Y.",
        "答案：X和Y", "答案是X或Y。", "La réponse est X ou Y.", "Die Antwort ist X oder Y.",
        "La respuesta es X o Y.", "Ответ: X или Y",
        "The answer is X, or perhaps Y.", "The answer is X. Or maybe Y.",
        "Answer: X. Y could also be right.", "The answer is X, and Y too.",
        "Answer: A, B, C, D, E", "A) one\nB) two\nC) three", "Options: A, B, C, D",
    ),
    "no statement": (
        "X:Y=2:3", "The ratio is X:Y=2:3.", "Answer: X:Y", "The answer is X:Y = 2:3", "X > Y",
        "X is larger than Y.", "Answer: X-ray", "Answer: X+",
        "Answer: X'", "Answer: X_1", "Answer: X^2", "Answer: X=2", "I am not sure.",
        "A perfect answer cannot be found.", "The answer is A dog.",
        "The answer is a dog.", "The answer is I am not sure.", "I think so.", "A is a letter.",
        "Vitamin X is best.", "Plan X is correct then.",
        "Answer:", "The answer is 12.", "\\boxed{12}", "\\boxed{}", "Answer: Z", "\\boxed{Z}",
        "X marks the spot.", "Answer: none", "Answer: all of them",
        "The answer is here: X-ray", "Answer: Xenon", "Both are right.", "Answer: not X", "Answer: no X",
        "Answer: everything but X",
    ),
}  # fmt: skip
TAKEN_BACK = (
    " Wait, no.", " Wait.", " No, that is wrong.", "\n\nActually, no.",
    " Hmm, that can't be right. Let me recheck.", " Scratch that.",
    " But that is incorrect.", " Hold on.", " On second thought, no.", " I made a mistake.", " X is wrong.",
    " X cannot be right.",
    " But this is wrong.", " Oops.", " They are wrong.", " 等等，不对。",
)  # fmt: skip
CORRECTED = (
    " Wait, actually it should be Y.", "\n\nActually, no: Y is correct.", " No, the answer is Y.",
    " Wait, Y.", " Actually Y.", " Hmm, no, Y.",
    "\nNo wait.\nAnswer: Y", " I made a mistake: the answer is Y.", " That is wrong. So it's Y.",
    " On second thought, I choose Y.",
    "\nFinal Choice: Y", "\n\nSo the final answer is Y.", " Correction: the answer is Y.",
    " 等等，不对。答案是Y。",
)  # fmt: skip
BEFORE = (
    "", "We compare the options. ", "A is too small, and C is too large.\n\n",
    "Let x = 3. Then 2x = 6 is not 7.\n", "I think about it.\n\n",
    "Option D is wrong.\n\n", "Consider A first. It fails. Consider B. It fails too.\n\n",
    "## Solution\n\n* first\n* second\n\n",
    "A) 1\nB) 2\nC) 3\nD) 4\n\n",
)  # fmt: skip
AFTER = ("", "\n", "\n\nI hope this helps!", "\n\nThe others are wrong.", " Have a nice day.")


def written(template: str, letter: str, other: str, form: str = "X") -> str:
    return (
        template.replace("x", "\0")
        .replace("Y", other)
        .replace("X", letter)
        .replace("\0", form.replace("X", letter))
    )


def pairs() -> list[tuple[str, str]]:
    return [(a, b) for a, b in product(LETTERS, LETTERS) if a != b]


def honest(template: str, letter: str, form: str) -> str:
    # only a lone `x` is the letter's place, not the one in `\boxed`
    return "".join(
        form.replace("X", letter) if piece == "x" else piece.replace("X", letter)
        for piece in split_x(template)
    )


def split_x(template: str) -> list[str]:
    pieces = [""]
    for at, char in enumerate(template):
        alone = (
            char == "x" and not template[at - 1 : at].isalpha() and not template[at + 1 : at + 2].isalpha()
        )
        pieces.extend((char, "")) if alone else pieces.__setitem__(-1, pieces[-1] + char)
    return pieces


def wrong(cases: list[tuple[str, str | None]]) -> list[tuple[str, str | None, str | None]]:
    """What is read otherwise than it was made."""
    return [(reply, want, got) for reply, want in cases if (got := stated(reply, LETTERS)) != want]


def test_honest_statements_are_read_in_every_form():
    rng = random.Random(0)
    cases: list[tuple[str, str | None]] = []
    for template, letter, form in product(HONEST, LETTERS, WRITTEN):
        if "x" not in split_x(template) and form != "X":
            continue
        reply = honest(template, letter, form)
        before, after = rng.choice(BEFORE), rng.choice(AFTER)
        # a letter alone is a line, the last
        if template in ("X.", "X", "(X)", "**X**", "[X]") or template.endswith(": X"):
            after = "" if not template.endswith(": X") else "\n\nI hope this helps!"
            before = "" if before.startswith("A)") else before.rstrip(" ") + ("\n" if before else "")
        cases.append((before + reply + after, letter))
    assert len(cases) > 900 and wrong(cases) == []


@pytest.mark.parametrize("letter", LETTERS)
def test_honest_statements_are_read_in_other_languages(letter):
    cases = [
        (before + template.replace("X", letter), letter)
        for template in ABROAD
        for before in ("", "7 + 5 = 12.\n\n")
    ]
    wide = [(t.replace("X", chr(ord(letter) + 0xFEE0)), letter) for t in ABROAD]
    assert wrong(cases + wide) == []


@pytest.mark.parametrize("kind", NOTHING)
def test_what_states_nothing_earns_nothing(kind):
    rng = random.Random(kind)
    cases = [
        (
            ("" if "\n" in template else rng.choice(("", "We compare. ", "We compare.\n\n")))
            + written(template, a, b),
            None,
        )
        for template in NOTHING[kind]
        for a, b in pairs()
    ]
    assert wrong(cases) == []


@pytest.mark.parametrize("kind", ["denied", "supposed", "asked", "told", "quoted"])
def test_a_statement_after_it_is_still_read(kind):
    ends = (
        "\n\nThe answer is Y.",
        " So it's Y.",
        "\n\nY",
        " Therefore, the correct answer is **Y**.",
        "\n\\boxed{Y}",
        " But Y is correct.",
    )
    cases: list[tuple[str, str | None]] = [
        (written(template, a, b) + end.replace("Y", b), b)
        for template in NOTHING[kind]
        for (a, b), end in zip(pairs(), ends * 4, strict=False)
        if "Y" not in template
    ]
    assert len(cases) >= 100 and wrong(cases) == []


@pytest.mark.parametrize(
    "form",
    ["The answer is X.", "Answer: X.", "I choose X.", "X is correct.", "\\boxed{X}.", "It's X.", "答案是X。"],
)
def test_what_is_taken_back_earns_nothing_and_what_is_corrected_counts(form):
    cases: list[tuple[str, str | None]] = []
    for a, b in pairs():
        cases += [(written(form + end, a, b), None) for end in TAKEN_BACK]
        cases += [(written(form + end, a, b), b) for end in CORRECTED]
    assert wrong(cases) == []


def test_the_pronoun_and_the_article_are_no_options():
    for text in (
        "I would say it depends.",
        "The answer is I don't know.",
        "A cat is here.",
        "The answer is A bit long.",
        "I",
        "I think A",
    ):
        assert stated(text, "ABCDEFGHI") in (None, "I" if text == "I" else None)
    assert stated("The answer is I.", "ABCDEFGHI") == stated("I is correct.", "ABCDEFGHI") == "I"


def test_a_letter_that_is_not_stated_is_never_read_beside_one_that_is():
    rng = random.Random(1)
    nothing = [template for kind, templates in NOTHING.items() if kind != "two" for template in templates]
    bad = []
    for _ in range(6_000):
        a, b, c = rng.sample(LETTERS, 3)
        right = honest(rng.choice(HONEST + ABROAD), a, rng.choice(WRITTEN))
        other, between = (
            written(rng.choice(nothing), b, c),
            rng.choice((" ", "\n", "\n\n", ". ", "; ", " - ")),
        )
        for reply in (right.replace("X", a) + between + other, other + between + right.replace("X", a)):
            if (got := stated(reply, LETTERS)) not in (a, None):
                bad.append((reply, got))
    assert bad == []


@pytest.mark.parametrize(
    "text",
    [
        "Let's say the answer is A.", "Pretend that the answer is A.", "In case the answer is A, stop.",
        "The answer is A for odd n and B for even n.", "The answer is A; failing that, B.",
        "The answer is A, else B.", "The answer is A, otherwise B.", "The answer is A 50%, B 50%",
        "The answer is A with probability 0.5 and B with probability 0.5.", "The answer is A (50%) or B (50%)",
        "The answer is A. Alternatively, B.", "The answer is A. Or else B.", "The answer is A. Perhaps B.",
        "The answer is A. B is possible too.", "The answer is A. B is an equally good answer.",
        "The answer is A. No it isn't.", "The answer is A. Not!", "The answer is A, I don't think.",
        "Possible answer: A", "The student's answer: A", "My old answer was A.", "\\boxed{A \\cup B}",
        "\\boxed{A,\\ldots,D}", "\\boxed{A?}", "<answer>A?</answer>", "<answer>A\nB</answer>",
        "<answer>A\nB\nC\nD</answer>", '{"answer": "A, B"}', '{"answer": "A or B"}', "答案是A还是B",
    ],
)  # fmt: skip
def test_a_letter_that_is_shared_played_or_asked_states_nothing(text):
    for first, second in ("AB", "CD", "DB"):
        swapped = text.replace("B", "\0").replace("A", first).replace("\0", second)
        # the words around the letters begin with letters too
        if "Alternatively" not in text and swapped.lower() != text.lower():
            assert stated(swapped, LETTERS) is None, swapped
    assert stated(text, LETTERS) is None


def test_a_percentage_or_a_contrast_beside_one_letter_is_no_hedge():
    assert stated("The answer is A (90% sure).", LETTERS) == "A"
    assert stated("Answer: A) 50% of all cells", LETTERS) == "A"
    assert stated("The answer is A instead of B.", LETTERS) == "A"
    assert stated('{"answer": "A", "why": "B, C"}', LETTERS) == "A"
    assert stated("The answer is A for all n.", LETTERS) == "A"
