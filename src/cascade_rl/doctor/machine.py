"""What this machine is good for: the sandbox's level, whether its walls hold, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from cascade_rl.errors import SandboxUnavailable
from cascade_rl.model import native
from cascade_rl.protocols import Standing
from cascade_rl.sandbox.levels import LEVELS
from cascade_rl.sandbox.pool import ZygoteSandbox
from cascade_rl.sandbox.selftest import SelfTest, self_test


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The level in force with the test of its walls; or neither, and why nothing isolates here."""

    standing: Standing | None
    tested: SelfTest | None
    refusal: str = ""

    @property
    def well(self) -> bool:
        """Whether code of a model may run here."""
        return self.tested is not None and not self.tested.failed

    @property
    def programs(self) -> Mapping[str, bool]:
        """Kinds of programs, and whether they run at the level in force."""
        level = self.standing.level if self.standing else None
        return {
            "programs in Python": level is not None,
            "programs in C++ and repositories' tests": level == LEVELS[0],  # they need namespaces
        }


def sandbox_report() -> SandboxReport:
    """Start the best sandbox that works here and try its walls; nothing runs where none isolates."""
    # not unsafe: the doctor tells what is safe here, whatever a run was allowed
    with closing(ZygoteSandbox()) as sandbox:
        try:
            standing = sandbox.start()
        except SandboxUnavailable as error:
            return SandboxReport(None, None, str(error))
        return SandboxReport(standing, self_test(sandbox))


def kernels_line() -> str:
    """Whether a CPU's training and decoding have kernels of their own here, compiled now if they were not."""
    found = native.find()
    if found.library is not None:
        return f"kernels: {found.text}"
    instead = "torch's operators do the same on a CPU, in about half as much time again"
    return f"kernels: none ({found.text}); {instead}"
