"""A hub of data sets on this machine: the few routes that huggingface_hub and datasets ask, over loopback.

A set is a folder of files; each of its revisions has a commit. What a client asked is kept, so that a test can
say that nothing was.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = Mapping[str, bytes]


@dataclass
class Hub:
    """`sets[repo][revision]` is (commit, files)."""

    sets: dict[str, dict[str, tuple[str, Files]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""

    def put(self, repo: str, revision: str, files: Files) -> str:
        commit = hashlib.sha1(f"{repo}{revision}".encode()).hexdigest()
        self.sets.setdefault(repo, {})
        self.sets[repo] |= {revision: (commit, files), commit: (commit, files)}
        return commit

    def find(self, repo: str, revision: str) -> tuple[str, Files] | None:
        return self.sets.get(repo, {}).get(revision)


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {unquote(path)}")
        # a revision may hold slashes, which are quoted there: refs/pr/7
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "datasets"] and len(parts) >= 4:
            self.api("/".join(parts[2:4]), parts[4:])
        elif parts[0] == "datasets" and len(parts) > 5 and parts[3] == "resolve":
            self.file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
        else:
            self.answer(404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        said = self.rfile.read(size)
        path = urlsplit(self.path).path
        self.hub.asked.append(f"POST {unquote(path)}")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        repo = "/".join(parts[2:4])
        found = self.hub.find(repo, parts[5]) if len(parts) > 5 and parts[4] == "paths-info" else None
        if found is None:
            self.missing(repo)
            return
        wanted = json.loads(said)["paths"]
        self.answer(200, json.dumps([e for e in entries(found[1]) if e["path"] in wanted]).encode())

    def missing(self, repo: str) -> None:
        code = "RevisionNotFound" if repo in self.hub.sets else "RepoNotFound"
        self.answer(404, b"{}", X_Error_Code=code, X_Error_Message=f"{code} of the fake hub")

    def api(self, repo: str, rest: list[str]) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        found = self.hub.find(repo, revision)
        if found is None:
            self.missing(repo)
            return
        commit, files = found
        if rest[:1] == ["tree"]:
            below = "/".join(rest[2:])
            listed = [e for e in entries(files) if not below or e["path"].startswith(below + "/")]
            self.answer(200, json.dumps(listed).encode(), Content_Type="application/json")
            return
        info = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files], "tags": []}
        self.answer(200, json.dumps(info).encode(), Content_Type="application/json")

    def file(self, repo: str, revision: str, name: str) -> None:
        found = self.hub.find(repo, revision)
        if found is None:
            self.missing(repo)
            return
        commit, files = found
        if name not in files:
            self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        data, headers = files[name], {"ETag": f'"{_oid(files[name])}"', "X_Repo_Commit": commit}
        ranged = self.headers.get("Range")
        if ranged:
            start, _, end = ranged.removeprefix("bytes=").partition("-")
            last = min(int(end or len(data) - 1), len(data) - 1)
            part = data[int(start) : last + 1]
            self.answer(206, part, Content_Range=f"bytes {start}-{last}/{len(data)}", **headers)
            return
        self.answer(200, data, Accept_Ranges="bytes", **headers)


def entries(files: Files) -> list[dict[str, object]]:
    folders = {name.rpartition("/")[0] for name in files if "/" in name}
    made: list[dict[str, object]] = [
        {"type": "directory", "path": folder, "oid": _oid(folder.encode()), "size": 0}
        for folder in sorted(folders)
    ]
    made += [
        {"type": "file", "path": name, "oid": _oid(data), "size": len(data)} for name, data in files.items()
    ]
    return made


@contextmanager
def served() -> Iterator[Hub]:
    """A hub at `hub.endpoint` for as long as the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
