"""The languages that programs may be written in; a further one is one entry more.

A compiled language is compiled once in the sandbox's profile `tests`, and the program that comes out runs in
profile `code`, once for each test.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.protocols import Execution, Program, Sandbox

COMPILER_ABSENT = 127  # the shell's code for a command that is not found
# seconds of processor time and megabytes of address space
COMPILE_S, COMPILE_MB = 30.0, 2048
COMPILE = """\
import subprocess, sys
try:
    done = subprocess.run({command!r})
except FileNotFoundError:
    sys.exit({absent})
sys.exit(1 if done.returncode else 0)
"""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its file name, and how that becomes the file `program`."""

    name: str
    file: str
    smallest: str = ""
    compile: tuple[str, ...] = ()


class Unknown(Exception):
    """Whether a language can be run could not be found out: the sandbox failed."""


LANGUAGES = {
    language.name: language
    for language in (
        Language("python", "candidate.py"),
        Language(
            "cpp",
            "main.cpp",
            "int main() {}",
            ("g++", "-O2", "-std=gnu++2a", "-DONLINE_JUDGE", "-pipe", "-o", "program", "main.cpp"),
        ),
    )
}


def language_of(named: str, wanted: str | None) -> Language:
    """The language of a program: what the problem asks for, else what its block names, else Python."""
    if wanted is not None:
        if wanted not in LANGUAGES:
            raise ValueError(f"no language {wanted!r}; there are {', '.join(LANGUAGES)}")
        return LANGUAGES[wanted]
    return LANGUAGES.get(named, LANGUAGES["python"])


async def missing(language: Language, sandbox: Sandbox) -> str:
    """Why programs in a language can't be run on this machine; empty when they can.

    A text of our own is compiled, the same each time, which the sandbox answers from memory after the first:
    so no reply has a part in it. Raises Unknown where the sandbox failed.
    """
    if not language.compile:
        return ""
    if sandbox.standing().level != "full":
        return f"programs in {language.name} need the sandbox level full; see `cascade doctor`"
    execution = await sandbox.run(compiler(language, language.smallest))
    if execution.error:
        raise Unknown(execution.error)
    # the script's own code: only the compiler and the script run
    if execution.exit_code == COMPILER_ABSENT:
        return f"{language.compile[0]} is not installed, which programs in {language.name} need"
    return ""


def compiler(language: Language, source: str) -> Program:
    """The program that compiles; read it with `compiled`."""
    script = COMPILE.format(command=list(language.compile), absent=COMPILER_ABSENT)
    return Program(
        {language.file: source, "compile.py": script},
        "compile.py",
        timeout_s=COMPILE_S,
        memory_mb=COMPILE_MB,
        profile="tests",  # a compiler forks
        collect=("program",),
        packages=(),  # no installed package is shown to it
    )


def compiled(execution: Execution) -> tuple[str | None, str]:
    """The compiled program, or None and the compiler's words."""
    if execution.exit_code or execution.timed_out or "program" not in execution.files:
        return None, execution.stderr.strip()[:300] or "the compiler gave no program"
    return execution.files["program"], ""


def runner(language: Language, text: str, stdin: str, timeout_s: float) -> Program:
    """A program's run on one input; `text` is the source, or what `compiled` returned."""
    name = "program" if language.compile else language.file
    return Program({name: text}, name, stdin, timeout_s)
