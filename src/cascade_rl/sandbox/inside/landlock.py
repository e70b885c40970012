"""Landlock: which files a process may touch, without any privilege (linux/landlock.h; Linux 5.13 and later).

In level `full` it is a second wall behind the mount namespace; in `lockdown` it is the only one. Every rule
names a directory or file that exists when the rules are made; all else is refused.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from cascade_rl.sandbox.inside.calls import StepFailed, call

# LANDLOCK_ACCESS_FS_: the bits that are named here of the sixteen
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
READ, ALL = READ_FILE | READ_DIR | EXECUTE, (1 << 16) - 1
# for a rule on a plain file the kernel refuses rights that only folders have
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def abi() -> int:
    """The version that the kernel speaks; 0 when it has no Landlock."""
    try:
        return call("landlock_create_ruleset", 0, 0, 1)  # LANDLOCK_CREATE_RULESET_VERSION
    except StepFailed:
        return 0


def make_rules(version: int, allowed: Iterable[tuple[str, int]]) -> int:
    """A descriptor of rules that allow, beneath each path, the given rights and nothing anywhere else.

    TCP is refused from version 4 on, signals and abstract sockets out of the domain from 6 on.
    """
    # 13 rights in version 1; 2 brought moving between folders, 3 truncating, 5 ioctl on devices
    handled = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    # files; TCP (bind, connect); scopes (abstract sockets, signals). An old kernel takes a prefix
    words = struct.pack("QQQ", handled, 3, 3)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = call("landlock_create_ruleset", words, size, 0, step="landlock rules")
    for path, rights in allowed:
        handle = os.open(path, os.O_PATH)
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= OF_FILES
        # the kernel's struct is packed: 8 bytes of rights, 4 of a descriptor, no padding
        beneath = struct.pack("=Qi", rights & handled, handle)
        call("landlock_add_rule", rules, 1, beneath, 0, step=f"landlock rule for {path}")
        os.close(handle)
    return rules


def enforce(rules: int) -> None:
    """Put this process under the rules, for ever."""
    call("landlock_restrict_self", rules, 0, step="landlock")
