"""When a statement of a reply to a multiple-choice question doesn't count, by the words around it.

Denied (`I would not choose A`), supposed (`if the answer is A`), asked (`is the answer A?`), told of others
(`some say the answer is A`), quoted, or taken back (`no, that is wrong`). In doubt it doesn't count: a
statement lost costs a reward, one that was never made would be rewarded.
"""

from __future__ import annotations

import re
from bisect import bisect_left

SENTENCE = 400  # characters before a statement, or after it, that its sentence may have


def _words(text: str, unspaced: str = "") -> re.Pattern[str]:
    """Any of these words; those of languages without blanks anywhere."""
    whole = rf"(?<![\w'-])(?:{'|'.join(text.split())})(?![\w'-])".replace("~", r"\s{1,3}+")
    return re.compile(f"{whole}|{unspaced}" if unspaced else whole, re.IGNORECASE)


_DENIED = _words(
    """not never neither nor none nobody no cannot isn't wasn't aren't can't couldn't won't wouldn't don't
    doesn't
    didn't shouldn't mustn't haven't ain't dont wont isnt cant without wrong wrongly incorrect incorrectly
    false
    falsely mistaken mistake unlikely hardly doubt doubts doubtful deny reject rejected impossible worst trap
    refuse refused foolish unwise silly naive fool wrongful excludes rejects declines refuses
    distractor misleading absurd contradiction avoid exclude excluding eliminate eliminated eliminating
    discard
    other~than rather~than instead~of except besides
    ne pas n'est faux fausse incorrecte jamais nicht kein keine nie falsch falsche falschen es~no tampoco
    nunca ni
    incorrecta falsa incorrecto non sbagliata errata n[ãa]o errada incorreta incorrecta niet geen fout inte
    ikke
    nie b[łl][ęe]dna de[ğg]il yanl[ıi][şs] не нет неверный неверно
    неправильный неправильно bukan tidak salah
    không sai chưa नहीं गलत ليس ليست لا غير خاطئة""",
    r"不|非|没|沒|未|勿|别|误|誤|错|錯|排除|ない|ません|なく|間違|아니|아닙|않"
    r"|틀린|오답|ไม่",
)
_DENIED_NO = re.compile(r"(?<![\w'-])(?:la|el|respuesta|opci[oó]n|correcta)\ no(?![\w'-])", re.IGNORECASE)
_NOT_BUT = re.compile(r"not\s{1,3}(?:option\s{1,3})?\(?[A-Z]\)?,?\s{1,3}but\s", re.IGNORECASE)
_NOT_DENIED = _words("""
    no~doubt without~a~doubt without~doubt without~any~doubt not~only no~wonder no~question
    no~other~than none~other~than nothing~but if~and~only~if""")
# somewhere before in the sentence, unless a conclusion or a contrast stands between
_SUPPOSED = _words(
    """if unless pretend pretending let's~say let~us~say in~case
    suppose supposing imagine hypothetically whether si supongamos suponiendo supposons wenn
    falls
    angenommen supponiamo suponha jika kalau nếu jeśli je[żz]eli e[ğg]er если
    предположим допустим als~het
    إذا لو agar अगर यदि""",
    r"如果|若(?!干)|假如|假设|假設|假定|要是|倘若|是否|もし|仮に|만약|만일|라면"
    r"|ถ้า|หาก",
)
_HEDGED = _words(
    """assume assuming provided when whenever could might may can perhaps maybe possibly would~have
    would~think
    either peut-être pourrait vielleicht könnte quiz[áa]s tal~vez podr[íi]a forse potrebbe talvez poderia
    возможно может mungkin có~thể może belki misschien""",
    r"可能|也许|或许|大概|かもしれ|아마|อาจ",
)
_OF_OTHERS = _words(
    """at~first at~a~glance first~glance initially originally previously earlier common~mistake tempting
    tempted temptation
    misconception
    fallacy myth mistakenly would-be used~to supposedly allegedly wanted~to was~going~to""",
    r"有人|有些人|许多人|很多人|同学|学生|乍一看|看似|起初|最初",
)
_WHO = (
    r"some|many|most|several|few|others?|people|students?|everyone|everybody|someone|somebody|anyone|one|you"
    r"|they|he|she|who|whoever|friends?|teachers?|professors?|books?|textbook|key|classmates?|authors?"
    r"|critics?"
    r"|experts?|models?|guess"
)
_SAYS = (
    r"sa(?:y|ys|id|ying)|thinks?|thought|claim(?:s|ed)?|believes?|believed|argues?|argued|guess(?:es|ed)?"
    r"|choos(?:e|es)|chose|picks?|picked|answer(?:s|ed)|assumes?|assumed|suggest(?:s|ed)?|might|may|would"
    r"|could"
    r"|insists?|told|selects?|selected"
)
_TOLD = re.compile(
    rf"(?<![\w'-])(?:{_WHO})(?:\s{{1,3}}+[\w']++){{0,4}}?\s{{1,3}}+(?:{_SAYS})(?![\w'-])"
    r"|(?<![\w'-])I\s{1,3}+(?:first\s{1,3}+|once\s{1,3}+)?(?:thought|guessed|assumed|believed"
    r"|said)(?![\w'-])",
    re.IGNORECASE,
)
# right before the word for an answer
_NOT_THE_ANSWER = re.compile(
    r"(?<![\w'-])(?:wrong|incorrect|false|possible|potential|common|tempting|alternative|other|another"
    r"|previous|initial|original|old|first"
    r"|second|naive|obvious|trap|worst|his|her|their|your|\w++'s|whose|any|each|every|an|no|sample"
    r"|example|invalid)\s{0,3}+$",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"(?<![\w'-])(?:but|however|so|therefore|thus|hence|consequently|instead|nevertheless|donc|also|aber"
    r"|sondern|daher|por~?lo"
    r"|pero|sino|entonces|quindi|ma|mas|portanto|поэтому|значит|но|jadi|tetapi|nhưng"
    r"|vậy)(?![\w'-])"
    r"|因此|所以|故(?!意)|但是?|而是|因而|つまり|よって|したがって|しかし|따라서"
    r"|그러므로|하지만|[;—]",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:()—、]|\s-\s")
