"""Functions for verifiers to call in tests."""

import os
import signal
import sys
import time
from pathlib import Path


def echo(*arguments):
    return list(arguments)


def wait(seconds):
    time.sleep(seconds)
    return seconds


def spin():
    return 9**9**9  # one call of big-number code: no signal handler runs before its end


def die_once(marker):
    """Killed at the first call, fine at the second."""
    if Path(marker).exists():
        return "alive"
    Path(marker).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    os.abort()


def leave():
    sys.exit(3)


def swallow_memory(gigabytes):
    return len(bytearray(int(gigabytes * 2**30)))


def not_json():
    return object()


def big_number_backends():
    import mpmath.libmp
    import sympy.external.gmpy

    return [
        mpmath.libmp.BACKEND,
        sympy.external.gmpy.GROUND_TYPES,
        sys.modules.get("gmpy2", "absent") is None,
    ]


def pid():
    return os.getpid()
