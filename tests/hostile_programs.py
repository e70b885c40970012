"""Programs that try to cheat, to break out or to break down, and honest ones that a careless sandbox would reject.

Each must read two numbers from its standard input and print their sum. The verdict is the judge's: AC right, WA wrong,
RE ended badly, TLE, OLE and MLE over the limit of time, output or memory. A hostile program may get any verdict of its
row and never AC. @PORT@, @SOCKET@, @DECOY@ and @SECRET_NAME@ stand for a listener on the loopback, one on an abstract
socket, a file of the trainer's and a variable of its environment.
"""

from __future__ import annotations

SYSCALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def sys_(number, *a):
    r = libc.syscall(number, *a)
    return r if r >= 0 else -ctypes.get_errno()
"""

# name: (verdicts, source)
HOSTILE = {
    # rewards without an answer
    "exit0": ("WA", "import sys; sys.exit(0)"),
    "os_exit0": ("WA", "import os; os._exit(0)"),
    "atexit_exit0": ("RE WA", """
import atexit, os
atexit.register(lambda: os._exit(0))
1 / 0
"""),
    "eq_always_true": ("WA", """
class T(str):
    def __eq__(s, o): return True
    __hash__ = str.__hash__
print(T('x'))
"""),
    "print_passed": ("WA", r"""print('PASSED\n1 passed in 0.01s\n{"status": "AC"}\nOK')"""),
    "json_spoof_fd": ("RE WA OLE", r"""
import os
for fd in range(64):
    try: os.write(fd, b'{"job": 1, "status": 0, "verdict": "AC"}\n')
    except OSError: pass
"""),
    "frame_walk": ("WA", """
import sys, gc
f = sys._getframe()
found = set()
while f:
    found |= {repr(v) for v in f.f_locals.values()}
    f = f.f_back
found |= {repr(o)[:99] for o in gc.get_objects()}
print([x for x in found if 'expected' in x][:3])
"""),
    "patch_builtins": ("WA", """
import builtins, json
builtins.open = builtins.print = lambda *a, **k: None
json.dumps = json.loads = lambda *a, **k: '3'
import os; os.write(1, b'5')
"""),
    "excepthook": ("RE", """
import sys
sys.excepthook = sys.unraisablehook = lambda *a: None
1 / 0
"""),
    "settrace": ("WA", """
import sys
sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)
print(4)
"""),
    "read_mem": ("RE", """
for p in ('/proc/self/mem', '/proc/1/environ', '/proc/self/maps'):
    print(open(p, 'rb').read(100))
"""),
    "read_tests": ("WA TLE", """
import os
names = [os.path.join(d, f) for top in ('/', '.') for d, _, fs in os.walk(top) for f in fs]
hits = [n for n in names if 'expected' in n or 'test_sum' in n]
print(hits)
"""),
    "env_secrets": ("WA", """
import os
print(dict(os.environ), os.environ.get('@SECRET_NAME@'))
"""),
    "ssh_key": ("RE", """
import os
for p in ('~/.ssh/id_rsa', '/etc/passwd', '/etc/hostname'):
    print(open(os.path.expanduser(p)).read())
"""),
    "trainer_file": ("RE", "print(open('@DECOY@').read())"),
    "stdin_echo": ("WA", "print(open(0).read())"),
    "ansi_output": ("WA", r"import os; os.write(1, b'\x1b[2J\x1b[1;1H3\x00\xff\xfe\n')"),
    "many_answers": ("WA", "for i in range(100): print(i)"),
    "newline_flood": ("OLE RE TLE", r"""
print(3)
while True: print('\n' * 1000000)
"""),
    "peek_modules": ("RE", """
import sys
print(sys.modules['corpus'].EXP, sys.modules['cascade_rl'])
"""),
    "peek_import": ("RE", """
import sys
sys.path += ['@SOURCE@', '/opt', '/usr/lib/python3/dist-packages']
import cascade_rl
print(3)
"""),
    "peek_frames_all": ("WA TLE", """
import sys, gc
seen, todo = set(), [sys._getframe(), *sys.modules.values(), *gc.get_objects()]
hits = []
while todo and len(seen) < 60000:
    o = todo.pop()
    if id(o) in seen: continue
    seen.add(id(o))
    if isinstance(o, str) and 'secret-' in o and len(o) == 71: hits.append(o)
    todo += gc.get_referents(o)
print(hits)
"""),
    "sibling": ("WA", """
import gc
print([o for o in gc.get_objects() if isinstance(o, dict) and 'source' in o and 'rollout' in o][:1])
"""),
    "int_subclass": ("WA", """
