"""The walls that a zygote builds once for all its candidates, and the ones each candidate puts up for itself.

Once: namespaces, a file tree with the interpreter and nothing else, no new privileges, an empty bounding set.
Each time: a new pid and mount namespace with a small file system (by the fork), resource limits, no
capabilities, Landlock, the system-call filter. Levels: `full` has all of it, `lockdown` no namespaces and so
no scratch directory, `limits` the filter and the limits, `none` the limits alone.
"""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Mapping
from typing import Any

from cascade_rl.sandbox.inside import calls, landlock
from cascade_rl.sandbox.inside.calls import StepFailed, call, prctl
from cascade_rl.sandbox.inside.filters import Filter

# linux/mount.h and linux/fcntl.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20, 0x1000, 0x4000, 0x40000, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
# of the zygote and all its candidates; a pid namespace each candidate gets by its fork
NAMESPACES = (
    calls.CLONE_NEWUSER | calls.CLONE_NEWNET | calls.CLONE_NEWNS | calls.CLONE_NEWIPC | calls.CLONE_NEWUTS
)

# Any directory that nothing needed lies in: the tree is built on top of it, out of others' sight.
NEW_ROOT = "/sys"
# two levels: Landlock's rule stands on the folder, the tmpfs of each candidate is mounted below it
SCRATCH, DISK = "/scratch", "/scratch/disk"
WORK, TEMPORARY = DISK + "/work", DISK + "/tmp"
# the installed packages as a whole, covered before a program runs, and the chosen ones of them
PACKAGES, SITE = "/.packages", "/packages"
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
FIRST_UID, UIDS = 64_000, 1_500  # a user of no one else, when started by root


def build(config: Mapping[str, Any]) -> Jail:
    """Put this process behind the walls of its level; raises StepFailed with the step that did not work."""
    prctl(calls.PR_SET_PDEATHSIG, 9)
    # when memory runs out the kernel ends candidates before the trainer
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if config["level"] == "full":
        _enter_namespaces(config)
    elif config["level"] == "lockdown":
        _leave_root(config)
    # without privileges the kernel takes filters and Landlock rules only after this
    prctl(calls.PR_SET_NO_NEW_PRIVS, 1)
    _drop_bounding_set()
    # no other process of this user may trace a zygote or read its memory
    prctl(calls.PR_SET_DUMPABLE, 0)
    prctl(calls.PR_SET_PDEATHSIG, 9)  # a change of credentials cleared it
    return Jail(config)


