"""IFBench (arXiv 2507.02833), the instructions about the form of a reply.

`check` of each gives what AllenAI's public code gives, also where that reads the form loosely: any asterisk
is a bullet, any `<i>` a thesis, a list is two separators anywhere. Strict reads lines.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from itertools import pairwise

from cascade_rl.verify.instructions.table import TEXT, Instruction
from cascade_rl.verify.instructions.text import bare, is_emoji, says, sentences, trimmed, word_tokens

OPEN, CLOSE = "([{", {")": "(", "]": "[", "}": "{"}
TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def nested_parentheses(text: str) -> bool:
    """Brackets are open five deep and one of them is closed; a wrong one starts the count anew."""
    levels: list[str] = []
    deepest = 0
    for char in text:
        if char in OPEN:
            levels.append(char)
            deepest = max(deepest, len(levels))
        elif char in CLOSE:
            if levels and levels[-1] == CLOSE[char]:
                levels.pop()
                if deepest >= 5:
                    return True
            else:
                levels, deepest = [], 0
    return False


def balanced_parentheses(text: str) -> bool:
    """All brackets are closed in order, and words stand in the fifth level."""
    levels: list[str] = []
    words_within = False
    for char in text:
        if char in OPEN:
            levels.append(char)
        elif char in CLOSE and (not levels or levels.pop() != CLOSE[char]):
            return False
        words_within |= len(levels) >= 5 and char.isalnum()
    return words_within and not levels


def nested_quotes(text: str) -> bool:
    """Three marks, `"` or `'`, are open and closed again; apostrophes are marks."""
    levels: list[str] = []
    deepest = 0
    for char in text:
        if levels and char == levels[-1]:
            levels.pop()
            if deepest - len(levels) >= 3:
                return True
        elif char in "\"'":
            levels.append(char)
            deepest = max(deepest, len(levels))
    return False


def nested_quotes_around_words(text: str) -> bool:
    """Words stand three deep; apostrophes inside words are none."""
    levels: list[str] = []
    words_within = reached = False
    # an apostrophe between letters opens nothing
    for char in re.sub(r"(?<=\w)'(?=\w)", "", text):
        if levels and char == levels[-1]:
            levels.pop()
            reached |= words_within and not levels
        elif char in "\"'":
            levels.append(char)
        words_within |= len(levels) >= 3 and char.isalnum()
    return reached and not levels


def _options(options: str, separator: str) -> list[str]:
    return [option.strip() for option in options.split(separator)]


def one_option(text: str, options: str) -> bool:
    """The reply is one of the options; lettered ones to the letter, others but for case and punctuation."""
    # as in the reference "or" parts `orange`, too; strict asks for the word
    found = _options(options, "/" if "/" in options else "or" if "or" in options else ",")
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", options):
        return text in found
    return trimmed(text).lower() in [trimmed(option).lower() for option in found]


def one_whole_option(text: str, options: str) -> bool:
    """`or` separates options only as a word, and blanks around the reply don't matter."""
    plain = re.sub(r"\bor\b", "/", options) if "/" not in options else options
    found = _options(plain, "/" if "/" in plain else ",")
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", options):
        return text.strip() in found
    return says(text) and trimmed(text.strip()).lower() in [trimmed(option).lower() for option in found]


def word_a_line(text: str) -> bool:
    """As many lines as words; blank ones count unless they are empty."""
    lines = [line for line in bare(text).strip().split("\n") if line]
    return len(lines) == len(bare(text).split())


