"""What nobody has seen of the engine on a GPU, in one go: `python bench/gpu_check.py [--out FILE] [--minutes 8]`.

Items run in an order that puts what decides most first; after each one FILE (bench/out/gpu_check.json) is
written anew, so that a run that is cut short still tells. Each has `ok` (true, false, or null for a figure
without a bound), what was found and what was expected. An item that fails does not stop the others. What is
not begun when the minutes are over is listed as such. docs/gpus.md says how to read it.

Needs a CUDA device, torch and this package's own dependencies; nothing is fetched. `--device cpu --small`
walks through the same items on a CPU, where figures mean nothing: that is how it is tested.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from gpu_decoding import decoding, graphs
from gpu_engine import equality, parity, repeated, rl_step, sharded, slots, update
from gpu_kernels import head, kernels, varlen, versions
from gpu_setting import Found, Setting

ITEMS: Sequence[Callable[[Setting], Found]] = (
    versions,
    equality,
    graphs,
    kernels,
    varlen,
    parity,
    head,
    decoding,
    update,
    slots,
    sharded,
    rl_step,
    repeated,
)


def main() -> None:
    """Run the items that there is time for, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "gpu_check.json")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes at which only the code is tried")
    parser.add_argument("--only", nargs="*", default=[item.__name__ for item in ITEMS])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_check needs a CUDA device; --device cpu --small walks through it without one")
    setting = Setting(torch.device(options.device), options.small)
    begin, told = time.perf_counter(), []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for item in (item for item in ITEMS if item.__name__ in options.only):
        spent = time.perf_counter() - begin
        told.append(_run(item, setting) if spent < 60 * options.minutes else _not_begun(item))
        _write(options.out, told)
        print(_line(told[-1]), flush=True)
    if any(entry["ok"] is False for entry in told):
        sys.exit(1)


def _run(item: Callable[[Setting], Found], setting: Setting) -> dict[str, Any]:
    begin = time.perf_counter()
    entry: dict[str, Any] = {"item": item.__name__, "about": (item.__doc__ or "").strip()}
    try:
        found = item(setting)
        entry |= {"ok": found.ok, "found": found.figures, "expected": found.expected}
    # told with its traceback and counted as failed; the next items are still worth their time
    except Exception:
        entry |= {"ok": False, "found": {"fault": traceback.format_exc()}, "expected": "no fault"}
    return entry | {"seconds": time.perf_counter() - begin}


def _not_begun(item: Callable[[Setting], Found]) -> dict[str, Any]:
    return {"item": item.__name__, "ok": None, "found": {}, "expected": "not begun: no time was left"}


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
