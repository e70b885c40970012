"""The forms in which a reply to a multiple-choice question names a letter, as regular expressions.

Each is linear: what repeats does so a few times only, or takes all it can and gives nothing back (`*+`).
Three blanks are the most that follow one another in a text that `text.plain` has gone over.
"""

from __future__ import annotations

import re

from cascade_rl.verify.choice import words

# not part of a word, a name (`B-cell`, `A'`), a formula (`A_1`, `A=2`) or a command
_END = r"(?![A-Za-z0-9\u00c0-\u024f\u0370-\u04ff'^=+_\\%])(?!\s{0,3}+=)(?![-–:][A-Za-z0-9]{2})(?![-–:][0-9])"
_LETTER = rf"(?P<letter>[A-Za-z]){_END}"
_UPPER = rf"(?P<letter>(?-i:[A-Z])){_END}"
_BETWEEN = rf"(?:{words.BETWEEN}){{0,12}}+"
_GAP = r"(?:,?\s{1,3}+[\w'-]{1,30}+,?){0,6}?"
# "not A but B" states B
_NOT_BUT = r"(?:not\s{1,3}+(?:option\s{1,3}+)?\(?[A-Z]\)?,?\s{1,3}+but\s{1,3}+(?:rather\s{1,3}+)?)?+"
_NAMES = r"(?:option|choice|answer|letter|alternative)\s{1,3}+"
# what may stand before a clause, then where the statement itself begins
_START = r"(?:^|[.!?:;,\n。(—\"]\s{0,3}+|\s-\s{1,3})"
_AT = r"(?P<at>)"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


