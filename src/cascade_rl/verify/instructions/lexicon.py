"""Word lists that the checkers need: function words, names, verbs; and what languages are called.

The function words are those that nltk calls English stop words, as far as they can be a run of letters; the
names and conjunctions are part of IFBench's instructions. Verbs are ours: the reference asks a part-of-speech
tagger, whose weights no package carries.
"""

from __future__ import annotations


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONJUNCTIONS = _listed("and but for nor or so yet")
# The pronouns that IFBench counts.
PRONOUNS = _listed("""
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself they them their theirs themselves
    this that these those who whom whose which what whoever whomever whatever whichever
    anybody anyone anything everybody everyone everything nobody nothing somebody someone something
    each either neither both all some any none
""")
# Pieces that an apostrophe leaves behind (`don` and `t`) are among them.
STOP_WORDS = _listed("""
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves
    what which who whom this that these those when where why how
    am is are was were be been being have has had having do does did doing will can should just now
    a an the and but if or because as until while than so nor
    of at by for with about against between into through during before after above below to from up down
    in out on off over under again further then once here there
    all any both each few more most other some such no not only own same too very
    d ll m o re s t ve y ma ain aren couldn didn doesn don hadn hasn haven isn mightn mustn needn shan shouldn
    wasn weren won wouldn
""")
# fifty names; the sentence that asks for them lists them all
_NAMES = """
    Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia
    Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett
    Nathan Victoria Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria
    Joseph Claire Ryan Stella Jonathan
"""
NAMES = tuple(_NAMES.split())
# the languages that langdetect knows, by its code
_LANGUAGES = """
    af Afrikaans,ar Arabic,bg Bulgarian,bn Bengali,ca Catalan,cs Czech,cy Welsh,da Danish,de German,el Greek,
    en English,es Spanish,et Estonian,fa Persian,fi Finnish,fr French,gu Gujarati,he Hebrew,hi Hindi,
    hr Croatian,hu Hungarian,id Indonesian,it Italian,ja Japanese,kn Kannada,ko Korean,lt Lithuanian,
    lv Latvian,mk Macedonian,ml Malayalam,mr Marathi,ne Nepali,nl Dutch,no Norwegian,pa Punjabi,pl Polish,
    pt Portuguese,ro Romanian,ru Russian,sk Slovak,sl Slovenian,so Somali,sq Albanian,sv Swedish,sw Swahili,
    ta Tamil,te Telugu,th Thai,tl Tagalog,tr Turkish,uk Ukrainian,ur Urdu,vi Vietnamese,
    zh-cn Simplified Chinese,zh-tw Traditional Chinese
"""
LANGUAGES = {code: name for code, _, name in (one.strip().partition(" ") for one in _LANGUAGES.split(","))}
# base forms; `_forms` adds -s, -ing and -ed
_BASES = """
accept achieve act adapt add adjust admit adopt advise agree aim align allow analyze analyse announce answer
apply appreciate approach argue arrange arrive ask assemble assert assess assign assist assume attach attempt
attend avoid bake balance be become begin believe bind blend boil boost bow break breathe brew bring broaden
browse build buy calculate call capture care carry carve cast catch celebrate challenge change charge chase
check chew choose chop cite claim clarify clean clear climb close collect combine come communicate compare
compile complete compose compute conclude confirm connect consider consist construct consult contain continue
contribute convert convey cook copy correct count cover craft create cross cut dance dare deal decide declare
decorate deepen define delete deliver delve demonstrate deny depend derive describe deserve design desire
destroy detect determine develop devise dig dilute dim direct discover discuss dissolve dive divide do donate
draft drag draw dream drink drive drop earn eat edit educate elaborate eliminate embark embrace emphasize
employ empower enable encourage end endure engage enhance enjoy ensure enter envision equip escape establish
estimate evaluate examine exceed excite exclude excuse execute exist expand expect experience explain explore
express extend extract face fail fall fear feed feel fetch fight fill find finish fit fix flow fly fold follow
force forget forgive form formulate foster freeze gain gather gaze generate get give glow go grab grant grasp
greet grind grow guard guess guide handle hang happen harness harvest hate have hear heat heed help hide
highlight hire hold hope hug hurry identify ignore illuminate illustrate imagine implement imply import
improve include incorporate increase indicate infer inform initiate inquire insert inspect inspire install
instruct integrate intend introduce invent invest investigate invite involve join jump justify keep kick kiss
kneel knit know label lack laugh launch lay lead lean learn leave lend let leverage lie lift light like limit
listen live locate look lose love maintain make manage map mark match mean measure meet melt mend mention
merge mind mix modify monitor move multiply navigate need negotiate note notice obey observe obtain offer open
operate optimize order organize overcome owe own paint participate pass pause pay perform permit persist
persuade pick picture place plan plant play plead point ponder pour practice praise pray predict prefer
prepare present preserve press pretend prevent print prioritize proceed process produce promise promote
propose protect prove provide pull purchase pursue push put question quit raise reach read realize rebuild
recall receive recognize recommend record reduce refer refine reflect refuse regard register reject relate
relax release rely remain remember remind remove rename repair repeat replace reply report represent require
rescue research reserve resist resolve respect respond rest restore restrict retain return reveal review
revise revisit rewrite ride ring rise risk roll run save say scan scatter search secure see seek seem select
sell send separate serve set settle shake shape share shift shine shoot shout show shut sign simmer simplify
simulate sing sit sketch skip sleep slice slide slow smell smile soar solve sort sound speak specify spend
spin spread stand start state stay steal step stick stir stop store stream strengthen stretch strike strive
structure study submit substitute succeed suffer suggest summarize supply support suppose surround survive
swear sweep swim switch take talk taste teach tear tell tend test thank think thrive throw thrust tie touch
track trade train transform translate travel treat trust try tune turn type understand unite unleash unlock
unveil update uphold use utilize validate value vary verify view visit visualize wait wake walk wander want
warn wash watch wear weave welcome whisper win wish witness wonder work worry wrap write yearn yield
"""
_IRREGULAR = """
am is are was were been being has had did done goes went gone made said took taken came saw seen knew known
got gotten gave given found thought told became left felt brought began begun kept held wrote written stood
heard meant met ran paid sat spoke spoken led grew grown lost fell fallen sent built understood drew drawn
broke broken spent rose risen drove driven bought wore worn chose chosen ate eaten flew flown sold caught
taught sought slept swam won sang sung can could may might must shall should will would does lies lying dying
tying
"""
# Forms that are verbs by their look but mostly something else at the start of a reply.
_MOSTLY_NOT = _listed("during mean thing lies may might will can like mind light slow open clear close own")


def _forms(base: str) -> set[str]:
    """The base with its regular -s, -ing and -ed forms."""
    vowels = "aeiou"
    sibilant = base.endswith(("s", "x", "z", "ch", "sh", "o"))
    if base.endswith("y") and base[-2] not in vowels:
        return {base, base[:-1] + "ies", base[:-1] + "ied", base + "ing"}
    stem = base[:-1] if base.endswith("e") and not base.endswith(("ee", "ye", "oe")) else base
    forms = {base, base + ("es" if sibilant else "s"), stem + "ing", stem + "ed"}
    # one vowel between consonants doubles the last letter: stop, stopping
    short = len(base) > 2 and base[-1] not in vowels + "wxy" and base[-2] in vowels and base[-3] not in vowels
    return forms | ({base + base[-1] + "ing", base + base[-1] + "ed"} if short else set())


VERBS = frozenset(form for base in _BASES.split() for form in _forms(base)) | frozenset(_IRREGULAR.split())
VERBS = VERBS - _MOSTLY_NOT