_END = re.compile(r"[!?。\n]|\.(?=\s|$|[\"')\]])")
# "Wrong: the answer is A", "Myth: ..."
_LABEL = re.compile(
    r"(?:^|[.!?\n\s])(?:wrong|incorrect|false|myth|trap|not|never)\W{0,3}:\s{0,3}+(?:the\s{1,3}+)?$",
    re.IGNORECASE,
)

# behind the letter, up to the end of the sentence
_REVOKED = re.compile(
    r"[\s)\]}\"',.]{0,4}+(?:is|was|would|isn't|wasn't|cannot|can't|could|might|may|seems?|looks?|appears?"
    r"|were|doesn't|does\ not)"
    r"(?![\w'])(?!\ (?:clearly\ |therefore\ |indeed\ )?(?:the\ )?(?:correct|right|best|answer|because|since"
    r"|true|what\ we))"
    r"|[\s(\[)\]}\"',.]{0,4}+(?:if|unless|provided|assuming|only\ if|when(?:ever)?|at\ first|initially"
    r"|in\ case"
    r"|(?:or|and)\ (?:not(?!\s{1,3}+\(?[A-Z](?![\w']))|maybe|perhaps|none|neither|both|all|any|nothing)|maybe"
    r"|perhaps"
    r"|i\ guess\ not|not(?!\s{1,3}+(?:option\s{1,3}+|choice\s{1,3}+)?\(?[A-Za-z](?![\w'])))(?![\w'])"
    r"|[\s)\]}\"',]{0,4}+(?:says?|said|claims?|claimed|thinks?|according\ to|they\ say|would\ be)(?![\w'])"
    r"|[\s)\]}\"']{0,3}+(?:de[ğg]il(?:dir)?|nicht|niet|inte|ikke)(?!\w)"
    r"|[\s)\]}\"']{0,3}+(?:的说法|的說法|不|错|錯|是错|是錯|吗|嗎|では|じゃ"
    r"|でしょうか|(?:가|이|는|은)?\s{0,3}+아[니닙])",
    re.IGNORECASE,
)
# the same further on, where the letter isn't followed by the text of its option
_REVOKED_FURTHER = re.compile(
    r".{0,80}?(?:which|that|this|it|they)(?:'s|\s{1,3}+(?:is|was|are|would\ be"
    r"|can))\s{0,3}+(?:\w++\s{1,3}+){0,2}?"
    r"(?:wrong|incorrect|false|mistaken?|impossible|absurd|contradict\w*+|contradiction|not|n't"
    r"|trap)(?![\w'])"
    r"|.{0,80}?(?<![\w'])but\s{1,3}+(?:not|never|only|fails?|wrong|false)(?![\w'])"
    r"(?!\s{1,3}+(?:option\s{1,3}+)?\(?(?-i:[A-Z])(?![\w']))"
    r"|.{0,120}?(?<![\w'])(?:(?:too|as\ well)(?=\s{0,3}+(?:[.,;!)]|$))|also\ (?:correct|right|possible"
    r"|works?))(?![\w'])",
    re.IGNORECASE | re.DOTALL,
)
_TEXT_FOLLOWS = re.compile(r"[)\]:.]++\s{1,3}+\S")
# somewhere after the last statement
_RETRACTED = re.compile(
    r"(?<![\w'-])(?:wait|hold\ on|no,?\ (?:it|that)\ (?:isn't|is\ not)|not(?=!)|i\ don't\ think"
    r"|hmm+|oops|scratch\ that|strike\ that|never\ ?mind|on\ second\ thoughts?"
    r"|correction|just\ kidding"
    r"|actually,?\ (?:no|not|that)|no,|no\.|nope|not\ quite|i\ (?:was|am|'m)\ wrong|i'm\ wrong|i\ made\ (?:a"
    r"|an)\ (?:\w++\ )?"
    r"(?:mistake|error)|i\ take\ (?:it|that)\ back|let\ me\ (?:re\w++|double|correct|fix|think\ again"
    r"|try\ again)"
    r"|chang(?:e|ed|ing)\ my\ (?:mind|answer)|disregard|ignore\ (?:that|the\ above|this|my)|that\ can(?:'t"
    r"|not)\ be|forget\ (?:that|it))"
    r"(?![\w-])|(?<![\w'-])(?:that|this|which|it|they|these|those|the\ above)(?:'s|'re|\s{1,3}+(?:is|was|are"
    r"|were))\s{1,3}+(?:\w++\s{1,3}+)?"
    r"(?:wrong|incorrect|false|mistaken|not\ (?:right|correct|true|the\ answer))(?![\w-])"
    r"|等等|不对|不對|错了|錯了|更正|待って|아니다|Moment(?=,|\ mal)|Стоп",
    re.IGNORECASE,
)


