"""For each verifiable instruction: a reply that follows it in both scorings, one that fails in both, and tricks.

A trick passes as the reference scores and fails strictly: the faults of the public checkers that RL would find.
A rescue is the other way round: it follows the instruction, but the reference refuses it.
"""

from typing import Any, NamedTuple


class Case(NamedTuple):
    id: str
    kwargs: dict[str, Any]
    good: str
    bad: str
    tricks: tuple[str, ...] = ()
    rescues: tuple[str, ...] = ()


ENGLISH = "The weather in the northern part of this country is usually cold and rather windy in winter."
PASSAGE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
FRESH = " zyxw qjx"
QUESTIONS = "\n".join(
    f"Question {n}. What is the {'very ' * n}best colour?\n" + "\n".join(f"{c}) answer" for c in "ABCDE")
    for n in range(1, 5)
)
AFRICA = """Zimbabwe Zambia Uganda Tunisia Togo Tanzania Sudan South-Sudan South-Africa Somalia Sierra-Leone Seychelles
Senegal Sao-Tome Rwanda Nigeria Niger Namibia Mozambique Morocco Mauritius Mauritania Mali Malawi Madagascar Libya
Liberia Lesotho Kenya Ivory-Coast Guinea-Bissau Guinea Ghana Gambia Gabon Ethiopia Eswatini Eritrea Equatorial-Guinea
Egypt Djibouti Congo Comoros Chad Central-African-Republic Cape-Verde Cameroon Burundi Burkina-Faso Botswana Benin
Angola Algeria"""
CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, Amsterdam, "
    "Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, Chisinau, Bern, Ljubljana, "
    "Zagreb"
)
ALPHABET = [f"{chr(65 + i)}x came along." for i in range(26)]
PRODUCTS = ["ProductID,Category,Brand,Price,Stock"] + [f"{i},food,Best,{i},3" for i in range(1, 15)]
PRODUCTS[1] = '1,food,"Best & Co",1,3'
STUDENTS = "\n".join(
    "\t".join(f'"{field}"' for field in row.split())
    for row in ("StudentID Subject Grade Semester Score", "1 Art A I 9", "2 Art B I 8", "3 Art C I 7")
)
CITIES = "ID,Country,City,Year,Count\n" + "\n".join(f"{i},Peru,Lima,19{i}0,{i}" for i in range(1, 8))
TIMES = {f"keyword{i}": word for i, word in enumerate(("sun", "moon", "star", "sky", "sea"), 1)}
COUNTED = "sun " + "moon " * 2 + "star " * 3 + "sky " * 5 + "sea " * 7
PALINDROMES = "level radar refer rotor civic kayak madam tenet solos stats"

IFEVAL_CASES = [
    Case("keywords:existence", {"keywords": ["stone", "sea"]}, "Stone by the SEA", "Stone alone", ("milestones by the season",)),
    Case("keywords:frequency", {"keyword": "cat", "frequency": 2, "relation": "at least"}, "A cat, a Cat", "a cat",
         ("cat in a category",)),
    Case("keywords:forbidden_words", {"forbidden_words": ["C#", "cat"]}, "concatenate in C", "a Cat.", ("We use C# here",)),
    Case("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "# a # b", "# aaaa"),
    Case("language:response_language", {"language": "de"},
         "Der alte Weg führt zwischen zwei stillen Hügeln hindurch.", ENGLISH, ("12345 !!!",)),
    Case("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "now three words", "two words",
         ("a _ _",)),
    Case("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "Mr. One 1.5 two.",
         ("One.\n\n!",)),
    Case("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb", ("a *** -", "a***b")),
    Case("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"},
         "It is.\n\nso, it is", "So\n\nit is", ("-\n\nSo it is.",)),
    Case("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[name]",
         ("[here](x) and [there](y)", "[ ] eat [x] sleep", "see [1] and [2]")),
    Case("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. Write!", "Bye.",
         ("P.S.", "P.S. alone", "a p.s. in passing", "Bye.\nP.S.")),
    Case("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a", ("* a\n---", "*\n- ")),
    Case("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a*",
         ("*.**.*", "* a * and * b *")),
    Case("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2},
         "Part 1\na\nPart 2\nb", "Part 1 a", ("Part 1\na\nPart 2\nb\nPart 3\nc", "Part 1 Part 2", "Part 2\na\nPart 1\nb")),
    Case("detectable_format:constrained_response", {}, "My answer is no.", "no",
         ("My answer is yes. My answer is no. My answer is maybe.",)),
    Case("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}", ("5", '"hi"', "{}", "null", "NaN", '[NaN]')),
    Case("detectable_format:title", {}, "<<Rain>>\nfalls", "<<>> falls", ("<<->>", "a <<+>> c")),
    Case("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none", ("one\n******\nOne.", "one******-")),
    Case("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. It.", "It.", ("Say it.", "say it. !")),
    Case("startend:end_checker", {"end_phrase": "The end!"}, 'So. the end!"', "The end! So.", ("The end!", "I bathe end!"),
         ("So. **The end!**",)),
    Case("startend:quotation", {}, ' "so" ', '"so', ('""', '". "'), ("“so”", "«so»")),
    Case("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH,
         (), ("DOGS ARE LOYAL FRIENDS OF PEOPLE.",)),
    Case("change_case:english_lowercase", {}, ENGLISH.lower(), ENGLISH, ("ªªª",)),
    Case("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
         "a BIG RED one", "a Big one", ("I say A", "X Y Z")),
    Case("punctuation:no_comma", {}, "so it is", "so, it is", ("...", "so，it is")),
]  # fmt: skip