class Jail:
    """What a candidate of this zygote still has to do for itself."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.level, self.profile = config["level"], config["profile"]
        self.full = self.level == "full"
        self.landlock = landlock.abi() if self.level in ("full", "lockdown") else 0
        if self.level == "lockdown" and not self.landlock:
            raise StepFailed(38, "landlock: this kernel has none")
        # a descriptor, made once; each candidate enforces it and closes it
        self.rules = landlock.make_rules(self.landlock, self._allowed(config)) if self.landlock else None
        # a compiled program must exec itself once, which Python programs may not
        kinds = ("tests",) if self.profile == "tests" else ("code", "native")
        self._filters = {k: Filter(k, self.full) for k in kinds} if self.level != "none" else {}
        self._alone = self.full or os.getuid() >= FIRST_UID  # no other process counts as this user's

    @property
    def clone_flags(self) -> int:
        """The namespaces of each candidate."""
        return calls.CLONE_NEWPID | calls.CLONE_NEWNS if self.full else 0

    def mount_scratch(self, megabytes: int, inodes: int) -> None:
        """The candidate's own file system, which goes with its mount namespace."""
        options = f"size={megabytes}m,nr_inodes={inodes},mode=700".encode()
        # executable: a compiled program or a suite's own tools may lie there
        flags = MS_NOSUID | MS_NODEV
        call("mount", b"scratch", DISK.encode(), b"tmpfs", flags, options, step="mount scratch")
        os.mkdir(WORK)
        os.mkdir(TEMPORARY)
        os.chdir(WORK)

    def show_packages(self, names: list[str]) -> None:
        """Bind the named entries of the installed packages where programs look, and cover the rest."""
        _mount_tmpfs(SITE, "size=1m,mode=755")
        for name in names:
            _bind(f"{PACKAGES}/{name}", f"{SITE}/{name}")
        # what was bound stays visible at its new place
        _mount_tmpfs(PACKAGES, "size=1m,mode=555", MS_RDONLY)

    def limit(self, limits: Mapping[str, int]) -> None:
        """Resource limits; the hard limit is the soft one, so that none can be raised."""
        most = {
            resource.RLIMIT_CPU: limits["cpu_s"],
            resource.RLIMIT_AS: limits["memory"],
            resource.RLIMIT_CORE: 0,  # an abort must not write its memory anywhere
            resource.RLIMIT_FSIZE: limits["file"],
            resource.RLIMIT_NOFILE: limits["descriptors"],
            resource.RLIMIT_MEMLOCK: 0,  # locked memory and message queues are no address space
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_SIGPENDING: 64,
            resource.RLIMIT_NICE: 0,
            resource.RLIMIT_RTPRIO: 0,
        }
        # the kernel counts all processes of the user, never those of user 0: so only where no other has it
        if self._alone:
            most[resource.RLIMIT_NPROC] = limits["processes"]
        for which, value in most.items():
            resource.setrlimit(which, (value, value))
        stack = resource.getrlimit(resource.RLIMIT_STACK)[1]
        # mmap's region begins at least 128 MB below the top of the stack (MIN_GAP in mm/util.c)
        wanted = 120 << 20  # what the kernel leaves room for; programs that ask for more may have it
        resource.setrlimit(resource.RLIMIT_STACK, (wanted if stack == -1 else min(stack, wanted), stack))

    def close_gates(self, kind: str) -> None:
        """The last steps before foreign code: no capabilities, Landlock, the filter."""
        if self.level != "none":
            # in this order: the filter refuses capset and Landlock's calls
            call("capset", _CAPABILITY_HEADER, _NO_CAPABILITIES, step="drop capabilities")
        if self.rules is not None:
            landlock.enforce(self.rules)
            os.close(self.rules)
        if self._filters:
            self._filters[kind].install()

    def _allowed(self, config: Mapping[str, Any]) -> list[tuple[str, int]]:
        devices = [(path, landlock.READ_FILE | landlock.WRITE_FILE) for path in DEVICES]
        if self.full:
            return [("/", landlock.READ), (SCRATCH, landlock.ALL), *devices]
        rules = [rule for path in config["shown"] for rule in _readable(path, config["hidden"])]
        # an ordinary user may not be able to reach where root's packages lie
        extras = [(p, landlock.READ) for p in config["extras"].values() if os.path.exists(p)]
        return rules + extras + devices


def _readable(path: str, hidden: list[str]) -> list[tuple[str, int]]:
    """Rules to read a tree without its hidden parts: Landlock only allows, so their siblings are named."""
    if path in hidden or os.path.islink(path) or not os.path.exists(path):
        return []
    if not any(h.startswith(path + "/") for h in hidden):
        return [(path, landlock.READ)]
    inner = [rule for entry in os.scandir(path) for rule in _readable(entry.path, hidden)]
    return [(path, landlock.READ_DIR), *inner]


# version 3 of linux/capability.h, this process; then three sets of 64 bits, all empty
_CAPABILITY_HEADER = struct.pack("Ii", 0x20080522, 0)
_NO_CAPABILITIES = bytes(24)


def _drop_bounding_set() -> None:
    """After this no exec gives a capability back, not even to user 0; without CAP_SETPCAP there are none."""
    # more than there are: the first unknown one is refused and ends it
    for capability in range(64):
        try:
            prctl(calls.PR_CAPBSET_DROP, capability)
        except StepFailed:
            return


def _leave_root(config: Mapping[str, Any]) -> None:
    """Root becomes a user of its own, unless the interpreter lies where only root may read."""
    if os.getuid() != 0:
        return
    uid = FIRST_UID + os.getpid() % UIDS
    # tried before the step that can't be taken back
    os.seteuid(uid)
    readable = os.access(config["stdlib"], os.R_OK | os.X_OK, effective_ids=True)
    os.seteuid(0)
    if readable:
        _become(uid)


def _become(uid: int) -> None:
    call("setgroups", 0, None, step="setgroups")
    call("setresgid", uid, uid, uid, step="setresgid")
    call("setresuid", uid, uid, uid, step="setresuid")
    prctl(calls.PR_SET_PDEATHSIG, 9)


