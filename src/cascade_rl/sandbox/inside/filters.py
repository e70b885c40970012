"""The system-call filter: an allow-list for each profile, compiled to the kernel's BPF by hand.

What honest programs may try is refused with an error they can handle; calls of another architecture or of the
x32 set kill the process. clone3 answers ENOSYS, because its flags lie behind a pointer that BPF can't follow:
libc then falls back to clone, whose flags are checked. The format: linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os

from cascade_rl.sandbox.inside.calls import call, numbers

CODE = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
rt_sigreturn pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise dup
dup2 pause nanosleep getitimer alarm setitimer getpid sendfile sendto recvfrom sendmsg recvmsg shutdown
getsockname getpeername socketpair setsockopt getsockopt exit wait4 uname flock fsync fdatasync truncate
ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink readlink umask
gettimeofday getrlimit getrusage sysinfo times getuid getgid geteuid getegid getppid getpgrp getgroups
getresuid getresgid getpgid getsid capget rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack statfs
fstatfs sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
mlock munlock arch_prctl setrlimit gettid getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr time
futex sched_getaffinity epoll_create getdents64 set_tid_address restart_syscall fadvise64 timer_create
timer_settime timer_gettime timer_getoverrun timer_delete clock_gettime clock_getres clock_nanosleep
exit_group epoll_wait epoll_ctl waitid openat mkdirat newfstatat unlinkat renameat linkat symlinkat readlinkat
faccessat pselect6 ppoll set_robust_list get_robust_list splice tee epoll_pwait signalfd timerfd_create
eventfd fallocate timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1 dup3 pipe2 preadv pwritev
getcpu renameat2 getrandom membarrier copy_file_range preadv2 pwritev2 statx rseq close_range openat2
faccessat2 epoll_pwait2 futex_waitv futex_wake futex_wait futex_requeue mseal
"""
# Landlock does not cover these, so they need a file system of their own.
SCRATCH = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat"
# a suite forks, execs, opens sockets: its network namespace is empty, its pid namespace its own
TESTS = """
fork vfork execve setpgid setsid kill tkill tgkill connect accept accept4 bind listen recvmmsg sendmmsg sync
getpriority inotify_init inotify_init1 inotify_add_watch inotify_rm_watch mknod mknodat pidfd_open
"""

# return values of linux/seccomp.h: ERRNO carries the number in its low bits
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# BPF's codes with an immediate: load a word of the call, compare (equal, at least, any bit), return
LOAD, JUMP_EQUAL, JUMP_ABOVE, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# all CLONE_NEW flags of linux/sched.h, those of cgroup (0x2000000) and time (0x80) among them
NEW_NAMESPACES, CLONE_THREAD = 0x7E020080, 0x10000
NEWEST = 463  # calls from here on were unknown when the list was written: libc expects ENOSYS
OWN_PID = 0x7A7A7A7A  # stands for the process id, which is known only after the fork

# TCGETS TIOCGWINSZ FIONREAD FIONBIO FIO(N)CLEX
TERMINAL_QUERIES = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
SIGNAL_SENDERS = (8, 10, 15, 1024, 1026)  # F_SETOWN F_SETSIG F_SETOWN_EX F_SETLEASE F_NOTIFY

Instruction = tuple[int, int, int, int]


def _argument(index: int) -> Instruction:
    # seccomp_data: number at 0, machine at 4, arguments of 8 bytes from 16. The lower half is enough, both
    # machines being little-endian, since the kernel takes all arguments tested here as 32 bits.
    return (LOAD, 0, 0, 16 + 8 * index)


def _refuse(number: int = errno.EPERM) -> Instruction:
    return (RETURN, 0, 0, ERRNO | number)


# In both: a test that holds jumps over the tests after it and the first of the two returns, to the second.
def one_of(index: int, values: tuple[int, ...], number: int = errno.EPERM) -> list[Instruction]:
    """Allow the call when an argument is one of the values."""
    tests = [(JUMP_EQUAL, len(values) - i, 0, v) for i, v in enumerate(values)]
    return [_argument(index), *tests, _refuse(number), (RETURN, 0, 0, ALLOW)]


