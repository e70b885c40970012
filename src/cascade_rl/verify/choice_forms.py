"""The forms in which a reply to a multiple-choice question names a letter, as regular expressions.

Each is linear: what repeats takes all it can and gives nothing back (`*+`, `++`), or at most a few words.
"""

from __future__ import annotations

import re

from cascade_rl.verify import choice_words as words

# not part of a word, a name (`B-cell`, `A'`), a formula (`A_1`, `A=2`) or a command
_END = r"(?![A-Za-z0-9\u00c0-\u024f\u0370-\u04ff'^=+_\\%])(?!\s*+=)(?![-–:][A-Za-z0-9]{2})(?![-–:][0-9])"
_LETTER = rf"(?P<letter>[A-Za-z]){_END}"
_UPPER = rf"(?P<letter>(?-i:[A-Z])){_END}"
_BETWEEN = rf"(?:{words.BETWEEN})*+"
_GAP = r"(?:,?\s++[\w'-]{1,30}+,?){0,6}?"
# "not A but B" states B
_NOT_BUT = r"(?:not\s++(?:option\s++)?\(?[A-Z]\)?,?\s++but\s++(?:rather\s++)?)?+"
_NAMES = r"(?:option|choice|answer|letter|alternative)\s++"
# what may stand before a clause, then where the statement itself begins
_START = r"(?:^|[.!?:;,\n。(—\"]\s*+|\s-\s+)"
_AT = r"(?P<at>)"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


