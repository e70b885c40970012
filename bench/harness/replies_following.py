"""Replies to IFEval and IFBench, made by rule: models' texts bent until they meet what a prompt asks for, or nearly do.

The texts are replies that packages carry (of ArenaHard's and IFBench's own prompts). `bend` tries to meet one
instruction of IFEval and often breaks another, which is what models do. For IFBench the texts of the tests' table of
instructions come to that, since each of its instructions wants a text of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

Given = dict[str, Any]
LANGUAGES = {
    "de": "Der alte Weg führt zwischen zwei stillen Hügeln hindurch, und am Abend wird es dort kühl.",
    "fr": "Le vieux chemin passe entre deux collines tranquilles et le soir il y fait froid.",
    "es": "El viejo camino pasa entre dos colinas tranquilas y por la noche hace frío.",
    "it": "La vecchia strada passa tra due colline tranquille e la sera fa freddo.",
    "pt": "O velho caminho passa entre duas colinas tranquilas e à noite faz frio.",
    "ru": "Старая дорога проходит между двумя тихими холмами, и вечером там холодно.",
    "hi": "पुराना रास्ता दो शांत पहाड़ियों के बीच से गुजरता है और शाम को वहां ठंड होती है।",
    "ar": "يمر الطريق القديم بين تلين هادئين وفي المساء يصبح الجو باردا هناك.",
    "ko": "오래된 길은 두 조용한 언덕 사이를 지나가고 저녁에는 그곳이 추워집니다.",
    "kn": "ಹಳೆಯ ದಾರಿ ಎರಡು ಶಾಂತ ಬೆಟ್ಟಗಳ ನಡುವೆ ಹಾದುಹೋಗುತ್ತದೆ ಮತ್ತು ಸಂಜೆ ಅಲ್ಲಿ ಚಳಿಯಾಗುತ್ತದೆ.",
    "th": "ถนนสายเก่าผ่านระหว่างเนินเขาเงียบสงบสองลูก และในตอนเย็นอากาศจะเย็น",
    "fa": "جاده قدیمی از میان دو تپه آرام می گذرد و عصرها هوا آنجا سرد می شود.",
    "vi": "Con đường cũ chạy giữa hai ngọn đồi yên tĩnh và buổi tối ở đó trời lạnh.",
    "sw": "Barabara ya zamani inapita kati ya vilima viwili tulivu na jioni kuna baridi huko.",
    "bn": "পুরানো পথটি দুটি শান্ত পাহাড়ের মাঝখান দিয়ে যায় এবং সন্ধ্যায় সেখানে ঠান্ডা হয়।",
    "fi": "Vanha tie kulkee kahden hiljaisen kukkulan välissä ja illalla siellä on kylmä.",
    "bg": "Старият път минава между два тихи хълма и вечер там става студено.",
    "ta": "பழைய பாதை இரண்டு அமைதியான மலைகளுக்கு இடையே செல்கிறது, மாலையில் அங்கு குளிராக இருக்கும்.",
    "te": "పాత దారి రెండు ప్రశాంతమైన కొండల మధ్య నుండి వెళుతుంది మరియు సాయంత్రం అక్కడ చల్లగా ఉంటుంది.",
    "gu": "જૂનો રસ્તો બે શાંત ટેકરીઓ વચ્ચેથી પસાર થાય છે અને સાંજે ત્યાં ઠંડી હોય છે.",
    "mr": "जुना रस्ता दोन शांत टेकड्यांमधून जातो आणि संध्याकाळी तिथे थंडी असते.",
    "pa": "ਪੁਰਾਣਾ ਰਸਤਾ ਦੋ ਸ਼ਾਂਤ ਪਹਾੜੀਆਂ ਵਿਚਕਾਰੋਂ ਲੰਘਦਾ ਹੈ ਅਤੇ ਸ਼ਾਮ ਨੂੰ ਉੱਥੇ ਠੰਢ ਹੁੰਦੀ ਹੈ।",
    "ne": "पुरानो बाटो दुई शान्त पहाडहरूको बीचबाट जान्छ र साँझमा त्यहाँ चिसो हुन्छ।",
    "ur": "پرانا راستہ دو پرسکون پہاڑیوں کے درمیان سے گزرتا ہے اور شام کو وہاں ٹھنڈ ہوتی ہے۔",
    "en": "The old road runs between two quiet hills, and in the evening it gets cold there.",
}


def _words(text: str, given: Given) -> str:
    words, n = text.split(" "), given["num_words"]
    if given["relation"] == "less than":
        return " ".join(words[: max(n - 1, 1)])
    return " ".join((words * (n // max(len(words), 1) + 2))[: n + 5])


def _sentences(text: str, given: Given) -> str:
    n = given["num_sentences"] + (-1 if given["relation"] == "less than" else 0)
    found = re.split(r"(?<=[.!?])\s+", text)
    return " ".join((found * (n + 1))[: max(n, 1)])


def _paragraphs(text: str, n: int, between: str) -> str:
    parts = [part for part in re.split(r"\n\s*\n", text) if part.strip()] or ["A part."]
    return between.join(part.strip() for part in (parts * n)[:n])


def _nth(text: str, given: Given) -> str:
    parts = _paragraphs(text, given["num_paragraphs"], "\n\n").split("\n\n")
    at = min(given["nth_paragraph"], len(parts)) - 1
    parts[at] = f"{given['first_word']} {parts[at]}"
    return "\n\n".join(parts)


def _letters(text: str, given: Given) -> str:
    letter, n = given["letter"], given["let_frequency"]
    return re.sub(re.escape(letter), "", text, flags=re.IGNORECASE) + f" {letter}" * (
        n if given["let_relation"] == "at least" else n - 1
    )


def _keyword(text: str, given: Given) -> str:
    rest = re.sub(re.escape(given["keyword"]), "", text, flags=re.IGNORECASE)
    n = given["frequency"] - (given["relation"] == "less than")
    return f"{rest}\n" + f"We say {given['keyword']} here. " * n


def _capitals(text: str, given: Given) -> str:
    n = given["capital_frequency"] - (given["capital_relation"] == "less than")
    return text.lower() + " BIG" * n


def _sections(text: str, given: Given) -> str:
    name = given["section_spliter"]
    return "\n".join(f"{name} {i}\n{text[:80]}" for i in range(1, given["num_sections"] + 1))


def _without(text: str, words: list[str]) -> str:
    for word in words:
        text = re.sub(rf"\b{re.escape(word)}\b", "", text, flags=re.IGNORECASE)
    return text


BEND: dict[str, Callable[[str, Given], str]] = {
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda t, g: t.upper(),
    "change_case:english_lowercase": lambda t, g: t.lower(),
    "combination:repeat_prompt": lambda t, g: f"{g['prompt_to_repeat']}\n\n{t}",
    "combination:two_responses": lambda t, g: f"{t}\n******\nOr else: {t[:200]}",
    "detectable_content:number_placeholders": lambda t, g: t + " [name]" * g["num_placeholders"],
    "detectable_content:postscript": lambda t, g: f"{t}\n\n{g['postscript_marker']} And one thing more.",
    "detectable_format:constrained_response": lambda t, g: "My answer is maybe.",
    "detectable_format:json_format": lambda t, g: '```json\n{"a": [1, 2], "b": "text"}\n```',
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": lambda t, g: (
        re.sub(r"^\s*[*-]\s?", "", t, flags=re.MULTILINE) + "\n* a point" * g["num_bullets"]
    ),
    "detectable_format:number_highlighted_sections": lambda t, g: t + " *a part*" * g["num_highlights"],
    "detectable_format:title": lambda t, g: f"<<A title>>\n\n{t}",
    "keywords:existence": lambda t, g: f"{t}\n{' '.join(g['keywords'])}",
    "keywords:forbidden_words": lambda t, g: _without(t, g["forbidden_words"]),
    "keywords:frequency": _keyword,
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda t, g: LANGUAGES[g["language"]],
    "length_constraints:nth_paragraph_first_word": _nth,
    "length_constraints:number_paragraphs": lambda t, g: _paragraphs(t, g["num_paragraphs"], "\n\n***\n\n"),
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_words": _words,
    "punctuation:no_comma": lambda t, g: t.replace(",", ""),
    "startend:end_checker": lambda t, g: f"{t.rstrip()} {g['end_phrase']}",
    "startend:quotation": lambda t, g: f'"{t.strip()}"',
}
# last, since what comes behind them would undo them
LATE = ("change_case", "punctuation", "keywords:forbidden", "startend:end", "startend:quotation")


def bend(text: str, asked: list[tuple[str, Given]]) -> str:
    """The text after each instruction that is known here was tried, those of the whole text last."""
    late = {name: n for n, name in enumerate(LATE, 1)}
    for ident, given in sorted(
        asked, key=lambda a: next((n for name, n in late.items() if a[0].startswith(name)), 0)
    ):
        text = BEND[ident](text, given) if ident in BEND else text
    return text


def nearly(text: str, rng: random.Random) -> str:
    """The text with a small change."""
    at = rng.randrange(len(text) + 1)
    return rng.choice((text[:at], text + " End.", text.lower(), f'"{text}"', text.replace("\n\n", "\n"), text.title(),
                       text[:at] + rng.choice((",", "*", "\n\n", '"', " the ", "7", "!", "-")) + text[at:],
                       f"Sure, here it is:\n\n{text}", f"```\n{text}\n```", text.replace(". ", ".\n\n")))  # fmt: skip


EDGE = ("", "  \n", "Hi.", "12345 !!!", '"hi"', "5", "[]", "P.S.", "a,b", "<<x>>", "***", "a******b", "* a\n- b",
        "My answer is yes. My answer is no.", "{}", "Hi! 😀", "...", "<think>Hm.</think>Hi.", "<think>Hm.",
        "Hi.\r\n* a\r\n")  # fmt: skip


def following(
    asked: list[tuple[str, Given]], texts: list[str], table: dict[str, list[str]], rng: random.Random
) -> Iterator[tuple[str, str]]:
    """(form, reply) for a prompt; `table` holds texts for single instructions."""
    text = rng.choice(texts)
    yield "a model's text", text
    yield "bent", (bent := bend(text, asked))
    yield "nearly", nearly(bent, rng)
    short = bend(rng.choice(texts)[:300], asked)
    yield "short and bent", short
    yield "short and nearly", nearly(short, rng)
    yield "thought, then bent", f"<think>\nCount twice, with a comma.\n</think>\n\n{short}"
    yield "edge", rng.choice(EDGE)
    for ident, _ in asked:
        for text in table.get(ident, ()):
            yield "of the table", text
        yield "of the table, nearly", nearly(rng.choice(table.get(ident, texts)), rng)