class I(int):
    def __eq__(s, o): return True
    def __str__(s): return '4'
print(I(3))
"""),
    "stdout_object": ("WA", """
import sys
class S:
    def write(s, t): return len(t)
    def flush(s): pass
sys.stdout = S()
print(3)
"""),
    "late_write": ("WA RE", """
import threading, time, os
threading.Thread(target=lambda: (time.sleep(60), os.write(1, b'3')), daemon=True).start()
"""),
    "import_hook": ("WA", """
import sys
class F:
    def find_spec(s, *a): print('3'); return None
sys.meta_path.insert(0, F())
print(4)
"""),
    "poison_modules": ("WA RE", """
import sys
for n in list(sys.modules): sys.modules[n] = None
print(4)
"""),
    "gc_finaliser": ("WA", """
class D:
    def __del__(s): print(3)
d = D()
print(1)
"""),
    # the network, other processes, the kernel
    "net_tcp": ("RE", """
import socket
s = socket.socket()
s.connect(('127.0.0.1', @PORT@)); s.send(b'hit')
"""),
    "net_udp": ("RE", """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'hit', ('127.0.0.1', @PORT@))
"""),
    "net_unix": ("RE", r"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect('\0@SOCKET@'); s.send(b'hit')
"""),
    "net_pair_connect": ("RE", r"""
import socket
a, b = socket.socketpair()
a.connect('\0@SOCKET@'); a.send(b'hit')
"""),
    "net_pair_sendto": ("RE", r"""
import socket
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b'hit', '\0@SOCKET@')
"""),
    "net_netlink": ("RE", "import socket; socket.socket(16, socket.SOCK_RAW, 0)"),
    "net_dns": ("RE", "import socket; print(socket.getaddrinfo('example.com', 80))"),
    "subprocess": ("RE", """
import subprocess; print(subprocess.run(['sh', '-c', 'echo 3'], capture_output=True).stdout.decode())
"""),
    "os_system": ("RE WA", "import os; os.system('rm -rf /; echo 3')"),
    "execve": ("RE", "import os; os.execve('/bin/sh', ['sh', '-c', 'echo 3'], {})"),
    "exec_lib": ("RE", "import os; os.execve('/lib64/ld-linux-x86-64.so.2', ['ld', '--version'], {})"),
    "memfd_exec": ("RE", r"""
import os
f = os.memfd_create('x'); os.write(f, b'#!/bin/sh\necho 3'); os.execve(f, ['x'], {})
"""),
    "ctypes_fork": ("RE WA", """
@SYSCALL@
print(sys_(57), sys_(58), sys_(56, 17, 0, 0, 0, 0))
"""),
    "ctypes_segv": ("RE", "import ctypes; ctypes.string_at(0)"),
    "unshare_ns": ("WA", """
@SYSCALL@
print(sys_(272, 0x10000000), sys_(272, 0x20000), sys_(308, 0, 0))
"""),
    "mount_": ("WA", """
@SYSCALL@
print(sys_(165, b'x', b'/tmp', b'tmpfs', 0, 0), sys_(166, b'/scratch/disk', 2), sys_(155, b'.', b'.'), sys_(161, b'.'))
print(sys_(428, -100, b'/', 1), sys_(430, b'proc', 0))
"""),
    "ptrace": ("WA", """
@SYSCALL@
import os
buf = ctypes.create_string_buffer(64)
print(sys_(101, 16, os.getppid(), 0, 0), sys_(310, os.getppid(), buf, 1, buf, 1, 0), sys_(101, 0, 0, 0, 0))
"""),
    "kill_parent": ("RE WA", """
import os, signal
for p in (os.getppid(), -1, 0, 1):
    try: os.kill(p, 9)
    except OSError as e: print(e)
try: os.killpg(0, 9)
except OSError as e: print(e)
"""),
    # its own number may lie in the range (it does on a machine that was just booted), and killing itself is allowed
    "kill_sweep": ("RE WA", """
import os
for p in range(2, 5000):
    try: os.kill(p, 9) if p != os.getpid() else None
    except OSError: pass
"""),
    # a program that the kernel kills for want of memory ends in the same way; neither is right
    "kill_itself": ("MLE RE WA", "import os; os.kill(os.getpid(), 9)"),
    "sigio": ("RE WA", """
import fcntl, os, socket
a, b = socket.socketpair()
fcntl.fcntl(a, 10, 9)
fcntl.fcntl(a, 8, os.getppid())
fcntl.fcntl(a, 4, os.O_ASYNC | os.O_NONBLOCK)
b.send(b'x')
"""),
    "pidfd": ("WA RE", """
@SYSCALL@
import os
print(sys_(434, os.getppid(), 0), sys_(438, 3, 0, 0), sys_(424, 3, 9, 0, 0))
"""),
    "sigqueue": ("WA", """
@SYSCALL@
import os
info = ctypes.create_string_buffer(128)
print(sys_(129, os.getppid(), 9, info), sys_(297, os.getppid(), os.getppid(), 9, info))
"""),
    # in a namespace of its own the parent is 0, which means itself: killed at once, or at a later tick
    "prlimit_parent": ("RE WA MLE", "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))"),
    "affinity_parent": ("RE WA", "import os; os.sched_setaffinity(os.getppid(), {0})"),
    "priority": ("RE", "import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)"),
    "pdeathsig": ("WA", """
@SYSCALL@
print(sys_(157, 1, 0, 0, 0, 0))
"""),
    "io_uring": ("WA", """
@SYSCALL@
b = ctypes.create_string_buffer(256)
print([sys_(n, 1, b, 0, 0, 0) for n in (425, 321, 323, 250, 248, 298, 246, 175, 313)])
"""),
    "x32_abi": ("RE", """
@SYSCALL@
print(sys_(0x40000000 + 39)); print(3)
"""),
    "int80": ("RE", r"""
import ctypes, mmap
code = b'\xb8\x02\x00\x00\x00\xcd\x80\xc3'
m = mmap.mmap(-1, 4096, prot=7)
m.write(code)
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
f()
print(3)
"""),
    "clone3": ("WA", """
@SYSCALL@
a = (ctypes.c_ulong * 11)(0x10000000 | 0x20000000, 0, 0, 0, 17)
print(sys_(435, a, 88))
"""),
    "clone_new": ("WA", """
@SYSCALL@
print(sys_(56, 0x10000000 | 17, 0, 0, 0, 0), sys_(56, 0x10000 | 0x20000000 | 0x100 | 0x800, 0, 0, 0, 0))
"""),
    "nnp_suid": ("RE", "import os; os.execv('/bin/su', ['su', '-c', 'echo 3'])"),
    "cap_read": ("WA", """
@SYSCALL@
import struct
h = struct.pack('Ii', 0x20080522, 0)
d = ctypes.create_string_buffer(24)
sys_(125, h, d)
print('none' if not any(d.raw) else 3)
"""),
    "setuid": ("RE", "import os; os.setresuid(0, 0, 0); print(3)"),
    "dev_kvm": ("WA", """
import os
hits = []
for p in ('kvm', 'mem', 'kmsg', 'fuse', 'vda', 'sda', 'tty', 'ptmx', 'net/tun'):
    try: hits.append(open('/dev/' + p, 'rb'))
    except OSError: pass
print(3 if hits else 'none')
"""),
    "tiocsti": ("RE", """
import fcntl
fcntl.ioctl(0, 0x5412, b'x'); print(3)
"""),
    "setrlimit_up": ("RE", """
import resource
for r in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
    resource.setrlimit(r, (-1, -1))
print(3)
"""),
    # files
    "write_usr": ("RE", "import os; open(os.__file__, 'a').write('# poison')"),
    "pyc_poison": ("RE", """
import os; open(os.path.join(os.path.dirname(os.__file__), 'sitecustomize.py'), 'w').write('print(3)')
"""),
    "symlink_out": ("RE", """
import os
os.symlink('/etc/passwd', 'l'); print(open('l').read())
"""),
    "hardlink_out": ("RE", "import os; os.link(os.__file__, 'l'); open('l', 'a').write('x')"),
    "chmod_out": ("RE", "import os; os.chmod('@DECOY@', 0)"),
    "utime_out": ("RE", "import os; os.utime('@DECOY@', (0, 0))"),
    "truncate_out": ("RE", "import os; os.truncate('@DECOY@', 0)"),
    "rename_out": ("RE", "import os; os.rename('@DECOY@', '@DECOY@.gone')"),
    "escape_openat": ("RE", """
import os
for fd in range(3, 64):
    try: print(os.listdir(fd))
    except OSError: pass
os.chdir('/proc/1/root')
"""),
    "persist_scratch": ("WA RE", """
import os
print(os.listdir('.'), os.path.exists('/tmp/left'))
open('/tmp/left', 'w').write('3'); open('left', 'w').write('3')
"""),
    "persist_shm": ("RE WA", """
from multiprocessing import shared_memory as s
x = s.SharedMemory('left', create=True, size=64); print(4)
"""),
    "sysv_shm": ("WA", """
@SYSCALL@
print(sys_(29, 77, 1 << 20, 0o1666), sys_(68, 77, 0o1666), sys_(64, 77, 1, 0o1666))
"""),
    "sysfs": ("RE", "print(open('/sys/kernel/uevent_seqnum').read(), open('/proc/sys/kernel/core_pattern').read())"),
    # exhaustion
    "spin": ("TLE", "while True: pass"),
    "spin_c": ("TLE", "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')"),
    "bigpow": ("RE TLE MLE", "print(len(str(9 ** 9 ** 9)))"),
    "sleep": ("TLE", "import time; time.sleep(1000)"),
    "block_signals": ("TLE", """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
"""),
    "cancel_alarm": ("TLE", """
import signal
signal.alarm(0)
for t in range(3): signal.setitimer(t, 0)
while True: pass
"""),
    "stop_self": ("TLE", """
import os, signal, time
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(1000)
"""),
    "swallow": ("TLE", """
while True:
    try:
        while True: pass
    except BaseException: pass
"""),
    "threads": ("RE TLE MLE", """
import threading, time
while True: threading.Thread(target=time.sleep, args=(1000,)).start()
"""),
    "daemon_thread": ("TLE WA", """
import threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
"""),
    "thread_spin": ("TLE", """
import threading
def f():
    while True: pass
for _ in range(4): threading.Thread(target=f).start()
"""),
    "forkbomb": ("RE TLE", """
import os
while 1: os.fork()
"""),
    "mem_list": ("MLE TLE RE", """
x = []
while True: x.append(bytearray(1 << 24))
"""),
    "mem_mmap": ("RE MLE", "import mmap; mmap.mmap(-1, 1 << 40)"),
    "mem_memfd": ("RE", """
import os
f = os.memfd_create('x')
while True: os.write(f, bytes(1 << 20))
"""),
    "mem_shared": ("RE MLE", """
import mmap
x = [mmap.mmap(-1, 1 << 29) for _ in range(9)]
print(3)
"""),
    "recursion": ("RE TLE MLE", """
import sys
sys.setrecursionlimit(10**9)
def f(): return f()
f()
"""),
    "c_recursion": ("RE TLE", """
import sys
sys.setrecursionlimit(10**9)
x = []
for _ in range(10**6): x = [x]
print(repr(x))
"""),
    "out_flood": ("OLE", "while True: print('x' * 1000)"),
    "stderr_flood": ("OLE", """
import sys
while True: sys.stderr.write('x' * 1000)
"""),
    "out_swallow": ("OLE TLE", """
import os
while True:
    try: os.write(1, b'3' * 65536)
    except OSError: pass
"""),
    "disk_one": ("RE", """
f = open('big', 'wb')
while True: f.write(bytes(1 << 20))
"""),
    "disk_many": ("RE", """
i = 0
while True:
    i += 1
    with open(f'f{i}', 'wb') as f: f.write(bytes(3 << 20))
"""),
    "disk_sparse": ("RE", """
import os
f = os.open('s', os.O_CREAT | os.O_RDWR); os.ftruncate(f, 1 << 40)
"""),
    "disk_unlinked": ("RE", """
import os
keep = []
while True:
    keep.append(open('u', 'wb')); os.unlink('u'); keep[-1].write(bytes(3 << 20)); keep[-1].flush()
"""),
    "inodes": ("RE", """
i = 0
while True:
    i += 1; open(f'f{i}', 'w').close()
"""),
    "dirs_deep": ("RE TLE", """
import os
while True: os.mkdir('d'); os.chdir('d')
"""),
    "fds": ("RE", """
x = []
while True: x.append(open('/dev/null'))
"""),
    "pipes": ("RE", """
import os, fcntl
x = []
while True:
    r, w = os.pipe(); os.set_blocking(w, False); x += [r, w]
    fcntl.fcntl(w, 1031, 1 << 20)
    try:
        while os.write(w, bytes(65536)): pass
    except BlockingIOError: pass
"""),
    "close_std": ("TLE", """
import os
os.closerange(0, 64)
while True: pass
"""),
    "core": ("RE", "import os; os.abort()"),
    "zipbomb": ("RE TLE MLE", """
import zlib
d = zlib.compress(bytes(1 << 26), 9)
x = [zlib.decompress(d) for _ in range(64)]
print(len(x))
"""),
    "import_time": ("RE", "(" * 200_000),
    "syntax": ("RE", "def f(:"),
    "nul_src": ("RE", 'print(3)\x00'),
    "surrogate": ("RE", "print('\ud800')"),
    "bad_encoding": ("RE", """
# -*- coding: rot42 -*-
print(3)
"""),
    "huge_int": ("RE TLE WA", """
import sys
sys.set_int_max_str_digits(0)
print(int('9' * 10**6))
"""),
    "faulthandler": ("RE", """
import faulthandler, ctypes
faulthandler.enable(); ctypes.string_at(1)
"""),
    "stdin_ignore": ("WA", "print('x')"),
    "quine_timer": ("TLE", """
import signal, time
signal.signal(signal.SIGPROF, lambda *a: None)
signal.setitimer(signal.ITIMER_PROF, 1e-4, 1e-4)
while True: pass
"""),
    "time_bomb": ("WA TLE", """
import time
if time.time() > 1e9: print('boom')
else: print(3)
"""),
}  # fmt: skip

