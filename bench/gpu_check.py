"""What nobody has seen of the engine on a GPU, in one go: `python bench/gpu_check.py [--out FILE] [--minutes 8]`.

Items run in an order that puts what decides most first; after each one FILE (bench/out/gpu_check.json) is
written anew, so that a run that is cut short still tells. Each has `ok` (true, false, or null for a figure
without a bound), what was found and what was expected. An item that fails does not stop the others. What has
no time left is listed as such, and what takes longer than is left is cut off. docs/gpus.md says how to read it.

Needs a CUDA device, torch and transformers (for nothing but what it brings); nothing is fetched. Most items
need pydantic, too, and `cascade_run` all of this package's own dependencies: what is missing is said in a line,
and the items that can do without run. `--device cpu --small` walks through the same items on a CPU, where
figures mean nothing: that is how it is tested.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))

from gpu_setting import Found, Setting


class Item(NamedTuple):
    """Where an item stands, and about how many seconds it takes on a GPU: it is not begun with fewer left."""

    module: str
    seconds: float


ITEMS = {
    "versions": Item("gpu_kernels", 5),
    "equality": Item("gpu_engine", 30),
    "graphs": Item("gpu_decoding", 20),
    "kernels": Item("gpu_kernels", 40),
    "varlen": Item("gpu_kernels", 15),
    "parity": Item("gpu_engine", 20),
    "head": Item("gpu_kernels", 20),
    "decoding": Item("gpu_decoding", 60),
    "update": Item("gpu_engine", 60),
    "slots": Item("gpu_engine", 20),
    "sharded": Item("gpu_engine", 25),
    "rl_step": Item("gpu_engine", 60),
    "repeated": Item("gpu_engine", 20),
    "cascade_run": Item("gpu_run", 60),
    "peer": Item("gpu_run", 60),
}


def main() -> None:
    """Run the items that there is time for, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "gpu_check.json")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes at which only the code is tried")
    parser.add_argument("--only", nargs="*", choices=ITEMS, default=list(ITEMS), metavar="ITEM")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check needs a CUDA device; --device cpu --small walks through it without one")
    deadline = time.perf_counter() + 60 * options.minutes
    setting = Setting(torch.device(options.device), options.small, deadline)
    chosen = {name: _load(name) for name in ITEMS if name in options.only}
    _say_what_is_missing(chosen)
    told = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, item in chosen.items():
        told.append(_told(name, item, setting))
        _write(options.out, told)
        print(_line(told[-1]), flush=True)
    if any(entry["ok"] is False for entry in told):
        sys.exit(1)


def _load(name: str) -> Callable[[Setting], Found] | str:
    """The item, or the package that it needs and that is not here."""
    try:
        found: Callable[[Setting], Found] = getattr(importlib.import_module(ITEMS[name].module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == "cascade_rl":
            raise
        return package
    return found


def _say_what_is_missing(chosen: Mapping[str, Callable[[Setting], Found] | str]) -> None:
    missing = sorted({item for item in chosen.values() if isinstance(item, str)})
    if missing:
        without = ", ".join(name for name, item in chosen.items() if isinstance(item, str))
        print(
            f"missing: {', '.join(missing)}; left out without: {without}. Mend: pip install {' '.join(missing)}, "
            "or carry a folder that holds it (pip install --target FOLDER) and put it on PYTHONPATH",
            flush=True,
        )


def _told(name: str, item: Callable[[Setting], Found] | str, setting: Setting) -> dict[str, Any]:
    """An item's entry, whatever became of it."""
    if isinstance(item, str):
        return {"item": name, "ok": None, "found": {"missing": item}, "expected": "not begun: see `missing`"}
    left, takes = setting.left(), 0 if setting.small else ITEMS[name].seconds
    if left < max(takes, 1):
        reason = f"not begun: takes about {takes:.0f} s, and {max(left, 0):.0f} s were left"
        return {"item": name, "ok": None, "found": {}, "expected": reason}
    begin = time.perf_counter()
    entry: dict[str, Any] = {"item": name, "about": (item.__doc__ or "").strip()}
    try:
        with _limit(left):
            found = item(setting)
        entry |= {"ok": found.ok, "found": found.figures, "expected": found.expected}
    except _Over:
        entry |= {"ok": None, "found": {}, "expected": f"cut off after {left:.0f} s: no time was left"}
    # told with its traceback and counted as failed; the next items are still worth their time
    except Exception:
        entry |= {"ok": False, "found": {"fault": traceback.format_exc()}, "expected": "no fault"}
    return entry | {"seconds": time.perf_counter() - begin}


class _Over(BaseException):
    """The time is over; no `except Exception` of an item is meant."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `_Over` in what runs inside after so long, as soon as it comes back from the device."""

    def over(*_: object) -> None:
        raise _Over

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _write(path: Path, told: Sequence[Mapping[str, Any]]) -> None:
    """Whole or not at all: a run may be cut off at any moment."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        json.dump(told, file, indent=1)
        file.write("\n")
    Path(file.name).replace(path)


def _line(entry: Mapping[str, Any]) -> str:
    verdict = {True: "pass", False: "FAIL", None: "told"}[entry["ok"]]
    shown = "; ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in entry["found"].items()
    )
    return f"{verdict}  {entry['item']}: {shown} (expected: {entry['expected']})"


if __name__ == "__main__":
    main()
