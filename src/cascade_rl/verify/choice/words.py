"""The words by which a reply to a multiple-choice question states an option, in two dozen languages.

Each value is a piece of a regular expression: alternatives without a group around them. Languages written
with blanks between words stand in one table, those without in another.
"""

from __future__ import annotations

# "the answer", "my final choice", "option selected"
ANSWER = (
    r"answers?|ans\.?"
    r"|(?:correct|right|best|final|my|our|chosen|selected|closest|appropriate|suitable|proper)\s{1,3}+"
    r"(?:[\w-]{1,20}+\s{1,3}+)?(?:choice|option|alternative|selection|response|letter|pick|solution)s?"
    r"|(?:option|choice|answer|letter)\s{1,3}+(?:selected|chosen|picked)"
)
IS = (
    r"(?:is|was|are|be|equals|becomes|(?:would|should|must|will|has\ to|ought\ to|turns\ out\ to"
    r"|seems\ to)\ be)"
    r"(?![\w'])|'s(?!\w)|->|=>|[:=→⇒–—-]"
)
# what may stand between "is" and the letter; `a` in lower case only, since `A` is an option
BETWEEN = (
    r"[\s:=(\[{<>→⇒\"'–—-]"
    r"|(?:option|choice|letter|answer|alternative|the|probably|likely|most|therefore|thus|hence|clearly"
    r"|indeed"
    r"|none\ other\ than|definitely|certainly|surely|simply|just|obviously|opci[oó]n|letra|alternativa"
    r"|op[cç][aã]o|opzione"
    r"|lettera"
    r"|lettre|r[ée]ponse|antwort|buchstabe|вариант|буква|choix|la|le|el|il|die|der|das|donc"
    r"|entonces|quindi"
    r"|somit|daher|optie|opsi|pilihan)(?![\w'])"
    r"|l'(?:option|opzione)?|(?-i:a|o)(?=\s{1,3}(?:op[cç]|letra|alternativa|[A-Z](?![\w'])))|ข้อ"
    r"|選択肢"
    r"|选项"
)
ANSWER_ABROAD = (
    r"r[ée]ponses?|(?:respuesta|alternativa|opci[oó]n)(?:\ correcta)?|resposta|alternativa\ correta"
    r"|op[cç][aã]o\ correta|risposta|opzione\ corretta|antwort|l[öo]sung|antwoord|svar(?:et)?"
    r"|odpowied[zź]"
    r"|odpov[eě][dď]|cevap|cevab[ıi]|yan[ıi]t|ответ(?:ом)?|відповідь|jawaban(?:nya)?"
    r"|jawapan|đáp\ án|câu\ trả\ lời"
    r"|trả\ lời|उत्तर|সঠিক\ উত্তর|উত্তর|الإجابة"
    r"|الاجابة|إجابة|الجواب|جواب|پاسخ|תשובה|απάντηση|vastaus|válasz"
    r"|r[ăa]spuns(?:ul)?"
    r"|(?:правильный|верный)\ вариант|jibu|idahun|ìdáhùn|idáhùn|àmọ̀nà"
    r"|àdáhùn|ànúgọ|àṣàyàn"
)
IS_ABROAD = (
    r"(?:est|sera|serait|es|ser[íi]a|ser[áa]|é|è|sar[àa]|ist|lautet|wäre|heißt|is|är|er|to|jest|brzmi"
    r"|je|это|является|це"
    r"|adalah|ialah|yaitu|là|है|হল|হলো|هي|هو|είναι|on|este|(?-i:e)|ni)(?!\w)|->|=>"
    r"|[:=→⇒–—ঃ-]"
)
# languages that may do without a copula: "Cevap B", "Ответ B"
BARE_ABROAD = (
    r"cevap|yan[ıi]t|ответ|उत्तर|উত্তর|الإجابة|الجواب|đáp\ án"
    r"|ตอบ"
    r"|คำตอบ(?:คือ)?|chọn"
)
ANSWER_UNSPACED = (
    r"(?:正确|最终|最佳|标准)?(?:答案|选项)|正解|正答|答え|回答|解答|答复|答曰|答"
    r"|(?:故|应|因此|所以|本题|此题|可|我)?(?:选择|选(?!项))"
    r"|(?:故|應|因此|所以)?(?:選擇|選(?!項|択肢))|(?:最も適切|正し)いのは|正确的是"
    r"|정답|정답지|답변|답|คำตอบ|ตอบ"
)
IS_UNSPACED = (
    r"\]|应该是|应该选|应该为|应是|应为|应选|是|为|為|选择|选|就是|即|は|が|、|은"
    r"|는|이|:|=|->|→|คือ|ที่ถูกต้อง"
)
# what makes of "B is ..." a statement
CORRECT = (
    r"(?:the\ |our\ |my\ )?(?:only\ |most\ |single\ |one\ )?(?:correct|right|best|final|appropriate"
    r"|proper)(?![\w'])"
    r"|(?:the|our|my)\ answer(?![\w'])"
)
CORRECT_ABROAD = (
    r"(?:est|ist|es|é|è|is)\s{1,3}+(?:(?:la|le|die|das|el|a|o|het|de)\s{1,3}+|l')?(?:bonne|exacte?"
    r"|correcte?"
    r"|richtige?"
    r"|korrekt|correct[ao]|corrett[ao]|corret[ao]|giusta|juste|réponse|respuesta|resposta|risposta"
    r"|antwort)(?!\w)"
    r"|(?:—\s{0,3}+|-\s{0,3}+|это\s{1,3}+)?(?:верный|правильный)\ (?:ответ"
    r"|вариант)"
)
CORRECT_UNSPACED = (
    r"(?:选项)?(?:是|为)?(?:正确|对)(?:的|答案|选项)|(?:选项)?正确(?!吗)|(?:が"
    r"|は)(?:正解|正しい|答え)|(?:이|가)\s{0,3}+정답"
)
CHOOSE_ABROAD = (
    r"je\ (?:choisis|prends|dirais)|j'ai\ choisi|elijo|escojo|escolho|ich\ (?:wähle|nehme)|scelgo"
    r"|(?:я\ )?выбираю|ik\ kies"
    r"|saya\ (?:memilih|pilih)|tôi\ chọn"
)
CHOOSE = (
    r"choose|chose|pick(?:ed)?|select(?:ed)?|go(?:ing)?\ (?:with|for)|went\ with|opt(?:ed)?\ for"
    r"|vote(?:\ for)?"
    r"|answer|ans\."
    r"|settle\ on|mark|choosing|picking|selecting"
)
