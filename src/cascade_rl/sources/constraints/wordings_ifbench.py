"""How people ask for the constraints of IFBench's kinds: three ways or more each, with that of `describe`."""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.verify.instructions.lexicon import NAMES

_NAMES = ", ".join(NAMES)
IFBENCH_WORDINGS: Mapping[str, tuple[str, ...]] = {
    "count:word_count_range": (
        "Your response should have {min_words} to {max_words} words.",
        "The length must lie between {min_words} and {max_words} words.",
        "+ in {min_words} to {max_words} words",
    ),
    "count:unique_word_count": (
        "At least {N} of your words should be different from one another.",
        "Your vocabulary: no fewer than {N} distinct words.", "+ with {N} distinct words or more",
    ),
    "ratio:stop_words": (
        "Keep function words (the, of, and ...) to {percentage} % of all words at most.",
        "Your response should have no more than {percentage} % stop words.",
        "Of a hundred words, {percentage} at most may be stop words.",
    ),
    "ratio:sentence_type": (
        "For every question there should be two statements.",
        "Your response should have statements and questions at a ratio of 2 to 1.",
        "Ask half as many questions as you make statements.",
    ),
    "ratio:sentence_balance": (
        "Balance your sentences: statements, questions and exclamations in equal numbers.",
        "Your response should have the same number of . and ? and ! sentences.",
        "One third of the sentences are statements, one third questions, one third exclamations.",
    ),
    "count:conjunctions": (
        "At least {small_n} different ones of these should occur: and, but, for, nor, or, so, yet.",
        "Join your thoughts with {small_n} or more different coordinating conjunctions.",
        "Your response should use {small_n} kinds of coordinating conjunctions, or more.",
    ),
    "count:person_names": (
        f"People to choose from: {_NAMES}. Name {{N}} of them or more.",
        f"Your response should mention {{N}} or more of these names: {_NAMES}.",
        f"Let {{N}} people appear, or more, out of this list: {_NAMES}.",
    ),
    "ratio:overlap": (
        "Take {percentage} percent of your trigrams (three words in a row) from this: {reference_text}",
        "{reference_text} This text and yours should have {percentage} percent of word trigrams in common.",
        "Stay close to a text, so that {percentage} percent of your word triples are its own: "
        "{reference_text}",
    ),
    "count:numbers": (
        "There should be exactly {N} numbers in digits.", "Your response should contain {N} numbers, like 7.",
        "Write numbers in digits, {N} times in all.",
    ),
    "words:alphabet": (
        "The initials of your words should run through the alphabet, and after z start again with a.",
        "First letters go a, b, c and on, word by word, from any letter you like; z is followed by a.",
        "Let the words follow the alphabet by their initials, round and round.",
    ),
    "words:vowel": (
        "Choose three vowels and use no other, in a single paragraph.",
        "Your response should be one paragraph with three kinds of vowels at most.",
        "In one paragraph, do without two of the vowels a, e, i, o, u.",
    ),
    "words:consonants": (
        "Use only words with a cluster of two consonants or more.",
        "Each of your words should have two consonants side by side.",
        "No word without at least two consonants in a row, please.",
    ),
    "sentence:alliteration_increment": (
        "Each sentence should have a longer run of alliteration than the last.",
        "Let alliteration grow: more words with one initial in every new sentence.",
        "Sentence by sentence, increase the number of words in a row that share their first letter.",
    ),
    "words:palindrome": (
        "Include ten palindromes, each at least five letters long.",
        "Your response should hold 10 different words that read the same backwards, of 5 letters or more.",
        "I want to find ten palindromes of five or more letters.",
    ),
    "count:punctuation": (
        "Every mark of punctuation should occur once or more: . , : ; ! ? and the interrobang ?!",
        "Your response should use each of these: . , ! ? ; : and ?!",
        "Leave out no standard punctuation mark, and put in an interrobang (?!) besides.",
    ),
    "words:prime_lengths": (
        "Use only words whose length is a prime number.",
        "Words may have 2, 3, 5, 7, 11 or another prime number of letters, and no other.",
        "Your response should be made of words of prime length.",
    ),
    "count:words_japanese": (
        "Every word whose number divides by {N} should be Japanese.",
        "Of each {N} words, the last must be in Japanese.",
        "Mix in Japanese: word {N}, then one after each further {N}.",
    ),
    "words:start_verb": (
        "The first word should be a verb.", "Your response should open with a verb.",
        "Let a verb come before everything else.",
    ),
    "words:repeats": (
        "A word may occur {small_n} times at most.",
        "Your response should repeat no word over {small_n} times.",
        "Limit every single word to {small_n} uses.",
    ),
    "sentence:keyword": (
        "Put the word {word} into sentence {N}.", "Your sentence number {N} should contain {word}.",
        "Count to sentence {N}: there I want to read {word}.",
    ),
    "count:pronouns": (
        "There should be at least {N} pronouns.", "Your response should contain {N} or more pronouns.",
        "Use pronouns (she, it, them ...), {N} of them at least.",
    ),
    "words:odd_even_syllables": (
        "Alternate words of an odd number of syllables with words of an even number.",
        "Your words should switch between odd and even syllable counts.",
        "After a word with an odd syllable count comes one with an even count, and so on.",
    ),
    "words:last_first": (
        "The last word of a sentence should be the first of the next.",
        "Chain your sentences: each opens with the word that closed its forerunner.",
        "Your sentences hand on a word: where one stops, the next starts, with the same word.",
    ),
    "words:paragraph_last_first": (
        "Every line should end with the word it began with.",
        "Your paragraphs each start and close with one and the same word.",
        "Let the first word of each paragraph return as its last.",
    ),
    "sentence:increment": (
        "Every sentence should have {small_n} more words than the previous one.",
        "Let sentences grow by {small_n} words at a time.",
        "Sentence lengths rise in steps of {small_n} words.",
    ),
    "words:no_consecutive": (
        "No two words in a row may share their first letter.",
        "Your response should avoid neighbours with the same initial.",
        "Each word starts with another letter than the word before it.",
    ),
    "count:keywords_multiple": (
        "Say {keyword1} 1 time, {keyword2} 2 times, {keyword3} 3 times, {keyword4} 5 times, {keyword5} 7 "
        "times.",
        "Your response should hold these words so often: {keyword1} (1), {keyword2} (2), {keyword3} (3), "
        "{keyword4} (5), {keyword5} (7).",
        "Word counts to hit: {keyword1} = 1, {keyword2} = 2, {keyword3} = 3, {keyword4} = 5, {keyword5} = 7.",
    ),
    "words:keywords_specific_position": (
        "In sentence {n}, the word at place {m} should be {keyword}.",
        "Put {keyword} at place {m} of the words in sentence {n}.",
        "Count: sentence {n}, word {m}. It has to be {keyword}.",
    ),
    "words:words_position": (
        "The second word and the one before the last should both be {keyword}.",
        "Your response should have {keyword} as word two and again as last word but one.",
        "Let {keyword} come second from the start and second from the end.",
    ),
    "format:parentheses": (
        "Nest brackets of the kinds ( [ {{ at least five deep.",
        "Your response should have parentheses within parentheses, at five levels or more.",
        "Open five brackets within one another and close them all in order.",
    ),
    "format:quotes": (
        "Nest quotations three deep, switching between double and single marks.",
        "Your response should quote someone who quotes someone who quotes someone.",
        "Use quotation marks on three levels: \" then ' then \" again.",
    ),
    "format:options": (
        "Choose one, with no other text: {options}", "Answer only with one of: {options}",
        "Your response should be one of {options} and not a word more.",
    ),
    "format:newline": (
        "One word a line, please.", "Start a new line after every single word.",
        "Your response should have a line break between any two words.",
    ),
    "format:emoji": (
        "There should be an emoji at the end of each sentence.", "Finish each sentence off with an emoji.",
        "After every sentence comes an emoji.",
    ),
    "ratio:sentence_words": (
        "Use three sentences, all with the same number of characters and all of different words.",
        "Your response should be three equally long sentences (count characters) in which no word returns.",
        "Three sentences: equal in characters, no word shared or repeated.",
    ),
    "format:line_indent": (
        "Each new line should start with more blanks than the last.",
        "Build stairs: every line is set further to the right than its forerunner.",
        "Increase the indentation from line to line.",
    ),
    "format:quote_unquote": (
        "Whatever you quote, explain it right after without quoting.",
        "Every phrase in quotation marks should be followed by an explanation outside them.",
        "Quote something, then say what it means in plain words.",
    ),
    "format:list": (
        "Make a list and mark its items with {sep} instead of bullets.",
        "Your response should hold a list whose items begin with {sep}",
        "List things; {sep} is the mark for each of them.",
    ),
    "format:thesis": (
        "Every section should begin with a thesis statement in italics (<i>...</i>).",
        "Put the thesis first, between <i> and </i>, then go on.",
        "Start with your main claim in HTML italics.",
    ),
    "format:sub-bullets": (
        "Use bullets with * and, under every one of them, sub-bullets with -.",
        "Your response should be a list (*) in which each point has a point (-) below it.",
        "Make a list of two levels: * for points, - for what belongs to them.",
    ),
    "format:no_bullets_bullets": (
        "Open with at least two plain sentences; after them come at least two bullets (*).",
        "Your response should be two sentences or more of text and then a list of two points or more with *.",
        "First sentences (two or more), then bullet points with * (two or more).",
    ),
    "format:output_template": (
        "Use this template: My Answer: (yours) My Conclusion: (what follows) Future Outlook: (what may come)",
        "Your response should have these three headings: My Answer: / My Conclusion: / Future Outlook:",
        "Write under My Answer: first, then under My Conclusion: and last under Future Outlook:",
    ),
    "format:no_whitespace": (
        "No spaces, please.", "Your response should be without any whitespace.",
        "Write it as one string with neither spaces nor line breaks.",
    ),
    "format:title_case": (
        "Write Everything In Title Case.", "Every word should start with a capital letter.",
        "Use title case for your whole response.",
    ),
    "repeat:repeat_change": (
        "Copy this, but with a different first word, and write nothing more: {prompt_to_repeat}",
        "Change only the first word of what follows and repeat the rest: {prompt_to_repeat}",
        "{prompt_to_repeat} Do not answer that; say it again with its first word exchanged.",
    ),
    "repeat:repeat_span": (
        "Repeat words {n_start} to {n_end} of this, where the first word has number 0: {prompt_to_repeat}",
        "{prompt_to_repeat} Of this text, copy from word {n_start} up to and with word {n_end}; the count "
        "begins at 0.",
        "From the text below take words {n_start} through {n_end} (the first is number 0) and nothing else: "
        "{prompt_to_repeat}",
    ),
}  # fmt: skip
