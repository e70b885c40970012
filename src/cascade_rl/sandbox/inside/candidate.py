"""The candidate's own process, from the fork to the program's end.

A job is a sealed memory file: four bytes of length, a JSON header (entry, file names and lengths, what to
collect), then the files' bytes. Until the ready byte is written the code here is ours; a failure before it is
the sandbox's, any end after it is the program's. The pipe that carries the byte is closed before the program
begins, so a program can't forge a failure of the sandbox, which would spare it its reward.
"""

from __future__ import annotations

import atexit
import binascii
import builtins
import fcntl
import json
import marshal
import os
import random
import stat
import sys
import types
from collections.abc import Mapping
from typing import Any

from cascade_rl.sandbox.inside import calls
from cascade_rl.sandbox.inside.jail import SITE, TEMPORARY, WORK, Jail

# descriptors of ours above standard errors: the pipe of the ready byte, Landlock's rules, what is collected
READY, RULES, COLLECTED, STARTED = 3, 4, 5, b"r"
COLLECT_CAP = 16 << 20  # bytes of all collected files together
ELF = b"\x7fELF"


def live(jail: Jail, limits: Mapping[str, Any], descriptors: list[int], ready: int) -> None:
    """Everything that a forked candidate does; never returns."""
    channel = ready
    try:
        # with the zygote, which would otherwise be the only one to end it
        calls.prctl(calls.PR_SET_PDEATHSIG, 9)
        # its own group, by which the zygote ends it where there is no pid namespace
        os.setsid()
        job, *standard = descriptors[:4]
        text = memoryview(os.pread(job, os.fstat(job).st_size, 0))
        length = int.from_bytes(text[:4], "little")
        header = json.loads(bytes(text[4 : 4 + length]))
        files = _files(header["files"], text[4 + length :])
        jail.rules = _arrange([*standard, ready, jail.rules, *descriptors[4:]])
        # the pipe has moved; a failure from here on is told by its new number
        channel = READY
        if jail.full:
            jail.mount_scratch(limits["disk_mb"], limits["inodes"])
            # a compiled program is run from a memory file, and may be larger than the scratch
            _lay_out({name: text for name, text in files.items() if not text.startswith(ELF)})
        if jail.profile == "tests":
            # so that the supervisor may count its pages; from inside nobody can trace
            calls.prctl(calls.PR_SET_DUMPABLE, 1)
            jail.show_packages(limits["packages"])
            _lead(header["collect"])
        _run(jail, limits, header["entry"], files)
    except OSError as error:
        os.write(channel, f"{error.strerror or error}"[:400].encode())
    finally:
        # whatever happened: a candidate that returned would be a second zygote on the same socket
        os._exit(1)


def _files(rows: list[list[Any]], text: memoryview) -> dict[str, bytes]:
    files, begin = {}, 0
    for name, length in rows:
        files[name] = bytes(text[begin : begin + length])
        begin += length
    return files


def _lay_out(files: Mapping[str, bytes]) -> None:
    for name, text in files.items():
        if "/" in name:
            os.makedirs(os.path.dirname(name), exist_ok=True)
        handle = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o700)
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.close(handle)


def _arrange(wanted: list[int | None]) -> int | None:
    """Standard input and outputs at 0 to 2, then ours: READY, RULES, COLLECTED; all else is closed."""
    # first out of the way, so that no move to a low number overwrites one that is still to be moved
    high = [None if n is None else fcntl.fcntl(n, fcntl.F_DUPFD, 16) for n in wanted]
    os.closerange(READY, 16)
    for number, source in enumerate(high):
        if source is not None:
            # a program that is executed keeps 0 to 2 only
            os.dup2(source, number, inheritable=number < READY)
    # the zygote's socket and pipes among them: what a candidate can't name it can't write to
    os.closerange(16, 1 << 16)
    return RULES if wanted[RULES] is not None else None


def _lead(collect: list[str]) -> None:
    """Profile `tests`: stay process 1, let a child be the program, end what it left, collect its files.

    Returns in the child. Process 1 can't be killed or traced from inside the namespace.
    """
    child = os.fork()
    if child == 0:
        os.close(COLLECTED)
        return
    # its end of the ready pipe, too: the zygote reads there only what the program's process wrote
    os.closerange(0, COLLECTED)
    while True:
        pid, status = os.wait()
        if pid == child:
            break
    try:
        # everything in the namespace but this process; after it nobody can change a file that is collected
        os.kill(-1, 9)
    except ProcessLookupError:
        pass
    found, room = {}, COLLECT_CAP
    for name in collect:
        text = _read_back(name, room)
        if text is not None:
            room -= len(text)
            # a compiled program, escaped byte by byte, would be six times as long
            found[name] = binascii.b2a_base64(text, newline=False).decode()
    text = json.dumps({"status": status, "files": found}).encode()
    while text:
        text = text[os.write(COLLECTED, text) :]
    os._exit(0)