JSON = _form(
    r"[\"'](?:(?:final|correct)_?)?(?:answer|choice|option|letter|selection)(?:_(?:letter|choice"
    r"|option))?[\"']\s*+:\s*+[\"']?+"
    r"\(?(?P<letter>[A-Za-z])(?:\)?[\"']?\s*+(?=[,}\n]|$)|[).:]{1,2}\s[^\"\n]{0,200}+\")"
)
FORMS = (
    # "The answer is B", "Final choice: (B)"
    _form(
        rf"(?<![\w'-])(?:{words.ANSWER})(?![\w'])(?!-[a-z]{{2}}){_GAP}\s*+"
        rf"(?:(?:{words.IS})\s*+)++{_NOT_BUT}{_BETWEEN}{_LETTER}"
    ),
    # "Die Antwort ist B", "Ответ: B", "答案是B"
    _form(
        rf"(?<!\w)(?:{words.ANSWER_ABROAD})(?:\s++[\w'-]{{1,20}}+){{0,2}}?\s*+"
        rf"(?:(?:{words.IS_ABROAD})\s*+)++{_BETWEEN}{_LETTER}"
    ),
    _form(rf"(?<!\w)(?:{words.BARE_ABROAD})\s*+(?:ข้อ)?{_BETWEEN}{_UPPER}"),
    _form(rf"(?:{words.ANSWER_UNSPACED})\s*+(?:(?:{words.IS_UNSPACED})\s*+)*+{_BETWEEN}{_UPPER}"),
    # "B is correct", "option B must be the right answer"
    _form(
        rf"(?:{_START}|(?<![\w'-])(?:so|that|then|therefore|thus|hence|but|and|only|think|believe|conclude"
        rf"|say|option|choice"
        rf"|answer)\s*+){_AT}"
        rf"(?:{_NAMES})?+\(?{_UPPER}\)?,?\s++(?:therefore,?\s++)?(?:is|must\ be|has\ to\ be|should\ be"
        rf"|will\ be)\s++"
        rf"(?:therefore|thus|clearly|indeed|definitely|obviously)?\s*+(?:{words.CORRECT})"
    ),
    _form(
        rf"(?:{_START}|(?<!\w)(?:donc|also|que|dass|la|el|il|le|die|option|opci[oó]n|antwort|letra"
        rf"|вариант|значит)\s++)"
        rf"{_AT}\(?{_UPPER}\)?\s*+(?:{words.CORRECT_ABROAD})"
    ),
    _form(rf"(?<![A-Za-z0-9'])\(?{_UPPER}\)?\s*+(?:{words.CORRECT_UNSPACED})"),
    _form(rf"(?<!\w)(?:{words.CHOOSE_ABROAD})\s++{_BETWEEN}{_UPPER}"),
    # "I choose B", "let's go with B", "select B"
    _form(
        rf"(?:(?<![\w'-])(?:(?:i|we)(?:'d|'ll|'ve|'m|'re)?|you|let's|let\ us|please|so|therefore|thus|hence"
        rf"|then)\s++"
        rf"(?:(?:have|am|are|would|will|should|must|can|therefore|thus|going\ to|have\ to"
        rf"|want\ to)\s++){{0,3}}+"
        rf"|{_START})"
        rf"(?:{words.CHOOSE})\s++(?:(?:{_NAMES})|the\s++)*+[(\[\"']*+{_UPPER}"
    ),
    # "So it's B.", "It must be (B)."
    _form(
        rf"(?<![\w'-])(?:it|that|this)(?:'s|\s++(?:is|must\ be|should\ be|has\ to\ be|will\ be"
        rf"|can\ only\ be))\s++"
        rf"(?:therefore\s++|clearly\s++|definitely\s++)?(?:{_NAMES})?+[(\[]?{_UPPER}(?=[)\].,;!\s]|$)"
    ),
    # "Therefore B.", "Hence, option (B)", "No, B."
    _form(
        rf"{_START}(?:and\s++|but\s++)?(?:so|thus|therefore|hence|ergo|consequently|accordingly|wait|no"
        rf"|actually|rather|oops|sorry"
        rf"|i\ mean|make\ that|conclusion|correction|result|donc|also|daher|somit|entonces|quindi"
        rf"|portanto)[,:]*+\s++{_AT}"
        rf"(?:{_NAMES}|the\s++)*+[(\[{{ ]*+{_UPPER}(?=[)\]}} ]{{0,4}}(?:[.!;,]|$))"
    ),
    # "which corresponds to option B"
    _form(
        rf"(?<![\w'-])(?:corresponds\ to|corresponding\ to|match(?:es|ing)?|which\ is|gives|leaves(?:\ only)?"
        rf"|leaving(?:\ only)?|namely)"
        rf"\s++(?:{_NAMES})[(\[]?{_UPPER}"
    ),
)
COLON = _form(rf":\s*+[(\[]?{_UPPER}[ \t.)\]}}]*+$")
SPEAKS = _form(rf"(?<![\w'-])(?:{words.ANSWER})(?![\w'-])|^\W*+(?:correct|right|selected|best\ guess)\W*+$")
BOX = re.compile(r"\\f?box(?:ed)?\s*+\{")
BOXED = re.compile(
    rf"(?:[\s(\[{{:]|option\s|choice\s|answer\s|the\s|letter\s|is\s)*+{_LETTER}", re.IGNORECASE
)
# a line that is a letter, or begins with one as an option does
ALONE = re.compile(
    rf"[\s(\[{{\"#>]*+(?i:(?:option|choice|selection|letter)\s*+[:=]?\s*+)?[(\[{{]?{_LETTER}[\s)\]}}.:!\"。]*+"
)
LISTED = re.compile(
    r"[\s\-#>]*+(?i:(?:option|choice)\s++)?"
    r"(?:\((?P<bracketed>[A-Za-z])\)|(?P<letter>[A-Z](?:[.):、。](?=\s|[^\x00-\x7f])"
    r"|\s(?=[(\[][^()\[\]]{1,200}+[)\]]\s*+$))"
    r"|[a-z]\)(?=\s)))(?P<rest>.*)"
)
NOT_OTHER = re.compile(rf"\(?{_UPPER}\)?[.,。;\s]*+(?:not|而不是|不是|nicht|pas|no|non)\s*+\(?[A-Z]\)?\W*+")
VERB = (
    r"(?:is|are|was|isn't|aren't|can|cannot|can't|would|has|have|does|doesn't|could|fails?|gives?|says?"
    r"|contradicts?"
    r"|means)(?![\w'])"
)
# "A or B", "A, C", "A|B", "A B", "(A)(B)": two letters are no answer
SECOND = re.compile(
    r"[^\w\n]{0,8}?(?:(?P<join>[\s)\]}.,]*+(?:,|/|&|;|\||\+|-|–|=|>|<|:|(?<![A-Za-z])(?:and/or|and|or|to"
    r"|und|oder|ou|et|y|e|o|och|og|of|atau|hoặc|veya|lub|plus|then|as\s+well\s+as|vs\.?|versus|along\s+with"
    r"|and\s+also|sowie"
    r"|или|и)(?![A-Za-z])|或|和|与|及|、|또는|または)\s*+)|[^\w\n]{0,6}?)(?:(?:option|choice"
    r"|answer|either|possibly|probably|maybe|perhaps|likely|alternatively|also)\s++){0,2}"
    r"[\s(\[\"{]{0,4}(?P<second>[A-Za-z])(?![A-Za-z0-9'])",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\s+(?:because|since|as|for|is|and|but|which|so|due|by|with|in|on|from|given|here|there|or|not"
    r"|rather)(?![\w'])"
)
OTHER = re.compile(
    r"(?<![\w'-])(?:or\ (?=perhaps|maybe|possibly|even|it\b|else)|(?<=[.!?]\s)[Oo]r|perhaps|maybe"
    r"|alternatively|possibly|[Aa]lso|unless\ it's|could\ (?:also\ )?be|might\ (?:also\ )?be|may\ be)[,\s]++"
    r"(?:it's\s++|it\ is\s++|also\s++|be\s++|perhaps\s++|maybe\s++)*+(?:option\s++|choice\s++"
    r"|answer\s++)?\(?(?P<letter>[A-Z])(?![\w'])(?!\s++[a-z])"
    r"|(?<![\w'-])\(?(?P<too>[A-Z])\)?\s++(?:is|could|may|might|would|works|seems)\s++(?:be\s++)?(?:also"
    r"|equally|just\ as|(?:too|as\ well)(?=\s*[.,;!]|$))"
)
FINAL = re.compile(r"(?<![\w'-])(?:final(?:ly)?|最终|conclusion)(?![\w'-])", re.IGNORECASE)
NO_WORD = re.compile(r"(?:\W|\b(?:the|my|or|and|also|correct|right|best)\b)*+", re.IGNORECASE)