def _enter_namespaces(config: Mapping[str, Any]) -> None:
    """New namespaces and a new root.

    Root builds the tree first, while it may still read the interpreter's folder.
    """
    # the new root has no /proc; the maps are written through this
    own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    root = os.getuid() == 0
    if root:
        call("unshare", calls.CLONE_NEWNS, step="unshare(CLONE_NEWNS)")
        _build_tree(config)
        _become(FIRST_UID + os.getpid() % UIDS)
        prctl(calls.PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map belongs to root
    uid, gid = os.getuid(), os.getgid()
    call("unshare", NAMESPACES, step="unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | ...)")
    # setgroups first: the kernel takes an unprivileged gid_map only after it is denied (user_namespaces(7))
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
        _write_map(own, name, text)
    os.close(own)
    if not root:
        _build_tree(config)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None, step="make mounts private")


def _write_map(own: int, name: str, text: str) -> None:
    try:
        handle = os.open(name, os.O_WRONLY, dir_fd=own)
        os.write(handle, text.encode())
        os.close(handle)
    except OSError as error:
        raise StepFailed(error.errno, f"write {name}: {error.strerror}") from None


def _build_tree(config: Mapping[str, Any]) -> None:
    """A root of read-only binds: what the interpreter needs, four devices, an empty place for the scratch."""
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None, step="make mounts private")
    _mount_tmpfs(NEW_ROOT, "size=1m,mode=755")
    # /lib and /bin are links on most systems and must stay such, or paths in libraries lead nowhere
    for path in config["shown"]:
        if os.path.islink(path):
            os.symlink(os.readlink(path), NEW_ROOT + path)
        elif os.path.exists(path):
            _bind(path, NEW_ROOT + path)
    if config["packages"]:
        _bind(config["packages"], NEW_ROOT + PACKAGES)
        os.mkdir(NEW_ROOT + SITE)
    for name, path in config["extras"].items():
        _bind(path, f"{NEW_ROOT}{SITE}/{name}")
    for path in config["hidden"]:
        if os.path.isdir(NEW_ROOT + path):
            _mount_tmpfs(NEW_ROOT + path, "size=1m,mode=555", MS_RDONLY)
    for path in DEVICES:
        _bind(path, NEW_ROOT + path, device=True)
    os.makedirs(NEW_ROOT + DISK)
    # what programs take for granted leads into their own scratch, where it counts and ends with them
    os.symlink(TEMPORARY, NEW_ROOT + "/tmp")
    os.symlink(TEMPORARY, NEW_ROOT + "/dev/shm")
    os.chdir(NEW_ROOT)
    # the old root comes to lie on top of the new one at the same place, and is taken off (pivot_root(2))
    call("pivot_root", b".", b".", step="pivot_root")
    call("umount2", b".", MNT_DETACH, step="unmount the old root")
    os.chdir("/")
    # the tmpfs under all binds: nobody can add a file beside them
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
    call("mount", None, b"/", None, flags, None, step="read-only root")


def _mount_tmpfs(path: str, options: str, flags: int = 0) -> None:
    flags |= MS_NOSUID | MS_NODEV
    call("mount", b"tmpfs", path.encode(), b"tmpfs", flags, options.encode(), step=f"mount tmpfs on {path}")


def _bind(source: str, target: str, device: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    what, where = os.fsencode(source), os.fsencode(target)
    call("mount", what, where, None, MS_BIND | MS_REC, None, step=f"bind {source}")
    # the values of MOUNT_ATTR_ are the same
    # a device file must stay usable, so it is refused execution instead
    flags = MS_RDONLY | MS_NOSUID | (MS_NOEXEC if device else MS_NODEV)
    try:
        attributes = struct.pack("QQQQ", flags, 0, 0, 0)
        call("mount_setattr", AT_FDCWD, where, AT_RECURSIVE, attributes, 32, step="mount_setattr")
    except StepFailed:  # before Linux 5.12: one mount at a time, and its own flags must be named again
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | 0x400 | 0x800 | 0x200000)
        flags |= MS_REMOUNT | MS_BIND | kept
        call("mount", None, where, None, flags, None, step=f"read-only {source}")
