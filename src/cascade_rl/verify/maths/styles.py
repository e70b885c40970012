r"""Fonts, colours, sizes and environments of LaTeX that change how an answer looks and not what it says."""

from __future__ import annotations

import re

from cascade_rl.verify.maths.characters import ENDTEXT, TEXT

# braces with at most one pair inside
_GROUP = r"\{((?:[^{}]|\{[^{}]*\})*+)\}"
_NOTHING = re.compile(
    r"\\(?:left|right) ?\.|\\(?:tag|label|hspace|vspace|phantom|hphantom|vphantom|color)\*? ?\{[^{}]*\}"
    r"|\\(?:bf|it|rm|sf|tt|sl|bfseries|itshape|rmfamily|large|Large|LARGE|huge|Huge|small|tiny|normalsize"
    r"|footnotesize|boldmath|unboldmath|scriptstyle|scriptscriptstyle|nonumber|notag|strut|hfill|noindent"
    r"|centering|relax)(?![A-Za-z])"
)
_BLANK = re.compile(r"\\q?quad")
# both arguments: how, and what
_COLOURED = re.compile(
    r"\\(?:textcolor|colorbox) ?(?:\[[^\[\]]*\])? ?\{[^{}]*\} ?(?=\{)"
    r"|\\fcolorbox ?\{[^{}]*\} ?\{[^{}]*\} ?(?=\{)"
)
_SHOWN = re.compile(
    r"\\(?:mathbf|mathit|mathcal|mathnormal|mathscr|boldsymbol|bm|pmb|boxed|fbox|framebox|underline"
    rf"|uline|mathop|mathord|displaystyle|ensuremath|mathstrut) ?{_GROUP}"
)
# an upright letter behind a number is a unit's
_UPRIGHT = re.compile(r"(?<=[0-9})])( ?)\\mathrm ?\{ ?([mgshLNJWVKCFATH]) ?\}")
# a font around one sign is that sign; around more it is a word, such as a unit
_WORD_FONT = re.compile(rf"\\(?:mathrm|mathsf|mathtt) ?{_GROUP}")
_TEXT_FONT = re.compile(
    rf"\\(?:text|textbf|textit|textrm|textnormal|textsf|texttt|textsc|mbox|hbox|emph|ce) ?{_GROUP}"
)
_LINES = re.compile(
    r"\\(begin|end) ?\{(?:aligned|align\*?|gathered|gather\*?|split|equation\*?)\}(?: ?\[[a-z]\])?"
)
_GOES_ON = re.compile(r" ?\\\\ ?(?=[=<>≤≥+-]|\\(?:le|ge|ne)q?(?![A-Za-z]))")
_MARKS = str.maketrans("", "", TEXT + ENDTEXT)
# `15 chickens and 15 rabbits`: one text around two units
_AND_INSIDE = re.compile(rf"(?<=[0-9])( ?{TEXT} ?[A-Za-z][^{ENDTEXT}]*?) (and|or) ?{ENDTEXT}(?= ?[0-9])")


def without_styles(text: str) -> str:
    """A text without them; what stood in `\\text{...}` stands between `TEXT` and `ENDTEXT`."""
    text = _BLANK.sub(" ", _COLOURED.sub("", _NOTHING.sub(" ", text)))
    if "\\\\" in text or "\\begin" in text:
        text = _in_one_line(text)
    text = text.replace("\\&", " and ")
    text = _UPRIGHT.sub(f"\\1{TEXT}\\2{ENDTEXT}", text)
    for _ in range(3):  # fonts may be nested, but not endlessly
        text = _SHOWN.sub(r"\1", text)
        text = _WORD_FONT.sub(_word, text)
        text = _TEXT_FONT.sub(lambda m: TEXT + m[1].translate(_MARKS) + ENDTEXT, text)
    return _AND_INSIDE.sub(rf"\1{ENDTEXT} \2 ", text) if TEXT in text else text


def _word(match: re.Match[str]) -> str:
    inner = match[1]
    return TEXT + inner + ENDTEXT if sum(map(str.isalpha, inner)) > 1 else inner


def _in_one_line(text: str) -> str:
    """Aligned lines as one: what goes on with a relation belongs to the line before, others are a list."""
    plain = _LINES.sub("", text)
    # a matrix or cases inside needs its own lines
    if "\\begin" in plain:
        return text
    return _GOES_ON.sub(" ", plain.replace("&", " ")).replace("\\\\", ", ")