def _read_back(name: str, room: int) -> bytes | None:
    """A plain file below the scratch, reached through no link; None when there is none or it is too large."""
    folder = os.open(WORK, os.O_PATH | os.O_DIRECTORY)
    try:
        *parents, last = name.split("/")
        for part in parents:
            # part by part: a link or a folder that was exchanged meanwhile leads nowhere
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # a named pipe must not make us wait
        handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        found = os.fstat(handle)
        plain = stat.S_ISREG(found.st_mode) and found.st_size <= room
        text = os.read(handle, found.st_size + 1) if plain else None
        os.close(handle)
        return text
    except OSError:
        return None
    finally:
        os.close(folder)


def _run(jail: Jail, limits: Mapping[str, Any], entry: str, files: Mapping[str, bytes]) -> None:
    """Close the gates and become the program."""
    source = files[entry]
    native = source.startswith(ELF)
    if native:
        # before the gates close: memory files are refused afterwards, and the file limit would bind here
        program = os.memfd_create("program")
        os.write(program, source)
    jail.limit(limits)
    jail.close_gates("tests" if jail.profile == "tests" else "native" if native else "code")
    # from this byte on the program is to blame; the descriptor is gone before its first instruction
    os.write(READY, STARTED)
    os.close(READY)
    if native:
        os.execve(program, [entry], {"LC_ALL": "C.UTF-8"})
    sys.argv[:] = [entry]
    random.seed(0)  # equal programs give equal results
    _leave(_interpret(source, entry, {} if jail.full else files))


def furnish(config: Mapping[str, Any]) -> None:
    """In the zygote, once: what a program finds in an interpreter that was just started."""
    # made once: in each candidate the three streams cost 0.8 of 3.4 ms of processor time
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        buffering = 1 if number == 2 else -1
        stream = open(number, mode, buffering, encoding="utf-8", errors="surrogateescape", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if config["level"] == "full":
        sys.path.insert(0, WORK)
        os.environ.update(HOME=WORK, TMPDIR=TEMPORARY)
    if config["extras"]:
        sys.meta_path.append(_Packages(config["extras"], config["level"] == "full"))
    if config["profile"] == "tests":
        sys.path.append(SITE)
        os.environ.update(config["environment"])
        sys.executable = config["interpreter"]
    # those that the module `site` adds, which is left out for its search of paths
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    # a program that asks for our modules finds none to read or patch
    for name in [n for n in sys.modules if n.startswith("cascade_rl")]:
        del sys.modules[name]


def _interpret(source: bytes, entry: str, files: Mapping[str, bytes]) -> int:
    """Run the text as `__main__`; the exit code."""
    try:
        if files:
            sys.meta_path.append(_Sources({name: text for name, text in files.items() if name != entry}))
        # the program's own module, so that pickle, dataclasses and `__main__` guards find what they expect
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__dict__.update(__builtins__=__builtins__, __file__=entry)
        made = entry.endswith(".pyc")
        code = marshal.loads(source) if made else compile(source, entry, "exec", dont_inherit=True)
        del source, files
        exec(code, main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:  # whatever the program raised is its own fault: traceback, exit code 1
        trace = error.__traceback__ and error.__traceback__.tb_next  # without our own frame
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0


def _leave(code: int) -> None:
    """End as the interpreter does: wait for threads, run exit handlers, flush."""
    leave = os._exit
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # likewise in its exit handlers
        code = code or 1
    leave(code & 255)  # as the kernel does; a larger number would raise


class _Packages:
    """Finds the few installed packages that programs may import, by name: their folder can't be listed."""

    def __init__(self, entries: Mapping[str, str], bound: bool) -> None:
        self._places = {name: f"{SITE}/{name}" if bound else path for name, path in entries.items()}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        place = self._places.get(name)
        if place is None:
            return None
        external = sys.modules["_frozen_importlib_external"]
        return external.spec_from_file_location(
            name, f"{place}/__init__.py", submodule_search_locations=[place]
        )


class _Sources:
    """Imports a program's other files from memory, where there is no scratch directory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name.removesuffix(".py").replace("/", "."): text for name, text in files.items()}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self._files:
            return None
        return sys.modules["_frozen_importlib"].ModuleSpec(name, self)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self._files[module.__name__], module.__name__ + ".py", "exec"), module.__dict__)