def one_word_a_line(text: str) -> bool:
    """Each line that isn't blank holds one word, and there are two."""
    lines = [line.split() for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and all(len(line) == 1 and says(line[0]) for line in lines)


def emoji_after_sentences(text: str) -> bool:
    """One of the last two characters of each sentence is an emoji, or the first of the next sentence."""
    bodies = [bare(sentence).strip() for sentence in sentences(text)]
    # where the reference raises for a sentence of marks only, the reply fails
    if not all(bodies):
        return False
    for body, after in zip(bodies, [*bodies[1:], ""], strict=True):
        if not any(map(is_emoji, body[-2:])) and not (after and is_emoji(after[0])):
            return False
    return True


def sentences_say_something(text: str) -> bool:
    """There are words, and an emoji, with or without a variation selector, ends the text."""
    return says(text) and is_emoji(bare(text).strip().rstrip("\ufe0f")[-1:])


def equal_sentences(text: str) -> bool:
    """Three sentences of the same length in characters, no word twice."""
    found = sentences(text)
    together = bare(" ".join(found).lower()).split()
    return len(found) == 3 and len(set(map(len, found))) == 1 and len(set(together)) == len(together)


def sentences_of_words(text: str) -> bool:
    """Each of them holds a word."""
    return all(map(says, sentences(text)))


def stairs(text: str) -> bool:
    """Each line is indented further; of blank lines in a row every other one is passed over."""
    lines = text.split("\n")
    # At least half of the lines stay, and so many rising indents need this many blanks: so the walk is short.
    stay = len(lines) // 2
    if stay * (stay - 1) // 2 > len(text):
        return False
    # The reference removes blank lines from the list that it walks over, and so skips the line after each.
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            lines.remove(lines[at])
        at += 1
    depths = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(after > before for before, after in pairwise(depths))


def stairs_of_words(text: str) -> bool:
    """Each line that isn't blank is indented further, and there are two."""
    # a tab is an indent as well, which the reference doesn't see
    lines = [line.expandtabs(4) for line in text.split("\n") if line.strip()]
    depths = [len(line) - len(line.lstrip(" ")) for line in lines]
    return len(lines) > 1 and all(after > before for before, after in pairwise(depths))


def quotes_explained(text: str) -> bool:
    """No quotation ends the text or is followed by another at once; there need be none, nor any words."""
    # blanks gone: a quotation that follows another at once shows as two marks in a row
    packed = "".join(text.replace("“", '"').replace("”", '"').replace("'\"'", "").split())
    body = packed.strip(string.digits + string.punctuation.replace('"', ""))
    return '""' not in packed and not body.endswith('"')


def a_quote_explained(text: str) -> bool:
    """There is a quotation, every mark has its partner, and words follow each."""
    # an odd number of parts: every mark has its partner
    parts = text.replace("“", '"').replace("”", '"').split('"')
    return len(parts) > 2 and len(parts) % 2 == 1 and all(map(says, parts[1:]))


def separated_list(text: str, sep: str) -> bool:
    """The separator is found twice."""
    return text.count(sep) >= 2


def separated_items(text: str, sep: str) -> bool:
    """The separator stands apart, or starts a line, before two items of words."""
    items = re.split(rf"^[ \t]*{re.escape(sep)}|(?<=\s){re.escape(sep)}(?=\s)", text, flags=re.MULTILINE)
    return sum(map(says, items[1:])) >= 2


def italic_thesis(text: str) -> bool:
    """Something stands in the first `<i>` or `<em>`, and something after it."""
    start = next((at for tag in ("<i>", "<em>") if (at := text.find(tag)) >= 0), -1)
    rest = text[start:] if start >= 0 else ""
    end = next((at for tag in ("</i>", "</em>") if (at := rest.find(tag)) >= 0), -1)
    # As in the reference, both tags are taken to be as long as those of <i>.
    return end >= 0 and bool(rest[3:end].strip()) and bool(rest[end + 4 :].strip())


def thesis_of_words(text: str) -> bool:
    """A line starts with words in italics, closed by the same tag, and words follow."""
    found = re.search(r"(?:^|\n)[^\w<\n]*<(i|em)>([^<]+)</\1>", text)
    return found is not None and says(found[2]) and says(text[found.end() :])


def sub_bullets(text: str) -> bool:
    """A `-` follows every `*`; there need be none."""
    return all("-" in bullet for bullet in text.split("*")[1:])


def sub_bullets_in_lines(text: str) -> bool:
    """There is a bullet, and a sub-bullet with words stands below each."""
    parts = re.split(r"(?:^|\n)[ \t]*\*(?!\*)", text)
    return len(parts) > 1 and all(re.search(r"\n[ \t]*+-.*[^\W_]", part) for part in parts[1:])


def bullets_after_sentences(text: str) -> bool:
    """Two sentences, then only lines that start with `*`, two of them; text after a blank line fails."""
    counted, bulleted, open_ = 0, 0, True
    for line in text.split("\n"):
        if line.strip().startswith("*"):
            if counted < 2:
                return False
            open_, bulleted = False, bulleted + 1
        elif open_:
            found = sentences(line.strip())
            counted, open_ = counted + len(found), bool(found)
        else:
            return False
    return bulleted >= 2


def bullets_after_statements(text: str) -> bool:
    """Two of the sentences end with a full stop, and words follow each asterisk."""
    lines = text.strip().split("\n")
    prose = " ".join(line for line in lines if not line.strip().startswith("*"))
    return sum(s.endswith(".") and says(s) for s in sentences(prose)) >= 2 and all(
        says(line) for line in lines if line.strip()
    )


def template(text: str) -> bool:
    """The three headings are found."""
    return all(heading in text for heading in TEMPLATE)


def filled_template(text: str) -> bool:
    """They come in order, the first at the start, and words follow each."""
    before, *parts = re.split("|".join(map(re.escape, TEMPLATE)), text)
    return (
        not says(before)
        and re.findall("|".join(map(re.escape, TEMPLATE)), text) == list(TEMPLATE)
        and all(map(says, parts))
    )


def no_whitespace(text: str) -> bool:
    """No blank, no line break."""
    return not any(map(str.isspace, text))


def title_case(text: str) -> bool:
    """No token is a lowercase letter, or starts with one and goes on with letters of one case."""
    return not any(
        t[0].islower() and t[0].isalpha() and (len(t) == 1 or t[1:].isupper() or t[1:].islower())
        for t in word_tokens(text)
    )


def capitalised(text: str) -> bool:
    """There are two words, and all of four letters or more start with a capital."""
    found = re.findall(r"(?<![\w'’])[^\W\d_]+", text)
    return len(found) > 1 and not any(len(word) > 3 and word[0].islower() for word in found)


INSTRUCTIONS: Mapping[str, Instruction] = {
    "format:parentheses": Instruction(
        nested_parentheses, "Put brackets inside brackets, five levels deep: ( [ {{ and so on.", {},
        also=balanced_parentheses, strictly="all closed in order, words in the fifth level"),
    "format:quotes": Instruction(
        nested_quotes, "Put a quotation within a quotation within a quotation, with \" and ' by turns.", {},
        also=nested_quotes_around_words, strictly="all closed, words in the third level, apostrophes apart"),
    "format:options": Instruction(
        one_option, "Reply with one of these and nothing else: {options}", {"options": TEXT},
        instead=one_whole_option, strictly="`or` separates as a word; blanks around don't matter"),
    "format:newline": Instruction(
        word_a_line, "Put every word on a line of its own.", {}, also=one_word_a_line,
        strictly="one word a line, two at least"),
    "format:emoji": Instruction(
        emoji_after_sentences, "Close every sentence with an emoji.", {}, also=sentences_say_something,
        strictly="words, and an emoji at the very end"),
    "ratio:sentence_words": Instruction(
        equal_sentences, "Write three sentences of equal length in characters, without using a word twice.",
        {}, also=sentences_of_words, strictly="each holds a word"),
    "format:line_indent": Instruction(
        stairs, "Indent each line further than the line above, like stairs.", {}, instead=stairs_of_words,
        strictly="blank lines don't matter; two lines at least"),
    "format:quote_unquote": Instruction(
        quotes_explained, "After each quotation, explain it in words of your own without quotation marks.",
        {}, also=a_quote_explained, strictly="a quotation at least, words after each"),
    "format:list": Instruction(
        separated_list, "Give a list in which {sep} stands before each item in place of a bullet.",
        {"sep": TEXT}, also=separated_items,
        strictly="stands apart, or at the start of a line, before words"),
    "format:thesis": Instruction(
        italic_thesis, "Open each section with its thesis in italics, set by the HTML tag <i>.", {},
        also=thesis_of_words, strictly="words at the start of a line, closed by the same tag"),
    "format:sub-bullets": Instruction(
        sub_bullets, "Give bullet points marked * and at least one point marked - below each.", {},
        instead=sub_bullets_in_lines,
        strictly="a bullet at least, sub-bullets on lines; bold text is no bullet"),
    "format:no_bullets_bullets": Instruction(
        bullets_after_sentences,
        "Begin with two sentences or more, then give two bullet points or more marked *.", {},
        also=bullets_after_statements, strictly="full stops, and words after each asterisk"),
    "format:output_template": Instruction(
        template, "Fill in this form: " + " ... ".join(TEMPLATE) + " ...", {}, also=filled_template,
        strictly="in order, from the start, filled with words"),
    "format:no_whitespace": Instruction(
        no_whitespace, "Use no blanks and no line breaks at all.", {}, also=says, strictly="holds a word"),
    "format:title_case": Instruction(
        title_case, "Capitalise The First Letter Of Every Word.", {}, also=capitalised,
        strictly="words of four letters or more, two words at least"),
}  # fmt: skip
