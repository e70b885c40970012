"""How strongly programs are kept in, from all walls to none, and how to get a better level."""

from __future__ import annotations

from collections.abc import Mapping

from cascade_rl.errors import SandboxUnavailable
from cascade_rl.protocols import Standing

# strongest first: the pool tries them in this order, and a stage does not go on at a weaker one
LEVELS = ("full", "lockdown", "limits", "none")
WALLS = {
    "full": "user, mount, network, ipc, uts and pid namespaces; own file tree; seccomp; rlimits",
    "lockdown": "seccomp; rlimits; no namespaces, no scratch directory",
    "limits": "seccomp; rlimits; files stay readable",
    "none": "rlimits only",
}
# the levels that keep a program from this user's files: at the others nothing runs without `unsafe`
ISOLATING = ("full", "lockdown")

# What the first words of a failed step tell, and what mends it.
# the texts are the `step` names of inside/jail.py and inside/landlock.py; the first that fits counts
MENDS = (
    (
        "unshare",
        "user namespaces are refused: `sysctl user.max_user_namespaces` must not be 0, and on Debian "
        "`sysctl kernel.unprivileged_userns_clone=1`; in Docker start with --security-opt seccomp=unconfined",
    ),
    (
        "write",
        "user namespaces are crippled, on Ubuntu by AppArmor: `sudo sysctl "
        "kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for this python",
    ),
    (
        "mount",
        "mounts inside a user namespace are refused; in Docker start with --security-opt apparmor=unconfined",
    ),
    (
        "bind",
        "mounts inside a user namespace are refused; in Docker start with --security-opt apparmor=unconfined",
    ),
    # a level that `unshare` allows may still fail here: pid namespaces are made one by one, by the fork
    ("clone", "new pid namespaces are refused: `sysctl user.max_pid_namespaces` must not be 0"),
    ("landlock", "the kernel has no Landlock: Linux 5.13 or later, with `landlock` in its lsm= list"),
    ("seccomp", "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)"),
)


def standing_at(level: str, landlock: int, failures: Mapping[str, str]) -> Standing:
    """What holds at a level; Landlock's version (0: none), and what kept each better level away."""
    walls = WALLS[level] + (f"; landlock {landlock}" if landlock else "")
    advice = tuple(f"{better}: {step} - {mend_of(step)}" for better, step in failures.items())
    return Standing(level, walls, advice)


def mend_of(step: str) -> str:
    """What makes a failed step work."""
    known = (mend for start, mend in MENDS if step.startswith(start))
    return next(known, "see docs/sandbox.md")


def refusal(failures: Mapping[str, str]) -> SandboxUnavailable:
    """The error when nothing isolates."""
    lines = [f"  {level}: {step} - {mend_of(step)}" for level, step in failures.items()]
    return SandboxUnavailable(
        "programs of a model can't be run here: nothing would keep them from this user's files\n"
        + "\n".join(lines)
        + "\nmend one of these, or run in a machine or container that you can lose and pass --unsafe-exec"
    )
