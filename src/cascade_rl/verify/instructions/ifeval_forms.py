"""IFEval (arXiv 2311.07911), instructions about the form of a reply: marks, lists, sections, start and end.

`check` of each gives what Google's public code gives; what strict changes stands beside each row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from cascade_rl.verify.instructions.table import COUNT, TEXT, Instruction
from cascade_rl.verify.instructions.text import bracketed, says, words

CLOSERS = "*_`\"'”’» "  # emphasis and quotation marks that may stand after an end
# double quotation marks with those that close them
PARTNERS = {'"': '"', "“": "”", "”": "”", "„": "“”", "«": "»", "»": "«", "「": "」", "『": "』", "＂": "＂"}
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many pairs of square brackets, each within a line."""
    return bracketed(text) >= num_placeholders


def real_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many square brackets around words that aren't a link, a check box or a footnote."""
    # two letters at least: `[x]` and `[1]` are a check box and a footnote
    found = re.findall(r"\[([^\[\]\n]{1,80})\](?![(\[:])", text)
    return sum(1 for name in found if re.search(r"[^\W\d_]{2}", name)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """The marker of a postscript is found anywhere, in any case."""
    marker = postscript_marker.strip()
    # the patterns of the reference for its two markers; any other marker is a pattern itself
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, marker.lower())
    return re.search(pattern, text.lower()) is not None


def postscript_after_text(text: str, postscript_marker: str) -> bool:
    """The marker begins a line, with words before it and after it."""
    marker = re.escape(postscript_marker.strip()).replace(r"\.", r"\.\s?")
    parts = re.split(rf"(?:^|\n)[\W_]*{marker}", text, flags=re.IGNORECASE)
    return len(parts) > 1 and says("".join(parts[:-1])) and says(parts[-1])


def bullets(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that start with `*` (one alone) or `-`."""
    # not `\s` at the start, which would take in blank lines; `**bold**` is no bullet
    stars = re.findall(r"^[^\S\n]*\*[^*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^[^\S\n]*-.*$", text, re.MULTILINE)) == num_bullets


def bullets_with_words(text: str, num_bullets: int) -> bool:
    """Exactly so many bullets followed by words."""
    return len(re.findall(r"^[ \t]*(?:\*(?!\*)|-(?!-)).*[^\W_].*$", text, re.MULTILINE)) == num_bullets


def highlights(text: str, num_highlights: int) -> bool:
    """At least so many spans between single or double asterisks that are not blank."""
    # as in the reference a double span counts once as double; `****` is blank in both
    single = sum(1 for span in re.findall(r"\*[^\n*]*\*", text) if span.strip("*").strip())
    double = sum(1 for span in re.findall(r"\*\*[^\n*]*\*\*", text) if span[2:-2].strip())
    return single + double >= num_highlights


def highlighted_words(text: str, num_highlights: int) -> bool:
    """At least so many spans of words, each between asterisks of one kind that touch them."""
    spans = re.findall(r"(?<!\*)(\*\*?)(?![\s*])([^*\n]+)(?<!\s)\1(?!\*)", text)
    return sum(1 for _, span in spans if says(span)) >= num_highlights


def sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many times the heading with a number."""
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


def sections_in_order(text: str, section_spliter: str, num_sections: int) -> bool:
    """The headings start lines, are numbered 1 to n once each, and words follow each."""
    parts = re.split(rf"(?:^|\n)[^\w\n]*{re.escape(section_spliter.strip())}\s?(\d+)\b", text)
    wanted = [str(n) for n in range(1, num_sections + 1)]
    return parts[1::2] == wanted and all(map(says, parts[2::2]))


def constrained(text: str) -> bool:
    """One of the three answers is found."""
    return any(option in text for option in CONSTRAINED)


def one_answer(text: str) -> bool:
    """Exactly one of the three answers is found."""
    return sum(option in text for option in CONSTRAINED) == 1


def _json(text: str) -> object:
    """The value of a JSON text in optional fences; raises ValueError."""
    body = text.strip()
    # in the reference's order, each taken off once
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    try:
        return json.loads(body.removesuffix("```").strip())
    # a text of brackets only must fail, not end the grader
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str) -> bool:
    """The text, without fences, is JSON."""
    try:
        _json(text)
    except ValueError:
        return False
    return True


def is_json_record(text: str) -> bool:
    """It is an object or an array that holds something, in JSON that other readers take too."""
    value = _json(text)
    try:
        # Python reads NaN and Infinity, which no standard of JSON has
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and bool(value)


