"""How people ask for the constraints of IFEval's kinds: six or more ways each, in words of our own.

A model that reads one sentence for each kind learns the sentence. So a kind has short and long ways, orders
and descriptions of the reply, and clauses that are woven into the request, which start with `+`.
{bound} is a number with its relation, said in several ways; {s} is the plural of the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade_rl.sources.constraints.wordings_ifbench import IFBENCH_WORDINGS
from cascade_rl.verify.instructions import arguments, describe
from cascade_rl.verify.instructions.lexicon import LANGUAGES

BOUNDS_SAID: Mapping[str, tuple[str, ...]] = {
    "less than": ("less than {n}", "fewer than {n}", "under {n}"),
    "at least": ("at least {n}", "no fewer than {n}", "{n} or more", "a minimum of {n}"),
    "exactly": ("exactly {n}",),
}
# arguments that hold the number of which a relation speaks
COUNTED = ("frequency", "let_frequency", "num_words", "num_sentences", "capital_frequency")

IFEVAL_WORDINGS: Mapping[str, tuple[str, ...]] = {
    "keywords:existence": (
        "Work in the following: {keywords}.", "Make use of {keywords} somewhere in the text.",
        "Your response should mention {keywords}.", "Keywords that have to appear: {keywords}.",
        "Be sure to say {keywords}.", "I would like to see {keywords} in there.",
        "+ using the words {keywords}", "+ and include {keywords}",
    ),
    "keywords:frequency": (
        "The word {keyword} should appear {bound} times.", "Say {keyword} {bound} times.",
        "Use the word {keyword} {bound} times in your response.", "Mention {keyword} {bound} times.",
        "Your answer should contain {keyword} {bound} times.",
        "As for the word {keyword}, I want to read it {bound} times.",
        "+ with the word {keyword} in it {bound} times",
    ),
    "keywords:forbidden_words": (
        "Avoid these words: {forbidden_words}.", "Leave out {forbidden_words}.",
        "Your response should not contain {forbidden_words}.", "Never say {forbidden_words}.",
        "Forbidden words: {forbidden_words}.", "Do not mention {forbidden_words} anywhere.",
        "Keep {forbidden_words} out of your answer.", "+ without using {forbidden_words}",
    ),
    "keywords:letter_frequency": (
        "Let {letter} be among the letters {bound} times.", "Use the letter {letter} {bound} times.",
        "Your response should have {bound} occurrences of the letter {letter}.",
        "Count the letter {letter}: it must come up {bound} times.",
        "I want to find {letter} {bound} times among the letters.",
        "In total, write the letter {letter} {bound} times.",
        "+ with the letter {letter} in it {bound} times",
    ),
    "language:response_language": (
        "Answer in {language} only.", "Your response should be entirely in {language}.",
        "Reply in {language} and use no other language.", "Please write only {language}.",
        "All of it has to be in {language}.", "The language of the whole reply is {language}.",
        "Nothing but {language}, please.", "+ in {language}",
    ),
    "length_constraints:number_words": (
        "Use {bound} words.", "Your response should have {bound} words.", "Write {bound} words.",
        "The length: {bound} words.", "The answer should come to {bound} words.",
        "I need a text of {bound} words.", "In total: {bound} words.", "+ in {bound} words",
    ),
    "length_constraints:number_sentences": (
        "Use {bound} sentences.", "Your response should have {bound} sentences.", "Write {bound} sentences.",
        "The length: {bound} sentences.", "The reply should consist of {bound} sentences.",
        "I need a text with {bound} sentences.", "Count your sentences: there must be {bound}.",
        "+ in {bound} sentences",
    ),
    "length_constraints:number_paragraphs": (
        "Write {num_paragraphs} paragraphs and put *** between them.",
        "Your response should have {num_paragraphs} paragraphs, divided by ***.",
        "Use {num_paragraphs} paragraphs. Separate them with the markdown divider: ***",
        "Split the text into {num_paragraphs} paragraphs with *** on the lines between.",
        "There should be {num_paragraphs} paragraphs; the divider is ***.",
        "I want {num_paragraphs} paragraphs, each parted from the next by three asterisks: ***",
        "+ in {num_paragraphs} paragraphs that are separated by ***",
    ),
    "length_constraints:nth_paragraph_first_word": (
        "Use {num_paragraphs} paragraphs with two newlines between them, and start paragraph "
        "{nth_paragraph} with {first_word}.",
        "Your response should have {num_paragraphs} paragraphs, separated by blank lines. The first word of "
        "paragraph {nth_paragraph} should be {first_word}.",
        "Write {num_paragraphs} paragraphs (leave an empty line between). Paragraph {nth_paragraph} opens "
        "with the word {first_word}.",
        "Make it {num_paragraphs} paragraphs, two line breaks apart; {first_word} is how number "
        "{nth_paragraph} begins.",
        "Blank lines part the text into {num_paragraphs} paragraphs. Begin number {nth_paragraph} of them "
        "with {first_word}.",
        "+ in {num_paragraphs} paragraphs with a blank line between, of which number {nth_paragraph} starts "
        "with the word {first_word}",
    ),
    "change_case:english_capital": (
        "Answer in capital letters.", "Your response should be English text in nothing but capitals.",
        "WRITE IN CAPITALS ONLY.", "Every letter has to be a capital one.",
        "No lowercase letters are allowed.", "Use English, all uppercase.", "+ in all capital letters",
    ),
    "change_case:english_lowercase": (
        "Answer in lowercase letters.", "Your response should be English text with small letters throughout.",
        "write in small letters only.", "No capital letters are allowed.",
        "Every letter has to be a small one, even at the start of sentences.",
        "Use English, all lowercase.", "+ in all lowercase letters",
    ),
    "change_case:capital_word_frequency": (
        "Use {bound} words in all capital letters.", "Put {bound} words in all caps.",
        "Your response should contain {bound} words in capitals.",
        "Stress {bound} words by writing them in ALL CAPS.", "Shout: {bound} words should be uppercase.",
        "Words in full capitals: {bound}.", "+ with {bound} words in all capital letters",
    ),
    "punctuation:no_comma": (
        "Please do without commas.", "Avoid commas.", "Your response should not contain any commas.",
        "No commas are allowed.", "Leave out all commas.", "Refrain from using commas.",
        "I do not want to see a single comma.", "+ without using any commas", "+ without commas",
    ),
    "detectable_content:number_placeholders": (
        "Include at least {num_placeholders} placeholder{s} in square brackets, like [address].",
        "Your response should contain at least {num_placeholders} placeholder{s} such as [date].",
        "Leave {num_placeholders} or more gaps to fill in, marked like [place].",
        "Put in {num_placeholders} or more placeholders that are written in square brackets: [name].",
        "For what I will fill in later, use square brackets, {num_placeholders} times or more.",
        "A minimum of {num_placeholders} placeholder{s} is needed, each in square brackets, e.g. [time].",
        "+ with at least {num_placeholders} placeholder{s} in square brackets, such as [price]",
    ),
    "detectable_content:postscript": (
        "Add a postscript that starts with {postscript_marker}", "End with a {postscript_marker}",
        "After the text, put a postscript starting with {postscript_marker}",
        "Your response should close with a postscript, marked {postscript_marker}",
        "Do not forget a {postscript_marker} at the bottom.",
        "There should be a postscript at the end; begin it with {postscript_marker}",
        "+ with a postscript at the end that starts with {postscript_marker}",
    ),
    "detectable_format:number_bullet_lists": (
        "Use exactly {num_bullets} bullet point{s}, like: * This is a point.",
        "Your response should hold {num_bullets} bullet point{s} exactly, in markdown (* ...).",
        "List {num_bullets} bullet point{s}, no more and no less. Start each with an asterisk.",
        "Give me {num_bullets} point{s} in a markdown list with * as the bullet.",
        "There must be exactly {num_bullets} bullet{s}. Mark bullets with *",
        "Put the main ideas in exactly {num_bullets} bullet point{s} (*).",
        "+ with exactly {num_bullets} bullet point{s} in markdown",
    ),
    "detectable_format:number_highlighted_sections": (
        "Highlight at least {num_highlights} section{s} of your answer in markdown, like *this part*.",
        "Your response should have at least {num_highlights} highlighted part{s}: *highlighted*.",
        "Put {num_highlights} or more phrases between asterisks, as in *a phrase*.",
        "Emphasise at least {num_highlights} phrase{s} with *asterisks*.",
        "Mark {num_highlights} or more important bits in italics, *like so*.",
        "Use markdown to make at least {num_highlights} part{s} stand out (*part*).",
        "+ with at least {num_highlights} part{s} highlighted in markdown, such as *this one*",
    ),
    "detectable_format:multiple_sections": (
        "Use {num_sections} sections. Mark the start of each with {section_spliter} X, where X is its "
        "number.",
        "Your response should have {num_sections} sections, marked {section_spliter} 1 to "
        "{section_spliter} {num_sections}.",
        "Split it into {num_sections} parts that begin with {section_spliter} 1, {section_spliter} 2, etc.",
        "Organise the text under {num_sections} headings: {section_spliter} 1, {section_spliter} 2 ...",
        "There should be {num_sections} sections and each begins with {section_spliter} X.",
        "I want {num_sections} numbered sections; call them {section_spliter} 1 and so forth.",
        "+ in {num_sections} sections that are headed {section_spliter} 1, {section_spliter} 2 and so on",
    ),
    "detectable_format:constrained_response": (
        "Choose from: My answer is yes. My answer is no. My answer is maybe.",
        'Say "My answer is yes.", "My answer is no." or "My answer is maybe." in your reply.',
        "Reply with 'My answer is yes.', 'My answer is no.' or 'My answer is maybe.'",
        "Your response should be one of these: My answer is yes. / My answer is no. / My answer is maybe.",
        "Pick one: (My answer is yes.) (My answer is no.) (My answer is maybe.)",
        "Decide between these sentences and write one of them: My answer is yes. My answer is no. My answer "
        "is maybe.",
    ),
    "detectable_format:json_format": (
        "Use JSON format.", "Your entire output should be in JSON.", "Wrap everything in JSON.",
        "Reply with valid JSON and nothing else.", "Write the whole response as a JSON object.",
        "I will parse what you write as JSON.", "+ in JSON format",
    ),
    "detectable_format:title": (
        "Give it a title in double angular brackets, like <<my title>>.",
        "Your response should have a title, wrapped in << and >>.", "Start with a title such as <<a title>>.",
        "Include a title in this form: <<title>>", "Put a title at the top between << and >>.",
        "It needs a title. Write it in double angular brackets: <<title of the text>>",
        "+ under a title that stands in double angular brackets, such as <<name>>",
    ),
    "combination:two_responses": (
        "Give two different responses, with ****** between them.",
        "Write two versions and separate them with six asterisks: ******",
        "Your response should hold two different answers, divided by ******.",
        "I need two alternatives. Put ****** on a line between the first and the second.",
        "Answer twice, in different words; the two answers are parted by six asterisks (******).",
        "Offer me two options separated by ******",
    ),
    "combination:repeat_prompt": (
        "Before you answer, repeat the request above word for word.",
        "First copy the request above exactly, then give your answer.",
        "Your response should begin with the request itself, unchanged; the answer comes after it.",
        "Start by saying the request above again without any change. Only then answer.",
        "Repeat what I asked, word by word, and answer it afterwards.",
        "Write the request once more, exactly as it stands, and your answer below it.",
    ),
    "startend:end_checker": (
        'Make this phrase the end of your reply: "{end_phrase}"', 'Close with the words "{end_phrase}"',
        'The last words should be "{end_phrase}"', 'Let "{end_phrase}" be how it ends.',
        'Finish with "{end_phrase}" and write nothing after it.',
        'Your response should end with "{end_phrase}"', 'The very last sentence must read: "{end_phrase}"',
        '+ that ends with the phrase "{end_phrase}"',
    ),
    "startend:quotation": (
        "Wrap your whole response in double quotation marks.",
        "Put double quotation marks around your entire answer.",
        "Your response should start and end with a double quotation mark.", "Quote the whole reply: \"...\"",
        "The first and the last character should be a double quotation mark.",
        "Enclose everything in double quotes.", "+ wrapped in double quotation marks",
    ),
}  # fmt: skip
WORDINGS = {**IFEVAL_WORDINGS, **IFBENCH_WORDINGS}


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def wordings(ident: str, kwargs: Mapping[str, Any] | None) -> list[str]:
    """All ways to ask for an instruction, that of `describe` first; woven ones start with `+`.

    A language is said by its name. InstructionError as from `check`.
    """
    given = arguments(ident, kwargs)
    relation = next((v for k, v in given.items() if k.endswith("relation")), None)
    number = next((v for k, v in given.items() if k in COUNTED), None)
    said = {name: _shown(value) for name, value in given.items()}
    if "language" in given:
        said["language"] = LANGUAGES[given["language"]]
    counts = [v for v in given.values() if isinstance(v, int)]
    said["s"] = "" if counts == [1] else "s"
    bounds = [form.format(n=number) for form in BOUNDS_SAID[relation]] if relation else [""]
    found = [] if "language" in given else [describe(ident, given)]
    for form in WORDINGS.get(ident, ()):
        found += [form.format(**said, bound=bound) for bound in (bounds if "{bound}" in form else [""])]
    return found
