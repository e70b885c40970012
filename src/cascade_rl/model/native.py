"""C++ that is compiled where it runs, for the processor that it runs on, once, into the cache folder.

It is an addition: where there is no compiler, or what it makes does not load, there is no library, and
torch's operators do the same with other rounding. `CASCADE_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from cascade_rl.model.cached import cache_folder

SOURCE = Path(__file__).with_name("kernels.cpp")
COMPILERS = ("c++", "g++", "clang++")
# Nothing that loosens IEEE arithmetic: NaN must stay NaN.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared")
LONGEST_S = 120  # of a compilation, which takes 4 to 8


@dataclass(frozen=True, slots=True)
class Found:
    """The library, or None and why there is none; `text` says so to people."""

    library: ctypes.CDLL | None
    text: str


@cache
def find() -> Found:
    """Load the library, compiled first if it has not been; never raises for a machine that can't."""
    if os.environ.get("CASCADE_KERNELS", "on").strip().lower() in ("off", "0", "no", "false"):
        return Found(None, "off by CASCADE_KERNELS")
    told = ""
    for way in _ways():
        try:
            path = _library(way)
            without = f", without torch's products ({told})" if told else ""
            return Found(ctypes.CDLL(str(path)), f"compiled for this processor{without}: {path}")
        except subprocess.TimeoutExpired:  # nor would it be quicker the other way
            return Found(None, f"the compiler was not done after {LONGEST_S} s")
        except (OSError, subprocess.SubprocessError) as error:
            told = _reason(error)
    return Found(None, told)


def _ways() -> tuple[tuple[str, ...], ...]:
    """The rest of a command: with torch's own products and threads, or without both."""
    # Found and not imported, which takes seconds. No default libraries: a second OpenMP beside torch's would
    # have threads of its own (and clang's is another one).
    torch = find_spec("torch")
    assert torch is not None and torch.origin is not None  # this package can't be installed without
    folder = Path(torch.origin).parent / "lib"
    with_torch = (
        *("-fopenmp", "-DPRODUCTS", "-nodefaultlibs", f"-L{folder}", f"-Wl,-rpath,{folder}"),
        *("-l:libtorch_cpu.so", "-l:libc10.so", "-lstdc++", "-lc", "-lm"),
    )
    return with_torch, ("-lm",)


def _library(way: tuple[str, ...]) -> Path:
    """The file of the library, out of the cache or compiled; raises OSError or SubprocessError."""
    folder, key = cache_folder(), _key(way)
    for path in folder.glob(f"kernels-{key}-*.so"):
        # a machine that went down, or a full disk, may have left a part of it, which would end the process
        if path.stem.rpartition("-")[2] == _digest(path.read_bytes()):
            return path
        path.unlink(missing_ok=True)
    command = [*_compiler(), *FLAGS, str(SOURCE), *way]
    folder.mkdir(parents=True, exist_ok=True)
    # in a file of its own first: several workers may come here at once, and one may be killed
    with tempfile.TemporaryDirectory(dir=folder) as place:
        made = Path(place) / "kernels.so"
        _run([*command, "-o", str(made)])
        target = folder / f"kernels-{key}-{_digest(made.read_bytes())}.so"
        made.replace(target)
    return target


def _compiler() -> list[str]:
    """CXX, which may have arguments, or the first that there is; raises OSError where there is none."""
    named = os.environ.get("CXX", "").strip()
    if named and (path := shutil.which(named)):
        return [path]
    words = shlex.split(named)
    if words and (path := shutil.which(words[0])):
        return [path, *words[1:]]
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    raise OSError("no C++ compiler; install g++")


def _run(command: list[str]) -> None:
    """Compile; a compiler that hangs is ended with all that it started."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, said = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said.decode(errors="replace"))


def _key(way: tuple[str, ...]) -> str:
    """Whatever may change what is compiled: a home directory may be shared by unlike machines.

    But not which compiler PATH has first: a run that is resumed elsewhere in it would go another way.
    """
    parts = [repr((FLAGS, way)), _torch(), platform.machine(), platform.libc_ver()[1], _processor()]
    parts.append(os.environ.get("CXX", ""))
    return _digest(b"\0".join([SOURCE.read_bytes(), *(part.encode() for part in parts)]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:  # one that was built in its own folder
        return "unknown"


def _processor() -> str:
    """What this processor can do, as the kernel lists it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(kept)))


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line]
        return f"{Path(error.cmd[0]).name} failed: {lines[0] if lines else f'status {error.returncode}'}"
    return " ".join(str(error).split())
