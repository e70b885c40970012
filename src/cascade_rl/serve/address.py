"""Where the server listens: taken before the model is read, so that a busy port is told at once."""

from __future__ import annotations

import errno
import ipaddress
import socket

from cascade_rl.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises InputError, which names the mend."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InputError(
            f"--host {host}: {error.strerror}; give an address of this machine, such as 127.0.0.1"
        ) from None
    found = socket.socket(family, kind, proto)
    # so that a server that was just stopped can be started again at once
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
        found.listen(socket.SOMAXCONN)
    except OSError as error:
        found.close()
        raise InputError(_why(host, port, error)) from None
    return found


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = f"choose another, such as --port {port + 1}, or --port 0 for any free one"
        return f"port {port} of {host} is in use by another program; {other}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by you; choose one above 1023, such as --port 8000"
    if error.errno == errno.EADDRNOTAVAIL:
        known = "127.0.0.1 is this machine alone, 0.0.0.0 all of its addresses"
        return f"--host {host} is no address of this machine; {known}"
    return f"--host {host} --port {port}: {error.strerror}"


def url(found: socket.socket) -> str:
    """What clients are given as the base address."""
    host, port = found.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def is_open(found: socket.socket) -> bool:
    """Whether others than this machine can reach it."""
    return not ipaddress.ip_address(found.getsockname()[0]).is_loopback
