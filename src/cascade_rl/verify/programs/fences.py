"""Code blocks of a reply, and which of them is its program.

Fences are read as Markdown has them, and as models write them: backticks or tildes, any indent (what a list
or a quotation of steps adds is taken off the content), a language with a title or a path behind it. Every
line is looked at once, so a reply takes time in proportion to its length whatever it holds. A fence that is
glued to the end of a line of text or code counts where what follows leaves no doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# blanks, and marks that nobody sees: no-break and zero-width ones, of byte order
BLANKS = " \t\u00a0\u200b\u200c\u200d\u2060\ufeff"
LONGEST_INFO = 200  # characters after a fence; a longer line is no fence
# what stands between a language and a title, a path, attributes: `python:main.py`, `{.python .numberLines}`
SEPARATORS = str.maketrans(dict.fromkeys(":{},;()[]#", " "))
EXTENSIONS = {".py": "python", ".cpp": "cpp", ".cc": "cpp", ".cxx": "cpp"}
# texts that samples of input and output hardly hold, and programs hardly lack
TRACES = ("print", "input(", "import ", "def ", "class ", "lambda", "sys.", "for ", "while ", "return")
CPP_TRACES = ("#include", "int main(", "using namespace")
# a program that is given input reads it or, if it is a poor one, prints at least
ACTS = ("input(", "stdin", "open(0", "read(0", "fileinput", "print", "write", "main(", "cin", "cout", "put")


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
    bare = line.lstrip(BLANKS)
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


def _lines(text: str) -> list[str]:
    """The lines without what Windows and quotations add."""
    found = [line.removesuffix("\r") for line in text.split("\n")]
    # only where fences are quoted, since a program may print such lines
    if not any(line.startswith(("> ```", "> ~~~")) for line in found):
        return found
    return [line[2:] if line[:2] in ("> ", ">") else line for line in found]


def _closes(edge: tuple[int, str, str], fence: str, most: int) -> bool:
    return edge[1].startswith(fence) and edge[0] <= most and not _opens(edge)


def _opens(edge: tuple[int, str, str]) -> bool:
    # what chat templates and tags put behind a fence is no language
    return edge[2][:1] not in ("", "<")


def _glued(line: str) -> tuple[int, str, str] | None:
    """An opening fence behind text on its line: `Here it is: ```python`."""
    before, _, info = line.rpartition("```")
    known = len(info) <= 20 and len(info.split()) == 1 and language_named(info) in ("python", "cpp")
    return (_blanks(line), "```", info) if known and before and "```" not in before else None


def _block(info: str, indent: int, body: Sequence[str]) -> Block:
    # what the fence is indented by comes off as far as it is there, then what all lines share: a reply's
    # first fence may have lost its own indent
    lines = [line[min(indent, _blanks(line)) :].lstrip("\ufeff") for line in body]
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
    lines = _lines(text)
    edges = list(map(_edge, lines))
    # whether the next line that is a fence can only open a block; None where none follows
    following: list[bool | None] = [None] * len(lines)
    for place in range(len(lines) - 1, 0, -1):
        edge = edges[place]
        following[place - 1] = _opens(edge) if edge else following[place]
    for line, edge, then, below in zip(lines, edges, following, [*lines[1:], ""], strict=True):
        if opened is None:
            opened, body = edge or _edge(_unlisted(line)), []
            # not where it is only spoken of fences, and one that opens a block follows
            opened = opened or (_glued(line) if below.strip() and not then else None)
            continue
        indent, fence, info = opened
        most = max(indent + 3, _blanks(body[0]) if body else 0)
        # behind code: only where no fence follows that could be the one that closes
        glued = edge is None and then is not False and line.rstrip().endswith(fence)
        if glued:
            body.append(line.rstrip().removesuffix(fence))
        if glued or (edge and _closes(edge, fence, most)):
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


def defines(source: str, name: str) -> int:
    """Whether lines define a function or class or give the name a value: 2 at the edge, 1 indented, 0 not."""
    found = 0
    for line in source.split("\n"):
        words = line.replace("(", " ").replace(":", " ").replace("=", " = ").split(None, 3)
        if words[:2] in (["def", name], ["class", name], [name, "="]) or words[:3] == ["async", "def", name]:
            found = max(found, 1 if line[:1].isspace() else 2)
    return found


def _acts(source: str) -> bool:
    # a session shows a prompt
    return any(trace in source for trace in ACTS) and not source.lstrip().startswith(">>>")


def program_block(
    blocks: Sequence[Block], wanted: str | None, name: str = "", given: bool = False
) -> Block | None:
    """The block that is a reply's program; None without any block.

    The last one marked with the language that is wanted (python or cpp where None is), else the last without
    a mark that looks like a program, else the last without a mark, else the last: one fixed place can't be
    hedged, and a sample of its output or a command that runs it is not the program. Where a function or class
    of a `name` is asked for, blocks that define it go before others of their kind, and where input is `given`
    those that read or print: what shows how to call it, and a part that is explained, are not the program.
    """
    languages = ("python", "cpp") if wanted is None else (wanted,)
    marked = [block for block in blocks if block.language in languages]
    plain = [block for block in blocks if not block.language]
    likely = [block for block in plain if any(trace in block.text for trace in (*TRACES, *CPP_TRACES))]
    chosen = marked or likely or plain or list(blocks)
    if not chosen:
        return None
    if name:
        best = max(defines(block.text, name) for block in chosen)
        chosen = [block for block in chosen if defines(block.text, name) == best]
    elif given:
        chosen = [block for block in chosen if _acts(block.text)] or chosen
    block = chosen[-1]
    # without a mark, a program tells its language itself
    if not block.language and any(trace in block.text for trace in CPP_TRACES):
        return Block("cpp", block.text)
    return block