class Context:
    """A text with what is needed to look around a statement in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._quotes = [m.start() for m in re.finditer('"', text)]
        self._breaks = [m.start() for m in re.finditer("\n", text)]

    def quoted(self, at: int) -> bool:
        """Whether an odd number of quotation marks stands before a place in its line."""
        broken = bisect_left(self._breaks, at)
        start = self._breaks[broken - 1] if broken else 0
        return (bisect_left(self._quotes, at) - bisect_left(self._quotes, start)) % 2 == 1

    def before(self, at: int) -> str:
        """The sentence before a place."""
        piece = self.text[max(0, at - SENTENCE) : at]
        ends = [m.end() for m in _END.finditer(piece)]
        return piece[ends[-1] if ends else 0 :]

    def after(self, at: int) -> tuple[str, str]:
        """The sentence after a place, and the mark that ends it."""
        piece = self.text[at : at + SENTENCE]
        end = _END.search(piece)
        return (piece[: end.start()], end[0]) if end else (piece, "")

    def void(self, start: int, letter: int, end: int, formal: bool) -> bool:
        """Whether a statement from `start`, with its letter at `letter`, does not count.

        A formal one, such as a box, may stand in a sentence that speaks of other things.
        """
        said, before = _NOT_BUT.sub("", self.text[start:letter]), self.before(start)
        if denied(before, said) or (not formal and told(before, said)):
            return True
        rest, mark = self.after(end)
        # a question mark far behind the letter belongs to the text of an option
        asked = mark == "?" and (len(rest) < 25 or not rest.startswith((")", ".", ":")))
        if asked or (not formal and self.quoted(start)) or _REVOKED.match(rest):
            return True
        return not _TEXT_FOLLOWS.match(rest) and _REVOKED_FURTHER.match(rest) is not None

    def retracted(self, end: int) -> bool:
        """Whether what follows takes back what was stated."""
        return _RETRACTED.search(self.text, end) is not None


def _tail(text: str, cut: re.Pattern[str]) -> str:
    """What stands behind the last place where the pattern matches."""
    ends = [m.end() for m in cut.finditer(text)]
    return text[ends[-1] :] if ends else text


def denied(before: str, said: str) -> bool:
    """Whether a negation stands in the clause of a statement."""
    if _LABEL.search(before):
        return True
    clause = _NOT_DENIED.sub(" ", f"{_tail(_tail(before, _TURN), _CLAUSE)} {said}")
    return _DENIED.search(clause) is not None or _DENIED_NO.search(clause) is not None


def told(before: str, said: str) -> bool:
    """Whether a statement is supposed, hedged, or somebody else's."""
    scope = _NOT_DENIED.sub(" ", _tail(before, _TURN))
    clause = f"{_tail(scope, _CLAUSE)} {said}"
    return (
        _SUPPOSED.search(f"{scope} {said}") is not None
        or _OF_OTHERS.search(scope) is not None
        or _TOLD.search(scope) is not None
        or _HEDGED.search(clause) is not None
        or _NOT_THE_ANSWER.search(before) is not None
    )