HONEST = {
    "plain": """
a, b = map(int, input().split())
print(a + b)
""",
    "exit_after": """
import sys
print(sum(map(int, input().split())))
sys.exit()
""",
    "os_exit_after": """
import os
print(sum(map(int, input().split())), flush=True)
os._exit(0)
""",
    "fd0": "print(sum(map(int, open(0).read().split())))",
    "os_read": """
import os
print(sum(map(int, os.read(0, 100).split())))
""",
    "stdin_buffer": r"""
import sys
sys.stdout.buffer.write(b'%d\n' % sum(map(int, sys.stdin.buffer.read().split())))
""",
    "iterate": """
import sys
for line in sys.stdin: print(sum(map(int, line.split())))
""",
    "readline": """
import sys
input = sys.stdin.readline
print(sum(map(int, input().split())))
""",
    "bytes_io": """
import io, os, sys
input = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline
print(sum(map(int, input().split())))
""",
    "thread_stack": """
import sys, threading
sys.setrecursionlimit(1 << 20)
threading.stack_size(1 << 29)
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
def main(): print(sum(map(int, input().split())) + deep(50000) - 50000)
threading.Thread(target=main).start()
""",
    "stack_limit": """
import resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (-1, -1))
sys.setrecursionlimit(10**6)
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
print(sum(map(int, input().split())) + deep(20000) - 20000)
""",
    "tmpfile": """
import tempfile
with tempfile.NamedTemporaryFile('w+') as f:
    f.write(input()); f.seek(0)
    print(sum(map(int, f.read().split())))
""",
    "scratch": """
import os, shutil
os.makedirs('a/b'); open('a/b/c', 'w').write(input()); shutil.copytree('a', 'd'); os.chmod('d/b/c', 0o600)
print(sum(map(int, open('d/b/c').read().split())))
""",
    "modules": """
import bisect, collections, copy, csv, datetime, decimal, fractions, functools, heapq, itertools, json, math, operator
import random, re, statistics, string, typing, uuid, hashlib, zlib, sqlite3, ctypes, queue, concurrent.futures
print(sum(map(int, input().split())))
""",
    "asyncio_": """
import asyncio
async def f(): await asyncio.sleep(0); return sum(map(int, input().split()))
print(asyncio.run(f()))
""",
    "main_guard": """
from dataclasses import dataclass
@dataclass
class P:
    a: int
    b: int
def main():
    print(sum(vars(P(*map(int, input().split()))).values()))
if __name__ == '__main__':
    main()
""",
    "global_": """
total = 0
def add(x):
    global total
    total += x
for x in map(int, input().split()): add(x)
print(total)
""",
    "trailing": r"print(' ', sum(map(int, input().split())), '  \n\n')",
    "thread_pool": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as p: print(sum(p.map(int, input().split())))
""",
    "atexit_print": """
import atexit
x = sum(map(int, input().split()))
atexit.register(lambda: print(x))
""",
    "signal_own": """
import signal
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
print(sum(map(int, input().split())))
""",
    "gc_off": """
import gc, sys
gc.disable(); sys.stdout.reconfigure(line_buffering=True)
print(sum(map(int, input().split())))
""",
    "own_source": """
import sys, inspect, linecache
def f(): pass
print(sum(map(int, input().split())), file=sys.__stdout__)
""",
    "unicode": """
é = sum(map(int, input().split()))
print(é)
""",
    "warnings_": """
import warnings
warnings.warn('x')
print(sum(map(int, input().split())))
""",
}  # fmt: skip

NEEDS_SCRATCH = {"tmpfile", "scratch"}  # level lockdown has no file system of its own

HOSTILE = {
    name: (verdicts, source.replace("@SYSCALL@", SYSCALL)) for name, (verdicts, source) in HOSTILE.items()
}
