"""Code blocks of a reply, and which of them is its program.

Fences are read as Markdown has them, and as models write them: backticks or tildes, any indent (what a list
or a quotation of steps adds is taken off the content), a language with a title or a path behind it. Every
line is looked at once, so a reply takes time in proportion to its length whatever it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_INFO = 200  # characters after a fence; a longer line is no fence
# what stands between a language and a title, a path, attributes: `python:main.py`, `{.python .numberLines}`
SEPARATORS = str.maketrans(dict.fromkeys(":{},;()[]#", " "))
EXTENSIONS = {".py": "python", ".cpp": "cpp", ".cc": "cpp", ".cxx": "cpp"}
# texts that samples of input and output hardly hold, and programs hardly lack
TRACES = ("print", "input(", "import ", "def ", "class ", "lambda", "sys.", "for ", "while ", "return")
CPP_TRACES = ("#include", "int main(", "using namespace")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language as `python`, `cpp`, another word in lower case or nothing; its content."""

    language: str
    text: str


def language_named(info: str) -> str:
    """What the text after a fence names: `python`, `cpp`, another language in lower case, or nothing."""
    for word in info.strip().translate(SEPARATORS).lower().split():
        word = word.lstrip(".")
        # attributes: title="main.py"
        if not word or "=" in word:
            continue
        if word.startswith(("python", "pypy")) or word in ("py", "py3", "py2", "ipython"):
            return "python"
        if word.startswith(("cpp", "c++", "g++", "gnu++")) or word in ("cc", "cxx"):
            return "cpp"
        return next((name for end, name in EXTENSIONS.items() if word.endswith(end)), word)
    return ""


def _edge(line: str) -> tuple[int, str, str] | None:
    """Indent, fence and info of a line that may open or close a block."""
    bare = line.lstrip(" \t")
    sign = bare[:1]
    if sign not in ("`", "~") or not bare.startswith(sign * 3):
        return None
    info = bare.lstrip(sign)
    # as in Markdown: text between backticks on one line is no fence
    if len(info) > LONGEST_INFO and info.strip():
        return None
    info = info.strip()
    if sign == "`" and "`" in info:
        return None
    return len(line) - len(bare), bare[: len(bare) - len(bare.lstrip(sign))], info


def _unlisted(line: str) -> str:
    """A line without the mark of a list item in front, blanks in its place: a block may begin beside it."""
    mark, _, rest = line.lstrip(" \t").partition(" ")
    number = mark[:-1].isdecimal() and len(mark) <= 4 and mark[-1] in ".)"
    return " " * (len(line) - len(rest)) + rest if mark in ("-", "*", "+") or number else line


def _blanks(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _block(info: str, indent: int, body: Sequence[str]) -> Block:
    # what the fence is indented by comes off as far as it is there, then what all lines share: a reply's
    # first fence may have lost its own indent
    lines = [line[min(indent, _blanks(line)) :] for line in body]
    shared = min((_blanks(line) for line in lines if line.strip(" \t")), default=0)
    return Block(language_named(info), "\n".join(line[shared:] for line in lines))


def code_blocks(text: str) -> list[Block]:
    """The fenced blocks in order; one that the text ends without closing counts unless it is blank.

    A fence is closed by one of the same sign, as long or longer, with nothing behind it and indented by at
    most three more than it or as much as the first line.
    """
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    body: list[str] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        edge = _edge(line)
        if opened is None:
            opened, body = edge or _edge(_unlisted(line)), []
            continue
        indent, fence, info = opened
        most = max(indent + 3, _blanks(body[0]) if body else 0)
        if edge and not edge[2] and edge[1].startswith(fence) and edge[0] <= most:
            found.append(_block(info, indent, body))
            opened = None
        else:
            body.append(line)
    if opened is not None and any(map(str.strip, body)):
        found.append(_block(opened[2], opened[0], body))
    return found


def last_code_block(text: str) -> str | None:
    """The content of the last fenced block; None when there is none."""
    blocks = code_blocks(text)
    return blocks[-1].text if blocks else None


def defines(source: str, name: str) -> bool:
    """Whether a line begins the definition of a function or class, or gives the name a value."""
    for line in source.split("\n"):
        words = line.replace("(", " ").replace(":", " ").replace("=", " = ").split(None, 3)
        if words[:2] in (["def", name], ["class", name], [name, "="]) or words[:3] == ["async", "def", name]:
            return True
    return False


def program_block(blocks: Sequence[Block], wanted: str | None, name: str = "") -> Block | None:
    """The block that is a reply's program; None without any block.

    The last one marked with the language that is wanted (python or cpp where None is), else the last without
    a mark that looks like a program, else the last without a mark, else the last: one fixed place can't be
    hedged, and a sample of its output or a command that runs it is not the program. Where a function or class
    of a `name` is asked for, blocks that define it go before others of their kind: what shows how to call it
    is not the program.
    """
    languages = ("python", "cpp") if wanted is None else (wanted,)
    marked = [block for block in blocks if block.language in languages]
    plain = [block for block in blocks if not block.language]
    likely = [block for block in plain if any(trace in block.text for trace in (*TRACES, *CPP_TRACES))]
    chosen = marked or likely or plain or list(blocks)
    if not chosen:
        return None
    block = ([block for block in chosen if name and defines(block.text, name)] or chosen)[-1]
    # without a mark, a program tells its language itself
    if not block.language and any(trace in block.text for trace in CPP_TRACES):
        return Block("cpp", block.text)
    return block