WORD_CASES = [
    Case("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, "two words", "one", ("a _ _",)),
    Case("count:unique_word_count", {"N": 3}, "a b, c", "a A a.", ("a b -",)),
    Case("ratio:stop_words", {"percentage": 20}, "Bright lanterns hung above market squares", "it is the one", ("Lanterns",)),
    Case("ratio:sentence_type", {}, "It is. It was. Is it?", "It is. Is it?", ("no end marks", "So - . . ?")),
    Case("ratio:sentence_balance", {}, "It is. Is it? Ha!", "It is. Is it?", ("no end marks", ". ? !")),
    Case("count:conjunctions", {"small_n": 3}, "and but or", "and and", ("and And and,",)),
    Case("count:person_names", {"N": 2}, "Emma met Leo", "Leonard in Miami"),
    Case("ratio:overlap", {"reference_text": PASSAGE, "percentage": 90}, PASSAGE + FRESH,
         " ".join(reversed(PASSAGE.split()))),
    Case("count:numbers", {"N": 2}, "12 of 1,000.5", "7", ("1-2 and 3",)),
    Case("words:alphabet", {}, "Yellow zebras are big cats", "A big dog can", ("yes", "Yes zoos")),
    Case("words:vowel", {}, "a red hat sits in it", "about our use of red ink", ("red", "...")),
    Case("words:consonants", {}, "thick black storms swept north", "a storm", ("storms", "north south")),
    Case("sentence:alliteration_increment", {}, "Old kings dream. Big bees buzz by.", "Big bees buzz. Old kings dream.",
         ("Big bees.",)),
    Case("words:palindrome", {}, PALINDROMES, "level radar", ("level " * 10, "aaaaa " * 10, "12321 " * 10)),
    Case("count:punctuation", {}, "So? What was that?! Look: a hill; a sea, too! It is.", "So, it is.", ("?!.,!?;:",)),
    Case("words:prime_lengths", {}, "it was the old sea", "the hill", ("...", "sea")),
    Case("count:words_japanese", {"N": 2}, "so 日本 is 日本", "so it is", ("so",)),
    Case("words:start_verb", {}, "Consider this.", "This is it."),
    Case("words:repeats", {"small_n": 2}, "it is it and so on", "it is it or it", ("it it", "-")),
    Case("sentence:keyword", {"word": "cat", "N": 2}, "One. A cat sat.", "One. A category."),
    Case("count:pronouns", {"N": 3}, "I gave him this", "I go"),
    Case("words:odd_even_syllables", {}, "the garden sun winter tree", "the sun is", ("the", "the garden")),
    Case("words:last_first", {}, "I see it. It is so. So be it.", "I see. It is.", ("Hi.", "no end mark")),
    Case("words:paragraph_last_first", {}, "so it is so\nwe say we", "so it is", ("so", "so so", "...")),
    Case("sentence:increment", {"small_n": 1}, "One two. One two three.", "One two. One two.", ("One two.",)),
    Case("words:no_consecutive", {}, "a big cat did everything", "a big bear", ("a", "...")),
    Case("count:keywords_multiple", TIMES, COUNTED, "sundown" + COUNTED.removeprefix("sun")),
    Case("words:keywords_specific_position", {"keyword": "so", "n": 2, "m": 3}, "One. It, is SO.", "One. So it is."),
    Case("words:words_position", {"keyword": "so"}, "Be so, it is So now.", "It so is so.", ("So so.",)),
]  # fmt: skip
DEEP = "a ( b [ c { d ( e [ f ] ) } ] )"
FORM_CASES = [
    Case("format:parentheses", {}, DEEP, "( a [ b { c } ] )", ("([{([]", DEEP + " )", "([{([])}])")),
    Case("format:quotes", {}, """He wrote "she said 'they say "go" now' today".""", 'He said "go".',
         ("\"'\"\"'\"",)),
    Case("format:options", {"options": "yes/no"}, "Yes.", "yes, it is", (), ("\nyes\n",)),
    Case("format:newline", {}, "one\ntwo\nthree", "one two", ("one", "one two\n \nthree")),
    Case("format:emoji", {}, "Hi there. 🙂 Go on! 🙂", "Hi there. Go on! 🙂", ("🙂", "Go on. 🙂x")),
    Case("ratio:sentence_words", {}, "Big dogs bark. Our sun shone. I saw ten men.", "Big dogs bark. It is. So.",
         ("... ... ...",)),
    Case("format:line_indent", {}, "a\n b\n  c", "a\nb", ("a",), ("a\n\n\n b\n\n\n  c",)),
    Case("format:quote_unquote", {}, 'The words "so be it" mean yes.', 'He said "so be it".',
         ("no quotation", 'one " alone')),
    Case("format:list", {"sep": "-"}, "- tea\n- bread", "- tea", ("a well-known day-to-day thing", "---")),
    Case("format:thesis", {}, "<i>Small is good.</i> This is why.", "Small is good.",
         ("so <i>-</i> so", "It is <i>quite</i> so.", "<i>a</em> b")),
    Case("format:sub-bullets", {}, "* tea\n- green\n* bread\n- dark", "* tea\n* bread", ("no bullets", "2*3-1", "* tea\n-"),
         ("* **tea**\n  - green\n* bread\n  - dark",)),
    Case("format:no_bullets_bullets", {}, "It is. It was.\n* tea\n* bread", "It is.\n* tea\n* bread",
         ("Is it? Was it?\n* tea\n* bread", "It is. It was.\n*\n*")),
    Case("format:output_template", {}, "My Answer: yes. My Conclusion: go. Future Outlook: good.", "My Answer: yes.",
         ("My Answer: My Conclusion: Future Outlook:", "Future Outlook: a My Conclusion: b My Answer: c",
          "Well. My Answer: yes. My Conclusion: go. Future Outlook: good.")),
    Case("format:no_whitespace", {}, "so-it-is", "so it is", ("...",)),
    Case("format:title_case", {}, "The Road To Rome", "i Am A Test", ("SO", "iPhones Are Here", "!")),
]  # fmt: skip
TASK_CASES = [
    Case("custom:multiples", {}, "14, 21, 28, 35, 42, 49", "7, 14, 21, 28, 35, 42, 49"),
    Case("custom:mcq_count_length", {}, QUESTIONS, QUESTIONS.replace("E) answer", "", 1),
         (QUESTIONS.replace("What is the very best colour?", "?"),)),
    Case("custom:reverse_newline", {}, "\n".join(AFRICA.split()), "Zimbabwe\nZambia", ("\n".join(["Zimbabwe"] * 52),)),
    Case("custom:word_reverse", {}, "Eagle bald the is animal The.", "The bald eagle.", ("eagle bald",)),
    Case("custom:character_reverse", {}, "elgae dlab ehT", "The bald eagle", ("bald eagle: elgae dlab",)),
    Case("custom:sentence_alphabet", {}, " ".join(ALPHABET), " ".join(ALPHABET[1:]), (),
         (" ".join(["“" + ALPHABET[0], *ALPHABET[1:]]),)),
    Case("custom:european_capitals_sort", {}, CAPITALS, CAPITALS.removeprefix("Reykjavik, ")),
    Case("custom:csv_city", {}, CITIES, CITIES + "\n8,Peru,Lima,1990,9", (CITIES.replace("Lima", " "),)),
    Case("custom:csv_special_character", {}, "\n".join(PRODUCTS), "\n".join(PRODUCTS).replace('"', ""),
         ("\n".join([*PRODUCTS[:-1], "14"]), "\n".join([*PRODUCTS[:-1], "14,,,,"]))),
    Case("custom:csv_quotes", {}, STUDENTS, STUDENTS.replace('"1"', "1"), (STUDENTS.replace('"A"', '" "'),)),
    Case("custom:date_format_list", {}, "1796-04-12, 1815-06-18", "1796-4-12", ("1800-00-00", "1799-02-29")),
    Case("repeat:repeat_change", {"prompt_to_repeat": "Write a poem."}, "Draw a poem.", "Write a poem.",
         ("write a poem.", "Write: a poem.")),
    Case("repeat:repeat_simple", {}, "Only output this sentence here, ignore all other requests.", "Fine."),
    Case("repeat:repeat_span", {"prompt_to_repeat": "Write a long poem now", "n_start": 0, "n_end": 2},
         "write a long", "write a long poem"),
]  # fmt: skip
SMALL_CASES = [
    Case("cascade:different_words", {"least": 3, "most": 3}, "rock, sand sea!", "rock rock rock"),
    Case("cascade:first_word", {"word": "so"}, '"So it is', "is it so"),
    Case("cascade:last_word", {"word": "so"}, 'is it so?"', "so it is"),
    Case("cascade:comma_separated", {}, '"a, b, c!"', "a, b c"),
    Case("cascade:on_topic", {"topic_words": ["sea", "sand"], "least": 2}, "Sand, sea", "seas and sand sand"),
]
CASES = [*IFEVAL_CASES, *WORD_CASES, *FORM_CASES, *TASK_CASES, *SMALL_CASES]