JSON = _form(
    r"[\"'](?:(?:final|correct)_?)?(?:answer|choice|option|letter|selection)(?:_(?:letter|choice"
    r"|option))?[\"']\s{0,3}+:\s{0,3}+(?P<open>[\"'])?+"
    r"\(?(?P<letter>[A-Za-z])(?:\)?(?(open)[\"'])\s{0,3}+(?=[,}\n]|$)|[).:]{1,2}\s[^\"\n]{0,200}+\")"
)
FORMS = (
    # "The answer is B", "Final choice: (B)"
    _form(
        rf"(?<![\w'-])(?:{words.ANSWER})(?![\w'])(?!-[a-z]{{2}}){_GAP}\s{{0,3}}+"
        rf"(?:(?:{words.IS})\s{{0,3}}+){{1,6}}+{_NOT_BUT}{_BETWEEN}{_LETTER}"
    ),
    # "Die Antwort ist B", "Ответ: B", "答案是B"
    _form(
        rf"(?<!\w)(?:{words.ANSWER_ABROAD})(?:\s{{1,3}}+[\w'-]{{1,20}}+){{0,2}}?\s{{0,3}}+"
        rf"(?:(?:{words.IS_ABROAD})\s{{0,3}}+){{1,6}}+{_BETWEEN}{_LETTER}"
    ),
    _form(rf"(?<!\w)(?:{words.BARE_ABROAD})\s{{0,3}}+(?:ข้อ)?{_BETWEEN}{_UPPER}"),
    _form(
        rf"(?:{words.ANSWER_UNSPACED})\s{{0,3}}+"
        rf"(?:(?:{words.IS_UNSPACED})\s{{0,3}}+){{0,6}}+{_BETWEEN}{_UPPER}"
    ),
    # "B is correct", "option B must be the right answer"
    _form(
        rf"(?:{_START}|(?<![\w'-])(?:so|that|then|therefore|thus|hence|but|and|only|think|believe|conclude"
        rf"|say|option|choice"
        rf"|answer)\s{{0,3}}+){_AT}"
        rf"(?:{_NAMES})?+\(?{_UPPER}\)?,?\s{{1,3}}+(?:therefore,?\s{{1,3}}+)?(?:is|must\ be|has\ to\ be"
        rf"|should\ be"
        rf"|will\ be)\s{{1,3}}+"
        rf"(?:therefore|thus|clearly|indeed|definitely|obviously)?\s{{0,3}}+(?:{words.CORRECT})"
    ),
    _form(
        rf"(?:{_START}|(?<!\w)(?:donc|also|que|dass|la|el|il|le|die|option|opci[oó]n|antwort|letra"
        rf"|вариант|значит)\s{{1,3}}+)"
        rf"{_AT}\(?{_UPPER}\)?\s{{0,3}}+(?:{words.CORRECT_ABROAD})"
    ),
    _form(rf"(?<![A-Za-z0-9'])\(?{_UPPER}\)?\s{{0,3}}+(?:{words.CORRECT_UNSPACED})"),
    _form(rf"(?<!\w)(?:{words.CHOOSE_ABROAD})\s{{1,3}}+{_BETWEEN}{_UPPER}"),
    # "I choose B", "let's go with B", "select B"
    _form(
        rf"(?:(?<![\w'-])(?:(?:i|we)(?:'d|'ll|'ve|'m|'re)?|you|let's|let\ us|please|so|therefore|thus|hence"
        rf"|then)\s{{1,3}}+"
        rf"(?:(?:have|am|are|would|will|should|must|can|therefore|thus|going\ to|have\ to"
        rf"|want\ to)\s{{1,3}}+){{0,3}}+"
        rf"|{_START})"
        rf"(?:{words.CHOOSE})\s{{1,3}}+(?:(?:{_NAMES})|the\s{{1,3}}+){{0,3}}+[(\[\"']{{0,4}}+{_UPPER}"
    ),
    # "So it's B.", "It must be (B)."
    _form(
        rf"(?<![\w'-])(?:it|that|this)(?:'s|\s{{1,3}}+(?:is|must\ be|should\ be|has\ to\ be|will\ be"
        rf"|can\ only\ be))\s{{1,3}}+"
        rf"(?:therefore\s{{1,3}}+|clearly\s{{1,3}}+"
        rf"|definitely\s{{1,3}}+)?(?:{_NAMES})?+[(\[]?{_UPPER}(?=[)\].,;!\s]|$)"
    ),
    # "Therefore B.", "Hence, option (B)", "No, B."
    _form(
        rf"{_START}(?:and\s{{1,3}}+|but\s{{1,3}}+)?(?:so|thus|therefore|hence|ergo|consequently|accordingly"
        rf"|wait|no"
        rf"|actually|rather|oops|sorry"
        rf"|i\ mean|make\ that|conclusion|correction|result|donc|also|daher|somit|entonces|quindi"
        rf"|portanto)[,:]{{0,3}}+\s{{1,3}}+{_AT}"
        rf"(?:{_NAMES}|the\s{{1,3}}+){{0,3}}+[(\[{{ ]{{0,4}}+{_UPPER}(?=[)\]}} ]{{0,4}}(?:[.!;,]|$))"
    ),
    # "I choose option (b)": a small letter where brackets mark it
    _form(
        rf"(?:(?<![\w'-])(?:i|we)(?:'d|'ll)?\s{{1,3}}+(?:would\s{{1,3}}+|will\s{{1,3}}+)?|{_START})"
        rf"(?:{words.CHOOSE})\s{{1,3}}+"
        rf"(?:(?:{_NAMES})|the\s{{1,3}}+){{0,3}}+\((?P<letter>[a-z])\)(?!\w)"
    ),
    # "Only B works"
    _form(
        rf"(?<!not\s)(?<![\w'-])only\s{{1,3}}+(?:{_NAMES})?+\(?{_UPPER}\)?\s{{1,3}}+(?:works|fits"
        rf"|remains|holds|satisfies|is\s{{1,3}}+(?:true|valid|possible|left|consistent))(?![\w'])"
    ),
    # "leaving B."
    _form(rf"(?<![\w'-])(?:leaves|leaving)(?:\s{{1,3}}+only)?\s{{1,3}}+[(\[]?{_UPPER}(?=[)\].,;!]|$)"),
    # "which corresponds to option B"
    _form(
        rf"(?<![\w'-])(?:corresponds\ to|corresponding\ to|match(?:es|ing)?|which\ is|gives|leaves(?:\ only)?"
        rf"|leaving(?:\ only)?|namely)"
        rf"\s{{1,3}}+(?:{_NAMES})[(\[]?{_UPPER}"
    ),
)
COLON = _form(rf":\s{{0,3}}+[(\[]?{_UPPER}[ \t.)\]}}]*+$")
SPEAKS = _form(
    rf"(?<![\w'-])(?:{words.ANSWER})(?![\w'-])"
    rf"|^[^\w\n]{{0,8}}(?:correct|right|selected|best\ guess)[^\w\n]{{0,8}}$"
)
BOX = re.compile(r"\\f?box(?:ed)?\s{0,3}+\{")
BOXED = re.compile(
    rf"(?:[\s(\[{{:]|option\s|choice\s|answer\s|the\s|letter\s|is\s)*+{_LETTER}", re.IGNORECASE
)
# a line that is a letter, or begins with one as an option does
ALONE = re.compile(
    rf"[\s(\[{{\"#>]*+(?i:(?:option|choice|selection"
    rf"|letter)\s{{0,3}}+[:=]?\s{{0,3}}+)?[(\[{{]?{_LETTER}[\s)\]}}.:!\"。]*+"
)
LISTED = re.compile(
    r"[\s\-#>]*+(?i:(?:option|choice)\s{1,3}+)?"
    r"(?:\((?P<bracketed>[A-Za-z])\)|(?P<letter>[A-Z](?:[.):、。](?=\s|[^\x00-\x7f])"
    r"|\s(?=[(\[][^()\[\]]{1,200}+[)\]]\s{0,3}+$))"
    r"|[a-z]\)(?=\s)))(?P<rest>.*)"
)
NOT_OTHER = re.compile(
    rf"\(?{_UPPER}\)?[.,。;\s]*+(?:not|而不是|不是|nicht|pas|no|non)\s{{0,3}}+\(?[A-Z]\)?\W*+"
)
VERB = (
    r"(?:is|are|was|isn't|aren't|can|cannot|can't|would|has|have|does|doesn't|could|fails?|gives?|says?"
    r"|contradicts?"
    r"|means)(?![\w'])"
)
# "A or B", "A, C", "A|B", "A B", "(A)(B)": two letters are no answer
SECOND = re.compile(
    r"[^\w\n]{0,8}?(?:(?P<join>[\s)\]}.,]*+(?:,|/|&|;|\||\+|-|–|=|>|<|:|(?<![A-Za-z])(?:and/or|and|or|to"
    r"|und|oder|ou|et|y|e|o|och|og|of|atau|hoặc|veya|lub|plus|then|as\s{1,3}well\s{1,3}as|vs\.?|versus"
    r"|along\s{1,3}with|else|otherwise|failing\s{1,3}that,?"
    r"|and\s{1,3}also|sowie"
    r"|или|и)(?![A-Za-z])|或|还是|還是|和|与|及|、|또는|または)\s{0,3}+)|[^\w\n]{0,6}?)(?:(?:option"
    r"|choice"
    r"|answer|either|possibly|probably|maybe|perhaps|likely|alternatively|also)\s{1,3}+){0,2}"
    r"[\s(\[\"{]{0,4}(?P<second>[A-Za-z])(?![A-Za-z0-9'])",
    re.IGNORECASE,
)
REASON = re.compile(
    r"\s{1,3}(?:because|since|as|for|is|and|but|which|so|due|by|with|in|on|from|given|here|there|or|not"
    r"|rather|instead)(?![\w'])"
)
OTHER = re.compile(
    r"(?<![\w'-])(?:or\ (?=perhaps|maybe|possibly|even|it\b|else)|(?<=[.!?]\s)[Oo]r(?:\ else)?"
    r"|[Pp]erhaps|[Mm]aybe"
    r"|[Aa]lternatively|[Pp]ossibly|[Aa]lso|unless\ it's|could\ (?:also\ )?be|might\ (?:also\ )?be"
    r"|may\ be)[,\s]{1,3}+"
    r"(?:it's\s{1,3}+|it\ is\s{1,3}+|also\s{1,3}+|be\s{1,3}+|perhaps\s{1,3}+"
    r"|maybe\s{1,3}+){0,4}+(?:option\s{1,3}+|choice\s{1,3}+"
    r"|answer\s{1,3}+)?\(?(?P<letter>[A-Z])(?![\w'])(?!\s{1,3}+[a-z])"
    r"|(?<![\w'-])\(?(?P<too>[A-Z])\)?\s{1,3}+(?:is|could|may|might|would|works"
    r"|seems)\s{1,3}+(?:be\s{1,3}+)?(?:also|an\ equally|possible|plausible"
    r"|equally|just\ as|(?:too|as\ well)(?=\s{0,3}[.,;!]|$))"
)
# "A for odd n and B for even n", "A 50%, B 50%"
DIVIDED = re.compile(
    r"[^.\n]{0,40}?(?:%|(?<!\w)probability\s{1,3}+(?:of\s)?\d[\d.]{0,8}+)[)\s]{0,4}+(?:,|/|or|and)"
    r"\s{0,3}+\(?(?P<share>[A-Z])(?![\w'])"
    r"|\)?\s{1,3}+(?:for|when|in)\s[^.\n]{1,40}?\s(?:and|or)\s{1,3}+"
    r"\(?(?P<case>[A-Z])\)?\s{1,3}+(?:for|when|in)(?!\w)"
)
# an operation between options or another line that is one, within a box
JOINED = re.compile(
    r"[\s,;]*+\\(?:cup|cap|lor|land|vee|wedge|l?dots|cdots)(?![A-Za-z])|[^\w}\n]{0,8}\n[^\w}]{0,8}[A-Z](?!\w)"
)
FINAL = re.compile(r"(?<![\w'-])(?:final(?:ly)?|最终|conclusion)(?![\w'-])", re.IGNORECASE)
NO_WORD = re.compile(r"(?:\W|\b(?:the|my|or|and|also|correct|right|best)\b)*+", re.IGNORECASE)
