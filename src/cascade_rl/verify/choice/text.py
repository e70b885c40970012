r"""One spelling for the replies to multiple-choice questions, so that few patterns read many ways of writing.

Full-width and styled letters become ASCII, emphasis, font commands and mathematical dollars go, `<answer>`
becomes a box, all double quotation marks become one, and a letter in quotation marks stands bare. Struck-out
text is taken away: it was withdrawn. Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0e\ufe0f\ufeff]+")
_QUOTES = str.maketrans(
    dict.fromkeys("“”„‟«»「」『』″", '"') | dict.fromkeys("‘’‚‛`´", "'") | {"【": "[", "】": "]"}
)
_FONTS = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal|color)?|math(?:bf|rm|sf|it|bb|cal)|mbox|bold(?:symbol)?|emph"
    r"|underline)"
    r"\s*+(?=\{)"
)
_SPACES = re.compile(
    r"\\(?:bf|rm|it|displaystyle|left|right|q?quad|[Ll]arge|huge|bigg?)(?![A-Za-z])|\\[()\[\];,!: ]|\$|~(?!~)"
)
_TAGS = re.compile(r"</?(?:b|strong|i|em|u|p|br|span|div|code|mark|center)\s*/?>", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<(?:final[_ ]?)?(?:answer|choice|option)>", re.IGNORECASE)
_ANSWER_END = re.compile(r"</(?:final[_ ]?)?(?:answer|choice|option)>", re.IGNORECASE)
_STRUCK = re.compile(
    r"~~[^~\n]{0,200}+~~|<(s|del|strike)>[^<\n]{0,200}+</\1>|\\(?:s|x)out\{[^{}\n]{0,200}+\}"
)
_QUOTED_LETTER = re.compile(r"(?<![A-Za-z0-9])(['\"])([A-Za-z])\1(?![A-Za-z0-9])")
# the letters of options in Arabic, in their order, behind the word for an answer
_ARABIC = re.compile(
    r"((?:إجابة|الإجابة|الاجابة|الجواب|الخيار)(?:\s+(?:الصحيحة"
    r"|النهائية|الصحيح|هي|هو)){0,3}+\s*+:?\s*+\(?)"
    r"([أابجده])(?![\u0600-\u06ff])"
)
_ARABIC_LETTERS = dict(zip("أابجده", "AABCDE", strict=True))


def plain(text: str) -> str:
    """The text in the one spelling; where letters stand in it changes, their order does not."""
    text = unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_QUOTES)
    text = _STRUCK.sub(" ", text)
    text = _TAGS.sub("", _ANSWER_END.sub("}", _ANSWER_TAG.sub(r"\\boxed{", text)))
    # emphasis goes without a blank in its place: `**Answer**:` is a marker as `Answer:` is
    text = re.sub(r"[*_]++", "", _SPACES.sub(" ", _FONTS.sub("", text)))
    text = _QUOTED_LETTER.sub(r"\2", text)
    # runs of blanks become one, of line breaks two: no pattern need look for more
    lines = (" ".join(line.split()) for line in text.split("\n"))
    text = re.sub(r"\n{3,}+", "\n\n", "\n".join(lines))
    return _ARABIC.sub(lambda found: found[1] + _ARABIC_LETTERS[found[2]], text)
