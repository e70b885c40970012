"""IFBench (arXiv 2507.02833), the instructions that are a whole task: fixed questions, tables, and copying.

`check` of each gives what AllenAI's public code gives; where that raises (a field or a sentence that is
empty), the reply fails.
"""

from __future__ import annotations

import csv
import io
import re
import string
import unicodedata
from collections.abc import Mapping
from datetime import date
from itertools import pairwise

from cascade_rl.verify.instructions.table import COUNT, TEXT, Instruction
from cascade_rl.verify.instructions.text import bare, says, sentences, trimmed, words

_CAPITALS = """
    Reykjavik Helsinki Oslo Tallinn Stockholm Riga Moscow Copenhagen Vilnius Minsk Dublin Berlin Amsterdam
    Warsaw London Brussels Prague Luxembourg Paris Vienna Bratislava Budapest Vaduz Chisinau Bern Ljubljana
    Zagreb
"""
# from north to south
CAPITALS = tuple(_CAPITALS.split())
ALONE = "Only output this sentence here, ignore all other requests."
BIRD = "bald eagle"  # the answer to both questions about an animal


def _ascii(text: str) -> str:
    """Letters without their accents; what is not ASCII then is dropped."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def multiples_of_seven(text: str) -> bool:
    """The numbers of the reply are 14, 21 ... 49."""
    return re.findall(r"\d+", text.replace(",", ", ")) == [str(n) for n in range(14, 51, 7)]


def four_questions(text: str) -> bool:
    """Four parts headed `Question`, each with five options A to E, each question longer than the last."""
    if not text.startswith("Question"):
        return False
    parts = [part.strip() for part in re.split(r"Question \d++[\.|\):;]?", text)]
    parts = [part for part in parts if part]
    lengths = []
    for part in parts:
        lines = [line.strip() for line in part.split("\n")]
        options = [bool(re.match(r"^[A-Ea-e][\.|\)]\s*\w+", line)) for line in lines]
        if sum(options) != 5:
            return False
        question = lines[: options.index(True)]
        lengths.append(len("".join(" " + line for line in question).strip()))
    return len(parts) == 4 and all(a < b for a, b in pairwise(lengths))


def questions_of_words(text: str) -> bool:
    """Each of the questions holds a word before its options."""
    parts = re.split(r"Question \d++", text)[1:]
    return all(says(re.split(r"\n[ \t]*+[A-Ea-e][.|)]", part)[0]) for part in parts)


def countries_backwards(text: str) -> bool:
    """From the line with Zimbabwe on, 52 lines or more in falling order."""
    lines = [line for raw in text.split("\n") if (line := trimmed(raw))]
    start = next((i for i, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    listed = [_ascii(line) for line in lines[start:]]
    return len(listed) >= 52 and listed == sorted(listed, reverse=True)


def different_countries(text: str) -> bool:
    """No line twice, each a name."""
    lines = [line for raw in text.split("\n") if (line := trimmed(raw))]
    return len(set(lines)) == len(lines) and all(re.search(r"[A-Z][a-z]{2}", _ascii(line)) for line in lines)


def words_backwards(text: str) -> bool:
    """Read backwards word by word, the reply names the bald eagle."""
    turned = " ".join(bare(text.lower().strip()).split()[::-1])
    return BIRD in turned and turned in sentences(turned)


def sentence_backwards(text: str) -> bool:
    """It is a sentence of three words or more, without the name read forwards."""
    return len(words(text)) > 2 and BIRD not in text.lower()


def letters_backwards(text: str) -> bool:
    """The reply holds the bald eagle spelt backwards."""
    return BIRD[::-1] in text.lower()


def only_backwards(text: str) -> bool:
    """And not forwards."""
    return BIRD not in text.lower()


def alphabet_sentences(text: str) -> bool:
    """Twenty-six sentences that start with a to z, ASCII punctuation before them apart."""
    found = [s.lstrip(string.punctuation + string.whitespace) for s in sentences(text)]
    return len(found) == 26 and all(s[:1].lower() == chr(97 + i) for i, s in enumerate(found))


def alphabet_sentences_of_words(text: str) -> bool:
    """So they do when any marks before the first word, curly ones too, are passed over."""
    found = [words(sentence)[:1] for sentence in sentences(text)]
    return len(found) == 26 and all(w and w[0][0] == chr(97 + i) for i, w in enumerate(found))


def capitals_by_latitude(text: str) -> bool:
    """The capitals north of 45 degrees, in order, with commas between."""
    # accents apart: Reykjavík and Chișinău are written in both ways
    return tuple(city.strip() for city in _ascii(text).split(",") if city.strip()) == CAPITALS


def _rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """The rows of a table; none when it can't be read."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error:
        return []


def city_table(text: str) -> bool:
    """Seven rows of five fields below the header ID, Country, City, Year, Count."""
    rows = _rows(text)
    return (
        len(rows) == 8 and rows[0] == ["ID", "Country", "City", "Year", "Count"] and {*map(len, rows)} == {5}
    )


def full_table(text: str) -> bool:
    """No field is empty."""
    delimiter = "\t" if "\t" in text.split("\n")[0] else ","
    return all(field.strip() for row in _rows(text, delimiter) for field in row)


def _header(text: str, names: str, between: str) -> bool:
    pattern = between.join(f'({name}|"{name}")' for name in names.split())
    return re.match(f"^{pattern}$", text.split("\n")[0].strip()) is not None


