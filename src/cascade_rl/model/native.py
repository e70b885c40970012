"""C++ that is compiled where it runs, for the processor that it runs on, once, into the cache folder.

It is an addition: where there is no compiler, or what it makes does not load, there is no library, and
torch's operators do the same with other rounding. `CASCADE_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path

from cascade_rl.model.cached import cache_folder

SOURCE = Path(__file__).with_name("kernels.cpp")
COMPILERS = ("c++", "g++", "clang++")
# Nothing that loosens IEEE arithmetic: NaN must stay NaN.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared")
# found, not imported: it takes seconds
TORCH = Path(str(distribution("torch").locate_file("torch/lib")))
# With torch's own products and threads, or without both. No default libraries: a second OpenMP beside torch's
# would have threads of its own (and clang's is another one).
WITH_TORCH = (
    *("-fopenmp", "-DPRODUCTS", "-nodefaultlibs", f"-L{TORCH}", f"-Wl,-rpath,{TORCH}"),
    *("-l:libtorch_cpu.so", "-l:libc10.so", "-lstdc++", "-lc", "-lm"),
)
ALONE = ("-lm",)
LONGEST_S = 120  # of a compilation, which takes 3 to 5


@dataclass(frozen=True, slots=True)
class Found:
    """The library, or None and why there is none; `text` says so to people."""

    library: ctypes.CDLL | None
    text: str


@cache
def find() -> Found:
    """Load the library, compiled first if it has not been; never raises for a machine that can't."""
    if os.environ.get("CASCADE_KERNELS", "on") == "off":
        return Found(None, "off by CASCADE_KERNELS")
    named = os.environ.get("CXX")
    compiler = next(
        (path for name in (*filter(None, [named]), *COMPILERS) if (path := shutil.which(name))), None
    )
    source = SOURCE.read_bytes()
    told = ""
    for way in (WITH_TORCH, ALONE):
        target = cache_folder() / f"kernels-{_key(source, compiler, way)}.so"
        try:
            if not target.exists():
                if compiler is None:
                    return Found(None, "no C++ compiler; install g++")
                _compile([compiler, *FLAGS, str(SOURCE), *way], target)
            without = f", without torch's products ({told})" if told else ""
            return Found(ctypes.CDLL(str(target)), f"compiled for this processor{without}: {target}")
        except (OSError, subprocess.SubprocessError) as error:
            told = _reason(error)
    return Found(None, told)


def _key(source: bytes, compiler: str | None, way: tuple[str, ...]) -> str:
    """Whatever may change what is compiled: a home directory may be shared by unlike machines."""
    parts = [
        repr((FLAGS, way)),
        version("torch"),
        platform.machine(),
        platform.libc_ver()[1],
        compiler or "",
        _processor(),
    ]
    return hashlib.sha256(b"\0".join([source, *(part.encode() for part in parts)])).hexdigest()[:16]


def _processor() -> str:
    """What this processor can do, as the kernel lists it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(kept)))


def _compile(command: list[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # in a file of its own first: several workers may come here at once, and one may be killed
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        subprocess.run(
            [*command, "-o", str(made)], check=True, capture_output=True, text=True, timeout=LONGEST_S
        )
        made.replace(target)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line] or [
            f"status {error.returncode}"
        ]
        return f"{Path(error.cmd[0]).name} failed: {lines[0]}"
    return " ".join(str(error).split())