def none_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allow the call unless an argument is one of the values."""
    tests = [(JUMP_EQUAL, len(values) - i, 0, v) for i, v in enumerate(values)]
    return [_argument(index), *tests, (RETURN, 0, 0, ALLOW), _refuse()]


# Each bit is one jump: a forbidden flag leads to the refusal, a thread's flag over it.
def _threads_only() -> list[Instruction]:
    return [
        _argument(0),
        (JUMP_SET, 1, 0, NEW_NAMESPACES),
        (JUMP_SET, 1, 0, CLONE_THREAD),
        _refuse(),
        (RETURN, 0, 0, ALLOW),
    ]


def _no_namespaces() -> list[Instruction]:
    return [_argument(0), (JUMP_SET, 1, 0, NEW_NAMESPACES), (RETURN, 0, 0, ALLOW), _refuse()]


def policy(profile: str, scratch: bool) -> dict[str, list[Instruction]]:
    """What a profile does with each call by name; a call without an entry is refused.

    scratch: whether the candidate has a file system and a pid namespace of its own.
    """
    allow = [(RETURN, 0, 0, ALLOW)]
    rules = dict.fromkeys((CODE + (SCRATCH if scratch else "")).split(), allow)
    # what may be called with some arguments only
    rules |= {
        # ENOTTY: what a plain file answers, and outputs are files
        "ioctl": one_of(1, TERMINAL_QUERIES, errno.ENOTTY),
        "fcntl": none_of(1, SIGNAL_SENDERS),
        "prctl": one_of(0, (3, 15, 16)),  # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME
        "prlimit64": one_of(0, (0, OWN_PID)),
        "sched_setaffinity": one_of(0, (0, OWN_PID)),
        "clone": _threads_only(),
        "clone3": [_refuse(errno.ENOSYS)],
    }
    if profile == "tests":
        rules |= dict.fromkeys(TESTS.split(), allow)
        rules |= {"clone": _no_namespaces(), "socket": one_of(0, (1, 2, 10))}  # AF_UNIX, AF_INET, AF_INET6
    else:
        # abort() and raise() send themselves a signal; in a pid namespace of one process a thread is its own
        own = one_of(0, (OWN_PID,))
        rules |= {"kill": own, "tkill": allow if scratch else own, "tgkill": own}
    if profile == "native":
        rules["execve"] = rules["execveat"] = allow  # the compiled program itself; see candidate.py
    return rules


def assemble(rules: dict[str, list[Instruction]], machine: str) -> list[Instruction]:
    """The filter as instructions: checks of the machine, then a binary search over the call's number."""
    names = numbers(machine)
    leaves = {names[name]: code for name, code in rules.items() if name in names}
    refuse, unknown = [_refuse()], [_refuse(errno.ENOSYS)]
    segments: list[tuple[int, list[Instruction]]] = []
    for number in range(NEWEST + 1):
        # unlisted old calls: EPERM, which programs report; unknown ones: ENOSYS, after which libc tries
        # another way
        leaf = leaves.get(number, refuse) if number < NEWEST else unknown
        if not segments or segments[-1][1] != leaf:
            segments.append((number, leaf))
    # the machine first: a 32-bit call has other numbers, and so would be taken for another one
    head = [
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, 0),
        (JUMP_ABOVE, 0, 1, 0x40000000),  # x32
        (RETURN, 0, 0, KILL_PROCESS),
    ]
    return head + _search(segments)


def _search(segments: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(segments) == 1:
        return segments[0][1]
    # neighbouring numbers with one fate are one segment: a search of the tree takes seven comparisons
    middle = len(segments) // 2
    low, high = _search(segments[:middle]), _search(segments[middle:])
    if len(low) > 255:  # a conditional jump reaches 255 instructions; the unconditional one further
        return [(JUMP_ABOVE, 0, 1, segments[middle][0]), (0x05, 0, 0, len(low)), *low, *high]
    return [(JUMP_ABOVE, len(low), 0, segments[middle][0]), *low, *high]


class _SockFilter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _SockProgram(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_SockFilter)))


class Filter:
    """A filter made ready once; a candidate only fills in its process id and installs it."""

    def __init__(self, profile: str, scratch: bool) -> None:
        code = assemble(policy(profile, scratch), os.uname().machine)
        self._code = (_SockFilter * len(code))(*(_SockFilter(*row) for row in code))
        self._own = [i for i, row in enumerate(code) if row[3] == OWN_PID and row[0] == JUMP_EQUAL]
        self._program = _SockProgram(len(code), self._code)

    def install(self) -> None:
        """Put this process and all its future threads under the filter, for ever."""
        # in the candidate, after the fork: the number is 1 in a pid namespace, any other without
        pid = os.getpid()
        for i in self._own:
            self._code[i].k = pid
        call("seccomp", 1, 0, ctypes.byref(self._program), step="seccomp filter")