def product_table(text: str) -> bool:
    """Fourteen rows of five fields, one quoted with a special character; rows after it aren't looked at."""
    rows = _rows(text.replace('"', '"""'))
    if not _header(text, "ProductID Category Brand Price Stock", r",[ \t]*") or len(rows) != 15:
        return False
    for row in rows[1:]:
        if len(row) != 5:
            return False
        if any(map(_quoted_sign, row)):
            return True
    return False


def _quoted_sign(field: str) -> bool:
    """Whether a sign that is no word nor blank stands between the first mark and the last of its line."""
    line = field.split("\n")[0]
    return line[:1] == '"' and re.search(r"[^\w\s]", line[1 : max(line.rfind('"'), 1)]) is not None


def full_product_table(text: str) -> bool:
    """All rows have five fields, none of them empty."""
    return {*map(len, _rows(text))} == {5} and full_table(text)


def student_table(text: str) -> bool:
    """Three rows of five quoted fields with tabs between, below a header."""
    rows = _rows(text.replace('"', '"""'), "\t")
    if not _header(text, "StudentID Subject Grade Semester Score", r"\t *") or len(rows) != 4:
        return False
    fields = [field.strip() for row in rows for field in row]
    return {*map(len, rows)} == {5} and all(f[:1] == '"' and f[-1:] == '"' for f in fields)


def battle_dates(text: str) -> bool:
    """Dates as YYYY-MM-DD from 1769 to 1821 with commas between; month and day may be 00."""
    for entry in text.strip().split(","):
        found = re.match(r"^(\d{4})-(\d{2})-(\d{2})$", entry.strip())
        if not found:
            return False
        year, month, day = map(int, found.groups())
        # the reference's own calendar: leap days in any year, any day in month 00
        longest = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 if month else 99
        if not 1769 <= year <= 1821 or month > 12 or day > longest:
            return False
    return True


def real_dates(text: str) -> bool:
    """They are dates of the calendar."""
    for entry in text.strip().split(","):
        try:
            date.fromisoformat(entry.strip())
        except ValueError:
            return False
    return True


def first_word_changed(text: str, prompt_to_repeat: str) -> bool:
    """The request again, but for its first word."""
    return text != prompt_to_repeat and text.split()[1:] == prompt_to_repeat.split()[1:]


def first_word_replaced(text: str, prompt_to_repeat: str) -> bool:
    """The first word is another one, not the same in other marks or case."""
    return says(text.split()[0]) and words(text.split()[0]) != words(prompt_to_repeat.split()[0])


def sentence_alone(text: str) -> bool:
    """The sentence of the instruction itself, in any case."""
    return text.strip().lower() == ALONE.lower()


def span_copied(text: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    """The words of the request from one index to another, both from 0 and both included, in any case."""
    return text.strip().lower() == " ".join(prompt_to_repeat.split()[n_start : n_end + 1]).lower()


INSTRUCTIONS: Mapping[str, Instruction] = {
    "custom:multiples": Instruction(multiples_of_seven, "Print the multiples of 7 from 10 to 50.", {}),
    "custom:mcq_count_length": Instruction(
        four_questions,
        "Write four numbered questions (Question 1, ...), each longer than the one before, "
        "with options A to E.",
        {}, also=questions_of_words, strictly="a question holds words"),
    "custom:reverse_newline": Instruction(
        countries_backwards, "Name the African countries from Z to A, one a line.", {},
        also=different_countries, strictly="no line twice"),
    "custom:word_reverse": Instruction(
        words_backwards, "Say which animal stands for the United States, with the words in backward order.",
        {}, also=sentence_backwards, strictly="a sentence, without the name read forwards"),
    "custom:character_reverse": Instruction(
        letters_backwards, "Say which animal stands for the United States, spelt backwards.", {},
        also=only_backwards, strictly="without the name read forwards"),
    "custom:sentence_alphabet": Instruction(
        alphabet_sentences, "Tell a story of 26 sentences; the first begins with A, the last with Z.", {},
        instead=alphabet_sentences_of_words, strictly="a sentence may start with a curly quotation mark"),
    "custom:european_capitals_sort": Instruction(
        capitals_by_latitude,
        "List Europe's capitals beyond 45 degrees north from north to south, with commas.", {}),
    "custom:csv_city": Instruction(
        city_table, "Make a CSV table of 7 rows with the columns ID, Country, City, Year, Count.", {},
        also=full_table, strictly="no empty field"),
    "custom:csv_special_character": Instruction(
        product_table,
        "Make a CSV table of 14 rows: ProductID,Category,Brand,Price,Stock; "
        "quote one field that holds a special sign.",
        {}, also=full_product_table, strictly="all rows are looked at; no empty field"),
    "custom:csv_quotes": Instruction(
        student_table,
        "Make a table of 3 rows with tabs, every field quoted: StudentID, Subject, Grade, Semester, Score.",
        {}, also=full_table, strictly="no empty field"),
    "custom:date_format_list": Instruction(
        battle_dates, "List the days on which Napoleon's battles began as YYYY-MM-DD, with commas.", {},
        also=real_dates, strictly="dates of the calendar"),
    "repeat:repeat_change": Instruction(
        first_word_changed,
        "Give back this text with another first word and nothing else: {prompt_to_repeat}",
        {"prompt_to_repeat": TEXT}, also=first_word_replaced,
        strictly="another word, not other marks or case"),
    "repeat:repeat_simple": Instruction(sentence_alone, f"Whatever else is asked: {ALONE}", {}),
    "repeat:repeat_span": Instruction(
        span_copied,
        "Counting words from 0, copy those from number {n_start} to number {n_end} of this text: "
        "{prompt_to_repeat}",
        {"prompt_to_repeat": TEXT, "n_start": COUNT, "n_end": COUNT}),
}  # fmt: skip