def title(text: str) -> bool:
    """A line holds `<<...>>` around something."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        # one character at least between the brackets
        if 0 <= start <= end - 3 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def title_of_words(text: str) -> bool:
    """The brackets hold words and no other bracket."""
    return any(map(says, re.findall(r"<<([^<>\n]{1,200})>>", text)))


def _two(text: str) -> list[str]:
    return [part.strip() for part in text.split("******") if part.strip()]


def two_responses(text: str) -> bool:
    """Two parts that differ, with `******` between them."""
    inner = text.split("******")[1:-1]
    return all(part.strip() for part in inner) and len(parts := _two(text)) == 2 and parts[0] != parts[1]


def two_different_responses(text: str) -> bool:
    """They differ in their words."""
    first, second = (words(part) for part in _two(text))
    return first != second and all(map(says, _two(text)))


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text starts with the request, in any case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def answers_after_prompt(text: str, prompt_to_repeat: str) -> bool:
    """An answer follows the request."""
    return says(text.strip().lower().removeprefix(prompt_to_repeat.strip().lower()))


def ends_with(text: str, end_phrase: str) -> bool:
    """The text ends with a phrase, in any case, quotation marks apart."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def says_more_than_end(text: str, end_phrase: str) -> bool:
    """The text ends with the phrase, marks of emphasis and quotation apart; words stand before it."""
    body, phrase = text.strip().lower(), end_phrase.strip().lower()
    # the phrase itself may end in such marks
    ends = [b for b in (body, body.rstrip(CLOSERS)) if b.endswith(phrase)]
    before = ends[0].removesuffix(phrase) if ends else ""
    return bool(ends) and says(before) and not (re.match(r"\w", phrase) and re.search(r"\w\Z", before))


def quoted(text: str) -> bool:
    """The first and the last character are double quotation marks."""
    body = text.strip()
    return len(body) > 1 and body[0] == '"' and body[-1] == '"'


def words_in_quotes(text: str) -> bool:
    """Words stand between a double quotation mark and its partner, of whatever script."""
    body = text.strip()
    return len(body) > 1 and says(body) and body[-1] in PARTNERS.get(body[0], "")


INSTRUCTIONS: Mapping[str, Instruction] = {
    "detectable_content:number_placeholders": Instruction(
        placeholders, "Use at least {num_placeholders} placeholders in square brackets, such as [name].",
        {"num_placeholders": COUNT}, also=real_placeholders,
        strictly="links, check boxes and footnotes aren't placeholders"),
    "detectable_content:postscript": Instruction(
        postscript, "At the end, add a postscript that starts with {postscript_marker}",
        {"postscript_marker": TEXT}, also=postscript_after_text, strictly="begins a line, between words"),
    "detectable_format:number_bullet_lists": Instruction(
        bullets, "Use exactly {num_bullets} markdown bullet points, each starting with *.",
        {"num_bullets": COUNT}, also=bullets_with_words,
        strictly="a bullet is followed by words; rules of dashes aren't bullets"),
    "detectable_format:number_highlighted_sections": Instruction(
        highlights, "Highlight at least {num_highlights} parts with markdown, such as *this*.",
        {"num_highlights": COUNT}, also=highlighted_words, strictly="words between asterisks of one kind"),
    "detectable_format:multiple_sections": Instruction(
        sections,
        "Write {num_sections} sections, each headed {section_spliter} 1, {section_spliter} 2 and so on.",
        {"section_spliter": TEXT, "num_sections": COUNT}, also=sections_in_order,
        strictly="exactly 1 to n, at the start of lines, with words"),
    "detectable_format:constrained_response": Instruction(
        constrained, "Let one of these sentences be in your reply: " + " ".join(CONSTRAINED), {},
        also=one_answer, strictly="only one of the answers"),
    "detectable_format:json_format": Instruction(
        is_json, "Give the whole answer in JSON format.", {}, also=is_json_record,
        strictly="an object or an array, not empty, without NaN"),
    "detectable_format:title": Instruction(
        title, "Add a title in double angular brackets, such as <<title>>.", {}, also=title_of_words,
        strictly="holds words"),
    "combination:two_responses": Instruction(
        two_responses, "Give two different answers, separated by six asterisks: ******.", {},
        also=two_different_responses, strictly="differ in their words"),
    "combination:repeat_prompt": Instruction(
        repeats_prompt, "Say the request again word for word, then answer it.", {"prompt_to_repeat": TEXT},
        also=answers_after_prompt, strictly="an answer follows"),
    "startend:end_checker": Instruction(
        ends_with, "Finish with exactly this: {end_phrase}", {"end_phrase": TEXT}, instead=says_more_than_end,
        strictly="words stand before it; emphasis around it doesn't matter"),
    "startend:quotation": Instruction(
        quoted, "Wrap it in double quotation marks.", {}, instead=words_in_quotes,
        strictly="holds a word; curly marks and those of other languages will do"),
}  # fmt: skip
