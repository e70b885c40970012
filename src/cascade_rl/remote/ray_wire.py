"""What crosses between a run and the nodes of a Ray cluster: frames of bytes, data of known types in them.

Nothing is pickled. A frame is a head in JSON and blobs beside it, so that what lies between (`ray_dealer`)
passes calls and results on without looking into them. A node's answer is read type by type: a node gives
text, numbers and lists of them, or the answer is refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from cascade_rl.protocols import Execution, Judgement, Program, Turns

# what is asked of a node
CALL, PROGRAM = "call", "program"
KINDS = (CALL, PROGRAM)
LENGTH = struct.Struct("!Q")
Head = dict[str, Any]


def to_bytes(value: Any) -> bytes:
    """JSON in which every text stands for itself, lone surrogates (a program's escaped bytes) too."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> Any:
    """What `to_bytes` wrote; ValueError if it is no JSON."""
    return json.loads(data.decode("utf-8", "surrogatepass"))


def frame(head: Head, blobs: Sequence[bytes] = ()) -> bytes:
    """A head and blobs as one."""
    told = to_bytes(head | {"sizes": [len(blob) for blob in blobs]})
    return b"".join([LENGTH.pack(len(told)), told, *blobs])


def parts(data: bytes) -> tuple[Head, list[bytes]]:
    """The head and the blobs of a frame."""
    (size,) = LENGTH.unpack_from(data)
    start = LENGTH.size + size
    head: Head = from_bytes(data[LENGTH.size : start])
    blobs = []
    for length in head.pop("sizes"):
        blobs.append(data[start : start + length])
        start += length
    return head, blobs


def send(stream: BinaryIO, data: bytes) -> None:
    """Write a frame; whoever writes to the same stream takes turns."""
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """The next frame; None at the end of the stream, however it ended."""
    begin = stream.read(LENGTH.size)
    if len(begin) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(begin)
    data = stream.read(size)
    return data if len(data) == size else None


def packed_call(function: str, arguments: Sequence[Any], deadline_s: float) -> bytes:
    """A verifier's call; TypeError for arguments that are no JSON."""
    return to_bytes([function, list(arguments), deadline_s])


def packed_judgement(found: Judgement) -> bytes:
    """What came of a call."""
    return to_bytes({"value": found.value, "fault": found.fault, "note": found.note})


def judgement(data: bytes) -> Judgement:
    """What came of a call; ValueError for anything else."""
    said = _mapping(data)
    # the value is any JSON: so far went the function's word before, too
    return Judgement(said.get("value"), _text_or_none(said, "fault"), _text(said, "note"))


def packed_program(program: Program) -> bytes:
    """A program, whole; equal programs give equal bytes."""
    turns = program.turns
    return to_bytes(
        {
            "files": dict(program.files),
            "entry": program.entry,
            "stdin": program.stdin,
            "timeout_s": program.timeout_s,
            "memory_mb": program.memory_mb,
            "profile": program.profile,
            "collect": list(program.collect),
            "packages": list(program.packages),
            "turns": [turns.mark, turns.count, turns.each_s] if turns else None,
        }
    )


def program_of(data: bytes) -> Program:
    """The program that `packed_program` wrote."""
    said = from_bytes(data)
    turns = Turns(*said.pop("turns")) if said["turns"] else said.pop("turns")
    for name in ("collect", "packages"):
        said[name] = tuple(said[name])
    return Program(**said, turns=turns)


def packed_execution(found: Execution) -> bytes:
    """What a program did."""
    return to_bytes(
        {
            "stdout": found.stdout,
            "stderr": found.stderr,
            "exit_code": found.exit_code,
            "timed_out": found.timed_out,
            "error": found.error,
            "files": dict(found.files),
            "limit": found.limit,
            "cpu_s": found.cpu_s,
        }
    )


def execution(data: bytes) -> Execution:
    """What a program did; ValueError for anything else."""
    said = _mapping(data)
    files = said.get("files")
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise ValueError("a node's answer has no files")
    code, cpu_s, timed_out = said.get("exit_code"), said.get("cpu_s"), said.get("timed_out")
    if not (type(code) is int and isinstance(cpu_s, int | float) and type(timed_out) is bool):
        raise ValueError("a node's answer has no exit code, no time or no word on the limit")
    return Execution(
        _text(said, "stdout"),
        _text(said, "stderr"),
        code,
        timed_out,
        _text_or_none(said, "error"),
        files,
        _text_or_none(said, "limit"),
        float(cpu_s),
    )


def _mapping(data: bytes) -> Mapping[str, Any]:
    said = from_bytes(data)
    if not isinstance(said, dict):
        raise ValueError("a node's answer is no object")
    if "raised" in said:
        # as a local service would have raised it: the grader's verdict is null with these words
        raise RuntimeError(_text(said, "raised"))
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise ValueError(f"a node's answer has no text {name}")
    return value


def _text_or_none(said: Mapping[str, Any], name: str) -> str | None:
    return None if said.get(name) is None else _text(said, name)
