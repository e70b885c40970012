"""What `cascade doctor` says of this machine: the sandbox's level, what is on, what is missing and how to enable it."""

from __future__ import annotations

from contextlib import closing

from cascade_rl.errors import SandboxUnavailable
from cascade_rl.sandbox.levels import ISOLATING, LEVELS
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sandbox.selftest import self_test


def sandbox_section() -> tuple[list[str], bool]:
    """The lines of the section on the sandbox, and whether code of a model may run here."""
    with closing(ZygoteSandbox()) as sandbox:
        try:
            standing = sandbox.start()
        except SandboxUnavailable as error:
            return [
                f"sandbox: none of the levels {', '.join(ISOLATING)} works; code is refused",
                str(error),
            ], False
        tested = self_test(sandbox)
    lines = [f"{standing.line}; {tested.line}"]
    lines += [f"  {text}" for text in standing.advice]
    full = standing.level == LEVELS[0]
    lines += [f"  {name}: {'runs' if ok else 'refused, needs level full'}" for name, ok in
              (("programs in Python", True), ("programs in C++ and repositories' tests", full))]  # fmt: skip
    return lines, not tested.failed
